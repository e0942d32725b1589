//! A broker with entries that the test writes itself: one unix listener for maps, one for each policy
//! service, one unix and one TCP listener for each login entry, and the clients' socket.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::broker::Broker;
use super::config::{Config, Kind};
use super::peer::Peer;
use super::port::Port;
use super::sasl::Sasl;
use super::site::{Way, open_directory};

/// A running broker. Its APIs belong to the test, which makes them first, so that they end last.
pub(crate) struct Setup {
    pub(crate) broker: Broker,
    #[allow(dead_code, reason = "for tests of a broker that answers logins")]
    login_ports: Vec<(String, Port)>,
    directory: TempDir,
}

impl Setup {
    /// Starts a broker with these entries.
    pub(crate) fn start(configure: impl FnOnce(Config) -> Config) -> Self {
        Self::start_with(&[], configure)
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(environment: &[(&str, &str)], configure: impl FnOnce(Config) -> Config) -> Self {
        Self::start_by(configure, |config| Broker::start_with(config, environment))
    }

    /// The same by a shell that runs `script` before the broker; with "" there is no shell.
    #[allow(dead_code, reason = "for tests of faults")]
    pub(crate) fn start_after(script: &str, configure: impl FnOnce(Config) -> Config) -> Self {
        Self::start_by(configure, |config| match script {
            "" => Broker::start(config),
            script => Broker::start_after(script, config),
        })
    }

    fn start_by(configure: impl FnOnce(Config) -> Config, start: impl FnOnce(&Path) -> Broker) -> Self {
        let directory = open_directory();
        let at = |name: &str| directory.path().join(format!("{name}.sock"));
        let mut config = configure(Config::new(directory.path()));
        config = config.listen_unix(Kind::Map, "maps", &at("maps"));
        for name in config.policy_names().to_vec() {
            config = config.listen_unix(Kind::Policy, &name, &at(&name));
        }
        let mut login_ports = Vec::new();
        for name in config.login_names().to_vec() {
            let port = Port::reserve();
            config = config.listen_unix(Kind::Login, &name, &at(&name));
            config = config.listen_tcp(Kind::Login, &name, port.number());
            login_ports.push((name, port));
        }
        let broker = start(&config.write());
        Self { broker, login_ports, directory }
    }

    /// The path of a socket in its directory.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.sock"))
    }

    /// The clients' socket.
    pub(crate) fn ipc(&self) -> PathBuf {
        Config::ipc(self.directory.path())
    }

    /// A connection to the listener for maps.
    pub(crate) fn map(&self) -> Peer {
        Peer::unix(&self.socket("maps"))
    }

    /// A connection to a policy service.
    pub(crate) fn policy(&self, name: &str) -> Peer {
        Peer::unix(&self.socket(name))
    }

    /// The TCP listener for a login.
    #[allow(dead_code, reason = "for tests of a broker that answers logins")]
    pub(crate) fn login_port(&self, name: &str) -> &Port {
        let found = self.login_ports.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no login is named {name}")).1
    }

    /// A connection for logins after its handshake, as Postfix makes it.
    #[allow(dead_code, reason = "for tests of a broker that answers logins")]
    pub(crate) fn login(&self, way: Way, name: &str) -> Sasl {
        Sasl::begin(match way {
            Way::Client => self.client(&["sasl", name]),
            Way::Forwarding => self.client(&["--no-hand-over", "sasl", name]),
            Way::Unix => Peer::unix(&self.socket(name)),
            Way::Tcp => Peer::tcp(self.login_port(name).address()),
        })
    }

    /// The `smtpd_sasl_path` for logins in this way; the services `pfx-sasl` and `pfx-sasl-forwarding` spawn
    /// clients.
    #[allow(dead_code, reason = "for tests of a broker that answers logins")]
    pub(crate) fn sasl_path(&self, way: Way, name: &str) -> String {
        match way {
            Way::Client => "private/pfx-sasl".to_owned(),
            Way::Forwarding => "private/pfx-sasl-forwarding".to_owned(),
            Way::Unix => self.socket(name).display().to_string(),
            Way::Tcp => format!("inet:{}", self.login_port(name).address()),
        }
    }

    /// A connection to a client with these arguments after `--socket`.
    pub(crate) fn client(&self, arguments: &[&str]) -> Peer {
        Peer::asking(&self.ipc(), arguments)
    }
}
