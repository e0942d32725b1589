//! hyper as the oracle: it reads the same answers, and must read them in the same way. Where two readings are
//! possible, ours may refuse an answer.
//!
//! Each run makes other answers. `PFXHTTP_ORACLE_SEED` repeats one, `PFXHTTP_ORACLE_ANSWERS` sets their number.

use std::collections::BTreeMap;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use http_body_util::Empty;
use hyper::Response;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::grammar::{Dice, answer, mutate};
use super::reading::{Reading, Whole, ours};
use super::{MAX_HEAD, MAX_LINES};

/// Answers of each of two tests, unless the environment says otherwise. In a debug build each costs 0.1 ms.
const ANSWERS: usize = 500_000;
/// One of so many answers is also read byte by byte, which takes longest.
const BYTEWISE: u64 = 4;
/// What ours refuses on purpose and hyper reads.
const DELIBERATE: [&str; 6] = [
    "it changes the protocol (101), which was not asked for",
    "two lengths of its body",
    "a length of its body beside a transfer coding",
    "a transfer coding other than `chunked`",
    "a length of its body that is no number",
    "more than 8 interim answers (1xx)",
];

/// A connection on which the answer comes as soon as the request is written.
struct Peer<'b> {
    left: &'b [u8],
    ends: bool,
    is_asked: bool,
}

impl Read for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked || self.left.is_empty() && !self.ends {
            return Poll::Pending;
        }
        let (now, left) = self.left.split_at(self.left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Driver<'b> = Connection<Peer<'b>, Empty<Bytes>>;

/// Polls the driver, and then `step`, until that is ready; `None` if nothing moves any more.
fn drive<T>(
    driver: &mut Option<Driver<'_>>,
    cx: &mut Context<'_>,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    // hyper reads no more than it needs; three rounds bring each step from the socket to here.
    for _ in 0..3 {
        if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
            *driver = None;
        }
        if let Poll::Ready(done) = step(cx) {
            return Some(done);
        }
    }
    None
}

/// The reading of hyper.
fn hypers(bytes: &[u8], ends: bool) -> Reading {
    let cx = &mut Context::from_waker(Waker::noop());
    let peer = Peer { left: bytes, ends, is_asked: false };
    let mut builder = Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_LINES).allow_obsolete_multiline_headers_in_responses(true);
    let Poll::Ready(Ok((mut sender, driver))) = pin!(builder.handshake(peer)).poll(cx) else {
        panic!("a handshake of HTTP/1.1 sends nothing")
    };
    let mut driver = Some(driver);
    let mut head = pin!(sender.send_request(hyper::Request::new(Empty::new())));
    match drive(&mut driver, cx, |cx| head.as_mut().poll(cx)) {
        None => Reading::Incomplete,
        Some(Err(error)) if error.is_incomplete_message() => Reading::Incomplete,
        Some(Err(error)) => Reading::Refused(error.to_string()),
        Some(Ok(response)) => hypers_body(response, &mut driver, &mut sender, cx),
    }
}

fn hypers_body(
    response: Response<Incoming>,
    driver: &mut Option<Driver<'_>>,
    sender: &mut SendRequest<Empty<Bytes>>,
    cx: &mut Context<'_>,
) -> Reading {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    loop {
        match drive(driver, cx, |cx| Pin::new(&mut incoming).poll_frame(cx)) {
            None => return Reading::Incomplete,
            Some(Some(Err(error))) => return Reading::Refused(error.to_string()),
            Some(Some(Ok(frame))) => body.extend(frame.into_data().unwrap_or_default()),
            Some(None) => break,
        }
    }
    let is_kept = drive(driver, cx, |_| if sender.is_ready() { Poll::Ready(()) } else { Poll::Pending });
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| (name.as_str().into(), value.as_bytes().into())).collect();
    Reading::Whole(Whole { status: head.status.as_u16(), fields, body, is_kept: is_kept.is_some() })
}

/// Whether ours may stand beside that of hyper.
fn agree(ours: &Reading, hypers: &Reading) -> bool {
    match (ours, hypers) {
        (Reading::Whole(ours), Reading::Whole(hypers)) => {
            (ours.status, &ours.fields, &ours.body) == (hypers.status, &hypers.fields, &hypers.body)
                && (hypers.is_kept || !ours.is_kept)
        }
        (Reading::Whole(_), _) => false,
        _ => true,
    }
}

/// Whether two readings of different segments are the same. Of an open connection more may come.
fn same(one: &Reading, other: &Reading, ends: bool) -> bool {
    match (one, other) {
        (Reading::Refused(_), Reading::Refused(_)) => true,
        (Reading::Refused(_) | Reading::Incomplete, Reading::Refused(_) | Reading::Incomplete) if !ends => {
            true
        }
        _ => one == other,
    }
}

fn cut<'b>(dice: &mut Dice, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let most = 1 + bytes.len() / (1 + dice.below(8));
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at((1 + dice.below(most)).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What became of the answers that were not mutated and that hyper reads.
#[derive(Default)]
struct Tally {
    both: usize,
    refused: BTreeMap<String, usize>,
}

/// Reads one answer in all ways.
fn compare(seed: u64, ends: bool, tally: &mut Tally) {
    let dice = &mut Dice::new(seed);
    let mut bytes = answer(dice);
    let is_mutated = dice.chance(50);
    if is_mutated {
        mutate(dice, &mut bytes);
    }
    let (one, hypers) = (ours([bytes.as_slice()], ends), hypers(&bytes, ends));
    let shown = || format!("seed {seed}: {}\nours: {one:?}\nhyper: {hypers:?}", bytes.escape_ascii());
    assert!(agree(&one, &hypers), "they disagree, {}", shown());
    // Bytes behind the answer come with it in one segment, and later in others: kept is what has none behind it.
    let bytewise = seed.is_multiple_of(BYTEWISE).then(|| bytes.chunks(1).collect::<Vec<_>>());
    for pieces in bytewise.into_iter().chain([cut(dice, &bytes)]) {
        let other = ours(pieces, ends);
        assert!(same(&one, &other, ends), "in pieces {other:?}, {}", shown());
    }
    match (one, hypers) {
        _ if is_mutated => {}
        (Reading::Whole(_), Reading::Whole(_)) => tally.both += 1,
        (Reading::Refused(reason), Reading::Whole(_)) => *tally.refused.entry(reason).or_default() += 1,
        (Reading::Incomplete, Reading::Whole(_)) => {
            *tally.refused.entry("no answer".into()).or_default() += 1
        }
        _ => {}
    }
}

fn compares(ends: bool, count: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let first = number("PFXHTTP_ORACLE_SEED").unwrap_or(now >> 8);
    let mut tally = Tally::default();
    for answer in 0..count {
        compare(first.wrapping_add(answer as u64), ends, &mut tally);
    }
    let Tally { both, refused } = tally;
    println!("seed {first}, {count} answers, {both} read by both; hyper alone reads {refused:?}");
    if count < 10_000 {
        return;
    }
    let deliberate = |reason: &str| DELIBERATE.contains(&reason);
    let others: usize =
        refused.iter().filter(|(reason, _)| !deliberate(reason)).map(|(_, count)| count).sum();
    assert!(both * 5 > count, "half of the answers are not mutated, and most of them are valid");
    assert!(others * 10 < both, "too many are refused: {refused:?}");
}

fn count(unless: usize) -> usize {
    number("PFXHTTP_ORACLE_ANSWERS").map_or(unless, |count| count as usize)
}

#[test]
fn answers_are_read_as_hyper_reads_them_if_the_connection_stays_open() {
    compares(false, count(ANSWERS));
}

#[test]
fn answers_are_read_as_hyper_reads_them_if_the_connection_ends() {
    compares(true, count(ANSWERS));
}

/// For a release build.
#[test]
#[ignore = "by hand"]
fn many_answers_are_read_as_hyper_reads_them() {
    let count = count(100_000_000);
    compares(false, count / 2);
    compares(true, count - count / 2);
}

/// The comparison itself: each of these faults must be found in a small part of the answers.
#[test]
fn a_wrong_reading_is_found() {
    type Fault = fn(&mut Whole);
    let faults: [(&str, Fault); 6] = [
        ("a connection is kept after all", |whole| whole.is_kept = true),
        ("the last line break of a body is lost", |whole| {
            whole.body.truncate(whole.body.trim_ascii_end().len());
        }),
        ("a body goes on", |whole| whole.body.extend_from_slice(b"\r\n")),
        ("one of two fields counts", |whole| whole.fields.dedup_by(|next, one| next.0 == one.0)),
        ("a value ends at a tab", |whole| {
            for (_, value) in &mut whole.fields {
                value.truncate(value.iter().position(|byte| *byte == b'\t').unwrap_or(value.len()));
            }
        }),
        ("an unknown status is 200", |whole| {
            if whole.status >= 600 {
                whole.status = 200;
            }
        }),
    ];
    for (name, fault) in faults {
        let is_found = (0..5_000).any(|seed| {
            let dice = &mut Dice::new(seed);
            let bytes = answer(dice);
            let mut reading = ours([bytes.as_slice()], false);
            let Reading::Whole(whole) = &mut reading else { return false };
            fault(whole);
            !agree(&reading, &hypers(&bytes, false))
        });
        assert!(is_found, "{name}");
    }
}
