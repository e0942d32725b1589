//! What stands between a listener and the targets that are asked through it: a pool of its own, and
//! the gate that a target's full queue closes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::worker_pool::{Worker, WorkerPool};
use crate::model::{Deadline, Failure};
use crate::observe::metrics::Listener;

/// How long a full queue may keep connections waiting.
const BURST: Duration = Duration::from_millis(500);
/// How often it looks then whether the queue moves.
const LOOK: Duration = Duration::from_millis(100);
/// A queue moves in which a lookup got a worker this long ago at the most.
const MOVES: Duration = Duration::from_secs(1);

/// What stands between a listener and the targets.
#[derive(Debug, Clone, Default)]
pub struct ListenerContext {
    /// Closed by the queue of the one target that is asked here. Where several are, one of them
    /// must not keep out who asks another: then this is nobody's to wait for.
    target: Arc<Gate>,
    leads_to_one: Arc<AtomicBool>,
    /// `worker_pool` of the listener, and what closes its own queue.
    pool: Option<Arc<(WorkerPool, Gate)>>,
    /// Where the listener's connections are counted.
    listener: Option<Arc<Listener>>,
}

impl ListenerContext {
    /// The door of a listener with a pool of its own, or without; `leads_to_one` where all that
    /// comes through it is for one target.
    #[must_use]
    pub fn new(pool: Option<WorkerPool>, leads_to_one: bool, listener: Arc<Listener>) -> Self {
        let pool = pool.map(|pool| Arc::new((pool, Gate::default())));
        Self {
            target: Arc::default(),
            leads_to_one: Arc::new(leads_to_one.into()),
            pool,
            listener: Some(listener),
        }
    }

    /// The same, after a reload has changed the number of targets.
    pub fn set_leads_to_one(&self, leads_to_one: bool) {
        self.leads_to_one.store(leads_to_one, Ordering::Relaxed);
    }

    /// Waits for one of the listener's own workers.
    ///
    /// # Errors
    /// As [`WorkerPool::enter`].
    pub async fn enter(&self, deadline: Deadline) -> Result<Option<Worker<'_>>, Failure> {
        match self.pool.as_deref() {
            Some((pool, gate)) => pool.enter(deadline, gate).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same for a login, which is not held up behind a full queue.
    ///
    /// # Errors
    /// As [`WorkerPool::enter_or_fail`].
    pub async fn enter_or_fail(&self, deadline: Deadline) -> Result<Option<Worker<'_>>, Failure> {
        match self.pool.as_deref() {
            Some((pool, _)) => pool.enter_or_fail(deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// What closes it.
    fn gates(&self) -> impl Iterator<Item = &Gate> {
        let target = self.leads_to_one.load(Ordering::Relaxed).then_some(&*self.target);
        target.into_iter().chain(self.pool.as_deref().map(|(_, gate)| gate))
    }

    /// Whether nobody who came in waits in a full queue that this listener must heed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gates().all(Gate::is_open)
    }

    /// Returns once that is so. A burst passes; but where a queue that moves has kept this door closed
    /// for half a second, more come than the target can answer. Then they are let in, so that each of them
    /// hears at once whether it can be answered in time (see `limit`).
    pub async fn open(&self, pressure: &mut Pressure) {
        for gate in self.gates().filter(|gate| !gate.is_open()) {
            let until = pressure.began() + BURST;
            if Instant::now() < until || !gate.moves() {
                if let Some(listener) = &self.listener {
                    listener.held_up();
                }
                let look = || tokio::time::Instant::from(until.max(Instant::now() + LOOK));
                while tokio::time::timeout_at(look(), gate.open()).await.is_err() && !gate.moves() {}
                pressure.began();
            }
        }
    }

    /// Where the connections are counted that came through it; `None` where it is nobody's.
    #[must_use]
    pub fn counters(&self) -> Option<&Arc<Listener>> {
        self.listener.as_ref()
    }

    /// The gate that a target's full queue closes.
    #[must_use]
    pub fn target_gate(&self) -> &Gate {
        &self.target
    }
}

/// How long a door has been closed again and again.
#[derive(Debug, Default)]
pub struct Pressure(Option<(Instant, Instant)>);

impl Pressure {
    /// Notes that it is closed; since when it has been, with pauses shorter than [`BURST`].
    fn began(&mut self) -> Instant {
        let now = Instant::now();
        let lasts = self.0.filter(|(_, last)| now.duration_since(*last) < BURST);
        let began = lasts.map_or(now, |(began, _)| began);
        self.0 = Some((began, now));
        began
    }
}

/// Closed while a lookup that came through it waits in a full queue.
#[derive(Debug, Default)]
pub struct Gate {
    held: AtomicUsize,
    freed: Notify,
    /// When one of those who waited got a worker.
    served: Mutex<Option<Instant>>,
}

impl Gate {
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.fetch_add(1, Ordering::SeqCst);
        Held(self)
    }

    fn is_open(&self) -> bool {
        self.held.load(Ordering::SeqCst) == 0
    }

    /// Whether the queue that closes it moves.
    fn moves(&self) -> bool {
        let served = *self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.is_some_and(|at| at.elapsed() < MOVES)
    }

    /// Returns once it is open.
    pub async fn open(&self) {
        loop {
            let freed = self.freed.notified();
            if self.is_open() {
                return;
            }
            freed.await;
        }
    }
}

/// Keeps a gate closed.
pub(super) struct Held<'a>(&'a Gate);

impl Held<'_> {
    /// Lets go, for whoever waited has got a worker.
    pub(super) fn served(self) {
        *self.0.served.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.0.held.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.freed.notify_waiters();
        }
    }
}
