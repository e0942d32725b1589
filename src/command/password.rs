//! The password of `query sasl`: typed at a terminal without echo, or all of another standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// More than a line of the protocol may have.
const LONGEST: u64 = 32 * 1024;

/// Reads it. It has no end of line.
pub(super) fn read() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut password = Zeroizing::new(Vec::with_capacity(1024));
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let _echo = NoEcho::begin()?;
        eprint_prompt("Password: ");
        wait_for_line()?;
        stdin.lock().take(LONGEST).read_until(b'\n', &mut password)?;
    } else {
        stdin.lock().take(LONGEST).read_to_end(&mut password)?;
    }
    let end = password.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    if password.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    password.truncate(end);
    Ok(password)
}

fn eprint_prompt(text: &str) {
    // Standard error may be closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Returns when there is a line to read.
fn wait_for_line() -> io::Result<()> {
    let signals = SignalFd::with_flags(&held(), SfdFlags::SFD_CLOEXEC)?;
    let stdin = io::stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
    loop {
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            // The signal acts as soon as the terminal is as before.
            Ok(_) if !ready[1].revents().is_empty() => return Err(io::ErrorKind::Interrupted.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// The signals that end or stop a program which has a terminal.
fn held() -> SigSet {
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP].into_iter().collect()
}

/// The terminal without echo; when dropped, it is as before, and signals that came meanwhile act.
struct NoEcho(Termios);

impl NoEcho {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        held().thread_block()?;
        let begun = Self(before);
        let mut silent = begun.0.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(begun)
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.0);
        // The line end that was not echoed.
        eprint_prompt("\n");
        let _ = held().thread_unblock();
    }
}
