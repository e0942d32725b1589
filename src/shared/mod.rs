//! The shared cache: Redis or Valkey, in which several brokers keep what their APIs have answered. A broker without
//! it is complete.
//!
//! | file | does |
//! |---|---|
//! | `settings` | reads `server.shared` |
//! | `entry` | one entry's part: reads, writes, purges |
//! | `record` | names and records, sealed with the secret of all hosts |
//! | `engine` | the commands and the connection; alone knows the client library |
//! | `bounded` | a limit for the length of a reply |
//! | `state`, `patience` | a read: it waits at most `wait`, and not at all if the server is away or slow |
//! | `writes` | the queue of writes |
//! | `denials` | counts denied logins by address |
//! | `purges` | purges of all hosts, and the messages about them |
//! | `epoch`, `numbers` | the number of an entry: what it means, and the server's copy |
//! | `task` | connects, writes, and connects again |
//! | `try_out` | `check --online` |
//!
//! Lost or slow, the server costs freshness, and the counts of denied logins on other hosts, and nothing else. Never in
//! it: passwords, tokens, logins, failures.

mod bounded;
mod denials;
mod engine;
mod entry;
mod epoch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod numbers;
mod patience;
mod purges;
mod record;
pub mod settings;
mod state;
mod task;
mod try_out;
mod writes;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task::AbortHandle;

use crate::http::Http;
use crate::model::status::SharedStatus;
use crate::observe::metrics::SharedCounters;
pub(crate) use denials::SharedDenials;
pub(crate) use entry::{EntryShare, ShareTimes, SharedMark};
pub(crate) use epoch::Forget;
use purges::Purges;
use record::Keys;
pub use settings::SharedSettings;
use state::State;
use writes::{Orders, Queue};

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
        let purges = Purges::new(&settings.prefix)?;
        let state = State::new(settings.clone(), keys, purges, Arc::clone(http), Arc::clone(counters));
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
        SharedStatus { waiting_writes: self.queue.waiting(), ..self.state.status() }
    }

    /// The part of an entry. `identity` is all that its answers depend on: entries of equal ones share their
    /// answers. `before`: the same entry in the configuration before. `forget` is called for purges of other hosts.
    pub(crate) fn entry<'p>(
        self: &Arc<Self>,
        identity: impl IntoIterator<Item = &'p [u8]>,
        times: ShareTimes,
        before: Option<&EntryShare>,
        forget: Forget,
    ) -> EntryShare {
        EntryShare::new(self, self.state.keys.digest(identity).into(), times, before, forget)
    }
}

/// Connects to the cache of `settings`, writes and reads a record, and tries each command that a broker sends.
///
/// # Errors
/// What is wrong, in one line without secrets.
pub(crate) async fn try_out(settings: &SharedSettings, http: &Http) -> Result<(), String> {
    let keys = Keys::new(&settings.secret).ok_or("the crypto library fails")?;
    try_out::try_out(settings, &keys, http).await
}
