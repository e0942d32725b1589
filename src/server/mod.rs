//! Listening sockets: made before the runtime starts (`bind`), served and replaced afterwards.
//!
//! Up to four of the `threads` accept at each listener. A connection is a task on the thread that has accepted it,
//! or on one with fewer connections. The number of connections is limited (`connection_limits`): at the limit each
//! of these threads holds at most one more connection, which waits for a permit, and accepts no further one. It also
//! stops accepting while a lookup of the listener waits in a full queue (`backend`). After a failed accept (for
//! example no free descriptor) the thread pauses.
//!
//! A reload (`Listeners::follow`) keeps the descriptor of every endpoint that stays and the tasks that accept there,
//! so that no connection is refused or lost. A removed endpoint is unlinked first; then the connections in its queue
//! are accepted, and the requests that they have sent are answered.

mod accept;
mod accounts;
pub mod activation;
pub mod bind;
mod connection;
mod connection_limits;
mod directory;
pub(crate) mod privilege;
pub(crate) mod rights;
mod session;
pub mod settings;
pub(crate) mod threads;
mod unix;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::backend::listener_context::ListenerContext;
use crate::broker::{Broker, Generation};
use crate::observe::warnings::RateLimitedWarnings;
use crate::server::session::Draining;
use crate::server::threads::Threads;
use accept::{Acceptor, accept};
use activation::Activated;
use bind::{Bound, Plan, Spec};
use connection::Queue;
pub(crate) use connection_limits::ConnectionLimits;

/// What all connections share, also across reloads.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) limits: ConnectionLimits,
    /// Dropped with the connection. The channel closes with the last connection.
    pub(crate) alive: mpsc::Sender<()>,
    pub(crate) threads: Threads,
    /// Of connections that clients offer and the broker does not take.
    pub(crate) warnings: Arc<RateLimitedWarnings>,
}

/// All listening sockets, each served by a task on each thread that accepts.
#[derive(Debug)]
pub(crate) struct Listeners {
    shared: Shared,
    active: Vec<Active>,
    tasks: JoinSet<()>,
}

/// The changes of a reload.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: Vec<String>,
    pub(crate) removed: usize,
    /// How many endpoints have another protocol, entry, mode or owner.
    pub(crate) changed: usize,
}

#[derive(Debug)]
struct Active {
    bound: Bound,
    listener: ListenerContext,
    generation: Arc<Generation>,
    drain: watch::Sender<Option<Instant>>,
    /// What the tasks that accept share. A reload replaces it.
    acceptor: watch::Sender<Arc<Acceptor>>,
    /// The tasks, one for each thread that accepts.
    accepting: Vec<AbortHandle>,
}

impl Listeners {
    pub(crate) fn start(bound: Vec<Bound>, broker: &Arc<Broker>, shared: Shared) -> io::Result<Self> {
        let mut listeners = Self { shared, active: Vec::new(), tasks: JoinSet::new() };
        for bound in bound {
            listeners.add(bound, broker)?;
        }
        Ok(listeners)
    }

    pub(crate) fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.active.iter().map(|active| &active.bound)
    }

    /// Connections that are open, as far as they are counted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.alive.strong_count().saturating_sub(1 + self.active.len())
    }

    /// Applies `plan` and `broker`. Requests that have been read keep their broker. If the runtime refuses a
    /// socket, the others are served.
    pub(crate) fn follow(&mut self, plan: Plan, broker: &Arc<Broker>) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.active);
        let mut outcome = Ok(());
        for (spec, socket) in plan.0 {
            let place = before.iter().position(|active| active.bound.spec.is_same_endpoint(&spec));
            let served = match (place.map(|place| before.swap_remove(place)), socket) {
                (Some(mut active), _) if active.bound.spec.is_served_alike(&spec) => {
                    changes.changed += usize::from(active.bound.spec.endpoint != spec.endpoint);
                    active.listener.set(spec.leads_to_one, spec.takes_over);
                    active.generation.set(broker);
                    active.bound.spec = spec;
                    self.active.push(active);
                    Ok(())
                }
                (Some(mut active), _) => {
                    changes.changed += 1;
                    let configured = Configured::new(&spec, broker, &self.shared);
                    // First: connections that are accepted during the drain are no part of it.
                    active.acceptor.send_replace(configured.acceptor);
                    active.drain.send_replace(Some(Instant::now()));
                    active.listener = configured.listener;
                    active.generation = configured.generation;
                    active.drain = configured.drain;
                    active.bound.spec = spec;
                    self.active.push(active);
                    Ok(())
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
            // This unlinks the path. Then the connections in its queue are accepted.
            drop(active.bound);
            active.drain.send_replace(Some(Instant::now()));
        }
        outcome.map(|()| changes)
    }

    /// Stops accepting. Connections end after the replies to the requests that they have sent. Connections in
    /// the queue of a socket of `activated` are left to the next broker.
    pub(crate) async fn stop(mut self, activated: &Activated) {
        let now = Instant::now();
        let (left, ours): (Vec<&Active>, Vec<&Active>) =
            self.active.iter().partition(|active| active.bound.is_handed_over(activated));
        let drain = |actives: &[&Active]| {
            for active in actives {
                active.drain.send_replace(Some(now));
            }
        };
        drain(&ours);
        // A thread may be accepting at this moment: what it accepts once the drain has begun would be closed.
        let accepting: Vec<&AbortHandle> = left.iter().flat_map(|active| &active.accepting).collect();
        accepting.iter().for_each(|task| task.abort());
        while !accepting.iter().all(|task| task.is_finished()) && self.tasks.join_next().await.is_some() {}
        drain(&left);
        while self.tasks.join_next().await.is_some() {}
    }

    /// Waits for a task that panics: a broker without one of its listeners must not look alive.
    pub(crate) async fn panicked(&mut self) -> JoinError {
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
        let Configured { acceptor, listener, generation, drain } =
            Configured::new(&bound.spec, broker, &self.shared);
        let (acceptor, current) = watch::channel(acceptor);
        let accepting = self.spawn(&bound, &current)?;
        self.active.push(Active { bound, listener, generation, drain, acceptor, accepting });
        Ok(())
    }

    /// Accepts on copies of the descriptor, so that the socket outlives the tasks.
    fn spawn(
        &mut self,
        bound: &Bound,
        current: &watch::Receiver<Arc<Acceptor>>,
    ) -> io::Result<Vec<AbortHandle>> {
        let queue = |runtime: &Handle| {
            let _entered = runtime.enter();
            Queue::of(&bound.socket)
        };
        let runtimes: Vec<&Handle> = self.shared.threads.accepting().collect();
        // All of them, before one accepts.
        let queues = runtimes.iter().map(|runtime| queue(runtime)).collect::<io::Result<Vec<_>>>()?;
        let tasks = &mut self.tasks;
        let begin = |(queue, runtime)| tasks.spawn_on(accept(queue, current.clone()), runtime);
        Ok(queues.into_iter().zip(runtimes).map(begin).collect())
    }
}

/// An endpoint as a configuration has it.
struct Configured {
    acceptor: Arc<Acceptor>,
    listener: ListenerContext,
    generation: Arc<Generation>,
    drain: watch::Sender<Option<Instant>>,
}

impl Configured {
    fn new(spec: &Spec, broker: &Arc<Broker>, shared: &Shared) -> Self {
        let (drain, draining) = watch::channel(None);
        let counted = spec.counted(broker.metrics());
        let listener = ListenerContext::new(spec.worker_pool(), Arc::clone(&counted));
        listener.set(spec.leads_to_one, spec.takes_over);
        let generation = Arc::new(Generation::new(Arc::clone(broker)));
        let acceptor = Acceptor {
            protocol: spec.protocol.clone(),
            label: spec.label.as_str().into(),
            allow_from: spec.allow_from.clone(),
            allowed: spec.allowed.clone(),
            listener: listener.clone(),
            generation: Arc::clone(&generation),
            draining: Draining::new(draining),
            shared: shared.clone(),
            counted,
            warnings: Default::default(),
            turn: Default::default(),
        };
        Self { acceptor: Arc::new(acceptor), listener, generation, drain }
    }
}
