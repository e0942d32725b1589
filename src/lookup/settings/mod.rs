//! Entries of `socket_maps` and `policy_services`, and how they are read.
//!
//! | keys | file |
//! |---|---|
//! | of an entry of either section | `entry` |
//! | of maps alone, of policies alone | `kind` |
//! | `target`, `payload`, `recipient_delimiter` | `template` |
//! | what requests carry, also those of logins | `headers` |
//! | what bounds and spares requests | `cache`, `pool` |
//! | `transport`, `grpc` | `grpc` |
//!
//! What can be wrong is found here and not at the first lookup.

mod cache;
mod entry;
mod grpc;
mod headers;
mod kind;
mod pool;
mod template;

use std::collections::HashSet;
use std::time::Duration;

use hyper::header::HeaderMap;
use url::Url;

use crate::document::Entries;
use crate::lookup::template::{Names, Template};
use crate::lookup::value::Field;
use crate::model::OnFailure;
use crate::observe::metrics::Component;
use crate::oidc::ClientSettings;

pub use cache::{ServerCache, server_cache};
pub(crate) use entry::{MIN_TIMEOUT, status_code, statuses};
pub(crate) use grpc::grpc;
pub(crate) use headers::{RequestSettings, request};
pub use kind::max_reply;
pub use pool::{listener_pool, pool};
pub(crate) use template::target;

/// What an entry takes from `server`.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    /// `http_client.timeout`.
    pub timeout: Duration,
    /// `socketmap_max_reply_size`.
    pub max_reply: usize,
    /// `response_cache`: how long an answer stands in for a failure; zero: never.
    pub outage: Duration,
    /// `worker_pool`.
    pub pool: PoolSettings,
    /// `logging.log_keys`.
    pub log_keys: LogKeys,
}

/// Reads the entries of `socket_maps` or `policy_services`; `names` says which of them.
pub fn read(entries: &Entries<'_>, names: Names, inherited: &Inherited) -> Vec<LookupSettings> {
    entries.read(|name, entry| entry::read(name, entry, names, inherited))
}

/// An entry of `socket_maps` or `policy_services`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupSettings {
    /// The entry's name.
    pub name: String,
    /// Which protocol asks.
    pub kind: Kind,
    /// `method`.
    pub method: Method,
    /// `target`: http or https, with a host. If `path` is set, it replaces path and query.
    pub url: Url,
    /// The path and query of `target` if they hold insertions.
    pub path: Option<Template>,
    /// `custom_headers`, `http_auth_basic`, those for gzip; `Content-Type` is application/json by default.
    pub headers: HeaderMap,
    /// `payload`; `None` for GET.
    pub payload: Option<Template>,
    /// `http_request_compression`: the body is sent as gzip.
    pub compress_request: bool,
    /// `http_response_compression`: the answer may be gzip.
    pub compress_response: bool,
    /// `timeout`, else `server.http_client.timeout`; at most 90 s.
    pub timeout: Duration,
    /// `status_code`, 200 by default.
    pub status_code: u16,
    /// `recipient_delimiter`: the characters that begin the extension of an address.
    pub recipient_delimiter: String,
    /// `value_field`.
    pub value_field: Field,
    /// `error_field`.
    pub error_field: Option<Field>,
    /// `no_error_value`; empty by default.
    pub no_error_value: String,
    /// `absent_value`: what a valid answer without the field means.
    pub absent_value: Absent,
    /// `cache`, with `server.response_cache`.
    pub cache: CacheSettings,
    /// `backend_oidc_auth`, where enabled.
    pub bearer: Option<ClientSettings>,
    /// `server.worker_pool`.
    pub pool: PoolSettings,
    /// `server.logging.log_keys`.
    pub log_keys: LogKeys,
}

impl LookupSettings {
    /// The URLs of its API and of its identity provider.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        self.bearer.iter().map(|client| &client.configuration_uri).chain([&self.url])
    }

    /// What kind of entry this is.
    #[must_use]
    pub fn component(&self) -> Component {
        match self.kind {
            Kind::Map(_) => Component::Map,
            Kind::Policy(_) => Component::Policy,
        }
    }
}

/// `log_keys`: when the log names the key of a lookup, which may be somebody's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKeys {
    /// The default.
    Never,
    /// With a lookup that failed.
    Failures,
    /// Also with every other lookup, at level debug.
    Always,
}

/// `method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With a payload.
    Post,
    /// With path and query alone.
    Get,
}

impl Method {
    /// Its name in HTTP.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
        }
    }
}

/// `absent_value`: what a valid answer without `value_field` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// `not_found`, the default.
    NotFound,
    /// `error`: a failure.
    Failure,
}

/// The section of an entry, and the keys that only this section has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An entry of `socket_maps`.
    Map(MapSettings),
    /// An entry of `policy_services`.
    Policy(PolicySettings),
}

/// The keys of `socket_maps` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSettings {
    /// `server.socketmap_max_reply_size`: the most bytes of a reply's payload.
    pub max_reply: usize,
    /// `on_failure: not_found`, instead of `temp`.
    pub failure_is_not_found: bool,
    /// `perm_as_temp`: what would be PERM is TEMP.
    pub perm_as_temp: bool,
    /// `empty_value: not_found`, instead of `error`.
    pub empty_is_not_found: bool,
    /// `not_found_status`: these statuses say "no such key".
    pub not_found_status: Vec<u16>,
    /// `false_is_not_found`: the value `false` says "no such key".
    pub false_is_not_found: bool,
    /// `domains`, as they are compared; if set, keys of other domains are not found without a call.
    pub domains: Option<HashSet<String>>,
}

/// The keys of `policy_services` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// `on_failure`.
    pub on_failure: OnFailure,
    /// `cache_key`: the attributes that make cached requests differ; `None`: all but the usual exceptions.
    pub cache_key: Option<Vec<String>>,
}

/// `cache`: when an answer of the past may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// `server.response_cache.ttl`, if not off: how long an answer stands in for a failure; zero: never.
    pub outage: Duration,
    /// `cache.fresh`: how long it is given without a request; zero by default.
    pub fresh: Duration,
    /// `cache.negative`: the same for "not found".
    pub negative: Duration,
    /// `cache.stale_while_revalidate`: how long beyond `fresh`, while a request is made.
    pub stale_while_revalidate: Duration,
}

/// `worker_pool`: how many lookups run, and how many wait before the listeners stop accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// `max_workers`; 256 by default.
    pub workers: usize,
    /// `max_queue`; ten times `max_workers` by default.
    pub queue: usize,
}
