//! The keys of `server` for sockets: `listen`, `ipc`, `admin`, and the user that makes them.

mod listeners;
mod sockets;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::document::Place;
use crate::lookup;
use crate::model::Protocol;

pub use listeners::{EntryNames, listeners};
pub use sockets::{DEFAULT_IPC, account, admin, ipc};

/// The sockets of the broker.
#[derive(Debug)]
pub struct SocketSettings {
    /// `server.listen`; may be empty.
    pub listen: Vec<Listener>,
    /// `server.ipc`.
    pub ipc: Ipc,
    /// `server.admin`: the socket for administrators, mode 0600, the broker's own.
    pub admin: UnixSocket,
    /// `server.run_as_user`, `run_as_group`, `chroot`.
    pub privileges: Privileges,
    /// Whether there is exactly one map: a listener for maps then needs no name in messages.
    pub has_one_map: bool,
}

/// The user and group of the running broker, and its root directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileges {
    /// `run_as_user`: a name or a number.
    pub user: Option<String>,
    /// `run_as_group`; by default the user's own.
    pub group: Option<String>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
}

/// One entry of `server.listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `name`; a label if `kind` is `socket_map`.
    pub name: String,
    /// `kind`.
    pub protocol: Protocol,
    /// `type`, `address`, `port`, `mode`, `user`, `group`.
    pub endpoint: Endpoint,
    /// `allow_from`: networks that may connect over TCP; empty: all.
    pub allow_from: Vec<IpNet>,
    /// `systemd_socket_name`: the name of its socket, if the service manager made it.
    pub systemd_socket_name: Option<String>,
    /// `worker_pool`: the bound of this listener, besides that of each entry.
    pub pool: Option<lookup::PoolSettings>,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `tcp` and `tcp6`.
    Tcp {
        /// A numeric address; `[::]` is dual-stack unless `v6_only`.
        address: IpAddr,
        /// 1 to 65535, or 0 if the key is absent: the system chooses.
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
    /// `hand_over`: whether clients may hand over Postfix' connections.
    pub hand_over: bool,
    /// `allow_users`: names or numbers; empty: all users that may open the socket.
    pub allow_users: Vec<String>,
    /// The place of each of them in the file.
    pub allowed_at: Vec<Option<Place>>,
}
