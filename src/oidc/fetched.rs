//! A value that is fetched from a provider, and shared.
//!
//! One task fetches it, and requests wait for it until their own deadlines; the fetch continues if they leave.
//! Shortly before it is no longer fresh it is renewed in the background. If it cannot be renewed, the old value
//! is used until it expires. A fetch takes at most 8 s. After a failure there is no fetch for 1 s: without an
//! old value, requests fail at once meanwhile. No lock is held while a request waits.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::Deadline;

/// The longest that a fetch may take.
const FETCH: Duration = Duration::from_secs(8);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// The wait for a fetch if there is an old value.
const PATIENCE: Duration = Duration::from_secs(1);
/// The interval in which a fresh value that is refused may be replaced.
const REPLACE: Duration = Duration::from_secs(10);

/// The deadline of a fetch that begins now.
pub(super) fn limit() -> Deadline {
    Deadline::from(Instant::now().into_std(), FETCH)
}

/// A value and its times.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) value: Arc<T>,
    /// From then on it is renewed in the background.
    pub(super) renew: Instant,
    /// From then on requests wait for a new one.
    pub(super) fresh: Instant,
    /// From then on it is not used.
    pub(super) ends: Instant,
}

pub(super) struct Fetched<T>(Arc<FetchedInner<T>>);

struct FetchedInner<T> {
    state: Mutex<FetchState<T>>,
    fetch: Fetch<T>,
}

/// `None`: it failed, and logged the reason.
type Fetch<T> = Box<dyn Fn() -> BoxFuture<'static, Option<Kept<T>>> + Send + Sync>;

struct FetchState<T> {
    kept: Option<Kept<T>>,
    /// The time at which its fetch began.
    since: Option<Instant>,
    running: Option<FetchInProgress<T>>,
    failed: Option<Instant>,
    replaced: Option<Instant>,
}

struct FetchInProgress<T> {
    began: Instant,
    result: Shared<oneshot::Receiver<Option<Arc<T>>>>,
}

/// The result of [`Fetched::newer`].
pub(super) enum Newer<T> {
    /// A value that was fetched after the one in question.
    Another(Arc<T>),
    /// A value was replaced a moment ago.
    TooSoon,
    Failed,
}

impl<T: Send + Sync + 'static> Fetched<T> {
    pub(super) fn new<F>(fetch: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Kept<T>>> + Send + 'static,
    {
        let state = FetchState { kept: None, since: None, running: None, failed: None, replaced: None };
        Self(Arc::new(FetchedInner { state: Mutex::new(state), fetch: Box::new(move || fetch().boxed()) }))
    }

    /// The value; `None` if there is none before `deadline`.
    pub(super) async fn get(&self, deadline: Deadline) -> Option<Arc<T>> {
        let (old, running) = {
            let mut state = self.0.lock();
            let now = Instant::now();
            let mut old = None;
            if let Some(kept) = state.kept.as_ref().filter(|kept| now < kept.ends) {
                let value = Arc::clone(&kept.value);
                if now < kept.fresh {
                    if now >= kept.renew {
                        self.join(&mut state);
                    }
                    return Some(value);
                }
                old = Some(value);
            }
            (old, self.join(&mut state))
        };
        let Some(running) = running else { return old };
        let deadline = Instant::from_std(deadline.instant());
        let until = if old.is_some() { deadline.min(running.began + PATIENCE) } else { deadline };
        match timeout_at(until, running.result).await {
            Ok(Ok(Some(value))) => Some(value),
            _ => old,
        }
    }

    /// The time until the value expires; `None` if there is none.
    pub(super) fn life(&self) -> Option<Duration> {
        let now = Instant::now();
        self.0.lock().kept.as_ref().filter(|kept| now < kept.ends).map(|kept| kept.ends - now)
    }

    /// Whether `seen` is the value, and was fetched so recently that another would hardly differ.
    pub(super) fn is_recent(&self, seen: &Arc<T>) -> bool {
        let state = self.0.lock();
        let is_it = state.kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.value, seen));
        is_it && state.since.is_some_and(|then| Instant::now() < then + REPLACE)
    }

    /// Another value than `seen`, which was refused: a newer one if there is one, otherwise it is fetched.
    pub(super) async fn newer(&self, seen: &Arc<T>, deadline: Deadline) -> Newer<T> {
        let running = {
            let mut state = self.0.lock();
            let now = Instant::now();
            if let Some(kept) = &state.kept
                && now < kept.ends
                && !Arc::ptr_eq(&kept.value, seen)
            {
                return Newer::Another(Arc::clone(&kept.value));
            }
            if state.running.is_none() {
                if state.replaced.is_some_and(|then| now < then + REPLACE) {
                    return Newer::TooSoon;
                }
                state.replaced = Some(now);
            }
            self.join(&mut state)
        };
        let Some(running) = running else { return Newer::Failed };
        match timeout_at(deadline.instant().into(), running.result).await {
            Ok(Ok(Some(value))) => Newer::Another(value),
            _ => Newer::Failed,
        }
    }

    /// The fetch in progress, or a new one; `None` during the pause after a failure.
    fn join(&self, state: &mut FetchState<T>) -> Option<FetchInProgress<T>> {
        if let Some(running) = &state.running {
            return Some(running.clone());
        }
        let began = Instant::now();
        if state.failed.is_some_and(|failed| began < failed + PAUSE) {
            return None;
        }
        let (send, result) = oneshot::channel();
        let running = FetchInProgress { began, result: result.shared() };
        state.running = Some(running.clone());
        let mut fetching = Fetching { inner: Arc::clone(&self.0), began, outcome: None, send: Some(send) };
        tokio::spawn(async move {
            let fetch = (fetching.inner.fetch)();
            fetching.outcome = timeout(FETCH, fetch).await.ok().flatten();
            drop(fetching);
        });
        Some(running)
    }
}

impl<T> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").finish_non_exhaustive()
    }
}

impl<T> Clone for FetchInProgress<T> {
    fn clone(&self) -> Self {
        Self { began: self.began, result: self.result.clone() }
    }
}

impl<T> FetchedInner<T> {
    fn lock(&self) -> MutexGuard<'_, FetchState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped when a fetch ends, also when it panics: then the next one may begin.
struct Fetching<T> {
    inner: Arc<FetchedInner<T>>,
    began: Instant,
    outcome: Option<Kept<T>>,
    send: Option<oneshot::Sender<Option<Arc<T>>>>,
}

impl<T> Drop for Fetching<T> {
    fn drop(&mut self) {
        let value = self.outcome.as_ref().map(|kept| Arc::clone(&kept.value));
        let mut state = self.inner.lock();
        state.running = None;
        match self.outcome.take() {
            Some(kept) => {
                state.kept = Some(kept);
                state.since = Some(self.began);
                state.failed = None;
            }
            None => state.failed = Some(Instant::now()),
        }
        drop(state);
        if let Some(send) = self.send.take() {
            // No request may be waiting.
            let _ = send.send(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::time::{advance, sleep};

    fn in_time() -> Deadline {
        Deadline::from(Instant::now().into_std(), Duration::from_secs(60))
    }

    /// Counts; fresh for 10 s, renewed after 8 s, good for 100 s. Fails as long as `down`.
    struct Source {
        cell: Fetched<u64>,
        fetched: Arc<AtomicU64>,
        down: Arc<Mutex<bool>>,
    }

    fn source(takes: Duration) -> Source {
        let (fetched, down) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(false)));
        let (count, is_down) = (Arc::clone(&fetched), Arc::clone(&down));
        let cell = Fetched::new(move || {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let is_down = *is_down.lock().expect("no test panics with it");
            async move {
                sleep(takes).await;
                let now = Instant::now();
                let [renew, fresh, ends] = [8, 10, 100].map(|seconds| now + Duration::from_secs(seconds));
                (!is_down).then(|| Kept { value: Arc::new(number), renew, fresh, ends })
            }
        });
        Source { cell, fetched, down }
    }

    impl Source {
        async fn get(&self) -> Option<u64> {
            self.cell.get(in_time()).await.map(|value| *value)
        }

        fn count(&self) -> u64 {
            self.fetched.load(Ordering::Relaxed)
        }

        fn set_down(&self, down: bool) {
            *self.down.lock().expect("no test panics with it") = down;
        }
    }

    const MOMENT: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn a_thousand_wait_for_one_fetch() {
        let source = Arc::new(source(MOMENT));
        let all: Vec<_> = (0..1000)
            .map(|_| {
                let source = Arc::clone(&source);
                tokio::spawn(async move { source.get().await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.expect("no panic"), Some(1));
        }
        assert_eq!(source.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_behind_the_back_of_those_who_ask() {
        let source = source(MOMENT);
        assert_eq!(source.get().await, Some(1));
        advance(Duration::from_secs(9)).await;
        let asked = Instant::now();
        assert_eq!(source.get().await, Some(1));
        assert_eq!(asked.elapsed(), Duration::ZERO);
        sleep(2 * MOMENT).await;
        assert_eq!((source.get().await, source.count()), (Some(2), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_one_serves_while_there_is_no_other() {
        let source = source(MOMENT);
        assert_eq!(source.get().await, Some(1));
        source.set_down(true);
        advance(Duration::from_secs(20)).await;
        assert_eq!((source.get().await, source.count()), (Some(1), 2));
        assert_eq!((source.get().await, source.count()), (Some(1), 2), "not again so soon");
        advance(Duration::from_secs(81)).await;
        assert_eq!((source.get().await, source.count()), (None, 3), "it has ended");
        assert_eq!((source.get().await, source.count()), (None, 3), "not again so soon");
        source.set_down(false);
        advance(PAUSE).await;
        assert_eq!(source.get().await, Some(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_has_ended_at_its_end() {
        let source = source(Duration::ZERO);
        assert_eq!(source.cell.life(), None);
        let first = source.cell.get(in_time()).await.expect("a value");
        assert_eq!(source.cell.life(), Some(Duration::from_secs(100)));
        advance(REPLACE - Duration::from_nanos(1)).await;
        assert!(source.cell.is_recent(&first));
        advance(Duration::from_nanos(1)).await;
        assert!(!source.cell.is_recent(&first));
        source.set_down(true);
        advance(Duration::from_secs(90) - Duration::from_nanos(1)).await;
        assert_eq!(source.cell.life(), Some(Duration::from_nanos(1)));
        advance(Duration::from_nanos(1)).await;
        assert_eq!((source.cell.life(), source.get().await), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_costs_little_while_an_old_value_is_there() {
        let hanging = silent();
        let asked = Instant::now();
        assert_eq!(hanging.get(in_time()).await.map(|value| *value), Some(7));
        assert_eq!(asked.elapsed(), PATIENCE);
        assert_eq!(hanging.get(in_time()).await.map(|value| *value), Some(7));
        assert_eq!(asked.elapsed(), PATIENCE, "the second one does not wait");
    }

    /// Holds 7, no longer fresh, and never gets anything else.
    fn silent() -> Fetched<u64> {
        let cell = Fetched::new(std::future::pending);
        let now = Instant::now();
        let ends = now + Duration::from_secs(100);
        cell.0.lock().kept = Some(Kept { value: Arc::new(7), renew: now, fresh: now, ends });
        cell
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_deadline_and_leaving_loses_nothing() {
        let source = source(Duration::from_secs(3));
        let deadline = Deadline::from(Instant::now().into_std(), Duration::from_secs(1));
        let asked = Instant::now();
        assert_eq!(source.cell.get(deadline).await, None);
        assert_eq!(asked.elapsed(), Duration::from_secs(1));
        sleep(Duration::from_secs(3)).await;
        assert_eq!((source.get().await, source.count()), (Some(1), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_ends_in_time_and_the_next_may_begin() {
        let source = source(Duration::from_secs(9));
        let asked = Instant::now();
        assert_eq!(source.get().await, None);
        assert_eq!(asked.elapsed(), FETCH);
        sleep(PAUSE).await;
        assert_eq!((source.get().await, source.count()), (None, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_good_is_replaced_once_in_ten_seconds() {
        let source = source(MOMENT);
        let first = source.cell.get(in_time()).await.expect("a value");
        let (one, other) =
            tokio::join!(source.cell.newer(&first, in_time()), source.cell.newer(&first, in_time()),);
        let (Newer::Another(one), Newer::Another(other)) = (one, other) else { panic!("two values") };
        assert_eq!((*one, *other, source.count()), (2, 2, 2));
        assert!(matches!(source.cell.newer(&first, in_time()).await, Newer::Another(new) if *new == 2));
        assert!(matches!(source.cell.newer(&one, in_time()).await, Newer::TooSoon));
        assert!(source.cell.is_recent(&one) && !source.cell.is_recent(&first));
        advance(REPLACE).await;
        assert!(!source.cell.is_recent(&one));
        assert!(matches!(source.cell.newer(&one, in_time()).await, Newer::Another(new) if *new == 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_times_of_a_replacement_are_exact() {
        const NANOSECOND: Duration = Duration::from_nanos(1);
        let source = source(MOMENT);
        let first = source.cell.get(in_time()).await.expect("a value");
        let asked = Instant::now();
        let Newer::Another(second) = source.cell.newer(&first, in_time()).await else { panic!("no value") };
        let came = Instant::now();
        advance(REPLACE - asked.elapsed() - NANOSECOND).await;
        assert!(matches!(source.cell.newer(&second, in_time()).await, Newer::TooSoon));
        // Until its end the second one is newer than another.
        advance(Duration::from_secs(100) - came.elapsed() - NANOSECOND).await;
        assert!(matches!(source.cell.newer(&first, in_time()).await, Newer::Another(new) if *new == 2));
        advance(NANOSECOND).await;
        let asked = Instant::now();
        let Newer::Another(third) = source.cell.newer(&first, in_time()).await else { panic!("no value") };
        assert_eq!(*third, 3);
        advance(REPLACE - asked.elapsed()).await;
        assert!(matches!(source.cell.newer(&third, in_time()).await, Newer::Another(new) if *new == 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_panics_is_one_that_failed() {
        let cell: Fetched<u64> = Fetched::new(|| async { panic!("a bug") });
        assert_eq!(cell.get(in_time()).await, None);
        sleep(PAUSE).await;
        assert_eq!(cell.get(in_time()).await, None);
        assert!(cell.0.lock().running.is_none());
    }
}
