//! Rows 1 to 11: an API that does not answer, or not in HTTP. `api_answers` has the other rows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::answers::right;
use crate::driver::{Lane, Outcome};
use crate::ledger::Rules;
use crate::rig::{ALL, Rig, entries, play, play_on, play_through_postfix};
use crate::rows::{Row, row};
use crate::support::backend::{Reply, Request};
use crate::support::blackhole::Blackhole;
use crate::support::gzip::{bomb, gzip};
use crate::support::site::Way;

/// What the broker may gain in memory while hostile answers come in, three at a time.
const GROWTH_KIB: u64 = 32 * 1024;

pub(crate) fn raw(text: &str) -> Reply {
    Reply::Raw(text.as_bytes().to_vec())
}

/// A 200 with these header lines, each ended by CR LF, and this body.
pub(crate) fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}")
}

/// Plays each of these in turn, one for each request.
pub(crate) fn in_turn(replies: Vec<Reply>) -> impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static {
    let turn = AtomicUsize::new(0);
    move |_| Some(replies[turn.fetch_add(1, Ordering::Relaxed) % replies.len()].clone())
}

/// The times of temporary replies, but those of SMTP sessions, are in this range.
fn assert_took(outcome: &Outcome, least: Duration, most: Duration) {
    for (lane, took) in outcome.temporary.iter().filter(|(lane, _)| !["rcpt", "auth"].contains(lane)) {
        assert!((least..most).contains(took), "a temporary reply of {lane} took {took:?}");
    }
}

/// Plays answers that a broker without limits would keep in memory.
fn bounded(row: &Row, rig: &Rig, during: usize, replies: Vec<Reply>) {
    let before = rig.setup.broker.resident_kib();
    rig.setup.broker.forget_peak();
    // The allocator gives memory back after some milliseconds.
    let slow = |lane| Lane { threads: 1, pace: Duration::from_millis(20), ..lane };
    let lanes: Vec<Lane> = rig.lanes(Way::Unix).into_iter().map(slow).collect();
    play_on(row, rig, &lanes, [during, 40], Rules::default(), in_turn(replies));
    let grown = rig.setup.broker.peak_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "it took {grown} KiB");
}

#[test]
fn row_01_the_api_refuses() {
    let row = row("01");
    let mut rig = Rig::start(&[]);
    let (_postfix, smtp) = rig.postfix();
    let mut traffic = rig.traffic(&[&rig.lanes(Way::Unix)[..], &smtp].concat());
    traffic.more(20);
    traffic.fault(&["m", "p", "users", "rcpt", "auth"]);
    rig.api.backend.down();
    traffic.more(40);
    rig.api.backend.up();
    traffic.mended();
    traffic.more(40);
    let rules = Rules { budget: Duration::from_secs(8), ..Rules::default() };
    let outcome = row.counted(traffic.end(rules));
    assert!(ALL.iter().all(|lane| outcome.temporary_of(lane) > 20), "{:?}", outcome.temporary);
    assert!(outcome.temporary_of("rcpt") > 20 && outcome.temporary_of("auth") > 20, "451 and 454 by Postfix");
    assert_took(&outcome, Duration::ZERO, Duration::from_millis(900));
}

#[test]
#[ignore = "long: make faults"]
fn row_02_the_apis_queue_is_full() {
    let row = row("02");
    let hole = Blackhole::open();
    let rig = Rig::start_with(|config, api| {
        let config = config.map("hole", &hole.url("/map"), &["timeout: 8s"]);
        config.map("m", &api.url("/map"), &["timeout: 1s"])
    });
    let mut traffic = rig.traffic(&[rig.map(Way::Unix, "hole"), rig.map(Way::Unix, "m")]);
    traffic.fault(&["hole"]);
    traffic.more_of(6, &["hole"]);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary_of("hole") >= 6 && outcome.temporary_of("m") == 0);
    assert_took(&outcome, Duration::from_millis(1500), Duration::from_millis(2500));
    let slowest = outcome.p99_of("m");
    assert!(slowest < Duration::from_millis(200), "p99 of the other entry: {slowest:?}");
}

#[test]
fn row_03_the_api_hangs_before_its_headers() {
    let row = row("03");
    let outcome = play_through_postfix(&row, &Rig::start(&[]), 2, |_| Some(Reply::stall()));
    assert_took(&outcome, Duration::ZERO, Duration::from_millis(1900));
    assert!(outcome.temporary.iter().any(|(_, took)| *took > Duration::from_millis(900)), "the time limit");
}

#[test]
fn row_04_the_api_hangs_within_a_body() {
    let row = row("04");
    let rig = Rig::start(&[]);
    let fault = |_: &Request| Some(Reply::StalledBody(br#"{"value": "v", "action": "OK"}"#.to_vec()));
    let outcome = play(&row, &rig, 2, Rules { repetitions: 0, ..Rules::default() }, fault);
    assert!(outcome.temporary.iter().any(|(_, took)| *took > Duration::from_millis(900)), "the time limit");
    let open = rig.api.backend.open();
    assert!(open <= 6, "connections with half an answer are closed: {open} are open");
}

#[test]
fn row_05_the_api_resets_within_an_answer() {
    let row = row("05");
    let cut = |text: &str| Reply::Cut(text.as_bytes().to_vec());
    let replies = vec![
        cut("HTTP/1.1 20"),
        cut("HTTP/1.1 200 OK\r\nContent-Le"),
        cut(&ok("Auth-Status: OK\r\nContent-Length: 14\r\n", r#"{"value""#)),
        cut(&ok("", r#"{"value": "#)),
        Reply::Reset,
    ];
    play(&row, &Rig::start(&[]), 40, Rules::default(), in_turn(replies));
}

#[test]
fn row_06_the_api_closes_each_connection() {
    let row = row("06");
    let rig = Rig::start(&[]);
    rig.api.fault(|request| Some(Reply::Last(Box::new(right(request)))));
    let mut traffic = rig.traffic(&rig.lanes(Way::Unix));
    // A password is sent on a connection that is alive at this moment. The API may close it in the next one: then
    // it may have read the password, so it is not sent again. That is rare.
    traffic.fault(&["users"]);
    traffic.more(150);
    let outcome = row.counted(traffic.end(Rules { passwords: 1, ..Rules::default() }));
    let (closed, logins) = (outcome.temporary_of("users"), outcome.definitive_of("users"));
    assert!(closed * 20 < logins, "{closed} closed, {logins} answered");
    assert!(rig.api.backend.connections() >= 450, "each request has a connection of its own");
}

#[test]
fn row_07_no_http_and_a_head_of_1_mib() {
    let row = row("07");
    let (mib, over) = ("x".repeat(1 << 20), "x".repeat(100_000));
    let replies = vec![
        raw("220 mx.test.example ESMTP\r\n"),
        Reply::Raw(vec![0; 4096]),
        raw("HTTP/1.1 banana\r\n\r\n{}"),
        raw(&ok(&format!("X: {mib}\r\nContent-Length: 2\r\n"), "{}")),
        raw(&format!("HTTP/1.1 200 {mib}\r\n\r\n{{}}")),
        // Short enough to be read in time, and over the limit.
        raw(&ok(&format!("X: {over}\r\nContent-Length: 2\r\n"), "{}")),
    ];
    bounded(&row, &Rig::start(&[]), 40, replies);
}

#[test]
fn row_08_a_body_without_end() {
    let row = row("08");
    let endless = |headers: &str, piece: &[u8]| Reply::Endless(ok(headers, "").into_bytes(), piece.to_vec());
    let piece = vec![b' '; 1 << 16];
    let chunk = [b"10000\r\n".as_slice(), &piece, b"\r\n"].concat();
    let replies = vec![
        endless("", &piece),
        endless("Transfer-Encoding: chunked\r\n", &chunk),
        endless("Content-Length: 1000000000\r\n", &piece),
    ];
    let rig = Rig::start(&[]);
    bounded(&row, &rig, 10, replies);
}

#[test]
fn row_09_gzip_that_is_none() {
    let row = row("09");
    let gzipped = |body: Vec<u8>| Reply::with_header("Content-Encoding", "gzip", body);
    let whole = gzip(br#"{"value": "v", "action": "OK"}"#);
    let mut checksum = whole.clone();
    let place = checksum.len() - 8;
    checksum[place] ^= 0x55;
    let replies = vec![
        gzipped(bomb(32 << 20)),
        gzipped(whole[..whole.len() - 1].to_vec()),
        gzipped(checksum),
        gzipped(b"no gzip".to_vec()),
    ];
    bounded(&row, &Rig::start(&["http_response_compression: true"]), 20, replies);
}

#[test]
fn row_10_one_byte_at_a_time() {
    let row = row("10");
    let rig = Rig::start_with(|config, api| {
        let config = entries(config, api, &[]);
        config.map("other", &api.url("/other"), &["timeout: 1s"])
    });
    let mut lanes = rig.lanes(Way::Unix);
    lanes.push(rig.map(Way::Unix, "other"));
    let mut traffic = rig.traffic(&lanes);
    traffic.more(20);
    traffic.fault(&ALL);
    rig.api.fault(|request| {
        let body = br#"{"value": "v", "action": "OK"}"#.to_vec();
        (request.path != "/other").then(|| Reply::Trickle(body, Duration::from_millis(100)))
    });
    traffic.more_of(3, &ALL);
    rig.api.mend();
    traffic.mended();
    traffic.more(40);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(ALL.iter().all(|lane| outcome.temporary_of(lane) > 0), "{:?}", outcome.temporary);
    assert!(outcome.p99_of("other") < Duration::from_millis(300), "{:?}", outcome.p99_of("other"));
}

#[test]
fn row_11_a_flood_of_interim_answers() {
    let row = row("11");
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100);
    let body = r#"{"value": "v", "action": "OK"}"#;
    let last = ok(&format!("Auth-Status: OK\r\nContent-Length: {}\r\n", body.len()), body);
    let reply = Reply::Kept((interim + &last).into_bytes());
    play(&row, &Rig::start(&[]), 40, Rules::default(), in_turn(vec![reply]));
}
