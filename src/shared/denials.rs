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
use super::engine::{Connection, Reply, Word};
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
    /// Counts one, and returns the count of the address. No counter is without an end for a moment. One that others have
    /// made something else of begins again.
    async fn increment(&self) -> Result<Option<u64>, String> {
        let names = [&self.of_address, &self.of_account];
        let [address, account] = names;
        let replies = self
            .ask(&[
                &[&"SET", address, &"0", &"PX", &LIFE, &"NX"],
                &[&"INCR", address],
                &[&"PEXPIRE", address, &LIFE],
                &[&"SET", account, &"0", &"PX", &LIFE, &"NX"],
                &[&"INCR", account],
                &[&"PEXPIRE", account, &LIFE],
            ])
            .await?;
        let counts = [1, 4].map(|place| match replies.get(place) {
            Some(Reply::Number(count)) => u64::try_from(*count).ok().filter(|count| *count > 0),
            _ => None,
        });
        for (name, _) in names.iter().zip(counts).filter(|(_, count)| count.is_none()) {
            self.ask(&[&[&"SET", *name, &"1", &"PX", &LIFE]]).await?;
        }
        Ok(Some(counts[0].unwrap_or(1)))
    }

    /// Takes the denials of the account off its address. The count of the address is never below zero, and none is lost
    /// that comes meanwhile.
    async fn forgive(&self) -> Result<(), String> {
        let Self { of_address: address, of_account: account, .. } = self;
        let Some(own) = taken(&self.ask(&[&[&"GETDEL", account]]).await?).filter(|own| *own > 0) else {
            return Ok(());
        };
        let own = own.to_string();
        let replies =
            self.ask(&[&[&"SET", address, &own, &"PX", &LIFE, &"NX"], &[&"DECRBY", address, &own]]).await?;
        let Some(Reply::Number(left @ ..=0)) = replies.get(1) else { return Ok(()) };
        let taken = taken(&self.ask(&[&[&"GETDEL", address]]).await?).unwrap_or(*left);
        let newer = taken.saturating_sub(*left);
        if newer > 0 {
            let less = (-newer).to_string();
            self.ask(&[&[&"SET", address, &"0", &"PX", &LIFE, &"NX"], &[&"DECRBY", address, &less]]).await?;
        }
        Ok(())
    }

    /// An error if one of these commands was refused.
    async fn ask(&self, commands: &[&[Word<'_>]]) -> Result<Vec<Reply>, String> {
        let replies = self.connection.ask(commands).await?;
        match replies.iter().find_map(Reply::refused) {
            Some(why) => Err(why.clone()),
            None => Ok(replies),
        }
    }
}

/// The number that GETDEL has removed.
fn taken(replies: &[Reply]) -> Option<i64> {
    let Some(Reply::Bytes(number)) = replies.first() else { return None };
    std::str::from_utf8(number).ok()?.parse().ok()
}
