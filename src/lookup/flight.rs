//! Lookups that are under way, and those who wait for the same one.
//!
//! Whoever begins a lookup moves it on, at hardly more cost than if nobody else could wait for it.
//! Should they hang up before its end, one of those who wait goes on with it, and so on as long as
//! one of them is left. So the first one hanging up neither loses it nor asks twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::Notify;

use crate::model::{Answer, Failure};

type Outcome = Result<Answer, Failure>;
type Lookup = Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// By key. Where both are locked, this is before any [`State`].
type Known = Arc<Mutex<HashMap<Arc<[u8]>, Arc<Shared>>>>;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    known: Known,
}

/// A place in one of them.
pub(super) enum Flight {
    /// Of whoever began it.
    Begun(Pilot),
    /// Of somebody else.
    Joined(Passenger),
}

/// Moves a lookup on.
pub(super) struct Pilot {
    /// None once it has landed, or is left to somebody else.
    lookup: Option<Lookup>,
    seat: Seat,
}

/// Waits for a lookup that somebody else moves on.
pub(super) struct Passenger(Seat);

struct Seat {
    known: Known,
    key: Arc<[u8]>,
    shared: Arc<Shared>,
}

/// What all who wait for one lookup have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// How many have a seat.
    aboard: usize,
    phase: Phase,
}

enum Phase {
    /// Somebody moves it on.
    Flown,
    /// Whoever did has hung up.
    Left(Lookup),
    Landed(Outcome),
}

impl Flights {
    /// Joins the lookup of `key`, or begins it.
    pub(super) fn join<F>(&self, key: &Arc<[u8]>, begin: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let seat = |shared| Seat { known: Arc::clone(&self.known), key: Arc::clone(key), shared };
        match lock(&self.known).entry(Arc::clone(key)) {
            Entry::Occupied(place) => {
                lock(&place.get().state).aboard += 1;
                Flight::Joined(Passenger(seat(Arc::clone(place.get()))))
            }
            Entry::Vacant(place) => {
                let state = Mutex::new(State { aboard: 1, phase: Phase::Flown });
                let shared = place.insert(Arc::new(Shared { state, changed: Notify::new() }));
                let seat = seat(Arc::clone(shared));
                Flight::Begun(Pilot { lookup: Some(Box::pin(begin())), seat })
            }
        }
    }
}

impl Future for Pilot {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(lookup) = &mut self.lookup else { return Poll::Pending };
        let outcome = ready!(lookup.as_mut().poll(cx));
        self.lookup = None;
        // Whoever comes from now on asks anew.
        lock(&self.seat.known).remove(&self.seat.key);
        self.seat.put(Phase::Landed(outcome.clone()));
        Poll::Ready(outcome)
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        if let Some(lookup) = self.lookup.take() {
            self.seat.put(Phase::Left(lookup));
        }
    }
}

impl Passenger {
    /// Waits for the outcome; moves the lookup on from where whoever did has hung up.
    pub(super) async fn outcome(self) -> Outcome {
        let shared = Arc::clone(&self.0.shared);
        loop {
            let mut changed = pin!(shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.0.take() {
                Phase::Landed(outcome) => return outcome,
                Phase::Left(lookup) => return Pilot { lookup: Some(lookup), seat: self.0 }.await,
                Phase::Flown => changed.await,
            }
        }
    }
}

impl Seat {
    fn put(&self, phase: Phase) {
        lock(&self.shared.state).phase = phase;
        self.shared.changed.notify_waiters();
    }

    /// How the lookup stands; one that was left is the caller's then.
    fn take(&self) -> Phase {
        let phase = &mut lock(&self.shared.state).phase;
        match phase {
            Phase::Landed(outcome) => Phase::Landed(outcome.clone()),
            Phase::Left(_) | Phase::Flown => std::mem::replace(phase, Phase::Flown),
        }
    }
}

impl Drop for Seat {
    /// The last one gives the lookup up.
    fn drop(&mut self) {
        if matches!(lock(&self.shared.state).phase, Phase::Landed(_)) {
            return;
        }
        let mut known = lock(&self.known);
        let mut state = lock(&self.shared.state);
        state.aboard -= 1;
        if state.aboard == 0 && !matches!(state.phase, Phase::Landed(_)) {
            known.remove(&self.key);
        }
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flown => "Flown",
            Self::Left(_) => "Left",
            Self::Landed(_) => "Landed",
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
    struct Told {
        begun: AtomicUsize,
        tell: Option<oneshot::Sender<Outcome>>,
        held: Arc<()>,
    }

    impl Told {
        fn new() -> Self {
            Self { begun: AtomicUsize::new(0), tell: None, held: Arc::default() }
        }

        fn join(&mut self, flights: &Flights) -> Flight {
            flights.join(&key(), || {
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

        fn land(&mut self) {
            let _ = self.tell.take().expect("it has begun").send(Ok(Answer::NotFound));
        }

        fn is_held(&self) -> bool {
            Arc::strong_count(&self.held) > 1
        }
    }

    fn passenger(flight: Flight) -> Passenger {
        match flight {
            Flight::Joined(passenger) => passenger,
            Flight::Begun(_) => panic!("nobody has begun it"),
        }
    }

    #[tokio::test]
    async fn all_who_join_hear_the_outcome() {
        let (flights, mut told) = (Flights::default(), Told::new());
        let Flight::Begun(pilot) = told.join(&flights) else { panic!("somebody has begun it") };
        let others = [(); 3].map(|()| tokio::spawn(passenger(told.join(&flights)).outcome()));
        let late = passenger(told.join(&flights));
        told.land();
        assert_eq!(pilot.await, Ok(Answer::NotFound));
        for other in others {
            assert_eq!(other.await.expect("no panic"), Ok(Answer::NotFound));
        }
        assert_eq!(late.outcome().await, Ok(Answer::NotFound));
        assert_eq!((told.begun.load(Ordering::Relaxed), told.is_held()), (1, false));
        assert!(matches!(told.join(&flights), Flight::Begun(_)), "a later one asks anew");
    }

    #[tokio::test]
    async fn whoever_hangs_up_loses_nothing() {
        let (flights, mut told) = (Flights::default(), Told::new());
        let first = told.join(&flights);
        let [second, third, fourth] = [(); 3].map(|()| passenger(told.join(&flights)));
        let [second, fourth] = [second, fourth].map(|waiting| tokio::spawn(waiting.outcome()));
        tokio::task::yield_now().await;
        drop(first);
        // One of those who have waited goes on with it.
        tokio::task::yield_now().await;
        second.abort();
        let _ = second.await;
        drop(third);
        told.land();
        let landed = tokio::time::timeout(Duration::from_secs(10), fourth).await;
        assert_eq!(landed.expect("somebody goes on").expect("no panic"), Ok(Answer::NotFound));
        assert_eq!(told.begun.load(Ordering::Relaxed), 1);
        assert!(lock(&flights.known).is_empty());
    }

    #[tokio::test]
    async fn nobody_waiting_gives_it_up() {
        let (flights, mut told) = (Flights::default(), Told::new());
        drop(told.join(&flights));
        assert!(lock(&flights.known).is_empty() && !told.is_held());
        let first = told.join(&flights);
        drop(passenger(told.join(&flights)));
        let second = passenger(told.join(&flights));
        drop(first);
        assert!(told.is_held(), "somebody waits");
        drop(second);
        assert!(lock(&flights.known).is_empty() && !told.is_held());
    }
}
