//! The password or token of `query sasl`: typed at a terminal without echo, or all of another standard input.
//!
//! A signal that ends or stops the program acts when the terminal has its echo again. After Ctrl-Z and `fg`
//! the prompt is shown again.

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// More than a line of the protocol may have.
const LONGEST: usize = 32 * 1024;
/// A terminal cuts a line to this, its end included (termios(3), canonical mode).
const LONGEST_TYPED: usize = 4096;

/// Reads `what`: a password or a token. It has no end of line.
///
/// # Errors
/// `UnexpectedEof`: there is none. `InvalidInput`: it is too long to be typed.
pub(super) fn read(what: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut secret = Zeroizing::new(Vec::with_capacity(LONGEST));
    let stdin = io::stdin();
    if stdin.is_terminal() {
        ask(what, &mut secret)?;
    } else {
        stdin.lock().take(LONGEST as u64).read_to_end(&mut secret)?;
    }
    let end = secret.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    if secret.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    secret.truncate(end);
    Ok(secret)
}

/// Asks until a line was typed.
fn ask(what: &str, line: &mut Vec<u8>) -> io::Result<()> {
    let prompt = format!("{}{}: ", what[..1].to_ascii_uppercase(), &what[1..]);
    loop {
        let silent = NoEcho::begin()?;
        eprint_prompt(&prompt);
        let signal = typed_line(line)?;
        if signal.is_some() {
            // The shell must not read what was typed so far.
            let _ = tcflush(io::stdin().as_fd(), QueueSelector::IFlush);
        }
        drop(silent);
        let Some(signal) = signal else { return Ok(()) };
        raise(signal)?;
        if signal != Signal::SIGTSTP {
            // It is ignored.
            return Err(ErrorKind::Interrupted.into());
        }
        // The shell has brought it back. What was typed before is lost.
        line.clear();
    }
}

fn eprint_prompt(text: &str) {
    // Standard error may be closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Appends what is typed, until the end of the line or of the input. Returns the signal that came before.
fn typed_line(line: &mut Vec<u8>) -> io::Result<Option<Signal>> {
    let signals = SignalFd::with_flags(&held(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let stdin = io::stdin();
    let mut typed = Zeroizing::new([0; LONGEST_TYPED]);
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let has_input = !ready[0].revents().is_empty();
        if let Some(signal) = signals.read_signal()? {
            return Ok(i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()));
        }
        if !has_input {
            continue;
        }
        let count = match rustix::io::read(&stdin, &mut typed[..]) {
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        line.extend_from_slice(&typed[..count]);
        if line.len() >= LONGEST_TYPED {
            let message = "too long for a line of a terminal; use a file or a pipe as standard input";
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        if count == 0 || line.ends_with(b"\n") {
            return Ok(None);
        }
    }
}

/// The signals that end or stop a program which has a terminal.
fn held() -> SigSet {
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP].into_iter().collect()
}

/// The terminal without echo; when dropped, it is as before, and signals are no longer held.
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
