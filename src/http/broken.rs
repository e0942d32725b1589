//! The failures of an exchange: the class, and a reason for the log and for `query --trace`. A reason
//! contains no secrets: it describes the connection and the form of the answer.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use super::connector::Connector;
use super::reason::{self, TlsKeys, inner};
use crate::model::Failure;

const ENDED: &str = "the connection ended before the answer did";

#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) stage: Stage,
    pub(super) failure: Failure,
    /// One line; empty if the failure says enough. [`Self::within`] adds the time limit that ended.
    pub(super) reason: Cow<'static, str>,
}

/// How far the exchange came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The origin itself refused the connection: nothing listens there.
    Closed,
    /// There was no connection.
    Unconnected,
    /// The connection failed before anything was written.
    Unsent,
    /// The connection failed during the exchange.
    Lost,
    /// A new connection would not help.
    Refused,
}

impl Stage {
    /// Whether the API may have seen a part of the request.
    #[must_use]
    pub fn is_sent(self) -> bool {
        matches!(self, Self::Lost | Self::Refused)
    }
}

/// An exchange without a complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoReply {
    /// Why.
    pub failure: Failure,
    /// How far the request came, in all attempts.
    pub stage: Stage,
    /// More about why: one line without secrets.
    pub reason: String,
    /// The time that the exchange had.
    pub granted: Duration,
    /// The time that it took.
    pub took: Duration,
}

impl From<NoReply> for Failure {
    fn from(NoReply { failure, .. }: NoReply) -> Self {
        failure
    }
}

impl Broken {
    /// A failure that a new connection would not repair.
    pub(super) fn refused(failure: Failure, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { stage: Stage::Refused, failure, reason: reason.into() }
    }

    /// The time limit ended before one of `max_connections_per_host` was free.
    pub(super) fn not_free_in_time() -> Self {
        let reason = "no free connection (max_connections_per_host)".into();
        Self { stage: Stage::Unsent, failure: Failure::Timeout, reason }
    }

    /// The time limit ended before there was a connection.
    pub(super) fn not_connected_in_time() -> Self {
        Self { stage: Stage::Unconnected, failure: Failure::Timeout, reason: "no connection".into() }
    }

    /// The time limit ended before the answer was complete.
    pub(super) fn not_answered_in_time() -> Self {
        Self::refused(Failure::Timeout, "no complete answer")
    }

    /// The reason, with the time limit `granted` if that has ended.
    pub(super) fn within(&self, granted: Duration) -> Cow<'_, str> {
        if self.failure != Failure::Timeout || self.reason.is_empty() {
            return Cow::Borrowed(&self.reason);
        }
        let step = if granted < Duration::from_millis(100) { 1 } else { 100 };
        let rounded = (granted.as_micros() + step * 500) / (step * 1000) * step;
        let rounded = Duration::from_millis(u64::try_from(rounded).unwrap_or(u64::MAX));
        Cow::Owned(format!("{} within {rounded:?}", self.reason))
    }

    pub(super) fn ended() -> Self {
        Self { stage: Stage::Lost, failure: Failure::Protocol, reason: ENDED.into() }
    }

    pub(super) fn unconnected(error: &(dyn Error + 'static), connector: &Connector) -> Self {
        let failure = if is_tls(error) { Failure::Tls } else { Failure::Connect };
        let stage =
            if is_closed(error) && !connector.is_proxied() { Stage::Closed } else { Stage::Unconnected };
        let reason = connector.through_proxy(reason::of(error, connector.keys()));
        Self { stage, failure, reason: reason.into() }
    }

    /// The same, after the request was sent on another connection, which was lost.
    pub(super) fn after_lost(self) -> Self {
        Self { stage: if self.stage.is_sent() { self.stage } else { Stage::Lost }, ..self }
    }

    /// The connection failed.
    pub(super) fn in_exchange(error: &(dyn Error + 'static), keys: TlsKeys) -> Self {
        // With TLS 1.3 a server verifies our certificate after the handshake.
        let failure = if is_tls(error) { Failure::Tls } else { Failure::Protocol };
        let reason = if is_end(error) { ENDED.into() } else { reason::of(error, keys).into() };
        Self { stage: Stage::Lost, failure, reason }
    }

    /// As [`Self::in_exchange`], for a request that was not written.
    pub(super) fn unsent(error: &(dyn Error + 'static), keys: TlsKeys) -> Self {
        Self { stage: Stage::Unsent, ..Self::in_exchange(error, keys) }
    }
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    error.is::<rustls::Error>() || inner(error).is_some_and(is_tls)
}

/// Whether the peer refused the connection.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    io == Some(io::ErrorKind::ConnectionRefused) || inner(error).is_some_and(is_closed)
}

/// Whether the peer closed the connection.
fn is_end(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    io == Some(io::ErrorKind::UnexpectedEof) || inner(error).is_some_and(is_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_rounded_to_what_was_configured() {
        let late = Broken::not_answered_in_time();
        for (microseconds, due) in [
            (14_999_870, "no complete answer within 15s"),
            (2_450_300, "no complete answer within 2.5s"),
            (499_990, "no complete answer within 500ms"),
            (3_200, "no complete answer within 3ms"),
        ] {
            assert_eq!(late.within(Duration::from_micros(microseconds)), due);
        }
        assert_eq!(Broken::ended().within(Duration::from_secs(1)), ENDED, "no time limit has ended");
    }
}
