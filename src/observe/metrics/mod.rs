//! The metrics of the broker.
//!
//! | file | holds |
//! |---|---|
//! | `series`, `histogram` | the counters of an entry or a listener |
//! | `shared` | those of the shared cache |
//! | `failures` | failures by class, and the last ones |
//! | `targets` | the targets of an entry |
//! | `outcome` | the label `outcome` of a request |
//! | `gather` → `family` | all series at one moment |
//! | `totals` | the same as sums for each entry and listener, for the history |
//!
//! Names and labels are those of the Go program, for its dashboards, and so are the buckets from 5 ms on. The set of labels is limited:
//! names of the configuration (`unknown` for all others), its origins, and words of fixed sets. A duration is from the
//! last byte of a request to its answer. Everything is counted, also if it is never exported.

pub(crate) mod failures;
pub(crate) mod family;
mod gather;
pub(crate) mod histogram;
mod outcome;
mod process;
mod series;
mod shared;
mod targets;
pub(crate) mod totals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::weak_map::WeakMap;
pub use failures::Failures;
use failures::LastFailures;
pub use gather::{ConnectionCounts, Load, WorkerCounts};
pub use outcome::{Component, Outcome};
pub use series::{
    CacheCounters, Calls, Counter, HandOver, ListenerMetrics, ListenerRequests, OpenConnection, Requests,
    RequestsByListener,
};
pub use shared::{SharedCounters, SharedRead, SharedWrite};
pub use targets::{HEALTH, Moves, TargetCounters};

/// The label for names that are not in the configuration.
pub(crate) const UNKNOWN: &str = "unknown";
/// The label for listeners without a name, as in the Go program.
pub(crate) const DEFAULT: &str = "default";
/// The label for requests without a listener.
const NONE: &str = "none";

pub(crate) type Name = (Component, String);

/// Whether the broker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// Yes.
    Ready,
    /// No more: it answers the requests that it has read.
    Draining,
}

/// All metrics. They outlive each configuration: the counters of an entry continue across a reload, and end
/// with the last request of an entry that was removed.
#[derive(Debug)]
pub struct Metrics {
    requests: WeakMap<(Component, String, String), Requests>,
    listeners: WeakMap<Name, ListenerMetrics>,
    calls: WeakMap<(Component, String, &'static str), Calls>,
    cache_counters: WeakMap<Name, CacheCounters>,
    moves: WeakMap<Name, Moves>,
    targets: WeakMap<(Component, String, String), TargetCounters>,
    failures: WeakMap<Name, Failures>,
    /// Of all entries.
    pub(crate) last_failures: Arc<LastFailures>,
    /// Tokens.
    pub tokens: Tokens,
    /// Reloads that succeeded, and those that failed.
    reloads: [Counter; 2],
    last_reload_failed: AtomicBool,
    /// The time at which the current configuration was read, in seconds since 1970.
    configured: AtomicU64,
    startups: Counter,
    shutdowns: Counter,
    /// Connections to HTTP APIs that were made.
    pub connections: Counter,
    /// Spans of traces.
    pub spans: Spans,
    /// The shared cache.
    pub shared: Arc<SharedCounters>,
}

/// Finished spans.
#[derive(Debug, Default)]
pub struct Spans {
    /// Accepted by the collector.
    pub exported: Counter,
    /// Dropped, because the queue was full or the collector failed.
    pub dropped: Counter,
}

/// Tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Own tokens that a provider issued.
    pub fetched: Counter,
    /// Requests for own tokens that failed.
    pub failed: Counter,
    /// Own tokens that an API answered with 401.
    pub ours_refused: Counter,
    /// Tokens of mail clients that were refused.
    pub theirs_refused: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: WeakMap::default(),
            listeners: WeakMap::default(),
            calls: WeakMap::default(),
            cache_counters: WeakMap::default(),
            moves: WeakMap::default(),
            targets: WeakMap::default(),
            failures: WeakMap::default(),
            last_failures: Arc::default(),
            tokens: Tokens::default(),
            reloads: Default::default(),
            last_reload_failed: AtomicBool::new(false),
            configured: AtomicU64::new(now()),
            startups: Counter::default(),
            shutdowns: Counter::default(),
            connections: Counter::default(),
            spans: Spans::default(),
            shared: Arc::default(),
        }
    }
}

impl Metrics {
    /// The requests for an entry, by listener; `None`: requests for unknown names.
    pub fn rows(&self, component: Component, name: Option<&str>, listeners: &[Name]) -> RequestsByListener {
        let name = name.unwrap_or(UNKNOWN);
        let requests = |listener: &str| {
            let listener = if listener.is_empty() { DEFAULT } else { listener };
            self.requests.get_or_make((component, name.to_owned(), listener.to_owned()), Default::default)
        };
        let leads_here = |(kind, label): &&Name| match *kind {
            Component::Local => true,
            Component::Map => component == Component::Map,
            kind => kind == component && label == name,
        };
        let known = listeners.iter().filter(leads_here);
        let known = known.map(|(kind, label)| ListenerRequests {
            listener: self.listener(*kind, label),
            label: label.clone(),
            requests: requests(label),
        });
        RequestsByListener { known: known.collect(), other: requests(NONE) }
    }

    /// The connections of a listener.
    pub fn listener(&self, component: Component, name: &str) -> Arc<ListenerMetrics> {
        let name = if name.is_empty() { DEFAULT } else { name };
        self.listeners.get_or_make((component, name.to_owned()), Default::default)
    }

    /// The HTTP exchanges of an entry.
    pub fn calls(&self, component: Component, name: &str, method: &'static str) -> Arc<Calls> {
        self.calls.get_or_make((component, name.to_owned(), method), Default::default)
    }

    /// The cache of an entry.
    pub fn cache_counters(&self, component: Component, name: &str) -> Arc<CacheCounters> {
        self.cache_counters.get_or_make((component, name.to_owned()), Default::default)
    }

    /// The requests of an entry that went on to another target.
    pub fn moves(&self, component: Component, name: &str) -> Arc<Moves> {
        self.moves.get_or_make((component, name.to_owned()), Default::default)
    }

    /// A target of an entry: its origin is `target`.
    pub fn target(&self, component: Component, name: &str, target: &str) -> Arc<TargetCounters> {
        let key = (component, name.to_owned(), target.to_owned());
        self.targets.get_or_make(key, Default::default)
    }

    /// The failures of an entry.
    pub fn failures(&self, component: Component, name: &str) -> Arc<Failures> {
        let make = || Failures::new(component, name, &self.last_failures);
        self.failures.get_or_make((component, name.to_owned()), make)
    }

    /// Counts a reload, which changed the configuration or failed.
    pub fn reloaded(&self, changed: bool) {
        self.reloads[usize::from(!changed)].add();
        self.last_reload_failed.store(!changed, Ordering::Relaxed);
        if changed {
            self.configured.store(now(), Ordering::Relaxed);
        }
    }

    /// Counts a start.
    pub fn started(&self) {
        self.startups.add();
    }

    /// Counts a stop.
    pub fn stopping(&self) {
        self.shutdowns.add();
    }

    /// Whether the broker serves: it has started, and has not begun to stop.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match (self.startups.read(), self.shutdowns.read()) {
            (_, 1..) => Readiness::Draining,
            (0, _) => Readiness::Starting,
            _ => Readiness::Ready,
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
