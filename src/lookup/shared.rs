//! Identical lookups share one request to the API.
//!
//! The request that begins a lookup leads: it polls the lookup. The others wait for the result. If the leader
//! hangs up, another one goes on with the lookup, so it is neither lost nor sent twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::model::{Answer, Failure};

type LookupResult = Result<Answer, Failure>;
type Running = Mutex<HashMap<Arc<[u8]>, Place>>;

/// The running lookups of an entry.
#[derive(Debug, Default)]
pub(super) struct SharedLookups(Arc<Running>);

/// A running lookup, and how many requests take part in it.
#[derive(Debug)]
struct Place {
    lookup: Arc<SharedLookup>,
    participants: usize,
}

struct SharedLookup {
    result: OnceCell<LookupResult>,
    /// Only the participant that fills `result` polls it.
    lookup: tokio::sync::Mutex<BoxFuture<'static, LookupResult>>,
}

/// The part of one request in a lookup. The lookup ends with its last participant.
pub(super) struct Participant {
    running: Arc<Running>,
    key: Arc<[u8]>,
    shared: Arc<SharedLookup>,
    /// Whether it began the lookup.
    pub(super) leads: bool,
}

impl SharedLookups {
    /// Joins the lookup of `key`, or begins it.
    pub(super) fn join<F>(&self, key: &Arc<[u8]>, begin: impl FnOnce() -> F) -> Participant
    where
        F: Future<Output = LookupResult> + Send + 'static,
    {
        let mut running = lock(&self.0);
        let (leads, place) = match running.entry(Arc::clone(key)) {
            Entry::Occupied(place) => (false, place.into_mut()),
            Entry::Vacant(place) => {
                let lookup = tokio::sync::Mutex::new(Box::pin(begin()) as _);
                let lookup = Arc::new(SharedLookup { result: OnceCell::new(), lookup });
                (true, place.insert(Place { lookup, participants: 0 }))
            }
        };
        place.participants += 1;
        let shared = Arc::clone(&place.lookup);
        Participant { running: Arc::clone(&self.0), key: Arc::clone(key), shared, leads }
    }
}

impl Participant {
    /// Waits for the result. It polls the lookup, unless another participant does.
    pub(super) async fn outcome(self) -> LookupResult {
        let lead = || async {
            let result = self.shared.lookup.lock().await.as_mut().await;
            // Later requests begin a new lookup.
            lock(&self.running).remove(&self.key);
            result
        };
        self.shared.result.get_or_init(lead).await.clone()
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        if self.shared.result.initialized() {
            return;
        }
        let mut running = lock(&self.running);
        let Entry::Occupied(mut place) = running.entry(Arc::clone(&self.key)) else { return };
        // Else the lookup has ended meanwhile, and this is a later one.
        if Arc::ptr_eq(&place.get().lookup, &self.shared) {
            place.get_mut().participants -= 1;
            if place.get().participants == 0 {
                place.remove();
            }
        }
    }
}

impl fmt::Debug for SharedLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLookup").field("result", &self.result).finish_non_exhaustive()
    }
}

fn lock(running: &Running) -> MutexGuard<'_, HashMap<Arc<[u8]>, Place>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::oneshot;

    fn key() -> Arc<[u8]> {
        b"k"[..].into()
    }

    /// A lookup that ends when it is told to, and counts whether it has begun and is there still.
    struct TestLookup {
        begun: AtomicUsize,
        tell: Option<oneshot::Sender<LookupResult>>,
        held: Arc<()>,
    }

    impl TestLookup {
        fn new() -> Self {
            Self { begun: AtomicUsize::new(0), tell: None, held: Arc::default() }
        }

        fn join(&mut self, lookups: &SharedLookups) -> Participant {
            lookups.join(&key(), || {
                self.begun.fetch_add(1, Ordering::Relaxed);
                let (tell, told) = oneshot::channel();
                self.tell = Some(tell);
                let held = Arc::clone(&self.held);
                async move {
                    let outcome = told.await.unwrap_or(Err(Failure::Protocol));
                    drop(held);
                    outcome
                }
            })
        }

        fn end(&mut self) {
            let _ = self.tell.take().expect("it has begun").send(Ok(Answer::NotFound));
        }

        fn is_held(&self) -> bool {
            Arc::strong_count(&self.held) > 1
        }
    }

    fn follower(participant: Participant) -> Participant {
        assert!(!participant.leads, "it has begun");
        participant
    }

    #[tokio::test]
    async fn all_who_join_hear_the_outcome() {
        let (lookups, mut told) = (SharedLookups::default(), TestLookup::new());
        let leader = told.join(&lookups);
        assert!(leader.leads, "it is the first");
        let others = [(); 3].map(|()| tokio::spawn(follower(told.join(&lookups)).outcome()));
        let late = follower(told.join(&lookups));
        told.end();
        assert_eq!(leader.outcome().await, Ok(Answer::NotFound));
        for other in others {
            assert_eq!(other.await.expect("no panic"), Ok(Answer::NotFound));
        }
        assert_eq!(late.outcome().await, Ok(Answer::NotFound));
        assert_eq!((told.begun.load(Ordering::Relaxed), told.is_held()), (1, false));
        assert!(told.join(&lookups).leads, "a later one asks anew");
    }

    #[tokio::test]
    async fn whoever_hangs_up_loses_nothing() {
        let (lookups, mut told) = (SharedLookups::default(), TestLookup::new());
        let first = told.join(&lookups);
        let [second, third, fourth] = [(); 3].map(|()| follower(told.join(&lookups)));
        let [second, fourth] = [second, fourth].map(|waiting| tokio::spawn(waiting.outcome()));
        tokio::task::yield_now().await;
        drop(first);
        // One of those who have waited goes on with it.
        tokio::task::yield_now().await;
        second.abort();
        let _ = second.await;
        drop(third);
        told.end();
        let landed = tokio::time::timeout(Duration::from_secs(10), fourth).await;
        assert_eq!(landed.expect("somebody goes on").expect("no panic"), Ok(Answer::NotFound));
        assert_eq!(told.begun.load(Ordering::Relaxed), 1);
        assert!(lock(&lookups.0).is_empty());
    }

    #[tokio::test]
    async fn nobody_waiting_gives_it_up() {
        let (lookups, mut told) = (SharedLookups::default(), TestLookup::new());
        drop(told.join(&lookups));
        assert!(lock(&lookups.0).is_empty() && !told.is_held());
        let first = told.join(&lookups);
        drop(follower(told.join(&lookups)));
        let second = follower(told.join(&lookups));
        drop(first);
        assert!(told.is_held(), "somebody waits");
        drop(second);
        assert!(lock(&lookups.0).is_empty() && !told.is_held());
    }
}
