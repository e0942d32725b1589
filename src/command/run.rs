//! Running: configuration, sockets, runtime, ready; and the way back.
//!
//! All or nothing: everything that can fail is done before the first connection is accepted. On
//! SIGTERM and SIGINT the broker stops listening, answers what has been asked, and ends with 0; a
//! second signal ends it at once.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use tokio::runtime::Builder;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{info, warn};

use super::{CONFIG, OS, SOFTWARE, configuration};
use crate::broker::Broker;
use crate::cli::Cli;
use crate::config::Config;
use crate::listen::bind::{self, Bound};
use crate::listen::{self, Shared};
use crate::session::Draining;
use crate::telemetry;

/// Descriptors that are not connections of Postfix: those to backends, files, the runtime's own.
const RESERVED_DESCRIPTORS: u64 = 256;

pub(super) fn run(cli: &Cli) -> ExitCode {
    umask(Mode::from_bits_truncate(0o077));
    // Until the runtime listens to them: a stop during the start is a stop, too.
    let held = hold_signals();
    let (file, read) = configuration(cli);
    let (config, warnings) = match read {
        Ok(read) => read,
        Err(problems) => {
            super::say(&problems);
            return ExitCode::from(CONFIG);
        }
    };
    telemetry::start(config.server.logging);
    for warning in warnings {
        warn!("{}", warning.summary());
    }
    info!(file = %file.display(), "configuration read");
    if nix::unistd::geteuid().is_root() {
        warn!("running as root, which the broker has no need of: give it a user of its own");
    }
    let broker = match Broker::new(&config) {
        Ok(broker) => Arc::new(broker),
        Err(error) => return fail(OS, &format!("cannot set up TLS: {error}")),
    };
    let bound = match bind::all(&config) {
        Ok(bound) => bound,
        Err(error) => return fail(OS, &error.to_string()),
    };
    let served = Builder::new_multi_thread().enable_all().build().and_then(|runtime| {
        let served = runtime.block_on(serve(&config, bound, broker, held));
        // A name that is still being looked up has nobody left who waits for it.
        runtime.shutdown_background();
        served
    });
    served.unwrap_or_else(|error| fail(OS, &error.to_string()))
}

/// Says why there is no broker. On standard error alone: a service manager reads both streams.
fn fail(code: u8, message: &str) -> ExitCode {
    super::say(&[format!("pfxhttp-broker: {message}")]);
    ExitCode::from(code)
}

async fn serve(
    config: &Config,
    bound: Vec<Bound>,
    broker: Arc<Broker>,
    held: SigSet,
) -> io::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let _ = held.thread_unblock();
    let (drain, draining) = watch::channel(None);
    let (alive, mut all_gone) = mpsc::channel(1);
    let connections = Arc::new(Semaphore::new(max_connections(config)));
    let endpoints: Vec<String> = bound.iter().map(Bound::endpoint).collect();
    let shared = Shared { broker, connections, draining: Draining::new(draining), alive };
    let mut listeners = listen::serve(bound, &shared)?;
    drop(shared);
    for endpoint in endpoints {
        info!(endpoint, "listening");
    }
    let (maps, policies) = (config.maps.len(), config.policies.len());
    info!(version = env!("CARGO_PKG_VERSION"), maps, policies, "ready");

    tokio::select! {
        () = signals.stop() => {}
        // A listener ends by a panic alone. A broker that is half dead must not look alive.
        _ = listeners.join_next() => return Ok(fail(SOFTWARE, "a listener has ended")),
    }
    info!("stopping: answering what has been asked");
    drain.send_replace(Some(Instant::now()));
    while listeners.join_next().await.is_some() {}
    tokio::select! {
        _ = all_gone.recv() => info!("stopped"),
        () = signals.stop() => warn!("stopped at once, by a second signal"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Holds back the signals that [`Signals`] will listen to, in this thread and its children.
fn hold_signals() -> SigSet {
    let mut held = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        held.add(signal);
    }
    let _ = held.thread_block();
    held
}

struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal to stop.
    async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => warn!("SIGHUP: reload is not built yet; restart to read a new configuration"),
            }
        }
    }
}

/// Raises the soft limit of descriptors to the hard one, and says how many connections fit.
fn max_connections(config: &Config) -> usize {
    let descriptors = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard)
        }
        Ok((soft, _)) => soft,
        Err(_) => 1024,
    };
    let fitting = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(64);
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
    let wanted = config.server.max_connections.unwrap_or(fitting);
    if wanted > fitting {
        warn!(wanted, fitting, "server.max_connections is more than the descriptor limit allows");
    }
    wanted.min(fitting).min(Semaphore::MAX_PERMITS)
}
