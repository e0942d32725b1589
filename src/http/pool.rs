//! Idle connections to one origin, each kept by the thread (`server::threads`) that has made it: its bytes
//! wake that thread and no other.
//!
//! Whoever asks takes the one of its own place that was used last, for it is the least likely to be
//! dead. Another place's is taken where the number of connections is bounded, or no further one
//! could be kept. Nobody polls an idle one: that its backend has closed it shows when it is used, or
//! when a task looks through them, at the latest every 5 s.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;

use super::HttpSettings;
use super::{thread_count, thread_index};

/// How a connection is seen to be alive still.
type IsAlive<L> = fn(&mut L) -> bool;

/// The idle connections to one origin.
#[derive(Debug)]
pub(super) struct Pools<L> {
    places: Box<[Arc<ThreadConnections<L>>]>,
    /// `max_connections_per_host`: one place takes another's before it makes one more.
    is_bounded: bool,
}

/// Those of one place.
#[derive(Debug)]
struct ThreadConnections<L> {
    idle: Mutex<Vec<Idle<L>>>,
    is_alive: IsAlive<L>,
    timeout: Duration,
    /// Those of all places, and their bound.
    here: Arc<AtomicUsize>,
    max_here: usize,
    /// Those to all origins, and their bound.
    everywhere: Arc<AtomicUsize>,
    max_everywhere: usize,
    /// Whether a task looks through them.
    watched: AtomicBool,
}

#[derive(Debug)]
struct Idle<L> {
    connection: L,
    since: Instant,
}

impl<L: Send + 'static> Pools<L> {
    /// None yet; `everywhere` counts those to all origins.
    pub(super) fn new(settings: &HttpSettings, everywhere: &Arc<AtomicUsize>, is_alive: IsAlive<L>) -> Self {
        let here = Arc::default();
        let place = |_| {
            Arc::new(ThreadConnections {
                idle: Mutex::default(),
                is_alive,
                timeout: settings.idle_connection_timeout,
                here: Arc::clone(&here),
                max_here: settings.max_idle_connections_per_host,
                everywhere: Arc::clone(everywhere),
                max_everywhere: settings.max_idle_connections.unwrap_or(usize::MAX),
                watched: AtomicBool::new(false),
            })
        };
        let is_bounded = settings.max_connections_per_host.is_some();
        Self { places: (0..thread_count()).map(place).collect(), is_bounded }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.iter().map(|place| place.lock().len()).sum()
    }

    /// One that was used at most that long ago, where that matters. Where the number of connections is
    /// bounded, one that is too old for it makes room for a new one.
    pub(super) fn take(&self, used_within: Option<Duration>) -> Option<L> {
        let others = self.is_bounded || self.places[0].is_full();
        let places = if others { self.places.len() } else { 1 };
        // From the own place on, around.
        let mut places = self.places.iter().cycle().skip(thread_index()).take(places);
        places.find_map(|place| place.take(used_within, self.is_bounded))
    }

    /// Keeps `connection`, which was made at the place `home` and used until `since`, if it may be kept.
    pub(super) fn put(&self, connection: L, home: usize, since: Instant) {
        ThreadConnections::put(&self.places[home], connection, since);
    }
}

impl<L: Send + 'static> ThreadConnections<L> {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle<L>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, used_within: Option<Duration>, makes_room: bool) -> Option<L> {
        let used_within = used_within.unwrap_or(self.timeout);
        let now = Instant::now();
        let age = |kept: &Idle<L>| now.saturating_duration_since(kept.since);
        let is_young = |kept: &Idle<L>| age(kept) < used_within.min(self.timeout);
        loop {
            // The last one is the youngest.
            let ends = |kept: &mut Idle<L>| makes_room || is_young(kept) || age(kept) >= self.timeout;
            let kept = self.lock().pop_if(ends)?;
            self.less(1);
            if is_young(&kept) {
                return Some(kept.connection);
            }
            if makes_room && age(&kept) < self.timeout {
                return None;
            }
        }
    }

    fn put(place: &Arc<Self>, connection: L, since: Instant) {
        if !place.has_room() {
            return;
        }
        place.lock().push(Idle { connection, since });
        if place.watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let place = Arc::downgrade(place);
        tokio::spawn(async move {
            loop {
                let Some(place) = place.upgrade() else { return };
                // All of them are looked at, however many there are.
                if unconstrained(async { place.sweep() }).await {
                    return;
                }
                let pause = (place.timeout / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
                drop(place);
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Closes what has been idle for too long, and what its backend has closed. True where
    /// nothing is left to watch.
    fn sweep(&self) -> bool {
        let mut idle = self.lock();
        let before = idle.len();
        idle.retain_mut(|kept| kept.since.elapsed() < self.timeout && (self.is_alive)(&mut kept.connection));
        self.less(before - idle.len());
        if idle.is_empty() {
            self.watched.store(false, Ordering::Relaxed);
        }
        idle.is_empty()
    }
}

impl<L> ThreadConnections<L> {
    fn bounds(&self) -> [(&AtomicUsize, usize); 2] {
        [(&self.here, self.max_here), (&self.everywhere, self.max_everywhere)]
    }

    fn is_full(&self) -> bool {
        self.bounds().iter().any(|(count, most)| count.load(Ordering::Relaxed) >= *most)
    }

    /// Counts one more, where it is within both bounds.
    fn has_room(&self) -> bool {
        let has_room = self.bounds().map(|(count, most)| count.fetch_add(1, Ordering::Relaxed) < most);
        if has_room == [true; 2] {
            return true;
        }
        self.less(1);
        false
    }

    /// Counts so many fewer.
    fn less(&self, count: usize) {
        self.here.fetch_sub(count, Ordering::Relaxed);
        self.everywhere.fetch_sub(count, Ordering::Relaxed);
    }
}

impl<L> Drop for ThreadConnections<L> {
    fn drop(&mut self) {
        let left = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).len();
        self.less(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that is alive as long as its number is even.
    type TestConnection = Arc<AtomicUsize>;

    fn pools(max_idle: usize, bound: Option<usize>, everywhere: &Arc<AtomicUsize>) -> Pools<TestConnection> {
        let settings = HttpSettings {
            max_connections_per_host: bound,
            idle_connection_timeout: Duration::from_millis(200),
            ..HttpSettings::plain(max_idle)
        };
        Pools::new(&settings, everywhere, |connection| connection.load(Ordering::Relaxed).is_multiple_of(2))
    }

    fn connection(number: usize) -> TestConnection {
        Arc::new(AtomicUsize::new(number))
    }

    fn taken(pools: &Pools<TestConnection>, used_within: Option<Duration>) -> Option<usize> {
        pools.take(used_within).map(|connection| connection.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn the_own_ones_first_and_anothers_only_at_a_bound() {
        let everywhere = Arc::default();
        let other = thread_count() - 1;
        let free = pools(3, None, &everywhere);
        free.put(connection(2), other, Instant::now());
        free.put(connection(4), 0, Instant::now());
        free.put(connection(6), 0, Instant::now());
        // No further one could be kept: before one is made, another's is taken.
        assert_eq!([(); 4].map(|()| taken(&free, None)), [Some(6), Some(4), None, None]);
        let full = pools(1, None, &everywhere);
        full.put(connection(2), other, Instant::now());
        assert_eq!(taken(&full, None), Some(2));
        let bounded = pools(9, Some(9), &everywhere);
        bounded.put(connection(2), other, Instant::now());
        assert_eq!(taken(&bounded, None), Some(2));
    }

    #[tokio::test]
    async fn what_is_kept_is_counted_until_it_goes() {
        let everywhere = Arc::new(AtomicUsize::new(0));
        let count = || everywhere.load(Ordering::Relaxed);
        let first = pools(2, None, &everywhere);
        let lost = connection(2);
        first.put(Arc::clone(&lost), 0, Instant::now());
        for number in [4, 6, 8] {
            first.put(connection(number), 0, Instant::now());
        }
        assert_eq!((first.len(), count()), (2, 2), "the others are beyond the bound");
        let second = pools(2, None, &everywhere);
        second.put(connection(2), 0, Instant::now());
        assert_eq!(count(), 3);
        drop(second);
        assert_eq!(count(), 2);
        // Whoever closes one is not waited for.
        lost.store(1, Ordering::Relaxed);
        first.places[0].sweep();
        assert_eq!((first.len(), count()), (1, 1));
        while count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((first.len(), taken(&first, None)), (0, None), "too old");
        first.put(connection(2), 0, Instant::now());
        while count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_is_too_old_for_a_password_makes_room_where_connections_are_bounded() {
        let everywhere = Arc::default();
        for (bound, left) in [(None, 1), (Some(1), 0)] {
            let pools = pools(2, bound, &everywhere);
            pools.put(connection(2), 0, Instant::now());
            assert_eq!(taken(&pools, Some(Duration::ZERO)), None);
            assert_eq!(pools.len(), left, "{bound:?}");
        }
    }
}
