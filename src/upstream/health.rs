//! Health checks: a GET to each target at intervals, besides the requests of the entry.
//!
//! After `fall` checks in a row that fail a target is out, and after `rise` good ones it is back. In between no
//! request tries it. As long as the checks are good, the breaker decides.
//!
//! A check belongs to a target, not to one configuration: after a reload the next task goes on with what the last
//! one has found, at the times that were due. A task ends with the last configuration that has its target.
//!
//! Each check makes a connection of its own, if it can: one that was kept does not tell whether others can be made. At
//! the limit of connections it takes one that was used a moment ago.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::breaker::{Breaker, Standing, varied};
use super::settings::HealthSettings;
use super::{Target, Upstream};
use crate::http::{Headers, Host, NoReply, Request, Stage};
use crate::model::{Deadline, Failure};
use crate::observe::metrics::{Calls, HEALTH, TargetCounters};

/// The health check of one target.
#[derive(Debug)]
pub(super) struct HealthCheck {
    probe: Arc<Probe>,
    state: Arc<State>,
    has_begun: AtomicBool,
}

/// What is asked, and for whom.
#[derive(Debug)]
struct Probe {
    name: String,
    origin: String,
    host: Arc<Host>,
    headers: Headers,
    settings: HealthSettings,
    breaker: Breaker,
    counters: Arc<TargetCounters>,
}

/// It outlives a reload.
#[derive(Debug, Default)]
struct State {
    /// Read on every request.
    is_out: AtomicBool,
    course: Mutex<Course>,
    /// The task that asks. A new one ends the one before.
    task: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Course {
    /// Results in a row that contradict the state.
    contrary: u64,
    /// Since when the target is out.
    out: Option<Instant>,
    /// When the next check is due.
    next: Option<Instant>,
}

/// What a check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    Out,
    /// Back, after it was out for this long.
    Back(Duration),
}

impl HealthSettings {
    /// Sends one check to `host`, with the fixed headers of an entry, and waits until `limit` at most. Returns the
    /// status of the answer.
    ///
    /// # Errors
    /// Why it is not good, as a sentence.
    pub(crate) async fn check(
        &self,
        host: &Host,
        headers: &HeaderMap,
        limit: Deadline,
    ) -> Result<u16, String> {
        let (headers, deadline) = (of_check(host, headers), Deadline::after(self.timeout).min(limit));
        self.judge(&self.send(host, &headers, deadline).await)
    }

    /// Returns the status of the answer.
    async fn send(&self, host: &Host, headers: &Headers, deadline: Deadline) -> Result<u16, NoReply> {
        let request = Request {
            method: Method::GET,
            path: self.path.clone(),
            headers,
            own: &[],
            authorization: None,
            body: Bytes::new(),
            // On a kept connection that has just been used at most.
            repeatable: false,
        };
        // The metrics count requests of the entry.
        host.exchange(&request, &Calls::default(), deadline).await.map(|reply| reply.status)
    }

    /// The status of a good check, or the reason why it is none.
    fn judge(&self, outcome: &Result<u16, NoReply>) -> Result<u16, String> {
        match outcome {
            Ok(status) if self.status.contains(status) => Ok(*status),
            Ok(status) => Err(Failure::Status(*status).to_string()),
            Err(NoReply { failure: Failure::Body, .. }) => Err("the answer is too long".to_owned()),
            Err(no_reply) => Err(no_reply.failure.to_string()),
        }
    }
}

/// The headers of a check: those of the entry that are not about a body.
fn of_check(host: &Host, headers: &HeaderMap) -> Headers {
    let mut own = headers.clone();
    own.remove(CONTENT_TYPE);
    own.remove(CONTENT_ENCODING);
    own.insert(CONNECTION, HeaderValue::from_static("close"));
    host.headers(&own)
}

impl HealthCheck {
    /// The check of the target `origin` of the entry `name`; `before` is that of the configuration before.
    pub(super) fn new(
        settings: &HealthSettings,
        (name, origin): (&str, &str),
        host: &Arc<Host>,
        headers: &HeaderMap,
        (breaker, counters): (&Breaker, &Arc<TargetCounters>),
        before: Option<&Self>,
    ) -> Self {
        let probe = Probe {
            name: name.to_owned(),
            origin: origin.to_owned(),
            headers: of_check(host, headers),
            host: Arc::clone(host),
            settings: settings.clone(),
            breaker: breaker.clone(),
            counters: Arc::clone(counters),
        };
        let state = before.map_or_else(Arc::default, |before| Arc::clone(&before.state));
        Self { probe: Arc::new(probe), state, has_begun: AtomicBool::new(false) }
    }

    /// Whether the checks fail.
    pub(super) fn is_out(&self) -> bool {
        self.state.is_out.load(Ordering::Relaxed)
    }

    /// Begins to ask, unless it does. The task of the configuration before ends.
    fn begin(&self) {
        if self.has_begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut task = JoinSet::new();
        task.spawn(watch(Arc::clone(&self.probe), Arc::downgrade(&self.state)));
        *self.state.task.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }
}

/// Checks a target until its `state` is gone.
async fn watch(probe: Arc<Probe>, state: Weak<State>) {
    let settings = &probe.settings;
    let due = || state.upgrade().map(|state| state.due(settings.every));
    while let Some(due) = due() {
        tokio::time::sleep_until(due.into()).await;
        let Some(()) = state.upgrade().map(|state| state.begin_check(settings.every)) else { return };
        let deadline = Deadline::after(settings.timeout);
        let outcome = settings.send(&probe.host, &probe.headers, deadline).await;
        let Some(state) = state.upgrade() else { return };
        probe.note(&state, &outcome);
    }
}

impl Probe {
    fn note(&self, state: &State, outcome: &Result<u16, NoReply>) {
        let (name, target, now) = (&*self.name, &*self.origin, Instant::now());
        // It waited for a place among the connections.
        if let Err(NoReply { failure: Failure::Timeout, stage: Stage::Unsent, .. }) = outcome {
            return;
        }
        let result = self.settings.judge(outcome);
        debug!(name, target, reason = result.as_ref().err(), "health check");
        if result.is_ok() {
            self.breaker.reached();
        }
        match (state.turn(result.is_ok(), &self.settings, now), result) {
            // Otherwise the breaker has said so.
            (Turn::Out, Err(reason)) if !self.breaker.is_tripped() => {
                self.counters.out(HEALTH);
                warn!(name, target, class = HEALTH, reason, "target out");
            }
            (Turn::Back(out), _) => {
                let out_s = self.breaker.answered().unwrap_or_default().max(out).as_secs();
                info!(name, target, out_s, "target back");
            }
            _ => {}
        }
    }
}

impl State {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next check is due. The first one is at a random time: those of several entries are not at the same
    /// moment.
    fn due(&self, every: Duration) -> Instant {
        let now = Instant::now();
        let mut course = self.course();
        let next = course.next.unwrap_or_else(|| now + every / 1000 * random_below(1000));
        // The interval may have been longer before a reload.
        let next = next.min(now + every * 6 / 5);
        course.next = Some(next);
        next
    }

    fn begin_check(&self, every: Duration) {
        self.course().next = Some(Instant::now() + varied(every));
    }

    /// Notes a result.
    fn turn(&self, is_good: bool, settings: &HealthSettings, now: Instant) -> Turn {
        let mut course = self.course();
        if is_good == course.out.is_none() {
            course.contrary = 0;
            return Turn::None;
        }
        course.contrary += 1;
        if course.contrary < if is_good { settings.rise } else { settings.fall } {
            return Turn::None;
        }
        course.contrary = 0;
        self.is_out.store(!is_good, Ordering::Relaxed);
        match course.out.take() {
            Some(since) => Turn::Back(now.saturating_duration_since(since)),
            None => {
                course.out = Some(now);
                Turn::Out
            }
        }
    }
}

fn random_below(limit: u32) -> u32 {
    RandomState::new().hash_one(()) as u32 % limit
}

impl Upstream {
    /// Begins the health checks of all targets, unless they run. Needs the runtime.
    pub(crate) fn begin_checks(&self) {
        self.targets.iter().filter_map(|target| target.check.as_ref()).for_each(HealthCheck::begin);
    }

    /// Each target that has health checks, and whether these fail.
    pub(crate) fn health_checks(&self) -> impl Iterator<Item = (&str, bool)> {
        let checked = self.targets.iter().filter(|target| target.check.is_some());
        checked.map(|target| (&*target.origin, target.is_unhealthy()))
    }
}

impl Target {
    /// Whether its health checks fail.
    pub(super) fn is_unhealthy(&self) -> bool {
        self.check.as_ref().is_some_and(HealthCheck::is_out)
    }

    /// Whether it is up for certain.
    pub(super) fn is_up(&self) -> bool {
        self.breaker.is_up() && !self.is_unhealthy()
    }

    /// Whether it may be asked: what its breaker says, unless its health checks fail.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.is_unhealthy() { Standing::Out } else { self.breaker.standing(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fall: u64, rise: u64) -> HealthSettings {
        let (every, timeout) = (Duration::from_secs(5), Duration::from_secs(1));
        let path = "/health".parse().expect("a path");
        HealthSettings { path, every, fall, rise, timeout, status: vec![200] }
    }

    #[test]
    fn results_in_a_row_turn_it() {
        let (state, settings, now) = (State::default(), settings(3, 2), Instant::now());
        let turns = |results: &[bool]| {
            results.iter().map(|is_good| state.turn(*is_good, &settings, now)).collect::<Vec<_>>()
        };
        assert_eq!(turns(&[true, false, false, true, false, false]), [Turn::None; 6]);
        assert!(!state.is_out.load(Ordering::Relaxed));
        assert_eq!(turns(&[false]), [Turn::Out]);
        assert!(state.is_out.load(Ordering::Relaxed));
        assert_eq!(turns(&[false, true, false, true]), [Turn::None; 4]);
        let later = now + Duration::from_secs(7);
        assert_eq!(state.turn(true, &settings, later), Turn::Back(Duration::from_secs(7)));
        assert!(!state.is_out.load(Ordering::Relaxed));
    }

    #[test]
    fn the_next_configuration_asks_when_the_last_one_would_have() {
        let (state, every) = (State::default(), Duration::from_secs(60));
        let due = state.due(every);
        assert!(due < Instant::now() + every);
        assert_eq!(state.due(every), due);
        state.begin_check(every);
        let due = state.due(every);
        assert!(due > Instant::now() + every * 3 / 5 && due < Instant::now() + every * 6 / 5);
        assert_eq!(state.due(every), due);
        let soon = state.due(Duration::from_secs(1));
        assert!(soon <= Instant::now() + Duration::from_millis(1200), "a shorter interval holds at once");
    }
}
