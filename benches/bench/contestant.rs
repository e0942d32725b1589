//! Who is measured: the backend, HAProxy before it, and the ways to ask the broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Outcome;
use super::options::Options;
use super::process::{PATIENCE, Reaped};
use super::script::{self, GREETED, HELLO, Script};
use super::site::Site;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// nginx alone, asked over HTTP.
    Backend,
    /// HAProxy, asked over HTTP, before nginx.
    Haproxy,
    /// The same with TLS between HAProxy and nginx.
    HaproxyTls,
    /// The broker's TCP listener for maps.
    Socketmap,
    /// The same, with a connection for each lookup.
    Once,
    /// The listener, of an entry with TLS to nginx.
    Tls,
    /// The same, of an entry with three targets that are all up.
    Targets,
    /// A map with one target through a unix socket.
    Unix,
    /// The broker's TCP listener for a policy service.
    Policy,
    /// The broker's TCP listener for logins.
    Sasl,
    /// Maps on connections that `pfxhttp-client` has handed over.
    HandedOver,
    /// Maps through `pfxhttp-client --no-hand-over`, one process for each connection.
    Forwarded,
    /// The TCP listener for maps, asked for what the cache has.
    Fresh,
    /// An entry whose answers are kept for outages, while the API answers.
    Kept,
    /// The same, and its answers are shared.
    Shared,
    /// As `Fresh`, and the answers are shared.
    SharedHit,
}

impl Contestant {
    pub(crate) const ALL: [Self; 16] = [
        Self::Backend,
        Self::Haproxy,
        Self::HaproxyTls,
        Self::Socketmap,
        Self::Once,
        Self::Tls,
        Self::Targets,
        Self::Unix,
        Self::Policy,
        Self::Sasl,
        Self::HandedOver,
        Self::Forwarded,
        Self::Fresh,
        Self::Kept,
        Self::Shared,
        Self::SharedHit,
    ];

    /// As options and tables have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Haproxy => "haproxy",
            Self::HaproxyTls => "haproxy-tls",
            Self::Socketmap => "socketmap",
            Self::Once => "once",
            Self::Tls => "tls",
            Self::Targets => "targets",
            Self::Unix => "unix",
            Self::Policy => "policy",
            Self::Sasl => "sasl",
            Self::HandedOver => "handed",
            Self::Forwarded => "forwarded",
            Self::Fresh => "fresh",
            Self::Kept => "kept",
            Self::Shared => "shared",
            Self::SharedHit => "shared-hit",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// What it is asked, and has to answer.
    pub(crate) fn script(self, site: &Site) -> Script {
        match self {
            Self::Backend | Self::Haproxy | Self::HaproxyTls => site.forwarded.clone(),
            Self::Socketmap | Self::Once | Self::Unix | Self::HandedOver | Self::Forwarded => {
                script::lookup("asked")
            }
            Self::Tls => script::lookup("secure"),
            Self::Targets => script::lookup("several"),
            Self::Policy => script::policy(),
            Self::Sasl => script::login(),
            Self::Fresh => script::lookup("fresh"),
            Self::Kept | Self::Shared | Self::SharedHit => script::lookup(self.name()),
        }
    }

    /// With whom it is compared: HAProxy, with TLS to the backend or without, as it has itself.
    pub(crate) fn reference(self) -> Self {
        if matches!(self, Self::Tls | Self::HaproxyTls) { Self::HaproxyTls } else { Self::Haproxy }
    }

    /// How many different requests it gets: a cache is asked for the same ones again and again.
    pub(crate) fn numbers(self) -> u32 {
        if self.is_hit() || self.has_sharing_broker() { 1000 } else { 80_000_000 }
    }

    /// Whether the cache answers, and the backend is not asked.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Fresh | Self::SharedHit)
    }

    /// Whether it is an entry of the broker that shares answers.
    pub(crate) fn has_sharing_broker(self) -> bool {
        matches!(self, Self::Kept | Self::Shared | Self::SharedHit)
    }

    /// Opens one connection, up to where the first request is due.
    pub(crate) fn open(self, site: &Site, options: &Options) -> Outcome<(OwnedFd, Option<Reaped>)> {
        let tcp = |port| tcp(port).map(OwnedFd::from);
        let socket = match self {
            Self::Backend => tcp(site.backend_port)?,
            Self::Haproxy => tcp(site.haproxy_port)?,
            Self::HaproxyTls => tcp(site.haproxy_tls_port)?,
            Self::Socketmap | Self::Once | Self::Tls | Self::Targets | Self::Fresh => tcp(site.ports.map)?,
            Self::Kept | Self::Shared | Self::SharedHit => tcp(site.sharing()?.port)?,
            Self::Policy => tcp(site.ports.policy)?,
            Self::Unix => unix(&site.directory.join("maps.sock"))?.into(),
            Self::Sasl => greeted(self::tcp(site.ports.login)?)?.into(),
            Self::HandedOver | Self::Forwarded => {
                let socket = site.directory.join("broker.sock");
                let mut command = Command::new(&options.client);
                command.arg("--socket").arg(socket);
                command.args((self == Self::Forwarded).then_some("--no-hand-over")).arg("socketmap");
                let (ours, its) = pair()?;
                let mut child = on_stdio(&mut command, its)?;
                if self == Self::Forwarded {
                    return Ok((ours.into(), Some(child)));
                }
                child.0.wait().map_err(|error| format!("the client: {error}"))?;
                ours.into()
            }
        };
        Ok((socket, None))
    }
}

pub(crate) fn tcp(port: u16) -> Outcome<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect(address).and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    stream.map_err(|error| format!("{address}: {error}"))
}

/// Connects to a unix listener.
pub(crate) fn unix(path: &Path) -> Outcome<UnixStream> {
    let stream = UnixStream::connect(path).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    stream.map_err(|error| format!("{}: {error}", path.display()))
}

/// A connection as spawn(8) hands it to a program: ours, and the program's end.
pub(crate) fn pair() -> Outcome<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair().and_then(|(ours, its)| {
        ours.set_read_timeout(Some(PATIENCE))?;
        Ok((ours, its))
    });
    pair.map_err(|error| format!("a socket pair: {error}"))
}

/// Starts a program with descriptors 0, 1 and 2 on this socket, as spawn(8) does.
pub(crate) fn on_stdio(command: &mut Command, socket: UnixStream) -> Outcome<Reaped> {
    let socket = OwnedFd::from(socket);
    let copies = socket.try_clone().and_then(|first| Ok((first, socket.try_clone()?)));
    let (first, second) = copies.map_err(|error| format!("a descriptor: {error}"))?;
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second)).stderr(Stdio::from(socket));
    let child = command.spawn().map(Reaped);
    // The copies stay with the command, and a connection ends with its last copy.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))
}

/// Says hello for logins, and hears the whole greeting.
fn greeted(mut stream: TcpStream) -> Outcome<TcpStream> {
    let mut greeting = Vec::new();
    let mut piece = [0; 1024];
    let mut hear = || {
        stream.write_all(HELLO)?;
        while !greeting.ends_with(GREETED) {
            match stream.read(&mut piece)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => greeting.extend_from_slice(&piece[..read]),
            }
        }
        Ok(())
    };
    hear().map_err(|error: std::io::Error| format!("the greeting for logins: {error}"))?;
    Ok(stream)
}
