//! What is wrong with a document: its place, its key, and what helps.
//!
//! A problem shows no line of the file, so that it shows no secret either; what it quotes are names
//! of keys, and the words that a key's choices are compared with. Control characters are never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use super::file::NO_CREDENTIALS;
use super::place::Place;
use crate::model::brief::on_one_line;

/// Whether the document can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but may not do what was meant.
    Warning,
}

/// One thing that is wrong, fit for printing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, without place and key.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where it stands in the file.
    pub place: Option<Place>,
    /// The key that it is about, as `server.listen[0].port`; empty for the file as a whole.
    pub key: String,
    /// The file, or the environment variable.
    pub(super) source: PathBuf,
}

impl Problem {
    /// An error about a file, or an environment variable, as a whole.
    #[must_use]
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            hint: None,
            place: None,
            key: String::new(),
            source: file.to_owned(),
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning_of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::of_file(file, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether it is only that this process has no credentials, as the broker may have.
    #[must_use]
    pub fn lacks_credentials(&self) -> bool {
        self.message == NO_CREDENTIALS
    }

    /// Place, key and message in one line, for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let place = self.place.map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        printable(&format!("{}{place}: {key}{}", self.source.display(), self.message))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", printable(&self.source.to_string_lossy()))?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        f.write_str(match self.severity {
            Severity::Error => " error: ",
            Severity::Warning => " warning: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "{}: ", printable(&self.key))?;
        }
        f.write_str(&printable(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", printable(hint))?;
        }
        Ok(())
    }
}

fn printable(text: &str) -> String {
    on_one_line(text.chars())
}
