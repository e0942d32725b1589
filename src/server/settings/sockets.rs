//! `server.ipc` and `server.admin`, and what the paths and owners of unix sockets must be.

use std::path::{Path, PathBuf};

use super::{Ipc, UnixSocket};
use crate::document::{Key, Kind, Section};

/// Where `pfxhttp-client` looks for the broker.
pub const DEFAULT_IPC: &str = "/run/pfxhttp/broker.sock";

/// `sun_path` holds 108 bytes, the last one a NUL; a socket is bound under a temporary name first.
const MAX_SOCKET_PATH: usize = 107 - ".4194304".len();

/// Reads `server.ipc`.
pub fn ipc(server: &Section<'_>) -> Ipc {
    let ipc = server.key("ipc").section("Ipc");
    let key = ipc.key("path");
    let path = socket_path(&key, &key.text().or(DEFAULT_IPC.to_owned())).unwrap_or_default();
    let mode = ipc.key("mode").mode().or(0o660);
    let [user, group] = ["user", "group"].map(|key| account(&ipc.key(key)));
    let hand_over = ipc.key("hand_over").flag().or(true);
    let users = ipc.key("allow_users").list(Kind::Word);
    let users = users.iter().filter_map(|user| Some((account(user)?, user.place())));
    let (allow_users, allowed_at) = users.unzip();
    Ipc { socket: UnixSocket { path, mode, user, group }, hand_over, allow_users, allowed_at }
}

/// Reads `server.admin`, whose socket belongs to the broker's user.
pub fn admin(server: &Section<'_>, ipc: &Ipc) -> UnixSocket {
    let key = server.key("admin").section("Admin").key("path");
    let beside = ipc.socket.path.with_file_name("admin.sock");
    let text = key.text().or(beside.display().to_string());
    let path = if key.is_set() { socket_path(&key, &text) } else { None };
    if path.as_ref().is_some_and(|path| is_same(path, &ipc.socket.path)) {
        key.error("this is the path of the socket of server.ipc");
    }
    let user = server.key("run_as_user").word().get();
    UnixSocket { path: path.unwrap_or(beside), mode: 0o600, user, group: None }
}

/// Compares paths without `.` and doubled slashes.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
}

/// The path of a unix socket.
pub(super) fn socket_path(key: &Key<'_>, text: &str) -> Option<PathBuf> {
    let message = if text.chars().any(char::is_control) {
        "must not hold control characters"
    } else if !text.starts_with('/') {
        "must be an absolute path"
    } else if text.len() > MAX_SOCKET_PATH {
        "a socket's path has at most 99 bytes"
    } else if text.ends_with('/') {
        "must name a socket, not a directory"
    } else {
        return Some(PathBuf::from(text));
    };
    key.error(message);
    None
}

/// A user or group: a name, or a number.
pub fn account(key: &Key<'_>) -> Option<String> {
    checked_account(key, key.word().get())
}

pub(super) fn checked_account(key: &Key<'_>, name: Option<String>) -> Option<String> {
    let name = name?;
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == ':') {
        key.error("must be a name or a number");
        return None;
    }
    Some(name)
}
