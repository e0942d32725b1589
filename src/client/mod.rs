//! `pfxhttp-client`: serves one connection of Postfix on standard input and output.
//!
//! spawn(8) starts it once per connection, with descriptors 0, 1 **and 2** on the socket of Postfix. So it
//! first redirects standard error: Postfix would read a stray line as a reply. Then it passes the connection
//! to the broker and ends (`hand_over`). If the broker does not take it, the client decodes requests, asks the
//! broker over the local socket (`link`), and encodes the answers. It reads no configuration, opens no
//! network and keeps nothing between two requests.
//!
//! It gives up inherited descriptors, its directory and cores (`inherited`). The environment stays: clearing
//! it takes unsafe code, and /proc would still show it. The client reads no variable and starts no program.
//!
//! It exits with 0 when Postfix hangs up or sends garbage, because spawn(8) logs a warning for any other
//! code, and with 64 for a wrong command line. Errors go to syslog.

mod args;
mod connection;
mod hand_over;
mod inherited;
mod link;
mod logins;
mod syslog;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::model::{Answer, Failure, Protocol, Question};
use crate::wire::ipc::{self, Service};
use crate::wire::reply::{self, Next};
use crate::wire::{Error, policy, socketmap};
use args::{Args, Invocation};
use hand_over::Attempted;
use link::BrokerLink;

/// How long the next byte of an incomplete request may take.
const HALF_READ: Duration = Duration::from_secs(30);

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    speaking(ipc::VERSION)
}

/// The program with another frame version, for the tests of an upgrade.
#[must_use]
pub fn speaking(version: u16) -> ExitCode {
    let null = OpenOptions::new().write(true).open("/dev/null");
    if !null.is_ok_and(|null| rustix::stdio::dup2_stderr(null).is_ok()) {
        return ExitCode::from(75);
    }
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Serve(mut args)) => {
            inherited::make_absolute(&mut args.socket);
            serve(args, version)
        }
        Ok(Invocation::Print(text)) => {
            // For a user at a terminal: spawn(8) passes no such option.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            syslog::warn(&format!("{error}; see pfxhttp-client --help"));
            // If it is not a socket, the reader is not Postfix.
            if !is_socket(rustix::stdio::stdout()) {
                let _ = writeln!(std::io::stdout(), "pfxhttp-client: {error}; see pfxhttp-client --help");
            }
            ExitCode::from(64)
        }
    }
}

fn is_socket(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_socket())
}

fn serve(args: Args, version: u16) -> ExitCode {
    let (service, own_fallback) = (args.service.clone(), args.on_failure.clone());
    let mechanisms = args.mechanisms.clone();
    let mut link = BrokerLink::new(args, version);
    let protocol = match &service {
        Service::Socketmap => Protocol::Socketmap,
        Service::Policy { .. } => Protocol::Policy,
        Service::Login { name } => return logins::serve(name, mechanisms, link),
    };
    let mut received = Vec::new();
    let mut reply = Vec::new();
    loop {
        // Nothing of the next request has been read.
        if received.is_empty() && link.hand_over() == Attempted::End {
            return ExitCode::SUCCESS;
        }
        link.give_up_inherited();
        let Some(request) = next_request(&service, &mut received) else { return ExitCode::SUCCESS };
        let answer = match request {
            // If the broker no longer serves this program, Postfix repeats the request on a new connection,
            // which starts the new program.
            Ok(question) => link.ask(&question),
            Err(failure) => {
                link.unread_since = None;
                Some(Answer::Failed { failure, on_failure: None })
            }
        };
        let Some(answer) = answer else { return ExitCode::SUCCESS };
        let fallback = link.on_failure().unwrap_or(&own_fallback);
        reply.clear();
        match reply::encode(protocol, &answer, fallback, &mut reply) {
            Next::Stay if write_all(&reply).is_ok() => {}
            Next::Stay | Next::Close => return ExitCode::SUCCESS,
        }
    }
}

/// Reads one request; `None` at the end. Further bytes stay in `received`.
fn next_request(service: &Service, received: &mut Vec<u8>) -> Option<Result<Question, Failure>> {
    loop {
        let decoded = match service {
            Service::Socketmap => socketmap::decode(received),
            Service::Policy { name } => policy::decode(received, name),
            // Logins have a loop of their own.
            Service::Login { .. } => return None,
        };
        match decoded {
            Ok(Some((question, consumed))) => {
                received.drain(..consumed);
                return Some(Ok(question));
            }
            Ok(None) => {}
            Err(Error::Malformed { consumed, reason }) => {
                syslog::warn(reason);
                received.drain(..consumed);
                return Some(Err(Failure::Malformed));
            }
            Err(Error::Framing(reason)) => {
                syslog::warn(reason);
                return None;
            }
        }
        // After an EOF within a request the broker is not asked.
        if !matches!(read_more(received), Ok(1..)) {
            return None;
        }
    }
}

fn read_more(received: &mut Vec<u8>) -> rustix::io::Result<usize> {
    let stdin = rustix::stdio::stdin();
    let mut chunk = [0; 4096];
    let mut wait = !received.is_empty();
    loop {
        if wait && !ready(&PollFd::new(&stdin, PollFlags::IN), HALF_READ)? {
            return Ok(0);
        }
        match rustix::io::read(stdin, &mut chunk) {
            Ok(count) => {
                received.extend_from_slice(&chunk[..count]);
                return Ok(count);
            }
            Err(Errno::INTR) => {}
            // Another process made the shared description non-blocking.
            Err(Errno::AGAIN) => wait = true,
            Err(error) => return Err(error),
        }
    }
}

fn write_all(mut bytes: &[u8]) -> rustix::io::Result<()> {
    let stdout = rustix::stdio::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(stdout, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if ready(&PollFd::new(&stdout, PollFlags::OUT), HALF_READ)? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the descriptor became ready within `limit`.
fn ready(fd: &PollFd<'_>, limit: Duration) -> rustix::io::Result<bool> {
    let timeout = Timespec::try_from(limit).ok();
    loop {
        match poll(&mut [fd.clone()], timeout.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
