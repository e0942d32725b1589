//! The making of listening sockets. Every failure names its endpoint, and nothing is replaced
//! that a living process listens on. Unix sockets are made in `unix`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ipnet::IpNet;
use nix::unistd::{Group, User, geteuid};
use serde_json::{Value, json};
use socket2::{Domain, Type};

use super::activation::Activated;
use super::directory::Own;
use super::privilege::Identity;
use super::settings::{Endpoint, Settings};
use super::unix;
pub use super::unix::UnixEndpoint;
use crate::backend::limit::Limit;
use crate::lookup::PoolSettings;
use crate::model::Protocol;
use crate::observe::metrics::{Component, Listener, Metrics};
use crate::server::session::Wire;

/// The service manager's name for the socket of `server.ipc`.
pub(crate) const LOCAL: &str = "ipc";

/// Connections that wait to be accepted. The kernel caps it at net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4096;

/// A socket that listens, and what it is for.
#[derive(Debug)]
pub struct Bound {
    /// What it is for.
    pub spec: Spec,
    /// The socket.
    pub socket: Socket,
}

/// What the configuration says of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where.
    pub endpoint: Endpoint,
    /// What is spoken.
    pub wire: Wire,
    /// Its name in what is counted; may be empty.
    pub label: String,
    /// A pool of its own.
    pub pool: Option<PoolSettings>,
    /// Whether all that comes through it is for one target whose queue it heeds.
    pub leads_to_one: bool,
    /// The users that may connect; empty: all.
    pub allowed: HashSet<u32>,
    /// Where peers may connect from, over TCP; empty: anywhere.
    pub allow_from: Vec<IpNet>,
    /// The service manager's name for its socket.
    pub handed_over_as: Option<String>,
}

impl Spec {
    /// Whether one socket serves both: the same address, or the same path.
    #[must_use]
    pub fn is_same_endpoint(&self, other: &Self) -> bool {
        match (&self.endpoint, &other.endpoint) {
            (Endpoint::Unix(one), Endpoint::Unix(other)) => one.path == other.path,
            // Those without a port are told apart by the service manager's name alone.
            (one, two) => one == two && self.handed_over_as == other.handed_over_as,
        }
    }

    /// Whether connections of the one may go on under the other.
    #[must_use]
    pub fn is_served_alike(&self, other: &Self) -> bool {
        self.wire == other.wire
            && self.label == other.label
            && self.pool == other.pool
            && self.allowed == other.allowed
            && self.allow_from == other.allow_from
    }

    /// Where its connections are counted.
    #[must_use]
    pub fn counted(&self, metrics: &Metrics) -> Arc<Listener> {
        let component = self.wire.protocol().map_or(Component::Local, Component::from);
        metrics.listener(component, &self.label)
    }

    /// Its own pool.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.pool.map(|pool| Limit::new(pool.workers, pool.queue))
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Socket {
    /// `tcp`, `tcp6`.
    Tcp(TcpListener),
    /// `unix`, and the socket for `pfxhttp-client`.
    Unix(UnixEndpoint),
}

/// Why an endpoint cannot be had.
#[derive(Debug)]
pub struct Error {
    pub(super) endpoint: String,
    pub(super) step: Cow<'static, str>,
    pub(super) source: io::Error,
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

/// Everything that is to listen, and the sockets that were made for it.
#[derive(Debug)]
pub struct Plan {
    pub(super) wanted: Vec<Wanted>,
}

/// One endpoint; without a socket it is one that is there already.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) spec: Spec,
    pub(super) socket: Option<Socket>,
}

/// Makes the local socket and every listener of `config`, or takes what was handed over: all of
/// them, or none.
///
/// # Errors
/// The first endpoint that cannot be had.
pub fn all(settings: &Settings, activated: &Activated) -> Result<Vec<Bound>, Error> {
    let own = own(settings);
    let bound =
        specs(settings)?.into_iter().map(|spec| Ok(Bound { socket: bind(&spec, activated, own)?, spec }));
    bound.collect()
}

/// Who besides root may write where sockets are made; `None`: this is not root, who has to ask.
fn own(settings: &Settings) -> Option<Own> {
    // A jail may not know the names any more; whom it does not know writes nowhere.
    let identity = || Identity::of(&settings.privileges).ok();
    geteuid().is_root().then(|| identity().as_ref().map(Own::of).unwrap_or_default())
}

/// Makes the administrator's socket.
///
/// # Errors
/// Where it cannot be had.
pub fn admin(settings: &Settings) -> Result<UnixEndpoint, Error> {
    // One that another user's broker left behind cannot be tried. That broker is gone: the local
    // socket was ours to take.
    unix::make_anew(&settings.admin, own(settings))
}

/// Makes what `config` names and `present` does not have, and gives unix sockets that stay the
/// mode and owner that they are to have: all of it, or nothing.
///
/// # Errors
/// The first endpoint that cannot be had.
pub fn plan<'b>(
    settings: &Settings,
    activated: &Activated,
    present: impl Iterator<Item = &'b Bound>,
) -> Result<Plan, Error> {
    let own = own(settings);
    let present: Vec<&Bound> = present.collect();
    let mut wanted = Vec::new();
    let mut dressed = Vec::new();
    for spec in specs(settings)? {
        let there = present.iter().find(|bound| bound.spec.is_same_endpoint(&spec));
        let socket = match there {
            None => Some(bind(&spec, activated, own)?),
            Some(bound) => {
                if let (Socket::Unix(socket), Endpoint::Unix(before), Endpoint::Unix(after)) =
                    (&bound.socket, &bound.spec.endpoint, &spec.endpoint)
                    && before != after
                {
                    dressed.push((socket, before, after.clone()));
                }
                None
            }
        };
        wanted.push(Wanted { spec, socket });
    }
    // Last, for it is the one thing that would have to be undone.
    for (nth, (socket, _, after)) in dressed.iter().enumerate() {
        if let Err(error) = socket.change_rights(after, own) {
            for (socket, before, _) in &dressed[..=nth] {
                let _ = socket.change_rights(before, own);
            }
            return Err(error);
        }
    }
    Ok(Plan { wanted })
}

/// What `config` says of each endpoint, the local socket first.
fn specs(settings: &Settings) -> Result<Vec<Spec>, Error> {
    let ipc = &settings.ipc;
    let mut allowed = HashSet::new();
    for user in &ipc.allow_users {
        allowed.insert(user_id(user).map_err(|source| Error {
            endpoint: ipc.socket.path.display().to_string(),
            step: "server.ipc.allow_users".into(),
            source,
        })?);
    }
    let endpoint = Endpoint::Unix(ipc.socket.clone());
    let local = Spec {
        endpoint,
        wire: Wire::Local(None),
        label: LOCAL.to_owned(),
        pool: None,
        leads_to_one: false,
        allowed,
        allow_from: Vec::new(),
        handed_over_as: Some(LOCAL.to_owned()),
    };
    let listeners = settings.listen.iter().map(|listener| {
        let name = || listener.name.as_str().into();
        let (wire, leads_to_one) = match listener.protocol {
            Protocol::Socketmap => (Wire::Socketmap, settings.has_one_map),
            Protocol::Policy => (Wire::Policy(name()), true),
            // It always accepts: an smtpd whose handshake fails exits.
            Protocol::Sasl => (Wire::Login(name()), false),
        };
        Spec {
            endpoint: listener.endpoint.clone(),
            wire,
            label: listener.name.clone(),
            pool: listener.pool,
            leads_to_one,
            allowed: HashSet::new(),
            allow_from: listener.allow_from.clone(),
            handed_over_as: listener.systemd_socket_name.clone(),
        }
    });
    Ok(std::iter::once(local).chain(listeners).collect())
}

fn bind(spec: &Spec, activated: &Activated, own: Option<Own>) -> Result<Socket, Error> {
    if let Some(name) = &spec.handed_over_as {
        match activated.take(name, &spec.endpoint)? {
            Some(socket) => return Ok(socket),
            // Without a service manager, or for the local socket, we make it ourselves.
            None if activated.is_empty() || name == LOCAL => {}
            None => {
                let endpoint = format!("the socket {name:?}");
                let source = io::Error::new(io::ErrorKind::NotFound, "others were");
                return Err(Error { endpoint, step: not_passed(name).into(), source });
            }
        }
    }
    let made = match &spec.endpoint {
        Endpoint::Tcp { address, port, v6_only } => {
            tcp(SocketAddr::new(*address, *port), *v6_only).map(Socket::Tcp)
        }
        Endpoint::Unix(socket) => unix::make(socket, own).map(Socket::Unix),
    };
    let handed_over_as = spec.handed_over_as.as_deref().filter(|name| *name != LOCAL);
    made.map_err(|error| match handed_over_as {
        Some(name) => {
            let step = format!("{}, and none can be made: {}", not_passed(name), error.step);
            Error { step: step.into(), ..error }
        }
        None => error,
    })
}

/// Names the unit that we ship; another one's name its administrator knows.
fn not_passed(name: &str) -> String {
    format!("no socket named {name:?} was passed (is pfxhttp-postfix@{name}.socket started?)")
}

impl Bound {
    /// Whether the socket is the service manager's, and outlives us.
    pub(super) fn is_handed_over(&self, activated: &Activated) -> bool {
        match &self.socket {
            Socket::Unix(socket) => socket.name.is_none(),
            Socket::Tcp(_) => self.spec.handed_over_as.as_ref().is_some_and(|name| activated.has(name)),
        }
    }

    /// For an administrator.
    #[must_use]
    pub fn status(&self) -> Value {
        let name = match &self.spec.wire {
            Wire::Socketmap | Wire::Local(_) => None,
            Wire::Policy(name) | Wire::Login(name) => Some(name),
        };
        let kind = self.spec.wire.protocol().map_or("clients", Protocol::label);
        json!({ "endpoint": self.endpoint(), "kind": kind, "name": name.map(|name| &**name) })
    }

    /// The endpoint, for the log.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match (&self.socket, &self.spec.endpoint) {
            (Socket::Tcp(listener), _) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
            }
            (Socket::Unix(_), Endpoint::Unix(socket)) => socket.path.display().to_string(),
            (Socket::Unix(_), Endpoint::Tcp { .. }) => "unix".to_owned(),
        }
    }
}

fn tcp(address: SocketAddr, v6_only: bool) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
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
    bind().map_err(|source| Error { endpoint: address.to_string(), step: "cannot bind".into(), source })
}

pub(super) fn user_id(user: &str) -> io::Result<u32> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let found = User::from_name(user)?;
    found.map(|user| user.uid.as_raw()).ok_or_else(|| no_such("user", user))
}

pub(super) fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = Group::from_name(group)?;
    found.map(|group| group.gid.as_raw()).ok_or_else(|| no_such("group", group))
}

fn no_such(kind: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {kind} {name:?}"))
}
