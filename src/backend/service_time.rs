//! How long a worker is busy with one lookup: running estimates of mean and deviation, as in RFC 6298 (2).
//! Threads add to it without a lock; a lost sample does no harm.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// In nanoseconds; zero before the first sample.
#[derive(Debug, Default)]
pub(super) struct ServiceTime {
    mean: AtomicU64,
    deviation: AtomicU64,
}

impl ServiceTime {
    pub(super) fn add(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 8);
        let mean = self.mean.load(Ordering::Relaxed);
        if mean == 0 {
            self.mean.store(time, Ordering::Relaxed);
            self.deviation.store(time / 2, Ordering::Relaxed);
            return;
        }
        let deviation = self.deviation.load(Ordering::Relaxed);
        self.deviation.store((3 * deviation + time.abs_diff(mean)) / 4, Ordering::Relaxed);
        self.mean.store((7 * mean + time) / 8, Ordering::Relaxed);
    }

    /// The mean; zero before the first sample.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_nanos(self.mean.load(Ordering::Relaxed))
    }

    /// Nearly all lookups take less; zero before the first sample.
    pub(super) fn usual(&self) -> Duration {
        let deviation = self.deviation.load(Ordering::Relaxed);
        self.mean() + Duration::from_nanos(deviation.saturating_mul(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_follows_what_it_is_told() {
        let time = ServiceTime::default();
        assert_eq!((time.mean(), time.usual()), (Duration::ZERO, Duration::ZERO));
        time.add(50 * MS);
        assert_eq!((time.mean(), time.usual()), (50 * MS, 150 * MS));
        (0..50).for_each(|_| time.add(50 * MS));
        assert!(time.mean() == 50 * MS && time.usual() < 51 * MS, "{time:?}");
        (0..50).for_each(|_| time.add(200 * MS));
        assert!(time.mean() > 199 * MS && time.usual() < 210 * MS, "{time:?}");
        (0..25).for_each(|_| [10 * MS, 90 * MS].into_iter().for_each(|sample| time.add(sample)));
        assert!(time.mean() < 60 * MS && time.usual() > 150 * MS, "{time:?}");
        time.add(Duration::MAX);
        assert!(time.usual() > Duration::from_secs(60), "{time:?}");
    }
}
