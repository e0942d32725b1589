//! Accepts connections at one endpoint: checks the peer (`allow_from`, `allow_users`) and the limits, and
//! starts the task that serves the connection.
//!
//! Several threads accept at an endpoint, each on a copy of the descriptor: one queue in the kernel, so that no
//! connection is lost if one of them ends. They share an [`Acceptor`]. A reload that changes the endpoint replaces it
//! before the connections of the old one drain: a connection that is accepted from then on belongs to the new one.
//!
//! A connection of a peer that is not allowed is closed at once and counted; a warning is logged once a
//! minute.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use nix::unistd::User;
use rustix::event::PollFlags;
use tokio::net::UnixStream;
use tokio::sync::{Mutex as Turn, watch};
use tracing::warn;

use super::Shared;
use super::connection::{Queue, Registered, prepare_tcp};
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

/// What the connections of an endpoint share, and the threads that accept them.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) protocol: SessionProtocol,
    pub(super) label: Arc<str>,
    /// Networks of allowed peers, over TCP; empty: all.
    pub(super) allow_from: Vec<IpNet>,
    /// The users that may connect; empty: all.
    pub(super) allowed: HashSet<u32>,
    pub(super) listener: ListenerContext,
    pub(super) generation: Arc<Generation>,
    pub(super) draining: Draining,
    pub(super) shared: Shared,
    pub(super) counted: Arc<metrics::ListenerMetrics>,
    pub(super) warnings: Warnings,
    /// The thread that has it waits for a gate or a permit; the others accept nothing meanwhile.
    pub(super) turn: Turn<Pressure>,
}

/// Each at most once a minute, whichever thread has reason to warn.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    failed: Mutex<RateLimitedWarning>,
    outside: Mutex<RateLimitedWarning>,
    address_full: Mutex<RateLimitedWarning>,
    replaced: Mutex<RateLimitedWarning>,
    full: Mutex<RateLimitedWarning>,
    silent_closed: Mutex<RateLimitedWarning>,
    users: RateLimitedWarnings,
}

/// If the warning is due: how often it was suppressed since the last time.
fn is_due(warning: &Mutex<RateLimitedWarning>) -> Option<u64> {
    warning.lock().unwrap_or_else(PoisonError::into_inner).is_due()
}

/// A connection, and the address of its peer over TCP.
type Accepted = (Registered, Option<IpAddr>);

/// Accepts until the endpoint is removed. Connections that are in `queue` by then are served, too.
pub(super) async fn accept(queue: Queue, mut current: watch::Receiver<Arc<Acceptor>>) {
    let mut waiting = None;
    loop {
        let acceptor = Arc::clone(&current.borrow_and_update());
        match acceptor.accept(&queue, &current, waiting).await {
            ControlFlow::Continue(left) => waiting = left,
            ControlFlow::Break(()) => return,
        }
    }
}

impl Acceptor {
    /// Serves `waiting`, then accepts until the endpoint is removed (`Break`) or has another acceptor, which serves
    /// the connection that is returned.
    async fn accept(
        self: &Arc<Self>,
        queue: &Queue,
        current: &watch::Receiver<Arc<Self>>,
        mut waiting: Option<Accepted>,
    ) -> ControlFlow<(), Option<Accepted>> {
        // Without a lock unless something has changed.
        let is_replaced = || current.has_changed().unwrap_or(true) && !Arc::ptr_eq(self, &current.borrow());
        let mut draining = self.draining.clone();
        loop {
            let accepted = match waiting.take() {
                Some(waiting) => Some(Ok(waiting)),
                None => self.next(queue, &mut draining).await,
            };
            if is_replaced() {
                return ControlFlow::Continue(accepted.and_then(Result::ok));
            }
            let Some(accepted) = accepted.filter(|_| !draining.is_over()) else {
                return ControlFlow::Break(());
            };
            match accepted.and_then(|accepted| Ok((self.admit(&accepted)?, accepted))) {
                Ok((Some(slot), accepted)) => {
                    let permit = self.permit().await;
                    if is_replaced() {
                        return ControlFlow::Continue(Some(accepted));
                    }
                    let Some(permit) = permit else { return ControlFlow::Break(()) };
                    self.serve(accepted.0, slot, permit);
                }
                Ok((None, _)) => {}
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// The next connection; `None` if the drain has begun and no connection is in the queue.
    async fn next(&self, queue: &Queue, draining: &mut Draining) -> Option<io::Result<Accepted>> {
        let next = async || {
            self.listener.admit(&mut *self.turn.lock().await).await;
            queue.next().await
        };
        loop {
            tokio::select! {
                // A connection in the kernel's queue may have sent a request already.
                biased;
                accepted = next() => return Some(accepted),
                _ = draining.begun() => {}
            }
            // The runtime may not have seen such a connection yet.
            if draining.is_over() || !self.listener.is_open() || !session::has(queue, PollFlags::IN) {
                return None;
            }
            tokio::task::yield_now().await;
        }
    }

    fn is_login(&self) -> bool {
        matches!(self.protocol, SessionProtocol::Login(..))
    }

    /// Logs and counts a failed accept, then pauses; unless the peer hung up or is not allowed.
    async fn failed(&self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::PermissionDenied) {
            return;
        }
        self.counted.refused();
        if let Some(suppressed) = is_due(&self.warnings.failed) {
            warn!(%error, suppressed, "cannot accept a connection");
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// A slot for a connection of a peer that is allowed; `None` if it is to be closed.
    fn admit(&self, (connection, peer): &Accepted) -> io::Result<Option<ConnectionSlot>> {
        match connection {
            Registered::Tcp(stream) => prepare_tcp(stream, self.is_login()),
            Registered::Unix(stream) => self.check_user(stream)?,
        }
        Ok(self.slot(*peer))
    }

    fn slot(&self, peer: Option<IpAddr>) -> Option<ConnectionSlot> {
        let (listener, warnings) = (&*self.label, &self.warnings);
        if let Some(address) = peer.map(|peer| peer.to_canonical())
            && !self.allow_from.is_empty()
            && !self.allow_from.iter().any(|network| network.contains(&address))
        {
            self.counted.refused();
            if let Some(suppressed) = is_due(&warnings.outside) {
                warn!(listener, %address, suppressed, "a connection from outside of allow_from was closed");
            }
            return None;
        }
        let slot = self.shared.limits.admit(peer, self.is_login(), !self.allow_from.is_empty());
        let Some(address) = peer else { return slot };
        let (warning, closed) = match slot.as_ref().map(|slot| slot.replaces_another) {
            Some(false) => return slot,
            Some(true) => (&warnings.replaced, "its oldest connection without a request was closed"),
            None => {
                self.counted.refused();
                (&warnings.address_full, "a new connection was closed")
            }
        };
        if let Some(suppressed) = is_due(warning) {
            warn!(listener, %address, suppressed, "server.max_connections_per_address is reached: {closed}");
        }
        slot
    }

    /// Waits for a permit (`server.max_connections`); `None` if the endpoint is removed or changed first.
    async fn permit(&self) -> Option<Permit> {
        let (limits, is_login, warnings) = (&self.shared.limits, self.is_login(), &self.warnings);
        if let Some(permit) = limits.try_permit(is_login) {
            return Some(permit);
        }
        let _turn = self.turn.lock().await;
        let mut draining = self.draining.clone();
        let mut permit = std::pin::pin!(limits.permit(is_login));
        loop {
            if limits.close_oldest_silent(is_login, SILENCE) {
                if let Some(suppressed) = is_due(&warnings.silent_closed) {
                    warn!(
                        suppressed,
                        "server.max_connections is reached: the oldest connection without a request was closed"
                    );
                }
            } else if let Some(suppressed) = is_due(&warnings.full) {
                warn!(suppressed, "server.max_connections is reached: new connections wait");
            }
            tokio::select! {
                permit = &mut permit => return permit,
                _ = draining.begun() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn serve(&self, connection: Registered, slot: ConnectionSlot, permit: Permit) {
        let session = Box::new(Session {
            protocol: self.protocol.clone(),
            listener: self.listener.clone(),
            generation: Arc::clone(&self.generation),
            draining: self.draining.clone(),
            warnings: Arc::clone(&self.shared.warnings),
        });
        let (serial, is_reserved) = (slot.serial, permit.is_reserved);
        let (open, alive) = (self.counted.open(), self.shared.alive.clone());
        let serve = async move |connection| {
            session::serve_connection(connection, session, &slot).await;
            drop((open, permit, slot, alive));
        };
        let Some(thread) = self.shared.threads.for_one_more() else { return };
        let task = if thread.is_this() {
            thread.spawn(move || serve(connection))
        } else {
            // Out of descriptors of the poller, or of memory.
            let Ok(connection) = connection.leave() else { return };
            thread.spawn(move || async move {
                if let Ok(connection) = connection.register() {
                    serve(connection).await;
                }
            })
        };
        self.shared.limits.is_served_by(serial, task, is_reserved);
    }

    /// Refuses a peer on the local socket that is not an allowed user (unix(7), SO_PEERCRED).
    fn check_user(&self, stream: &UnixStream) -> io::Result<()> {
        if self.allowed.is_empty() {
            return Ok(());
        }
        let number = stream.peer_cred()?.uid();
        if self.allowed.contains(&number) {
            return Ok(());
        }
        let user = number.to_string();
        if self.warnings.users.is_first(&user) {
            let name = User::from_uid(number.into()).ok().flatten().map(|user| user.name);
            warn!(user, name, "a connection of a user that is not in server.ipc.allow_users was closed");
        }
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
