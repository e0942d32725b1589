//! Sockets of a service manager, passed by name (sd_listen_fds(3)): if the broker is killed and started again,
//! it finds its sockets, and no connection is refused meanwhile.
//!
//! `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` are read once, before any thread starts. Sockets are also
//! kept here, because a reload may remove a listener and a later one add it again.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

use super::bind::{Error, Socket, UnixEndpoint};
use super::settings::Endpoint;

/// The sockets of the service manager.
#[derive(Debug, Default)]
pub struct Activated(Vec<(String, Socket)>);

impl Activated {
    /// Takes the sockets that the environment names, except those that are not listening stream sockets.
    ///
    /// # Errors
    /// A name is used twice.
    pub fn from_environment() -> Result<Self, String> {
        // listenfd removes the other variables.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut sockets: Vec<(String, Socket)> = Vec::new();
        for place in 0..handed.len() {
            let name = names.next().unwrap_or("unknown").to_owned();
            let unix = handed.take_unix_listener(place).ok().flatten().map(of_manager);
            let socket = unix.or_else(|| handed.take_tcp_listener(place).ok().flatten().map(Socket::Tcp));
            let Some(socket) = socket else { continue };
            if sockets.iter().any(|(known, _)| *known == name) {
                return Err(format!("LISTEN_FDNAMES names {name:?} twice"));
            }
            sockets.push((name, socket));
        }
        Ok(Self(sockets))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The socket of this name, which must be at `endpoint`; `None` if there is none.
    pub(super) fn take(&self, name: &str, endpoint: &Endpoint) -> Result<Option<Socket>, Error> {
        let Some((_, handed)) = self.0.iter().find(|(known, _)| known == name) else { return Ok(None) };
        let failed =
            |step: &'static str| Error::of(format!("the socket {name:?} of the service manager"), step);
        let wrong = |step| failed(step)(io::ErrorKind::AddrNotAvailable.into());
        let socket = match (handed, endpoint) {
            (Socket::Unix(UnixEndpoint { listener: socket, .. }), Endpoint::Unix(wanted)) => {
                let address = socket.local_addr();
                let path = address.as_ref().ok().and_then(|address| address.as_pathname());
                if path != Some(Path::new(&wanted.path)) {
                    return Err(wrong("it listens at another path than `address` says"));
                }
                socket.set_nonblocking(true).and_then(|()| socket.try_clone()).map(of_manager)
            }
            (Socket::Tcp(socket), Endpoint::Tcp { port, .. }) => {
                let bound = socket.local_addr().map_or(0, |address| address.port());
                if *port != 0 && bound != *port {
                    return Err(wrong("it listens at another port than `port` says"));
                }
                socket.set_nonblocking(true).and_then(|()| socket.try_clone()).map(Socket::Tcp)
            }
            _ => return Err(wrong("it is of another type than `type` says")),
        };
        socket.map(Some).map_err(failed("it cannot be used"))
    }
}

/// A socket whose path belongs to the service manager.
fn of_manager(listener: UnixListener) -> Socket {
    Socket::Unix(UnixEndpoint { listener, name: None })
}
