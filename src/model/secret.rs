//! Passwords, tokens and client secrets: a type of their own, so that none of them is shown by
//! accident. It has no `Display`, its `Debug` shows nothing, and its memory is wiped when it is
//! dropped (the buffers that the bytes came through are not).

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A text that no log, reply, argument list or error message may hold.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
