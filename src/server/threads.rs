//! The threads that serve connections: one for each processor, each with a runtime and a poller of its own,
//! as in nginx and HAProxy. A connection stays on its thread, so its events wake no other thread.
//!
//! Everything else (accepting, reloads, metrics, tokens) has threads of its own.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

use crate::http::{set_thread_index, thread_count};
use crate::observe::count_guard::CountGuard;

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

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    busy: Arc<AtomicUsize>,
}

impl Threads {
    pub(crate) fn start() -> io::Result<Self> {
        (1..thread_count()).map(Thread::start).collect::<io::Result<_>>().map(Self)
    }

    /// Runs the future of `begin` on the thread with the fewest tasks. The handle aborts it.
    pub(crate) fn spawn<F>(&self, begin: impl FnOnce() -> F + Send + 'static) -> Option<AbortHandle>
    where
        F: Future<Output = ()> + Send,
    {
        let thread = self.0.iter().min_by_key(|thread| thread.busy.load(Ordering::Relaxed))?;
        let task = CountGuard::new(&thread.busy);
        let task = thread.runtime.spawn(async move {
            let _task = task;
            begin().await;
        });
        Some(task.abort_handle())
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
        Ok(Self { runtime: handle, busy: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::thread_index;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn tasks_are_spread_and_stay() {
        let threads = Threads::start().expect("threads");
        let mut seen = Vec::new();
        let mut held = Vec::new();
        for _ in 0..2 * (thread_count() - 1) {
            let (tell, told) = oneshot::channel();
            let (hold, holding) = oneshot::channel::<()>();
            threads.spawn(|| async move {
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
            threads.spawn(|| async move {
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
        threads.spawn(move || async move {
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
