//! How many lookups a target works on at a time, and how many may wait for that.
//!
//! Waiting counts against a lookup's own budget. The bound is for each target, so that one slow
//! API holds up no other.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ask::{Deadline, Failure};

/// The workers of one target.
#[derive(Debug)]
pub struct Limit {
    workers: Semaphore,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Limit {
    /// `workers` at a time, `max_waiting` behind them.
    #[must_use]
    pub fn new(workers: usize, max_waiting: usize) -> Self {
        Self { workers: Semaphore::new(workers), waiting: AtomicUsize::new(0), max_waiting }
    }

    /// Waits for a worker. It is free again when the permit is dropped.
    ///
    /// # Errors
    /// [`Failure::Overload`] where too many wait already, or the budget ends first.
    pub async fn enter(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(permit) = self.workers.try_acquire() {
            return Ok(permit);
        }
        let _place = Place::take(self)?;
        match tokio::time::timeout_at(deadline.instant().into(), self.workers.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // Never closed; and if it were, nothing could be asked.
            Ok(Err(_)) | Err(_) => Err(Failure::Overload),
        }
    }
}

/// A place in the queue, given back by drop: whoever hangs up does not wait on.
struct Place<'a>(&'a Limit);

impl<'a> Place<'a> {
    fn take(limit: &'a Limit) -> Result<Self, Failure> {
        let place = Self(limit);
        if limit.waiting.fetch_add(1, Ordering::Relaxed) >= limit.max_waiting {
            return Err(Failure::Overload);
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_an_ended_budget_are_overload() {
        let limit = Limit::new(1, 1);
        let soon = || Deadline::after(Duration::from_millis(50));
        let permit = limit.enter(soon()).await.expect("the first");
        let (second, third) = tokio::join!(limit.enter(soon()), limit.enter(soon()));
        assert!(matches!((second, third), (Err(Failure::Overload), Err(Failure::Overload))));
        drop(permit);
        assert!(limit.enter(soon()).await.is_ok(), "places and permits come back");
        assert_eq!(limit.waiting.load(Ordering::Relaxed), 0);
    }
}
