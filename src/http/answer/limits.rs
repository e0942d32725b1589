//! The limits of an answer: what is just within one, and what is just beyond it.

use super::reading::{Reading, ours};
use super::tests::{ENDS, OPEN, read};
use super::{MAX_BODY, MAX_HEAD};

/// The bytes of a body that is read, or the reason of a refusal.
fn length(reading: Reading) -> Result<usize, String> {
    match reading {
        Reading::Whole(whole) => Ok(whole.body.len()),
        Reading::Refused(reason) => Err(reason),
        Reading::Incomplete => Err("incomplete".into()),
    }
}

#[test]
fn a_head_has_its_limits() {
    let long: Result<usize, String> = Err("its head has more than 256 lines, or more than 64 KiB".into());
    let lines = |count: usize| format!("HTTP/1.1 204 X\r\n{}\r\n", "A: b\r\n".repeat(count));
    let bytes = |count: usize| {
        let head = format!("HTTP/1.1 204 X\r\nA: {}\r\n\r\n", "x".repeat(count));
        head.replacen('x', "", head.len() - count)
    };
    assert_eq!(length(read(lines(256).as_bytes(), OPEN)), Ok(0));
    assert_eq!(length(read(lines(257).as_bytes(), OPEN)), long);
    assert_eq!(length(read(bytes(MAX_HEAD).as_bytes(), OPEN)), Ok(0));
    assert_eq!(length(read(bytes(MAX_HEAD + 1).as_bytes(), OPEN)), long);
    // One without an end is not collected for ever.
    let endless = bytes(MAX_HEAD + 8).into_bytes();
    let endless = &endless[..=MAX_HEAD];
    for pieces in [1, 100, 16 * 1024, MAX_HEAD + 1] {
        assert_eq!(
            ours(endless.chunks(pieces), OPEN),
            Reading::Refused(long.clone().unwrap_err()),
            "{pieces}"
        );
    }
}

#[test]
fn a_body_has_its_limit() {
    let long = || Err("its body has more than 1024 KiB".to_owned());
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
    for (size, due) in [(MAX_BODY, Ok(MAX_BODY)), (MAX_BODY + 1, long())] {
        let body = vec![b'x'; size];
        let lines = format!("Content-Length: {size}\r\n");
        let chunked = head("Transfer-Encoding: chunked\r\n");
        let one = format!("{size:x}\r\n").into_bytes();
        // The size of the second chunk is over the limit, not the first.
        let (first, second) = (b"fffff\r\n".to_vec(), format!("\r\n{:x}\r\n", size - 0xf_ffff).into_bytes());
        for (bytes, ends) in [
            ([head(&lines), body.clone()].concat(), OPEN),
            ([head("X: y\r\n"), body.clone()].concat(), ENDS),
            ([chunked.clone(), one, body.clone(), b"\r\n0\r\n\r\n".to_vec()].concat(), OPEN),
            (
                [
                    chunked,
                    first,
                    body[..0xf_ffff].to_vec(),
                    second,
                    body[0xf_ffff..].to_vec(),
                    b"\r\n0\r\n\r\n".to_vec(),
                ]
                .concat(),
                OPEN,
            ),
        ] {
            let reads = [
                ours([bytes.as_slice()], ends),
                ours(bytes.chunks(16 * 1024), ends),
                ours(bytes.chunks(1), ends),
            ];
            for reading in reads {
                assert_eq!(length(reading), due);
            }
        }
    }
}

#[test]
fn what_is_read_over_has_its_limits() {
    let chunked =
        |rest: String| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}").into_bytes();
    let extra: Result<usize, String> = Err("more than 16 KiB of chunk extensions and trailers".into());
    let extension = |count: usize| chunked(format!("0;{}\r\n\r\n", "x".repeat(count - 1)));
    let blanks = |count: usize| chunked(format!("0{}\r\n\r\n", " ".repeat(count)));
    let trailer = |count: usize| chunked(format!("0\r\nX: {}\r\n\r\n", "y".repeat(count - 5)));
    let lines = |count: usize| chunked(format!("0\r\n{}\r\n", "X: y\r\n".repeat(count)));
    for of in [&extension as &dyn Fn(usize) -> Vec<u8>, &blanks, &trailer] {
        assert_eq!(length(read(&of(16 * 1024), OPEN)), Ok(0));
        assert_eq!(length(read(&of(16 * 1024 + 1), OPEN)), extra);
    }
    // Those of all chunks count together.
    let many = chunked("1;xxxxxxx\r\ny\r\n".repeat(2049) + "0\r\n\r\n");
    assert_eq!(length(read(&many, OPEN)), extra);
    assert_eq!(length(read(&lines(100), OPEN)), Ok(0));
    assert_eq!(length(read(&lines(101), OPEN)), Err("invalid trailers of a chunked body".into()));
}
