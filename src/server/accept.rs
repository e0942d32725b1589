//! Accepts connections at one endpoint: checks the peer (`allow_from`, `allow_users`) and the limits, and
//! starts the task that serves the connection.
//!
//! A connection of a peer that is not allowed is closed at once and counted; a warning is logged once a
//! minute.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::unistd::User;
use rustix::event::PollFlags;
use tokio::net::{TcpStream, UnixStream};
use tracing::warn;

use super::Shared;
use super::connection_limits::{ConnectionSlot, Permit};
use crate::backend::admission::Pressure;
use crate::backend::listener_context::ListenerContext;
use crate::broker::Generation;
use crate::observe::metrics;
use crate::observe::warnings::{RateLimitedWarning, RateLimitedWarnings};
use crate::server::session::{self, Draining, Session, SessionProtocol};

/// The pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection must be silent before it may be closed for another.
const SILENCE: Duration = Duration::from_millis(250);
/// How often such a connection is looked for at the limit.
const LOOK: Duration = Duration::from_millis(50);

/// What the connections of an endpoint share.
#[derive(Debug, Clone)]
pub(super) struct Acceptor {
    pub(super) protocol: SessionProtocol,
    pub(super) label: Arc<str>,
    /// Networks of allowed peers; empty: all.
    pub(super) allow_from: Arc<[IpNet]>,
    pub(super) listener: ListenerContext,
    pub(super) generation: Arc<Generation>,
    pub(super) draining: Draining,
    pub(super) shared: Shared,
    pub(super) counted: Arc<metrics::ListenerMetrics>,
}

#[derive(Debug, Default)]
struct Warnings {
    failed: RateLimitedWarning,
    outside: RateLimitedWarning,
    address_full: RateLimitedWarning,
    replaced: RateLimitedWarning,
    full: RateLimitedWarning,
    silent_closed: RateLimitedWarning,
}

/// A connection of Postfix or of a client, before the runtime of the thread that serves it has registered it.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// The same afterwards.
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

/// Accepts until the endpoint is removed. Connections that are in `queue` by then are served, too.
pub(super) async fn accept<N, F>(mut next: N, queue: OwnedFd, acceptor: Acceptor)
where
    N: FnMut() -> F,
    F: Future<Output = io::Result<(Connection, Option<IpAddr>)>>,
{
    let mut draining = acceptor.draining.clone();
    let mut warnings = Warnings::default();
    let mut pressure = Pressure::default();
    loop {
        let accepted = tokio::select! {
            // A connection in the kernel's queue may have sent a request already.
            biased;
            accepted = async { acceptor.listener.admit(&mut pressure).await; next().await } => accepted,
            _ = draining.begun() => {
                // The runtime may not have seen such a connection yet.
                if !draining.is_over() && acceptor.listener.is_open() && session::has(&queue, PollFlags::IN) {
                    tokio::task::yield_now().await;
                    continue;
                }
                return;
            }
        };
        if draining.is_over() {
            return;
        }
        match accepted {
            Ok((connection, peer)) => {
                let Some(slot) = acceptor.admit(peer, &mut warnings) else { continue };
                let Some(permit) = acceptor.permit(&mut warnings).await else { return };
                acceptor.serve(connection, slot, permit);
            }
            Err(error) => acceptor.failed(&error, &mut warnings).await,
        }
    }
}

impl Acceptor {
    /// Logs and counts a failed accept, then pauses; unless the peer hung up or is not allowed.
    async fn failed(&self, error: &io::Error, warnings: &mut Warnings) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::PermissionDenied) {
            return;
        }
        self.counted.refused();
        if let Some(suppressed) = warnings.failed.is_due() {
            warn!(%error, suppressed, "cannot accept a connection");
        }
        tokio::time::sleep(PAUSE).await;
    }

    fn admit(&self, peer: Option<IpAddr>, warnings: &mut Warnings) -> Option<ConnectionSlot> {
        let listener = &*self.label;
        if let Some(address) = peer.map(|peer| peer.to_canonical())
            && !self.allow_from.is_empty()
            && !self.allow_from.iter().any(|network| network.contains(&address))
        {
            self.counted.refused();
            if let Some(suppressed) = warnings.outside.is_due() {
                warn!(listener, %address, suppressed, "a connection from outside of allow_from was closed");
            }
            return None;
        }
        let is_login = matches!(self.protocol, SessionProtocol::Login(..));
        let slot = self.shared.limits.admit(peer, is_login, !self.allow_from.is_empty());
        let Some(address) = peer else { return slot };
        let (warning, closed) = match slot.as_ref().map(|slot| slot.replaces_another) {
            Some(false) => return slot,
            Some(true) => (&mut warnings.replaced, "its oldest connection without a request was closed"),
            None => {
                self.counted.refused();
                (&mut warnings.address_full, "a new connection was closed")
            }
        };
        if let Some(suppressed) = warning.is_due() {
            warn!(listener, %address, suppressed, "server.max_connections_per_address is reached: {closed}");
        }
        slot
    }

    /// Waits for a permit (`server.max_connections`); `None` if the endpoint is removed first.
    async fn permit(&self, warnings: &mut Warnings) -> Option<Permit> {
        let (limits, is_login) = (&self.shared.limits, matches!(self.protocol, SessionProtocol::Login(..)));
        if let Some(permit) = limits.try_permit(is_login) {
            return Some(permit);
        }
        let mut draining = self.draining.clone();
        let mut permit = std::pin::pin!(limits.permit(is_login));
        loop {
            if limits.close_oldest_silent(is_login, SILENCE) {
                if let Some(suppressed) = warnings.silent_closed.is_due() {
                    warn!(
                        suppressed,
                        "server.max_connections is reached: the oldest connection without a request was closed"
                    );
                }
            } else if let Some(suppressed) = warnings.full.is_due() {
                warn!(suppressed, "server.max_connections is reached: new connections wait");
            }
            tokio::select! {
                permit = &mut permit => return permit,
                _ = draining.begun() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn serve(&self, connection: Connection, slot: ConnectionSlot, permit: Permit) {
        let Self { protocol, listener, generation, draining, shared, counted, .. } = self.clone();
        let warnings = Arc::clone(&shared.warnings);
        let session = Session { protocol, listener, generation, draining, warnings };
        let (serial, is_reserved) = (slot.serial, permit.is_reserved);
        let open = counted.open();
        let task = self.shared.threads.spawn(move || async move {
            session::serve_connection(connection, session, &slot).await;
            drop((open, permit, slot, shared));
        });
        if let Some(task) = task {
            self.shared.limits.is_served_by(serial, task, is_reserved);
        }
    }
}

/// Replies are small and complete: they are sent at once. Keepalive detects a lost peer: an idle policy
/// connection has no other limit.
///
/// Every close of a connection for logins is a reset: Postfix 3.7 sees it before its next AUTH and reconnects.
/// After an ordinary close that AUTH fails, too (measured).
pub(super) fn prepare_tcp(stream: &std::net::TcpStream, is_login: bool) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_keepalive(true);
    if is_login {
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

/// Refuses a peer on the local socket that is not an allowed user (unix(7), SO_PEERCRED).
pub(super) fn check_user(
    stream: &UnixStream,
    allowed: &HashSet<u32>,
    warnings: &RateLimitedWarnings,
) -> io::Result<()> {
    if allowed.is_empty() {
        return Ok(());
    }
    let number = stream.peer_cred()?.uid();
    if allowed.contains(&number) {
        return Ok(());
    }
    let user = number.to_string();
    if warnings.is_first(&user) {
        let name = User::from_uid(number.into()).ok().flatten().map(|user| user.name);
        warn!(user, name, "a connection of a user that is not in server.ipc.allow_users was closed");
    }
    Err(io::ErrorKind::PermissionDenied.into())
}
