//! What the broker counts, and how Prometheus reads it (`server.observability`).
//!
//! | file | holds |
//! |---|---|
//! | `series`, `histogram` | counters, as those hold them who count |
//! | `known` | which of them there are, by their labels |
//! | `outcome` | what came of a request, as one of a few words |
//! | `gather` → `family` | all of it at one moment |
//! | `text`, `endpoint` | that in Prometheus' text format, and the server that gives it out |
//!
//! Names, labels and buckets are those of the Go program, so that its dashboards go on working.
//! Labels are bounded: they hold names of the configuration (`unknown` for any other), and words of
//! fixed sets. A duration is service time, from the last byte of a request to its answer. Everything
//! is counted whether or not it is ever read.

pub(crate) mod family;
mod gather;
pub(crate) mod histogram;
mod outcome;
mod process;
mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::weak_map::WeakMap;
pub use gather::{ConnectionCounts, Load, WorkerCounts};
pub use outcome::{Component, Outcome};
pub use series::{
    CacheCounters, Calls, Counter, ListenerMetrics, ListenerRequests, OpenConnection, Requests,
    RequestsByListener,
};

/// The label for what the configuration does not name.
pub(crate) const UNKNOWN: &str = "unknown";
/// The label for what has no name, as in the Go program.
const DEFAULT: &str = "default";
/// The label for what came through no listener.
const NONE: &str = "none";

type Name = (Component, String);

/// All that is counted. It outlives every generation of the configuration.
#[derive(Debug)]
pub struct Metrics {
    requests: WeakMap<(Component, String, String), Requests>,
    listeners: WeakMap<Name, ListenerMetrics>,
    calls: WeakMap<(Component, String, &'static str), Calls>,
    cache_counters: WeakMap<Name, CacheCounters>,
    /// Tokens of our own: got, not got, refused by an API.
    pub tokens: Tokens,
    /// Reloads that changed over, and those that did not.
    reloads: [Counter; 2],
    last_reload_failed: AtomicBool,
    /// Of the configuration that is served, in seconds since 1970.
    configured: AtomicU64,
    startups: Counter,
    shutdowns: Counter,
    /// Connections to HTTP APIs that were made.
    pub connections: Counter,
    /// Spans of traces.
    pub spans: Spans,
}

/// What became of finished spans.
#[derive(Debug, Default)]
pub struct Spans {
    /// The collector has taken them.
    pub exported: Counter,
    /// The queue was full, or the collector did not take them.
    pub dropped: Counter,
}

/// What became of tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Got from a provider.
    pub fetched: Counter,
    /// Not got.
    pub failed: Counter,
    /// Our own, to which an API said 401.
    pub ours_refused: Counter,
    /// Mail clients', which are not good.
    pub theirs_refused: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: WeakMap::default(),
            listeners: WeakMap::default(),
            calls: WeakMap::default(),
            cache_counters: WeakMap::default(),
            tokens: Tokens::default(),
            reloads: Default::default(),
            last_reload_failed: AtomicBool::new(false),
            configured: AtomicU64::new(now()),
            startups: Counter::default(),
            shutdowns: Counter::default(),
            connections: Counter::default(),
            spans: Spans::default(),
        }
    }
}

impl Metrics {
    /// The requests for an entry that come through `listeners`, or through none of them; for `None`
    /// those for names that are no entry's.
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

    /// What the cache does for an entry.
    pub fn cache_counters(&self, component: Component, name: &str) -> Arc<CacheCounters> {
        self.cache_counters.get_or_make((component, name.to_owned()), Default::default)
    }

    /// A reload has changed over to another configuration, or has not.
    pub fn reloaded(&self, changed: bool) {
        self.reloads[usize::from(!changed)].add();
        self.last_reload_failed.store(!changed, Ordering::Relaxed);
        if changed {
            self.configured.store(now(), Ordering::Relaxed);
        }
    }

    /// The broker is ready.
    pub fn started(&self) {
        self.startups.add();
    }

    /// The broker stops.
    pub fn stopping(&self) {
        self.shutdowns.add();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
