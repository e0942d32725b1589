//! Whether an API works, for the log and for `status`. The log has the first failure of an outage, then one line
//! a minute with the number of omitted ones, and a line when the API answers again. The minute goes on across
//! outages: an API that fails and answers in turn has one line a minute, too. The end of an outage is logged if
//! one of its failures was.
//!
//! An entry is failing during an outage, and if each of its last ten requests failed, whatever the reason: an
//! API that refuses every request works no better than one that is down. What the cache answered, and logins
//! that `sasl_attempts` puts off, are no requests to the API and do not count.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

use crate::model::status::{EntryStatus, State};
use crate::model::{Failure, grpc};
use crate::observe::metrics::{Failures, WorkerCounts};

const EVERY: Duration = Duration::from_secs(60);
/// The last ten requests, one bit for each.
const LAST: u16 = (1 << 10) - 1;

#[derive(Debug)]
pub(crate) struct Health {
    name: String,
    /// The origins of its targets.
    target: String,
    /// Whether another answer changes nothing; read on every success, without the lock.
    is_settled: AtomicBool,
    course: Mutex<Course>,
    failures: Arc<Failures>,
}

/// How the last requests went.
#[derive(Debug, Default)]
struct Course {
    outage: Option<Outage>,
    /// When a failure of an outage was last logged, and how many were not since then.
    logged: Option<Instant>,
    unlogged: u64,
    last_failure: Option<(Failure, Instant)>,
    /// A bit for each of the last requests, the newest one in the lowest bit.
    known: u16,
    /// The same; set if the request failed.
    failed: u16,
    /// The first failure since the last answer.
    failed_since: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outage {
    since: Instant,
    failures: u64,
    /// Whether one of its failures was logged.
    is_logged: bool,
    /// Whether its last failure was one of an identity provider.
    is_provider: bool,
}

/// Whether a failure concerns the API, not a single request.
fn is_outage(failure: &Failure) -> bool {
    match failure {
        Failure::Status(status @ ..100) => *status == grpc::OK || grpc::is_outage(*status),
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
    /// `name` is the entry's; `target` are the origins of its targets.
    pub(super) fn new(name: &str, target: String, failures: Arc<Failures>) -> Self {
        let (is_settled, course) = Default::default();
        Self { name: name.to_owned(), target, is_settled, course, failures }
    }

    /// Notes a failed request. `Some` if it is to be logged, with the number of omitted ones before it.
    pub(crate) fn note(&self, failure: &Failure) -> Option<Option<NonZeroU64>> {
        let now = Instant::now();
        self.count(failure, &failure.to_string());
        let mut course = self.failing_course();
        course.failed(now);
        course.last_failure = Some((failure.clone(), now));
        let suppressed = if is_outage(failure) { course.outage(now, failure) } else { Some(0) };
        suppressed.map(NonZeroU64::new)
    }

    /// Notes a request that failed for a reason of its own, before it was sent.
    pub(crate) fn note_unsent(&self, failure: &Failure, message: &str) {
        self.count(failure, message);
        self.failing_course().failed(Instant::now());
    }

    /// Counts a failure that says nothing about the entry, with this message.
    pub(crate) fn count(&self, failure: &Failure, message: &str) {
        self.failures.note(failure, message);
    }

    /// Notes an answer, and logs the end of an outage of which the log has a failure.
    pub(crate) fn end(&self) {
        if self.is_settled.load(Ordering::Relaxed) {
            return;
        }
        let mut course = self.course();
        let ended = course.answered();
        self.is_settled.store(course.is_settled(), Ordering::Relaxed);
        drop(course);
        if let Some(Outage { since, failures, is_provider, is_logged: true }) = ended {
            let (name, target) = (&*self.name, &*self.target);
            let lasted_s = since.elapsed().as_secs();
            if is_provider {
                info!(name, lasted_s, failures, "identity provider answers again");
            } else {
                info!(name, target, lasted_s, failures, "API answers again");
            }
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
        let course = self.course();
        let last = course.last_failure.as_ref();
        let is_failing = course.is_failing();
        EntryStatus {
            kind: kind.to_owned(),
            name: self.name.clone(),
            target: self.target.clone(),
            state: if is_failing { State::Failing } else { State::Ok },
            is_out_of_order: course.outage.is_some(),
            failing_s: course.failed_since.filter(|_| is_failing).map(|since| since.elapsed().as_secs()),
            last_requests: course.known.count_ones(),
            last_requests_failed: course.failed.count_ones(),
            working: queue.busy,
            max_workers: queue.workers,
            waiting: queue.waiting,
            has_token: token.map(|life| life.is_some()),
            token_expires_s: token.flatten().map(|life| life.as_secs()),
            last_failure: last.map(|(failure, _)| failure.to_string()),
            last_failure_class: last.map(|(failure, _)| failure.class().to_owned()),
            last_failure_s_ago: last.map(|(_, at)| at.elapsed().as_secs()),
            ..EntryStatus::default()
        }
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The course, for a failure.
    fn failing_course(&self) -> MutexGuard<'_, Course> {
        let course = self.course();
        self.is_settled.store(false, Ordering::Relaxed);
        course
    }
}

impl Course {
    /// Notes a failed request.
    fn failed(&mut self, now: Instant) {
        (self.known, self.failed) = ((self.known << 1 | 1) & LAST, (self.failed << 1 | 1) & LAST);
        self.failed_since.get_or_insert(now);
    }

    /// Notes a failure of the API. `Some` if it is to be logged, with the number of omitted ones before it.
    fn outage(&mut self, now: Instant, failure: &Failure) -> Option<u64> {
        let new = Outage { since: now, failures: 0, is_logged: false, is_provider: false };
        let outage = self.outage.get_or_insert(new);
        outage.failures += 1;
        outage.is_provider = *failure == Failure::Provider;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < EVERY) {
            self.unlogged += 1;
            return None;
        }
        outage.is_logged = true;
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }

    /// Notes an answer. Returns the outage that it ends.
    fn answered(&mut self) -> Option<Outage> {
        (self.known, self.failed) = ((self.known << 1 | 1) & LAST, self.failed << 1 & LAST);
        self.failed_since = None;
        self.outage.take()
    }

    fn is_failing(&self) -> bool {
        self.outage.is_some() || (self.known != 0 && self.failed == self.known)
    }

    /// Whether the last ten requests were answered.
    fn is_settled(&self) -> bool {
        self.known == LAST && self.failed == 0 && self.outage.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::{Component, Metrics};

    fn health() -> Health {
        let target = "http://api.example".to_owned();
        Health::new("entry", target, Metrics::default().failures(Component::Map, "entry"))
    }

    #[test]
    fn the_first_then_one_a_minute_then_the_end() {
        let (mut course, start) = (Course::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(course.answered(), None);
        assert_eq!(course.outage(at(0), &Failure::Connect), Some(0));
        assert_eq!([1, 2, 59].map(|second| course.outage(at(second), &Failure::Connect)), [None; 3]);
        assert_eq!(course.outage(at(60), &Failure::Connect), Some(3));
        assert_eq!(course.outage(at(61), &Failure::Connect), None);
        assert_eq!(course.outage(at(200), &Failure::Connect), Some(1));
        let ended = course.answered().expect("an outage");
        assert_eq!((ended.since, ended.failures), (start, 7));
        assert_eq!(course.answered(), None);
        assert_eq!(course.outage(at(260), &Failure::Connect), Some(0), "the next one begins anew");
    }

    #[test]
    fn outages_in_turn_with_answers_have_one_line_a_minute_and_the_end_of_those_alone() {
        let (mut course, start) = (Course::default(), Instant::now());
        let (mut begins, mut ends) = (Vec::new(), 0);
        for second in 0..180 {
            let now = start + Duration::from_secs(second);
            begins.extend(course.outage(now, &Failure::Status(500)).map(|unlogged| (second, unlogged)));
            ends += usize::from(course.answered().expect("an outage").is_logged);
        }
        assert_eq!(begins, [(0, 0), (60, 59), (120, 59)]);
        assert_eq!(ends, 3);
        let now = start + Duration::from_secs(179);
        assert_eq!(course.outage(now, &Failure::Connect), None);
        assert_eq!(course.outage(now + EVERY, &Failure::Connect), Some(60), "of one that began unlogged");
        assert!(course.answered().expect("an outage").is_logged);
    }

    /// The state, whether there is an outage, and how many of the last requests failed.
    fn seen(health: &Health) -> (State, bool, u32, u32) {
        let idle = WorkerCounts { waiting: 0, busy: 0, workers: 1 };
        let seen = health.status("map", &idle, None);
        assert_eq!(seen.failing_s.is_some(), seen.state == State::Failing);
        (seen.state, seen.is_out_of_order, seen.last_requests_failed, seen.last_requests)
    }

    #[test]
    fn an_entry_is_failing_if_all_of_its_last_requests_failed_for_whatever_reason() {
        let all = [
            Failure::Status(401),
            Failure::Status(404),
            Failure::Body,
            Failure::NoEvidence,
            Failure::EmptyValue,
            Failure::ErrorField("x".to_owned()),
        ];
        for failure in all {
            let health = health();
            assert_eq!(seen(&health), (State::Ok, false, 0, 0));
            (1..=3).for_each(|_| assert_eq!(health.note(&failure), Some(None), "each one is logged"));
            assert_eq!(seen(&health), (State::Failing, false, 3, 3), "{failure:?}");
            (0..20).for_each(|_| assert!(health.note(&failure).is_some()));
            assert_eq!(seen(&health), (State::Failing, false, 10, 10), "{failure:?}");
            health.end();
            assert_eq!(seen(&health), (State::Ok, false, 9, 10), "{failure:?}");
            (0..9).for_each(|_| health.end());
            assert_eq!(seen(&health), (State::Ok, false, 0, 10), "{failure:?}");
            (1..10).for_each(|_| assert!(health.note(&failure).is_some()));
            assert_eq!(seen(&health), (State::Ok, false, 9, 10), "one of ten was answered");
            health.note(&failure);
            assert_eq!(seen(&health), (State::Failing, false, 10, 10), "{failure:?}");
        }
    }

    #[test]
    fn an_outage_is_failing_at_once_and_until_an_answer() {
        let health = health();
        (0..20).for_each(|_| health.end());
        health.note(&Failure::Connect);
        assert_eq!(seen(&health), (State::Failing, true, 1, 10));
        health.note(&Failure::Status(401));
        assert_eq!(seen(&health), (State::Failing, true, 2, 10));
        health.end();
        assert_eq!(seen(&health), (State::Ok, false, 2, 10));
        health.count(&Failure::Overload, "too many logins");
        assert_eq!(seen(&health), (State::Ok, false, 2, 10));
        (0..10).for_each(|_| health.note_unsent(&Failure::Malformed, "it cannot be sent"));
        assert_eq!(seen(&health), (State::Failing, false, 10, 10));
    }
}
