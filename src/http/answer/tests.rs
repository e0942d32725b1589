//! Answers and what they are. Each is read whole, byte by byte, and cut at every place.

use super::reading::{Reading, Whole, ours};

/// In a table: the connection ends behind the answer.
pub(super) const ENDS: bool = true;
pub(super) const OPEN: bool = false;

/// The reading of `bytes`, which is the same in all pieces. A long one is not cut at every place.
pub(super) fn read(bytes: &[u8], ends: bool) -> Reading {
    let whole = ours([bytes], ends);
    // On an open connection more may come before a refusal is noticed.
    let comparable = |reading: Reading| match reading {
        Reading::Refused(_) if !ends => Reading::Incomplete,
        Reading::Refused(_) => Reading::Refused(String::new()),
        other => other,
    };
    let halves = (1..bytes.len()).step_by(1 + bytes.len() / 300).map(|at| {
        let (one, other) = bytes.split_at(at);
        ours([one, other], ends)
    });
    let due = comparable(whole.clone());
    for other in halves.chain([ours(bytes.chunks(1), ends), ours(bytes.chunks(16 * 1024), ends)]) {
        assert_eq!(comparable(other), due, "{}", bytes[..bytes.len().min(300)].escape_ascii());
    }
    whole
}

/// A reading in one line: status, fields, body, and whether the connection is kept; or why there is none.
fn shown(reading: &Reading) -> String {
    match reading {
        Reading::Incomplete => "incomplete".into(),
        Reading::Refused(reason) => format!("refused: {reason}"),
        Reading::Whole(Whole { status, fields, body, is_kept }) => {
            let fields: String = fields
                .iter()
                .filter(|(name, _)| !matches!(name.as_slice(), b"content-length" | b"transfer-encoding"))
                .map(|(name, value)| format!(" {}={}", name.escape_ascii(), value.escape_ascii()))
                .collect();
            let end = if *is_kept { "kept" } else { "closed" };
            format!("{status}{fields} [{}] {end}", body.escape_ascii())
        }
    }
}

fn are(table: &[(&str, bool, &str)]) {
    let read: Vec<_> =
        table.iter().map(|(bytes, ends, _)| (*bytes, *ends, shown(&read(bytes.as_bytes(), *ends)))).collect();
    let due: Vec<_> = table.iter().map(|(bytes, ends, due)| (*bytes, *ends, (*due).to_owned())).collect();
    assert_eq!(read, due);
}

#[test]
fn a_head_is_read() {
    are(&[
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", OPEN, "200 [{}] kept"),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", OPEN, "200 [{}] kept"),
        ("\r\n\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OPEN, "200 [] kept"),
        ("HTTP/1.1 404\r\ncontent-LENGTH:2\r\n\r\n{}", OPEN, "404 [{}] kept"),
        ("HTTP/1.1 999 \r\nContent-Length:\t0002 \r\n\r\n{}", OPEN, "999 [{}] kept"),
        (
            "HTTP/1.1 200 OK\r\nB:\r\nA: x  y\t\r\nb: z\r\nContent-Length: 0\r\n\r\n",
            OPEN,
            "200 b= b=z a=x  y [] kept",
        ),
        (
            "HTTP/1.1 200 OK\r\nA: x \r\n\t y\n z\r\nContent-Length:\r\n 0\r\n\r\n",
            OPEN,
            "200 a=x y z [] kept",
        ),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ENDS, "200 a=b c [] closed"),
        ("HTTP/2.0 200 OK\r\n\r\n", OPEN, "refused: invalid HTTP version"),
        ("HTTP/1.1 099 OK\r\n\r\n", OPEN, "refused: invalid HTTP status"),
        ("HTTP/1.1 20 OK\r\n\r\n", OPEN, "refused: invalid HTTP status"),
        ("HTTP/1.1  200 OK\r\n\r\n", OPEN, "refused: invalid HTTP status"),
        ("HTTP/1.1 200 O\rK\r\n\r\n", OPEN, "refused: invalid HTTP status"),
        ("HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", OPEN, "refused: invalid HTTP header"),
        ("HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n", OPEN, "refused: invalid HTTP header"),
        ("HTTP/1.1 200 OK\r\nA: x\rB: y\r\n\r\n", OPEN, "refused: invalid HTTP header"),
        ("HTTP/1.1 200 OK\r\nA: x\0\r\n\r\n", OPEN, "refused: invalid HTTP header"),
        ("HTTP/1.1 200 OK\r\n: x\r\n\r\n", OPEN, "refused: invalid HTTP header"),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", OPEN, "refused: invalid HTTP header"),
        (
            "HTTP/1.1 101 Switching\r\n\r\n",
            OPEN,
            "refused: it changes the protocol (101), which was not asked for",
        ),
        ("", ENDS, "incomplete"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", ENDS, "incomplete"),
        ("HTTP/1.1 20x", ENDS, "refused: invalid HTTP status"),
        ("220 mx.example ESMTP\r\n", ENDS, "refused: invalid HTTP version"),
    ]);
}

#[test]
fn a_body_ends_in_one_way_alone() {
    let two = "refused: two lengths of its body";
    let both = "refused: a length of its body beside a transfer coding";
    let coded = "refused: a transfer coding other than `chunked`";
    let no_number = "refused: a length of its body that is no number";
    let rows = [
        ("Content-Length: 2\r\nContent-Length: 2", "{}", OPEN, two),
        ("Content-Length: 2\r\nContent-Length: 3", "{}", OPEN, two),
        ("Content-Length: 2, 2", "{}", OPEN, no_number),
        ("Content-Length: +2", "{}", OPEN, no_number),
        ("Content-Length: -2", "{}", OPEN, no_number),
        ("Content-Length:", "{}", OPEN, no_number),
        ("Content-Length: 1\r\n 2", "{}", OPEN, no_number),
        ("Content-Length: 18446744073709551616", "{}", OPEN, no_number),
        ("Content-Length: 18446744073709551615", "{}", OPEN, "refused: its body has more than 1024 KiB"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", "0\r\n\r\n", OPEN, both),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", "0\r\n\r\n", OPEN, both),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", OPEN, coded),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", OPEN, coded),
        ("Transfer-Encoding: identity", "{}", ENDS, coded),
        ("Transfer-Encoding: chunked, ", "{}", ENDS, coded),
        ("Transfer-Encoding: CHUNKED", "0\r\n\r\n", OPEN, "200 [] kept"),
        ("Content-Length: 3", "{}", OPEN, "incomplete"),
        ("Content-Length: 3", "{}", ENDS, "incomplete"),
        ("Content-Length: 1", "{}", OPEN, "200 [{] closed"),
        ("Content-Length: 2", "{}\r\n", OPEN, "200 [{}] closed"),
        ("Content-Length: 2", "{}", ENDS, "200 [{}] closed"),
        ("X: y", "{}", OPEN, "incomplete"),
        ("X: y", "{}", ENDS, "200 x=y [{}] closed"),
    ];
    let bytes: Vec<_> =
        rows.iter().map(|(lines, body, ..)| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}")).collect();
    are(&bytes
        .iter()
        .zip(rows)
        .map(|(bytes, (.., ends, due))| (bytes.as_str(), ends, due))
        .collect::<Vec<_>>());
    are(&[
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ENDS, coded),
        ("HTTP/1.1 204 X\r\n\r\n", OPEN, "204 [] kept"),
        ("HTTP/1.1 304 X\r\nContent-Length: 0\r\n\r\n", OPEN, "304 [] kept"),
        ("HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\n", OPEN, "204 [] closed"),
        ("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", OPEN, "204 [] closed"),
        ("HTTP/1.1 304 X\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", OPEN, two),
    ]);
}

#[test]
fn chunks_are_read() {
    let no_chunk = "refused: invalid chunk";
    let no_trailers = "refused: invalid trailers of a chunked body";
    let rows = [
        ("2\r\n{}\r\n0\r\n\r\n", "200 [{}] kept"),
        ("1\r\n{\r\n01 ;a=\"b\"\r\n}\r\n000\t\r\n\r\n", "200 [{}] kept"),
        ("a\r\n0\r\n\r\n01234\r\nA;\r\n0123456789\r\n0\r\n\r\n", "200 [0\\r\\n\\r\\n012340123456789] kept"),
        ("0\r\nX: y\r\nContent-Length: 5\r\n\r\n", "200 [] kept"),
        ("0\r\n\r\n\r\n", "200 [] closed"),
        ("2\r\n{}\r\n0\r\n", "incomplete"),
        ("2\r\n{}\r\n0\r\nX: y\r\n", "incomplete"),
        ("2\r\n{}\r\n", "incomplete"),
        ("\r\n0\r\n\r\n", no_chunk),
        (" 2\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("2\n{}\r\n0\r\n\r\n", no_chunk),
        ("2\r\n{}0\r\n\r\n", no_chunk),
        ("2\r\n{}\n0\r\n\r\n", no_chunk),
        ("2\r\n{}\r\r0\r\n\r\n", no_chunk),
        ("2\r{}\r\n0\r\n\r\n", no_chunk),
        ("2 2\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("-2\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("0x2\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("g\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("2;a\n{}\r\n0\r\n\r\n", no_chunk),
        ("2;a\n\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("2\rx{}\r\n0\r\n\r\n", no_chunk),
        ("2\r\n{}x\n0\r\n\r\n", no_chunk),
        ("2;a\rb\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("0\r\n\rx", no_chunk),
        ("0\r\nX: y\rz\r\n\r\n", no_chunk),
        ("0\r\nX: y\n\r\n\r\n", no_chunk),
        ("0\r\n\n\r\n\r\n", no_chunk),
        ("0\r\nX\r\n\r\n", no_trailers),
        ("0\r\nX: y\r\n z\r\n\r\n", no_trailers),
        ("0000000000000002\r\n{}\r\n0000000000000000\r\n\r\n", "200 [{}] kept"),
        ("00000000000000002\r\n{}\r\n0\r\n\r\n", no_chunk),
        ("10000000000000000\r\n", "refused: its body has more than 1024 KiB"),
    ];
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bytes: Vec<_> = rows.iter().map(|(body, _)| format!("{head}{body}")).collect();
    are(&bytes.iter().zip(rows).map(|(bytes, (_, due))| (bytes.as_str(), OPEN, due)).collect::<Vec<_>>());
}

#[test]
fn a_connection_is_kept_if_nothing_ends_it() {
    for (version, lines, is_kept) in [
        ("1.1", "", true),
        ("1.0", "", false),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "CONNECTION: x,\t CLOSE \r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("1.1", "Connection: keep-alive,\r\n close\r\n", false),
        ("1.1", "Connection: closed\r\nX: close\r\n", true),
        ("1.0", "connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: x\r\nConnection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Connection: keep-alive, caf\u{e9}\r\n", false),
    ] {
        let bytes = format!("HTTP/{version} 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
        let Reading::Whole(whole) = read(bytes.as_bytes(), OPEN) else { panic!("{bytes}") };
        assert_eq!(whole.is_kept, is_kept, "{bytes}");
    }
}

#[test]
fn interim_answers_are_passed_over() {
    let interim = |count| "HTTP/1.1 103 X\r\nLink: </x>\r\nContent-Length: 9\r\n\r\n".repeat(count);
    let last = "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let [one, eight, nine] = [1, 8, 9].map(|count| format!("{}{last}", interim(count)));
    are(&[
        (one.as_str(), OPEN, "200 [{}] kept"),
        (eight.as_str(), OPEN, "200 [{}] kept"),
        (nine.as_str(), OPEN, "refused: more than 8 interim answers (1xx)"),
        (interim(8).as_str(), ENDS, "incomplete"),
        (format!("HTTP/1.1 100 Continue\r\n{last}").as_str(), OPEN, "200 [{}] kept"),
        (format!("HTTP/1.1 199 X\r\n{last}").as_str(), OPEN, "200 [{}] kept"),
        (
            format!("{}HTTP/1.1 101 X\r\n\r\n", interim(1)).as_str(),
            OPEN,
            "refused: it changes the protocol (101), which was not asked for",
        ),
    ]);
}
