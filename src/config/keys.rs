//! Which keys there are: built, not built yet, or unknown with a suggestion.
//!
//! The keys that are built are the fields of the raw structs. The table here holds those that the
//! documentation names and that are not built yet: they are errors that say so, lest somebody
//! believes that they work.

use serde_yaml::{Mapping, Value};

use super::block;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;

/// The blocks of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    Top,
    Server,
    Listener,
    Logging,
    HttpClient,
    Ipc,
    Map,
    Policy,
}

/// Not built yet, in maps and policies alike.
const ENTRY_LATER: &[&str] = &[
    "backend_oidc_auth",
    "cache",
    "grpc",
    "http_auth_basic",
    "http_request_compression",
    "http_response_compression",
    "method",
    "oidc_auth",
    "transport",
];

impl Block {
    /// The keys that are not built yet.
    fn later(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["dovecot_sasl"],
            Self::Server => &[
                "admin",
                "chroot",
                "observability",
                "response_cache",
                "run_as_group",
                "run_as_user",
                "tls",
                "worker_pool",
            ],
            Self::Listener => &["systemd_socket_name", "worker_pool"],
            Self::Logging => &["use_systemd"],
            Self::HttpClient => &[
                "idle_connection_timeout",
                "max_connections_per_host",
                "max_idle_connections",
                "max_idle_connections_per_host",
                "proxy",
            ],
            Self::Ipc => &[],
            Self::Map => &["absent_value", "domains", "empty_value", "not_found_status", "on_failure"],
            Self::Policy => &["cache_key"],
        }
    }

    fn is_later(self, key: &str) -> bool {
        self.later().contains(&key) || (self.is_entry() && names(ENTRY_LATER, key))
    }

    fn is_entry(self) -> bool {
        matches!(self, Self::Map | Self::Policy)
    }
}

/// Whether `list` holds `key`, or the secret whose `_file` twin it is.
fn names(list: &[&str], key: &str) -> bool {
    list.contains(&key) || key.strip_suffix("_file").is_some_and(|secret| list.contains(&secret))
}

/// Whether there is a key of this name anywhere.
pub(super) fn is_known(key: &str) -> bool {
    elsewhere(key).is_some()
}

/// The block that would have taken `key`.
fn elsewhere(key: &str) -> Option<&'static str> {
    let takes = |block: Block, built: &[&str]| built.contains(&key) || block.is_later(key);
    if takes(Block::Server, block::fields::<raw::Server>()) {
        Some("server")
    } else if takes(Block::HttpClient, block::fields::<raw::HttpClient>()) && key != "timeout" {
        Some("server.http_client")
    } else if takes(Block::Logging, block::fields::<raw::Logging>()) {
        Some("server.logging")
    } else if takes(Block::Listener, block::fields::<raw::Listener>()) {
        Some("an item of server.listen")
    } else if takes(Block::Ipc, block::fields::<raw::Ipc>()) {
        Some("server.ipc")
    } else if takes(Block::Map, &[]) {
        Some("an entry of socket_maps")
    } else if takes(Block::Policy, block::fields::<raw::Entry>()) {
        Some("an entry of policy_services")
    } else if takes(Block::Top, block::fields::<raw::Top>()) {
        Some("the top of the file")
    } else {
        None
    }
}

/// Reports every key of `mapping` that is not one of `built`.
pub(super) fn check(
    report: &mut Report<'_>,
    mapping: &Mapping,
    path: &KeyPath,
    block: Block,
    built: &[&'static str],
) {
    for name in mapping.keys().filter_map(Value::as_str) {
        let at = path.key(name);
        if block.is_later(name) {
            report.stranger(&at, "not built yet");
        } else if !built.contains(&name) {
            let common: &[&str] = if block.is_entry() { ENTRY_LATER } else { &[] };
            let known = built.iter().chain(block.later()).chain(common).copied();
            let problem = report.stranger(&at, "unknown key");
            if let Some(near) = nearest(name, known) {
                problem.hint(format!("did you mean `{near}`?"));
            } else if let Some(place) = elsewhere(name) {
                problem.hint(format!("it belongs in {place}"));
            }
        }
    }
}

/// The one of `known` that was probably meant by `word`.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A longer word is like nothing that is known, and the distance costs its square.
    if word.chars().count() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    known
        .map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase().replace('-', "_")), known))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, known)| known)
}
