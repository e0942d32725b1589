//! Denied logins of all hosts: how many an address has had on all of them. There is one counter for each address, and
//! one for each account that was tried from it; both last 15 minutes from the last denial. A success takes the denials of its
//! own account off the address, and no others: somebody with an account must not clear the denials of other accounts.
//!
//! Their names are HMACs, so the server learns no address and no account; an account of one address and of another one
//! have nothing in common. Nothing waits for the server but a denial that is held back anyway.
//!
//! Limits: a count that is lost (a server that was away or full, [`MOST`] requests at a time) makes delays shorter. Then
//! those of the host's own counts remain.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::SharedCache;
use super::engine::{Connection, Reply};
use super::epoch::{Epoch, Forget, Trust};
use super::task::SILENCE;
use super::writes::Order;

/// How long a counter lasts, in milliseconds: as long as a host remembers denials.
const LIFE: &str = "900000";
/// Requests that are under way at a time.
const MOST: usize = 1024;

/// The counters of denied logins.
pub(crate) struct SharedDenials {
    cache: Arc<SharedCache>,
    id: Arc<str>,
    epoch: Arc<Epoch>,
    requests: Arc<Semaphore>,
}

impl fmt::Debug for SharedDenials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedDenials")
    }
}

/// The names of two counters, and the connection for them.
struct Counters {
    connection: Arc<Connection>,
    of_address: String,
    of_account: String,
    _permit: OwnedSemaphorePermit,
}

impl SharedDenials {
    /// The counters in `cache`. `forget` is called when another host clears its own: of all addresses, or of one.
    pub(crate) fn new(cache: &Arc<SharedCache>, forget: Forget) -> Self {
        let id = cache.state.keys.digest([&b"denied logins"[..]]).into();
        let epoch = cache.state.purges.add(&id, Trust::Messages, forget);
        Self { cache: Arc::clone(cache), id, epoch, requests: Arc::new(Semaphore::new(MOST)) }
    }

    /// Whether they are in this cache.
    pub(crate) fn is_in(&self, cache: &Arc<SharedCache>) -> bool {
        Arc::ptr_eq(&self.cache, cache)
    }

    /// `server.shared.wait`.
    pub(crate) fn wait(&self) -> Duration {
        self.cache.settings().wait
    }

    /// Counts a denial, whether the result is waited for or not; it is the count of the address on all hosts. `None`
    /// without a connection. Needs the runtime.
    pub(crate) fn count(&self, address: &[u8], account: &str) -> Option<JoinHandle<Option<u64>>> {
        let counters = self.counters(address, account)?;
        let state = Arc::clone(&self.cache.state);
        Some(tokio::spawn(async move {
            let counted = timeout(SILENCE, counters.increment()).await.ok()?;
            counted.inspect_err(|why| state.warn("a denied login was not counted", why)).ok()?
        }))
    }

    /// Takes the denials of an account off its address, later. Needs the runtime.
    pub(crate) fn forgive(&self, address: &[u8], account: &str) {
        let Some(counters) = self.counters(address, account) else { return };
        let state = Arc::clone(&self.cache.state);
        tokio::spawn(async move {
            if let Ok(Err(why)) = timeout(SILENCE, counters.forgive()).await {
                state.warn("denied logins were not cleared", &why);
            }
        });
    }

    /// Clears the count of an address, or all, on all hosts that are connected.
    pub(crate) fn clear(&self, address: Option<&[u8]>) {
        match (address, self.epoch.number()) {
            (None, _) => self.cache.state.purges.purge(&self.epoch),
            (Some(address), Some(epoch)) if self.cache.is_up() => {
                let order = Order { id: Arc::clone(&self.id), epoch, key: address.into(), kept: None };
                if !self.cache.queue.push(order) {
                    self.cache.queue.drop_one();
                }
            }
            _ => {}
        }
    }

    fn counters(&self, address: &[u8], account: &str) -> Option<Counters> {
        let state = &self.cache.state;
        let (connection, epoch) = (state.connection()?, self.epoch.number()?);
        let permit = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let account = state.keys.digest([&b"account"[..], address, account.as_bytes()]);
        Some(Counters {
            connection,
            of_address: state.name(&self.id, epoch, address),
            of_account: format!("{}:1:{}:{epoch}:{account}", state.settings.prefix, self.id),
            _permit: permit,
        })
    }
}

impl Counters {
    /// Counts one, and returns the count of the address. No counter is without an end for a moment.
    async fn increment(&self) -> Result<Option<u64>, String> {
        let Self { of_address: address, of_account: account, .. } = self;
        let replies = self
            .connection
            .ask(&[
                &[&"SET", address, &"0", &"PX", &LIFE, &"NX"],
                &[&"INCR", address],
                &[&"PEXPIRE", address, &LIFE],
                &[&"SET", account, &"0", &"PX", &LIFE, &"NX"],
                &[&"INCR", account],
                &[&"PEXPIRE", account, &LIFE],
            ])
            .await?;
        Ok(match replies.get(1) {
            Some(Reply::Number(count)) => u64::try_from(*count).ok(),
            _ => None,
        })
    }

    async fn forgive(&self) -> Result<(), String> {
        let Self { of_address: address, of_account: account, .. } = self;
        let replies = self.connection.ask(&[&[&"GETDEL", account]]).await?;
        let Some(Reply::Bytes(own)) = replies.first() else { return Ok(()) };
        let Some(own) = std::str::from_utf8(own).ok().and_then(|own| own.parse::<u32>().ok()) else {
            return Ok(());
        };
        let own = own.to_string();
        let replies = self
            .connection
            .ask(&[&[&"SET", address, &"0", &"PX", &LIFE, &"NX"], &[&"DECRBY", address, &own]])
            .await?;
        if let Some(Reply::Number(..=0)) = replies.first_chunk::<2>().map(|[_, count]| count) {
            self.connection.ask(&[&[&"DEL", address]]).await?;
        }
        Ok(())
    }
}
