//! A listening socket and its connections, as a runtime sees them: one that has registered a connection, one that has
//! not, and how a connection moves from one thread to another.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::bind::Socket;
use super::session;

/// A copy of a listening socket, in the runtime of a thread that accepts.
#[derive(Debug)]
pub(super) enum Queue {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Queue {
    /// A copy of `socket`, registered with the present runtime.
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener.try_clone()?)?),
            Socket::Unix(socket) => Self::Unix(UnixListener::from_std(socket.listener.try_clone()?)?),
        })
    }

    /// The next connection, and its address over TCP.
    pub(super) async fn next(&self) -> io::Result<(Registered, Option<IpAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Registered::Tcp(stream), Some(peer.ip()))
            }
            Self::Unix(listener) => (Registered::Unix(listener.accept().await?.0), None),
        })
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection of Postfix or of a client that no runtime has registered.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// The same in the runtime of a thread.
#[derive(Debug)]
pub(super) enum Registered {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Whether the peer has closed both directions.
    pub(super) fn is_hung_up(&self) -> bool {
        match self {
            Self::Tcp(stream) => session::has(stream, PollFlags::HUP),
            Self::Unix(stream) => session::has(stream, PollFlags::HUP),
        }
    }

    /// Registers it with the runtime of this thread.
    pub(super) fn register(self) -> io::Result<Registered> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Registered::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Registered::Unix),
        }
    }
}

impl Registered {
    /// Takes it out of its runtime, for that of another thread.
    pub(super) fn leave(self) -> io::Result<Connection> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Connection::Tcp),
            Self::Unix(stream) => stream.into_std().map(Connection::Unix),
        }
    }
}

/// Replies are small and complete: they are sent at once. Keepalive detects a lost peer: an idle policy
/// connection has no other limit.
///
/// Every close of a connection for logins is a reset: Postfix 3.7 sees it before its next AUTH and reconnects.
/// After an ordinary close that AUTH fails, too (measured).
pub(super) fn prepare_tcp(stream: &impl AsFd, is_login: bool) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_keepalive(true);
    if is_login {
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}
