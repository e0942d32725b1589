//! Counters. They are made together with an entry or a listener, so that a request costs a few atomic
//! additions and no allocation.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::histogram::{Histogram, Reading};
use super::outcome::Outcome;
use crate::model::grpc;
use crate::observe::count_guard::CountGuard;

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Numbered histograms, each allocated at its first observation. A list, because most entries use one or two of many
/// numbers; the one that was used first is in front.
#[derive(Debug, Default)]
struct Histograms(OnceLock<Box<NumberedHistogram>>);

#[derive(Debug)]
struct NumberedHistogram {
    number: usize,
    histogram: Histogram,
    others: Histograms,
}

impl Histograms {
    fn of(&self, number: usize) -> &Histogram {
        let mut list = self;
        loop {
            let new = || {
                let (histogram, others) = Default::default();
                Box::new(NumberedHistogram { number, histogram, others })
            };
            // Another thread may have added another number here.
            let first = list.0.get_or_init(new);
            if first.number == number {
                return &first.histogram;
            }
            list = &first.others;
        }
    }

    /// `None` if there was no observation.
    fn read(&self, number: usize) -> Option<Reading> {
        let mut all = std::iter::successors(self.0.get(), |one| one.others.0.get());
        all.find(|one| one.number == number).map(|one| one.histogram.read())
    }
}

/// The requests for one entry through one listener, by outcome.
#[derive(Debug, Default)]
pub struct Requests(Histograms);

impl Requests {
    /// Counts a request; `took` is from its last byte to the answer.
    pub fn count(&self, outcome: Outcome, took: Duration) {
        self.0.of(outcome as usize).observe(took);
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (Outcome, Reading)> {
        Outcome::ALL.into_iter().filter_map(|outcome| Some((outcome, self.0.read(outcome as usize)?)))
    }
}

/// The requests for one entry, by listener. There are few listeners, which are compared by pointer.
#[derive(Debug)]
pub struct RequestsByListener {
    pub(super) known: Box<[ListenerRequests]>,
    pub(super) other: Arc<Requests>,
}

/// The requests through one listener.
#[derive(Debug)]
pub struct ListenerRequests {
    pub(super) listener: Arc<ListenerMetrics>,
    pub(super) label: String,
    pub(super) requests: Arc<Requests>,
}

impl RequestsByListener {
    /// The requests through `listener`; `None`: without a listener.
    #[must_use]
    pub fn of(&self, listener: Option<&Arc<ListenerMetrics>>) -> &Requests {
        self.row(listener).map_or(&self.other, |row| &row.requests)
    }

    /// The label of `listener`.
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
    /// Those of `active` that clients have handed over.
    pub(super) handed: Arc<AtomicUsize>,
    pub(super) offers: [Counter; HandOver::ALL.len()],
    pub(super) ended: Histogram,
    pub(super) panicked: Histogram,
}

/// What became of a connection that a client offered to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// The broker serves it.
    Taken,
    /// `server.ipc.hand_over` is false.
    Off,
    /// No entry has the name that the client serves.
    UnknownName,
    /// None came, or the broker has no descriptor free.
    NoDescriptor,
    /// More than one came.
    SeveralDescriptors,
    /// It is not a connected stream socket of AF_UNIX, AF_INET or AF_INET6, or its other end belongs to the
    /// user of the client, too.
    NoConnection,
    /// Postfix has hung up.
    HungUp,
    /// Too many hand-overs are in progress.
    Busy,
    /// The client ended first.
    NotGivenUp,
}

impl HandOver {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Taken,
        Self::Off,
        Self::UnknownName,
        Self::NoDescriptor,
        Self::SeveralDescriptors,
        Self::NoConnection,
        Self::HungUp,
        Self::Busy,
        Self::NotGivenUp,
    ];

    /// Its name in metrics and in the log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Off => "off",
            Self::UnknownName => "unknown_name",
            Self::NoDescriptor => "no_descriptor",
            Self::SeveralDescriptors => "several_descriptors",
            Self::NoConnection => "no_connection",
            Self::HungUp => "hung_up",
            Self::Busy => "busy",
            Self::NotGivenUp => "not_given_up",
        }
    }
}

impl ListenerMetrics {
    /// Counts a connection until the returned value is dropped.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> OpenConnection {
        self.accepted.add();
        self.active.fetch_add(1, Ordering::Relaxed);
        OpenConnection { listener: Arc::clone(self), since: Instant::now() }
    }

    /// Counts a connection that was handed over until the returned value is dropped. It is one of those that
    /// are open.
    #[must_use]
    pub(crate) fn hand_over(&self) -> CountGuard {
        CountGuard::new(&self.handed)
    }

    /// Counts what became of an offer.
    pub fn offered(&self, result: HandOver) {
        self.offers[result as usize].add();
    }

    /// Counts a connection that was not accepted.
    pub fn refused(&self) {
        self.refused.add();
    }

    /// Counts a pause of accepting, because the queue of the entry is full.
    pub fn held_up(&self) {
        self.held_up.add();
    }
}

/// A connection in progress.
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

/// The HTTP exchanges of one entry, or with one endpoint of identity providers, by status class; or an entry's
/// calls of gRPC, by status.
#[derive(Debug, Default)]
pub struct Calls {
    by_class: Histograms,
    grpc: Histograms,
}

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

    /// Counts an exchange; `None`: without a complete answer.
    pub fn count(&self, status: Option<u16>, took: Duration) {
        let class = status.map_or(0, |status| usize::from(status / 100).min(5));
        self.by_class.of(class).observe(took);
    }

    /// Counts a call of gRPC that ended with `status`.
    pub fn count_grpc(&self, status: u16, took: Duration) {
        let status = if usize::from(status) < grpc::NAMES.len() { status } else { grpc::UNKNOWN };
        self.grpc.of(status.into()).observe(took);
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, Reading)> {
        let classes = Self::CLASSES.into_iter().enumerate();
        classes.filter_map(|(number, (class, result))| Some((class, result, self.by_class.read(number)?)))
    }

    /// Calls of gRPC: the status, and `result`.
    pub(super) fn read_grpc(&self) -> impl Iterator<Item = (&'static str, &'static str, Reading)> {
        let result = |status| if status == grpc::NAMES[usize::from(grpc::OK)] { "ok" } else { "error" };
        let statuses = grpc::NAMES.into_iter().enumerate();
        statuses.filter_map(move |(number, status)| Some((status, result(status), self.grpc.read(number)?)))
    }
}

/// The cache of one entry.
#[derive(Debug, Default)]
pub struct CacheCounters {
    /// Fresh answers.
    pub hits: Counter,
    /// Stale answers, which are refreshed in the background.
    pub stale: Counter,
    /// No usable answer.
    pub misses: Counter,
    /// Old answers that replaced failures.
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
    fn threads_that_observe_for_the_first_time_lose_nothing() {
        for _ in 0..100 {
            let (requests, barrier) = (Requests::default(), std::sync::Barrier::new(4));
            std::thread::scope(|scope| {
                for first in 0..4 {
                    let (requests, barrier) = (&requests, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let outcomes = Outcome::ALL.into_iter().cycle().skip(first).take(Outcome::ALL.len());
                        outcomes.for_each(|outcome| requests.count(outcome, Duration::ZERO));
                    });
                }
            });
            let counts: Vec<_> = requests.read().map(|(outcome, all)| (outcome, all.count())).collect();
            assert_eq!(counts, Outcome::ALL.map(|outcome| (outcome, 4)));
        }
    }

    #[test]
    fn an_entry_that_was_not_asked_has_no_histograms() {
        assert!(size_of::<Requests>() + size_of::<Calls>() <= 64);
        assert_eq!(Requests::default().read().count(), 0);
    }

    #[test]
    fn a_call_of_grpc_has_its_status() {
        let calls = Calls::default();
        for status in [0, 0, 14, 16, 17, 999] {
            calls.count_grpc(status, Duration::ZERO);
        }
        let read: Vec<_> =
            calls.read_grpc().map(|(status, result, all)| (status, result, all.count())).collect();
        let due = [
            ("OK", "ok", 2),
            ("Unknown", "error", 2),
            ("Unavailable", "error", 1),
            ("Unauthenticated", "error", 1),
        ];
        assert_eq!(read, due);
        assert_eq!(calls.read().count(), 0);
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
