//! Where a configuration comes from: the search for a file, its text, and the environment.
//!
//! Limits: a file of at most 1 MiB in UTF-8. All line ends become `\n`, as in YAML. A file that cannot be
//! read is a problem that names the file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use nix::unistd::{User, geteuid};

use super::{Options, ReadAndDumped, parse_and};
use crate::document::{CREDENTIALS, Holds, Place, Problem, Syntax, exposure};
use crate::export::settings::VARIABLES;
use crate::http::is_proxy_variable;

const MAX_BYTES: u64 = 1 << 20;
/// As large as that of the first thread usually is.
const STACK: usize = 8 << 20;

/// The names of the file, in the order of the search.
const NAMES: [&str; 4] = ["pfxhttp.yml", "pfxhttp.yaml", "pfxhttp.toml", "pfxhttp.json"];

/// The user that packages make for the broker.
const BROKER: &str = "pfxhttp";

/// The prefix of the variables that set keys.
pub(super) const PREFIX: &str = "PFXHTTP_";

/// Where a configuration is, as the command line says it.
#[derive(Debug, Clone, Default)]
pub struct Location {
    /// The file; `None`: the first one in the usual directories.
    pub file: Option<PathBuf>,
    /// The syntax; `None`: by the file's extension.
    pub syntax: Option<Syntax>,
}

impl Location {
    /// Reads the configuration with the variables of the process. `is_jailed` says whether the process is
    /// in its `server.chroot`. Beside the result stands the file.
    ///
    /// A thread of its own reads it. The allocator keeps memory by thread: what the tree took goes back to the system,
    /// and nothing that lives longer lies in between.
    pub fn read(&self, is_jailed: bool) -> (PathBuf, super::Read) {
        let read = || self.read_and(is_jailed, None);
        let (path, read) =
            thread::scope(|scope| match thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read) {
                Ok(reading) => reading.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => read(),
            });
        (path, read.map(|(settings, warnings, _)| (settings, warnings)))
    }

    /// The effective configuration in YAML, each value with its origin as a comment, without secrets; with
    /// `changed_only` without defaults. Beside it stand the warnings.
    ///
    /// # Errors
    /// All problems in the order of the file.
    pub fn dump(&self, changed_only: bool) -> Result<(String, Vec<Problem>), Vec<Problem>> {
        let (_, read) = self.read_and(false, Some(changed_only));
        read.map(|(_, warnings, text)| (text, warnings))
    }

    /// The path of the admin socket, as far as the file at `path` says it, which may have errors; else the
    /// usual one. The broker that runs has read another version of the file.
    #[must_use]
    pub fn admin_socket(&self, path: &Path) -> PathBuf {
        let environment = environment();
        let options = Options { syntax: self.syntax, environment: &environment, is_jailed: false };
        super::admin_socket(path, &read(path).map(|(text, _)| text).unwrap_or_default(), options)
    }

    fn read_and(&self, is_jailed: bool, changed_only: Option<bool>) -> (PathBuf, ReadAndDumped) {
        let found = match &self.file {
            Some(path) => Ok((path.clone(), None)),
            None => search(&directories()),
        };
        let (path, beside) = match found {
            Ok(found) => found,
            Err(problem) => return (PathBuf::from("configuration"), Err(vec![*problem])),
        };
        let environment = environment();
        let options = Options { syntax: self.syntax, environment: &environment, is_jailed };
        let read = match read(&path) {
            Ok((text, exposed)) => {
                parse_and(&path, &text, options, beside.into_iter().chain(exposed), changed_only)
            }
            Err(problem) => Err(vec![*problem]),
        };
        (path, read)
    }
}

/// The variables of the process that are read, in the order of their names. One that is not UTF-8 is left
/// out.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let mut read: Vec<_> = std::env::vars_os().filter_map(text).filter(|(name, _)| is_read(name)).collect();
    read.sort();
    read
}

/// Whether the variable `name` is read: `PFXHTTP_…` in any case, those of OpenTelemetry that stand in for
/// a key, the directory of credentials, and those for proxies.
fn is_read(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        || VARIABLES.iter().any(|(_, variable)| *variable == name)
        || name == CREDENTIALS
        || is_proxy_variable(name)
}

/// The directories, in the order of the search.
fn directories() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| PathBuf::from(home).join(".pfxhttp"));
    let system = ["/usr/local/etc/pfxhttp", "/etc/pfxhttp"].map(PathBuf::from);
    system.into_iter().chain(home).chain([PathBuf::from(".")]).collect()
}

/// The first configuration in `directories`, and a warning if there are others beside it.
fn search(directories: &[PathBuf]) -> Result<(PathBuf, Option<Problem>), Box<Problem>> {
    let mut closed = None;
    for directory in directories {
        closed = closed.or_else(|| closed_name(directory));
        let mut found = NAMES.iter().map(|name| directory.join(name)).filter(|path| path.exists());
        if let Some(first) = found.next() {
            let others: Vec<String> = found.map(|path| path.display().to_string()).collect();
            let warning = (!others.is_empty()).then(|| {
                let message = format!("is read; other files beside it are not: {}", others.join(", "));
                Problem::warning_of_file(&first, message)
            });
            return Ok((first, warning));
        }
    }
    // Permissions may hide a configuration.
    if let Some(path) = closed {
        return Err(Box::new(unreadable(&path, &io::ErrorKind::PermissionDenied.into())));
    }
    let looked: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    let message = format!("no such file in {}", looked.join(", "));
    let problem = Problem::of_file(Path::new(NAMES[0]), message);
    Err(Box::new(problem.with_hint("make one of them, or name another with --config")))
}

/// The first name in `directory` that permissions hide.
fn closed_name(directory: &Path) -> Option<PathBuf> {
    let is_closed = |path: &PathBuf| {
        fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    NAMES.iter().map(|name| directory.join(name)).find(is_closed)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Problem::of_file(path, format!("cannot be read: {error}"));
    }
    let problem = Problem::of_file(path, "cannot be read: permission denied");
    let user = User::from_uid(geteuid()).ok().flatten();
    problem.with_hint(if user.is_some_and(|user| user.name == BROKER) {
        "the broker's user must be able to read it: chgrp pfxhttp the file and its directory, chmod 640 the file, chmod 750 the directory"
    } else {
        "run this as root, or as the broker's user (pfxhttp)"
    })
}

/// The text of the file at `path`, and a warning if any user may read or write it.
fn read(path: &Path) -> Result<(String, Option<Problem>), Box<Problem>> {
    let unreadable = |error: io::Error| Box::new(unreadable(path, &error));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Box::new(Problem::of_file(path, "larger than 1 MiB")));
    }
    let exposed = metadata.is_file().then(|| exposure(&metadata, Holds::Secret)).flatten();
    let exposed = exposed.map(|(message, hint)| Problem::warning_of_file(path, message).with_hint(hint));
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line_start = valid.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        let column = 1 + String::from_utf8_lossy(valid.get(line_start..).unwrap_or_default()).chars().count();
        let mut problem = Problem::of_file(path, "this byte is not UTF-8");
        problem.place = Some(Place { line, column });
        Box::new(problem)
    })?;
    Ok((text, exposed))
}

/// `text` with `\n` for every line end, also the last one, and without a byte order mark.
pub(super) fn normal(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_wins_and_a_missing_file_says_where() {
        let directory = tempfile::tempdir().expect("a directory");
        let places = [directory.path().join("a"), directory.path().join("b")];
        let problem = search(&places).expect_err("nothing there");
        assert!(problem.message.contains("/a, "), "{problem}");

        std::fs::create_dir(&places[1]).expect("a directory");
        std::fs::write(places[1].join("pfxhttp.toml"), "").expect("a file");
        assert_eq!(search(&places), Ok((places[1].join("pfxhttp.toml"), None)));
        std::fs::write(places[1].join("pfxhttp.yaml"), "").expect("a file");
        let (found, warning) = search(&places).expect("two files");
        assert_eq!(found, places[1].join("pfxhttp.yaml"));
        assert!(warning.expect("a warning").message.ends_with("/b/pfxhttp.toml"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pfxhttp.yml");
        assert!(read(&path).expect_err("missing").to_string().contains("pfxhttp.yml: error: cannot be read"));
        std::fs::write(&path, b"server: ~\nname: \"\xff\"\n").expect("a file");
        let problem = read(&path).expect_err("not UTF-8");
        assert_eq!(problem.place, Some(Place { line: 2, column: 8 }));
        assert!(read(directory.path()).is_err(), "a directory");
    }
}
