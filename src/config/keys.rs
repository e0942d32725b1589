//! Which keys there are: built, not built yet, or unknown with a suggestion.
//!
//! The keys are the fields of the raw structs. The table here names those that are not built yet:
//! they are errors that say so, lest somebody believes that they work.

use serde_yaml::{Mapping, Value};

use super::block::fields;
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
    Tls,
    ResponseCache,
    WorkerPool,
    Ipc,
    Admin,
    Observability,
    PrometheusTls,
    Map,
    Policy,
    Login,
    Cache,
    BackendOidc,
    SaslOidc,
    Grpc,
    GrpcTls,
}

/// What a key holds that is no value of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// One block.
    One(Block),
    /// A list of blocks.
    Items(Block),
    /// Blocks by name.
    Entries(Block),
}

/// Every block but the ones below entries, as an administrator calls it, in the order in which a
/// lost key is looked for.
const HOMES: [(Block, &str); 11] = [
    (Block::Server, "server"),
    (Block::HttpClient, "server.http_client"),
    (Block::Logging, "server.logging"),
    (Block::Tls, "server.tls"),
    (Block::ResponseCache, "server.response_cache"),
    (Block::Listener, "an item of server.listen"),
    (Block::Ipc, "server.ipc"),
    (Block::Observability, "server.observability"),
    (Block::Map, "an entry of socket_maps"),
    (Block::Policy, "an entry of policy_services"),
    (Block::Login, "an entry of dovecot_sasl"),
];

impl Block {
    /// The keys of a block, in the order of its struct.
    pub(super) fn keys(self) -> Vec<&'static str> {
        match self {
            Self::Top => fields::<raw::Top>().to_vec(),
            Self::Server => fields::<raw::Server>().to_vec(),
            Self::Listener => fields::<raw::Listener>().to_vec(),
            Self::Logging => fields::<raw::Logging>().to_vec(),
            Self::HttpClient => fields::<raw::HttpClient>().to_vec(),
            Self::Tls => fields::<raw::Tls>().to_vec(),
            Self::ResponseCache => fields::<raw::ResponseCache>().to_vec(),
            Self::WorkerPool => fields::<raw::WorkerPool>().to_vec(),
            Self::Ipc => fields::<raw::Ipc>().to_vec(),
            Self::Admin => fields::<raw::Admin>().to_vec(),
            Self::Observability => fields::<raw::Observability>().to_vec(),
            Self::PrometheusTls => fields::<raw::PrometheusTls>().to_vec(),
            Self::Map => {
                [fields::<raw::Entry>(), fields::<raw::Lookup>(), fields::<raw::MapEntry>()].concat()
            }
            Self::Policy => {
                [fields::<raw::Entry>(), fields::<raw::Lookup>(), fields::<raw::PolicyEntry>()].concat()
            }
            Self::Login => [fields::<raw::Entry>(), fields::<raw::LoginEntry>()].concat(),
            Self::Cache => fields::<raw::Cache>().to_vec(),
            Self::BackendOidc => fields::<raw::BackendOidc>().to_vec(),
            Self::SaslOidc => fields::<raw::SaslOidc>().to_vec(),
            Self::Grpc => fields::<raw::Grpc>().to_vec(),
            Self::GrpcTls => fields::<raw::GrpcTls>().to_vec(),
        }
    }

    /// What stands below `key`; `None` for a value.
    pub(super) fn below(self, key: &str) -> Option<Below> {
        Some(match (self, key) {
            (Self::Top, "server") => Below::One(Self::Server),
            (Self::Top, "socket_maps") => Below::Entries(Self::Map),
            (Self::Top, "policy_services") => Below::Entries(Self::Policy),
            (Self::Top, "dovecot_sasl") => Below::Entries(Self::Login),
            (Self::Server, "listen") => Below::Items(Self::Listener),
            (Self::Server, "logging") => Below::One(Self::Logging),
            (Self::Server, "http_client") => Below::One(Self::HttpClient),
            (Self::Server, "tls") => Below::One(Self::Tls),
            (Self::Server, "response_cache") => Below::One(Self::ResponseCache),
            (Self::Server | Self::Listener, "worker_pool") => Below::One(Self::WorkerPool),
            (Self::Server, "ipc") => Below::One(Self::Ipc),
            (Self::Server, "admin") => Below::One(Self::Admin),
            (Self::Server, "observability") => Below::One(Self::Observability),
            (Self::Observability, "prometheus_tls") => Below::One(Self::PrometheusTls),
            (Self::Map | Self::Policy, "cache") => Below::One(Self::Cache),
            (Self::Map | Self::Policy | Self::Login, _) => match key {
                "backend_oidc_auth" | "oidc_auth" => Below::One(Self::BackendOidc),
                "sasl_oidc_auth" => Below::One(Self::SaslOidc),
                "grpc" => Below::One(Self::Grpc),
                _ => return None,
            },
            (Self::Grpc, "tls") => Below::One(Self::GrpcTls),
            _ => return None,
        })
    }

    /// The keys that are not built yet.
    fn later(self) -> &'static [&'static str] {
        match self {
            Self::Login => &["grpc"],
            _ => &[],
        }
    }
}

/// What became of keys that the Go program's versions 1.0 and 1.1 had.
fn gone(key: &str) -> Option<&'static str> {
    Some(match key {
        "jwt_auth" => {
            "gone: `backend_oidc_auth` gets tokens by client credentials; one that does not change stands in `custom_headers`, as \"Authorization: Bearer ...\""
        }
        "jwt_db_path" => "leave it out: tokens are kept in memory, and no database is needed",
        _ => return None,
    })
}

/// Whether there is a key of this name anywhere.
pub(super) fn is_known(key: &str) -> bool {
    elsewhere(key).is_some() || key == "server" || Block::Top.below(key).is_some()
}

/// The block that would have taken `key`.
fn elsewhere(key: &str) -> Option<&'static str> {
    // The other sections know it only to say that it has no effect there.
    if key == "sasl_oidc_auth" {
        return Some("an entry of dovecot_sasl");
    }
    // What several blocks have, and a `timeout` above all, belongs in none of them in particular.
    let has = |block: Block| block.keys().contains(&key) && !(block == Block::HttpClient && key == "timeout");
    let home = HOMES.iter().find(|(block, _)| has(*block)).map(|(_, name)| *name);
    home.or_else(|| Block::Top.keys().contains(&key).then_some("the top of the file"))
}

/// Reports every key of `mapping` that `block` does not have.
pub(super) fn check(report: &mut Report<'_>, mapping: &Mapping, path: &KeyPath, block: Block) {
    let keys = block.keys();
    for name in mapping.keys().filter_map(Value::as_str) {
        let at = path.key(name);
        if block == Block::Top && name.starts_with("x-") {
            // Whatever the file's author keeps there.
            continue;
        }
        if block.later().contains(&name) {
            report.stranger(&at, "not built yet");
        } else if !keys.contains(&name) {
            let problem = report.stranger(&at, "unknown key");
            if block == Block::Server && name == "timeout" {
                // Too many blocks have one for it to be looked for.
                problem.hint("what entries inherit is `server.http_client.timeout`");
            } else if let Some(hint) = gone(name) {
                problem.hint(hint);
            } else if let Some(near) = nearest(name, keys.iter().copied()) {
                problem.hint(format!("did you mean `{near}`?"));
            } else if let Some(place) = elsewhere(name) {
                problem.hint(format!("it belongs in {place}"));
            }
        }
    }
}

/// The one of `known` that was probably meant by `word`: it differs by case, by `-` for `_`, or by a
/// few letters.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A longer word is like nothing that is known, and the distance costs its square.
    if word.chars().count() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    known
        // At least so many letters differ.
        .filter(|known| known.chars().count().abs_diff(length) <= allowed)
        .map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase().replace('-', "_")), known))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, known)| known)
}
