//! Whether an API works, for the log and for `status`. During an outage the log has the first failure, then
//! one line a minute with the number of omitted ones, and a line when the API answers again.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::info;
use url::Url;

use crate::model::Failure;
use crate::observe::metrics::WorkerCounts;

const EVERY: Duration = Duration::from_secs(60);

/// The health of one API.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Whether there is an outage; read on every success, without the lock.
    is_out: AtomicBool,
    outage: Mutex<Option<Outage>>,
    last: Mutex<Option<(Failure, Instant)>>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    logged: Instant,
    unlogged: u64,
    failures: u64,
}

/// An outage that is over.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    lasted: Duration,
    failures: u64,
}

/// Whether a failure concerns the API, not a single request.
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
    /// Notes a failure of any kind. `Some` if it is to be logged, with the number of omitted ones before it.
    pub(crate) fn note(&self, failure: &Failure) -> Option<Option<NonZeroU64>> {
        let now = Instant::now();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure.clone(), now));
        let suppressed = if is_outage(failure) { self.failed(now) } else { Some(0) };
        suppressed.map(NonZeroU64::new)
    }

    /// Notes an answer, and logs the end of an outage of the entry `name` at `target`.
    pub(crate) fn end(&self, name: &str, target: &Url) {
        if !self.is_out.load(Ordering::Relaxed) {
            return;
        }
        if let Some(Ended { lasted, failures }) = self.answered(Instant::now()) {
            let target = target.host_str();
            info!(name, target, lasted_s = lasted.as_secs(), failures, "target answers again");
        }
    }

    /// The entry `name` of `kind` for `status`. `has_token` is `None` if the API wants no token.
    pub(crate) fn status(
        &self,
        kind: &str,
        name: &str,
        target: &Url,
        queue: &WorkerCounts,
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
            "is_out_of_order": self.is_out.load(Ordering::Relaxed),
            "last_failure": last.as_ref().map(|(failure, _)| failure.to_string()),
            "last_failure_s_ago": last.as_ref().map(|(_, at)| at.elapsed().as_secs()),
        })
    }

    /// Notes a failure of the API. `Some` if it is to be logged, with the number of omitted ones before it.
    fn failed(&self, now: Instant) -> Option<u64> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *outage {
            None => {
                *outage = Some(Outage { since: now, logged: now, unlogged: 0, failures: 1 });
                self.is_out.store(true, Ordering::Relaxed);
                Some(0)
            }
            Some(outage) => {
                outage.failures += 1;
                if now.duration_since(outage.logged) < EVERY {
                    outage.unlogged += 1;
                    return None;
                }
                outage.logged = now;
                Some(std::mem::take(&mut outage.unlogged))
            }
        }
    }

    /// Notes an answer. Returns the outage that it ends.
    fn answered(&self, now: Instant) -> Option<Ended> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_out.store(false, Ordering::Relaxed);
        let Outage { since, failures, .. } = outage.take()?;
        Some(Ended { lasted: now.duration_since(since), failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_then_one_a_minute_then_the_end() {
        let (health, start) = (Health::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(health.answered(at(0)), None);
        assert_eq!(health.failed(at(0)), Some(0));
        assert_eq!([1, 2, 59].map(|second| health.failed(at(second))), [None; 3]);
        assert_eq!(health.failed(at(60)), Some(3));
        assert_eq!(health.failed(at(61)), None);
        assert_eq!(health.failed(at(200)), Some(1));
        assert_eq!(health.answered(at(210)), Some(Ended { lasted: Duration::from_secs(210), failures: 7 }));
        assert_eq!(health.answered(at(211)), None);
        assert_eq!(health.failed(at(212)), Some(0), "the next one begins anew");
    }
}
