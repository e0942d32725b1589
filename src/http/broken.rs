//! The failures of an exchange: the class, and a reason for the log and for `query --trace`. A reason
//! contains no secrets: it describes the connection and the form of the answer. Limits of an answer that
//! hyper does not check are checked here.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, TRANSFER_ENCODING};
use hyper::http::Extensions;

use super::connector::Connector;
use super::reason::{self, TlsKeys, inner};
use super::{MAX_BODY, MAX_HEAD};
use crate::model::Failure;

/// Header lines of an answer.
pub(super) const MAX_HEADERS: usize = 256;

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

    /// The connection failed, or the bytes are no HTTP. The latter would be the same on another connection.
    pub(super) fn in_exchange(error: &(dyn Error + 'static), keys: TlsKeys) -> Self {
        let hyper = hyper_error(error);
        let is_parse = hyper.is_some_and(hyper::Error::is_parse);
        let stage = if is_parse { Stage::Refused } else { Stage::Lost };
        // With TLS 1.3 a server verifies our certificate after the handshake.
        let failure = if is_tls(error) { Failure::Tls } else { Failure::Protocol };
        let reason = match hyper {
            Some(hyper) if hyper.is_parse_too_large() => long_head(),
            _ if is_end(error) => ENDED.to_owned(),
            _ => reason::of(error, keys),
        };
        Self { stage, failure, reason: reason.into() }
    }

    /// As [`Self::in_exchange`], for a request that was not written.
    pub(super) fn unsent(error: &hyper::Error, keys: TlsKeys) -> Self {
        Self { stage: Stage::Unsent, ..Self::in_exchange(error, keys) }
    }
}

fn hyper_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e hyper::Error> {
    error.downcast_ref().or_else(|| inner(error).and_then(hyper_error))
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
    let is_cut = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
    io == Some(io::ErrorKind::UnexpectedEof) || is_cut || inner(error).is_some_and(is_end)
}

/// Refuses a head over the limit, which the parser lets pass, and transfer codings that are not decoded
/// (RFC 9112 6.1): hyper only knows `chunked`, and only looks at the last one.
pub(super) fn refuse_head(headers: &HeaderMap, extensions: &Extensions) -> Result<(), Broken> {
    let reason = extensions.get::<ReasonPhrase>().map_or(0, |reason| reason.as_bytes().len());
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if reason + lines.sum::<usize>() > MAX_HEAD {
        return Err(Broken::refused(Failure::Protocol, long_head()));
    }
    if headers.contains_key(TRANSFER_ENCODING) && !is_chunked(headers) {
        return Err(Broken::refused(Failure::Protocol, "a transfer coding other than `chunked`"));
    }
    Ok(())
}

/// It depends on how the bytes come in whether hyper or [`refuse_head`] notices it: the reason is the same.
fn long_head() -> String {
    format!("its head has more than {MAX_HEADERS} lines, or more than {} KiB", MAX_HEAD / 1024)
}

/// Whether `chunked` is the only transfer coding. Empty items count: hyper fails on them.
fn is_chunked(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let first = codings.next().is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    first && codings.next().is_none()
}

pub(super) fn refuse_long(announced: u64) -> Result<(), Broken> {
    if announced > MAX_BODY as u64 { Err(too_long()) } else { Ok(()) }
}

/// Appends a chunk to a body.
///
/// # Errors
/// The body is over the limit.
pub(super) fn take(body: &mut Vec<u8>, chunk: &[u8]) -> Result<(), Broken> {
    if body.len() + chunk.len() > MAX_BODY {
        return Err(too_long());
    }
    body.extend_from_slice(chunk);
    Ok(())
}

fn too_long() -> Broken {
    Broken::refused(Failure::Body, format!("its body has more than {} KiB", MAX_BODY / 1024))
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
