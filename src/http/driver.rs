//! Moves the bytes of one connection, as long as a request waits for its answer.
//!
//! hyper keeps the waker that polled a connection last, and wakes it for the next request. The task that sends
//! a request polls the connection anyway: it would be woken, and polled as a whole, for nothing. So hyper gets
//! a waker of the connection, which wakes no task between the end of an exchange and the first poll of the
//! next one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::Connection;

use super::broken::Broken;
use super::connector::Stream;
use super::socket::SocketFlags;
use super::timer::Timer;
use crate::model::Deadline;

#[derive(Debug)]
pub(super) struct Driver {
    /// `None` after its end, which returns a request that it had not begun to send.
    connection: Option<Connection<Stream, Full<Bytes>>>,
    flags: Arc<SocketFlags>,
    timer: Timer,
    /// Wakes `task`.
    waker: Waker,
    task: Arc<WaitingTask>,
}

/// The task that waits for the connection, if one does.
#[derive(Debug, Default)]
struct WaitingTask(AtomicWaker);

impl Wake for WaitingTask {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl Driver {
    /// `deadline` is that of the first exchange.
    pub(super) fn new(
        connection: Connection<Stream, Full<Bytes>>,
        flags: Arc<SocketFlags>,
        deadline: Deadline,
    ) -> Self {
        let (connection, timer) = (Some(connection), Timer::new(deadline.instant()));
        let task = Arc::new(WaitingTask::default());
        let waker = Waker::from(Arc::clone(&task));
        Self { connection, flags, timer, waker, task }
    }

    /// Begins an exchange, whose request is sent before [`Self::poll`]. With `looks`, bytes that came before
    /// it make it fail.
    pub(super) fn begin(&self, looks: bool) {
        self.flags.begin(looks);
        self.task.0.take();
    }

    /// Moves bytes until `poll` is ready, or no more bytes are there.
    pub(super) fn poll<T>(
        &mut self,
        deadline: Deadline,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Broken>>,
    ) -> Poll<Result<T, Broken>> {
        loop {
            self.task.0.register(cx.waker());
            let is_alive = self.drive();
            if let Poll::Ready(outcome) = poll(cx) {
                return Poll::Ready(outcome);
            }
            if !is_alive {
                return Poll::Ready(Err(Broken::ended()));
            }
            if !self.flags.waits() {
                let late = |()| Err(Broken::not_answered_in_time());
                return self.timer.poll(deadline.instant(), cx).map(late);
            }
        }
    }

    /// Moves bytes. False if the connection has ended.
    pub(super) fn drive(&mut self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        if self
            .connection
            .as_mut()
            .is_some_and(|connection| Pin::new(connection).poll(&mut context).is_ready())
        {
            self.connection = None;
        }
        self.connection.is_some()
    }
}
