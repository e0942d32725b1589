//! The making of listening sockets. Every failure names its endpoint, and nothing is replaced
//! that a living process listens on.
//!
//! A unix socket comes into being under a temporary name in its directory, gets its mode and its
//! owner there, and is renamed onto its path: nobody ever connects to one with other rights. A
//! lock file beside it, `<path>.lock`, says that its owner lives; it stays behind, empty.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use socket2::{Domain, Socket, Type};

use crate::config::{Config, Endpoint, Speaks, UnixSocket};
use crate::session::Wire;
use crate::target::limit::{Door, Limit};

/// Connections that wait to be accepted. The kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// A socket that listens, and what is spoken there.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub place: Place,
    /// What is spoken.
    pub wire: Wire,
    /// What stands between it and the targets.
    pub door: Door,
    /// The users that may connect; empty: all.
    pub allowed: HashSet<u32>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Place {
    /// `tcp`, `tcp6`.
    Tcp(TcpListener),
    /// `unix`, and the socket for `pfxhttp-client`.
    Unix(OwnedSocket),
}

/// A unix socket and its name in the file system.
#[derive(Debug)]
pub struct OwnedSocket {
    listener: UnixListener,
    name: OwnedName,
}

/// The name of a unix socket that is ours. Dropped, it is taken away and the lock is free.
#[derive(Debug)]
pub struct OwnedName {
    path: PathBuf,
    _lock: File,
}

impl OwnedSocket {
    /// The socket for the runtime, and the name to keep as long as it is served.
    #[must_use]
    pub fn into_parts(self) -> (UnixListener, OwnedName) {
        (self.listener, self.name)
    }
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Why an endpoint cannot be had.
#[derive(Debug)]
pub struct Error {
    endpoint: String,
    step: &'static str,
    source: io::Error,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}: {}", self.endpoint, self.step, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Makes the local socket and every listener of `config`: all of them, or none.
///
/// # Errors
/// The first endpoint that cannot be had.
pub fn all(config: &Config) -> Result<Vec<Bound>, Error> {
    let ipc = &config.server.ipc;
    let mut allowed = HashSet::new();
    for user in &ipc.allow_users {
        allowed.insert(user_id(user).map_err(|source| Error {
            endpoint: ipc.socket.path.display().to_string(),
            step: "server.ipc.allow_users",
            source,
        })?);
    }
    let mut bound = vec![Bound {
        place: Place::Unix(unix(&ipc.socket)?),
        wire: Wire::Local(None),
        door: Door::default(),
        allowed,
    }];
    for listener in &config.server.listen {
        let place = match &listener.endpoint {
            Endpoint::Tcp { address, port, v6_only } => {
                Place::Tcp(tcp(SocketAddr::new(*address, *port), *v6_only)?)
            }
            Endpoint::Unix(socket) => Place::Unix(unix(socket)?),
        };
        let wire = match listener.speaks {
            Speaks::Socketmap => Wire::Socketmap,
            Speaks::Policy => Wire::Policy(listener.name.as_str().into()),
            Speaks::Login => Wire::Login(listener.name.as_str().into()),
        };
        let leads_to_one = match listener.speaks {
            Speaks::Socketmap => config.maps.len() == 1,
            Speaks::Policy => true,
            // It always accepts: an smtpd whose handshake fails exits.
            Speaks::Login => false,
        };
        let pool = listener.pool.map(|pool| Limit::new(pool.workers, pool.queue));
        let door = Door::new(pool, leads_to_one);
        bound.push(Bound { place, wire, door, allowed: HashSet::new() });
    }
    Ok(bound)
}

impl Bound {
    /// The endpoint, for the log.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match &self.place {
            Place::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
            }
            Place::Unix(socket) => socket.name.path.display().to_string(),
        }
    }
}

fn tcp(address: SocketAddr, v6_only: bool) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // Said either way: the system's default is a sysctl.
            socket.set_only_v6(v6_only)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| Error { endpoint: address.to_string(), step: "cannot bind", source })
}

fn unix(socket: &UnixSocket) -> Result<OwnedSocket, Error> {
    let path = socket.path.as_path();
    let error = |step| move |source| Error { endpoint: path.display().to_string(), step, source };
    let lock = lock(path).map_err(error("cannot lock its .lock file"))?;
    vacant(path).map_err(error("the path is taken"))?;
    let temporary = beside(path, &format!(".{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(error("cannot bind in its directory"))?;
    let placed = dress(&temporary, socket)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| listener.set_nonblocking(true));
    if let Err(source) = placed {
        let _ = fs::remove_file(&temporary);
        return Err(error("cannot give it its mode, user and group")(source));
    }
    // std binds with a backlog of its own; listen(2) again only changes that.
    socket2::SockRef::from(&listener).listen(BACKLOG).map_err(error("cannot listen"))?;
    Ok(OwnedSocket { listener, name: OwnedName { path: path.to_owned(), _lock: lock } })
}

fn lock(path: &Path) -> io::Result<File> {
    let name = beside(path, ".lock");
    let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(&name);
    let file = match open() {
        // A broker of another user, root for one, left it behind. Where the directory is ours, so
        // is the name; should that broker live, `vacant` sees it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::remove_file(&name).map_err(|_| error)?;
            open()?
        }
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another pfxhttp-broker listens there"))
        }
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Only a socket that nobody listens on may be replaced.
fn vacant(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
        },
    }
}

/// What a start would not find for its unix sockets, a sentence each: users and groups, without
/// which it fails, and directories, which a service manager may make then.
#[derive(Debug, Default)]
pub struct Missing {
    /// There is no such user or group.
    pub owners: Vec<String>,
    /// There is no such directory now.
    pub directories: Vec<String>,
}

/// Looks for what a start would need.
#[must_use]
pub fn missing(config: &Config) -> Missing {
    let mut missing = Missing::default();
    for error in config.server.ipc.allow_users.iter().filter_map(|user| user_id(user).err()) {
        missing.owners.push(format!("server.ipc.allow_users: {error}"));
    }
    let listeners = config.server.listen.iter().filter_map(|listener| match &listener.endpoint {
        Endpoint::Unix(socket) => Some(socket),
        Endpoint::Tcp { .. } => None,
    });
    for socket in std::iter::once(&config.server.ipc.socket).chain(listeners) {
        let path = socket.path.display();
        let user = socket.user.as_deref().and_then(|user| user_id(user).err());
        let group = socket.group.as_deref().and_then(|group| group_id(group).err());
        missing.owners.extend(user.into_iter().chain(group).map(|error| format!("{path}: {error}")));
        if let Some(directory) = socket.path.parent().filter(|directory| !directory.is_dir()) {
            missing.directories.push(format!("{path}: there is no directory {} now", directory.display()));
        }
    }
    missing
}

/// Gives the socket its mode and its owner.
fn dress(path: &Path, socket: &UnixSocket) -> io::Result<()> {
    let user = socket.user.as_deref().map(user_id).transpose()?;
    let group = socket.group.as_deref().map(group_id).transpose()?;
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(socket.mode))
}

fn user_id(user: &str) -> io::Result<u32> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let found = User::from_name(user)?;
    found.map(|user| user.uid.as_raw()).ok_or_else(|| no_such("user", user))
}

fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = Group::from_name(group)?;
    found.map(|group| group.gid.as_raw()).ok_or_else(|| no_such("group", group))
}

fn no_such(kind: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {kind} {name:?}"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
