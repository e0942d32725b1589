//! Idle connections to one origin. Each is kept by the thread (`server::threads`) that made it, because its
//! bytes wake that thread.
//!
//! A request takes the connection of its own thread that was used last: the API is least likely to have
//! closed it. It takes another thread's if the number of connections is limited, or if no further one could
//! be kept. Idle connections are not polled: whether the API has closed one is checked when it is used, and
//! by a sweep at least every 5 s.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;

use super::HttpSettings;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The index of this thread: from 1 on for those of `server::threads`, 0 for all others.
#[must_use]
pub fn thread_index() -> usize {
    INDEX.get()
}

/// Gives this thread its index.
pub fn set_thread_index(index: usize) {
    INDEX.set(index);
}

/// How many indices there are: one for each processor, and 0.
#[must_use]
pub fn thread_count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    1 + *COUNT.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

type IsAlive<L> = fn(&mut L) -> bool;

#[derive(Debug)]
pub(super) struct Pools<L> {
    threads: Box<[Arc<ThreadConnections<L>>]>,
    /// `max_connections_per_host` is set: a thread takes another thread's before it makes a new one.
    is_limited: bool,
}

/// Those of one thread.
#[derive(Debug)]
struct ThreadConnections<L> {
    idle: Mutex<Vec<Idle<L>>>,
    is_alive: IsAlive<L>,
    timeout: Duration,
    /// Those of all threads, and their limit.
    here: Arc<AtomicUsize>,
    max_here: usize,
    /// Those to all origins, and their limit.
    everywhere: Arc<AtomicUsize>,
    max_everywhere: usize,
    /// Whether a task sweeps them.
    swept: AtomicBool,
}

#[derive(Debug)]
struct Idle<L> {
    connection: L,
    since: Instant,
}

impl<L: Send + 'static> Pools<L> {
    /// An empty pool; `everywhere` counts the idle connections to all origins.
    pub(super) fn new(settings: &HttpSettings, everywhere: &Arc<AtomicUsize>, is_alive: IsAlive<L>) -> Self {
        let here = Arc::default();
        let thread = |_| {
            Arc::new(ThreadConnections {
                idle: Mutex::default(),
                is_alive,
                timeout: settings.idle_connection_timeout,
                here: Arc::clone(&here),
                max_here: settings.max_idle_connections_per_host,
                everywhere: Arc::clone(everywhere),
                max_everywhere: settings.max_idle_connections.unwrap_or(usize::MAX),
                swept: AtomicBool::new(false),
            })
        };
        let is_limited = settings.max_connections_per_host.is_some();
        Self { threads: (0..thread_count()).map(thread).collect(), is_limited }
    }

    pub(super) fn len(&self) -> usize {
        self.threads.iter().map(|thread| thread.lock().len()).sum()
    }

    /// Takes one that was used within `used_within`. If the number of connections is limited, one that is too
    /// old is closed, so that a new one can be made.
    pub(super) fn take(&self, used_within: Option<Duration>) -> Option<L> {
        let others = self.is_limited || self.threads[0].is_full();
        let threads = if others { self.threads.len() } else { 1 };
        // The own thread first.
        let mut threads = self.threads.iter().cycle().skip(thread_index()).take(threads);
        threads.find_map(|thread| thread.take(used_within, self.is_limited))
    }

    /// Keeps `connection`, which the thread `home` made and which was used until `since`, if the limits allow it.
    pub(super) fn put(&self, connection: L, home: usize, since: Instant) {
        ThreadConnections::put(&self.threads[home], connection, since);
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
            // The last one was used last.
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

    fn put(thread: &Arc<Self>, connection: L, since: Instant) {
        if !thread.has_room() {
            return;
        }
        thread.lock().push(Idle { connection, since });
        if thread.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let thread = Arc::downgrade(thread);
        tokio::spawn(async move {
            loop {
                let Some(thread) = thread.upgrade() else { return };
                // A sweep is not interrupted by the task's budget.
                if unconstrained(async { thread.sweep() }).await {
                    return;
                }
                let pause = (thread.timeout / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
                drop(thread);
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Closes connections that were idle for too long, and those that the API has closed. True if none is
    /// left.
    fn sweep(&self) -> bool {
        let mut idle = self.lock();
        let before = idle.len();
        idle.retain_mut(|kept| kept.since.elapsed() < self.timeout && (self.is_alive)(&mut kept.connection));
        self.less(before - idle.len());
        if idle.is_empty() {
            self.swept.store(false, Ordering::Relaxed);
        }
        idle.is_empty()
    }
}

impl<L> ThreadConnections<L> {
    fn limits(&self) -> [(&AtomicUsize, usize); 2] {
        [(&self.here, self.max_here), (&self.everywhere, self.max_everywhere)]
    }

    fn is_full(&self) -> bool {
        self.limits().iter().any(|(count, most)| count.load(Ordering::Relaxed) >= *most)
    }

    /// Counts one more, if both limits allow it.
    fn has_room(&self) -> bool {
        let has_room = self.limits().map(|(count, most)| count.fetch_add(1, Ordering::Relaxed) < most);
        if has_room == [true; 2] {
            return true;
        }
        self.less(1);
        false
    }

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
        // No further one could be kept: another thread's is taken.
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
        assert_eq!((first.len(), count()), (2, 2), "the others are over the limit");
        let second = pools(2, None, &everywhere);
        second.put(connection(2), 0, Instant::now());
        assert_eq!(count(), 3);
        drop(second);
        assert_eq!(count(), 2);
        lost.store(1, Ordering::Relaxed);
        first.threads[0].sweep();
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
