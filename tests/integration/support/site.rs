//! A whole site without Postfix: an API for maps, one for policies, and a broker that can be asked in
//! each way.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::backend::{Backend, Reply, Request};
use super::broker::Broker;
use super::config::{Config, Kind};
use super::peer::Peer;
use super::port::Port;

/// The way of a request to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through a client on stdio, as spawn(8) starts it. It hands the connection over.
    Client,
    /// The same with `--no-hand-over`: it forwards each request.
    Forwarding,
    /// Through a unix listener of the broker.
    Unix,
    /// Through a TCP listener of the broker.
    Tcp,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Client, Self::Forwarding, Self::Unix, Self::Tcp];

    /// Whether it goes through a client.
    pub(crate) fn is_spawned(self) -> bool {
        matches!(self, Self::Client | Self::Forwarding)
    }
}

/// The maps: `demo`, and `hasty`, which waits at most one second.
pub(crate) const HASTY: &str = "hasty";
/// The policy services: `checks`, and `strict`, which disconnects on failure.
pub(crate) const POLICIES: [&str; 2] = ["checks", "strict"];

/// A running site. The broker ends before what it depends on.
pub(crate) struct Site {
    pub(crate) broker: Broker,
    pub(crate) maps: Backend,
    pub(crate) policies: Backend,
    map_port: Port,
    policy_ports: [Port; 2],
    directory: TempDir,
}

/// A directory that every user may search.
pub(crate) fn open_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("pfx-").tempdir().expect("a temporary directory");
    let everyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everyone).expect("its mode can be set");
    directory
}

impl Site {
    /// Starts everything; `handler` answers for both APIs.
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static) -> Self {
        let (maps, policies) = (Backend::start(handler.clone()), Backend::start(handler));
        let directory = open_directory();
        let map_port = Port::reserve();
        let policy_ports = [Port::reserve(), Port::reserve()];
        let at = |name: &str| directory.path().join(format!("{name}.sock"));
        let mut config = Config::new(directory.path())
            .map("demo", &maps.url("/map"), &[])
            .map(HASTY, &maps.url("/map"), &["timeout: 1s"])
            .policy(POLICIES[0], &policies.url("/policy"), &[])
            .policy(POLICIES[1], &policies.url("/policy"), &["on_failure: disconnect"])
            .listen_unix(Kind::Map, "demo", &at("maps"))
            .listen_tcp(Kind::Map, "demo", map_port.number());
        for (name, port) in POLICIES.iter().zip(&policy_ports) {
            config = config.listen_unix(Kind::Policy, name, &at(name));
            config = config.listen_tcp(Kind::Policy, name, port.number());
        }
        let broker = Broker::start(&config.write());
        Self { broker, maps, policies, map_port, policy_ports, directory }
    }

    /// A site whose APIs answer every request with this JSON.
    pub(crate) fn constant(body: &'static str) -> Self {
        Self::start(move |_| Reply::json(body))
    }

    /// The site's directory, which every user may search.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The clients' socket.
    pub(crate) fn ipc(&self) -> PathBuf {
        Config::ipc(self.directory.path())
    }

    /// The unix listener `maps`, or that of a policy service.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.sock"))
    }

    /// The TCP listener for maps.
    pub(crate) fn map_port(&self) -> &Port {
        &self.map_port
    }

    /// The TCP listener of a policy service.
    pub(crate) fn policy_port(&self, name: &str) -> &Port {
        let place = POLICIES.iter().position(|known| *known == name).expect("a policy service");
        &self.policy_ports[place]
    }

    /// A socketmap connection.
    pub(crate) fn map(&self, way: Way) -> Peer {
        match way {
            Way::Client => self.client(&["socketmap"]),
            Way::Forwarding => self.client(&["--no-hand-over", "socketmap"]),
            Way::Unix => Peer::unix(&self.socket("maps")),
            Way::Tcp => Peer::tcp(self.map_port.address()),
        }
    }

    /// A connection to a policy service.
    pub(crate) fn policy(&self, way: Way, name: &str) -> Peer {
        match way {
            Way::Client => self.client(&["policy", name]),
            Way::Forwarding => self.client(&["--no-hand-over", "policy", name]),
            Way::Unix => Peer::unix(&self.socket(name)),
            Way::Tcp => Peer::tcp(self.policy_port(name).address()),
        }
    }

    /// A connection to a client with these arguments behind `--socket`.
    pub(crate) fn client(&self, arguments: &[&str]) -> Peer {
        Peer::asking(&self.ipc(), arguments)
    }
}
