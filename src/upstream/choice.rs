//! Which target is asked next, and how much time it gets.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::breaker::{Breaker, Standing, Trial};
use super::settings::Balance;
use super::{Target, Upstream};
use crate::model::Deadline;
use crate::observe::explain;
use crate::observe::metrics::Component;

/// The time limit of a connection without a request, which must stay open for a moment.
const REACH: Duration = Duration::from_secs(3);

/// The targets that a request has tried, one bit for each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried(u8);

/// A target to ask.
pub(super) struct Choice<'t> {
    pub(super) index: usize,
    pub(super) target: &'t Target,
    pub(super) trial: Option<Trial>,
    /// None of those that are left is up.
    pub(super) is_last_resort: bool,
}

impl Tried {
    pub(super) fn add(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }
}

impl Upstream {
    /// Whether no target is up.
    pub(crate) fn is_out(&self) -> bool {
        // Usually the first one is up, and the time is not needed.
        if self.targets[0].is_up() {
            return false;
        }
        let now = Instant::now();
        self.targets.iter().all(|target| target.standing(now) != Standing::Up)
    }

    /// Whether a target is to be tried: its pause is over.
    pub(crate) fn is_due(&self) -> bool {
        let now = Instant::now();
        self.targets.iter().any(|target| target.standing(now) == Standing::Due)
    }

    pub(super) fn untried(&self, tried: Tried) -> impl Iterator<Item = (usize, &Target)> + Clone {
        self.targets.iter().enumerate().filter(move |(index, _)| !tried.has(*index))
    }

    /// The target to ask next: the one of `balance`, else the first one that is up, or whose turn it is to be
    /// tried; else any.
    pub(super) fn choose(&self, tried: Tried) -> Option<Choice<'_>> {
        // One alone is asked in any case.
        if let [target] = &*self.targets {
            let trial = if target.breaker.is_up() { None } else { self.try_out(target, Instant::now()) };
            return Some(Choice { index: 0, target, trial, is_last_resort: true });
        }
        let soon = match self.balance {
            // Usually the first one is up, and the time is not needed.
            Balance::First => self
                .untried(tried)
                .next()
                .filter(|(_, target)| target.is_up())
                .map(|(index, target)| Choice { index, target, trial: None, is_last_resort: false }),
            Balance::Least => self.of_two(tried),
        };
        if soon.is_some() {
            return soon;
        }
        let now = Instant::now();
        // A request that has failed once goes to a target that is up: it tries another one only if none is.
        let up = if tried.is_empty() { None } else { self.first(tried, now, Some(Standing::Up)) };
        if let Some(choice) = up.or_else(|| self.first(tried, now, None)) {
            self.explain_skipped(tried, choice.index);
            return Some(choice);
        }
        // Health checks that fail everywhere say nothing, so that the breakers decide.
        let by_breaker = |(_, target): &(usize, &Target)| target.breaker.standing(now) == Standing::Up;
        let (index, target) = self.untried(tried).find(by_breaker).or_else(|| self.untried(tried).next())?;
        if !self.has_other_up(target, now)
            && self.all_out.lock().unwrap_or_else(PoisonError::into_inner).is_due().is_some()
        {
            warn!(name = self.name, "no target is up, all are asked");
        }
        Some(Choice { index, target, trial: None, is_last_resort: true })
    }

    /// The first target that is up, or whose turn it is to be tried; `only` one of the two.
    fn first(&self, tried: Tried, now: Instant, only: Option<Standing>) -> Option<Choice<'_>> {
        let all = self.untried(tried).map(|(index, target)| (index, target, target.standing(now)));
        let mut asked = all.filter(|(.., standing)| only.is_none_or(|only| *standing == only));
        asked.find_map(|(index, target, standing)| {
            let trial = match standing {
                Standing::Up => None,
                Standing::Out | Standing::Tried => return None,
                Standing::Due => Some(self.try_out(target, now)?),
            };
            Some(Choice { index, target, trial, is_last_resort: false })
        })
    }

    /// Notes the targets before `index` that are not asked, because they are out.
    fn explain_skipped(&self, tried: Tried, index: usize) {
        for (_, target) in self.untried(tried).take_while(|(other, _)| *other < index) {
            explain::note_once(|| format!("target: {}: out, not asked", target.origin));
        }
    }

    /// Notes the targets to which the retry budget lets a request not go on.
    pub(super) fn explain_denied(&self, tried: Tried) {
        for (_, target) in self.untried(tried) {
            explain::note(|| format!("target: {}: not asked (retry.budget)", target.origin));
        }
    }

    pub(super) fn has_other_up(&self, target: &Target, now: Instant) -> bool {
        let others = self.targets.iter().filter(|other| !std::ptr::eq(*other, target));
        others.map(|other| other.standing(now)).any(|standing| standing == Standing::Up)
    }

    /// Begins to try a target whose pause is over, unless its health checks fail. A login tries one only after a
    /// good check, or else a connection without a word, which is made in the background: its user does not wait
    /// for it.
    pub(super) fn try_out(&self, target: &Target, now: Instant) -> Option<Trial> {
        if target.is_unhealthy() {
            return None;
        }
        if self.kind != Component::Login {
            return target.breaker.begin_trial(now, false);
        }
        if let Some(trial) = target.breaker.begin_trial(now, true) {
            return Some(trial);
        }
        if target.check.is_some() {
            return None;
        }
        target.reach(target.breaker.begin_trial(now, false)?, Breaker::reached);
        None
    }

    /// The deadline of a try. `is_final`: a request that was sent goes to no other target.
    pub(super) fn share(
        &self,
        tried: Tried,
        is_last_resort: bool,
        is_final: bool,
        deadline: Deadline,
    ) -> Deadline {
        let others = self.untried(tried);
        if self.kind != Component::Map || is_final || others.clone().next().is_none() {
            return deadline;
        }
        let now = Instant::now();
        // One whose pause is over, or that is tried at the moment, may be up.
        let may_be_up = |(_, target): (usize, &Target)| target.standing(now) != Standing::Out;
        if is_last_resort || others.clone().any(may_be_up) {
            Deadline::from(now, deadline.remaining_at(now) / 2)
        } else {
            deadline
        }
    }
}

impl Target {
    /// Tries it in the background by a connection without a request; `is_there` follows one that comes about.
    pub(super) fn reach(&self, trial: Trial, is_there: impl FnOnce(&Breaker) + Send + 'static) {
        let (host, breaker) = (Arc::clone(&self.host), self.breaker.clone());
        tokio::spawn(async move {
            match host.reach(Deadline::after(REACH)).await {
                Ok(_) => is_there(&breaker),
                Err(_) => drop(breaker.failed(Instant::now(), false, Some(&trial))),
            }
        });
    }
}
