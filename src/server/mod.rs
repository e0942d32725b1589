//! Sockets that listen: made before the runtime starts (`bind`), served and exchanged after.
//!
//! Every accepted connection is a task of its own on one of the `threads`, and costs little; what is bounded is their
//! number (`room`): at the bound each listener holds one more, which waits until another ends or makes
//! room, and accepts no further one; nor does it while a
//! lookup that came through the listener waits in a full queue (`target::limit`). A failing
//! accept (no descriptor left, say) is tried again after a pause, never in a spin.
//!
//! A reload ([`Listeners::follow`]) keeps the descriptor of every endpoint that stays, so no
//! connection is ever refused there. What is no longer named is unlinked first, then accepted
//! until nobody waits, and its connections get the answers to what they have asked.

mod accept;
pub mod activation;
pub mod bind;
pub(crate) mod connection_limits;
mod directory;
pub mod privilege;
pub mod reach;
pub mod rights;
pub mod session;
pub mod settings;
pub mod threads;
mod unix;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use interprocess::os::unix::uds_local_socket::tokio::Listener as LocalListener;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::backend::door::Door;
use crate::broker::{Broker, Generation};
use crate::observe::warnings::RateLimitedWarnings;
use crate::server::session::{Draining, Wire};
use crate::server::threads::Threads;
use accept::{Acceptor, accept, admitted, prepare_tcp, prepare_tcp_login};
use activation::Activated;
use bind::{Bound, Plan, Socket, Wanted};
pub use connection_limits::ConnectionLimits;

/// What all connections share, whatever is reloaded.
#[derive(Debug, Clone)]
pub struct Shared {
    /// How many there may be.
    pub limits: ConnectionLimits,
    /// Dropped with the connection: the last one gone closes the channel.
    pub alive: mpsc::Sender<()>,
    /// Where connections are served.
    pub threads: Threads,
}

/// All that listens, each in a task of its own.
#[derive(Debug)]
pub struct Listeners {
    shared: Shared,
    active: Vec<Active>,
    tasks: JoinSet<()>,
}

/// What a reload has done to them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Endpoints that are new.
    pub added: Vec<String>,
    /// Endpoints that are no longer.
    pub removed: usize,
    /// Endpoints at which something else is spoken, or asked, or that others may open.
    pub changed: usize,
}

/// One endpoint.
#[derive(Debug)]
struct Active {
    bound: Bound,
    door: Door,
    generation: Arc<Generation>,
    drain: watch::Sender<Option<Instant>>,
    accepting: AbortHandle,
}

impl Listeners {
    /// Serves all of `bound` by `broker`.
    ///
    /// # Errors
    /// Where the runtime refuses a socket.
    pub fn start(bound: Vec<Bound>, broker: &Arc<Broker>, shared: Shared) -> io::Result<Self> {
        let mut listeners = Self { shared, active: Vec::new(), tasks: JoinSet::new() };
        for bound in bound {
            listeners.add(bound, broker)?;
        }
        Ok(listeners)
    }

    /// What is there, for a plan of what is to come.
    pub fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.active.iter().map(|active| &active.bound)
    }

    /// Connections that are open, as far as they are counted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.alive.strong_count().saturating_sub(1 + self.active.len())
    }

    /// Goes over to `plan`, and to `broker`. Requests that have been read keep the broker that
    /// they were read under.
    ///
    /// # Errors
    /// Where the runtime refuses a socket; what could be served is served then.
    pub fn follow(&mut self, plan: Plan, broker: &Arc<Broker>) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.active);
        let mut outcome = Ok(());
        for Wanted { spec, socket } in plan.wanted {
            let place = before.iter().position(|active| active.bound.spec.is_same_endpoint(&spec));
            let served = match (place.map(|place| before.swap_remove(place)), socket) {
                (Some(mut active), _) if active.bound.spec.is_served_alike(&spec) => {
                    changes.changed += usize::from(active.bound.spec.endpoint != spec.endpoint);
                    active.door.set_leads_to_one(spec.leads_to_one);
                    active.generation.set(broker);
                    active.bound.spec = spec;
                    self.active.push(active);
                    Ok(())
                }
                (Some(active), _) => {
                    changes.changed += 1;
                    // Whoever connects from now on meets the new one.
                    active.accepting.abort();
                    active.drain.send_replace(Some(Instant::now()));
                    self.add(Bound { spec, ..active.bound }, broker)
                }
                (None, Some(socket)) => {
                    let bound = Bound { spec, socket };
                    changes.added.push(bound.endpoint());
                    self.add(bound, broker)
                }
                (None, None) => Err(io::Error::other("a listener without a socket")),
            };
            outcome = outcome.and(served);
        }
        changes.removed = before.len();
        for active in before {
            // The name goes with it, then those are accepted who wait already.
            drop(active.bound);
            active.drain.send_replace(Some(Instant::now()));
        }
        outcome.map(|()| changes)
    }

    /// Stops accepting everywhere. Connections go on until what was asked is answered. Who waits at
    /// a socket of `activated` is left to the next broker, which finds them there.
    pub async fn stop(mut self, activated: &Activated) {
        let now = Instant::now();
        for active in &self.active {
            if active.bound.is_handed_over(activated) {
                active.accepting.abort();
            }
            active.drain.send_replace(Some(now));
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Waits for a task that has panicked: a broker that is half dead must not look alive.
    pub async fn panicked(&mut self) -> JoinError {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_panic() => return error,
                // A listener that was removed or changed.
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn add(&mut self, bound: Bound, broker: &Arc<Broker>) -> io::Result<()> {
        let (drain, draining) = watch::channel(None);
        let counted = bound.spec.counted(broker.metrics());
        let door = Door::new(bound.spec.limit(), bound.spec.leads_to_one, Arc::clone(&counted));
        let generation = Arc::new(Generation::new(Arc::clone(broker)));
        let acceptor = Acceptor {
            wire: bound.spec.wire.clone(),
            label: bound.spec.label.as_str().into(),
            allow_from: bound.spec.allow_from.as_slice().into(),
            door: door.clone(),
            generation: Arc::clone(&generation),
            draining: Draining::new(draining),
            shared: self.shared.clone(),
            counted,
        };
        let accepting = self.spawn(&bound, acceptor)?;
        self.active.push(Active { bound, door, generation, drain, accepting });
        Ok(())
    }

    /// Accepts on a copy of the descriptor, so that the socket outlives the task.
    fn spawn(&mut self, bound: &Bound, acceptor: Acceptor) -> io::Result<AbortHandle> {
        let is_login = matches!(acceptor.wire, Wire::Login(_));
        Ok(match &bound.socket {
            Socket::Tcp(listener) => {
                let queue = OwnedFd::from(listener.try_clone()?);
                let listener = TcpListener::from_std(listener.try_clone()?)?;
                let prepare = if is_login { prepare_tcp_login } else { prepare_tcp };
                self.tasks.spawn(async move {
                    let next = async || {
                        let (stream, peer) = listener.accept().await?;
                        Ok((stream.into_std()?, Some(peer.ip())))
                    };
                    accept(next, &queue, acceptor, prepare, TcpStream::from_std).await;
                })
            }
            Socket::Unix(socket) if matches!(acceptor.wire, Wire::Local(_)) => {
                let queue = OwnedFd::from(socket.listener.try_clone()?);
                let listener = LocalListener::try_from(OwnedFd::from(socket.listener.try_clone()?))?;
                let allowed = bound.spec.allowed.clone();
                self.tasks.spawn(async move {
                    let warnings = RateLimitedWarnings::default();
                    let next =
                        async || Ok((admitted(&listener, &allowed, &warnings).await?.into_std()?, None));
                    accept(next, &queue, acceptor, |_| {}, UnixStream::from_std).await;
                })
            }
            Socket::Unix(socket) => {
                let queue = OwnedFd::from(socket.listener.try_clone()?);
                let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
                self.tasks.spawn(async move {
                    let next = async || Ok((listener.accept().await?.0.into_std()?, None));
                    accept(next, &queue, acceptor, |_| {}, UnixStream::from_std).await;
                })
            }
        })
    }
}
