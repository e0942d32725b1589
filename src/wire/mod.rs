//! Postfix' lookup protocols as plain values: bytes in, bytes out, no I/O.
//!
//! The contract of every `decode(&[u8])`: `Ok(None)` means "incomplete, read on";
//! `Ok(Some((value, n)))` means that the first `n` bytes were that value; an [`Error`] says
//! whether the stream can go on. Every limit is checked on the bytes at hand, before anything
//! is allocated for what a peer announces.

pub(crate) mod dovecot;
pub mod ipc;
pub(crate) mod logins;
mod netstring;
pub(crate) mod policy;
pub(crate) mod reply;
pub(crate) mod sasl;
pub(crate) mod socketmap;

use std::fmt;

/// The result of a decoder.
pub type Decoded<T> = Result<Option<(T, usize)>, Error>;

/// Why bytes are not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The framing is broken or a limit exceeded: close the connection.
    Framing(&'static str),
    /// A framed request that is not valid; the next one begins after `consumed` bytes.
    Malformed {
        /// How many bytes the request took.
        consumed: usize,
        /// What is wrong with it, for the log.
        reason: &'static str,
    },
}

/// Whether `text` has a control character.
fn has_control(text: &str) -> bool {
    // Most texts are names of visible ASCII.
    !text.bytes().all(|byte| byte.is_ascii_graphic()) && text.chars().any(char::is_control)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framing(reason) | Self::Malformed { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_is_one_of_unicode() {
        for text in ["", "a", "a b", "jos\u{e9}", "\u{20ac}", "\u{a0}"] {
            assert!(!has_control(text), "{text:?}");
        }
        for text in ["\0", "a\tb", "a\n", "\u{7f}", "jos\u{e9}\u{85}"] {
            assert!(has_control(text), "{text:?}");
        }
    }
}
