//! Makes the listening sockets. Every error names its endpoint. A socket that a process listens on is never
//! replaced. `unix` makes unix sockets.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ipnet::IpNet;
use nix::unistd::geteuid;
use socket2::{Domain, Type};

use super::accounts::user_id;
use super::activation::Activated;
use super::directory::Own;
use super::privilege::ProcessIdentity;
use super::settings::{Endpoint, SocketSettings};
use super::unix;
pub(crate) use super::unix::UnixEndpoint;
use crate::backend::worker_pool::WorkerPool;
use crate::lookup::PoolSettings;
use crate::model::Protocol;
use crate::model::status::ListenerStatus;
use crate::observe::metrics::{Component, ListenerMetrics, Metrics};
use crate::server::session::SessionProtocol;

/// The service manager's name for the socket of `server.ipc`.
pub(crate) const LOCAL: &str = "ipc";

/// Connections that wait to be accepted. The kernel caps it at net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4096;

/// A listening socket and its specification.
#[derive(Debug)]
pub struct Bound {
    pub(super) spec: Spec,
    pub(super) socket: Socket,
}

/// An endpoint, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) endpoint: Endpoint,
    pub(super) protocol: SessionProtocol,
    /// Its name in metrics; may be empty.
    pub(super) label: String,
    pool: Option<PoolSettings>,
    /// Whether all its requests are for one entry. It then stops accepting while the queue of that is full.
    pub(super) leads_to_one: bool,
    /// `server.ipc.hand_over`.
    pub(super) takes_over: bool,
    /// The users that may connect; empty: all.
    pub(super) allowed: HashSet<u32>,
    /// Networks of allowed peers, over TCP; empty: all.
    pub(super) allow_from: Vec<IpNet>,
    /// The service manager's name for its socket.
    handed_over_as: Option<String>,
}

impl Spec {
    /// Whether both have the same address or path.
    pub(super) fn is_same_endpoint(&self, other: &Self) -> bool {
        match (&self.endpoint, &other.endpoint) {
            (Endpoint::Unix(one), Endpoint::Unix(other)) => one.path == other.path,
            // Without a port they differ in the name of the service manager alone.
            (one, two) => one == two && self.handed_over_as == other.handed_over_as,
        }
    }

    /// Whether connections need no change if the other replaces this one.
    pub(super) fn is_served_alike(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.label == other.label
            && self.pool == other.pool
            && self.allowed == other.allowed
            && self.allow_from == other.allow_from
    }

    pub(super) fn counted(&self, metrics: &Metrics) -> Arc<ListenerMetrics> {
        let (component, label) = self.label();
        metrics.listener(component, label)
    }

    /// Protocol and name in the metrics.
    fn label(&self) -> (Component, &str) {
        (self.protocol.of_postfix().map_or(Component::Local, Component::from), &self.label)
    }

    pub(super) fn worker_pool(&self) -> Option<WorkerPool> {
        self.pool.map(|pool| WorkerPool::new(pool.workers, pool.queue))
    }
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixEndpoint),
}

/// Why an endpoint cannot be used.
#[derive(Debug)]
pub struct Error {
    pub(super) endpoint: String,
    pub(super) step: Cow<'static, str>,
    pub(super) source: io::Error,
}

impl Error {
    /// Makes an error of what failed in `step`.
    pub(super) fn of(
        endpoint: impl fmt::Display,
        step: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(io::Error) -> Self {
        let (endpoint, step) = (endpoint.to_string(), step.into());
        |source| Self { endpoint, step, source }
    }
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

/// All endpoints of the next configuration; without a socket if that exists already.
#[derive(Debug)]
pub(crate) struct Plan(pub(super) Vec<(Spec, Option<Socket>)>);

/// Makes the local socket and every listener, or takes those of the service manager: all or none.
///
/// # Errors
/// The first endpoint that cannot be used.
pub fn all(settings: &SocketSettings, activated: &Activated) -> Result<Vec<Bound>, Error> {
    let own = own(settings);
    let specs = specs(settings)?.into_iter();
    specs.map(|spec| Ok(Bound { socket: bind(&spec, activated, own)?, spec })).collect()
}

/// Who besides root may write to the directories of sockets; `None` if this process is not root.
fn own(settings: &SocketSettings) -> Option<Own> {
    // The names may be unknown in the jail. An unknown user is not allowed to write.
    let identity = || ProcessIdentity::of(&settings.privileges).ok();
    geteuid().is_root().then(|| identity().as_ref().map(Own::of).unwrap_or_default())
}

pub(crate) fn admin(settings: &SocketSettings) -> Result<UnixEndpoint, Error> {
    // A socket of another user cannot be tested by connecting. Its broker does not run any more: otherwise
    // the local socket would have been in use.
    unix::make_anew(&settings.admin, own(settings))
}

/// Makes the sockets that `present` lacks, and changes mode and owner of those that stay: all or nothing.
pub(crate) fn plan<'b>(
    settings: &SocketSettings,
    activated: &Activated,
    present: impl Iterator<Item = &'b Bound>,
) -> Result<Plan, Error> {
    let own = own(settings);
    let present: Vec<&Bound> = present.collect();
    let mut wanted = Vec::new();
    let mut changed = Vec::new();
    for spec in specs(settings)? {
        let Some(bound) = present.iter().find(|bound| bound.spec.is_same_endpoint(&spec)) else {
            let socket = bind(&spec, activated, own)?;
            wanted.push((spec, Some(socket)));
            continue;
        };
        if let (Socket::Unix(socket), Endpoint::Unix(before), Endpoint::Unix(after)) =
            (&bound.socket, &bound.spec.endpoint, &spec.endpoint)
            && before != after
        {
            changed.push((socket, before, after.clone()));
        }
        wanted.push((spec, None));
    }
    // Last, because this must be undone after an error.
    for (nth, (socket, _, after)) in changed.iter().enumerate() {
        if let Err(error) = socket.change_rights(after, own) {
            for (socket, before, _) in &changed[..=nth] {
                let _ = socket.change_rights(before, own);
            }
            return Err(error);
        }
    }
    Ok(Plan(wanted))
}

/// The configured endpoints, the local socket first.
fn specs(settings: &SocketSettings) -> Result<Vec<Spec>, Error> {
    let ipc = &settings.ipc;
    let allowed = ipc.allow_users.iter().map(|user| user_id(user)).collect::<io::Result<_>>();
    let allowed = allowed.map_err(Error::of(ipc.socket.path.display(), "server.ipc.allow_users"))?;
    let local = Spec {
        endpoint: Endpoint::Unix(ipc.socket.clone()),
        protocol: SessionProtocol::Local,
        label: LOCAL.to_owned(),
        pool: None,
        leads_to_one: false,
        takes_over: ipc.hand_over,
        allowed,
        allow_from: Vec::new(),
        handed_over_as: Some(LOCAL.to_owned()),
    };
    let listeners = settings.listen.iter().map(|listener| {
        let name = || listener.name.as_str().into();
        let (protocol, leads_to_one) = match listener.protocol {
            Protocol::Socketmap => (SessionProtocol::Socketmap, settings.has_one_map),
            Protocol::Policy => (SessionProtocol::Policy(name(), None), true),
            // A full queue must not stop it: an smtpd whose handshake fails exits.
            Protocol::Sasl => (SessionProtocol::Login(name(), None), false),
        };
        Spec {
            endpoint: listener.endpoint.clone(),
            protocol,
            label: listener.name.clone(),
            pool: listener.pool,
            leads_to_one,
            takes_over: false,
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
                let error = io::Error::new(io::ErrorKind::NotFound, "others were");
                return Err(Error::of(format!("the socket {name:?}"), not_passed(name))(error));
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

/// Names the unit of our package.
fn not_passed(name: &str) -> String {
    format!("no socket named {name:?} was passed (is pfxhttp-postfix@{name}.socket started?)")
}

impl Bound {
    /// Whether the socket belongs to the service manager and outlives this process.
    pub(super) fn is_handed_over(&self, activated: &Activated) -> bool {
        match &self.socket {
            Socket::Unix(socket) => socket.name.is_none(),
            Socket::Tcp(_) => self.spec.handed_over_as.as_ref().is_some_and(|name| activated.has(name)),
        }
    }

    /// Protocol and name in the metrics.
    pub(crate) fn label(&self) -> (Component, &str) {
        self.spec.label()
    }

    /// For `status`, without its counts.
    pub(crate) fn status(&self) -> ListenerStatus {
        let name = match &self.spec.protocol {
            SessionProtocol::Socketmap | SessionProtocol::Local | SessionProtocol::Frames(_) => None,
            SessionProtocol::Policy(name, _) | SessionProtocol::Login(name, _) => Some(name),
        };
        let kind = self.spec.protocol.of_postfix().map_or("clients", Protocol::label);
        ListenerStatus {
            endpoint: self.endpoint(),
            kind: kind.to_owned(),
            name: name.map(|name| name.to_string()),
            ..ListenerStatus::default()
        }
    }

    /// The endpoint, for the log.
    pub(crate) fn endpoint(&self) -> String {
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
            // Set in both cases, because the default is a sysctl.
            socket.set_only_v6(v6_only)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(Error::of(address, "cannot bind"))
}
