//! The log of an API that is out of order: the first failure, then one line a minute with the
//! number of those that went unsaid, and one when it works again. A busy mail server would bury
//! everything else otherwise.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::info;
use url::Url;

use crate::model::Failure;
use crate::observe::metrics::Queue;

const EVERY: Duration = Duration::from_secs(60);

/// Whether one API is out of order, as far as its last answers tell.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Read on every success, without the lock.
    lasts: AtomicBool,
    state: Mutex<Option<State>>,
    last: Mutex<Option<(Failure, Instant)>>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    said: Instant,
    unsaid: u64,
    all: u64,
}

/// What has ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// How long it lasted.
    lasted: Duration,
    /// How many lookups it has cost.
    failures: u64,
}

/// Whether a failure is the API's, and not that of one request: only these come in crowds.
fn is_outage(failure: &Failure) -> bool {
    match failure {
        Failure::Status(status) => *status >= 500 || *status == 429,
        Failure::Connect
        | Failure::Timeout
        | Failure::Tls
        | Failure::Protocol
        | Failure::Provider
        | Failure::Overload => true,
        _ => false,
    }
}

impl Health {
    /// Notes a failure of any kind. Where it is to be said, how many went unsaid since the last one.
    pub(crate) fn note(&self, failure: &Failure) -> Option<Option<NonZeroU64>> {
        let now = Instant::now();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure.clone(), now));
        let unsaid = if is_outage(failure) { self.failed(now) } else { Some(0) };
        unsaid.map(NonZeroU64::new)
    }

    /// Notes an answer, and says in the log what that ends: an outage of `name` at `target`.
    pub(crate) fn end(&self, name: &str, target: &Url) {
        if !self.lasts.load(Ordering::Relaxed) {
            return;
        }
        if let Some(Ended { lasted, failures }) = self.answered(Instant::now()) {
            let target = target.host_str();
            info!(name, target, lasted_s = lasted.as_secs(), failures, "target answers again");
        }
    }

    /// For an administrator: the entry `name` of `kind` at `target`, its queue, whether it has the
    /// token that it wants, and how it fares.
    pub(crate) fn status(
        &self,
        kind: &str,
        name: &str,
        target: &Url,
        queue: &Queue,
        has_token: Option<bool>,
    ) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "kind": kind,
            "name": name,
            "target": target.origin().ascii_serialization(),
            "working": queue.busy,
            "waiting": queue.waiting,
            "has_token": has_token,
            "is_out_of_order": self.lasts.load(Ordering::Relaxed),
            "last_failure": last.as_ref().map(|(failure, _)| failure.to_string()),
            "last_failure_s_ago": last.as_ref().map(|(_, at)| at.elapsed().as_secs()),
        })
    }

    /// Notes one such failure. Where it is to be said, how many went unsaid since the last one.
    fn failed(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            None => {
                *state = Some(State { since: now, said: now, unsaid: 0, all: 1 });
                self.lasts.store(true, Ordering::Relaxed);
                Some(0)
            }
            Some(state) => {
                state.all += 1;
                if now.duration_since(state.said) < EVERY {
                    state.unsaid += 1;
                    return None;
                }
                state.said = now;
                Some(std::mem::take(&mut state.unsaid))
            }
        }
    }

    /// Notes an answer. Where it ends an outage, which one.
    fn answered(&self, now: Instant) -> Option<Ended> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.lasts.store(false, Ordering::Relaxed);
        let State { since, all, .. } = state.take()?;
        Some(Ended { lasted: now.duration_since(since), failures: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_then_one_a_minute_then_the_end() {
        let (outage, start) = (Health::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.answered(at(0)), None);
        assert_eq!(outage.failed(at(0)), Some(0));
        assert_eq!([1, 2, 59].map(|second| outage.failed(at(second))), [None; 3]);
        assert_eq!(outage.failed(at(60)), Some(3));
        assert_eq!(outage.failed(at(61)), None);
        assert_eq!(outage.failed(at(200)), Some(1));
        assert_eq!(outage.answered(at(210)), Some(Ended { lasted: Duration::from_secs(210), failures: 7 }));
        assert_eq!(outage.answered(at(211)), None);
        assert_eq!(outage.failed(at(212)), Some(0), "the next one begins anew");
    }
}
