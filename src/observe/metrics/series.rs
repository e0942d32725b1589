//! What is counted, each as those hold it who count: made when an entry or a listener is, so that
//! a request costs a few atomic additions, and takes no memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::histogram::{Histogram, Reading};
use super::outcome::Outcome;

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram that is there from its first observation on.
type Lazy = OnceLock<Box<Histogram>>;

/// What came of the requests for one entry through one listener.
#[derive(Debug, Default)]
pub struct Requests([Lazy; Outcome::ALL.len()]);

impl Requests {
    /// One more, which took this long from its last byte on.
    pub fn count(&self, outcome: Outcome, took: Duration) {
        self.0[outcome as usize].get_or_init(Box::default).observe(took);
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (Outcome, Reading)> {
        let outcomes = Outcome::ALL.into_iter().zip(&self.0);
        outcomes.filter_map(|(outcome, histogram)| Some((outcome, histogram.get()?.read())))
    }
}

/// The requests for one entry, by listener. There are few, and each is found by its address.
#[derive(Debug)]
pub struct RequestsByListener {
    pub(super) known: Vec<ListenerRequests>,
    pub(super) other: Arc<Requests>,
}

/// Those through one listener.
#[derive(Debug)]
pub struct ListenerRequests {
    pub(super) listener: Arc<ListenerMetrics>,
    pub(super) label: String,
    pub(super) requests: Arc<Requests>,
}

impl RequestsByListener {
    /// Those through `listener`; `None`: not through any.
    #[must_use]
    pub fn of(&self, listener: Option<&Arc<ListenerMetrics>>) -> &Requests {
        self.row(listener).map_or(&self.other, |row| &row.requests)
    }

    /// The name of `listener`, as it is counted.
    #[must_use]
    pub fn label(&self, listener: Option<&Arc<ListenerMetrics>>) -> &str {
        match self.row(listener) {
            Some(row) if row.label.is_empty() => super::DEFAULT,
            Some(row) => &row.label,
            None => super::NONE,
        }
    }

    fn row(&self, listener: Option<&Arc<ListenerMetrics>>) -> Option<&ListenerRequests> {
        let listener = listener?;
        self.known.iter().find(|row| Arc::ptr_eq(&row.listener, listener))
    }
}

/// The connections of one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) held_up: Counter,
    pub(super) active: AtomicU64,
    pub(super) ended: Histogram,
    pub(super) panicked: Histogram,
}

impl ListenerMetrics {
    /// A connection begins; it ends with what is returned.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> OpenConnection {
        self.accepted.add();
        self.active.fetch_add(1, Ordering::Relaxed);
        OpenConnection { listener: Arc::clone(self), since: Instant::now() }
    }

    /// A connection could not be accepted.
    pub fn refused(&self) {
        self.refused.add();
    }

    /// Nobody is accepted until a full queue has room.
    pub fn held_up(&self) {
        self.held_up.add();
    }
}

/// A connection.
#[derive(Debug)]
pub struct OpenConnection {
    listener: Arc<ListenerMetrics>,
    since: Instant,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.listener.active.fetch_sub(1, Ordering::Relaxed);
        let is_bug = std::thread::panicking();
        let ended = if is_bug { &self.listener.panicked } else { &self.listener.ended };
        ended.observe(self.since.elapsed());
    }
}

/// What came of the HTTP exchanges of one entry, or of one errand at identity providers.
#[derive(Debug, Default)]
pub struct Calls([Lazy; Calls::CLASSES.len()]);

impl Calls {
    /// `status_class` and `result`.
    pub(super) const CLASSES: [(&str, &str); 6] = [
        ("error", "error"),
        ("1xx", "ok"),
        ("2xx", "ok"),
        ("3xx", "ok"),
        ("4xx", "ok"),
        ("5xx", "status_code"),
    ];

    /// One more, with the status of a complete answer where there was one.
    pub fn count(&self, status: Option<u16>, took: Duration) {
        let class = status.map_or(0, |status| usize::from(status / 100).min(5));
        self.0[class].get_or_init(Box::default).observe(took);
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, Reading)> {
        let classes = Self::CLASSES.into_iter().zip(&self.0);
        classes.filter_map(|((class, result), histogram)| Some((class, result, histogram.get()?.read())))
    }
}

/// How the cache serves one entry.
#[derive(Debug, Default)]
pub struct CacheCounters {
    /// An answer without asking.
    pub hits: Counter,
    /// The same, which is asked anew meanwhile.
    pub stale: Counter,
    /// Nothing was there, or nothing that was still good.
    pub misses: Counter,
    /// An answer from before, where a lookup failed.
    pub stand_ins: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_active_until_it_ends() {
        let listener = Arc::new(ListenerMetrics::default());
        let (one, other) = (listener.open(), listener.open());
        drop(one);
        assert_eq!((listener.accepted.read(), listener.active.load(Ordering::Relaxed)), (2, 1));
        drop(other);
        assert_eq!((listener.ended.read().count(), listener.active.load(Ordering::Relaxed)), (2, 0));
    }

    #[test]
    fn a_status_falls_into_its_class() {
        let calls = Calls::default();
        for status in [None, Some(200), Some(204), Some(404), Some(503), Some(999)] {
            calls.count(status, Duration::ZERO);
        }
        let read: Vec<_> = calls.read().map(|(class, result, all)| (class, result, all.count())).collect();
        let due = [("error", "error", 1), ("2xx", "ok", 2), ("4xx", "ok", 1), ("5xx", "status_code", 2)];
        assert_eq!(read, due);
    }
}
