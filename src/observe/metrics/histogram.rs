//! Histograms of durations: the buckets of the Go program, and three below them. An observation is two
//! atomic additions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of all buckets but the last: in nanoseconds, and as text in seconds.
pub(crate) const BOUNDS: [(u64, &str); 14] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// The number of buckets. The last one has no upper bound.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// Counts durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// The content of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// Not cumulative.
    pub(crate) buckets: [u64; BUCKETS],
    /// The sum, in seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| nanos <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Reading {
        let mut buckets = [0; BUCKETS];
        for (count, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        Reading { buckets, sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64() }
    }
}

impl Reading {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The duration that a share of `q` of all durations does not exceed, in milliseconds; `None` without any.
/// It is interpolated within its bucket. In the last bucket it is that bucket's lower bound.
pub(crate) fn quantile(buckets: &[u64; BUCKETS], q: f64) -> Option<f64> {
    let count: u64 = buckets.iter().sum();
    let rank = q * count as f64;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, bound) in buckets.iter().zip(BOUNDS.iter().map(|(nanos, _)| *nanos as f64 / 1e6)) {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            return Some(lower + (bound - lower) * (rank - below) / count);
        }
        (below, lower) = (below + count, bound);
    }
    (count > 0).then_some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for millis in [0, 5, 6, 10_000, 10_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((reading.count(), reading.sum), (5, 20.012));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let of = |filled: &[(usize, u64)], q| {
            let mut buckets = [0; BUCKETS];
            filled.iter().for_each(|(bucket, count)| buckets[*bucket] = *count);
            quantile(&buckets, q)
        };
        assert_eq!(of(&[], 0.5), None);
        assert_eq!(of(&[(0, 10)], 0.5), Some(0.25));
        assert_eq!(of(&[(1, 50), (4, 50)], 0.5), Some(1.0));
        assert_eq!(of(&[(1, 50), (4, 50)], 0.95), Some(9.5));
        assert_eq!(of(&[(1, 1), (14, 99)], 0.95), Some(10_000.0), "longer than all bounds");
    }
}
