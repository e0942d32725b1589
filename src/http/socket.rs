//! The TCP connection below TLS and HTTP, with what only the socket can do. hyper and rustls own
//! it; [`SocketFlags`] are how the exchange above them asks, and what it asks for happens when hyper
//! reads next.
//!
//! * To acknowledge at once. A backend that writes head and body apart, with Nagle's algorithm, waits
//!   for our acknowledgement before it sends the body, and Linux delays that by 40 ms.
//! * To look at the socket itself. The poller may not have told yet of bytes that are there: a
//!   request would go out, and what came before it would be taken for its answer.
//!
//! An answer in one piece costs no system call; a password costs one. reqwest does not let anyone near
//! its sockets: behind a proxy there is neither, but there each password has a connection of its own.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolver::Resolver;

/// How often within one exchange, for a long body brings many acknowledgements of its own.
const ACKNOWLEDGED: u8 = 8;

/// What the exchange and the socket tell each other. One task at a time has both.
#[derive(Debug, Default)]
pub(super) struct SocketFlags {
    /// Bytes have come since a read found none.
    came: AtomicBool,
    /// Bytes came, and then a read found none.
    stopped: AtomicBool,
    /// The next read that finds nothing acknowledges what came.
    acknowledges: AtomicBool,
    /// How often it may.
    left: AtomicU8,
    /// The next read looks at the socket itself first.
    looks: AtomicBool,
}

impl SocketFlags {
    /// Another exchange begins. With `looks` what has come before it is seen, and fails it.
    pub(super) fn begin(&self, looks: bool) {
        for flag in [&self.came, &self.stopped, &self.acknowledges] {
            flag.store(false, Relaxed);
        }
        self.left.store(ACKNOWLEDGED, Relaxed);
        self.looks.store(looks, Relaxed);
    }

    /// The answer is not complete. True where it stopped on the way: the next read acknowledges what came.
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

/// A connection.
#[derive(Debug)]
pub(super) struct ApiSocket {
    tcp: TokioIo<TcpStream>,
    flags: Arc<SocketFlags>,
}

impl ApiSocket {
    fn new(tcp: TokioIo<TcpStream>) -> Self {
        Self { tcp, flags: Arc::default() }
    }

    fn found_nothing(&self) {
        let SocketFlags { came, stopped, acknowledges, .. } = &*self.flags;
        if came.load(Relaxed) {
            came.store(false, Relaxed);
            stopped.store(true, Relaxed);
        }
        if acknowledges.load(Relaxed) {
            acknowledges.store(false, Relaxed);
            // Without it the answer comes all the same, later.
            let _ = self.tcp.inner().set_quickack(true);
        }
    }

    fn look(&self) -> io::Result<()> {
        match SockRef::from(self.tcp.inner()).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "bytes came before they were asked for")),
        }
    }
}

/// The flags of a stream's socket.
pub(super) fn flags(stream: &MaybeHttpsStream<ApiSocket>) -> Arc<SocketFlags> {
    let socket = match stream {
        MaybeHttpsStream::Http(socket) => socket,
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner(),
    };
    Arc::clone(&socket.flags)
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
        let read = Pin::new(&mut this.tcp).poll_read(context, buffer);
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
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, pieces)
    }
}

impl Connection for ApiSocket {
    fn connected(&self) -> Connected {
        self.tcp.connected()
    }
}

/// Makes them.
#[derive(Debug, Clone)]
pub(super) struct SocketConnector(pub(super) HttpConnector<Resolver>);

type Connects = <HttpConnector<Resolver> as Service<Uri>>::Future;

impl Service<Uri> for SocketConnector {
    type Response = ApiSocket;
    type Error = <HttpConnector<Resolver> as Service<Uri>>::Error;
    type Future = MapOk<Connects, fn(TokioIo<TcpStream>) -> ApiSocket>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.0.call(to).map_ok(ApiSocket::new)
    }
}
