//! All counters of entries and listeners as sums since the start, for the history.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::failures::CLASSES;
use super::histogram::BUCKETS;
use super::{Component, Metrics, Name, Outcome};

/// The counts of one entry: sums, or what a sample of the history counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EntryCounts<N = u64> {
    pub(crate) requests: N,
    /// In the order of [`CLASSES`].
    pub(crate) failures: [N; CLASSES.len()],
    /// The durations of requests, not cumulative; without denied logins, which are delayed on purpose.
    pub(crate) durations: [N; BUCKETS],
    /// Answers out of the cache.
    pub(crate) cache_hits: N,
    pub(crate) cache_lookups: N,
}

/// The sums of one listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ListenerTotals {
    pub(crate) requests: u64,
    /// Connections that are open.
    pub(crate) active: u64,
    /// Those that clients have handed over.
    pub(crate) handed_over: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
}

/// The sums of everything.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Without those for which nothing was counted.
    pub(crate) entries: HashMap<Name, EntryCounts>,
    pub(crate) listeners: HashMap<Name, ListenerTotals>,
}

impl Metrics {
    /// The sums at this moment.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (name, listener) in self.listeners.all() {
            let active = listener.active.load(Ordering::Relaxed);
            let handed_over = listener.handed.load(Ordering::Relaxed) as u64;
            let (accepted, refused) = (listener.accepted.read(), listener.refused.read());
            totals
                .listeners
                .insert(name, ListenerTotals { requests: 0, active, handed_over, accepted, refused });
        }
        self.requests.each(|(component, name, listener), requests| {
            let mut all = 0;
            for (outcome, reading) in requests.read() {
                let entry = totals.entries.entry((*component, name.clone())).or_default();
                all += reading.count();
                entry.requests += reading.count();
                if *component != Component::Login || outcome != Outcome::Fail {
                    add(&mut entry.durations, &reading.buckets);
                }
            }
            if all == 0 {
                return;
            }
            // A request comes through a listener of its own protocol, or through the local socket.
            let mut through = (*component, listener.clone());
            if !totals.listeners.contains_key(&through) {
                through.0 = Component::Local;
            }
            if let Some(listener) = totals.listeners.get_mut(&through) {
                listener.requests += all;
            }
        });
        self.failures.each(|name, failures| {
            let failures = failures.read();
            if failures.iter().any(|count| *count > 0) {
                totals.entries.entry(name.clone()).or_default().failures = failures;
            }
        });
        self.cache_counters.each(|name, cache| {
            let cache_hits = cache.hits.read() + cache.stale.read();
            let cache_lookups = cache_hits + cache.misses.read();
            if cache_lookups > 0 {
                let entry = totals.entries.entry(name.clone()).or_default();
                (entry.cache_hits, entry.cache_lookups) = (cache_hits, cache_lookups);
            }
        });
        totals
    }
}

fn add(sum: &mut [u64; BUCKETS], buckets: &[u64; BUCKETS]) {
    sum.iter_mut().zip(buckets).for_each(|(sum, count)| *sum += count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn requests_are_summed_by_entry_and_by_listener() {
        let metrics = Metrics::default();
        let listeners = [(Component::Map, "maps".to_owned()), (Component::Local, "ipc".to_owned())];
        let kept = listeners.clone().map(|(component, name)| metrics.listener(component, &name));
        let rows = ["m", "n"].map(|name| metrics.rows(Component::Map, Some(name), &listeners));
        let login = metrics.rows(Component::Login, Some("m"), &listeners);
        let took = Duration::from_micros(700);
        rows[0].of(Some(&kept[0])).count(Outcome::Ok, took);
        rows[0].of(Some(&kept[1])).count(Outcome::TempFail, took);
        rows[1].of(Some(&kept[0])).count(Outcome::Ok, took);
        rows[1].of(None).count(Outcome::Ok, took);
        login.of(Some(&kept[1])).count(Outcome::Fail, Duration::from_secs(2));
        let totals = metrics.totals();
        let entry = |component, name: &str| &totals.entries[&(component, name.to_owned())];
        let requests = |component, name| entry(component, name).requests;
        assert_eq!((requests(Component::Map, "m"), requests(Component::Map, "n")), (2, 2));
        assert_eq!(requests(Component::Login, "m"), 1);
        assert_eq!(entry(Component::Map, "m").durations[1], 2);
        assert_eq!(entry(Component::Login, "m").durations, [0; BUCKETS], "a denial is delayed");
        let through = |nth: usize| totals.listeners[&listeners[nth]].requests;
        assert_eq!((through(0), through(1)), (2, 2));
    }
}
