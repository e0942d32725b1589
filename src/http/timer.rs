//! One timer for many waits, one after the other.
//!
//! Most waits end long before their deadline, and setting a timer for each costs more than the wait. So the
//! timer is only set again when it expires too early, or if it would expire too late.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Instant as Clock, Sleep, sleep_until};

/// A timer. It belongs to the runtime in which it was made, and wakes the task that polled it last.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    #[must_use]
    pub(crate) fn new(until: Instant) -> Self {
        Self(Box::pin(sleep_until(until.into())))
    }

    /// Ready from `until` on.
    pub(crate) fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let until = Clock::from_std(until);
        if until < self.0.deadline() {
            self.0.as_mut().reset(until);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if until <= self.0.deadline() {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(until);
        }
    }

    pub(crate) async fn wait(&mut self, until: Instant) {
        poll_fn(|cx| self.poll(until, cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_each_waits_own_time() {
        let start = Clock::now();
        let at = |seconds| (start + Duration::from_secs(seconds)).into_std();
        let mut timer = Timer::new(at(5));
        // Later than it was set, then sooner than that; given up in between; in the past.
        for (until, ends) in [(7, 7), (100, 9), (20, 20), (21, 21), (3, 21)] {
            let given_up = Clock::from_std(at(9));
            if until == 100 {
                assert!(tokio::time::timeout_at(given_up, timer.wait(at(until))).await.is_err());
            } else {
                timer.wait(at(until)).await;
            }
            assert_eq!(start.elapsed().as_secs(), ends, "a wait until {until}");
        }
        assert!(timeout(Duration::from_secs(9), timer.wait(at(31))).await.is_err(), "it has a second left");
    }
}
