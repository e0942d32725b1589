//! What runs, and how it goes over to another configuration.
//!
//! All or nothing: the configuration is read and checked, certificates, keys and entries are made,
//! new sockets are bound; only then everything changes at once. Whatever fails before that is
//! logged, and nothing has changed. Sockets that are new beside old ones need the rights that the
//! broker has by now.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::configuration;
use crate::broker::{Broker, Generation};
use crate::cli::Cli;
use crate::config::{Config, Privileges, Server};
use crate::listen::activation::Activated;
use crate::listen::{Listeners, bind};
use crate::metrics::endpoint::Endpoint;
use crate::otlp;
use crate::telemetry;

/// A broker that runs.
pub(super) struct Running<'c> {
    cli: &'c Cli,
    pub(super) listeners: Listeners,
    /// What a service manager has handed over.
    activated: Activated,
    broker: Arc<Broker>,
    /// The same, for those who look at it from time to time.
    current: Arc<Generation>,
    prometheus: Option<Endpoint>,
    fixed: Fixed,
    /// Counts configurations, from 1.
    generation: u64,
}

/// What only a restart changes.
#[derive(PartialEq)]
struct Fixed {
    max_connections: Option<usize>,
    format: (bool, bool),
    privileges: Privileges,
    prometheus: Option<SocketAddr>,
    otlp: Option<otlp::Settings>,
}

impl Fixed {
    fn of(server: &Server) -> Self {
        Self {
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
    ) -> Self {
        let current = Arc::new(Generation::new(Arc::clone(&broker)));
        let (fixed, prometheus) = (Fixed::of(&config.server), None);
        Self { cli, listeners, activated, broker, current, prometheus, fixed, generation: 1 }
    }

    /// From now on `current` is told of every reload, and the endpoint follows it.
    pub(super) fn observed(mut self, current: Arc<Generation>, prometheus: Option<Endpoint>) -> Self {
        (self.current, self.prometheus) = (current, prometheus);
        self
    }

    /// Reads the configuration again, and goes over to it; true where that was possible.
    pub(super) fn reload(&mut self) -> bool {
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
                    error!(file = %file.display(), "{}", problem.summary());
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
