//! The retry budget of an entry: how many of its requests may be sent to a further target after one has seen
//! them. Without it, an API that is slow because it has too much to do would get even more.
//!
//! A share of the requests, plus three a second. What is not used is kept, up to a limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// In thousandths of a retry.
const EACH: u64 = 1000;
const PER_MILLISECOND: u64 = 3;
const MOST: u64 = 100 * EACH;

#[derive(Debug)]
pub(super) struct Budget {
    requests: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    credit: u64,
    /// The requests and the time up to which `credit` is counted.
    requests: u64,
    at: Instant,
}

impl Budget {
    /// It begins with the retries of one second.
    pub(super) fn new() -> Self {
        let kept = Kept { credit: 1000 * PER_MILLISECOND, requests: 0, at: Instant::now() };
        Self { requests: AtomicU64::new(0), kept: Mutex::new(kept) }
    }

    /// Counts a request.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a retry, if there is one. Requests since the last call have added `percent` of their number.
    pub(super) fn take(&self, percent: u64, now: Instant) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.requests.load(Ordering::Relaxed);
        let passed = now.saturating_duration_since(kept.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let more = requests.saturating_sub(kept.requests).saturating_mul(EACH / 100 * percent);
        let more = more.saturating_add(passed.saturating_mul(PER_MILLISECOND));
        kept.credit = kept.credit.saturating_add(more).min(MOST);
        kept.requests = requests;
        // Parts of a millisecond count at the next time.
        kept.at += std::time::Duration::from_millis(passed.min(1 << 40));
        let has_one = kept.credit >= EACH;
        if has_one {
            kept.credit -= EACH;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_share_of_the_requests_and_three_a_second() {
        let (budget, start) = (Budget::new(), Instant::now());
        let taken = |at| (0..1000).filter(|_| budget.take(20, at)).count();
        assert_eq!(taken(start), 3);
        (0..100).for_each(|_| budget.request());
        assert_eq!(taken(start), 20);
        assert!((29..=31).contains(&taken(start + Duration::from_secs(10))));
        (0..100_000).for_each(|_| budget.request());
        assert_eq!(taken(start + Duration::from_hours(9)), 100, "what is kept has a limit");
        let none = Budget::new();
        (0..1000).for_each(|_| none.request());
        assert!((0..1000).filter(|_| none.take(0, start)).count() <= 3);
    }
}
