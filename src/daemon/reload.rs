//! The running daemon, and its reload.
//!
//! All or nothing: the configuration is read and checked, certificates, keys and entries are made,
//! new sockets are bound. Only then everything changes, at once. A failure before that is logged,
//! and nothing has changed. The broker makes new sockets with the rights that it has by then.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::memory::give_back_soon;
use super::service::ServiceManager;
use super::status::Reporter;
use crate::broker::{Broker, Generation};
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::log;
use crate::daemon::query::{self, QueryReply};
use crate::daemon::stored;
use crate::export;
use crate::export::prometheus::PrometheusServer;
use crate::model::status::Status;
use crate::server::activation::Activated;
use crate::server::bind;
use crate::server::settings::Privileges;
use crate::server::{Changes, Listeners};
use crate::settings::{Configuration, Location, Server, Severity};

/// The running daemon.
pub(super) struct Daemon<'c> {
    location: &'c Location,
    pub(super) listeners: Listeners,
    /// What a service manager has handed over.
    pub(super) activated: Activated,
    broker: Arc<Broker>,
    /// The same broker, for the exporters and the status.
    current: Arc<Generation>,
    reporter: Arc<Reporter>,
    prometheus: Option<PrometheusServer>,
    manager: ServiceManager,
    fixed: Fixed,
    /// Counts configurations, from 1.
    generation: u64,
    /// [`Configuration::digest`] of the one that is active.
    digest: [u8; 32],
}

/// What only a restart changes.
#[derive(PartialEq)]
struct Fixed {
    /// Path and mode. The owner follows `server.run_as_user`, which is compared by itself.
    admin: (PathBuf, u32),
    max_connections: (Option<usize>, Option<usize>),
    format: (bool, bool),
    privileges: Privileges,
    prometheus: Option<SocketAddr>,
    otlp: Option<export::settings::Otlp>,
}

impl Fixed {
    fn of(server: &Server) -> Self {
        Self {
            admin: (server.sockets.admin.path.clone(), server.sockets.admin.mode),
            max_connections: (server.max_connections, server.max_connections_per_address),
            format: (server.logging.json, server.logging.use_systemd),
            privileges: server.sockets.privileges.clone(),
            otlp: server.otlp.clone(),
            prometheus: server.prometheus.as_ref().map(|settings| settings.address),
        }
    }
}

impl<'c> Daemon<'c> {
    pub(super) fn new(
        location: &'c Location,
        config: &Configuration,
        broker: Arc<Broker>,
        listeners: Listeners,
        activated: Activated,
        manager: ServiceManager,
        reporter: Arc<Reporter>,
    ) -> Self {
        reporter.set(1, None, &listeners);
        Self {
            location,
            listeners,
            activated,
            broker,
            current: Arc::clone(reporter.current()),
            reporter,
            prometheus: None,
            manager,
            fixed: Fixed::of(&config.server),
            generation: 1,
            digest: config.digest,
        }
    }

    /// From now on the endpoint for Prometheus follows each reload.
    pub(super) fn observed(mut self, prometheus: Option<PrometheusServer>) -> Self {
        self.prometheus = prometheus;
        self
    }

    /// Handles a request of the admin socket. A query runs in a task of its own.
    pub(super) fn handle(&mut self, order: AdminRequest, answer: oneshot::Sender<AdminReply>) {
        let reply = match order {
            AdminRequest::Query(order) => {
                let (broker, digest) = (Arc::clone(&self.broker), Some(self.digest));
                tokio::spawn(async move {
                    let reply = QueryReply { digest, ..query::ask(&broker, &order).await };
                    // The peer may have hung up.
                    let _ = answer.send(AdminReply::Query(reply));
                });
                return;
            }
            // The other threads go on serving.
            AdminRequest::Status => {
                let status = tokio::task::block_in_place(|| self.reporter.status());
                let status = Status { connections: self.listeners.connections(), ..status };
                AdminReply::Status { status: serde_json::to_value(status).unwrap_or_default() }
            }
            AdminRequest::Reload => match self.reload() {
                Ok(restart) if restart.is_empty() => AdminReply::Done {
                    what: format!("reloaded; configuration {} is active", self.generation),
                },
                Ok(restart) => {
                    let (generation, keys) = (self.generation, restart.join("; "));
                    AdminReply::Done {
                        what: format!(
                            "reloaded; configuration {generation} is active; these keys need a restart: {keys}"
                        ),
                    }
                }
                Err(why) => AdminReply::Refused {
                    why: format!(
                        "not reloaded; the running configuration stays\n{}\nrun \"pfxhttp-broker check\" as the broker's user for hints",
                        why.join("\n")
                    ),
                },
            },
            AdminRequest::Stored(request) => stored::answer(&self.broker, &request),
            AdminRequest::Purge { name, key } => {
                let purge = || self.broker.purge(name.as_deref(), key.as_deref());
                match tokio::task::block_in_place(purge) {
                    Ok(count) => AdminReply::Done {
                        what: removed(count) + self.broker.purges_elsewhere(key.is_some()),
                    },
                    Err(why) => AdminReply::Refused { why },
                }
            }
        };
        let _ = answer.send(reply);
    }

    /// Reads the configuration again and applies it. Returns the keys that need a restart.
    ///
    /// # Errors
    /// All reasons, a line each, which are also logged. Nothing has changed then.
    pub(super) fn reload(&mut self) -> Result<Vec<&'static str>, Vec<String>> {
        self.manager.tell_of_reload();
        let outcome = self.try_to_reload();
        give_back_soon();
        self.reporter.set(self.generation, Some(outcome.is_ok()), &self.listeners);
        self.broker.metrics().reloaded(outcome.is_ok());
        self.manager.tell(&[NotifyState::Ready]);
        outcome
    }

    fn try_to_reload(&mut self) -> Result<Vec<&'static str>, Vec<String>> {
        // This waits for files and names. The other threads go on serving.
        let prepared = tokio::task::block_in_place(|| self.prepare());
        let (config, broker, plan) = prepared.inspect_err(|_| {
            error!(generation = self.generation, "not reloaded; the running configuration stays");
        })?;
        let broker = Arc::new(broker);
        let entries_changed = self.broker.entries_changed(&config.broker());
        match self.listeners.follow(plan, &broker) {
            Ok(Changes { added, removed: listeners_removed, changed: listeners_changed }) => {
                self.generation += 1;
                let (generation, listeners_added) = (self.generation, added.len());
                info!(
                    generation,
                    listeners_added,
                    listeners_removed,
                    listeners_changed,
                    entries_changed,
                    "configuration reloaded"
                );
                for endpoint in added {
                    info!(endpoint, "listening");
                }
            }
            Err(error) => error!(%error, "a listener was lost during the reload"),
        }
        let restart = self.needs_a_restart(&config);
        for key in &restart {
            warn!(key, "this change needs a restart");
        }
        log::set_level(config.server.logging.level);
        self.current.set(&broker);
        broker.start();
        if let (Some(endpoint), Some(settings)) = (&self.prometheus, config.server.prometheus) {
            endpoint.follow(settings);
        }
        self.broker = broker;
        self.digest = config.digest;
        Ok(restart)
    }

    /// Prepares everything that can fail, and logs each failure.
    fn prepare(&self) -> Result<(Configuration, Broker, bind::Plan), Vec<String>> {
        let jail = self.fixed.privileges.chroot.as_deref();
        let inside = jail.map(|jail| format!(" (inside chroot {})", jail.display())).unwrap_or_default();
        let refuse = |why: String| {
            let why = format!("{why}{inside}");
            error!("{why}");
            why
        };
        let (_, read) = self.location.read(jail.is_some());
        let (config, warnings) = match read {
            Ok(read) => read,
            Err(problems) => {
                let (errors, warnings): (Vec<_>, Vec<_>) =
                    problems.iter().partition(|problem| problem.severity == Severity::Error);
                warnings.iter().for_each(|warning| warn!("{}", warning.summary()));
                return Err(errors.iter().map(|error| refuse(error.summary())).collect());
            }
        };
        for warning in warnings {
            warn!("{}", warning.summary());
        }
        let broker = self.broker.next(&config.broker());
        match bind::plan(&config.server.sockets, &self.activated, self.listeners.bound()) {
            Ok(plan) => Ok((config, broker, plan)),
            Err(error) => Err(vec![refuse(error.to_string())]),
        }
    }

    /// The keys whose change takes effect after a restart.
    fn needs_a_restart(&self, config: &Configuration) -> Vec<&'static str> {
        let now = Fixed::of(&config.server);
        let fixed = [
            ("server.admin.path, mode", self.fixed.admin != now.admin),
            (
                "server.max_connections, max_connections_per_address",
                self.fixed.max_connections != now.max_connections,
            ),
            ("server.logging.json, use_systemd", self.fixed.format != now.format),
            ("server.run_as_user", self.fixed.privileges.user != now.privileges.user),
            ("server.run_as_group", self.fixed.privileges.group != now.privileges.group),
            ("server.chroot", self.fixed.privileges.chroot != now.privileges.chroot),
            (
                "server.observability.prometheus_enabled, prometheus_address, prometheus_port",
                self.fixed.prometheus != now.prometheus,
            ),
            ("server.observability.otel_…", self.fixed.otlp != now.otlp),
            ("server.response_cache.max_bytes", self.broker.needs_another_cache(&config.broker())),
        ];
        fixed.into_iter().filter(|(_, has_changed)| *has_changed).map(|(key, _)| key).collect()
    }
}

fn removed(count: usize) -> String {
    format!("{count} cached {} removed", if count == 1 { "answer" } else { "answers" })
}
