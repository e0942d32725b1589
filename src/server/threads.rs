//! The threads that serve connections: one for each processor, each with a runtime and a poller of its own,
//! as in nginx and HAProxy. A connection stays on its thread, so its events wake no other thread. The first ones
//! accept connections, too.
//!
//! Everything else (reloads, metrics, tokens) has threads of its own.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

use crate::http::{set_thread_index, thread_count, thread_index};
use crate::observe::count_guard::CountGuard;

/// How many threads accept at a listener: a new connection wakes all of them that wait.
const ACCEPTING: usize = 4;

/// A connection stays on the thread that has accepted it if no other one has so many fewer: another one would have to
/// be woken.
const UNEVEN: usize = 1;

/// Lets the ready tasks of this thread run first. Replies are then sent in a row, and their reader wakes up
/// once. Unlike tokio's `yield_now` it does not poll for further events.
pub(crate) async fn yield_to_others() {
    let mut is_last = false;
    poll_fn(|cx| {
        if is_last {
            return Poll::Ready(());
        }
        is_last = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The threads. They live as long as the process.
#[derive(Debug, Clone)]
pub(crate) struct Threads(Arc<[Thread]>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Thread {
    index: usize,
    runtime: Handle,
    busy: Arc<AtomicUsize>,
}

impl Threads {
    pub(crate) fn start() -> io::Result<Self> {
        (1..thread_count()).map(Thread::start).collect::<io::Result<_>>().map(Self)
    }

    /// The runtimes of those that accept connections.
    pub(crate) fn accepting(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().take(ACCEPTING).map(|thread| &thread.runtime)
    }

    /// The thread for one more task: this one, unless another one has fewer.
    pub(crate) fn for_one_more(&self) -> Option<&Thread> {
        let least = self.0.iter().min_by_key(|thread| thread.busy())?;
        let this = self.0.iter().find(|thread| thread.is_this());
        Some(this.filter(|this| this.busy() < least.busy() + UNEVEN).unwrap_or(least))
    }

    /// Returns when every thread has run a task; never if one is stuck.
    pub(crate) async fn turn(&self) {
        for thread in &*self.0 {
            if thread.runtime.spawn(async {}).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Thread {
    /// Whether it runs this.
    pub(crate) fn is_this(&self) -> bool {
        self.index == thread_index()
    }

    /// Runs the future of `begin`. The handle aborts it.
    pub(crate) fn spawn<F>(&self, begin: impl FnOnce() -> F + Send + 'static) -> AbortHandle
    where
        F: Future<Output = ()> + Send,
    {
        let task = CountGuard::new(&self.busy);
        let task = self.runtime.spawn(async move {
            let _task = task;
            begin().await;
        });
        task.abort_handle()
    }

    /// The number of its tasks.
    fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn start(index: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (started, starting) = mpsc::channel();
        thread::Builder::new().name(format!("connections-{index}")).spawn(move || {
            set_thread_index(index);
            let _ = started.send(());
            runtime.block_on(std::future::pending::<()>());
        })?;
        starting.recv().map_err(io::Error::other)?;
        Ok(Self { index, runtime: handle, busy: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::thread_index;
    use tokio::sync::oneshot;

    fn for_one_more(threads: &Threads) -> &Thread {
        threads.for_one_more().expect("a thread")
    }

    #[tokio::test]
    async fn tasks_are_spread_and_stay() {
        let threads = Threads::start().expect("threads");
        let mut seen = Vec::new();
        let mut held = Vec::new();
        for _ in 0..2 * (thread_count() - 1) {
            let (tell, told) = oneshot::channel();
            let (hold, holding) = oneshot::channel::<()>();
            for_one_more(&threads).spawn(|| async move {
                let before = thread_index();
                tokio::task::yield_now().await;
                let _ = tell.send((before, thread_index()));
                let _ = holding.await;
            });
            let (before, after) = told.await.expect("it runs");
            assert_eq!(before, after);
            seen.push(before);
            held.push(hold);
        }
        seen.sort_unstable();
        let due: Vec<_> = (1..thread_count()).flat_map(|index| [index, index]).collect();
        assert_eq!((seen, thread_index()), (due, 0));
        threads.turn().await;
    }

    #[tokio::test]
    async fn a_task_stays_where_it_was_made_unless_another_thread_has_fewer() {
        let threads = Threads::start().expect("threads");
        let [first, ..] = &*threads.0 else { panic!("no threads") };
        let (others, (tell, mut told)) = (threads.clone(), tokio::sync::mpsc::unbounded_channel());
        let held = Arc::new(tokio::sync::Semaphore::new(0));
        let holding = Arc::clone(&held);
        first.spawn(move || async move {
            // This task counts for the first thread.
            for _ in 0..2 * others.0.len() {
                let thread = others.for_one_more().expect("a thread");
                let holding = Arc::clone(&holding);
                thread.spawn(move || async move {
                    let _ = holding.acquire().await;
                });
                let _ = tell.send(thread.index);
            }
        });
        let mut seen = Vec::new();
        while let Some(index) = told.recv().await {
            seen.push(index);
        }
        // The others have one each by then.
        let place = thread_count() - 2;
        let due: Vec<_> = (2..thread_count()).collect();
        assert_eq!((&seen[..place], seen[place]), (&due[..], 1), "a tie is its own");
        held.close();
    }

    #[tokio::test]
    async fn what_is_ready_goes_first() {
        let seen = std::sync::Mutex::new(Vec::new());
        let note = |what| seen.lock().expect("not poisoned").push(what);
        let polite = async {
            note("read");
            yield_to_others().await;
            note("sent");
        };
        tokio::join!(polite, async { note("read by another") });
        assert_eq!(*seen.lock().expect("not poisoned"), ["read", "read by another", "sent"]);
    }

    #[tokio::test]
    async fn tasks_that_have_ended_count_no_more() {
        let threads = Threads::start().expect("threads");
        for _ in 0..10 * (thread_count() - 1) {
            let (tell, told) = oneshot::channel();
            for_one_more(&threads).spawn(|| async move {
                let _ = tell.send(());
            });
            told.await.expect("it runs");
        }
        // Each of them is behind the end of what it was doing.
        threads.turn().await;
        assert!(threads.0.iter().all(|thread| thread.busy.load(Ordering::Relaxed) == 0));
    }

    #[tokio::test]
    async fn a_thread_that_is_stuck_does_not_turn() {
        let threads = Threads::start().expect("threads");
        let (release, held) = mpsc::channel::<()>();
        let (tell, told) = oneshot::channel();
        for_one_more(&threads).spawn(move || async move {
            let _ = tell.send(());
            let _ = held.recv();
        });
        told.await.expect("it runs");
        let mut turn = std::pin::pin!(threads.turn());
        let patience = std::time::Duration::from_millis(200);
        assert!(tokio::time::timeout(patience, turn.as_mut()).await.is_err(), "it is stuck");
        drop(release);
        turn.await;
    }
}
