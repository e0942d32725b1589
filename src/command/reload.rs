//! What runs, and how it goes over to another configuration.
//!
//! All or nothing: the configuration is read and checked, certificates, keys and entries are made,
//! new sockets are bound; only then everything changes at once. Whatever fails before that is
//! logged, and nothing has changed. Sockets that are new beside old ones need the rights that the
//! broker has by now.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::configuration;
use super::service::ServiceManager;
use crate::admin::{Order, Told};
use crate::broker::{Broker, Generation};
use crate::cli::Cli;
use crate::config::{Config, Privileges, Server, Severity};
use crate::listen::Listeners;
use crate::listen::activation::Activated;
use crate::listen::bind::{self, Bound};
use crate::metrics::endpoint::Endpoint;
use crate::otlp;
use crate::query;
use crate::telemetry;

/// A broker that runs.
pub(super) struct Running<'c> {
    cli: &'c Cli,
    pub(super) listeners: Listeners,
    /// What a service manager has handed over.
    pub(super) activated: Activated,
    broker: Arc<Broker>,
    /// The same, for those who look at it from time to time.
    current: Arc<Generation>,
    prometheus: Option<Endpoint>,
    manager: ServiceManager,
    fixed: Fixed,
    /// Counts configurations, from 1.
    generation: u64,
    since: Instant,
    /// Whether the last reload was taken; none: there was none.
    reloaded: Option<bool>,
}

/// What only a restart changes.
#[derive(PartialEq)]
struct Fixed {
    /// Its owner follows `server.run_as_user`, which is named itself.
    admin: (PathBuf, u32),
    max_connections: Option<usize>,
    format: (bool, bool),
    privileges: Privileges,
    prometheus: Option<SocketAddr>,
    otlp: Option<otlp::Settings>,
}

impl Fixed {
    fn of(server: &Server) -> Self {
        Self {
            admin: (server.admin.path.clone(), server.admin.mode),
            max_connections: server.max_connections,
            format: (server.logging.json, server.logging.use_systemd),
            privileges: server.privileges.clone(),
            otlp: server.otlp.clone(),
            prometheus: server.prometheus.as_ref().map(|settings| settings.address),
        }
    }
}

impl<'c> Running<'c> {
    pub(super) fn new(
        cli: &'c Cli,
        config: &Config,
        broker: Arc<Broker>,
        listeners: Listeners,
        activated: Activated,
        manager: ServiceManager,
    ) -> Self {
        let current = Arc::new(Generation::new(Arc::clone(&broker)));
        Self {
            cli,
            listeners,
            activated,
            broker,
            current,
            prometheus: None,
            manager,
            fixed: Fixed::of(&config.server),
            generation: 1,
            since: Instant::now(),
            reloaded: None,
        }
    }

    /// From now on `current` is told of every reload, and the endpoint follows it.
    pub(super) fn observed(mut self, current: Arc<Generation>, prometheus: Option<Endpoint>) -> Self {
        (self.current, self.prometheus) = (current, prometheus);
        self
    }

    /// Does what an administrator orders. Questions are asked aside.
    pub(super) fn obey(&mut self, order: Order, answer: oneshot::Sender<Told>) {
        let told = match order {
            Order::Query(order) => {
                let broker = Arc::clone(&self.broker);
                tokio::spawn(async move {
                    // Whoever asked may be gone.
                    let _ = answer.send(Told::Said(query::ask(&broker, &order).await));
                });
                return;
            }
            Order::Status => Told::Status { status: self.status() },
            Order::Reload if self.reload() => {
                Told::Done { what: format!("generation {} is in force", self.generation) }
            }
            Order::Reload => Told::Refused { why: "nothing has changed; the log says why".to_owned() },
            Order::Purge { name, key } => match self.broker.purge(name.as_deref(), key.as_deref()) {
                0 => Told::Refused { why: "there is no such entry".to_owned() },
                count => Told::Done { what: format!("forgotten: the answers of {count} entries") },
            },
        };
        let _ = answer.send(told);
    }

    fn status(&self) -> Value {
        let listeners: Vec<Value> = self.listeners.bound().map(Bound::status).collect();
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "generation": self.generation,
            "uptime_s": self.since.elapsed().as_secs(),
            "reloaded": self.reloaded,
            "connections": self.listeners.connections(),
            "listener": listeners,
        });
        if let (Value::Object(all), Value::Object(broker)) = (&mut status, self.broker.status()) {
            all.extend(broker);
        }
        status
    }

    /// Reads the configuration again, and goes over to it; true where that was possible.
    pub(super) fn reload(&mut self) -> bool {
        self.manager.tell_of_reload();
        self.reloaded = Some(self.try_to_reload());
        self.broker.metrics().reloaded(self.reloaded == Some(true));
        self.manager.tell(&[NotifyState::Ready]);
        self.reloaded == Some(true)
    }

    fn try_to_reload(&mut self) -> bool {
        // Files and names are waited for; the other threads go on serving.
        let prepared = tokio::task::block_in_place(|| self.prepare());
        let Some((config, broker, plan)) = prepared else {
            error!(generation = self.generation, "the configuration was not reloaded: nothing has changed");
            return false;
        };
        let broker = Arc::new(broker);
        match self.listeners.follow(plan, &broker) {
            Ok(changes) => {
                self.generation += 1;
                let (added, removed, changed) = (changes.added, changes.removed, changes.changed);
                info!(generation = self.generation, added, removed, changed, "configuration reloaded");
            }
            Err(error) => error!(%error, "a listener was lost in the reload"),
        }
        self.name_what_needs_a_restart(&config);
        telemetry::set_level(config.server.logging.level);
        self.current.set(&broker);
        if let (Some(endpoint), Some(settings)) = (&self.prometheus, config.server.prometheus) {
            endpoint.follow(settings);
        }
        self.broker = broker;
        true
    }

    /// Makes everything that can fail, and says what did.
    fn prepare(&self) -> Option<(Config, Broker, bind::Plan)> {
        let (file, read) = configuration(self.cli);
        let (config, warnings) = match read {
            Ok(read) => read,
            Err(problems) => {
                for problem in problems {
                    match problem.severity {
                        Severity::Error => error!(file = %file.display(), "{}", problem.summary()),
                        Severity::Warning => warn!("{}", problem.summary()),
                    }
                }
                return None;
            }
        };
        for warning in warnings {
            warn!("{}", warning.summary());
        }
        let broker = match self.broker.next(&config) {
            Ok(broker) => broker,
            Err(error) => {
                error!(%error, "cannot set up the HTTP side");
                return None;
            }
        };
        match bind::plan(&config, &self.activated, self.listeners.bound()) {
            Ok(plan) => Some((config, broker, plan)),
            Err(error) => {
                error!("{error}");
                None
            }
        }
    }

    fn name_what_needs_a_restart(&self, config: &Config) {
        let now = Fixed::of(&config.server);
        let fixed = [
            ("server.admin.path, mode", self.fixed.admin != now.admin),
            ("server.max_connections", self.fixed.max_connections != now.max_connections),
            ("server.logging.json, use_systemd", self.fixed.format != now.format),
            ("server.run_as_user", self.fixed.privileges.user != now.privileges.user),
            ("server.run_as_group", self.fixed.privileges.group != now.privileges.group),
            ("server.chroot", self.fixed.privileges.chroot != now.privileges.chroot),
            (
                "server.observability.prometheus_enabled, prometheus_address, prometheus_port",
                self.fixed.prometheus != now.prometheus,
            ),
            ("server.observability.otel_…", self.fixed.otlp != now.otlp),
            ("server.response_cache.max_bytes", self.broker.needs_another_cache(config)),
        ];
        for (key, _) in fixed.into_iter().filter(|(_, has_changed)| *has_changed) {
            warn!(key, "this change needs a restart");
        }
    }
}
