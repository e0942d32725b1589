//! Entries of `socket_maps` and `policy_services`, and how they are read.
//!
//! | keys | file |
//! |---|---|
//! | of maps alone, of policies alone | `kind` |
//! | `target`, `payload`, `recipient_delimiter` | `template` |
//! | what requests carry, also those of logins | `headers` |
//! | what bounds and spares requests | `bounds` |
//! | `transport`, `grpc` | `grpc` |
//!
//! What can be wrong is found here and not at the first lookup.

mod bounds;
mod grpc;
mod headers;
mod kind;
mod template;

use std::time::Duration;

use hyper::header::AUTHORIZATION;
use url::Url;

use crate::document::{self, Entries, Section, no_effect};
use crate::http::ConnectionSettings;
use crate::http::settings::connection;
use crate::lookup::template::{Names, Template};
use crate::lookup::value::Field;
use crate::model::LONGEST_BUDGET;
use crate::observe::metrics::Component;
use crate::oidc;
use crate::upstream::settings::{self as upstream, UpstreamSettings};

pub use bounds::{CacheSettings, PoolSettings, ServerCache, listener_pool, pool, server_cache};
pub(crate) use grpc::{GrpcSettings, grpc};
pub use headers::RequestSettings;
pub(crate) use headers::{grpc_request, request};
pub use kind::{Kind, MapSettings, PolicySettings, max_reply};
pub(crate) use template::targets;

/// Shorter than any lookup.
pub(crate) const MIN_TIMEOUT: Duration = Duration::from_millis(1);

const ABSENT: &[(&str, Absent)] = &[("not_found", Absent::NotFound), ("error", Absent::Failure)];

/// What an entry takes from `server`.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    /// `http_client.timeout`.
    pub timeout: Duration,
    /// `socketmap_max_reply_size`.
    pub max_reply: usize,
    /// `response_cache`: how long an answer stands in for a failure; zero: never.
    pub outage: Duration,
    /// Whether there is a shared cache (`shared.url`).
    pub has_shared: bool,
    /// `worker_pool`.
    pub pool: PoolSettings,
    /// `logging.log_keys`.
    pub log_keys: LogKeys,
}

/// Reads the entries of `socket_maps` or `policy_services`; `names` says which of them.
pub fn read(entries: &Entries<'_>, names: Names, inherited: &Inherited) -> Vec<LookupSettings> {
    entries.read(|name, block| entry(name, block, names, inherited))
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
    /// `target`, or `targets` and what says which of them is asked: http or https, with a host. If `path` is
    /// set, it replaces path and query.
    pub upstream: UpstreamSettings,
    /// `tls` and `proxy`.
    pub connection: ConnectionSettings,
    /// The path and query of the targets if they hold insertions.
    pub path: Option<Template>,
    /// What requests carry besides.
    pub request: RequestSettings,
    /// `payload`; `None` for GET.
    pub payload: Option<Template>,
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
    /// `server.worker_pool`.
    pub pool: PoolSettings,
    /// `server.logging.log_keys`.
    pub log_keys: LogKeys,
}

impl LookupSettings {
    /// The URLs that are asked with `server.tls`: those of its targets, if it has no `tls` of its own, and that of
    /// its identity provider.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        let urls = self.upstream.urls().filter(|_| self.connection.tls.is_none());
        self.request.bearer.iter().map(|client| &client.configuration_uri).chain(urls)
    }

    /// The statuses that are answers: `status_code` and those that mean "not found".
    pub(super) fn expected(&self) -> Vec<u16> {
        let not_found = match &self.kind {
            Kind::Map(map) => &map.not_found_status[..],
            Kind::Policy(_) => &[],
        };
        [&[self.status_code], not_found].concat()
    }

    /// Whether cached answers of `other` hold with these settings: they differ at most in how the API is reached,
    /// and in how long that may take. The API is the same one if it has a target in both.
    #[must_use]
    pub fn keeps_answers_of(&self, other: &Self) -> bool {
        let same = Self {
            upstream: self.upstream.clone(),
            connection: self.connection.clone(),
            timeout: self.timeout,
            pool: self.pool,
            log_keys: self.log_keys,
            ..other.clone()
        };
        self.upstream.is_api_of(&other.upstream) && *self == same
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

/// Reads the entry `name`.
fn entry(name: &str, entry: &Section<'_>, names: Names, inherited: &Inherited) -> Option<LookupSettings> {
    of_logins(entry);
    let targets = template::targets(entry, Some(names), true);
    let method = entry.key("method").choice(&[("POST", Method::Post), ("GET", Method::Get)]).or(Method::Post);
    let request = request(entry, method == Method::Post);
    let payload = template::payload(entry, method, names, &request.headers);
    let value_field = entry.key("value_field").text().required();
    let error_field = entry.key("error_field").text().read_as(|text| Field::parse(&text));
    let no_error_value = entry.key("no_error_value").word();
    if !error_field.is_set() {
        no_effect([no_error_value.key.clone()], "without `error_field`");
    }
    let path = targets.as_ref().and_then(|targets| targets.path.as_ref());
    let recipient_delimiter =
        template::recipient_delimiter(entry, path, payload.as_ref().and_then(Option::as_ref));
    if let (Some(targets), Some(payload)) = (&targets, &payload) {
        template::warn_of_one_question(entry, names, targets, payload.as_ref());
    }
    if let Some(targets) = &targets
        && (request.bearer.is_some() || request.headers.contains_key(AUTHORIZATION))
    {
        targets.warn_of_plain_http("credentials");
    }
    let cache = bounds::cache(entry, names, inherited);
    let in_order = targets.as_ref().map(template::Targets::in_order);
    let upstream = upstream::read(entry, in_order, !cache.outage.is_zero());
    let connection = connection(entry, upstream.as_ref().map(UpstreamSettings::most_secure));
    let status_code = status_code(entry);
    let timeout = entry.key("timeout").duration(MIN_TIMEOUT..=LONGEST_BUDGET);
    Some(LookupSettings {
        name: name.to_owned(),
        status_code,
        error_field: error_field.get(),
        no_error_value: no_error_value.or(String::new()),
        absent_value: entry.key("absent_value").choice(ABSENT).or(Absent::NotFound),
        cache,
        timeout: timeout.or_inherit(inherited.timeout.min(LONGEST_BUDGET), "server.http_client.timeout"),
        recipient_delimiter,
        kind: match names {
            Names::Map => kind::map(entry, inherited, status_code),
            Names::Policy => kind::policy(entry),
        },
        method,
        request,
        pool: inherited.pool,
        log_keys: inherited.log_keys,
        // Last: a problem of these must not hide the others'.
        connection: connection?,
        value_field: Field::parse_or_whole(&value_field?),
        payload: payload?,
        upstream: upstream?,
        path: targets?.path,
    })
}

/// Warns of what logins alone may have.
fn of_logins(entry: &Section<'_>) {
    let checked = entry.without_effect();
    oidc::settings::tokens(&checked);
    let is_grpc = grpc(&checked, "/").is_some();
    checked.key("default_local_port").word();
    let keys = ["sasl_oidc_auth", "default_local_port", "grpc"].map(|name| entry.key(name));
    no_effect(keys.into_iter().chain(is_grpc.then(|| entry.key("transport"))), "outside dovecot_sasl");
}

/// Reads `status_code`.
pub(crate) fn status_code(entry: &Section<'_>) -> u16 {
    entry.key("status_code").status().or(200)
}

/// Reads a list of status codes. `accepting` is the entry's `status_code`; `message` says that it cannot be
/// among them.
pub(crate) fn statuses(entry: &Section<'_>, name: &'static str, accepting: u16, message: &str) -> Vec<u16> {
    let codes = entry.key(name).list(document::Kind::Count).into_iter().filter_map(|item| {
        let code = item.status().get()?;
        if code == accepting {
            item.error(message);
        }
        Some(code)
    });
    codes.collect()
}
