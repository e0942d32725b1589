//! Purges of all hosts. An entry has an epoch, a number that is part of the names of its records: a purge of the entry
//! makes it greater, and no record of before is read again. Hosts tell each other of purges in messages on a channel of
//! the server, and read the numbers at each connection and every 30 s, because a message may not arrive.
//!
//! A message is sealed like a record, so that only hosts with the secret can purge, and no key can be read. It has the
//! sender (8 bytes), the entry (22), the kind (1), and the number (8) or the key.
//!
//! Limits: a host without a connection learns later of the purge of an entry, and never of that of a single key. A server
//! that has lost a number gets it back from a host that knows it. Whether a message is a new one is not known: somebody
//! who may write to the server can send the purge of a key again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use tokio::sync::Notify;

use super::engine::{Connection, Reply, Word};
use super::epoch::{Epoch, Forget, Part, Trust};
use super::numbers::{self, Purge, Refused};
use super::record::{Keys, MAX_RECORD};

/// The longest message. No record has so long a key.
const MAX_MESSAGE: usize = MAX_RECORD;

const ENTRY: u8 = 1;
const KEY: u8 = 2;
/// Characters of the id of an entry.
const ID: usize = 22;

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
    pub(super) fn add(&self, id: &Arc<str>, trust: Trust, forget: Forget) -> Arc<Epoch> {
        let mut parts = self.parts();
        parts.retain(|_, part| Arc::strong_count(&part.epoch) > 1);
        let epoch = parts.get(id).map(|part| Arc::clone(&part.epoch)).unwrap_or_default();
        let name = number_name(&self.prefix, id);
        let part = Part { name, epoch: Arc::clone(&epoch), trust, forget: Arc::new(forget) };
        parts.insert(Arc::clone(id), part);
        drop(parts);
        self.news.notify_one();
        epoch
    }

    /// Purges the entry of `epoch` on all hosts, as soon as there is a connection. Until then this host uses no record
    /// of it.
    pub(super) fn purge(&self, epoch: &Epoch) {
        epoch.purge();
        self.news.notify_one();
    }

    /// Waits until [`Self::settle`] has something to do.
    pub(super) async fn has_news(&self) {
        self.news.notified().await;
    }

    /// Listens to the other hosts, and then settles: nothing is missed between.
    pub(super) async fn begin(&self, connection: &Connection, keys: &Keys) -> Refused {
        connection.subscribe(&self.channel).await?;
        self.settle(connection, keys).await
    }

    /// Tells the server of purges, and reads the numbers of all entries.
    pub(super) async fn settle(&self, connection: &Connection, keys: &Keys) -> Refused {
        let told = self.tell(connection, keys).await?;
        let parts: Vec<Part> = self.parts().values().cloned().collect();
        let read = numbers::read(connection, &parts).await?;
        Ok(told.or(read))
    }

    /// Makes the numbers of entries greater that were purged, and tells all hosts.
    async fn tell(&self, connection: &Connection, keys: &Keys) -> Refused {
        let parts = self.parts().iter().map(|(id, part)| (Arc::clone(id), part.clone())).collect::<Vec<_>>();
        let purged = parts.into_iter().map(|(id, part)| (id, part.epoch.pending(), part));
        let (told, purges): (Vec<_>, Vec<_>) = purged
            .filter(|(_, count, _)| *count > 0)
            .map(|(id, count, part)| ((id, count), Purge { before: part.epoch.known_or_first(), part }))
            .unzip();
        if purges.is_empty() {
            return Ok(None);
        }
        let (increased, refused) = numbers::increase(connection, &purges).await?;
        let mut messages = Vec::new();
        for (((id, count), purge), number) in told.iter().zip(&purges).zip(increased) {
            let Some(number) = number else { continue };
            purge.part.epoch.raise(number);
            let message = self.sealed(keys, &self.message(id, ENTRY, &number.to_be_bytes()))?;
            messages.push((message, &purge.part.epoch, *count));
        }
        let unheard = self.publish(connection, messages.iter().map(|(message, ..)| message)).await?;
        // Before that the purge is told again over the next connection. Other hosts read the number if the message was
        // refused.
        messages.iter().for_each(|(_, epoch, count)| epoch.told(*count));
        Ok(refused.or(unheard))
    }

    /// Tells all hosts that the answer to `key` of the entry `id` was purged.
    pub(super) async fn tell_of_key(
        &self,
        connection: &Connection,
        keys: &Keys,
        id: &str,
        key: &[u8],
    ) -> Refused {
        let message = self.sealed(keys, &self.message(id, KEY, key))?;
        match message.len() <= MAX_MESSAGE {
            true => self.publish(connection, [&message].into_iter()).await,
            false => Ok(Some("the key is too long".to_owned())),
        }
    }

    async fn publish<'m>(
        &self,
        connection: &Connection,
        messages: impl Iterator<Item = &'m Vec<u8>>,
    ) -> Refused {
        let commands: Vec<[Word<'_>; 3]> =
            messages.map(|message| -> [Word<'_>; 3] { [&"PUBLISH", &self.channel, message] }).collect();
        if commands.is_empty() {
            return Ok(None);
        }
        let commands: Vec<&[Word<'_>]> = commands.iter().map(|command| &command[..]).collect();
        let replies = connection.ask(&commands).await?;
        Ok(replies.iter().find_map(Reply::refused).cloned())
    }

    fn sealed(&self, keys: &Keys, message: &[u8]) -> Result<Vec<u8>, String> {
        let sealed = keys.encrypt(&self.channel, message.to_vec());
        sealed.ok_or_else(|| "the crypto library fails".to_owned())
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
        let number = content.first_chunk().copied().map(u64::from_be_bytes);
        if kind == KEY {
            (part.forget)(Some(content));
        } else if kind == ENTRY
            && let Some(number) = number
            && part.hear(number)
        {
            // What is in the server under the number that this host knows may be older than the purge.
            self.purge(&part.epoch);
        }
    }
}

/// The key of the number of the entry `id`.
pub(super) fn number_name(prefix: &str, id: &str) -> String {
    format!("{prefix}:1:epoch:{id}")
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
        let epoch = purges.add(&id(), Trust::Numbers, Box::new(forget));
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
    fn a_reload_keeps_an_epoch_and_an_entry_that_is_gone_is_forgotten() {
        let (purges, epoch, _) = host();
        epoch.raise(7);
        let again = purges.add(&id(), Trust::Numbers, Box::new(|_| ()));
        assert!(Arc::ptr_eq(&again, &epoch));
        drop((again, epoch));
        purges.add(&"f".repeat(ID).into(), Trust::Numbers, Box::new(|_| ()));
        assert_eq!(purges.parts().len(), 1);
    }

    #[test]
    fn a_purge_with_a_lost_number_is_one_of_this_host_too() {
        let ((one, ..), (other, epoch, told)) = (host(), host());
        let keys = keys("s");
        epoch.raise(5_000);
        let message = one.message(&id(), ENTRY, &3_u64.to_be_bytes());
        other.hear(&keys, &keys.encrypt("p:1:purge", message).expect("a message"));
        assert_eq!((epoch.pending(), epoch.number(), epoch.known()), (1, None, Some(5_000)));
        assert_eq!(*told.lock().expect("a list"), [None]);
    }
}
