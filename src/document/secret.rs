//! Secrets that may stand in a file of their own: `client_secret`, or `client_secret_file`.

use super::file::Holds;
use super::key::Key;
use super::section::Section;
use super::value::Found;
use crate::model::secret::Secret;

/// A secret: the key itself, or the one that names its file.
pub struct SecretKey<'d> {
    given: Found<'d, String>,
    file: Found<'d, String>,
}

impl<'d> Section<'d> {
    /// The secret `name`, or the one in the file that `file` names. The nearer one holds: a variable of one
    /// displaces the other in the document, a block's own the one that it would inherit.
    pub fn secret(&self, name: &'static str, file: &'static str) -> SecretKey<'d> {
        let (given, file) = Key::nearer(self.key(name), self.key(file));
        SecretKey { given: given.hidden_text(), file: file.text() }
    }
}

impl<'d> SecretKey<'d> {
    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.given.is_set() || self.file.is_set()
    }

    /// The keys that are set.
    pub fn keys(&self) -> impl Iterator<Item = &Key<'d>> {
        [&self.given, &self.file].into_iter().filter(|found| found.is_set()).map(|found| &found.key)
    }

    /// The key that holds.
    #[must_use]
    pub fn key(&self) -> &Key<'d> {
        if self.file.is_set() { &self.file.key } else { &self.given.key }
    }

    /// The key of the secret itself.
    #[must_use]
    pub fn given(&self) -> &Key<'d> {
        &self.given.key
    }

    /// Reads the secret, out of its file if there is one. A file has at most 64 KiB.
    pub fn read(&self) -> Option<Secret> {
        if self.file.is_set() {
            if self.given.is_set() {
                let name = self.given.key.name.unwrap_or_default();
                self.file.key.error(format!("`{name}` is given as well; only one of them can hold"));
                return None;
            }
            return self.file.read_secret();
        }
        let secret = Secret::new(self.given.as_ref()?.clone());
        if secret.expose().is_empty() {
            self.given.key.error("must not be empty");
            return None;
        }
        Some(secret)
    }
}

impl Found<'_, String> {
    /// The secret in the file that this value names.
    pub fn read_secret(&self) -> Option<Secret> {
        let (file, _) = self.open(Holds::Secret)?;
        match super::file::secret(file) {
            Ok(text) => Some(Secret::new(text)),
            Err(message) => {
                self.key.error(message);
                None
            }
        }
    }
}
