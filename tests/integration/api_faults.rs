//! Faults of an API: each one gives the reply that it is documented to give, within the entry's
//! timeout, and the connection to Postfix stays open.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::peer::Peer;
use crate::support::setup::Setup;

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &str = r#"{"value": "v"}"#;
/// The entry's timeout, and the delay that is allowed on top of it.
const TIMEOUT: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(500);

/// A name, what the API sends, and the reply.
type Row = (&'static str, Reply, &'static str);

fn raw(text: &str) -> Reply {
    Reply::Raw(text.as_bytes().to_vec())
}

fn kept(text: &str) -> Reply {
    Reply::Kept(text.as_bytes().to_vec())
}

/// A 200 with these header lines, each ended by CR LF, and this body.
fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}")
}

/// Plays each row directly, and with the backend as a proxy: the same rules hold for both.
fn plays(rows: &[Row]) {
    for proxied in [false, true] {
        play(rows, proxied);
    }
}

fn play(rows: &[Row], proxied: bool) {
    let replies: Vec<(&str, Reply)> = rows.iter().map(|(name, reply, _)| (*name, reply.clone())).collect();
    let api = Backend::start(move |request: &Request| {
        let key = request.text("key");
        let row = replies.iter().find(|(name, _)| *name == key);
        row.map_or_else(|| Reply::json(&format!(r#"{{"value": "{key}"}}"#)), |(_, reply)| reply.clone())
    });
    let setup = Setup::start(|config| {
        let config = if proxied { config.proxy(&api.url("")) } else { config };
        let target = if proxied { "http://127.0.0.1:1/".to_owned() } else { api.url("/") };
        config.map("m", &target, &["timeout: 1s"])
    });
    let way = if proxied { "through a proxy" } else { "directly" };
    let mut peer = setup.map();
    let (mut got, mut due) = (Vec::new(), Vec::new());
    for (name, _, reply) in rows {
        let start = Instant::now();
        got.push(format!("{name}: {}", peer.look_up("m", name)));
        due.push(format!("{name}: {reply}"));
        assert!(start.elapsed() < TIMEOUT + GRACE, "{name} {way} took {:?}", start.elapsed());
        assert_usable(&mut peer, name);
    }
    assert_eq!(got, due, "{way}");
    for (name, _, _) in rows {
        let seen = api.requests().iter().filter(|request| request.text("key") == *name).count();
        assert!((1..=2).contains(&seen), "{name} was asked {seen} times {way}");
    }
}

/// The next lookup gets its own answer, and no bytes that were left over.
fn assert_usable(peer: &mut Peer, behind: &str) {
    let key = format!("behind {behind}");
    assert_eq!(peer.look_up("m", &key), format!("OK {key}"), "behind {behind}");
}

#[test]
fn an_answer_that_breaks_off_is_a_failure() {
    let cut = |text: &str| Reply::Cut(text.as_bytes().to_vec());
    plays(&[
        ("closed", Reply::Close, TEMP),
        ("reset", Reply::Reset, TEMP),
        ("reset in the status line", cut("HTTP/1.1 20"), TEMP),
        ("reset in the head", cut("HTTP/1.1 200 OK\r\nContent-Le"), TEMP),
        ("reset behind the head", cut(&ok("Content-Length: 14\r\n", "")), TEMP),
        ("reset in the body", cut(&ok("Content-Length: 14\r\n", r#"{"value""#)), TEMP),
        ("reset without a length", cut(&ok("", r#"{"value": "#)), TEMP),
        ("closed in the head", raw("HTTP/1.1 200 OK\r\nContent-Length: 14"), TEMP),
        ("closed in the body", raw(&ok("Content-Length: 100\r\n", VALUE)), TEMP),
        (
            "closed between chunks",
            raw(&ok("Transfer-Encoding: chunked\r\n", "e\r\n{\"value\": \"v\"}\r\n")),
            TEMP,
        ),
        ("closed in a chunk", raw(&ok("Transfer-Encoding: chunked\r\n", "ff\r\n{\"value\": \"v\"}")), TEMP),
    ]);
}

#[test]
fn an_answer_that_does_not_come_costs_the_timeout() {
    let started = |text: &str| Reply::Started(text.as_bytes().to_vec());
    let trickle = Reply::Trickle(VALUE.as_bytes().to_vec(), Duration::from_millis(100));
    let rows: Vec<Row> = vec![
        ("not a byte", Reply::stall(), TEMP),
        ("half a head", started("HTTP/1.1 200 OK\r\nContent-Le"), TEMP),
        ("half a body", Reply::StalledBody(VALUE.as_bytes().to_vec()), TEMP),
        ("half a chunk", started(&ok("Transfer-Encoding: chunked\r\n", "e\r\n{")), TEMP),
        ("a body without an end", started(&ok("", VALUE)), TEMP),
        ("a continue and nothing else", started("HTTP/1.1 100 Continue\r\n\r\n"), TEMP),
        ("byte by byte", trickle, TEMP),
    ];
    let replies: Vec<Reply> = rows.iter().map(|(_, reply, _)| reply.clone()).collect();
    let names: Vec<&str> = rows.iter().map(|(name, _, _)| *name).collect();
    let api = Backend::start(move |request: &Request| {
        let key = request.text("key");
        let row = names.iter().position(|name| *name == key);
        row.map_or_else(|| Reply::json(&format!(r#"{{"value": "{key}"}}"#)), |row| replies[row].clone())
    });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &["timeout: 1s"]));
    for (name, _, reply) in rows {
        let (mut peer, before, start) = (setup.map(), api.count(), Instant::now());
        assert_eq!(peer.look_up("m", name), reply, "{name}");
        let took = start.elapsed();
        assert!((TIMEOUT - GRACE / 5..TIMEOUT + GRACE).contains(&took), "{name} took {took:?}");
        assert_eq!(api.count(), before + 1, "{name}: one request");
        assert_usable(&mut peer, name);
    }
}

#[test]
fn an_answer_that_is_not_http_is_a_failure() {
    let long = |name: &str, bytes: usize| format!("{name}: {}\r\n", "x".repeat(bytes));
    let many: String = (0..3000).map(|number| format!("X-Header-{number}: {number}\r\n")).collect();
    let length = "Content-Length: 14\r\n";
    plays(&[
        ("a banner", raw("220 mx.test.example ESMTP\r\n"), TEMP),
        ("zeros", Reply::Raw(vec![0; 4096]), TEMP),
        ("TLS", Reply::Raw(b"\x15\x03\x01\x00\x02\x02\x28".to_vec()), TEMP),
        ("no status", raw("HTTP/1.1 banana\r\n\r\n{}"), TEMP),
        ("a status of five digits", raw("HTTP/1.1 20000 OK\r\n\r\n{}"), TEMP),
        ("a status below 100", raw("HTTP/1.1 020 OK\r\n\r\n{}"), TEMP),
        ("another version", raw("HTTP/7.1 200 OK\r\n\r\n{}"), TEMP),
        ("another protocol", raw("ICY 200 OK\r\n\r\n{}"), TEMP),
        ("a header without colon", raw(&ok("Content Length 14\r\n", VALUE)), TEMP),
        ("two lengths", raw(&ok("Content-Length: 14\r\nContent-Length: 15\r\n", VALUE)), TEMP),
        ("a negative length", raw(&ok("Content-Length: -1\r\n", VALUE)), TEMP),
        ("a length in words", raw(&ok("Content-Length: many\r\n", VALUE)), TEMP),
        ("a length of 2^64", raw(&ok("Content-Length: 18446744073709551616\r\n", VALUE)), TEMP),
        ("a length of 1 TB", raw(&ok("Content-Length: 1000000000000\r\n", VALUE)), TEMP),
        ("a header of 70 kB", kept(&ok(&format!("{length}{}", long("X-Long", 70_000)), VALUE)), TEMP),
        ("headers of 80 kB", kept(&ok(&format!("{length}{many}"), VALUE)), TEMP),
        (
            "headers of 32 kB",
            kept(&ok(&format!("{length}{}", long("X-Long", 8_000).repeat(4)), VALUE)),
            "OK v",
        ),
        ("a status line of 100 kB", raw(&format!("HTTP/1.1 200 {}\r\n\r\n{{}}", "x".repeat(100_000))), TEMP),
    ]);
}

#[test]
fn a_body_ends_where_the_head_says() {
    let chunked = |body: &str| ok("Transfer-Encoding: chunked\r\n", body);
    let smuggled = ok("Content-Length: 18\r\n", r#"{"value": "wrong"}"#);
    plays(&[
        ("chunks", kept(&chunked("7\r\n{\"value\r\n7\r\n\": \"v\"}\r\n0\r\n\r\n")), "OK v"),
        ("chunks and a trailer", kept(&chunked("e\r\n{\"value\": \"v\"}\r\n0\r\nX-T: 1\r\n\r\n")), "OK v"),
        ("a chunk of no size", raw(&chunked("banana\r\n{}\r\n0\r\n\r\n")), TEMP),
        ("a chunk of 2^64 bytes", raw(&chunked("10000000000000000\r\n{}\r\n0\r\n\r\n")), TEMP),
        ("a chunk of 2^64-1 bytes", raw(&chunked("ffffffffffffffff\r\n{}\r\n0\r\n\r\n")), TEMP),
        ("a chunk longer than its size", raw(&chunked("2\r\n{\"value\": \"v\"}\r\n0\r\n\r\n")), TEMP),
        ("a negative chunk", raw(&chunked("-1\r\n{}\r\n0\r\n\r\n")), TEMP),
        ("HTTP/1.0", raw("HTTP/1.0 200 OK\r\n\r\n{\"value\": \"v\"}"), "OK v"),
        ("no length, closed", raw(&ok("", VALUE)), "OK v"),
        ("no length, announced", raw(&ok("Connection: close\r\n", VALUE)), "OK v"),
        ("a length that is too small", kept(&ok("Content-Length: 5\r\n", VALUE)), TEMP),
        ("an answer without a request", kept(&(ok("Content-Length: 14\r\n", VALUE) + &smuggled)), "OK v"),
        ("no reason", kept("HTTP/1.1 200\r\nContent-Length: 14\r\n\r\n{\"value\": \"v\"}"), "OK v"),
        ("LF alone", raw("HTTP/1.1 200 OK\nContent-Length: 14\n\n{\"value\": \"v\"}"), "OK v"),
    ]);
}

/// The broker undoes no transfer coding but `chunked`: it would take coded bytes for the body.
#[test]
fn an_unknown_transfer_coding_is_a_failure() {
    let coded = |headers: &str| kept(&ok(headers, "e\r\n{\"value\": \"v\"}\r\n0\r\n\r\n"));
    plays(&[
        ("gzip and chunked", coded("Transfer-Encoding: gzip, chunked\r\n"), TEMP),
        ("in capitals", coded("TRANSFER-ENCODING: GZIP,CHUNKED\r\n"), TEMP),
        ("in two lines", coded("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), TEMP),
        ("in three lines", coded("Transfer-Encoding: x\r\nX: y\r\nTransfer-Encoding: chunked\r\n"), TEMP),
        ("deflate", coded("Transfer-Encoding: deflate, chunked\r\n"), TEMP),
        ("identity", coded("Transfer-Encoding: identity, chunked\r\n"), TEMP),
        ("chunked twice", coded("Transfer-Encoding: chunked, chunked\r\n"), TEMP),
        ("chunked with a parameter", coded("Transfer-Encoding: chunked;q=1\r\n"), TEMP),
        ("gzip alone", raw(&ok("Transfer-Encoding: gzip\r\n", VALUE)), TEMP),
        ("chunked and a comma", raw(&ok("Transfer-Encoding: chunked,\r\n", VALUE)), TEMP),
        ("identity alone", raw(&ok("Transfer-Encoding: identity\r\n", VALUE)), TEMP),
        ("nothing", raw(&ok("Transfer-Encoding:\r\n", VALUE)), TEMP),
        ("gzip behind chunked", raw(&ok("Transfer-Encoding: chunked, gzip\r\n", VALUE)), TEMP),
        ("chunked in any case", coded("Transfer-Encoding: Chunked\r\n"), "OK v"),
        ("chunked with blanks", coded("Transfer-Encoding: \t chunked \r\n"), "OK v"),
    ]);
}

#[test]
fn a_head_may_have_256_lines_and_folded_ones() {
    let lines = |count: usize| -> String { (1..count).map(|number| format!("X-{number}: y\r\n")).collect() };
    let length = "Content-Length: 14\r\n";
    let folded = "X-Folded: one\r\n two\r\n\tthree\r\n";
    plays(&[
        ("a hundred lines", kept(&ok(&format!("{length}{}", lines(100)), VALUE)), "OK v"),
        ("101 lines", kept(&ok(&format!("{length}{}", lines(101)), VALUE)), "OK v"),
        ("256 lines", kept(&ok(&format!("{}{length}", lines(256)), VALUE)), "OK v"),
        ("257 lines", kept(&ok(&format!("{}{length}", lines(257)), VALUE)), TEMP),
        ("a folded line", kept(&ok(&format!("{folded}{length}"), VALUE)), "OK v"),
        ("a folded length", kept(&ok("Content-Length:\r\n 14\r\n", VALUE)), "OK v"),
        ("a folded status", raw(&format!("HTTP/1.1 200 OK\r\n folded\r\n{length}\r\n{VALUE}")), TEMP),
    ]);
}

#[test]
fn interim_answers_are_skipped_up_to_a_bound() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let with = |count: usize| interim.repeat(count) + &ok("Content-Length: 14\r\n", VALUE);
    let three = ("three interim answers", kept(&with(3)), "OK v");
    let continues = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    plays(&[
        three,
        ("a hundred interim answers", kept(&with(100)), TEMP),
        ("a hundred continues", kept(&(continues + &with(0))), TEMP),
    ]);
}

/// Interim answers are counted for each answer, not for each connection.
#[test]
fn an_interim_answer_before_each_answer_on_a_kept_connection() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let answer = kept(&(interim.to_owned() + &ok("Content-Length: 14\r\n", VALUE)));
    let api = Backend::start(move |_| answer.clone());
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peer = setup.map();
    for key in 0..20 {
        assert_eq!(peer.look_up("m", &format!("{key}")), "OK v", "key {key}");
    }
    assert_eq!(api.connections(), 1);
}

#[test]
fn answers_without_a_body_and_redirects() {
    let moved = |status: u16| Reply::Answer {
        status,
        headers: vec![("Location".to_owned(), "/elsewhere".to_owned())],
        body: VALUE.as_bytes().to_vec(),
    };
    plays(&[
        ("204", Reply::status(204), "PERM unexpected status code received: 204"),
        ("304", Reply::status(304), "PERM unexpected status code received: 304"),
        ("200 without a body", Reply::json(""), TEMP),
        ("301", moved(301), "PERM unexpected status code received: 301"),
        ("302", moved(302), "PERM unexpected status code received: 302"),
        ("303", moved(303), "PERM unexpected status code received: 303"),
        ("307", moved(307), "PERM unexpected status code received: 307"),
        ("308", moved(308), "PERM unexpected status code received: 308"),
    ]);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Backend::constant(r#"{"value": "wrong", "action": "OK"}"#);
    let place = elsewhere.url("/");
    let api = Backend::start(move |_| Reply::Answer {
        status: 307,
        headers: vec![("Location".to_owned(), place.clone())],
        body: Vec::new(),
    });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[]));
    assert_eq!(setup.map().look_up("m", "k"), "PERM unexpected status code received: 307");
    let reply = setup.policy("p").ask(&[("sender", "a@example.com")]);
    assert_eq!(reply, "action=DEFER Temporary server problem\n\n");
    assert_eq!((api.count(), elsewhere.count()), (2, 0), "one request each, and no redirect is followed");
}

/// A body may have 1 MiB. A longer one is refused at once, and takes no memory beyond that.
#[test]
fn an_endless_body_is_cut_at_the_bound() {
    const LIMIT_KIB: u64 = 16 * 1024;
    let blown = |size: usize| VALUE.to_owned() + &" ".repeat(size - VALUE.len());
    let piece = vec![b' '; 1 << 16];
    let chunk = [b"10000\r\n".as_slice(), &piece, b"\r\n"].concat();
    let endless = |headers: &str, piece: &[u8]| Reply::Endless(ok(headers, "").into_bytes(), piece.to_vec());
    let api = Backend::constant(VALUE);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &["timeout: 5s"]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "warm"), "OK v");
    let before = setup.broker.resident_kib();
    setup.broker.forget_peak();
    for (what, reply, due) in [
        ("1 MiB", Reply::json(&blown(1 << 20)), "OK v"),
        ("1 MiB and a byte", Reply::json(&blown((1 << 20) + 1)), TEMP),
        ("endless", endless("", &piece), TEMP),
        ("endless chunks", endless("Transfer-Encoding: chunked\r\n", &chunk), TEMP),
        ("1 GB announced", endless("Content-Length: 1000000000\r\n", &piece), TEMP),
        ("an endless head", Reply::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), piece.clone()), TEMP),
        ("endless headers", Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(1000)), TEMP),
    ] {
        api.answer_with(move |_| reply.clone());
        let start = Instant::now();
        assert_eq!(peer.look_up("m", what), due, "{what}");
        assert!(start.elapsed() < Duration::from_secs(3), "{what} took {:?}", start.elapsed());
    }
    let growth = setup.broker.peak_kib().saturating_sub(before);
    assert!(growth < LIMIT_KIB, "it took {growth} KiB at the most");
    api.answer_with(|_| Reply::json(VALUE));
    assert_eq!(peer.look_up("m", "k"), "OK v", "the connection goes on");
}
