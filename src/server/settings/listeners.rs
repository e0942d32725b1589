//! `server.listen`.
//!
//! Addresses are numeric, so that what is bound does not depend on a resolver. Two sockets that
//! cannot be bound together are an error here, and not half-way through a start.

use std::net::IpAddr;

use ipnet::IpNet;

use super::sockets::{checked_account, is_same, socket_path};
use super::{Endpoint, Ipc, Listener, UnixSocket};
use crate::document::{Key, Kind, Section, nearest, numeric};
use crate::lookup;
use crate::model::Protocol;

const KINDS: [(&str, Protocol); 3] = {
    let [maps, policies, logins] = Protocol::ALL;
    [(maps.label(), maps), (policies.label(), policies), (logins.label(), logins)]
};

/// What `type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Tcp,
    Tcp6,
    Unix,
}

const FAMILIES: [(&str, Family); 3] = [("tcp", Family::Tcp), ("tcp6", Family::Tcp6), ("unix", Family::Unix)];

/// The names of the entries that a listener may ask.
pub struct EntryNames {
    /// Those of `policy_services`.
    pub policies: Vec<String>,
    /// Those of `dovecot_sasl`.
    pub logins: Vec<String>,
}

/// Reads `server.listen`.
pub fn listeners(server: &Section<'_>, names: &EntryNames, ipc: &Ipc) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut endpoints: Vec<(Section<'_>, Endpoint)> = Vec::new();
    // That of the local socket.
    let mut taken = vec!["ipc".to_owned()];
    for block in server.key("listen").sections("Listener") {
        let pool = lookup::settings::listener_pool(&block);
        let (protocol, name) = name(&block, names);
        let socket_name = socket_name(&block, &taken);
        taken.extend(socket_name.clone());
        let (endpoint, allow_from) = endpoint(&block);
        let Some(endpoint) = endpoint else { continue };
        conflicts(&block, &endpoint, &endpoints, ipc);
        endpoints.push((block, endpoint.clone()));
        listeners.extend(protocol.map(|protocol| Listener {
            name,
            protocol,
            endpoint,
            allow_from,
            systemd_socket_name: socket_name,
            pool,
        }));
    }
    listeners
}

/// The protocol, and the name.
fn name(block: &Section<'_>, names: &EntryNames) -> (Option<Protocol>, String) {
    let kind = block.key("kind").choice(&KINDS);
    let key = block.key("name");
    let name = key.word().get().unwrap_or_default();
    let protocol = kind.required_as("one of: socket_map, policy_service, dovecot_sasl");
    let section = match protocol {
        None => return (None, name),
        Some(Protocol::Socketmap) => None,
        Some(Protocol::Policy) => Some((Protocol::Policy.section(), &names.policies)),
        Some(Protocol::Sasl) => Some((Protocol::Sasl.section(), &names.logins)),
    };
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        key.error("a name holds letters, digits, `_`, `-` and `.` only");
    } else if let Some((section, names)) = section {
        check_entry(&key, &name, section, names);
    }
    (protocol, name)
}

/// A listener that asks one entry has its name: one of those of `section`.
fn check_entry(key: &Key<'_>, name: &str, section: &str, names: &[String]) {
    if name.is_empty() {
        key.missing().hint(format!("it says which entry of {section} is asked"));
    } else if !names.iter().any(|entry| entry == name) {
        let problem = key.error(format!("there is no entry {name:?} in {section}"));
        if let Some(other) = names.iter().find(|other| other.to_lowercase() == name.to_lowercase()) {
            problem.hint(format!("there is {other:?}: names are case-sensitive"));
        } else if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
            problem.hint(format!("did you mean {near:?}?"));
        }
    }
}

/// A name as systemd allows it (systemd.socket(5), FileDescriptorName).
fn socket_name(block: &Section<'_>, taken: &[String]) -> Option<String> {
    let key = block.key("systemd_socket_name");
    let name = key.text().get()?;
    let is_legal = !name.is_empty() && name.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != ':');
    if !is_legal || name.trim() != name {
        key.error("must be printable ASCII without `:`");
        return None;
    }
    if let Some(other) = taken.iter().find(|other| **other == name) {
        key.error(format!("another listener has {other:?}, too"));
    }
    Some(name)
}

/// Where a listener listens, and the networks that may connect.
fn endpoint(block: &Section<'_>) -> (Option<Endpoint>, Vec<IpNet>) {
    let family = block.key("type").choice(&FAMILIES);
    let key = block.key("address");
    let address = key.text();
    let port = block.key("port").count(1..=u64::from(u16::MAX)).get();
    let mode = block.key("mode").mode().or(0o660);
    let [user, group] = ["user", "group"].map(|name| block.key(name).word().get());
    let networks = block.key("allow_from");
    let allowed = networks.list(Kind::Text);
    let family = family.required_as("one of: tcp, tcp6, unix");
    if family == Some(Family::Unix) && !allowed.is_empty() {
        let told = networks.error("a unix socket has no addresses: only for tcp and tcp6");
        told.hint("`mode`, `user` and `group` say which users may open it");
        return (None, Vec::new());
    }
    let allow_from: Vec<IpNet> = allowed.iter().filter_map(|key| key.network().get()).collect();
    let Some(family) = family else { return (None, allow_from) };
    let Some(address) = address.required_as(match family {
        Family::Tcp => "as address: \"127.0.0.1\"",
        Family::Tcp6 => "as address: \"[::1]\"",
        Family::Unix => "as address: /run/pfxhttp/map.sock",
    }) else {
        return (None, allow_from);
    };
    if family == Family::Unix {
        if block.key("port").is_set() {
            block.key("port").warning("has no effect: a unix socket has no port");
        }
        let [user, group] = [("user", user), ("group", group)]
            .map(|(name, account)| checked_account(&block.key(name), account));
        let path = socket_path(&key, &address);
        return (path.map(|path| Endpoint::Unix(UnixSocket { path, mode, user, group })), allow_from);
    }
    for key in ["mode", "user", "group"].map(|name| block.key(name)).iter().filter(|key| key.is_set()) {
        key.warning("has no effect: only a unix socket has an owner and a mode");
    }
    // The range was checked: 0 stands for an absent port alone.
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let endpoint = tcp(&key, &address, port, family == Family::Tcp6, allowed.is_empty());
    (endpoint, allow_from)
}

/// A TCP endpoint; warns if any host may connect (`is_open`) and the address is not loopback.
fn tcp(key: &Key<'_>, address: &str, port: u16, v6_only: bool, is_open: bool) -> Option<Endpoint> {
    let Some(address) = numeric(address, v6_only) else {
        let told = key.error("numeric addresses only");
        told.hint(if v6_only { "as \"[::1]\" or \"[::]\"" } else { "as \"127.0.0.1\" or \"[::1]\"" });
        return None;
    };
    if v6_only && address.is_ipv4() {
        key.error("tcp6 needs an IPv6 address").hint("write type: tcp");
        return None;
    }
    if is_open && !address.to_canonical().is_loopback() {
        key.warning("listens beyond loopback: any host that reaches this address may ask").hint(
            "use \"127.0.0.1\", \"[::1]\" or a unix socket, or list the addresses of Postfix in `allow_from`",
        );
    }
    Some(Endpoint::Tcp { address, port, v6_only })
}

/// Reports an endpoint that is one of `others`, or the socket of `ipc`.
fn conflicts(block: &Section<'_>, endpoint: &Endpoint, others: &[(Section<'_>, Endpoint)], ipc: &Ipc) {
    let key = block.key("address");
    if let Endpoint::Unix(socket) = endpoint
        && is_same(&socket.path, &ipc.socket.path)
    {
        key.error("this is the path of the socket of server.ipc");
    }
    if let Some((other, _)) = others.iter().find(|(_, other)| overlap(other, endpoint)) {
        let place = other.key("address").place();
        let place = place.map(|at| format!(" at line {}, column {}", at.line, at.column));
        key.error(format!("the same endpoint as {}{}", other.path(), place.unwrap_or_default()));
    }
}

/// Whether both cannot be bound at a time.
fn overlap(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix(one), Endpoint::Unix(other)) => is_same(&one.path, &other.path),
        (
            Endpoint::Tcp { address: one, port, v6_only },
            Endpoint::Tcp { address: other, port: other_port, v6_only: other_v6_only },
        ) => {
            let covers = |all: &IpAddr, one: &IpAddr, v6_only: bool| {
                all.is_unspecified() && (all.is_ipv4() == one.is_ipv4() || (all.is_ipv6() && !v6_only))
            };
            *port != 0
                && port == other_port
                && (one.to_canonical() == other.to_canonical()
                    || covers(one, other, *v6_only)
                    || covers(other, one, *other_v6_only))
        }
        _ => false,
    }
}
