//! The limit of concurrent logins of a remote address and of a name: parallel guesses are no faster than
//! guesses in sequence.
//!
//! An attempt begins before the API is asked and ends when its answer is sent. A denied one lasts as long as
//! its delay, even if the peer hangs up. For its name it lasts only as long as the delay of a first denial: a
//! longer delay of an address must not keep out other users of the name. Further ones wait for their
//! permit, in the order in which they came, and hold no worker meanwhile. The table knows only those that
//! are under way or wait, and is bounded besides.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::penalty::Delay;
use crate::model::Deadline;
use crate::observe::explain;

/// The most addresses and names in the table; beyond them a login fails.
const MAX_SUBJECTS: usize = 64 * 1024;

/// What the limit applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A remote address, or its network.
    Address(IpAddr),
    Name(u64),
}

/// Why a login had no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyAttempts(pub(super) Subject);

impl TooManyAttempts {
    pub(super) fn reason(self) -> &'static str {
        match self.0 {
            Subject::Address(_) => "too many attempts are under way from this address (sasl_attempts)",
            Subject::Name(_) => "too many attempts are under way for this name (sasl_attempts)",
        }
    }
}

/// The open attempts. The limit is part of the key: a reload may change it.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<BTreeMap<(Subject, usize), AttemptLimit>>);

#[derive(Debug)]
struct AttemptLimit {
    permits: Arc<Semaphore>,
    /// Running and waiting attempts.
    slots: usize,
}

/// One running or waiting login of a subject; released on drop.
#[derive(Debug)]
struct AttemptSlot {
    attempts: Arc<Attempts>,
    key: (Subject, usize),
    permit: Option<OwnedSemaphorePermit>,
}

/// A running login. If it is dropped, its slots are released at its end.
#[derive(Debug)]
pub(super) struct Attempt {
    slots: Vec<AttemptSlot>,
    begun: Instant,
    /// Its shortest delay.
    least: Duration,
    lasts_until: Instant,
}

impl Attempts {
    /// Waits until `deadline` for a permit of each subject in `all`; a subject has `most` permits. The
    /// attempt begins at `at`, or with its last permit if it had to wait. It holds its permits for `least`,
    /// or as long as its own answer says.
    pub(super) async fn begin(
        self: &Arc<Self>,
        all: impl IntoIterator<Item = Subject>,
        most: usize,
        at: Instant,
        least: Duration,
        deadline: Deadline,
    ) -> Result<Attempt, TooManyAttempts> {
        let (mut slots, mut begun) = (Vec::new(), at);
        for who in all {
            let (slot, waited) = self.enter((who, most), deadline).await.ok_or(TooManyAttempts(who))?;
            slots.push(slot);
            if waited {
                begun = Instant::now();
            }
        }
        Ok(Attempt { slots, begun, least, lasts_until: begun + least })
    }

    /// A slot with its permit, and whether it had to wait.
    async fn enter(
        self: &Arc<Self>,
        key: (Subject, usize),
        deadline: Deadline,
    ) -> Option<(AttemptSlot, bool)> {
        let (mut slot, permits) = self.take(key)?;
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => {
                slot.permit = Some(permit);
                return Some((slot, false));
            }
            Err(TryAcquireError::Closed) => return None,
            Err(TryAcquireError::NoPermits) => {}
        }
        let permit = tokio::time::timeout_at(deadline.instant().into(), permits.acquire_owned()).await;
        slot.permit = Some(permit.ok()?.ok()?);
        Some((slot, true))
    }

    fn take(self: &Arc<Self>, key: (Subject, usize)) -> Option<(AttemptSlot, Arc<Semaphore>)> {
        let mut table = self.table();
        let is_full = table.len() >= MAX_SUBJECTS;
        let limit = match table.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return None,
            Entry::Vacant(new) => {
                let permits = Arc::new(Semaphore::new(key.1.min(Semaphore::MAX_PERMITS)));
                new.insert(AttemptLimit { permits, slots: 0 })
            }
        };
        limit.slots += 1;
        let permits = Arc::clone(&limit.permits);
        Some((AttemptSlot { attempts: Arc::clone(self), key, permit: None }, permits))
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<(Subject, usize), AttemptLimit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AttemptSlot {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut table = self.attempts.table();
        if let Entry::Occupied(mut known) = table.entry(self.key) {
            known.get_mut().slots -= 1;
            if known.get().slots == 0 {
                known.remove();
            }
        }
    }
}

fn free_names(slots: &mut Vec<AttemptSlot>) {
    slots.retain(|slot| !matches!(slot.key.0, Subject::Name(_)));
}

impl Attempt {
    /// Waits until a denial may be answered: `delay` after the beginning of the attempt, whether the API was
    /// quick or slow, and `limit` at the latest. The delay of all hosts is used if it is known by then.
    pub(super) async fn hold_back(mut self, delay: Delay, limit: Instant) {
        let held_back = explain::clock();
        self.lasts_until = self.begun + delay.own;
        let until = self.lasts_until.min(limit);
        let known_by = until.max(Instant::now() + delay.wait()).min(limit);
        tokio::time::sleep_until(self.ends_for_its_name().min(until).into()).await;
        free_names(&mut self.slots);
        tokio::time::sleep_until(until.into()).await;
        if let Ok(Some(longer)) = tokio::time::timeout_at(known_by.into(), delay.of_all()).await {
            self.lasts_until = self.lasts_until.max(self.begun + longer);
            tokio::time::sleep_until(self.lasts_until.min(limit).into()).await;
        }
        explain::time("delay of the denial", held_back);
    }

    fn ends_for_its_name(&self) -> Instant {
        (self.begun + self.least).min(self.lasts_until)
    }

    pub(super) fn end(mut self) {
        self.slots.clear();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let (names_until, until) = (self.ends_for_its_name(), self.lasts_until);
        let mut slots = std::mem::take(&mut self.slots);
        if slots.is_empty() || until <= Instant::now() {
            return;
        }
        // The peer hung up, or the time limit came first. Without a runtime the process ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep_until(names_until.into()).await;
                free_names(&mut slots);
                tokio::time::sleep_until(until.into()).await;
                drop(slots);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const HOUR: Duration = Duration::from_secs(3600);

    async fn begin<const N: usize>(
        attempts: &Arc<Attempts>,
        all: [Subject; N],
        patience: Duration,
    ) -> Result<Attempt, TooManyAttempts> {
        attempts.begin(all, 2, Instant::now(), HOUR, Deadline::after(patience)).await
    }

    #[tokio::test]
    async fn further_ones_wait_for_their_turn() {
        let (attempts, here) = (Arc::new(Attempts::default()), Subject::Address([192, 0, 2, 7].into()));
        let (one, two) = tokio::join!(begin(&attempts, [here], HOUR), begin(&attempts, [here], HOUR));
        let (one, two) = (one.expect("a permit"), two.expect("a permit"));
        let other = Subject::Address([192, 0, 2, 8].into());
        begin(&attempts, [other], HOUR).now_or_never().expect("at once").expect("another address").end();
        let late = begin(&attempts, [here], Duration::from_millis(20)).await;
        assert_eq!(late.map(|_| ()), Err(TooManyAttempts(here)));
        let mut third = Box::pin(begin(&attempts, [here], HOUR));
        assert!((&mut third).now_or_never().is_none());
        let before = Instant::now();
        one.end();
        let third = third.now_or_never().expect("its permit").expect("a permit");
        assert!(third.begun >= before, "it begins with its permit");
        two.end();
        third.end();
        assert!(attempts.table().is_empty(), "nothing is left");
    }

    #[tokio::test]
    async fn a_name_is_bounded_wherever_it_comes_from() {
        let attempts = Arc::new(Attempts::default());
        let from = |last| Subject::Address([192, 0, 2, last].into());
        let bob = Subject::Name(1);
        let one = begin(&attempts, [from(1), bob], HOUR).await.expect("a permit");
        let two = begin(&attempts, [from(2), bob], HOUR).await.expect("a permit");
        let third = begin(&attempts, [from(3), bob], Duration::from_millis(20)).await;
        assert_eq!(third.map(|_| ()), Err(TooManyAttempts(bob)));
        assert_eq!(attempts.table().len(), 3, "an attempt that gave up holds no slot");
        begin(&attempts, [from(3), Subject::Name(2)], HOUR).await.expect("another name").end();
        one.end();
        two.end();
        assert!(attempts.table().is_empty());
    }

    #[tokio::test]
    async fn one_that_is_given_up_lasts_all_the_same() {
        let (attempts, here) = (Arc::new(Attempts::default()), Subject::Name(1));
        let mut one = begin(&attempts, [here], HOUR).await.expect("a permit");
        one.lasts_until = one.begun + Duration::from_millis(50);
        let end = one.lasts_until;
        drop(one);
        let two = begin(&attempts, [here], HOUR).await.expect("a permit");
        drop(begin(&attempts, [here], HOUR).await.expect("the permit of the first"));
        assert!(Instant::now() >= end);
        drop(two);
        assert_eq!(attempts.table().len(), 1);
    }

    #[tokio::test]
    async fn the_longer_delay_of_an_address_keeps_no_name_waiting() {
        let (attempts, here, bob) =
            (Arc::new(Attempts::default()), Subject::Address([192, 0, 2, 7].into()), Subject::Name(1));
        let begin = |who: Vec<Subject>, patience| {
            let (at, least) = (Instant::now(), Duration::from_millis(20));
            attempts.begin(who, 1, at, least, Deadline::after(patience))
        };
        let mut denied = begin(vec![here, bob], HOUR).await.expect("a permit");
        denied.lasts_until = denied.begun + HOUR;
        drop(denied);
        let seconds = Duration::from_secs(5);
        assert!(begin(vec![bob], seconds).await.is_ok(), "the name is free");
        let crowd = begin(vec![here], Duration::from_millis(50)).await.map(|_| ());
        assert_eq!(crowd, Err(TooManyAttempts(here)), "and the address is not");
    }

    #[tokio::test]
    async fn the_table_is_bounded() {
        let attempts = Arc::new(Attempts::default());
        let mut all = Vec::new();
        for number in 0..MAX_SUBJECTS as u64 {
            all.push(begin(&attempts, [Subject::Name(number)], HOUR).await.expect("a permit"));
        }
        let who = Subject::Name(MAX_SUBJECTS as u64);
        assert_eq!(begin(&attempts, [who], HOUR).await.map(|_| ()), Err(TooManyAttempts(who)));
        begin(&attempts, [Subject::Name(0)], HOUR).await.expect("a known one").end();
        all.pop().expect("many").end();
        begin(&attempts, [who], HOUR).await.expect("there is room").end();
        all.into_iter().for_each(Attempt::end);
    }
}
