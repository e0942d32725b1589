//! A connection to the broker: connect, read, and wait for the broker or until Postfix hangs up.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use interprocess::ConnectWaitMode;
use interprocess::local_socket::{ConnectOptions, GenericFilePath, ToFsName};
use interprocess::os::unix::uds_local_socket::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::model::Deadline;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

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

/// Waits for the broker; false if Postfix hangs up first. If nothing has come from Postfix yet, `unread_since`
/// is set when something does.
pub(super) fn wait(
    stream: &Stream,
    interest: PollFlags,
    until: Deadline,
    mut unread_since: Option<&mut Option<Instant>>,
) -> io::Result<bool> {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let stream = stream.as_fd();
    loop {
        let left = until.remaining();
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let left = Timespec::try_from(left).ok();
        let mut fds = vec![PollFd::new(&stream, interest), PollFd::new(&stdout, PollFlags::empty())];
        if unread_since.as_ref().is_some_and(|since| since.is_none()) {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, left.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) if !fds[0].revents().is_empty() => return Ok(true),
            Ok(_) if !fds[1].revents().is_empty() => return Ok(false),
            Ok(_) => {
                if let Some(since) = &mut unread_since {
                    **since = Some(Instant::now());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the broker has closed the connection.
pub(super) fn is_closed(stream: &Stream) -> bool {
    let stream = stream.as_fd();
    let mut fds = [PollFd::new(&stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1..))
}

/// The pauses between attempts to reach a broker. Each is twice as long as the one before, up to a limit.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) const fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// Pauses, for `left` at most; true if Postfix hung up meanwhile: standard output has no reader. A half-close
    /// does not count, nor does the end of a pipe on standard input.
    pub(super) fn hung_up(&mut self, left: Duration) -> bool {
        let pause = self.0.min(left);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        let stdout = rustix::stdio::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        matches!(poll(&mut fds, Timespec::try_from(pause).ok().as_ref()), Ok(1..))
    }
}
