//! What `server` says of sockets: `listen`, `ipc`, `admin`, and the rights that they are made with.

mod listeners;
mod sockets;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::document::Place;
use crate::lookup;
use crate::model::Protocol;

pub use listeners::{Names, listeners};
pub use sockets::{DEFAULT_IPC, account, admin, ipc};

/// The sockets of the broker.
#[derive(Debug)]
pub struct Settings {
    /// `server.listen`; may be empty.
    pub listen: Vec<Listener>,
    /// `server.ipc`.
    pub ipc: Ipc,
    /// `server.admin`: the socket for administrators, mode 0600, the broker's own.
    pub admin: UnixSocket,
    /// `server.run_as_user`, `run_as_group`, `chroot`.
    pub privileges: Privileges,
    /// Whether there is exactly one map: then a listener for maps needs no name in messages.
    pub has_one_map: bool,
}

/// Who the broker is once it runs, and what it sees of the file system.
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
    /// `name`; for a map listener a label.
    pub name: String,
    /// `kind`.
    pub protocol: Protocol,
    /// `type`, `address`, `port`, `mode`, `user`, `group`.
    pub endpoint: Endpoint,
    /// `allow_from`: networks that may connect over TCP; empty: all.
    pub allow_from: Vec<IpNet>,
    /// `systemd_socket_name`: the service manager may have made its socket under this name.
    pub systemd_socket_name: Option<String>,
    /// `worker_pool`: bounds what comes through this listener, besides each target's own bound.
    pub pool: Option<lookup::PoolSettings>,
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
    /// Where each of them stands in the file.
    pub allowed_at: Vec<Option<Place>>,
}
