//! The fuzz target of answers.

use super::hypers::hypers;
use super::reading::{agree, ours, same};

/// A byte that says how the answer arrives, and the answer: whether the connection ends behind it, and the size of
/// its pieces.
///
/// hyper reads the same, or ours refuses. The pieces make no difference.
pub fn answers(bytes: &[u8]) {
    let Some((how, answer)) = bytes.split_first() else { return };
    let (ends, size) = (how & 1 == 1, 1 + usize::from(how >> 1));
    let (one, hypers) = (ours([answer], ends), hypers(answer, ends));
    assert!(agree(&one, &hypers), "ours: {one:?}\nhyper: {hypers:?}");
    let other = ours(answer.chunks(size), ends);
    assert!(same(&one, &other, ends), "in pieces of {size} bytes {other:?}, whole {one:?}");
}
