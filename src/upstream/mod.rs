//! The targets of an entry: which one is asked, and whether a request goes on to the next one.
//!
//! | file | |
//! |---|---|
//! | `exchange` | the way of a request through the targets |
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
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod health;
mod least;
mod rule;
pub(crate) mod settings;
mod unneeded;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName};

use crate::http::{ConnectionSettings, Headers, Host, Http};
use crate::observe::metrics::{Calls, Component, Moves, TargetCounters};
use crate::observe::warnings::RateLimitedWarning;
use breaker::{Breaker, Standing};
use budget::Budget;
use health::HealthCheck;
use settings::{Balance, RetrySettings, TargetSettings, UpstreamSettings};

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
                headers: http.shared(host.headers(headers).with_places(own_headers)),
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
}
