//! The life of the daemon: configuration, sockets, runtime, ready; then the shutdown.
//!
//! All or nothing: everything that can fail is done before the first connection is accepted. On
//! SIGTERM and SIGINT the broker stops listening, answers the requests that it has read, and ends with 0; a
//! second signal ends it at once. SIGHUP makes it read its configuration again (`reload`). A
//! service manager is notified of all that (sd_notify(3)); its watchdog is served if it has one.

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::exit::{CONFIG, OS, SOFTWARE, say};
use super::memory::give_back_soon;
use super::reload::Daemon;
use super::service::ServiceManager;
use super::signals::{Event, Signals, hold_signals};
use super::status::Reporter;
use crate::broker::{Broker, Generation};
use crate::daemon::admin;
use crate::export::prometheus::{self, PrometheusServer};
use crate::export::{Current, Exporter};
use crate::server::activation::Activated;
use crate::server::bind::{self, Bound, UnixEndpoint};
use crate::server::privilege::{ProcessIdentity, drop_privileges, keep_to_itself};
use crate::server::threads::Threads;
use crate::server::{ConnectionLimits, Listeners, Shared};
use crate::settings::{Configuration, Location};

/// Descriptors for other uses than connections of Postfix: connections to APIs, files, the runtime.
const RESERVED_DESCRIPTORS: u64 = 256;

pub(crate) fn run(location: &Location) -> ExitCode {
    umask(Mode::from_bits_truncate(0o077));
    // Until the runtime listens to them: a stop during the start is a stop, too.
    let held = hold_signals();
    let activated = match Activated::from_environment() {
        Ok(activated) => activated,
        Err(error) => return fail(OS, &error),
    };
    let (file, read) = location.read(false);
    let (mut config, warnings) = match read {
        Ok(read) => read,
        Err(problems) => {
            say(&problems);
            return ExitCode::from(CONFIG);
        }
    };
    let log = super::log::start(config.server.logging);
    super::log::log_panics();
    for warning in warnings {
        warn!("{}", warning.summary());
    }
    info!(file = %file.display(), "configuration read");
    let prepared = match Prepared::new(&config, activated) {
        Ok(prepared) => prepared,
        Err(error) => return fail(OS, &error),
    };
    let counts =
        Counts { maps: config.maps.len(), policies: config.policies.len(), logins: config.logins.len() };
    // The entries have settings of their own.
    (config.maps, config.policies, config.logins) = Default::default();
    // Connections have threads of their own; a reload keeps one of the runtime's waiting.
    let served = Builder::new_multi_thread().worker_threads(1).enable_all().build().and_then(|runtime| {
        let served = runtime.block_on(async {
            tokio::select! {
                served = serve(location, config, &counts, prepared, held) => served,
                () = log.watch() => Ok(ExitCode::SUCCESS),
            }
        });
        // Nothing waits any more for a DNS lookup that still runs.
        runtime.shutdown_background();
        served
    });
    served.unwrap_or_else(|error| fail(OS, &error.to_string()))
}

/// How many entries there are.
struct Counts {
    maps: usize,
    policies: usize,
    logins: usize,
}

/// What is made before the runtime starts.
struct Prepared {
    broker: Arc<Broker>,
    bound: Vec<Bound>,
    activated: Activated,
    admin: UnixEndpoint,
    prometheus: Option<TcpListener>,
    exporter: Option<Exporter>,
    /// How many connections there may be.
    connections: usize,
    manager: ServiceManager,
}

impl Prepared {
    /// Makes the broker and its sockets, then drops privileges.
    ///
    /// # Errors
    /// The first step that fails, as a sentence.
    fn new(config: &Configuration, activated: Activated) -> Result<Self, String> {
        let broker = Broker::new(&config.broker());
        let exporter = config.server.otlp.clone();
        let exporter = exporter.map(|otlp| Exporter::new(otlp, config.server.http.clone(), broker.metrics()));
        let broker = Arc::new(broker.traced(exporter.as_ref().and_then(Exporter::tracer)));
        let sockets = &config.server.sockets;
        // Also the user that may write to the directories of sockets.
        let identity = ProcessIdentity::of(&sockets.privileges).map_err(|error| error.to_string())?;
        let bound = bind::all(sockets, &activated).map_err(|error| error.to_string())?;
        let admin = bind::admin(sockets).map_err(|error| error.to_string())?;
        let prometheus = config.server.prometheus.as_ref().map(prometheus::bind).transpose();
        let prometheus = prometheus.map_err(|error| error.to_string())?;
        let connections = max_connections(config);
        let manager = ServiceManager::from_environment();
        drop_privileges(&identity, sockets.privileges.chroot.as_deref())
            .map_err(|error| error.to_string())?;
        keep_to_itself();
        if nix::unistd::geteuid().is_root() {
            warn!("running as root; set server.run_as_user");
        }
        Ok(Self { broker, bound, activated, admin, prometheus, exporter, connections, manager })
    }
}

/// Prints why the broker does not start, on standard error alone: a service manager reads both streams.
fn fail(code: u8, message: &str) -> ExitCode {
    say(&[format!("pfxhttp-broker: {message}")]);
    ExitCode::from(code)
}

/// What is exported: what the current generation says.
fn exported(reporter: &Arc<Reporter>) -> Current {
    let (counted, reached) = (Arc::clone(reporter.current()), Arc::clone(reporter.current()));
    let (shown, asked) = (Arc::clone(reporter), Arc::clone(reporter));
    Current {
        families: Box::new(move |with_process| {
            let broker = counted.current();
            broker.metrics().families(&broker.load(), with_process)
        }),
        status: Box::new(move || shown.status()),
        readiness: Box::new(move || asked.current().current().metrics().readiness()),
        http: Box::new(move || reached.current().http().clone()),
    }
}

async fn serve(
    location: &Location,
    config: Configuration,
    counts: &Counts,
    prepared: Prepared,
    held: SigSet,
) -> io::Result<ExitCode> {
    let Prepared { broker, bound, activated, admin, prometheus, exporter, connections, manager } = prepared;
    let mut signals = Signals::new()?;
    let _ = held.thread_unblock();
    let (alive, mut all_gone) = mpsc::channel(1);
    let threads = Threads::start()?;
    let shared = Shared {
        limits: limits(&config, counts, connections),
        alive,
        threads: threads.clone(),
        warnings: Arc::default(),
    };
    let endpoints: Vec<String> = bound.iter().map(Bound::endpoint).collect();
    let listeners = Listeners::start(bound, &broker, shared)?;
    for endpoint in endpoints {
        info!(endpoint, "listening");
    }
    broker.start();
    let metrics = Arc::clone(broker.metrics());
    let reporter = Arc::new(Reporter::new(Generation::new(Arc::clone(&broker))));
    let exported = Arc::new(exported(&reporter));
    let settings = config.server.prometheus.clone();
    let endpoint = prometheus.zip(settings).map(|(listener, settings)| {
        info!(address = %settings.address, path = settings.path, "listening for Prometheus");
        PrometheusServer::start(listener, settings, &exported)
    });
    let endpoint = endpoint.transpose()?;
    let exporter = exporter.map(|exporter| exporter.start(&exported));
    let Counts { maps, policies, logins } = *counts;
    info!(version = env!("CARGO_PKG_VERSION"), maps, policies, logins, "ready");
    manager.tell(&[NotifyState::Ready]);
    metrics.started();
    let (turned, mut turns) = mpsc::channel(1);
    let watchdog = tokio::spawn(watch(threads, turned));

    let sampling = tokio::spawn(Reporter::sample(Arc::clone(&reporter)));
    give_back_soon();
    let daemon = Daemon::new(location, &config, broker, listeners, activated, manager.clone(), reporter);
    let mut daemon = daemon.observed(endpoint);
    // The memory around what it holds would stay.
    drop(config);
    let (requests, mut received) = mpsc::channel(8);
    let listening = UnixListener::from_std(admin.listener.try_clone()?)?;
    let administration = tokio::spawn(admin::serve(listening, requests));
    let stopped = until_stopped(&mut daemon, &mut signals, &mut received, &mut turns, &manager).await;
    if let Err(error) = stopped {
        return Ok(fail(SOFTWARE, &format!("a listener has ended: {error}")));
    }
    administration.abort();
    drop((admin, received));
    metrics.stopping();
    info!("stopping: answering the requests that have been read");
    manager.tell(&[NotifyState::Stopping]);
    daemon.listeners.stop(&daemon.activated).await;
    until_gone(&mut all_gone, &mut signals, &mut turns, &manager).await;
    watchdog.abort();
    sampling.abort();
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The limits of connections. A quarter is reserved for logins, if there are any.
fn limits(config: &Configuration, counts: &Counts, connections: usize) -> ConnectionLimits {
    let for_logins = if counts.logins == 0 { 0 } else { (connections / 4).clamp(1, 1024) };
    ConnectionLimits::new(connections, for_logins, config.server.max_connections_per_address)
}

/// Handles signals and requests of administrators until a signal stops the daemon.
///
/// # Errors
/// The task of a listener has panicked.
async fn until_stopped(
    daemon: &mut Daemon<'_>,
    signals: &mut Signals,
    requests: &mut mpsc::Receiver<admin::Received>,
    turns: &mut mpsc::Receiver<()>,
    manager: &ServiceManager,
) -> Result<(), JoinError> {
    loop {
        tokio::select! {
            event = signals.next() => match event {
                Event::Stop => return Ok(()),
                Event::Reload => {
                    // The result is logged.
                    let _ = daemon.reload();
                }
            },
            error = daemon.listeners.panicked() => return Err(error),
            Some(()) = turns.recv() => manager.tell(&[NotifyState::Watchdog]),
            Some((request, reply)) = requests.recv() => daemon.handle(request, reply),
        }
    }
}

/// Waits until all connections have ended, or for a second signal.
async fn until_gone(
    all_gone: &mut mpsc::Receiver<()>,
    signals: &mut Signals,
    turns: &mut mpsc::Receiver<()>,
    manager: &ServiceManager,
) {
    loop {
        tokio::select! {
            _ = all_gone.recv() => {
                info!("stopped");
                return;
            }
            event = signals.next() => if matches!(event, Event::Stop) {
                warn!("stopped at once, by a second signal");
                return;
            },
            Some(()) = turns.recv() => manager.tell(&[NotifyState::Watchdog]),
        }
    }
}

/// Notifies the watchdog, twice in WatchdogSec, as long as no thread that serves connections is stuck.
async fn watch(threads: Threads, turned: mpsc::Sender<()>) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut interval = tokio::time::interval((patience / 2).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        threads.turn().await;
        let _ = turned.send(()).await;
    }
}

/// Raises the soft limit of descriptors to the hard one, and says how many connections fit.
fn max_connections(config: &Configuration) -> usize {
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
