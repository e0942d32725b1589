//! Programs that use files of the machine (users, host names, directories that only root may write to),
//! in a mount namespace of their own in which files of a test replace these. Needs root.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for_exit, wait_until};

/// The host name in the namespace.
pub(crate) const HOST: &str = "mx.test.example";

/// A script that mounts pairs of paths up to `--`, and executes the rest.
const ENTER: &str = r#"set -e
hostname "$1"; shift
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift; exec "$@""#;

/// Runs `program` with each of `files` in place of a path of the machine.
pub(crate) fn command(files: &[(&Path, &str)], program: &Path) -> Command {
    assert!(rustix::process::geteuid().is_root(), "only root can make a mount namespace");
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--uts", "/bin/sh", "-c", ENTER, "sh", HOST]);
    for (file, at) in files {
        command.arg(file).arg(at);
    }
    command.arg("--").arg(program);
    command
}

/// A program that `make packages` has unpacked below target/mail-peers.
pub(crate) fn unpacked(path: &str) -> std::path::PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mail-peers").join(path);
    assert!(program.is_file(), "there is no {}: make packages", program.display());
    program
}

/// A mail server that runs in the foreground. It is killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it, and waits until it accepts at `port`.
    pub(crate) fn start(mut command: Command, port: u16) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().expect("a mail server can be started");
        let mut gone = None;
        let is_up = wait_until(PATIENCE, || {
            gone = child.try_wait().expect("a child can be waited for");
            gone.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let daemon = Self { child };
        assert!(is_up && gone.is_none(), "the mail server does not accept at {port}: {gone:?}");
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone_already = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if wait_for_exit(&mut self.child, PATIENCE).is_none() {
            let _gone_already = self.child.kill();
            let _status = self.child.wait();
        }
    }
}
