//! Secrets that may stand in a file of their own: `client_secret`, or `client_secret_file`; and
//! private keys, which always do.
//!
//! Limits: a file of at most 64 KiB in UTF-8; line ends behind the secret, and a byte order mark
//! before it, do not belong to it.

use std::fs::File;
use std::io::Read;

use super::file::{self, Holds};
use super::path::KeyPath;
use super::problem::Report;
use crate::model::secret::Secret;

/// The secrets that have a twin.
const SECRETS: [&str; 3] = ["client_secret", "http_auth_basic", "prometheus_http_auth_basic"];

const MAX_BYTES: u64 = 64 * 1024;

/// What some editors begin a file with.
const MARK: char = '\u{feff}';

/// The other one of a secret and its file.
pub(super) fn twin(key: &str) -> Option<String> {
    match key.strip_suffix("_file") {
        Some(secret) => SECRETS.contains(&secret).then(|| secret.to_owned()),
        None => SECRETS.contains(&key).then(|| format!("{key}_file")),
    }
}

/// The secret `key` of the block at `path`, and the key that it was given under.
pub(super) fn read(
    report: &mut Report<'_>,
    path: &KeyPath,
    key: &'static str,
    given: Option<String>,
    file: Option<&str>,
) -> Option<(Secret, KeyPath)> {
    let given = given.map(Secret::new);
    let Some(file) = file else {
        let (secret, at) = (given?, path.key(key));
        if secret.expose().is_empty() {
            report.value(&at, "must not be empty");
            return None;
        }
        return Some((secret, at));
    };
    let at = path.key(&format!("{key}_file"));
    if given.is_some() {
        report.value(&at, format!("`{key}` is given as well; only one of them can hold"));
        return None;
    }
    from_file(report, &at, file).map(|secret| (secret, at))
}

/// What stands in `file`, which the key at `path` names.
pub(super) fn from_file(report: &mut Report<'_>, path: &KeyPath, file: &str) -> Option<Secret> {
    let (file, _) = file::open(report, path, file, Holds::Secret)?;
    match content(file) {
        Ok(text) if text.is_empty() => {
            report.value(path, "the file is empty");
            None
        }
        Ok(text) => Some(Secret::new(text)),
        Err(message) => {
            report.value(path, message);
            None
        }
    }
}

fn content(file: File) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("the file is larger than 64 KiB".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    Ok(text)
}
