//! The configuration: read with places, mirrored by serde, resolved to values that cannot be wrong.
//!
//! Only `command` and `broker` see this module.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::target;

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Config {
    /// `server`.
    pub server: Server,
    /// `socket_maps`.
    pub maps: Vec<target::Settings>,
    /// `policy_services`.
    pub policies: Vec<target::Settings>,
}

/// `server`.
#[derive(Debug)]
pub struct Server {
    /// `server.listen`; may be empty.
    pub listen: Vec<Listener>,
    /// `server.ipc`.
    pub ipc: Ipc,
    /// `server.logging`.
    pub logging: Logging,
    /// `server.max_connections`; `None`: the descriptor limit less 256.
    pub max_connections: Option<usize>,
}

/// One entry of `server.listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `name`; for a map listener a label.
    pub name: String,
    /// `kind`.
    pub speaks: Speaks,
    /// `type`, `address`, `port`, `mode`, `user`, `group`.
    pub endpoint: Endpoint,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// `socket_map`: any map may be asked.
    Socketmap,
    /// `policy_service`: the entry of the listener's name is asked.
    Policy,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `tcp` and `tcp6`.
    Tcp {
        /// A numeric address; `[::]` is dual-stack unless `v6_only`.
        address: IpAddr,
        /// 1 to 65535, or 0 where the key is absent: the system chooses.
        port: u16,
        /// `type: tcp6`.
        v6_only: bool,
    },
    /// `unix`.
    Unix(UnixSocket),
}

/// A unix socket to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    /// `address` or `path`.
    pub path: PathBuf,
    /// `mode`; 0660 by default.
    pub mode: u32,
    /// `user`: a name or a number, looked up when the socket is made.
    pub user: Option<String>,
    /// `group`.
    pub group: Option<String>,
}

/// `server.ipc`: the socket for `pfxhttp-client`.
#[derive(Debug)]
pub struct Ipc {
    /// Path, mode and owner.
    pub socket: UnixSocket,
    /// `allow_users`: names or numbers; empty: whoever may open the socket.
    pub allow_users: Vec<String>,
}

/// `server.logging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// `json`.
    pub json: bool,
    /// `level`.
    pub level: Level,
}

/// `server.logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing at all.
    None,
    /// Errors alone.
    Error,
    /// The default.
    Info,
    /// Everything.
    Debug,
}
