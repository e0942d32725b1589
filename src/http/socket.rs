//! The TCP connection below TLS and HTTP. rustls may own it, and in calls of gRPC hyper, so what the
//! exchange above needs of it is here.
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
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Quick acknowledgements of one exchange: a long body causes acknowledgements anyway.
const ACKNOWLEDGED: u8 = 8;

#[derive(Debug)]
pub(super) struct ApiSocket {
    /// With TLS if the proxy is https.
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// Bytes came that are not acknowledged yet, as far as this knows.
    came: bool,
    /// Quick acknowledgements left.
    left: u8,
}

impl ApiSocket {
    pub(super) fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self { stream, came: false, left: 0 }
    }

    /// Begins an exchange. With `looks`, bytes that came before it are an error, and so is the end.
    pub(super) fn begin(&mut self, looks: bool) -> io::Result<()> {
        (self.came, self.left) = (false, ACKNOWLEDGED);
        if !looks {
            return Ok(());
        }
        match SockRef::from(self.tcp()).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, UNASKED)),
        }
    }

    /// Acknowledges what came, of an answer that is incomplete.
    pub(super) fn acknowledge(&mut self) {
        if self.came && self.left > 0 {
            (self.came, self.left) = (false, self.left - 1);
            // If this fails, the answer comes later.
            let _ = self.tcp().set_quickack(true);
        }
    }

    /// Whether there is no TLS below, which is that of a proxy.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.stream, MaybeHttpsStream::Http(_))
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            MaybeHttpsStream::Http(tcp) => tcp.inner(),
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
        }
    }
}

/// The reason for which a connection is not used on which an API speaks first.
pub(super) const UNASKED: &str = "bytes came before they were asked for";

impl Read for ApiSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.came |= read.is_ready();
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
