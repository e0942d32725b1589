//! One connection, and one exchange at a time on it.
//!
//! A request is written in one piece, unless its body is long. The answer is read into a buffer of the thread, so a
//! connection that waits holds no buffer. Bytes that come before the request, and an end, are noticed before anything is
//! written.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hyper::body::Bytes;
use hyper::rt::{Read, ReadBuf, Write};
use hyper_rustls::MaybeHttpsStream;
use tokio::task::coop::unconstrained;
use zeroize::Zeroize;

use super::answer::Answer;
use super::broken::{Broken, Stage};
use super::connector::Stream;
use super::reason::TlsKeys;
use super::socket::{ApiSocket, UNASKED};
use super::timer::Timer;
use crate::model::Deadline;

/// Bytes of one read.
const READ: usize = 16 * 1024;

thread_local! {
    static RECEIVED: RefCell<[u8; READ]> = const { RefCell::new([0; READ]) };
}

#[derive(Debug)]
pub(super) struct ApiConnection {
    stream: Stream,
    timer: Timer,
    /// For the reason of a failure.
    keys: TlsKeys,
}

impl ApiConnection {
    /// `deadline` is that of the first exchange.
    pub(super) fn new(stream: Stream, keys: TlsKeys, deadline: Deadline) -> Self {
        Self { stream, timer: Timer::new(deadline.instant()), keys }
    }

    /// Sends `request` and what follows it, and reads the whole answer. With `looks`, the socket itself is asked first
    /// whether bytes came before the request. One that is not `repeatable` holds a password.
    ///
    /// # Errors
    /// The connection must not be used again.
    pub(super) async fn exchange(
        &mut self,
        (request, rest): (Vec<u8>, Bytes),
        repeatable: bool,
        looks: bool,
        deadline: Deadline,
    ) -> Result<Answer, Broken> {
        let keys = self.keys;
        let unsent = |error: &io::Error| Broken::unsent(error, keys);
        self.socket().begin(looks).map_err(|error| unsent(&error))?;
        let is_secret = !repeatable;
        let mut outgoing =
            Outgoing { bytes: request, rest, sent: 0, is_secret, is_flushed: false, failed: None };
        let mut answer = Answer::default();
        let mut is_begun = false;
        let exchange = poll_fn(|cx| {
            if !is_begun {
                is_begun = true;
                // An answer that nothing has asked for is no answer to this request.
                if let Poll::Ready(came) = self.read(cx, |bytes| bytes.is_empty()) {
                    let error = came.map_or_else(
                        |error| error,
                        |is_end| {
                            if is_end { ErrorKind::UnexpectedEof.into() } else { io::Error::other(UNASKED) }
                        },
                    );
                    return Poll::Ready(Err(unsent(&error)));
                }
            }
            self.poll(cx, &mut outgoing, &mut answer, deadline)
        });
        // An end that was noticed must be seen, even if the task's budget is used up.
        unconstrained(exchange).await?;
        answer.is_kept &= outgoing.is_flushed;
        Ok(answer)
    }

    /// Ready if the answer is complete.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
        answer: &mut Answer,
        deadline: Deadline,
    ) -> Poll<Result<(), Broken>> {
        if !outgoing.is_flushed
            && outgoing.failed.is_none()
            && let Poll::Ready(Err(broken)) = self.write(cx, outgoing)
        {
            if broken.stage == Stage::Unsent {
                return Poll::Ready(Err(broken));
            }
            outgoing.failed = Some(broken);
        }
        loop {
            match self.read(cx, |bytes| if bytes.is_empty() { None } else { Some(answer.take(bytes)) }) {
                Poll::Ready(Ok(Some(taken))) => {
                    if taken? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Ok(None)) if answer.end()? => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(Broken::ended())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::in_exchange(&error, self.keys))),
                Poll::Pending => break,
            }
        }
        // A server may answer and close before it has read everything. What it said counts, and the poller may not
        // have reported it yet. The end comes in any case.
        self.socket().acknowledge();
        ready!(self.timer.poll(deadline.instant(), cx));
        Poll::Ready(Err(outgoing.failed.take().unwrap_or_else(Broken::not_answered_in_time)))
    }

    fn write(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) -> Poll<Result<(), Broken>> {
        let is_plain = matches!(&self.stream, MaybeHttpsStream::Http(socket) if socket.is_plain());
        while let Some(bytes) = outgoing.unsent() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
                Ok(written) if written > 0 => outgoing.sent += written,
                Ok(_) => return Poll::Ready(Err(Broken::ended())),
                // Below TLS a part may have gone out.
                Err(error) if outgoing.sent == 0 && is_plain => {
                    return Poll::Ready(Err(Broken::unsent(&error, self.keys)));
                }
                Err(error) => return Poll::Ready(Err(Broken::in_exchange(&error, self.keys))),
            }
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        outgoing.wipe();
        outgoing.is_flushed = flushed.is_ok();
        Poll::Ready(flushed.map_err(|error| Broken::in_exchange(&error, self.keys)))
    }

    /// Reads once. No bytes are the end.
    fn read<T>(&mut self, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        RECEIVED.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer.unfilled()))?;
            Poll::Ready(Ok(take(buffer.filled())))
        })
    }

    fn socket(&mut self) -> &mut ApiSocket {
        match &mut self.stream {
            MaybeHttpsStream::Http(socket) => socket,
            MaybeHttpsStream::Https(tls) => tls.inner_mut().get_mut().0.inner_mut(),
        }
    }

    /// Whether the API has neither closed it nor sent anything, as far as the poller knows.
    pub(super) fn is_alive(&mut self) -> bool {
        self.read(&mut Context::from_waker(Waker::noop()), |_| ()).is_pending()
    }
}

/// A request that is being written.
struct Outgoing {
    bytes: Vec<u8>,
    /// What follows them.
    rest: Bytes,
    /// Of both.
    sent: usize,
    is_secret: bool,
    /// All of it has left TLS, too.
    is_flushed: bool,
    /// It cannot be written.
    failed: Option<Broken>,
}

impl Outgoing {
    /// What is to be written next.
    fn unsent(&self) -> Option<&[u8]> {
        let (bytes, sent) = match self.sent.checked_sub(self.bytes.len()) {
            None => (&*self.bytes, self.sent),
            Some(sent) => (&*self.rest, sent),
        };
        bytes.get(sent..).filter(|unsent| !unsent.is_empty())
    }

    /// Gives the memory back.
    fn wipe(&mut self) {
        if self.is_secret {
            self.bytes.zeroize();
        }
        (self.bytes, self.rest, self.sent) = (Vec::new(), Bytes::new(), 0);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests;
