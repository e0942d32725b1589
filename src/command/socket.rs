//! Finds the admin socket of the running broker, which the configuration names.
//!
//! The file may have changed since the broker read it, and may be broken. The commands must work then,
//! too: the path is taken from what can be read of the file, else it is the default.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::command::cli::Cli;
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::exit::{CONFIG, TEMPORARY, say};
use crate::settings::{Configuration, Problem, Severity};

/// A policy may take 90 s.
const PATIENCE: Duration = Duration::from_secs(100);

/// The path of the admin socket, and the configuration that it comes from.
pub(super) struct AdminSocket {
    path: PathBuf,
    file: PathBuf,
    pub(super) config: Result<Configuration, Vec<Problem>>,
}

/// Asks the broker at `path` for its status.
///
/// # Errors
/// The reason why there is none, as a sentence.
pub(super) fn status(path: &Path) -> Result<Value, String> {
    match order(path, &AdminRequest::Status) {
        Ok(AdminReply::Status { status }) => Ok(status),
        Ok(AdminReply::Refused { why }) => Err(why),
        Ok(_) => Err("unexpected reply of the broker".to_owned()),
        Err(error) => Err(reason(path, &error)),
    }
}

impl AdminSocket {
    /// Reads the configuration that `cli` names.
    pub(super) fn of(cli: &Cli) -> Self {
        let (file, read) = cli.location().read(false);
        match read {
            Ok((config, _)) => {
                Self { path: config.server.sockets.admin.path.clone(), file, config: Ok(config) }
            }
            Err(problems) => {
                let path = cli.location().admin_socket(&file);
                Self { path, file, config: Err(problems) }
            }
        }
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends `what` to the broker, and warns if the broker may not have the configuration of the file. A
    /// reload reads the file again, and says so itself.
    pub(super) fn order(&self, what: &AdminRequest) -> io::Result<AdminReply> {
        let told = order(&self.path, what)?;
        if self.is_broken() && !matches!(what, AdminRequest::Reload) {
            say(self.config.as_ref().err().map_or(&[], Vec::as_slice));
            say(&[format!("warning: the broker at {} still uses what it read before", self.path.display())]);
        }
        Ok(told)
    }

    /// Warns that the broker has read another configuration than this process.
    pub(super) fn warn_of_other_configuration(&self) {
        let (path, file) = (self.path.display(), self.file.display());
        let what = "the broker answers with the configuration that it has read, which is not that of";
        say(&[format!("warning: {path}: {what} {file}")]);
    }

    /// Whether the configuration has an error, other than that this process lacks the broker's credentials.
    fn is_broken(&self) -> bool {
        let is_error =
            |problem: &Problem| problem.severity == Severity::Error && !problem.lacks_credentials();
        self.config.as_ref().is_err_and(|problems| problems.iter().any(is_error))
    }

    /// Prints why there is no reply.
    pub(super) fn complain(&self, error: &io::Error) -> ExitCode {
        let is_broken = self.is_broken();
        if let (true, Err(problems)) = (is_broken, &self.config) {
            say(problems);
        }
        say(&[format!("pfxhttp-broker: {}", reason(&self.path, error))]);
        ExitCode::from(if is_broken { CONFIG } else { TEMPORARY })
    }
}

/// Why there is no reply from `path`.
fn reason(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{path}: permission denied; run this as root or as the broker's user")
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("the broker at {path} does not answer"),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            format!("the broker at {path} closed the connection without a reply; is it stopping?")
        }
        ErrorKind::InvalidData => format!("unexpected reply of the broker at {path}"),
        _ => format!("no broker answers at {path}: {error}"),
    }
}

/// Whether no process listens on the socket.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn order(path: &Path, order: &AdminRequest) -> io::Result<AdminReply> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    if !answer.ends_with(b"\n") {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&answer).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}
