//! Rate-limited warnings: what comes over the wire must fill neither the log nor memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After so many subjects no further one is warned of.
const SUBJECTS: usize = 64;
const INTERVAL: Duration = Duration::from_mins(1);

/// One warning, at most once a minute.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedWarning {
    last: Option<Instant>,
    suppressed: u64,
}

impl RateLimitedWarning {
    /// If the warning is due: how often it was suppressed since the last time.
    pub(crate) fn is_due(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// One warning for each of up to 64 subjects.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedWarnings(Mutex<HashMap<String, RateLimitedWarning>>);

impl RateLimitedWarnings {
    /// Whether `subject` is new.
    pub(crate) fn is_first(&self, subject: &str) -> bool {
        let mut subjects = self.lock();
        !subjects.contains_key(subject) && add(&mut subjects, subject)
    }

    /// Whether `subject` is new, or was warned of a minute ago.
    pub(crate) fn is_due(&self, subject: &str) -> bool {
        let mut subjects = self.lock();
        match subjects.get_mut(subject) {
            Some(warning) => warning.is_due().is_some(),
            None => add(&mut subjects, subject),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, RateLimitedWarning>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(subjects: &mut HashMap<String, RateLimitedWarning>, subject: &str) -> bool {
    if subjects.len() >= SUBJECTS {
        return false;
    }
    subjects.insert(subject.to_owned(), RateLimitedWarning { last: Some(Instant::now()), suppressed: 0 });
    true
}
