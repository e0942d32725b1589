//! Warnings that are said once for each thing, or once a minute, and for so many things at the most:
//! what comes over the wire must not fill a log, or a memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After so many things the rest goes unsaid.
const MOST: usize = 64;
/// How often a thing that lasts is said.
const EVERY: Duration = Duration::from_mins(1);

/// What has been warned of, and when.
#[derive(Debug, Default)]
pub(crate) struct Warned(Mutex<HashMap<String, Instant>>);

impl Warned {
    /// Whether this is the time to warn of `thing`, for good.
    pub(crate) fn is_news(&self, thing: &str) -> bool {
        self.is_time(thing, |_| false)
    }

    /// Whether this is the time to warn of `thing`, again and again.
    pub(crate) fn is_due(&self, thing: &str) -> bool {
        self.is_time(thing, |said| said.elapsed() >= EVERY)
    }

    fn is_time(&self, thing: &str, again: impl Fn(Instant) -> bool) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = match known.get(thing) {
            Some(said) => again(*said),
            None => known.len() < MOST,
        };
        if is_time {
            known.insert(thing.to_owned(), Instant::now());
        }
        is_time
    }
}
