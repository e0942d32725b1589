//! The shared cache: Redis or Valkey, in which several brokers keep what their APIs have answered. A broker without
//! it is complete.
//!
//! | file | does |
//! |---|---|
//! | `settings` | reads `server.shared` |
//! | `record` | names and records, sealed with the secret of all hosts |
//! | `engine` | the commands and the connection; the only file that knows the client library |
//! | `bounded` | a limit for the length of a reply |
//! | `state`, `patience` | a read: it waits at most `wait`, and not at all if the server is away or slow |
//! | `writes` | the queue of writes |
//! | `task` | connects, writes, and connects again |
//!
//! Lost or slow, the server costs freshness and nothing else. Never in it: passwords, tokens, logins, failures.

mod bounded;
mod engine;
mod patience;
mod record;
pub mod settings;
mod state;
mod task;
mod writes;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::http::Http;
use crate::model::Answer;
use crate::model::status::SharedStatus;
use crate::observe::metrics::{SharedCounters, SharedRead};
use record::{Keys, Record};
pub use settings::SharedSettings;
use state::State;
use writes::{Order, Orders, Queue};

/// How far the clock of another host may be ahead, in milliseconds.
const AHEAD: u64 = 60_000;

/// The shared cache of a broker. Its connection ends with its last use.
pub(crate) struct SharedCache {
    state: Arc<State>,
    queue: Queue,
    /// The other end of the queue, until the task begins.
    orders: Mutex<Option<Orders>>,
    task: OnceLock<AbortHandle>,
}

impl fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedCache").field(&self.state).finish()
    }
}

impl Drop for SharedCache {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl SharedCache {
    /// Makes no connection yet. `None` if the crypto library fails.
    pub(crate) fn new(
        settings: &SharedSettings,
        http: &Arc<Http>,
        counters: &Arc<SharedCounters>,
    ) -> Option<Self> {
        let keys = Keys::new(&settings.secret)?;
        let (queue, orders) = writes::queue(counters);
        let state = State::new(settings.clone(), keys, Arc::clone(http), Arc::clone(counters));
        let orders = Mutex::new(Some(orders));
        Some(Self { state: Arc::new(state), queue, orders, task: OnceLock::new() })
    }

    /// Begins to connect, in a task of the current runtime. Later calls do nothing.
    pub(crate) fn start(&self) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(orders) = orders {
            let task = tokio::spawn(task::run(Arc::clone(&self.state), orders));
            let _ = self.task.set(task.abort_handle());
        }
    }

    /// Its settings.
    pub(crate) fn settings(&self) -> &SharedSettings {
        &self.state.settings
    }

    /// Whether there is a connection.
    pub(crate) fn is_up(&self) -> bool {
        self.state.is_up()
    }

    /// For `status`.
    pub(crate) fn status(&self) -> SharedStatus {
        self.state.status()
    }

    /// The part of an entry. `identity` is all that its answers depend on: entries of equal ones share their
    /// answers. `before`: the same entry in the configuration before.
    pub(crate) fn entry<'p>(
        self: &Arc<Self>,
        identity: impl IntoIterator<Item = &'p [u8]>,
        times: ShareTimes,
        before: Option<&EntryShare>,
    ) -> EntryShare {
        let State { keys, settings, .. } = &*self.state;
        let entry = format!("{}:1:{}:0:", settings.prefix, keys.digest(identity)).into();
        let purged = before.map_or(0, |before| before.purged.load(Ordering::Relaxed)).into();
        EntryShare { cache: Arc::clone(self), entry, times, purged }
    }
}

/// Connects to the cache of `settings`, writes and reads a record.
///
/// # Errors
/// What is wrong, in one line without secrets.
pub(crate) async fn try_out(settings: &SharedSettings, http: &Http) -> Result<(), String> {
    let keys = Keys::new(&settings.secret).ok_or("the crypto library fails")?;
    task::try_out(settings, &keys, http).await
}

/// The times of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShareTimes {
    /// How long an answer is of use.
    pub(crate) lifetime: Duration,
    /// How long one that has not changed is not written again.
    pub(crate) rewrite: Duration,
}

/// When an answer was written, and over which connection: a server that was restarted may have lost it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedMark {
    at: Instant,
    connection: u64,
}

/// One entry's part of the shared cache.
#[derive(Debug)]
pub(crate) struct EntryShare {
    cache: Arc<SharedCache>,
    /// What the names of its records begin with.
    entry: Arc<str>,
    times: ShareTimes,
    /// Records that were stored before this time are not used here.
    purged: AtomicU64,
}

/// An answer of any host.
#[derive(Debug)]
pub(crate) struct SharedAnswer {
    pub(crate) answer: Answer,
    pub(crate) age: Duration,
}

impl EntryShare {
    /// The answer to `key`, if one comes within `wait`.
    pub(crate) async fn find(&self, key: &[u8]) -> Option<SharedAnswer> {
        let state = &self.cache.state;
        let record = state.read(&state.keys.name(&self.entry, key)).await?;
        let age = age(record.stored, task::now()).filter(|age| *age < self.times.lifetime);
        let age = age.filter(|_| record.stored > self.purged.load(Ordering::Relaxed));
        state.counters.read(if age.is_some() { SharedRead::Hit } else { SharedRead::Age });
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
        let is_known =
            |mark: &SharedMark| mark.connection == connection && mark.at.elapsed() < self.times.rewrite;
        before.filter(is_known).or_else(|| {
            let record = Record { answer: answer.clone(), stored: task::now() };
            let is_queued = self.push(key, Some((record, self.times.lifetime)));
            is_queued.then(|| SharedMark { at: Instant::now(), connection })
        })
    }

    /// Removes the answer to `key`, for all hosts that have not read it yet.
    pub(crate) fn forget(&self, key: &str) {
        self.push(&key.as_bytes().into(), None);
    }

    /// From now on no answer of before is used by this host.
    pub(crate) fn forget_all(&self) {
        self.purged.store(task::now(), Ordering::Relaxed);
    }

    /// Whether it is in the queue.
    fn push(&self, key: &Arc<[u8]>, kept: Option<(Record, Duration)>) -> bool {
        let (queue, entry, key) = (&self.cache.queue, Arc::clone(&self.entry), Arc::clone(key));
        let is_queued = self.cache.is_up() && queue.push(Order { entry, key, kept });
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
