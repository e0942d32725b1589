//! Whether an API works, for the log and for `status`. During an outage the log has the first failure, then
//! one line a minute with the number of omitted ones, and a line when the API answers again.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;
use url::Url;

use crate::model::Failure;
use crate::model::status::{EntryStatus, State};
use crate::observe::metrics::{Failures, WorkerCounts};

const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Health {
    name: String,
    url: Url,
    /// Whether there is an outage; read on every success, without the lock.
    is_out: AtomicBool,
    outage: Mutex<Option<Outage>>,
    last: Mutex<Option<(Failure, Instant)>>,
    failures: Arc<Failures>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outage {
    since: Instant,
    logged: Instant,
    unlogged: u64,
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
    /// `name` is the entry's, `url` its `target`.
    pub(super) fn new(name: &str, url: &Url, failures: Arc<Failures>) -> Self {
        let (is_out, outage, last) = Default::default();
        Self { name: name.to_owned(), url: url.clone(), is_out, outage, last, failures }
    }

    /// Notes a failure of any kind. `Some` if it is to be logged, with the number of omitted ones before it.
    pub(crate) fn note(&self, failure: &Failure) -> Option<Option<NonZeroU64>> {
        let now = Instant::now();
        self.count(failure, &failure.to_string());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure.clone(), now));
        let suppressed = if is_outage(failure) { self.failed(now) } else { Some(0) };
        suppressed.map(NonZeroU64::new)
    }

    /// Counts a failure that does not concern the API, with this message.
    pub(crate) fn count(&self, failure: &Failure, message: &str) {
        self.failures.note(failure, message);
    }

    /// Notes an answer, and logs the end of an outage.
    pub(crate) fn end(&self) {
        if !self.is_out.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        if let Some(Outage { since, failures, .. }) = self.answered() {
            let (name, target) = (&*self.name, self.url.origin().ascii_serialization());
            let lasted_s = now.duration_since(since).as_secs();
            info!(name, target, lasted_s, failures, "target answers again");
        }
    }

    /// The entry of `kind` for `status`, without its traffic. `token` says how long the token of the API is
    /// used; `None` if the API wants none.
    pub(super) fn status(
        &self,
        kind: &str,
        queue: &WorkerCounts,
        token: Option<Option<Duration>>,
    ) -> EntryStatus {
        let is_out_of_order = self.is_out.load(Ordering::Relaxed);
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        EntryStatus {
            kind: kind.to_owned(),
            name: self.name.clone(),
            target: self.url.origin().ascii_serialization(),
            state: if is_out_of_order { State::Failing } else { State::Ok },
            is_out_of_order,
            failing_s: outage.as_ref().map(|outage| outage.since.elapsed().as_secs()),
            working: queue.busy,
            max_workers: queue.workers,
            waiting: queue.waiting,
            has_token: token.map(|life| life.is_some()),
            token_expires_s: token.flatten().map(|life| life.as_secs()),
            last_failure: last.as_ref().map(|(failure, _)| failure.to_string()),
            last_failure_class: last.as_ref().map(|(failure, _)| failure.class().to_owned()),
            last_failure_s_ago: last.as_ref().map(|(_, at)| at.elapsed().as_secs()),
            ..EntryStatus::default()
        }
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
    fn answered(&self) -> Option<Outage> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_out.store(false, Ordering::Relaxed);
        outage.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::{Component, Metrics};

    #[test]
    fn the_first_then_one_a_minute_then_the_end() {
        let url = "http://api.example".parse().expect("a URL");
        let failures = Metrics::default().failures(Component::Map, "entry");
        let (health, start) = (Health::new("entry", &url, failures), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(health.answered(), None);
        assert_eq!(health.failed(at(0)), Some(0));
        assert_eq!([1, 2, 59].map(|second| health.failed(at(second))), [None; 3]);
        assert_eq!(health.failed(at(60)), Some(3));
        assert_eq!(health.failed(at(61)), None);
        assert_eq!(health.failed(at(200)), Some(1));
        let ended = health.answered().expect("an outage");
        assert_eq!((ended.since, ended.failures), (start, 7));
        assert_eq!(health.answered(), None);
        assert_eq!(health.failed(at(212)), Some(0), "the next one begins anew");
    }
}
