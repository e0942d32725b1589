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
        // One alone without a breaker is asked in any case, and nothing is noted.
        if let [only] = &*self.targets
            && !only.breaker.is_on()
        {
            let outcome = only.host.exchange(request, &self.calls, deadline).await;
            return outcome.map(|reply| (reply, only)).map_err(Failure::from);
        }
        self.budget.iter().for_each(|budget| budget.request());
        let Some(choice) = self.choose(Tried::default()) else { return Err(Failure::Connect) };
        let granted = self.begin_try(&choice, Tried::default(), 0, deadline);
        let outcome = self.ask(choice.target, request, granted).await;
        match outcome {
            // Usually there is nothing to note.
            Ok(reply)
                if rule::is_answer(&self.expected, reply.status) && choice.target.breaker.is_clean() =>
            {
                Ok((reply, choice.target))
            }
            // Boxed: it is rare, and every lookup would be larger by it.
            outcome => Box::pin(self.go_on(choice, outcome, request, deadline)).await,
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
        let other;
        let request = if std::ptr::eq(request.headers, &*target.headers) {
            request
        } else {
            // Boxed: every lookup would be larger by it.
            other = Box::new(Request { headers: &target.headers, ..request.clone() });
            &other
        };
        let _in_flight = target.in_flight.as_ref().map(CountGuard::new);
        let outcome = target.host.exchange(request, &self.calls, deadline).await;
        // Those of a single target are the entry's.
        if self.targets.len() > 1 {
            let status = outcome.as_ref().map(|reply| reply.status);
            let outcome = status.map_err(|no_reply| no_reply.failure.class());
            target.counters.iter().for_each(|counters| counters.request(outcome));
        }
        outcome
    }

    /// The deadline of a try of `choice` after those of `tried`, of which `others` had seen the request.
    fn begin_try(&self, choice: &Choice<'_>, mut tried: Tried, others: u64, deadline: Deadline) -> Deadline {
        if self.targets.len() > 1 {
            explain::note_target(&choice.target.origin);
        }
        tried.add(choice.index);
        self.share(tried, choice.is_last_resort, others >= self.retry.others, deadline)
    }

    /// Notes the `outcome` of the first try, which was that of `choice`, and makes further ones.
    async fn go_on<'t>(
        &'t self,
        mut choice: Choice<'t>,
        mut outcome: Result<Reply, NoReply>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<(Reply, &'t Target), Failure> {
        let (mut tried, mut late, mut others) = (Tried::default(), 0, 0);
        loop {
            let Choice { index, target, trial, .. } = choice;
            tried.add(index);
            self.note(target, &outcome, trial.as_ref());
            drop(trial);
            let then = rule::then(self.kind, self.retry.policy, &self.expected, &outcome);
            late += usize::from(outcome.as_ref().is_err_and(|no_reply| no_reply.took >= LATE));
            let last = outcome.map(|reply| (reply, target)).map_err(Failure::from);
            if self.untried(tried).next().is_none() || deadline.remaining().is_zero() {
                return last;
            }
            match then {
                Then::Moves if self.kind != Component::Login || late < LOGIN_CONNECTS => {
                    self.moves.iter().for_each(|moves| moves.unsent.add());
                }
                Then::Retries if others < self.retry.others => {
                    if !self.may_retry() {
                        self.explain_denied(tried);
                        return last;
                    }
                    others += 1;
                }
                _ => return last,
            }
            // That of the last target is explained with what the entry makes of it.
            if let Ok((reply, _)) = &last {
                explain::note(|| format!("API: {} {}", reply.status, explain::shown(&reply.body)));
            }
            let Some(next) = self.choose(tried) else { return last };
            let granted = self.begin_try(&next, tried, others, deadline);
            outcome = self.ask(next.target, request, granted).await;
            choice = next;
        }
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
    fn note(&self, target: &Target, outcome: &Result<Reply, NoReply>, trial: Option<&Trial>) {
        let (name, origin) = (&*self.name, &*target.origin);
        // The log has said that it is out. Its breaker counts for the case that the checks of all targets fail.
        let is_told = target.is_unhealthy();
        let was_granted = outcome.as_ref().is_err_and(|no_reply| no_reply.granted >= self.patience);
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
