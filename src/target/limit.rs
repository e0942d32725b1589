//! How many lookups run at a time, and what happens to those who wait.
//!
//! A lookup waits for a worker as long as its own budget lasts. As long as the queue behind the
//! workers is full, those who wait there keep their listener's [`Door`](super::door::Door) closed: it accepts nobody
//! until there is room, and the kernel's queue of connections fills. The bound is for each
//! target, so that one slow API holds up no other; hence a listener through which several targets
//! are asked stays open (but for a pool of its own), and so does the local socket.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::door::Gate;
use crate::ask::{Deadline, Failure};
use crate::metrics::Queue;

/// Workers, and the queue behind them.
#[derive(Debug)]
pub struct Limit {
    workers: Semaphore,
    max_workers: usize,
    waiting: AtomicUsize,
    max_queue: usize,
}

impl Limit {
    /// `workers` at a time, `max_queue` behind them.
    #[must_use]
    pub fn new(workers: usize, max_queue: usize) -> Self {
        let max_workers = workers.min(Semaphore::MAX_PERMITS);
        let workers = Semaphore::new(max_workers);
        Self { workers, max_workers, waiting: AtomicUsize::new(0), max_queue }
    }

    /// Who waits and who is served at this moment.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue {
            waiting: self.waiting.load(Ordering::Relaxed),
            busy: self.max_workers.saturating_sub(self.workers.available_permits()),
            workers: self.max_workers,
        }
    }

    /// The same, but a full queue is not waited behind.
    ///
    /// # Errors
    /// [`Failure::Overload`] at once where the queue is full, or when the budget ends.
    pub async fn enter_or_fail(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>, Failure> {
        if self.workers.available_permits() == 0 && self.waiting.load(Ordering::Relaxed) >= self.max_queue {
            return Err(Failure::Overload);
        }
        self.enter(deadline, &Gate::default()).await
    }

    /// Waits for a worker. It is free again when the permit is dropped.
    ///
    /// # Errors
    /// [`Failure::Overload`] where the budget ends first.
    pub async fn enter(&self, deadline: Deadline, gate: &Gate) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(permit) = self.workers.try_acquire() {
            return Ok(permit);
        }
        let place = Place::take(self);
        let _held = place.beyond_queue.then(|| gate.hold());
        match tokio::time::timeout_at(deadline.instant().into(), self.workers.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // Never closed; and if it were, nothing could be asked.
            Ok(Err(_)) | Err(_) => Err(Failure::Overload),
        }
    }
}

/// A place in the queue, given back by drop: whoever hangs up does not wait on.
struct Place<'a> {
    limit: &'a Limit,
    beyond_queue: bool,
}

impl<'a> Place<'a> {
    fn take(limit: &'a Limit) -> Self {
        let before = limit.waiting.fetch_add(1, Ordering::Relaxed);
        // With this one the queue is full.
        Self { limit, beyond_queue: before + 1 >= limit.max_queue }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.limit.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(50))
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_budget_is_overload() {
        let (limit, gate) = (Limit::new(1, 1), Gate::default());
        let permit = limit.enter(soon(), &gate).await.expect("the first");
        let (second, third) = tokio::join!(limit.enter(soon(), &gate), limit.enter(soon(), &gate));
        assert!(matches!((second, third), (Err(Failure::Overload), Err(Failure::Overload))));
        drop(permit);
        assert!(limit.enter(soon(), &gate).await.is_ok(), "places and permits come back");
        assert_eq!(limit.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_closes_the_gate_until_there_is_room() {
        let (limit, gate, other) = (Limit::new(1, 2), Gate::default(), Gate::default());
        let is_open = || async { tokio::time::timeout(Duration::ZERO, gate.open()).await.is_ok() };
        let permit = limit.enter(soon(), &gate).await.expect("the first");
        let mut one = Box::pin(limit.enter(soon(), &other));
        assert!((&mut one).now_or_never().is_none());
        assert!(is_open().await, "there is a place left in the queue");
        let mut two = Box::pin(limit.enter(soon(), &gate));
        assert!((&mut two).now_or_never().is_none());
        assert!(!is_open().await, "the queue is full");
        other.open().await;
        drop(permit);
        drop(one.await);
        drop(two.await);
        assert!(is_open().await);
    }
}
