//! hyper as the oracle: it reads the same answers, and must read them in the same way. Where two readings are
//! possible, ours may refuse an answer.
//!
//! Each run makes other answers. `PFXHTTP_ORACLE_SEED` repeats one, `PFXHTTP_ORACLE_ANSWERS` sets their number.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::grammar::{Dice, answer, mutate};
use super::hypers::hypers;
use super::reading::{Reading, Whole, agree, ours, same};

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
