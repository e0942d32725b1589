//! `pfxhttp-client` as spawn(8) starts it: descriptors 0, 1 and 2 are one socket, so that output on
//! stderr would show among the replies. The program is the shipped, static one.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{PATIENCE, wait_for_exit};

/// The shipped client: `PFXHTTP_CLIENT`, else what `make build` leaves.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("PFXHTTP_CLIENT").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/pfxhttp-client");
    let program = named.unwrap_or(built);
    assert!(program.is_file(), "there is no {}: run make build", program.display());
    program
}

/// A client that serves one connection.
pub(crate) struct Client {
    child: Child,
}

impl Client {
    /// Starts it; the other end of its connection is the second value.
    pub(crate) fn spawn(arguments: &[&OsStr]) -> (Self, UnixStream) {
        let mut command = Command::new(program());
        command.args(arguments);
        Self::launch(command)
    }

    /// Starts it by a command that the test made.
    pub(crate) fn launch(mut command: Command) -> (Self, UnixStream) {
        let (ours, its) = UnixStream::pair().expect("a socket pair");
        let copy = || Stdio::from(std::os::fd::OwnedFd::from(its.try_clone().expect("a descriptor")));
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let child = command.spawn().expect("the client's program can be started");
        (Self { child }, ours)
    }

    /// Starts a client that asks at `socket`, with these further arguments.
    pub(crate) fn asking(socket: &Path, arguments: &[&str]) -> (Self, UnixStream) {
        let mut all: Vec<&OsStr> = vec!["--socket".as_ref(), socket.as_os_str()];
        all.extend(arguments.iter().map(OsStr::new));
        Self::spawn(&all)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code, if it ends in time.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait_for_exit(&mut self.child, PATIENCE).and_then(|status| status.code())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
