//! Rate-limited warnings: what comes over the wire must fill neither the log nor memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// If so many subjects were warned of within a minute, all others are one subject.
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
        if self.is_recent() {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }

    fn is_recent(&self) -> bool {
        self.last.is_some_and(|last| last.elapsed() < INTERVAL)
    }
}

/// One warning for each of up to 64 subjects, and one for all others.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedWarnings(Mutex<Subjects>);

#[derive(Debug, Default)]
struct Subjects {
    known: HashMap<String, RateLimitedWarning>,
    others: RateLimitedWarning,
}

impl RateLimitedWarnings {
    /// Whether `subject` is new.
    pub(crate) fn is_first(&self, subject: &str) -> bool {
        let mut subjects = self.lock();
        !subjects.known.contains_key(subject) && subjects.warning(subject).is_due().is_some()
    }

    /// Whether `subject` is new, or was warned of a minute ago.
    pub(crate) fn is_due(&self, subject: &str) -> bool {
        self.lock().warning(subject).is_due().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Subjects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subjects {
    /// The warning of `subject`. If there is no room for a new one, those of more than a minute ago are forgotten.
    fn warning(&mut self, subject: &str) -> &mut RateLimitedWarning {
        if !self.known.contains_key(subject) {
            if self.known.len() >= SUBJECTS {
                self.known.retain(|_, warning| warning.is_recent());
            }
            if self.known.len() >= SUBJECTS {
                return &mut self.others;
            }
        }
        self.known.entry(subject.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_subjects_silence_no_later_one() {
        let warnings = RateLimitedWarnings::default();
        let due = (0..70).filter(|number| warnings.is_due(&format!("subject {number}"))).count();
        assert_eq!(due, SUBJECTS + 1, "those without room are one subject");
        assert!(!warnings.is_due("subject 0") && !warnings.is_due("new") && !warnings.is_first("new"));
        let mut subjects = warnings.lock();
        let Subjects { known, others } = &mut *subjects;
        for warning in known.values_mut().chain([others]) {
            warning.last = warning.last.and_then(|last| last.checked_sub(INTERVAL));
        }
        drop(subjects);
        assert!(warnings.is_first("new") && !warnings.is_first("new") && !warnings.is_due("new"));
        assert!(warnings.is_due("subject 0"));
        assert_eq!(warnings.lock().known.len(), 2, "the others are forgotten");
    }
}
