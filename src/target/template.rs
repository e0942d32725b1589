//! stub
use std::fmt;

/// A payload, parsed.
#[derive(Debug, Clone)]
pub struct Template(String);

/// Which names a template may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// `.Key` is a map's key.
    Map,
    /// `.Key` is the policy request as a JSON object; each attribute has a name of its own.
    Policy,
}

/// Why a template does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Byte offset in the text.
    pub offset: usize,
    /// What is wrong, without place.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Template {
    /// Parses a JSON payload.
    ///
    /// # Errors
    /// What is no template.
    pub fn parse(text: &str, _names: Names) -> Result<Self, Error> {
        Ok(Self(text.to_owned()))
    }
}
