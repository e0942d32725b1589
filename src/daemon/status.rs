//! The status of the running broker, for the command `status` and for the status page: what the current
//! generation, the listeners and the history say. It is read at any time, and delays no request.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::MissedTickBehavior;

use crate::broker::Generation;
use crate::model::status::{EntryStatus, FailureStatus, ListenerStatus, Status};
use crate::observe::history::{self, History};
use crate::observe::metrics::{Component, Metrics, WorkerCounts};
use crate::server::Listeners;

/// Reports the status.
pub(super) struct Reporter {
    current: Arc<Generation>,
    history: History,
    since: Instant,
    configured: ArcSwap<Configured>,
}

/// What only a reload changes.
#[derive(Default)]
struct Configured {
    generation: u64,
    reloaded: Option<bool>,
    /// With protocol and label, as in the metrics.
    listeners: Vec<(Component, String, ListenerStatus)>,
}

impl Reporter {
    /// Reports what `current` says.
    pub(super) fn new(current: Generation) -> Self {
        Self {
            current: Arc::new(current),
            history: History::default(),
            since: Instant::now(),
            configured: ArcSwap::default(),
        }
    }

    /// The broker that is reported.
    pub(super) fn current(&self) -> &Arc<Generation> {
        &self.current
    }

    /// Takes over the number of the configuration, the result of the last reload, and the listeners.
    pub(super) fn set(&self, generation: u64, reloaded: Option<bool>, listeners: &Listeners) {
        let listeners = listeners.bound().map(|bound| {
            let (component, label) = bound.label();
            (component, label.to_owned(), bound.status())
        });
        let listeners = listeners.collect();
        self.configured.store(Arc::new(Configured { generation, reloaded, listeners }));
    }

    /// Takes a sample each five seconds, and lets the broker try targets that no request needs. Never returns.
    pub(super) async fn sample(self: Arc<Self>) {
        let mut interval = tokio::time::interval(history::INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is at once.
        interval.tick().await;
        loop {
            interval.tick().await;
            let broker = self.current.current();
            self.history.sample(broker.metrics(), &broker.load());
            broker.try_unneeded_targets();
        }
    }

    /// The status at this moment. This may take milliseconds.
    pub(super) fn status(&self) -> Status {
        let (broker, configured) = (self.current.current(), self.configured.load_full());
        let mut status = broker.status();
        let recent = self.history.read(broker.metrics());
        for entry in &mut status.entries {
            let EntryStatus { waiting, working: busy, max_workers: workers, .. } = *entry;
            let kinds = [Component::Map, Component::Policy, Component::Login];
            if let Some(component) = kinds.into_iter().find(|component| component.kind() == entry.kind) {
                let workers = WorkerCounts { waiting, busy, workers };
                entry.traffic = recent.entry(component, &entry.name, &workers);
            }
        }
        for (component, label, listener) in &configured.listeners {
            let mut listener = listener.clone();
            recent.listener(*component, label, &mut listener);
            status.listener.push(listener);
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: configured.generation,
            uptime_s: self.since.elapsed().as_secs(),
            reloaded: configured.reloaded,
            connections: usize::try_from(recent.connections()).unwrap_or(usize::MAX),
            failures: failures(broker.metrics()),
            ..status
        }
    }
}

/// The last failures, the newest first.
fn failures(metrics: &Metrics) -> Vec<FailureStatus> {
    let now = SystemTime::now();
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    let records = metrics.last_failures.read().into_iter().map(|record| FailureStatus {
        kind: record.component.kind().to_owned(),
        name: record.name.to_string(),
        class: record.class.to_owned(),
        failure: record.message,
        count: record.count,
        time: time(record.last),
        first: time(record.first),
        s_ago: now.duration_since(record.last).unwrap_or_default().as_secs(),
    });
    records.collect()
}
