//! What stands between a listener and the targets that are asked through it: a pool of its own, and
//! the gate that a target's full queue closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Notify, SemaphorePermit};

use super::limit::Limit;
use crate::ask::{Deadline, Failure};
use crate::metrics::Listener;

/// What stands between a listener and the targets.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// Closed by the queue of the one target that is asked here. Where several are, one of them
    /// must not keep out who asks another: then this is nobody's to wait for.
    target: Arc<Gate>,
    leads_to_one: Arc<AtomicBool>,
    /// `worker_pool` of the listener, and what closes its own queue.
    pool: Option<Arc<(Limit, Gate)>>,
    /// Where the listener's connections are counted.
    listener: Option<Arc<Listener>>,
}

impl Door {
    /// The door of a listener with a pool of its own, or without; `leads_to_one` where all that
    /// comes through it is for one target.
    #[must_use]
    pub fn new(pool: Option<Limit>, leads_to_one: bool, listener: Arc<Listener>) -> Self {
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
    /// As [`Limit::enter`].
    pub async fn enter(&self, deadline: Deadline) -> Result<Option<SemaphorePermit<'_>>, Failure> {
        match self.pool.as_deref() {
            Some((pool, gate)) => pool.enter(deadline, gate).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same for a login, which is not held up behind a full queue.
    ///
    /// # Errors
    /// As [`Limit::enter_or_fail`].
    pub async fn enter_or_fail(&self, deadline: Deadline) -> Result<Option<SemaphorePermit<'_>>, Failure> {
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

    /// Returns once that is so.
    pub async fn open(&self) {
        for gate in self.gates() {
            if let Some(listener) = self.listener.as_ref().filter(|_| !gate.is_open()) {
                listener.held_up();
            }
            gate.open().await;
        }
    }

    /// Where the connections are counted that came through it; `None` where it is nobody's.
    #[must_use]
    pub fn listener(&self) -> Option<&Arc<Listener>> {
        self.listener.as_ref()
    }

    /// The gate that a target's full queue closes.
    #[must_use]
    pub fn target_gate(&self) -> &Gate {
        &self.target
    }
}

/// Closed while a lookup that came through it waits in a full queue.
#[derive(Debug, Default)]
pub struct Gate {
    held: AtomicUsize,
    freed: Notify,
}

impl Gate {
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.fetch_add(1, Ordering::SeqCst);
        Held(self)
    }

    fn is_open(&self) -> bool {
        self.held.load(Ordering::SeqCst) == 0
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

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.0.held.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.freed.notify_waiters();
        }
    }
}
