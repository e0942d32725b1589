//! `server.listen` and `server.ipc`: sockets that the broker is to make.
//!
//! Addresses are numeric, so that what is bound does not depend on a resolver. Two sockets that
//! cannot be bound together are an error here, and not half-way through a start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_yaml::Value;

use super::block;
use super::cache;
use super::conflict::{conflicts, same_path};
use super::keys::{Block, nearest};
use super::path::KeyPath;
use super::problem::{Problem, Report};
use super::raw;
use super::scalar;
use super::{Endpoint, Ipc, Listener, Speaks, UnixSocket};

/// Where `pfxhttp-client` looks for the broker.
pub(super) const DEFAULT_IPC: &str = "/run/pfxhttp/broker.sock";

/// What `type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Tcp,
    Tcp6,
    Unix,
}

/// Resolves `server.ipc`.
pub(super) fn ipc(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Ipc {
    let raw: raw::Ipc = block::read(report, value, path, Block::Ipc).unwrap_or_default();
    let socket = raw.path.as_deref().unwrap_or(DEFAULT_IPC);
    let socket = scalar::socket_path(report, &path.key("path"), socket).unwrap_or_default();
    let mode = scalar::mode(report, &path.key("mode"), raw.mode.as_ref());
    let user = scalar::account(report, &path.key("user"), raw.user);
    let group = scalar::account(report, &path.key("group"), raw.group);
    let allowed = path.key("allow_users");
    let allow_users = raw.allow_users.unwrap_or_default().into_iter().enumerate();
    let allow_users = allow_users.filter_map(|(index, word)| {
        let item = allowed.item(index);
        let place = report.places().value(&item).filter(|_| report.places().variable(&item).is_none());
        scalar::account(report, &item, Some(word)).map(|user| (user, place))
    });
    let (allow_users, allowed_at) = allow_users.unzip();
    Ipc { socket: UnixSocket { path: socket, mode, user, group }, allow_users, allowed_at }
}

/// Resolves `server.admin`, whose socket is the broker's own, whoever that is to be.
pub(super) fn admin(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    ipc: &Ipc,
    user: Option<&raw::Word>,
) -> UnixSocket {
    let raw: raw::Admin = block::read(report, value, path, Block::Admin).unwrap_or_default();
    let at = path.key("path");
    let own = raw.path.and_then(|text| scalar::socket_path(report, &at, &text));
    if own.as_ref().is_some_and(|own| same_path(own, &ipc.socket.path)) {
        report.value(&at, "this is the path of the socket of server.ipc");
    }
    let beside = || ipc.socket.path.with_file_name("admin.sock");
    let user = user.map(|word| word.0.clone());
    UnixSocket { path: own.unwrap_or_else(beside), mode: 0o600, user, group: None }
}

/// The names of the entries that a listener may ask.
pub(super) struct Names {
    pub(super) maps: usize,
    pub(super) policies: Vec<String>,
    pub(super) logins: Vec<String>,
}

/// Resolves `server.listen`.
pub(super) fn listeners(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    names: &Names,
    ipc: &Ipc,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut endpoints: Vec<(KeyPath, Endpoint)> = Vec::new();
    // That of the local socket.
    let mut taken = vec!["ipc".to_owned()];
    for (index, item) in block::items(report, value, path).iter().enumerate() {
        let path = path.item(index);
        if item.is_null() {
            report.value(&path, "this listener is empty");
            continue;
        }
        let Some(mut raw) = block::read(report, Some(item), &path, Block::Listener) else { continue };
        let pool = block::child(Some(item), "worker_pool");
        let pool = cache::own_pool(report, pool, &path.key("worker_pool"));
        let (speaks, name) = who(report, &mut raw, &path, names);
        let handed = socket_name(report, &path, raw.systemd_socket_name.take());
        if let Some(other) = handed.as_ref().and_then(|name| taken.iter().find(|other| *other == name)) {
            report.value(&path.key("systemd_socket_name"), format!("another listener has {other:?}, too"));
        }
        taken.extend(handed.clone());
        let allow_from = allow_from(report, &path.key("allow_from"), &mut raw);
        let Some(endpoint) = endpoint(report, raw, &path, allow_from.is_empty()) else { continue };
        conflicts(report, &path, &endpoint, &endpoints, ipc);
        endpoints.push((path, endpoint.clone()));
        listeners.extend(speaks.map(|speaks| Listener {
            name,
            speaks,
            endpoint,
            allow_from,
            systemd_socket_name: handed,
            pool,
        }));
    }
    listeners
}

/// A name as systemd allows it (systemd.socket(5), FileDescriptorName).
fn socket_name(report: &mut Report<'_>, path: &KeyPath, name: Option<String>) -> Option<String> {
    let name = name?;
    let is_legal = !name.is_empty() && name.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != ':');
    if !is_legal || name.trim() != name {
        report.value(&path.key("systemd_socket_name"), "must be printable ASCII without `:`");
        return None;
    }
    Some(name)
}

/// The networks that may connect.
fn allow_from(report: &mut Report<'_>, path: &KeyPath, raw: &mut raw::Listener) -> Vec<IpNet> {
    let names = raw.allow_from.take().unwrap_or_default();
    if !names.is_empty() && raw.family.as_deref() == Some("unix") {
        let problem = report.value(path, "a unix socket has no addresses: only for tcp and tcp6");
        problem.hint("`mode`, `user` and `group` say who may open it");
        return Vec::new();
    }
    let names = names.iter().enumerate();
    names.filter_map(|(index, text)| scalar::network(report, &path.item(index), text)).collect()
}

/// What is spoken, and the name.
fn who(
    report: &mut Report<'_>,
    raw: &mut raw::Listener,
    path: &KeyPath,
    names: &Names,
) -> (Option<Speaks>, String) {
    const KINDS: [(&str, Speaks); 3] = [
        ("socket_map", Speaks::Socketmap),
        ("policy_service", Speaks::Policy),
        ("dovecot_sasl", Speaks::Login),
    ];
    let speaks = match &raw.kind {
        Some(text) => scalar::choice(report, &path.key("kind"), text, &KINDS),
        None => {
            hint(report.missing(path, "kind"), "one of: socket_map, policy_service, dovecot_sasl");
            None
        }
    };
    let name = raw.name.take().map(|word| word.0).unwrap_or_default();
    match speaks {
        None => {}
        Some(Speaks::Socketmap) => check_name(report, &name, path, None),
        Some(Speaks::Policy) => {
            check_name(report, &name, path, Some(("policy_services", &names.policies)));
        }
        Some(Speaks::Login) => check_name(report, &name, path, Some(("dovecot_sasl", &names.logins))),
    }
    (speaks, name)
}

fn endpoint(
    report: &mut Report<'_>,
    mut raw: raw::Listener,
    path: &KeyPath,
    is_open: bool,
) -> Option<Endpoint> {
    let families = [("tcp", Family::Tcp), ("tcp6", Family::Tcp6), ("unix", Family::Unix)];
    let family = match &raw.family {
        Some(text) => scalar::choice(report, &path.key("type"), text, &families),
        None => {
            hint(report.missing(path, "type"), "one of: tcp, tcp6, unix");
            None
        }
    }?;
    let Some(address) = raw.address.take() else {
        let example = match family {
            Family::Tcp => "as address: \"127.0.0.1\"",
            Family::Tcp6 => "as address: \"[::1]\"",
            Family::Unix => "as address: /run/pfxhttp/map.sock",
        };
        hint(report.missing(path, "address"), example);
        return None;
    };
    match family {
        Family::Unix => unix(report, raw, &address, path),
        Family::Tcp | Family::Tcp6 => {
            let endpoint = tcp(report, &raw, &address, path, family == Family::Tcp6)?;
            if is_open {
                beyond_loopback(report, &path.key("address"), &endpoint);
            }
            Some(endpoint)
        }
    }
}

fn hint(problem: Option<&mut Problem>, text: &str) {
    if let Some(problem) = problem {
        problem.hint(text);
    }
}

/// A listener that asks one entry has its name: one of those of `section`.
fn check_name(report: &mut Report<'_>, name: &str, path: &KeyPath, section: Option<(&str, &[String])>) {
    let at = path.key("name");
    let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.chars().all(is_allowed) {
        report.value(&at, "a name holds letters, digits, `_`, `-` and `.` only");
        return;
    }
    let Some((section, names)) = section else { return };
    if name.is_empty() {
        let problem = report.missing(path, "name");
        hint(problem, &format!("it says which entry of {section} is asked"));
    } else if !names.iter().any(|entry| entry == name) {
        let problem = report.value(&at, format!("there is no entry {name:?} in {section}"));
        if let Some(other) = names.iter().find(|other| other.to_lowercase() == name.to_lowercase()) {
            problem.hint(format!("there is {other:?}: names are case-sensitive"));
        } else if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
            problem.hint(format!("did you mean {near:?}?"));
        }
    }
}

fn unix(report: &mut Report<'_>, raw: raw::Listener, address: &str, path: &KeyPath) -> Option<Endpoint> {
    if raw.port.is_some() {
        report.warning(&path.key("port"), "has no effect: a unix socket has no port");
    }
    let mode = scalar::mode(report, &path.key("mode"), raw.mode.as_ref());
    let user = scalar::account(report, &path.key("user"), raw.user);
    let group = scalar::account(report, &path.key("group"), raw.group);
    let path = scalar::socket_path(report, &path.key("address"), address)?;
    Some(Endpoint::Unix(UnixSocket { path, mode, user, group }))
}

fn tcp(
    report: &mut Report<'_>,
    raw: &raw::Listener,
    address: &str,
    path: &KeyPath,
    v6_only: bool,
) -> Option<Endpoint> {
    let set = [("mode", &raw.mode), ("user", &raw.user), ("group", &raw.group)];
    for (key, _) in set.into_iter().filter(|(_, word)| word.is_some()) {
        report.warning(&path.key(key), "has no effect: only a unix socket has an owner and a mode");
    }
    let port = scalar::number(report, &path.key("port"), raw.port, 1..=u64::from(u16::MAX));
    let at = path.key("address");
    let Some(address) = numeric(address, v6_only) else {
        let problem = report.value(&at, "numeric addresses only");
        problem.hint(if v6_only { "as \"[::1]\" or \"[::]\"" } else { "as \"127.0.0.1\" or \"[::1]\"" });
        return None;
    };
    if v6_only && address.is_ipv4() {
        report.value(&at, "tcp6 needs an IPv6 address").hint("write type: tcp");
        return None;
    }
    // The range was checked: 0 stands for an absent port alone.
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    Some(Endpoint::Tcp { address, port, v6_only })
}

/// Warns of an endpoint that others reach, and that lets all of them in.
fn beyond_loopback(report: &mut Report<'_>, at: &KeyPath, endpoint: &Endpoint) {
    if let Endpoint::Tcp { address, .. } = endpoint
        && !address.to_canonical().is_loopback()
    {
        let problem = report.warning(at, "listens beyond loopback: whoever reaches this address may ask");
        problem.hint(
            "use \"127.0.0.1\", \"[::1]\" or a unix socket, or list the addresses of Postfix in `allow_from`",
        );
    }
}

/// An address without or with brackets; `localhost` is the one name that needs no resolver.
pub(super) fn numeric(text: &str, v6: bool) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}
