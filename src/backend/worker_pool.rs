//! The worker pool of an entry or a listener: how many lookups run, how many wait, and for how long.
//!
//! A lookup waits as long as it can still be answered in time. Two rules keep an overloaded API from working
//! on answers that come too late:
//!
//! * A lookup does not begin if it has less time left than a lookup usually takes (`service_time`).
//! * A lookup fails at once if its turn would come too late.
//!
//! Both rest on an estimate; a lookup that finds a free worker begins in any case. benches/README.md has the
//! measurements.
//!
//! While the queue is full, the lookups beyond it keep the [`Gate`] of their listener closed: it accepts no
//! connection, and the kernel's queue fills. A listener with several entries heeds only the gate of its own
//! pool, and the local socket heeds none: one slow API must not hold up others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::admission::Gate;
use super::service_time::ServiceTime;
use crate::model::{Deadline, Failure};
use crate::observe::metrics::WorkerCounts;

#[derive(Debug)]
pub(crate) struct WorkerPool {
    workers: Semaphore,
    max_workers: usize,
    waiting: AtomicUsize,
    max_queue: usize,
    service_time: ServiceTime,
}

/// A worker. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker<'l> {
    pool: &'l WorkerPool,
    since: Instant,
    /// The end of the lookup's time limit.
    until: Instant,
    _permit: SemaphorePermit<'l>,
}

impl WorkerPool {
    /// `workers` concurrent lookups, and `max_queue` that wait.
    pub(crate) fn new(workers: usize, max_queue: usize) -> Self {
        let max_workers = workers.min(Semaphore::MAX_PERMITS);
        let workers = Semaphore::new(max_workers);
        let (waiting, service_time) = (AtomicUsize::new(0), ServiceTime::default());
        Self { workers, max_workers, waiting, max_queue, service_time }
    }

    pub(crate) fn queue(&self) -> WorkerCounts {
        WorkerCounts {
            waiting: self.waiting.load(Ordering::Relaxed),
            busy: self.max_workers.saturating_sub(self.workers.available_permits()),
            workers: self.max_workers,
        }
    }

    /// As [`Self::enter`], but fails at once if the queue is full.
    pub(crate) async fn enter_or_fail(&self, deadline: Deadline) -> Result<Worker<'_>, Failure> {
        if self.workers.available_permits() == 0 && self.waiting.load(Ordering::Relaxed) >= self.max_queue {
            return Err(Failure::Overload);
        }
        self.enter(deadline, &Gate::default()).await
    }

    /// Waits for a worker; `gate` is closed while the queue is full. [`Failure::Overload`] if the turn of the lookup
    /// would come too late, or does.
    pub(crate) async fn enter(&self, deadline: Deadline, gate: &Gate) -> Result<Worker<'_>, Failure> {
        if let Ok(permit) = self.workers.try_acquire() {
            return Ok(self.worker(permit, deadline));
        }
        let turn = Waiting::begin(self);
        let patience = self.patience(deadline);
        if self.expected_wait(turn.ahead) > patience {
            return Err(Failure::Overload);
        }
        let held = turn.beyond_queue().then(|| gate.hold());
        match tokio::time::timeout(patience, self.workers.acquire()).await {
            // The estimate may be newer than the wait.
            Ok(Ok(_)) if deadline.remaining() < self.service_time.mean() => Err(Failure::Overload),
            Ok(Ok(permit)) => {
                if let Some(held) = held {
                    held.served();
                }
                Ok(self.worker(permit, deadline))
            }
            // A time limit; the semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Failure::Overload),
        }
    }

    fn worker<'l>(&'l self, permit: SemaphorePermit<'l>, deadline: Deadline) -> Worker<'l> {
        Worker { pool: self, since: Instant::now(), until: deadline.instant(), _permit: permit }
    }

    /// How long a lookup may wait and still begin in time. If service times scatter widely, it may wait for
    /// half of its time, unless the mean is longer than the other half.
    fn patience(&self, deadline: Deadline) -> Duration {
        let (left, mean) = (deadline.remaining(), self.service_time.mean());
        let least = if mean <= left / 2 { left / 2 } else { left.saturating_sub(mean) };
        left.saturating_sub(self.service_time.usual()).max(least)
    }

    /// When the turn of a lookup comes that has `ahead` others before it.
    fn expected_wait(&self, ahead: usize) -> Duration {
        let turns = (ahead + 1) as f64 / self.max_workers as f64;
        Duration::try_from_secs_f64(self.service_time.mean().as_secs_f64() * turns).unwrap_or(Duration::MAX)
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let (now, time) = (Instant::now(), &self.pool.service_time);
        let busy = now.saturating_duration_since(self.since);
        // A lookup that ran into its time limit would have taken longer.
        time.add(if now < self.until { busy } else { busy.max(time.mean()) });
    }
}

/// A waiting lookup; it leaves the queue on drop.
struct Waiting<'a> {
    pool: &'a WorkerPool,
    /// How many waited before it.
    ahead: usize,
}

impl<'a> Waiting<'a> {
    fn begin(pool: &'a WorkerPool) -> Self {
        Self { pool, ahead: pool.waiting.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether this lookup fills the queue, or stands beyond it.
    fn beyond_queue(&self) -> bool {
        self.ahead + 1 >= self.pool.max_queue
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
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
        let (pool, gate) = (WorkerPool::new(1, 1), Gate::default());
        let permit = pool.enter(soon(), &gate).await.expect("the first");
        let (second, third) = tokio::join!(pool.enter(soon(), &gate), pool.enter(soon(), &gate));
        assert!(matches!((second, third), (Err(Failure::Overload), Err(Failure::Overload))));
        drop(permit);
        assert!(pool.enter(soon(), &gate).await.is_ok(), "places and permits come back");
        assert_eq!(pool.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_would_come_too_late_fails_before_it_begins() {
        let (pool, gate) = (WorkerPool::new(1, 100), Gate::default());
        (0..100).for_each(|_| pool.service_time.add(Duration::from_secs(1)));
        let deadline = Deadline::after(Duration::from_millis(3500));
        let mut worker = Some(pool.enter(deadline, &gate).await.expect("a worker is free"));
        let mut first = Box::pin(pool.enter(deadline, &gate));
        let mut second = Box::pin(pool.enter(deadline, &gate));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        // Its turn would come after 3 s, and it would take one more.
        let third = pool.enter(deadline, &gate).now_or_never().expect("at once");
        assert!(matches!(third, Err(Failure::Overload)));
        assert!(pool.enter(Deadline::after(Duration::from_secs(5)), &gate).now_or_never().is_none());
        let hasty = pool.enter(Deadline::after(Duration::from_millis(1100)), &gate);
        assert!(matches!(hasty.now_or_never(), Some(Err(Failure::Overload))));
        drop(worker.take());
        assert!(first.await.is_ok(), "it has the time that one takes");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_gives_up_while_it_could_still_be_answered() {
        let (pool, gate) = (WorkerPool::new(8, 100), Gate::default());
        (0..100).for_each(|_| pool.service_time.add(Duration::from_millis(100)));
        let deadline = || Deadline::after(Duration::from_secs(1));
        let mut busy = Vec::new();
        for _ in 0..8 {
            busy.push(pool.enter(deadline(), &gate).await.expect("a worker is free"));
        }
        let start = tokio::time::Instant::now();
        assert!(matches!(pool.enter(deadline(), &gate).await, Err(Failure::Overload)));
        let waited = start.elapsed();
        assert!((800..=901).contains(&waited.as_millis()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_closes_the_gate_until_there_is_room() {
        let (pool, gate, other) = (WorkerPool::new(1, 2), Gate::default(), Gate::default());
        let is_open = || async { tokio::time::timeout(Duration::ZERO, gate.open()).await.is_ok() };
        let permit = pool.enter(soon(), &gate).await.expect("the first");
        let mut one = Box::pin(pool.enter(soon(), &other));
        assert!((&mut one).now_or_never().is_none());
        assert!(is_open().await, "there is a place left in the queue");
        let mut two = Box::pin(pool.enter(soon(), &gate));
        assert!((&mut two).now_or_never().is_none());
        assert!(!is_open().await, "the queue is full");
        other.open().await;
        drop(permit);
        drop(one.await);
        drop(two.await);
        assert!(is_open().await);
    }
}
