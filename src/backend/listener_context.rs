//! What a listener gives to its lookups: its own worker pool, the gates of its admission, its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::admission::{Gate, Pressure};
use super::worker_pool::{Worker, WorkerPool};
use crate::model::{Deadline, Failure};
use crate::observe::count_guard::CountGuard;
use crate::observe::metrics::ListenerMetrics;

/// Hand-overs at a time. Half of the descriptors that `server.max_connections` leaves.
const MOST_HAND_OVERS: usize = 128;

/// A listener, as its requests see it. The default belongs to no listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenerContext {
    /// Closed by the full queue of an API. It counts only if the listener has a single entry: otherwise one
    /// slow API would keep out the requests for others.
    pub(crate) api_gate: Arc<Gate>,
    switches: Arc<Switches>,
    /// `worker_pool` of the listener, and the gate that its full queue closes.
    pool: Option<Arc<(WorkerPool, Gate)>>,
    /// `None` for the default.
    pub(crate) counters: Option<Arc<ListenerMetrics>>,
}

/// What a reload may change.
#[derive(Debug, Default)]
struct Switches {
    leads_to_one: AtomicBool,
    takes_over: AtomicBool,
    handing_over: Arc<AtomicUsize>,
}

impl ListenerContext {
    /// `pool` is the listener's `worker_pool`.
    pub(crate) fn new(pool: Option<WorkerPool>, counters: Arc<ListenerMetrics>) -> Self {
        Self {
            api_gate: Arc::default(),
            switches: Arc::default(),
            pool: pool.map(|pool| Arc::new((pool, Gate::default()))),
            counters: Some(counters),
        }
    }

    /// `leads_to_one`: all its requests are for one entry. `takes_over`: clients may hand over connections.
    pub(crate) fn set(&self, leads_to_one: bool, takes_over: bool) {
        self.switches.leads_to_one.store(leads_to_one, Ordering::Relaxed);
        self.switches.takes_over.store(takes_over, Ordering::Relaxed);
    }

    /// Whether clients may hand over connections.
    pub(crate) fn takes_over(&self) -> bool {
        self.switches.takes_over.load(Ordering::Relaxed)
    }

    /// Counts a hand-over in progress, which holds two descriptors; `None` if there are too many.
    pub(crate) fn begin_hand_over(&self) -> Option<CountGuard> {
        let count = CountGuard::new(&self.switches.handing_over);
        (self.switches.handing_over.load(Ordering::Relaxed) <= MOST_HAND_OVERS).then_some(count)
    }

    /// Waits for a worker of the listener's own pool; `None` if it has no pool.
    pub(crate) async fn enter(&self, deadline: Deadline) -> Result<Option<Worker<'_>>, Failure> {
        match self.pool.as_deref() {
            Some((pool, gate)) => pool.enter(deadline, gate).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same for a login, which does not wait if the queue is full.
    pub(crate) async fn enter_or_fail(&self, deadline: Deadline) -> Result<Option<Worker<'_>>, Failure> {
        match self.pool.as_deref() {
            Some((pool, _)) => pool.enter_or_fail(deadline).await.map(Some),
            None => Ok(None),
        }
    }

    fn gates(&self) -> impl Iterator<Item = &Gate> {
        let api = self.switches.leads_to_one.load(Ordering::Relaxed).then_some(&*self.api_gate);
        api.into_iter().chain(self.pool.as_deref().map(|(_, gate)| gate))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.gates().all(Gate::is_open)
    }

    /// Waits until the listener may accept a connection.
    pub(crate) async fn admit(&self, pressure: &mut Pressure) {
        for gate in self.gates().filter(|gate| !gate.is_open()) {
            let held_up = || self.counters.iter().for_each(|counters| counters.held_up());
            gate.admit(pressure, held_up).await;
        }
    }
}
