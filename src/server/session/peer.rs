//! I/O with the peer of a connection: reads and writes with time limits, and detects that it hung up.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant as Clock;

use super::IDLE_MAP;
use crate::http::timer::Timer;

const WRITE: Duration = Duration::from_secs(30);
/// The grace period after SIGTERM: for the rest of a request, and for a reply to be read.
const GRACE: Duration = Duration::from_secs(2);
/// How often a connection is checked if reading cannot show that the peer hung up.
const LOOK: Duration = Duration::from_millis(250);
/// How much is read after a request while it is answered, to detect that the peer hung up.
const READ_AHEAD: usize = 4096;
/// The largest buffer that an idle connection keeps: a request to a map fits.
const IDLE_BUFFER: usize = 128;
/// The size of a read: a policy request of Postfix fits.
const READ: usize = 4096;

/// The timer and the stop signal of a connection, set up once, so that a lookup needs no new timer and no new
/// waiter. They wake the task that has polled them first, which serves the connection until its end.
pub(super) struct Waits {
    patience: Timer,
    stop: StopSignal,
}

/// The wait until the broker begins to stop.
struct StopSignal {
    draining: Draining,
    begun: Pin<Box<dyn Future<Output = Instant> + Send>>,
    is_awaited: bool,
    /// When it did.
    since: Option<Instant>,
}

impl Waits {
    pub(super) fn new(draining: &Draining) -> Self {
        let (draining, mut awaited) = (draining.clone(), draining.clone());
        let begun = Box::pin(async move { awaited.begun().await });
        let stop = StopSignal { draining, begun, is_awaited: false, since: None };
        Self { patience: Timer::new(Clock::now().into_std() + IDLE_MAP), stop }
    }
}

impl StopSignal {
    /// Returns when no more is read: at once on an idle connection, at the end of the grace period within a
    /// request.
    async fn reached(&mut self, within_request: bool) {
        let since = match self.since {
            Some(since) => since,
            None => {
                let since = poll_fn(|cx| self.poll(cx)).await;
                *self.since.insert(since)
            }
        };
        if within_request {
            // Boxed: it is rare, and an idle connection would be larger by it.
            Box::pin(tokio::time::sleep_until((since + GRACE).into())).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        // One look instead of a place in the list of those that wait, where the connection is already.
        if self.is_awaited && !self.draining.has_changed() {
            return Poll::Pending;
        }
        self.is_awaited = true;
        self.begun.as_mut().poll(cx)
    }
}

/// Returns at `until`; never if it is `None`.
async fn ended(patience: &mut Timer, until: Option<Instant>) {
    match until {
        Some(until) => patience.wait(until).await,
        None => std::future::pending().await,
    }
}

/// Reads once, within `patience` since `since`; `None`: from now on. 0 bytes mean the end: of the stream, of the time
/// limit, or of the broker.
pub(super) async fn read<S>(
    stream: &mut S,
    received: &mut Vec<u8>,
    patience: Option<Duration>,
    since: Option<Instant>,
    waits: &mut Waits,
) -> io::Result<usize>
where
    S: AsyncRead + AsFd + Unpin,
{
    let begun = !received.is_empty();
    give_back(received);
    let until = patience.map(|limit| since.unwrap_or_else(|| Clock::now().into_std()) + limit);
    loop {
        if waits.stop.since.is_some_and(|since| since.elapsed() > GRACE) {
            return Ok(0);
        }
        tokio::select! {
            // Bytes that have arrived are read first,
            biased;
            count = read_some(stream, received) => return count,
            () = ended(&mut waits.patience, until) => return Ok(0),
            () = waits.stop.reached(begun) => {}
        }
        // also if the runtime has not seen them yet.
        if begun || !has(stream, PollFlags::IN) {
            return Ok(0);
        }
        tokio::task::yield_now().await;
    }
}

/// Gives the memory of a long request back, once that has been decoded.
pub(super) fn give_back(received: &mut Vec<u8>) {
    if received.is_empty() && received.capacity() > IDLE_BUFFER {
        *received = Vec::new();
    }
}

/// Reads once, through the stack: an idle connection has no buffer.
async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, received: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

pub(super) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    draining: &mut Draining,
) -> io::Result<()> {
    // Boxed where it is polled: a peer usually has room for a reply.
    let too_slow = async {
        Box::pin(async {
            tokio::select! {
                () = tokio::time::sleep(WRITE) => {}
                () = async { draining.begun().await; tokio::time::sleep(GRACE).await } => {}
            }
        })
        .await;
    };
    tokio::select! {
        biased;
        written = stream.write_all(bytes) => written,
        () = too_slow => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When the broker began to stop, once it has.
#[derive(Debug, Clone)]
pub(in crate::server) struct Draining(watch::Receiver<Option<Instant>>);

impl Draining {
    /// Follows `since`, which is set once.
    pub(in crate::server) fn new(since: watch::Receiver<Option<Instant>>) -> Self {
        Self(since)
    }

    /// Whether it may have begun since this was cloned from the first one.
    fn has_changed(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Returns when the broker begins to stop, or is gone.
    pub(in crate::server) async fn begun(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await {
            Ok(since) => since.unwrap_or_else(Instant::now),
            Err(_) => Instant::now(),
        }
    }

    /// Whether no more is read, however much a peer sends.
    pub(in crate::server) fn is_over(&self) -> bool {
        self.0.borrow().is_some_and(|since| since.elapsed() > GRACE)
    }
}

/// Returns when the peer has hung up. Bytes that arrive meanwhile belong to the next request.
pub(super) async fn hang_up<S: AsyncRead + AsFd + Unpin>(stream: &mut S, received: &mut Vec<u8>) {
    while received.len() < READ_AHEAD {
        match read_some(stream, received).await {
            Ok(0) if is_hung_up(stream) => return,
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    // After a half-close or READ_AHEAD bytes, reading cannot show it any more.
    hung_up(stream).await;
}

/// Returns when the peer has hung up, without reading.
pub(super) async fn hung_up(stream: &mut impl AsFd) {
    while !is_hung_up(stream) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether both directions are closed. A TCP peer that closed looks as if it half-closed.
fn is_hung_up(stream: &impl AsFd) -> bool {
    has(stream, PollFlags::HUP | PollFlags::ERR)
}

/// Whether poll(2) reports one of `events` now.
pub(in crate::server) fn has(socket: &impl AsFd, events: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), events)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(events)
}
