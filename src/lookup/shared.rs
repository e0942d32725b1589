//! Identical lookups share one request to the API.
//!
//! The request that begins a lookup leads: it polls the lookup. Followers wait for the result. If the leader
//! hangs up, a follower becomes the leader, so the lookup is neither lost nor sent twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::Notify;

use crate::model::{Answer, Failure};

type LookupResult = Result<Answer, Failure>;
type LookupFuture = Pin<Box<dyn Future<Output = LookupResult> + Send>>;
/// Lock order: this map before any [`Progress`].
type LookupsByKey = Arc<Mutex<HashMap<Arc<[u8]>, Arc<SharedLookup>>>>;

/// The running lookups of an entry.
#[derive(Debug, Default)]
pub(super) struct SharedLookups {
    known: LookupsByKey,
}

/// The part of a request in a shared lookup.
pub(super) enum Role {
    /// The request begins the lookup.
    Leader(Leader),
    /// Another request leads.
    Follower(Follower),
}

/// Polls a lookup.
pub(super) struct Leader {
    /// `None` once it has ended or is abandoned.
    lookup: Option<LookupFuture>,
    slot: Slot,
}

/// Waits for a lookup that another request leads.
pub(super) struct Follower(Slot);

struct Slot {
    known: LookupsByKey,
    key: Arc<[u8]>,
    shared: Arc<SharedLookup>,
}

/// What leader and followers share.
#[derive(Debug)]
struct SharedLookup {
    state: Mutex<Progress>,
    changed: Notify,
}

#[derive(Debug)]
struct Progress {
    /// Leader and followers.
    participants: usize,
    phase: Phase,
}

enum Phase {
    /// It has a leader.
    Running,
    /// The leader hung up.
    Abandoned(LookupFuture),
    Ended(LookupResult),
}

impl SharedLookups {
    /// Joins the lookup of `key`, or begins it.
    pub(super) fn join<F>(&self, key: &Arc<[u8]>, begin: impl FnOnce() -> F) -> Role
    where
        F: Future<Output = LookupResult> + Send + 'static,
    {
        let slot = |shared| Slot { known: Arc::clone(&self.known), key: Arc::clone(key), shared };
        match lock(&self.known).entry(Arc::clone(key)) {
            Entry::Occupied(place) => {
                lock(&place.get().state).participants += 1;
                Role::Follower(Follower(slot(Arc::clone(place.get()))))
            }
            Entry::Vacant(place) => {
                let state = Mutex::new(Progress { participants: 1, phase: Phase::Running });
                let shared = place.insert(Arc::new(SharedLookup { state, changed: Notify::new() }));
                let slot = slot(Arc::clone(shared));
                Role::Leader(Leader { lookup: Some(Box::pin(begin())), slot })
            }
        }
    }
}

impl Future for Leader {
    type Output = LookupResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LookupResult> {
        let Some(lookup) = &mut self.lookup else { return Poll::Pending };
        let outcome = ready!(lookup.as_mut().poll(cx));
        self.lookup = None;
        // Later requests begin a new lookup.
        lock(&self.slot.known).remove(&self.slot.key);
        self.slot.put(Phase::Ended(outcome.clone()));
        Poll::Ready(outcome)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some(lookup) = self.lookup.take() {
            self.slot.put(Phase::Abandoned(lookup));
        }
    }
}

impl Follower {
    /// Waits for the result; leads the lookup if the leader hangs up.
    pub(super) async fn outcome(self) -> LookupResult {
        let shared = Arc::clone(&self.0.shared);
        loop {
            let mut changed = pin!(shared.changed.notified());
            // Registers before the state is read.
            changed.as_mut().enable();
            match self.0.take() {
                Phase::Ended(outcome) => return outcome,
                Phase::Abandoned(lookup) => return Leader { lookup: Some(lookup), slot: self.0 }.await,
                Phase::Running => changed.await,
            }
        }
    }
}

impl Slot {
    fn put(&self, phase: Phase) {
        lock(&self.shared.state).phase = phase;
        self.shared.changed.notify_waiters();
    }

    /// The state of the lookup. The caller takes over an abandoned one.
    fn take(&self) -> Phase {
        let phase = &mut lock(&self.shared.state).phase;
        match phase {
            Phase::Ended(outcome) => Phase::Ended(outcome.clone()),
            Phase::Abandoned(_) | Phase::Running => std::mem::replace(phase, Phase::Running),
        }
    }
}

impl Drop for Slot {
    /// The last participant ends an unfinished lookup.
    fn drop(&mut self) {
        if matches!(lock(&self.shared.state).phase, Phase::Ended(_)) {
            return;
        }
        let mut known = lock(&self.known);
        let mut state = lock(&self.shared.state);
        state.participants -= 1;
        if state.participants == 0 && !matches!(state.phase, Phase::Ended(_)) {
            known.remove(&self.key);
        }
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "Running",
            Self::Abandoned(_) => "Abandoned",
            Self::Ended(_) => "Ended",
        })
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

        fn join(&mut self, lookups: &SharedLookups) -> Role {
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

    fn follower(role: Role) -> Follower {
        match role {
            Role::Follower(follower) => follower,
            Role::Leader(_) => panic!("nobody has begun it"),
        }
    }

    #[tokio::test]
    async fn all_who_join_hear_the_outcome() {
        let (lookups, mut told) = (SharedLookups::default(), TestLookup::new());
        let Role::Leader(leader) = told.join(&lookups) else { panic!("somebody has begun it") };
        let others = [(); 3].map(|()| tokio::spawn(follower(told.join(&lookups)).outcome()));
        let late = follower(told.join(&lookups));
        told.end();
        assert_eq!(leader.await, Ok(Answer::NotFound));
        for other in others {
            assert_eq!(other.await.expect("no panic"), Ok(Answer::NotFound));
        }
        assert_eq!(late.outcome().await, Ok(Answer::NotFound));
        assert_eq!((told.begun.load(Ordering::Relaxed), told.is_held()), (1, false));
        assert!(matches!(told.join(&lookups), Role::Leader(_)), "a later one asks anew");
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
        assert!(lock(&lookups.known).is_empty());
    }

    #[tokio::test]
    async fn nobody_waiting_gives_it_up() {
        let (lookups, mut told) = (SharedLookups::default(), TestLookup::new());
        drop(told.join(&lookups));
        assert!(lock(&lookups.known).is_empty() && !told.is_held());
        let first = told.join(&lookups);
        drop(follower(told.join(&lookups)));
        let second = follower(told.join(&lookups));
        drop(first);
        assert!(told.is_held(), "somebody waits");
        drop(second);
        assert!(lock(&lookups.known).is_empty() && !told.is_held());
    }
}
