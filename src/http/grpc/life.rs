//! How a connection for calls fares: whether it takes calls, and how it broke.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::super::broken::{Broken, Stage};
use super::super::connector::Stream;
use super::super::reach::{HEAD, NO_HTTP2, may_begin_http2};
use super::super::reason::TlsKeys;
use super::call::Unsent;
use crate::model::Failure;

/// How long after its last answer a connection takes calls. Whatever forgets connections in silence (a firewall, a
/// machine that starts anew) takes longer.
const KEPT: Duration = Duration::from_secs(10);

const SILENT: &str = "it closed the connection and did not speak HTTP/2, which gRPC needs";
/// After a call that had less time than about a second, nothing is certain of the peer.
const FAIR: Duration = Duration::from_millis(900);

/// How a connection fares.
#[derive(Debug)]
pub(super) struct Life {
    /// When the peer was heard last; `None` if it did not answer in time.
    last: Mutex<Option<Instant>>,
    /// How it broke: h2 keeps no more of that than a text, or nothing.
    broken: OnceLock<Broken>,
    /// Whether its first bytes were HTTP/2.
    speaks_http2: OnceLock<bool>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(Some(Instant::now())),
            broken: OnceLock::new(),
            speaks_http2: OnceLock::new(),
        }
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
        if began.elapsed() >= FAIR {
            self.last().take_if(|last| *last <= began);
        }
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
        let told = match self.broken.get() {
            Some(broken) if unsent.is_some() => Broken { stage: Stage::Unsent, ..broken.clone() },
            Some(broken) => broken.clone(),
            None => told,
        };
        match self.speaks_http2.get() {
            Some(false) => Broken { reason: NO_HTTP2.into(), ..told },
            None if told.failure == Failure::Protocol => Broken { reason: SILENT.into(), ..told },
            _ => told,
        }
    }
}

/// The bytes of a connection, whose first ones are looked at, and whose first error is kept.
pub(super) struct Watched {
    stream: Stream,
    life: Arc<Life>,
    keys: TlsKeys,
    head: [u8; HEAD],
    /// How much of `head` was read.
    heard: usize,
}

impl Watched {
    pub(super) fn new(stream: Stream, life: &Arc<Life>, keys: TlsKeys) -> Self {
        Self { stream, life: Arc::clone(life), keys, head: [0; HEAD], heard: 0 }
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
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, life, head, heard, .. } = &mut *self;
        let rest = &mut head[*heard..];
        let room = rest.len().min(buf.remaining());
        if room == 0 {
            let polled = Pin::new(stream).poll_read(cx, buf);
            return self.keep(polled);
        }
        let mut first = ReadBuf::new(&mut rest[..room]);
        let polled = Pin::new(stream).poll_read(cx, first.unfilled());
        buf.put_slice(first.filled());
        *heard += first.filled().len();
        if !may_begin_http2(&head[..*heard]) {
            let _ = life.speaks_http2.set(false);
        } else if *heard == HEAD {
            let _ = life.speaks_http2.set(true);
        }
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
        let life = |last| Life { last: Mutex::new(last), ..Life::new() };
        let long_ago = now.checked_sub(KEPT + Duration::from_secs(1)).expect("a running machine");
        assert!(life(Some(now)).end().is_some());
        assert!(life(Some(long_ago)).end().is_none());
        let one = life(Some(now));
        one.unanswered(now);
        assert!(one.end().is_some(), "the call had no time");
        one.unanswered(now.checked_sub(Duration::from_secs(1)).expect("a running machine"));
        assert!(one.end().is_some(), "another call was answered since");
        let one = life(now.checked_sub(Duration::from_secs(2)));
        one.unanswered(now.checked_sub(Duration::from_secs(1)).expect("a running machine"));
        assert!(one.end().is_none());
        one.heard();
        assert!(one.end().is_none(), "an answer that comes too late does not bring it back");
    }
}
