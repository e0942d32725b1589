//! Identical lookups share one request to the API.
//!
//! The request that begins a lookup leads: it polls the lookup. The others wait for the result. If the leader
//! hangs up, the one that has waited longest goes on with the lookup, so it is neither lost nor sent twice.
//! Most lookups have no followers: such a one costs an entry in a map, and no allocation of its own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::model::{Answer, Failure};

type LookupResult = Result<Answer, Failure>;
pub(super) type Lookup = BoxFuture<'static, LookupResult>;
/// The followers of a lookup, the first one in front.
type Followers = VecDeque<oneshot::Sender<Turn>>;
/// By key. Few lookups run at a time: a tree finds one of them before the key is hashed.
type Running = BTreeMap<Arc<[u8]>, Followers>;

/// The running lookups of an entry.
#[derive(Debug, Default)]
pub(super) struct JoinedLookups(Arc<Mutex<Running>>);

/// What a follower waits for.
enum Turn {
    Result(LookupResult),
    /// The leader has hung up.
    Lead(Lookup),
}

/// The part of one request in a lookup. The lookup ends with its last participant.
pub(super) struct Participant {
    running: Arc<Mutex<Running>>,
    key: Arc<[u8]>,
    role: Role,
}

enum Role {
    /// Is to begin the lookup.
    Begins,
    Leads(Lookup),
    Follows(oneshot::Receiver<Turn>),
    Ended,
}

/// Ends the lookup of `key`, and returns its followers.
fn end(running: &mut Running, key: &Arc<[u8]>) -> Option<Followers> {
    let followers = running.remove(key);
    if running.is_empty() {
        // A tree keeps its last node, of 544 bytes, which an idle entry does not need.
        *running = Running::new();
    }
    followers
}

impl JoinedLookups {
    /// Joins the lookup of `key`. Unless one runs, the participant leads, and has to begin it.
    pub(super) fn join(&self, key: &Arc<[u8]>) -> Participant {
        let role = match lock(&self.0).entry(Arc::clone(key)) {
            Entry::Vacant(place) => {
                place.insert(Followers::new());
                Role::Begins
            }
            Entry::Occupied(mut place) => {
                let followers = place.get_mut();
                if followers.len() == followers.capacity() {
                    followers.retain(|follower| !follower.is_closed());
                }
                let (tell, turn) = oneshot::channel();
                followers.push_back(tell);
                Role::Follows(turn)
            }
        };
        Participant { running: Arc::clone(&self.0), key: Arc::clone(key), role }
    }
}

impl Participant {
    /// Whether it polls the lookup.
    pub(super) fn leads(&self) -> bool {
        matches!(self.role, Role::Begins | Role::Leads(_))
    }

    /// Begins the lookup, if it leads.
    pub(super) fn begin(&mut self, lookup: Lookup) {
        if let Role::Begins = self.role {
            self.role = Role::Leads(lookup);
        }
    }

    /// Waits for the result. [`Failure::Overload`] if the leader has not begun the lookup.
    pub(super) async fn outcome(mut self) -> LookupResult {
        loop {
            match &mut self.role {
                Role::Leads(lookup) => {
                    let result = lookup.await;
                    self.role = Role::Ended;
                    // Later requests begin a new lookup.
                    let followers = end(&mut lock(&self.running), &self.key);
                    for follower in followers.into_iter().flatten() {
                        // It may have hung up.
                        let _ = follower.send(Turn::Result(result.clone()));
                    }
                    return result;
                }
                Role::Follows(turn) => match turn.await {
                    Ok(Turn::Lead(lookup)) => self.role = Role::Leads(lookup),
                    Ok(Turn::Result(result)) => return result,
                    Err(_) => return Err(Failure::Overload),
                },
                Role::Begins | Role::Ended => return Err(Failure::Overload),
            }
        }
    }

    /// Leaves the lookup to the first follower that is still there.
    fn leave(&self, lookup: Lookup) {
        // Without a follower it is dropped, after the lock.
        let mut turn = Turn::Lead(lookup);
        let mut running = lock(&self.running);
        let Some(followers) = running.get_mut(&self.key) else { return };
        while let Some(follower) = followers.pop_front() {
            match follower.send(turn) {
                Ok(()) => return,
                Err(back) => turn = back,
            }
        }
        end(&mut running, &self.key);
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.role, Role::Ended) {
            // Its followers begin anew.
            Role::Begins => drop(end(&mut lock(&self.running), &self.key)),
            // A lookup that has panicked would do so again, in the session of each follower.
            Role::Leads(_) if std::thread::panicking() => drop(end(&mut lock(&self.running), &self.key)),
            Role::Leads(lookup) => self.leave(lookup),
            Role::Follows(mut turn) => {
                // A leader may have left the lookup to it a moment ago.
                turn.close();
                if let Ok(Turn::Lead(lookup)) = turn.try_recv() {
                    self.leave(lookup);
                }
            }
            Role::Ended => {}
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Result(_) => "Result",
            Self::Lead(_) => "Lead",
        })
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
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

        fn join(&mut self, lookups: &JoinedLookups) -> Participant {
            let mut participant = lookups.join(&key());
            if participant.leads() {
                self.begun.fetch_add(1, Ordering::Relaxed);
                let (tell, told) = oneshot::channel();
                self.tell = Some(tell);
                let held = Arc::clone(&self.held);
                participant.begin(Box::pin(async move {
                    let outcome = told.await.unwrap_or(Err(Failure::Protocol));
                    drop(held);
                    outcome
                }));
            }
            participant
        }

        fn end(&mut self) {
            let _ = self.tell.take().expect("it has begun").send(Ok(Answer::NotFound));
        }

        fn is_held(&self) -> bool {
            Arc::strong_count(&self.held) > 1
        }
    }

    fn follower(participant: Participant) -> Participant {
        assert!(!participant.leads(), "it has begun");
        participant
    }

    #[tokio::test]
    async fn all_who_join_hear_the_outcome() {
        let (lookups, mut told) = (JoinedLookups::default(), TestLookup::new());
        let leader = told.join(&lookups);
        assert!(leader.leads(), "it is the first");
        let others = [(); 3].map(|()| tokio::spawn(follower(told.join(&lookups)).outcome()));
        let late = follower(told.join(&lookups));
        told.end();
        assert_eq!(leader.outcome().await, Ok(Answer::NotFound));
        for other in others {
            assert_eq!(other.await.expect("no panic"), Ok(Answer::NotFound));
        }
        assert_eq!(late.outcome().await, Ok(Answer::NotFound));
        assert_eq!((told.begun.load(Ordering::Relaxed), told.is_held()), (1, false));
        assert!(told.join(&lookups).leads(), "a later one asks anew");
    }

    #[tokio::test]
    async fn whoever_hangs_up_loses_nothing() {
        let (lookups, mut told) = (JoinedLookups::default(), TestLookup::new());
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
        let (lookups, mut told) = (JoinedLookups::default(), TestLookup::new());
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

    #[tokio::test]
    async fn a_lookup_that_panics_does_so_once() {
        let lookups = JoinedLookups::default();
        let mut leader = lookups.join(&key());
        leader.begin(Box::pin(async { panic!("a bug") }));
        let follower = tokio::spawn(follower(lookups.join(&key())).outcome());
        let leader = tokio::spawn(leader.outcome());
        assert!(leader.await.is_err_and(|error| error.is_panic()));
        assert_eq!(follower.await.expect("it does not panic, too"), Err(Failure::Overload));
        assert!(lookups.join(&key()).leads(), "a later one asks anew");
    }

    #[tokio::test]
    async fn followers_of_a_lookup_that_was_not_begun_hear_of_it() {
        let lookups = JoinedLookups::default();
        let leader = lookups.join(&key());
        let follower = follower(lookups.join(&key()));
        drop(leader);
        assert_eq!(follower.outcome().await, Err(Failure::Overload));
        assert!(lookups.join(&key()).leads(), "a later one asks anew");
    }
}
