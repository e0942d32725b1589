//! Warnings that are said once for each thing, and for so many things at the most: what comes over
//! the wire must not fill a log, or a memory.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// After so many things the rest goes unsaid.
const MOST: usize = 64;

/// What has been warned of.
#[derive(Debug, Default)]
pub(crate) struct Warned(Mutex<HashSet<String>>);

impl Warned {
    /// Whether this is the time to warn of `thing`.
    pub(crate) fn is_news(&self, thing: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !known.contains(thing) && known.len() < MOST && known.insert(thing.to_owned())
    }
}
