//! Lookups that are under way, and those who wait for the same one.
//!
//! A shared lookup belongs to all who wait for it: whoever is polled moves it on, and it goes on
//! as long as one of them is left. The first one hanging up neither loses it nor asks twice.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::ask::{Answer, Failure};

type Outcome = Result<Answer, Failure>;
type Lookup = Shared<BoxFuture<'static, Outcome>>;

/// The lookup of a key, and its number: an old one must not take a new one's place away.
type Known = HashMap<Vec<u8>, (u64, WeakShared<BoxFuture<'static, Outcome>>)>;

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
    pub(super) fn join<F>(&self, key: &[u8], begin: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut known = lock(&self.known);
        if let Some(lookup) = known.get(key).and_then(|(_, weak)| weak.upgrade()) {
            return Flight { lookup, joined: true };
        }
        let lookup = begin();
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { flights: Arc::clone(&self.known), key: key.to_vec(), number };
        let lookup = lookup.inspect(move |_| drop(landing));
        let lookup = lookup.boxed().shared();
        if let Some(weak) = lookup.downgrade() {
            known.insert(key.to_vec(), (number, weak));
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
    key: Vec<u8>,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut known = lock(&self.flights);
        if known.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            known.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn the_first_one_hanging_up_loses_nothing() {
        let (flights, begun) = (Flights::default(), AtomicUsize::new(0));
        let (send, receive) = oneshot::channel();
        let first = flights.join(b"k", || {
            begun.fetch_add(1, Ordering::Relaxed);
            async { receive.await.unwrap_or(Err(Failure::Protocol)) }
        });
        let second = flights.join(b"k", || {
            begun.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        assert!(!first.joined && second.joined);
        drop(first);
        send.send(Ok(Answer::NotFound)).expect("somebody waits");
        assert_eq!(second.lookup.await, Ok(Answer::NotFound));
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(!flights.join(b"k", std::future::pending).joined, "a later one asks anew");
    }

    #[tokio::test]
    async fn nobody_waiting_gives_it_up() {
        let flights = Flights::default();
        drop(flights.join(b"k", std::future::pending));
        assert!(lock(&flights.known).is_empty());
    }
}
