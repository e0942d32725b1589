//! How a connection for calls fares: whether it takes calls, and how it broke.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::super::broken::{Broken, Stage};
use super::super::connector::Stream;
use super::super::reason::TlsKeys;
use super::call::Unsent;

/// How long after its last answer a connection takes calls. Whatever forgets connections in silence (a firewall, a
/// machine that starts anew) takes longer.
const KEPT: Duration = Duration::from_secs(10);

/// How a connection fares.
#[derive(Debug)]
pub(super) struct Life {
    /// When the peer was heard last; `None` if it did not answer in time.
    last: Mutex<Option<Instant>>,
    /// How it broke: h2 keeps no more of that than a text, or nothing.
    broken: OnceLock<Broken>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self { last: Mutex::new(Some(Instant::now())), broken: OnceLock::new() }
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self) {
        if let Some(last) = self.last().as_mut() {
            *last = Instant::now();
        }
    }

    /// A call that began at `began` has no answer. If another one got one since, the peer is there.
    pub(super) fn unanswered(&self, began: Instant) {
        self.last().take_if(|last| *last <= began);
    }

    /// When it takes no more calls.
    pub(super) fn end(&self) -> Option<Instant> {
        self.last().map(|last| last + KEPT).filter(|end| *end > Instant::now())
    }

    /// It broke by `error`.
    pub(super) fn broke(&self, error: &(dyn Error + 'static), keys: TlsKeys) {
        self.broken.get_or_init(|| Broken::in_exchange(error, keys));
    }

    /// How a call failed by `error`.
    pub(super) fn failure(&self, error: &(dyn Error + 'static), keys: TlsKeys) -> Broken {
        let unsent = error.downcast_ref::<Unsent>();
        let told = unsent
            .map_or_else(|| Broken::in_exchange(error, keys), |Unsent(error)| Broken::unsent(error, keys));
        match self.broken.get() {
            Some(broken) if unsent.is_some() => Broken { stage: Stage::Unsent, ..broken.clone() },
            Some(broken) => broken.clone(),
            None => told,
        }
    }
}

/// The bytes of a connection, whose first error is kept.
pub(super) struct Watched {
    stream: Stream,
    life: Arc<Life>,
    keys: TlsKeys,
}

impl Watched {
    pub(super) fn new(stream: Stream, life: &Arc<Life>, keys: TlsKeys) -> Self {
        Self { stream, life: Arc::clone(life), keys }
    }

    fn keep<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.life.broke(error, self.keys);
        }
        polled
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.keep(polled)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.keep(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.keep(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_calls_until_nobody_answers() {
        let now = Instant::now();
        let life = |last| Life { last: Mutex::new(last), broken: OnceLock::new() };
        let long_ago = now.checked_sub(KEPT + Duration::from_secs(1)).expect("a running machine");
        assert!(life(Some(now)).end().is_some());
        assert!(life(Some(long_ago)).end().is_none());
        let one = life(Some(now));
        one.unanswered(now.checked_sub(Duration::from_secs(1)).expect("a running machine"));
        assert!(one.end().is_some(), "another call was answered since");
        one.unanswered(now);
        assert!(one.end().is_none());
        one.heard();
        assert!(one.end().is_none(), "an answer that comes too late does not bring it back");
    }
}
