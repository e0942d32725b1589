//! The way of a request through the targets.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::breaker::{Change, Trial};
use super::choice::{Choice, Tried};
use super::rule::{self, Says, Then};
use super::{Target, Upstream};
use crate::http::{NoReply, Reply, Request, Stage};
use crate::model::{Deadline, Failure};
use crate::observe::count_guard::CountGuard;
use crate::observe::explain;
use crate::observe::metrics::Component;

/// How many connections of a login may fail by their time limit.
const LOGIN_CONNECTS: usize = 2;
/// One that failed sooner has cost no time.
const LATE: Duration = Duration::from_secs(1);

impl Upstream {
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
