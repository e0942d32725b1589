//! The TCP connection below TLS and HTTP. hyper and rustls own it, so the exchange above them sets
//! [`SocketFlags`], and the next read acts on them.
//!
//! * Quick acknowledgement. An API that writes head and body separately, with Nagle's algorithm, sends the
//!   body only after our acknowledgement, and Linux delays that by 40 ms.
//! * A look at the socket itself. The poller may not have reported bytes yet that arrived before the request:
//!   they would be taken for its answer.
//!
//! An answer in one piece costs no system call; a password costs one.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Quick acknowledgements of one exchange: a long body causes acknowledgements anyway.
const ACKNOWLEDGED: u8 = 8;

/// Shared by the exchange and the socket, which one task uses.
#[derive(Debug, Default)]
pub(super) struct SocketFlags {
    /// Bytes came since the last read that found none.
    came: AtomicBool,
    /// Bytes came, and then a read found none.
    stopped: AtomicBool,
    /// The next read that finds nothing acknowledges the bytes before.
    acknowledges: AtomicBool,
    /// Quick acknowledgements left.
    left: AtomicU8,
    /// The next read checks the socket itself first.
    looks: AtomicBool,
}

impl SocketFlags {
    /// Begins an exchange. With `looks`, bytes that came before it make it fail.
    pub(super) fn begin(&self, looks: bool) {
        for flag in [&self.came, &self.stopped, &self.acknowledges] {
            flag.store(false, Relaxed);
        }
        self.left.store(ACKNOWLEDGED, Relaxed);
        self.looks.store(looks, Relaxed);
    }

    /// Called while the answer is incomplete. True if it stopped: the next read acknowledges.
    pub(super) fn waits(&self) -> bool {
        let left = self.left.load(Relaxed);
        if left == 0 || !self.stopped.swap(false, Relaxed) {
            return false;
        }
        self.left.store(left - 1, Relaxed);
        self.acknowledges.store(true, Relaxed);
        true
    }
}

#[derive(Debug)]
pub(super) struct ApiSocket {
    /// With TLS if the proxy is https.
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    flags: Arc<SocketFlags>,
}

impl ApiSocket {
    pub(super) fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> (Self, Arc<SocketFlags>) {
        let flags = Arc::default();
        (Self { stream, flags: Arc::clone(&flags) }, flags)
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            MaybeHttpsStream::Http(tcp) => tcp.inner(),
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
        }
    }

    fn found_nothing(&self) {
        let SocketFlags { came, stopped, acknowledges, .. } = &*self.flags;
        if came.load(Relaxed) {
            came.store(false, Relaxed);
            stopped.store(true, Relaxed);
        }
        if acknowledges.load(Relaxed) {
            acknowledges.store(false, Relaxed);
            // If this fails, the answer comes later.
            let _ = self.tcp().set_quickack(true);
        }
    }

    fn look(&self) -> io::Result<()> {
        match SockRef::from(self.tcp()).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "bytes came before they were asked for")),
        }
    }
}

impl Read for ApiSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.flags.looks.load(Relaxed) {
            this.flags.looks.store(false, Relaxed);
            this.look()?;
        }
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        match &read {
            Poll::Pending => this.found_nothing(),
            Poll::Ready(_) => this.flags.came.store(true, Relaxed),
        }
        read
    }
}

impl Write for ApiSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}
