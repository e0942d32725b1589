//! Sockets that a service manager has made and hands over by name (sd_listen_fds(3)): a broker
//! that is killed and started again finds its sockets, and nobody was refused meanwhile.
//!
//! `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` are read once, before there is any thread. A
//! socket is kept here as well, for a reload may give up its listener and another one take it back.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

use super::bind::{Error, Socket, UnixEndpoint};
use super::settings::Endpoint;

/// What was handed over.
#[derive(Debug, Default)]
pub struct Activated(Vec<(String, Handed)>);

#[derive(Debug)]
enum Handed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Activated {
    /// Takes what the environment tells of. Descriptors that are no listening streams are left.
    ///
    /// # Errors
    /// A name that is given twice: nobody could tell which is meant.
    pub fn from_environment() -> Result<Self, String> {
        // listenfd takes the other variables away.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut sockets: Vec<(String, Handed)> = Vec::new();
        for place in 0..handed.len() {
            let name = names.next().unwrap_or("unknown").to_owned();
            let unix = handed.take_unix_listener(place).ok().flatten().map(Handed::Unix);
            let socket = unix.or_else(|| handed.take_tcp_listener(place).ok().flatten().map(Handed::Tcp));
            let Some(socket) = socket else { continue };
            if sockets.iter().any(|(known, _)| *known == name) {
                return Err(format!("LISTEN_FDNAMES names {name:?} twice"));
            }
            sockets.push((name, socket));
        }
        Ok(Self(sockets))
    }

    /// Whether a service manager has handed over anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a socket of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The socket of this name, which must be the one for `endpoint`; nothing where none has it.
    ///
    /// # Errors
    /// A socket that listens somewhere else.
    pub fn take(&self, name: &str, endpoint: &Endpoint) -> Result<Option<Socket>, Error> {
        let Some((_, handed)) = self.0.iter().find(|(known, _)| known == name) else { return Ok(None) };
        let wrong = |step: &'static str| Error {
            endpoint: format!("the socket {name:?} of the service manager"),
            step: step.into(),
            source: io::ErrorKind::AddrNotAvailable.into(),
        };
        let socket = match (handed, endpoint) {
            (Handed::Unix(socket), Endpoint::Unix(wanted)) => {
                let address = socket.local_addr();
                let path = address.as_ref().ok().and_then(|address| address.as_pathname());
                if path != Some(Path::new(&wanted.path)) {
                    return Err(wrong("it listens at another path than `address` says"));
                }
                socket
                    .set_nonblocking(true)
                    .and_then(|()| socket.try_clone())
                    .map(|listener| Socket::Unix(UnixEndpoint { listener, name: None }))
            }
            (Handed::Tcp(socket), Endpoint::Tcp { port, .. }) => {
                let bound = socket.local_addr().map_or(0, |address| address.port());
                if *port != 0 && bound != *port {
                    return Err(wrong("it listens at another port than `port` says"));
                }
                socket.set_nonblocking(true).and_then(|()| socket.try_clone()).map(Socket::Tcp)
            }
            _ => return Err(wrong("it is of another type than `type` says")),
        };
        socket.map(Some).map_err(|source| Error { source, ..wrong("it cannot be used") })
    }
}
