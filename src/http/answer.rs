//! Reads one answer of HTTP/1.1 (RFC 9112), in pieces as they come: interim answers, the head, the body.
//!
//! A body has a length, is chunked, or ends with the connection. An answer that may be read in two ways is
//! refused: two lengths, a length beside a transfer coding, a coding other than `chunked`, a blank before the
//! colon, a change of the protocol (101). Limits: 64 KiB and 256 lines of a head, eight interim answers, 1 MiB
//! of a body, 16 KiB of chunk extensions and trailers.

use std::mem::{self, MaybeUninit};

use httparse::{Error, ParserConfig, Status};

use super::broken::Broken;
use super::chunks::Chunks;
use super::fields::Fields;
use super::{MAX_BODY, MAX_HEAD};
use crate::model::Failure;

/// Header lines of an answer.
const MAX_LINES: usize = 256;
/// Interim answers (RFC 9110 15.2). An API needs one or two.
const MAX_INTERIM: usize = 8;
/// Bytes for which room is made before they come.
const RESERVED: usize = 16 * 1024;

/// An answer that is being read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    /// Another request may follow on the connection.
    pub(super) is_kept: bool,
    /// The begin of a head.
    begun: Vec<u8>,
    /// So many bytes of a head are parsed again, even if they have no end: they may be no HTTP.
    parse_at: usize,
    interim: usize,
    rest: Rest,
}

/// What is still to come.
#[derive(Debug, Default)]
enum Rest {
    #[default]
    Head,
    /// So many bytes of the body.
    Length(usize),
    Chunks(Chunks),
    /// Bytes until the connection ends.
    Everything,
}

impl Answer {
    /// Takes the next bytes. True if the answer is complete; more bytes must not follow then.
    ///
    /// # Errors
    /// They are no HTTP, can be read in two ways, or are beyond a limit.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        if !matches!(self.rest, Rest::Head) {
            return self.take_body(bytes);
        }
        if self.begun.is_empty() {
            return self.take_head(bytes);
        }
        let mut begun = mem::take(&mut self.begun);
        let seen = begun.len().saturating_sub(3);
        begun.extend_from_slice(bytes);
        if has_end(&begun[seen..]) || begun.len() >= self.parse_at {
            return self.take_head(&begun);
        }
        self.begun = begun;
        Ok(false)
    }

    /// The connection has ended. True if the answer is complete.
    ///
    /// # Errors
    /// The begin of a head is no HTTP.
    pub(super) fn end(&mut self) -> Result<bool, Broken> {
        if matches!(self.rest, Rest::Head) {
            // Not all of it may have been parsed.
            let begun = mem::take(&mut self.begun);
            self.parse(&begun)?;
            return Ok(false);
        }
        Ok(matches!(self.rest, Rest::Everything))
    }

    fn take_head(&mut self, mut bytes: &[u8]) -> Result<bool, Broken> {
        loop {
            let Some(length) = self.parse(bytes)? else {
                if bytes.len() > MAX_HEAD {
                    return Err(long_head());
                }
                self.begun = bytes.to_vec();
                self.parse_at = (bytes.len() * 2).min(MAX_HEAD + 1);
                return Ok(false);
            };
            if length > MAX_HEAD {
                return Err(long_head());
            }
            bytes = &bytes[length..];
            match self.status {
                101 => return Err(refused("it changes the protocol (101), which was not asked for")),
                ..200 => {
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(refused("more than 8 interim answers (1xx)"));
                    }
                }
                _ => return self.take_body(bytes),
            }
        }
    }

    /// The length of the head at the begin of `bytes`, if it is complete.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
        let mut head = httparse::Response::new(&mut []);
        let mut config = ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(true);
        let parsed = config.parse_response_with_uninit_headers(&mut head, bytes, &mut lines);
        let Status::Complete(length) = parsed.map_err(invalid)? else { return Ok(None) };
        self.status = head.code.unwrap_or_default();
        if self.status < 100 {
            return Err(invalid(Error::Status));
        }
        self.fields = Fields::with_capacity(head.headers.len(), length);
        for line in head.headers.iter() {
            self.fields.push(line.name.as_bytes(), line.value);
        }
        if self.status >= 200 {
            self.frame(head.version == Some(1))?;
        }
        Ok(Some(length))
    }

    /// How the body ends (RFC 9112 6.3), and whether the connection is kept (9.3).
    fn frame(&mut self, is_1_1: bool) -> Result<(), Broken> {
        let (mut length, mut coding, mut closes, mut keeps) = (None, None, false, false);
        for (name, value) in self.fields.iter() {
            if name.eq_ignore_ascii_case(b"connection") {
                closes |= has_option(value, b"close");
                keeps |= has_option(value, b"keep-alive") && value.is_ascii();
            } else if name.eq_ignore_ascii_case(b"content-length") {
                if length.replace(number(value)?).is_some() {
                    return Err(refused("two lengths of its body"));
                }
            } else if name.eq_ignore_ascii_case(b"transfer-encoding")
                && (!value.eq_ignore_ascii_case(b"chunked") || coding.replace(()).is_some() || !is_1_1)
            {
                return Err(refused("a transfer coding other than `chunked`"));
            }
        }
        self.is_kept = !closes && (is_1_1 || keeps);
        self.rest = match (length, coding) {
            (Some(_), Some(())) => return Err(refused("a length of its body beside a transfer coding")),
            // There is no body, but the API may send one nevertheless.
            _ if matches!(self.status, 204 | 304) => {
                self.is_kept &= coding.is_none() && matches!(length, None | Some(0));
                Rest::Length(0)
            }
            (None, Some(())) => Rest::Chunks(Chunks::default()),
            (Some(length), None) if length > MAX_BODY as u64 => return Err(too_long()),
            (Some(length), None) => {
                let length = length as usize;
                self.body.reserve_exact(length.min(RESERVED));
                Rest::Length(length)
            }
            (None, None) => {
                self.is_kept = false;
                Rest::Everything
            }
        };
        Ok(())
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        let (is_complete, used) = match &mut self.rest {
            Rest::Head => (false, 0),
            Rest::Length(left) => {
                let used = bytes.len().min(*left);
                append(&mut self.body, &bytes[..used])?;
                *left -= used;
                (*left == 0, used)
            }
            Rest::Chunks(chunks) => chunks.take(bytes, &mut self.body)?,
            Rest::Everything => {
                append(&mut self.body, bytes)?;
                (false, bytes.len())
            }
        };
        // Bytes behind the answer belong to no request.
        self.is_kept &= used == bytes.len();
        Ok(is_complete)
    }
}

/// Whether a head may end within `bytes`.
fn has_end(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| matches!(&bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// Whether `option` is one of those of a `Connection` field (RFC 9110 7.6.1).
pub(super) fn has_option(value: &[u8], option: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}

fn number(digits: &[u8]) -> Result<u64, Broken> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten();
    number.ok_or_else(|| refused("a length of its body that is no number"))
}

/// Appends to a body.
///
/// # Errors
/// The body is over the limit.
pub(super) fn append(body: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Broken> {
    if body.len() + bytes.len() > MAX_BODY {
        return Err(too_long());
    }
    body.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn refused(reason: &'static str) -> Broken {
    Broken::refused(Failure::Protocol, reason)
}

pub(super) fn too_long() -> Broken {
    Broken::refused(Failure::Body, format!("its body has more than {} KiB", MAX_BODY / 1024))
}

fn long_head() -> Broken {
    let reason = format!("its head has more than {MAX_LINES} lines, or more than {} KiB", MAX_HEAD / 1024);
    Broken::refused(Failure::Protocol, reason)
}

fn invalid(error: Error) -> Broken {
    match error {
        Error::TooManyHeaders => long_head(),
        Error::Version => refused("invalid HTTP version"),
        Error::Status => refused("invalid HTTP status"),
        Error::HeaderName | Error::HeaderValue | Error::NewLine | Error::Token => {
            refused("invalid HTTP header")
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod grammar;
#[cfg(any(test, fuzzing))]
mod hypers;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod oracle;
#[cfg(any(test, fuzzing))]
mod reading;
#[cfg(test)]
mod tests;
