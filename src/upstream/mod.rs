//! The targets of an entry: which one is asked, and whether a request goes on to the next one.
//!
//! | file | |
//! |---|---|
//! | `choice` | which target is asked next, and how much time it gets |
//! | `least` | the same for `balance: least` |
//! | `rule` | what goes to the next target, and what a try says about the target that it asked |
//! | `breaker` | whether a target may be asked |
//! | `health` | the same by checks besides the requests |
//! | `budget` | how many requests may be sent to a second target after a first one has seen them |
//! | `unneeded` | how a target that no request needs comes back |
//!
//! All tries of a request share one deadline. A map's try gets half of the remaining time as long as the lookup may
//! go on to a target that is up or to be tried. A login makes at most two connections that do not come about in time
//! (2 s each), which leaves it half of its time.
//!
//! If none of the targets that are left is up, they are asked as if they were: a breaker spares a target, and fails
//! no request.

mod breaker;
mod budget;
mod choice;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod health;
mod least;
mod rule;
pub(crate) mod settings;
mod unneeded;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName};
use tracing::{info, warn};

use crate::http::{ConnectionSettings, Headers, Host, Http, NoReply, Reply, Request, Stage};
use crate::model::{Deadline, Failure};
use crate::observe::count_guard::CountGuard;
use crate::observe::explain;
use crate::observe::metrics::{Calls, Component, Moves, TargetCounters};
use crate::observe::warnings::RateLimitedWarning;
use breaker::{Breaker, Change, Standing, Trial};
use budget::Budget;
use choice::{Choice, Tried};
use health::HealthCheck;
use rule::{Says, Then};
use settings::{Balance, RetrySettings, TargetSettings, UpstreamSettings};

/// How many connections of a login may fail by their time limit.
const LOGIN_CONNECTS: usize = 2;
/// One that failed sooner has cost no time.
const LATE: Duration = Duration::from_secs(1);

/// The targets of one entry.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: String,
    /// In the order in which they are asked; never empty.
    targets: Box<[Target]>,
    kind: Component,
    balance: Balance,
    /// The statuses that are answers to this entry.
    expected: Box<[u16]>,
    /// The shortest time after which a try without an answer speaks against its target.
    patience: Duration,
    retry: RetrySettings,
    /// Of several targets. It outlives a reload.
    budget: Option<Arc<Budget>>,
    all_out: Mutex<RateLimitedWarning>,
    calls: Arc<Calls>,
    /// Of several targets.
    moves: Option<Arc<Moves>>,
}

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    host: Arc<Host>,
    /// The headers of every request; `Host` is the target's own.
    headers: Arc<Headers>,
    origin: String,
    /// Whether others are asked before it.
    is_backup: bool,
    breaker: Breaker,
    /// `health`.
    check: Option<HealthCheck>,
    /// Requests in flight; counted for `balance: least` alone.
    in_flight: Option<Arc<AtomicUsize>>,
    /// Of a target that may be left alone.
    counters: Option<Arc<TargetCounters>>,
}

/// The entry whose targets these are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'s> {
    pub(crate) kind: Component,
    pub(crate) name: &'s str,
    pub(crate) method: &'static str,
    /// `tls` and `proxy`, of all targets.
    pub(crate) connection: &'s ConnectionSettings,
    /// The headers of all requests, and the names of those that each request sets itself.
    pub(crate) headers: &'s HeaderMap,
    pub(crate) own_headers: &'s [HeaderName],
    pub(crate) timeout: Duration,
    /// Whether answers from before may replace failures.
    pub(crate) has_stand_ins: bool,
    /// The statuses that are answers, whatever they mean elsewhere.
    pub(crate) expected: &'s [u16],
}

/// The same for equal headers that follow each other: entries with one API mostly have equal ones.
fn shared(headers: Headers) -> Arc<Headers> {
    static LAST: Mutex<Weak<Headers>> = Mutex::new(Weak::new());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = last.upgrade().filter(|last| **last == headers) {
        return same;
    }
    let headers = Arc::new(headers);
    *last = Arc::downgrade(&headers);
    headers
}

impl Upstream {
    /// The targets of `settings`. Those that were in the configuration `before` are as up, or as out, as there.
    pub(crate) fn new(
        settings: &UpstreamSettings,
        owner: Owner<'_>,
        http: &Http,
        before: Option<&Self>,
    ) -> Self {
        let Owner { kind, name, headers, own_headers, .. } = owner;
        // With one target and nothing that stands in, every request asks it all the same.
        let breaker = settings.breaker.filter(|_| settings.targets.len() > 1 || owner.has_stand_ins);
        let is_several = settings.targets.len() > 1;
        let may_be_out = is_several || breaker.is_some() || settings.health.is_some();
        let has_others = settings.targets.iter().any(|target| !target.is_backup);
        let is_counted = settings.balance == Balance::Least && is_several;
        let targets = settings.targets.iter().map(|TargetSettings { url, is_backup }| {
            let host = http.host_by(url, owner.connection);
            let origin = url.origin().ascii_serialization();
            let known =
                before.and_then(|before| before.targets.iter().find(|target| target.origin == origin));
            let breaker = Breaker::new(breaker, known.map(|target| &target.breaker));
            let counters = may_be_out.then(|| http.metrics().target(kind, name, &origin));
            let check = settings.health.as_ref().zip(counters.as_ref()).map(|(health, counters)| {
                let before = known.and_then(|target| target.check.as_ref());
                HealthCheck::new(health, (name, &origin), &host, headers, (&breaker, counters), before)
            });
            Target {
                headers: shared(host.headers(headers).with_places(own_headers)),
                host,
                counters,
                origin,
                is_backup: *is_backup && has_others,
                breaker,
                check,
                in_flight: is_counted
                    .then(|| known.and_then(|target| target.in_flight.clone()).unwrap_or_default()),
            }
        });
        Self {
            name: name.to_owned(),
            targets: targets.collect(),
            kind,
            balance: settings.balance,
            expected: owner.expected.into(),
            patience: owner.timeout * 2 / 5,
            retry: settings.retry,
            budget: is_several.then(|| {
                let before = before.and_then(|before| before.budget.clone());
                before.unwrap_or_else(|| Arc::new(Budget::new()))
            }),
            all_out: Mutex::default(),
            calls: http.metrics().calls(kind, name, owner.method),
            moves: is_several.then(|| http.metrics().moves(kind, name)),
        }
    }

    /// The headers of requests to the first target.
    pub(crate) fn headers(&self) -> &Headers {
        &self.targets[0].headers
    }

    /// Each target, and whether it is up.
    pub(crate) fn standings(&self) -> impl Iterator<Item = (&str, bool)> {
        let now = Instant::now();
        let is_up = move |target: &Target| target.standing(now) == Standing::Up;
        self.targets.iter().map(move |target| (&*target.origin, is_up(target)))
    }

    /// Whether targets may be out. One alone never is, without a breaker and health checks.
    pub(crate) fn may_be_out(&self) -> bool {
        let first = &self.targets[0];
        self.targets.len() > 1 || first.breaker.is_on() || first.check.is_some()
    }

    /// Sends `request`, which has the headers of the first target, to the targets in their order, until one
    /// answers or the request must not go to another one. Returns the target that was asked last.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<(Reply, &Target), Failure> {
        match &*self.targets {
            [only] if !only.breaker.is_on() => {
                let outcome = only.host.exchange(request, &self.calls, deadline).await;
                outcome.map(|reply| (reply, only)).map_err(Failure::from)
            }
            [only] => {
                let trial = if only.breaker.is_up() { None } else { self.try_out(only, Instant::now()) };
                let time = deadline.remaining();
                let outcome = only.host.exchange(request, &self.calls, deadline).await;
                let is_usual = outcome.as_ref().is_ok_and(|reply| reply.status < 400);
                if !is_usual || !only.breaker.is_clean() {
                    self.note(only, &outcome, time >= self.patience, trial.as_ref());
                }
                outcome.map(|reply| (reply, only)).map_err(Failure::from)
            }
            _ => Box::pin(self.in_turn(request, deadline)).await,
        }
    }

    /// Sends `request` to `target` alone.
    pub(crate) async fn again(
        &self,
        target: &Target,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        self.ask(target, request, deadline).await.map_err(Failure::from)
    }

    async fn ask(
        &self,
        target: &Target,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Reply, NoReply> {
        let request = Request { headers: &target.headers, ..request.clone() };
        let _in_flight = target.in_flight.as_ref().map(CountGuard::new);
        let outcome = target.host.exchange(&request, &self.calls, deadline).await;
        // Those of a single target are the entry's.
        if self.targets.len() > 1 {
            let status = outcome.as_ref().map(|reply| reply.status);
            let outcome = status.map_err(|no_reply| no_reply.failure.class());
            target.counters.iter().for_each(|counters| counters.request(outcome));
        }
        outcome
    }

    async fn in_turn(&self, request: &Request<'_>, deadline: Deadline) -> Result<(Reply, &Target), Failure> {
        self.budget.iter().for_each(|budget| budget.request());
        let (mut tried, mut late, mut others) = (Tried::default(), 0, 0);
        let mut last = Err(Failure::Connect);
        while let Some(Choice { index, target, trial, is_last_resort }) = self.choose(tried) {
            tried.add(index);
            explain::note_target(&target.origin);
            let granted = self.share(tried, is_last_resort, others >= self.retry.others, deadline);
            let time = granted.remaining();
            let outcome = self.ask(target, request, granted).await;
            self.note(target, &outcome, time >= self.patience, trial.as_ref());
            drop(trial);
            let then = rule::then(self.kind, self.retry.policy, &self.expected, &outcome);
            late += usize::from(time.saturating_sub(granted.remaining()) >= LATE);
            last = outcome.map(|reply| (reply, target)).map_err(Failure::from);
            if self.untried(tried).next().is_none() || deadline.remaining().is_zero() {
                break;
            }
            match then {
                Then::Moves if self.kind != Component::Login || late < LOGIN_CONNECTS => {
                    self.moves.iter().for_each(|moves| moves.unsent.add());
                }
                Then::Retries if others < self.retry.others => {
                    if !self.may_retry() {
                        self.explain_denied(tried);
                        break;
                    }
                    others += 1;
                }
                _ => break,
            }
            // That of the last target is explained with what the entry makes of it.
            if let Ok((reply, _)) = &last {
                explain::note(|| format!("API: {} {}", reply.status, explain::shown(&reply.body)));
            }
        }
        last
    }

    fn may_retry(&self) -> bool {
        let (Some(budget), Some(moves)) = (&self.budget, &self.moves) else { return false };
        let has_one = budget.take(self.retry.percent, Instant::now());
        if has_one {
            moves.retried.add()
        } else {
            moves.denied.add()
        }
        has_one
    }

    /// Notes what a try says about its target.
    fn note(
        &self,
        target: &Target,
        outcome: &Result<Reply, NoReply>,
        was_granted: bool,
        trial: Option<&Trial>,
    ) {
        let (name, origin) = (&*self.name, &*target.origin);
        // The log has said that it is out. Its breaker counts for the case that the checks of all targets fail.
        let is_told = target.is_unhealthy();
        match rule::says(&self.expected, outcome, was_granted) {
            Says::Nothing => {}
            // Without another target it is asked all the same.
            Says::Pause(_) if self.targets.len() == 1 => {}
            Says::Works => {
                if let Some(out_s) = target.breaker.answered().map(|out| out.as_secs()).filter(|_| !is_told) {
                    info!(name, target = origin, out_s, "target back");
                }
            }
            Says::Pause(pause) => target.breaker.pause(Instant::now() + pause),
            Says::Fails => {
                let now = Instant::now();
                let stage = outcome.as_ref().err().map(|no_reply| no_reply.stage);
                let at_once = stage == Some(Stage::Closed) && self.has_other_up(target, now);
                if target.breaker.failed(now, at_once, trial) == Change::Out && !is_told {
                    let (class, reason) = match outcome {
                        Ok(reply) => ("status", &*Failure::Status(reply.status).to_string()),
                        Err(no_reply) => (no_reply.failure.class(), &*no_reply.reason),
                    };
                    target.counters.iter().for_each(|counters| counters.out(class));
                    warn!(name, target = origin, class, reason, "target out");
                }
                target.breaker.set_unreachable(matches!(stage, Some(Stage::Closed | Stage::Unconnected)));
            }
        }
    }
}
