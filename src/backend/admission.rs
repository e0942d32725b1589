//! Whether a listener accepts further connections: a full queue of lookups keeps them in the kernel's
//! queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long a full queue may keep connections waiting.
const BURST: Duration = Duration::from_millis(500);
/// How often a closed gate is checked after that.
const LOOK: Duration = Duration::from_millis(100);
/// A queue moves if one of its lookups got a worker within this time.
const MOVES: Duration = Duration::from_secs(1);

/// How long the gates of a listener have been closed, with pauses shorter than `BURST`.
#[derive(Debug, Default)]
pub(crate) struct Pressure(Option<(Instant, Instant)>);

impl Pressure {
    /// Notes that a gate is closed, and returns since when.
    fn began(&mut self) -> Instant {
        let now = Instant::now();
        let lasts = self.0.filter(|(_, last)| now.duration_since(*last) < BURST);
        let began = lasts.map_or(now, |(began, _)| began);
        self.0 = Some((began, now));
        began
    }
}

/// Closed while a lookup of the listener waits in a full queue.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    held: AtomicUsize,
    freed: Notify,
    /// When a lookup of the queue last got a worker.
    served: Mutex<Option<Instant>>,
}

impl Gate {
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.fetch_add(1, Ordering::SeqCst);
        Held(self)
    }

    pub(super) fn is_open(&self) -> bool {
        self.held.load(Ordering::SeqCst) == 0
    }

    fn moves(&self) -> bool {
        let served = *self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.is_some_and(|at| at.elapsed() < MOVES)
    }

    /// Waits until the gate is open.
    pub(crate) async fn open(&self) {
        loop {
            let freed = self.freed.notified();
            if self.is_open() {
                return;
            }
            freed.await;
        }
    }

    /// Waits until the gate may be passed: it is open, or its queue moves and the pressure has lasted for
    /// [`BURST`]. Then more connections come than the API can answer; each is accepted, and the worker pool
    /// tells its lookups at once whether they can be answered in time. Calls `held_up` if it waits.
    pub(super) async fn admit(&self, pressure: &mut Pressure, held_up: impl FnOnce()) {
        let until = pressure.began() + BURST;
        if Instant::now() < until || !self.moves() {
            held_up();
            let look = || tokio::time::Instant::from(until.max(Instant::now() + LOOK));
            while tokio::time::timeout_at(look(), self.open()).await.is_err() && !self.moves() {}
            pressure.began();
        }
    }
}

/// Keeps a gate closed.
pub(super) struct Held<'a>(&'a Gate);

impl Held<'_> {
    /// Releases the gate: the lookup got a worker.
    pub(super) fn served(self) {
        *self.0.served.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.0.held.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.freed.notify_waiters();
        }
    }
}
