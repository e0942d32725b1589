//! Lookups that are under way, and those who wait for the same one.
//!
//! A shared lookup belongs to all who wait for it: whoever is polled moves it on, and it goes on
//! as long as one of them is left. The first one hanging up neither loses it nor asks twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::ask::{Answer, Failure};

type Outcome = Result<Answer, Failure>;
type Lookup = Shared<BoxFuture<'static, Outcome>>;

/// The lookup of a key, and its number: an old one must not take a new one's place away.
type Known = HashMap<Arc<[u8]>, (u64, WeakShared<BoxFuture<'static, Outcome>>)>;

/// What is under way, by key.
#[derive(Debug, Default)]
pub(super) struct Flights {
    known: Arc<Mutex<Known>>,
    begun: AtomicU64,
}

/// A place in one of them.
pub(super) struct Flight {
    pub(super) lookup: Lookup,
    /// Whether somebody else began it.
    pub(super) joined: bool,
}

impl Flights {
    /// Joins the lookup of `key`, or begins it.
    pub(super) fn join<F>(&self, key: &Arc<[u8]>, begin: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut known = lock(&self.known);
        let place = known.entry(Arc::clone(key));
        if let Entry::Occupied(place) = &place
            && let Some(lookup) = place.get().1.upgrade()
        {
            return Flight { lookup, joined: true };
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { flights: Arc::clone(&self.known), key: Arc::clone(key), number };
        let lookup = begin().inspect(move |_| drop(landing)).boxed().shared();
        if let Some(weak) = lookup.downgrade() {
            place.insert_entry((number, weak));
        }
        Flight { lookup, joined: false }
    }
}

fn lock(flights: &Mutex<Known>) -> MutexGuard<'_, Known> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Dropped with the lookup, whether it came to its end or was given up.
struct Landing {
    flights: Arc<Mutex<Known>>,
    key: Arc<[u8]>,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut known = lock(&self.flights);
        if let Entry::Occupied(place) = known.entry(Arc::clone(&self.key))
            && place.get().0 == self.number
        {
            place.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::oneshot;

    fn key() -> Arc<[u8]> {
        b"k"[..].into()
    }

    #[tokio::test]
    async fn the_first_one_hanging_up_loses_nothing() {
        let (flights, begun) = (Flights::default(), AtomicUsize::new(0));
        let (send, receive) = oneshot::channel();
        let first = flights.join(&key(), || {
            begun.fetch_add(1, Ordering::Relaxed);
            async { receive.await.unwrap_or(Err(Failure::Protocol)) }
        });
        let second = flights.join(&key(), || {
            begun.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        assert!(!first.joined && second.joined);
        drop(first);
        send.send(Ok(Answer::NotFound)).expect("somebody waits");
        assert_eq!(second.lookup.await, Ok(Answer::NotFound));
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(!flights.join(&key(), std::future::pending).joined, "a later one asks anew");
    }

    #[tokio::test]
    async fn nobody_waiting_gives_it_up() {
        let flights = Flights::default();
        drop(flights.join(&key(), std::future::pending));
        assert!(lock(&flights.known).is_empty());
    }
}
