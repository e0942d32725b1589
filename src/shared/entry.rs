//! One entry's part of the shared cache: what is read and written for it, and its purges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SharedCache;
use super::epoch::{Epoch, Forget, Trust};
use super::record::Record;
use super::task;
use super::writes::Order;
use crate::model::Answer;
use crate::observe::explain;
use crate::observe::metrics::SharedRead;

/// How far the clock of another host may be ahead, in milliseconds.
const AHEAD: u64 = 60_000;

/// The times of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShareTimes {
    /// How long an answer is of use.
    pub(crate) lifetime: Duration,
    /// How long one that has not changed is not written again.
    pub(crate) rewrite: Duration,
}

/// When an answer was written, over which connection and in which epoch: a server that was restarted may have lost it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedMark {
    at: Instant,
    connection: u64,
    epoch: u64,
}

/// One entry's part of the shared cache.
#[derive(Debug)]
pub(crate) struct EntryShare {
    cache: Arc<SharedCache>,
    /// The HMAC of its identity.
    id: Arc<str>,
    epoch: Arc<Epoch>,
    times: ShareTimes,
}

/// An answer of any host.
#[derive(Debug)]
pub(crate) struct SharedAnswer {
    pub(crate) answer: Answer,
    pub(crate) age: Duration,
}

impl EntryShare {
    /// See [`SharedCache::entry`].
    pub(super) fn new(
        cache: &Arc<SharedCache>,
        id: Arc<str>,
        times: ShareTimes,
        before: Option<&Self>,
        forget: Forget,
    ) -> Self {
        let purges = &cache.state.purges;
        let epoch = purges.add(&id, Trust::Numbers, forget);
        // A purge that the server before was not told of.
        if before.is_some_and(|before| before.epoch.pending() > 0 && !Arc::ptr_eq(&before.epoch, &epoch)) {
            purges.purge(&epoch);
        }
        Self { cache: Arc::clone(cache), id, epoch, times }
    }

    /// The answer to `key`, if one comes within `wait`.
    pub(crate) async fn find(&self, key: &[u8]) -> Option<SharedAnswer> {
        let state = &self.cache.state;
        let Some(epoch) = self.epoch.number() else {
            state.note_nothing(SharedRead::Down);
            return None;
        };
        let record = state.read(&state.name(&self.id, epoch, key)).await?;
        let age = age(record.stored, task::now()).filter(|age| *age < self.times.lifetime);
        // A purge may have come during the read.
        let age = age.filter(|_| self.epoch.number() == Some(epoch));
        state.counters.read(if age.is_some() { SharedRead::Hit } else { SharedRead::Age });
        if age.is_none() {
            explain::note(|| "shared cache: a record that is too old".to_owned());
        }
        Some(SharedAnswer { answer: record.answer, age: age? })
    }

    /// Writes a definitive answer, later and only if there is a connection. `before` is the mark of the same answer,
    /// if it was known; the result is its mark now.
    pub(crate) fn keep(
        &self,
        key: &Arc<[u8]>,
        answer: &Answer,
        before: Option<SharedMark>,
    ) -> Option<SharedMark> {
        let connection = self.cache.state.connections();
        let epoch = self.epoch.number();
        let is_known = |mark: &SharedMark| {
            mark.connection == connection
                && Some(mark.epoch) == epoch
                && mark.at.elapsed() < self.times.rewrite
        };
        before.filter(is_known).or_else(|| {
            let record = Record { answer: answer.clone(), stored: task::now() };
            let is_queued = self.push(key, Some((record, self.times.lifetime)));
            is_queued.then_some(SharedMark { at: Instant::now(), connection, epoch: epoch? })
        })
    }

    /// Removes the answer to `key` on all hosts that are connected.
    pub(crate) fn forget(&self, key: &str) {
        self.push(&key.as_bytes().into(), None);
    }

    /// From now on no answer of before is used by this host, and soon by no other one.
    pub(crate) fn forget_all(&self) {
        self.cache.state.purges.purge(&self.epoch);
    }

    /// Whether it is in the queue.
    fn push(&self, key: &Arc<[u8]>, kept: Option<(Record, Duration)>) -> bool {
        let (queue, id, key) = (&self.cache.queue, Arc::clone(&self.id), Arc::clone(key));
        let epoch = self.epoch.number().filter(|_| self.cache.is_up());
        let is_queued = epoch.is_some_and(|epoch| queue.push(Order { id, epoch, key, kept }));
        if !is_queued {
            queue.drop_one();
        }
        is_queued
    }
}

/// The age of what was stored at `stored`; `None` if that is in the future by more than clocks differ.
fn age(stored: u64, now: u64) -> Option<Duration> {
    (stored <= now.saturating_add(AHEAD)).then(|| Duration::from_millis(now.saturating_sub(stored)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_a_little_ahead() {
        assert_eq!(age(1_000, 3_500), Some(Duration::from_millis(2500)));
        assert_eq!(age(63_500, 3_500), Some(Duration::ZERO));
        assert_eq!(age(63_501, 3_500), None);
        assert_eq!(age(u64::MAX, 0), None);
        assert_eq!(age(u64::MAX, u64::MAX), Some(Duration::ZERO));
    }
}
