//! Purges of all hosts. An entry has an epoch, a number that is part of the names of its records: a purge of the entry
//! makes it greater, and no record of before is read again. Hosts tell each other of purges in messages on a channel of
//! the server, and read the numbers at each connection and every 30 s, because a message may not arrive.
//!
//! A message is sealed like a record, so that only hosts with the secret can purge, and no key can be read. It has the
//! sender (8 bytes), the entry (22), the kind (1), and the number (8) or the key.
//!
//! Limits: a host without a connection learns later of the purge of an entry, and never of that of a single key. A server
//! that has lost a number gets it back from a host that knows it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::Notify;

use super::engine::{Connection, Reply, Word};
use super::record::Keys;

/// How long the server keeps a number that is not renewed: longer than any record.
const LIFE: Duration = Duration::from_hours(30 * 24);
/// The longest message that is looked at; a map's key is shorter.
const MAX_MESSAGE: usize = 256 * 1024;
/// Digits of a number that are read.
const DIGITS: &str = "18";

const ENTRY: u8 = 1;
const KEY: u8 = 2;
/// Characters of the id of an entry.
const ID: usize = 22;

/// Drops what a host has of an entry itself: all, or the answer to a key.
pub(crate) type Forget = Box<dyn Fn(Option<&[u8]>) + Send + Sync>;

/// The epoch of an entry.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    /// The number, plus 1; 0: not known yet.
    number: AtomicU64,
    /// Purges that the server does not know yet.
    pending: AtomicU64,
}

impl Epoch {
    /// The number for names of records. `None`: it is not known, or about to change.
    pub(super) fn number(&self) -> Option<u64> {
        let is_settled = self.pending.load(SeqCst) == 0;
        self.number.load(SeqCst).checked_sub(1).filter(|_| is_settled)
    }

    /// Whether the server does not know of a purge yet.
    pub(super) fn is_purged(&self) -> bool {
        self.pending.load(SeqCst) > 0
    }

    /// Sets the number unless it is greater; returns what it was before, plus 1.
    fn raise(&self, number: u64) -> u64 {
        self.number.fetch_max(number.saturating_add(1), SeqCst)
    }

    fn known(&self) -> u64 {
        self.number.load(SeqCst).saturating_sub(1)
    }
}

/// The entries of this host, and the channel.
pub(super) struct Purges {
    prefix: String,
    channel: String,
    /// Tells own messages from those of others.
    sender: [u8; 8],
    parts: Mutex<BTreeMap<Arc<str>, Part>>,
    /// A number must be read or made greater.
    news: Notify,
}

#[derive(Clone)]
struct Part {
    epoch: Arc<Epoch>,
    forget: Arc<Forget>,
}

impl fmt::Debug for Purges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purges").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Purges {
    /// `None` without random numbers.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let mut sender = [0; 8];
        rand::fill(&mut sender).ok()?;
        let (parts, news) = Default::default();
        Some(Self { prefix: prefix.to_owned(), channel: channel(prefix), sender, parts, news })
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the entry `id`, or replaces how this host forgets its answers. Entries that are not used any more go.
    pub(super) fn add(&self, id: &Arc<str>, forget: Forget) -> Arc<Epoch> {
        let mut parts = self.parts();
        parts.retain(|_, part| Arc::strong_count(&part.epoch) > 1);
        let epoch = parts.get(id).map(|part| Arc::clone(&part.epoch)).unwrap_or_default();
        parts.insert(Arc::clone(id), Part { epoch: Arc::clone(&epoch), forget: Arc::new(forget) });
        drop(parts);
        self.news.notify_one();
        epoch
    }

    /// Purges the entry of `epoch` on all hosts, as soon as there is a connection. Until then this host uses no record
    /// of it.
    pub(super) fn purge(&self, epoch: &Epoch) {
        epoch.pending.fetch_add(1, SeqCst);
        self.news.notify_one();
    }

    /// Waits until [`Self::settle`] has something to do.
    pub(super) async fn has_news(&self) {
        self.news.notified().await;
    }

    /// Listens to the other hosts, and then settles: nothing is missed between.
    pub(super) async fn begin(&self, connection: &Connection, keys: &Keys) -> Result<(), String> {
        connection.subscribe(&self.channel).await?;
        self.settle(connection, keys).await
    }

    /// Tells the server of purges, and reads the numbers of all entries.
    pub(super) async fn settle(&self, connection: &Connection, keys: &Keys) -> Result<(), String> {
        let parts: Vec<_> = self.parts().iter().map(|(id, part)| (Arc::clone(id), part.clone())).collect();
        for (id, part) in &parts {
            self.tell(connection, keys, id, &part.epoch).await?;
        }
        let names: Vec<String> = parts.iter().map(|(id, _)| self.number_name(id)).collect();
        let commands = names.iter().map(|name| -> [Word<'_>; 4] { [&"GETRANGE", name, &"0", &DIGITS] });
        let commands: Vec<_> = commands.collect();
        let commands: Vec<&[Word<'_>]> = commands.iter().map(|command| &command[..]).collect();
        if commands.is_empty() {
            return Ok(());
        }
        let replies = connection.ask(&commands).await?;
        for ((name, reply), (_, part)) in names.iter().zip(&replies).zip(&parts) {
            let number = number(reply);
            let before = part.epoch.raise(number);
            if before > number + 1 {
                self.set_number(connection, name, before - 1).await?;
            } else if (1..=number).contains(&before) {
                (part.forget)(None);
            }
        }
        Ok(())
    }

    /// Makes the number of an entry greater if it was purged, and tells all hosts.
    async fn tell(
        &self,
        connection: &Connection,
        keys: &Keys,
        id: &str,
        epoch: &Epoch,
    ) -> Result<(), String> {
        let told = epoch.pending.load(SeqCst);
        if told == 0 {
            return Ok(());
        }
        let (name, life) = (self.number_name(id), LIFE.as_millis().to_string());
        let replies = connection
            .ask(&[
                &[&"SET", &name, &"0", &"PX", &life, &"NX"],
                &[&"INCR", &name],
                &[&"PEXPIRE", &name, &life],
            ])
            .await?;
        let counted = match replies.get(1) {
            Some(Reply::Number(number)) => u64::try_from(*number).unwrap_or(0),
            _ => return Err("it answers otherwise than Redis".to_owned()),
        };
        let number = counted.max(epoch.known() + 1);
        if number > counted {
            self.set_number(connection, &name, number).await?;
        }
        epoch.raise(number);
        epoch.pending.fetch_sub(told, SeqCst);
        self.publish(connection, keys, &self.message(id, ENTRY, &number.to_be_bytes())).await
    }

    async fn set_number(&self, connection: &Connection, name: &str, number: u64) -> Result<(), String> {
        let (number, life) = (number.to_string(), LIFE.as_millis().to_string());
        connection.ask(&[&[&"SET", &name, &number, &"PX", &life]]).await.map(|_| ())
    }

    /// Tells all hosts that the answer to `key` of the entry `id` was purged.
    pub(super) async fn tell_of_key(
        &self,
        connection: &Connection,
        keys: &Keys,
        id: &str,
        key: &[u8],
    ) -> Result<(), String> {
        self.publish(connection, keys, &self.message(id, KEY, key)).await
    }

    async fn publish(&self, connection: &Connection, keys: &Keys, message: &[u8]) -> Result<(), String> {
        let sealed = keys.encrypt(&self.channel, message.to_vec()).ok_or("the crypto library fails")?;
        connection.ask(&[&[&"PUBLISH", &self.channel, &sealed]]).await.map(|_| ())
    }

    fn message(&self, id: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        [&self.sender, id.as_bytes(), &[kind], content].concat()
    }

    /// Does what a message of another host says. Others' messages than those of hosts with the secret are ignored.
    pub(super) fn hear(&self, keys: &Keys, message: &[u8]) {
        if message.len() > MAX_MESSAGE {
            return;
        }
        let mut message = message.to_vec();
        let Ok(message) = keys.decrypt(&self.channel, &mut message) else { return };
        let Some((sender, rest)) = message.split_first_chunk() else { return };
        let Some((id, rest)) = rest.split_at_checked(ID) else { return };
        let (Ok(id), Some((&kind, content))) = (std::str::from_utf8(id), rest.split_first()) else { return };
        if *sender == self.sender {
            return;
        }
        let Some(part) = self.parts().get(id).cloned() else { return };
        match (kind, content.first_chunk().copied().map(u64::from_be_bytes)) {
            (KEY, _) => (part.forget)(Some(content)),
            (ENTRY, Some(number)) if part.epoch.raise(number) <= number => (part.forget)(None),
            _ => {}
        }
    }

    fn number_name(&self, id: &str) -> String {
        format!("{}:1:epoch:{id}", self.prefix)
    }
}

/// A number that was read; 0 if there is none.
fn number(reply: &Reply) -> u64 {
    let Reply::Bytes(digits) = reply else { return 0 };
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The channel of all hosts with this prefix.
pub(super) fn channel(prefix: &str) -> String {
    format!("{prefix}:1:purge")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    fn keys(secret: &str) -> Keys {
        Keys::new(&Secret::new(secret.repeat(32))).expect("keys")
    }

    /// What a host was told to forget.
    type Told = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

    /// A host and its entry.
    fn host() -> (Purges, Arc<Epoch>, Told) {
        let (purges, told) = (Purges::new("p").expect("random numbers"), Told::default());
        let heard = Arc::clone(&told);
        let forget = move |key: Option<&[u8]>| heard.lock().expect("a list").push(key.map(<[u8]>::to_vec));
        let epoch = purges.add(&id(), Box::new(forget));
        (purges, epoch, told)
    }

    fn id() -> Arc<str> {
        "e".repeat(ID).into()
    }

    #[test]
    fn only_hosts_with_the_secret_purge() {
        let ((one, ..), (other, epoch, told)) = (host(), host());
        let keys = keys("s");
        let entry = |number: u64| one.message(&id(), ENTRY, &number.to_be_bytes());
        let send = |message: Vec<u8>| {
            let sealed = keys.encrypt("p:1:purge", message).expect("a message");
            other.hear(&keys, &sealed);
            one.hear(&keys, &sealed);
        };
        send(entry(4));
        assert_eq!((epoch.number(), told.lock().expect("a list").len()), (Some(4), 1));
        send(entry(4));
        send(entry(3));
        assert_eq!((epoch.number(), told.lock().expect("a list").len()), (Some(4), 1), "nothing new");
        send(one.message(&id(), KEY, b"bob@example.org"));
        assert_eq!(told.lock().expect("a list").last(), Some(&Some(b"bob@example.org".to_vec())));
        send(other.message(&id(), KEY, b"own"));
        send(one.message(&"x".repeat(ID), KEY, b"of no entry"));
        for bad in [&[][..], &[0; 30], &[0; 31], &entry(9)[..35]] {
            send(bad.to_vec());
        }
        let stranger = self::keys("t");
        other.hear(&keys, &stranger.encrypt("p:1:purge", entry(9)).expect("a message"));
        other.hear(&keys, &keys.encrypt("p:1:e:0:k", entry(9)).expect("a message"));
        other.hear(&keys, &entry(9));
        assert_eq!((epoch.number(), told.lock().expect("a list").len()), (Some(4), 2));
    }

    #[test]
    fn a_number_is_used_if_it_is_known_and_no_purge_is_pending() {
        let (purges, epoch, _) = host();
        assert_eq!(epoch.number(), None);
        epoch.raise(0);
        assert_eq!(epoch.number(), Some(0));
        purges.purge(&epoch);
        assert_eq!(epoch.number(), None);
        epoch.pending.store(0, SeqCst);
        epoch.raise(7);
        epoch.raise(5);
        assert_eq!(epoch.number(), Some(7));
        assert!(Arc::ptr_eq(&purges.add(&id(), Box::new(|_| ())), &epoch), "a reload keeps it");
        drop(epoch);
        purges.add(&"f".repeat(ID).into(), Box::new(|_| ()));
        assert_eq!(purges.parts().len(), 1, "an entry that is gone is forgotten");
    }
}
