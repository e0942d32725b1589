//! Secrets, and files that keys name: a secret may stand in a file of its own (`client_secret`, or
//! `client_secret_file`); and who else may read or write a file.
//!
//! A key names a file by its path, in which `${CREDENTIALS_DIRECTORY}` stands for the directory of
//! that variable, or as `credential:NAME`, a file in it: systemd's credentials (systemd.exec(5)).
//! Only regular files are opened: an open of a FIFO waits for its writer, and a reload would wait
//! for ever.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::dump::HIDDEN;
use super::key::Key;
use super::refusal::Refusal;
use super::section::Section;
use super::value::Found;
use crate::model::secret::Secret;

/// The variable in which systemd names the directory.
pub const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// That there is no such directory.
pub(super) const NO_CREDENTIALS: &str = "CREDENTIALS_DIRECTORY is not set, or is no absolute path";
/// The same in a path.
const DIRECTORY: &str = "${CREDENTIALS_DIRECTORY}";
/// What a credential's name stands behind.
const CREDENTIAL: &str = "credential:";

/// How much of a file is compared when a configuration is read again.
const MAX_BYTES: u64 = 16 << 20;
/// How long a secret may be.
const MAX_SECRET: u64 = 64 * 1024;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A secret, or a private key; or it may, as the configuration.
    Secret,
    /// What everybody may know.
    Certificates,
}

impl Found<'_, String> {
    /// Opens the file that this value names, and reports what is wrong with it. Beside it stands its path.
    /// Those that `defaults` names are opened for its entries.
    pub fn open(&self, holds: Holds) -> Option<(File, PathBuf)> {
        let document = self.key.document();
        if self.key.block.is_template {
            return None;
        }
        let name = self.key.accept(place(document.sources.credentials, self.as_ref()?))?;
        let opened = regular(&name).map_err(|error| format!("the file cannot be read: {error}"));
        let (file, metadata) = self.key.accept(opened)?;
        if let Some((message, hint)) = exposure(&metadata, holds)
            && document.exposed.borrow_mut().insert(name.clone())
        {
            self.key.warning(message).hint(hint);
        }
        Some((file, name))
    }

    /// The content of the file that this value names, as far as it can be read: at most 16 MiB.
    #[must_use]
    pub fn content(&self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let name = place(self.key.document().sources.credentials, self.as_ref()?).ok()?;
        let (file, _) = regular(&name).ok()?;
        file.take(MAX_BYTES).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// The secret in the file that this value names: at most 64 KiB.
    pub fn read_secret(&self) -> Option<Secret> {
        let (file, _) = self.open(Holds::Secret)?;
        self.key.accept(secret(file)).map(Secret::new)
    }
}

/// What [`not_dumped`] says.
pub const DUMPED: &str = "`config dump` shows this in place of a value that it hides; write the value itself";

/// Refuses what the output of `config dump` has in place of a secret: a copy of it is not a configuration.
///
/// # Errors
/// What the value is.
pub fn not_dumped<T: AsRef<str>>(text: &T) -> Result<(), &'static str> {
    if text.as_ref() == HIDDEN { Err(DUMPED) } else { Ok(()) }
}

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
        SecretKey { given: given.hidden_text().check(not_dumped), file: file.text() }
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

/// The text of a file that holds a secret. Line ends behind it, and a byte order mark before it, do not
/// belong to it.
fn secret(file: File) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_SECRET + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_SECRET {
        return Err("the file is larger than 64 KiB".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    if text.is_empty() { Err("the file is empty".to_owned()) } else { Ok(text) }
}

/// Where the file is that a key names as `text`.
fn place(directory: Option<&str>, text: &str) -> Result<PathBuf, Refusal> {
    let credential = text.strip_prefix(CREDENTIAL);
    if credential.is_none() && !text.contains(DIRECTORY) {
        return Ok(PathBuf::from(text));
    }
    let directory = directory.filter(|directory| directory.starts_with('/')).ok_or_else(|| {
        Refusal::from(NO_CREDENTIALS).hint(
            "systemd sets it for a unit that has LoadCredential=; for a check by hand, while the broker runs, \
             set it to /run/credentials/pfxhttp.service",
        )
    })?;
    match credential {
        Some(name) if name.contains('/') || matches!(name, "" | "." | "..") => {
            let wrong = Refusal::from(format!("{name:?} is no name of a credential"));
            Err(wrong.hint("as credential:api-secret; a path has no prefix"))
        }
        Some(name) => Ok(Path::new(directory).join(name)),
        None => Ok(PathBuf::from(text.replace(DIRECTORY, directory))),
    }
}

/// Opens it for reading, without waiting for anybody.
fn regular(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::Error::other("it is not a regular file")) }
}

/// What a file's mode allows to users that are neither its owner nor in its group, and what helps.
pub fn exposure(metadata: &Metadata, holds: Holds) -> Option<(String, &'static str)> {
    let mode = metadata.permissions().mode() & 0o7777;
    let message = match (mode & 0o002 != 0, mode & 0o004 != 0 && holds == Holds::Secret) {
        (true, true) => "any user may read and write this file",
        (true, false) => "any user may write this file",
        (false, true) => "any user may read this file",
        (false, false) => return None,
    };
    Some((
        format!("{message}: its mode is {mode:04o}"),
        "chmod o= removes that right; root:pfxhttp and 0640 is usual",
    ))
}
