//! A connection to the broker: connect, read, and wait for the broker or until Postfix hangs up.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::local_socket::{ConnectOptions, GenericFilePath, ToFsName};
use interprocess::os::unix::uds_local_socket::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::timespec;
use crate::model::Deadline;

/// A connection, and the bytes read from it.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) received: Vec<u8>,
    pub(super) greeted: bool,
}

impl Connection {
    pub(super) fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match (&self.stream).read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Connects without waiting. A broker whose queue of connections is full counts as absent.
pub(super) fn connect(socket: &Path) -> io::Result<Stream> {
    ConnectOptions::new()
        .name(socket.to_fs_name::<GenericFilePath>()?)
        .wait_mode(ConnectWaitMode::Timeout(Duration::ZERO))
        .nonblocking_stream(true)
        .connect_sync_as::<Stream>()
}

#[derive(PartialEq)]
pub(super) enum Woken {
    Ready,
    HungUp,
}

/// Waits for the broker, or until Postfix hangs up.
pub(super) fn wait(stream: &Stream, interest: PollFlags, until: Deadline) -> io::Result<Woken> {
    let stdout = rustix::stdio::stdout();
    let stream = stream.as_fd();
    loop {
        let left = until.remaining();
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut fds = [PollFd::new(&stream, interest), PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = !fds[0].revents().is_empty();
        return Ok(if ready { Woken::Ready } else { Woken::HungUp });
    }
}

/// Pauses; true if Postfix hung up meanwhile: standard output has no reader. A half-close does not count, nor
/// does the end of a pipe on standard input.
pub(super) fn hung_up_within(pause: Duration) -> bool {
    let stdout = rustix::stdio::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    matches!(poll(&mut fds, Some(&timespec(pause))), Ok(1..))
}
