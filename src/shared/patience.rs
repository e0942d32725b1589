//! When the shared cache is not waited for: after three late answers in a row no lookup waits for a second. Then one
//! read tries it, and a late answer begins the next second.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LATE: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// How the last reads went.
#[derive(Debug)]
pub(super) struct Patience {
    start: Instant,
    /// Late answers since the last one in time.
    late: AtomicU32,
    /// The end of the pause, in milliseconds after `start`; 0: there is none.
    until: AtomicU64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { start: Instant::now(), late: AtomicU32::new(0), until: AtomicU64::new(0) }
    }
}

impl Patience {
    /// Whether a read at `now` may wait. At the end of a pause this is one.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.millis(now);
        let next = now + millis(PAUSE);
        now >= until && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Notes a late answer. True: a pause begins.
    pub(super) fn late(&self, now: Instant) -> bool {
        let pauses = self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE;
        if pauses {
            self.until.store(self.millis(now) + millis(PAUSE), Ordering::Relaxed);
        }
        pauses
    }

    /// Notes an answer in time.
    pub(super) fn in_time(&self) {
        self.late.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        // Never 0.
        1 + millis(now.saturating_duration_since(self.start))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_late_answers_make_a_pause_that_one_read_ends() {
        let patience = Patience::default();
        let at = |ms| patience.start + Duration::from_millis(ms);
        for _ in 0..2 {
            assert!(!patience.late(at(0)));
            assert!(patience.allows(at(0)));
        }
        patience.in_time();
        (0..2).for_each(|_| assert!(!patience.late(at(0))));
        assert!(patience.allows(at(0)), "the row was broken");
        assert!(patience.late(at(10)));
        assert!(!patience.allows(at(10)) && !patience.allows(at(1009)));
        assert!(patience.allows(at(1010)), "one tries");
        assert!(!patience.allows(at(1010)), "and no other");
        assert!(patience.late(at(1015)));
        assert!(!patience.allows(at(2014)) && patience.allows(at(2015)));
        patience.in_time();
        assert!((0..5).all(|_| patience.allows(at(2020))));
    }
}
