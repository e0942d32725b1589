//! Connects to an origin without a request, by the connector of the exchange.
//!
//! A new connection may still be useless: with TLS 1.3 a server verifies our certificate after our side of
//! the handshake is complete (RFC 8446 4.4.2.4), and a load balancer before a server that is down may accept
//! and close. So the connection must stay open for a moment.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use hyper::rt::Read;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::{timeout, timeout_at};

use super::Host;
use super::handshake::{self, NO_TLS};
use crate::model::Deadline;

/// How long it must stay open: longer than any round trip.
const LISTEN: Duration = Duration::from_millis(500);

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// What [`Host::reach`] connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The origin.
    Origin,
    /// Its proxy, which does not connect to an http origin before there is a request.
    Proxy,
}

/// Why an origin was not reached: one line without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached(String);

impl Unreached {
    /// A timeout.
    pub(super) fn late() -> Self {
        Self("timed out".to_owned())
    }

    /// The last error in the chain of `error`. The error inside of an I/O error is not its source.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Self(format!("TLS: {}", handshake::reason(error)));
        }
        let io = error.downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            Some(ErrorKind::TimedOut) => return Self::late(),
            Some(ErrorKind::ConnectionRefused) => return Self("connection refused".to_owned()),
            Some(ErrorKind::UnexpectedEof) => {
                return Self(format!("it closed the connection in the handshake {NO_TLS}"));
            }
            _ => {}
        }
        let held = io.and_then(io::Error::get_ref).map(|held| -> &(dyn Error + 'static) { held });
        match held.or(error.source()) {
            Some(inner) => Self::of(inner),
            None => Self(error.to_string()),
        }
    }

    /// Names the proxy.
    pub(super) fn through(self, proxy: &str) -> Self {
        Self(format!("through the proxy {proxy}: {self}"))
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unreached {}

impl Host {
    /// Connects as [`Self::exchange`] does, and closes the connection without a request.
    ///
    /// # Errors
    /// The reason for which there is no connection.
    pub async fn reach(&self, deadline: Deadline) -> Result<Reached, Unreached> {
        let reach = async {
            let connector = match &self.direct {
                Ok(direct) => &direct.connector,
                Err(why) => return Err(Unreached(why.clone())),
            };
            let reached = match connector.open().await {
                Ok((stream, _)) => stays_open(stream).await,
                Err(error) => Err(Unreached::of(&*error)),
            };
            match connector.proxy_host() {
                Some(proxy) => reached.map_err(|why| why.through(proxy))?,
                None => reached?,
            }
            Ok(if connector.forwarder().is_some() { Reached::Proxy } else { Reached::Origin })
        };
        timeout_at(deadline.instant().into(), reach).await.unwrap_or(Err(Unreached::late()))
    }
}

/// Whether the peer of a new connection waits for a request.
async fn stays_open(stream: impl Read + Unpin) -> Result<(), Unreached> {
    let closed = || Err(Unreached("it closes the connection at once".to_owned()));
    match timeout(LISTEN, TokioIo::new(stream).read(&mut [0])).await {
        Err(_) => Ok(()),
        Ok(Ok(0)) => closed(),
        Ok(Ok(_)) => Err(Unreached("it speaks first, which HTTP does not".to_owned())),
        Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => closed(),
        Ok(Err(error)) => Err(Unreached::of(&error)),
    }
}
