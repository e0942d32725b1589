//! A broker with the entries that a test writes itself: one unix listener for its maps, one for
//! each of its policy services, and the local socket.

use std::path::PathBuf;

use tempfile::TempDir;

use super::broker::Broker;
use super::config::{Config, Kind};
use super::peer::Peer;
use super::site::open_directory;

/// A running broker. Its APIs belong to the test, which makes them first, so that they end last.
pub(crate) struct Setup {
    pub(crate) broker: Broker,
    directory: TempDir,
}

impl Setup {
    /// Starts a broker with these entries.
    pub(crate) fn start(configure: impl FnOnce(Config) -> Config) -> Self {
        Self::start_with(&[], configure)
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(environment: &[(&str, &str)], configure: impl FnOnce(Config) -> Config) -> Self {
        let directory = open_directory();
        let at = |name: &str| directory.path().join(format!("{name}.sock"));
        let mut config = configure(Config::new(directory.path()));
        config = config.listen_unix(Kind::Map, "maps", &at("maps"));
        for name in config.policy_names().to_vec() {
            config = config.listen_unix(Kind::Policy, &name, &at(&name));
        }
        let broker = Broker::start_with(&config.write(), environment);
        Self { broker, directory }
    }

    /// A socket of its directory.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.sock"))
    }

    /// The socket for clients.
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

    /// A connection to a client with these arguments behind `--socket`.
    pub(crate) fn client(&self, arguments: &[&str]) -> Peer {
        Peer::asking(&self.ipc(), arguments)
    }
}
