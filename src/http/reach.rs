//! Connects to an origin without a request, by the connector of the exchange.
//!
//! A new connection may still be useless: with TLS 1.3 a server verifies our certificate after our side of
//! the handshake is complete (RFC 8446 4.4.2.4), and a load balancer before a server that is down may accept
//! and close. So the connection must stay open for a moment, or speak HTTP/2.

use std::io::ErrorKind;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};

use super::reason::{self, TlsKeys};
use super::{CONNECT, Host, Transport};
use crate::model::Deadline;

/// How long it must stay open: longer than any round trip.
const LISTEN: Duration = Duration::from_millis(500);

pub(super) const NO_HTTP2: &str = "it does not speak HTTP/2, which gRPC needs";

/// What [`Host::reach`] connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The origin.
    Origin,
    /// Its proxy, which does not connect to an http origin before there is a request.
    Proxy,
}

impl Host {
    /// Connects as [`Self::exchange`] does, and closes the connection without a request.
    ///
    /// # Errors
    /// The reason for which there is no connection: one line without secrets.
    pub async fn reach(&self, deadline: Deadline) -> Result<Reached, String> {
        let reach = async {
            let transport = self.transport.as_ref()?;
            let connector = transport.connector();
            let reached = match connector.open().await {
                Ok(stream) => match transport {
                    Transport::Http1(_) => stays_open(stream, connector.keys()).await,
                    Transport::Grpc(_) => speaks_http2(stream, connector.keys()).await,
                },
                Err(error) => Err(reason::of(&*error, connector.keys())),
            };
            reached.map_err(|reason| connector.through_proxy(reason))?;
            Ok(if connector.is_forwarded() { Reached::Proxy } else { Reached::Origin })
        };
        timeout_at(deadline.instant().into(), reach).await.unwrap_or_else(|_| Err(reason::LATE.to_owned()))
    }
}

/// Whether the peer of a new connection waits for a request.
async fn stays_open(stream: impl Read + Unpin, keys: TlsKeys) -> Result<(), String> {
    let closed = "it closes the connection at once";
    match timeout(LISTEN, TokioIo::new(stream).read(&mut [0])).await {
        Err(_) => Ok(()),
        Ok(Ok(0)) => Err(closed.to_owned()),
        Ok(Ok(_)) => Err("it speaks first, which HTTP does not".to_owned()),
        Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(closed.to_owned()),
        Ok(Err(error)) => Err(reason::of(&error, keys)),
    }
}

/// What a client of HTTP/2 says first, with SETTINGS that change nothing (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The head of a frame (RFC 9113 4.1): its length, type, flags and stream.
pub(super) const HEAD: usize = 9;
const SETTINGS: u8 = 4;

/// Whether these are the first bytes of HTTP/2, at most [`HEAD`] of them: SETTINGS of the stream 0 (RFC 9113 6.5).
pub(super) fn may_begin_http2(first: &[u8]) -> bool {
    first.iter().enumerate().all(|(at, byte)| match at {
        3 => *byte == SETTINGS,
        // With a flag they are an acknowledgement.
        4.. => *byte == 0,
        _ => true,
    })
}

/// Whether the peer of a new connection answers with SETTINGS.
async fn speaks_http2(stream: impl Read + Write + Unpin, keys: TlsKeys) -> Result<(), String> {
    let mut stream = TokioIo::new(stream);
    let mut head = [0; HEAD];
    let hears = async {
        stream.write_all(PREFACE).await?;
        stream.flush().await?;
        stream.read_exact(&mut head).await
    };
    match timeout(CONNECT, hears).await {
        Err(_) => Err(format!("{NO_HTTP2}: it says nothing")),
        Ok(Ok(_)) if may_begin_http2(&head) => Ok(()),
        Ok(Ok(_)) => Err(NO_HTTP2.to_owned()),
        Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            Err("it closes the connection at once".to_owned())
        }
        Ok(Err(error)) => Err(reason::of(&error, keys)),
    }
}
