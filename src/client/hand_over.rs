//! Hands Postfix' connection to the broker, which then serves it as that of a listener (`wire::ipc` describes
//! the steps). spawn(8) waits for this program and closes its own descriptors, so the connection lives on.
//!
//! Nothing of the connection is read before the broker has answered. If no broker runs, the client waits for
//! one as long as a lookup may wait, with the request unread. If the broker does not take the connection, the
//! client forwards requests, and tries again after that broker is lost.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use interprocess::os::unix::uds_local_socket::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::args::Args;
use super::connection::{Connection, Pauses, connect, is_closed};
use super::inherited;
use super::link::{Attempt, BrokerLink, IMPATIENT, invalid};
use crate::model::Deadline;
use crate::wire::ipc::{self, Hello, Offer, YOURS};

/// How long the handshake of logins waits for the broker: an smtpd whose handshake is late exits.
const HANDSHAKE: Duration = Duration::from_millis(800);

/// What remains to do for this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempted {
    /// To serve the connection.
    Serve,
    /// Nothing: it was handed over, Postfix has hung up, or the broker no longer serves this program's frame
    /// version.
    End,
}

/// What is offered to the broker; `None` if standard input and output are not one socket.
pub(super) fn offer(args: &Args) -> Option<Offer> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let is_one_socket = || {
        let (Ok(one), Ok(other)) = (fstat(stdin), fstat(stdout)) else { return false };
        FileType::from_raw_mode(one.st_mode).is_socket()
            && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    };
    let (on_failure, mechanisms) = (args.on_failure.clone(), args.mechanisms.clone());
    (args.hand_over && is_one_socket()).then_some(Offer { on_failure, mechanisms })
}

impl BrokerLink {
    /// Hands the connection over, if no request was forwarded to the present broker. Without a broker it returns
    /// when a request has waited for its time limit.
    pub(super) fn hand_over(&mut self) -> Attempted {
        let mut pauses = Pauses::new();
        self.unread_since = None;
        // Another broker may take it: the last one was lost, during a request or since.
        let is_lost = || self.connection.as_ref().is_some_and(|known| is_closed(&known.stream));
        if self.offer.is_some() && (std::mem::take(&mut self.has_lost) || is_lost()) {
            self.lose_connection();
        }
        while self.connection.is_none() && self.may_offer() {
            let patience = if self.waited_in_vain { IMPATIENT } else { self.timeout };
            let since = self.unread_since.unwrap_or_else(Instant::now);
            let give_up = Deadline::from(since, patience);
            if give_up.remaining().is_zero() {
                break;
            }
            match self.try_hand_over(give_up) {
                Ok(Attempt::Taken | Attempt::End) => return Attempted::End,
                Ok(Attempt::Greeted | Attempt::Answered(_)) => break,
                Ok(Attempt::Lost) => {}
                Err(error) => self.trouble = error.to_string(),
            }
            self.connection = None;
            if self.unread_since.is_none() {
                match wait_for_request(since) {
                    Ok(Some(since)) => self.unread_since = Some(since),
                    Ok(None) | Err(_) => return Attempted::End,
                }
                continue;
            }
            if pauses.hung_up(give_up.remaining()) {
                return Attempted::End;
            }
        }
        Attempted::Serve
    }

    /// The same before the handshake of logins. Without a broker it returns when the handshake is due: at once
    /// if the command line has `named` the mechanisms.
    pub(super) fn begin_logins(&mut self, named: bool) -> Attempted {
        let give_up = Deadline::after(HANDSHAKE);
        let mut pauses = Pauses::new();
        while self.may_offer() || !named {
            match self.try_hand_over(give_up) {
                Ok(Attempt::Taken) => return Attempted::End,
                Ok(Attempt::Greeted) => return Attempted::Serve,
                // A broker of an older frame version may have said which.
                Ok(Attempt::Lost) => {}
                Ok(Attempt::End | Attempt::Answered(_)) => {
                    self.connection = None;
                    break;
                }
                Err(error) => self.trouble = error.to_string(),
            }
            self.connection = None;
            if named || give_up.remaining().is_zero() || pauses.hung_up(give_up.remaining()) {
                break;
            }
        }
        Attempted::Serve
    }

    /// Gives up what the client inherits, once. It has read nothing of the connection by then.
    pub(super) fn give_up_inherited(&mut self) {
        if std::mem::take(&mut self.holds_inherited) {
            inherited::give_up(self.connection.as_ref().map(|known| known.stream.as_fd()));
        }
    }

    fn may_offer(&self) -> bool {
        self.offer.is_some() && self.spoken >= ipc::HAND_OVER
    }

    /// Offers the connection on a new connection to the broker; without an offer it only greets.
    fn try_hand_over(&mut self, give_up: Deadline) -> io::Result<Attempt> {
        let Some(offer) = self.offer.as_ref().filter(|_| self.spoken >= ipc::HAND_OVER) else {
            return self.greet(give_up);
        };
        let mut hello = Vec::new();
        Hello::encode(self.spoken, &self.service, Some(offer), &mut hello).map_err(invalid)?;
        let stream = connect(&self.socket)?;
        let sent = match send_with_stdin(&stream, &hello) {
            Ok(sent) => sent,
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(Errno::PIPE.into()),
            // The system does not pass the descriptor (ETOOMANYREFS, a security policy).
            Err(_) => {
                self.offer = None;
                return self.greet(give_up);
            }
        };
        self.connection = Some(Connection { stream, received: Vec::new(), greeted: false });
        // Meanwhile the broker looks at the offer.
        self.give_up_inherited();
        let attempt = self.converse(&hello[sent..], None, give_up)?;
        if let (Attempt::Taken, Some(connection)) = (&attempt, &self.connection) {
            (&connection.stream).write_all(&[YOURS])?;
        }
        Ok(attempt)
    }
}

fn send_with_stdin(stream: &Stream, bytes: &[u8]) -> rustix::io::Result<usize> {
    let passed = [rustix::stdio::stdin()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&passed));
    sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Waits until Postfix sends something. Returns when that came: `since`, if it was there already. `None`:
/// Postfix has hung up.
fn wait_for_request(since: Instant) -> rustix::io::Result<Option<Instant>> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut limit = Some(&now);
    loop {
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, limit) {
            Ok(0) => limit = None,
            Ok(_) if !fds[1].revents().is_empty() => return Ok(None),
            Ok(_) => return Ok(Some(if limit.is_some() { since } else { Instant::now() })),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
