//! Entries of `dovecot_sasl`, and how they are read.
//!
//! The request of a login is fixed, and its answer has keys of its own: those for lookups have no effect.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::nauthilus;
use crate::document::{Entries, Key, Kind, Refusal, Section, no_effect, size};
use crate::http::ConnectionSettings;
use crate::http::settings::connection;
use crate::lookup::PoolSettings;
use crate::lookup::settings::{self, GrpcSettings, Inherited, MIN_TIMEOUT, RequestSettings};
use crate::lookup::value::Field;
use crate::model::{LOGIN_BUDGET, OnFailure};
use crate::oidc::{self, TokenSettings};
use crate::upstream::settings::{self as upstream, UpstreamSettings};

/// The range of `failure_delay`: after the longest, a denial still arrives before Postfix gives up.
const FAILURE_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(6);
const ON_FAILURE: &[(&str, OnFailure)] =
    &[("auto", OnFailure::Auto), ("disconnect", OnFailure::Disconnect), ("fail", OnFailure::Fail)];

/// Keys of `transport: json` alone.
const OF_JSON: [&str; 14] = [
    "target",
    "targets",
    "balance",
    "breaker",
    "health",
    "retry",
    "status_code",
    "denied_status",
    "accept_bare_status",
    "accept_field",
    "account_field",
    "reason_field",
    "http_request_compression",
    "http_response_compression",
];

/// One entry of `dovecot_sasl`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginSettings {
    /// The entry's name.
    pub name: String,
    /// `target`, or `targets` and what says which of them is asked: http or https, with a host.
    pub upstream: UpstreamSettings,
    /// `tls` and `proxy`.
    pub connection: ConnectionSettings,
    /// What requests carry besides. The body of an answer is read by `fields` alone.
    pub request: RequestSettings,
    /// `timeout`, else `server.http_client.timeout`; at most 8 s.
    pub timeout: Duration,
    /// `status_code`, 200 by default.
    pub status_code: u16,
    /// `denied_status`: these statuses deny, also without `Auth-Status`.
    pub denied_status: Vec<u16>,
    /// `accept_bare_status`: `status_code` alone accepts.
    pub accept_bare_status: bool,
    /// `accept_field` and what belongs to it; without it, headers decide.
    pub fields: Option<Fields>,
    /// `on_failure`: `Auto` by default, `Disconnect` or `Fail`.
    pub on_failure: OnFailure,
    /// `default_local_port`: sent if the client names none.
    pub default_local_port: Option<u16>,
    /// `failure_delay`: the time from a request to its denial, 2 s by default, at most 6 s.
    pub failure_delay: Duration,
    /// `sasl_penalty`: whether this time grows with the denials of one remote address.
    pub penalty: bool,
    /// `penalty_exempt`: networks for which it does not grow, besides loopback.
    pub penalty_exempt: Vec<IpNet>,
    /// `sasl_attempts`: concurrent logins of one remote address and of one name, 8 by default; 0: any.
    pub attempts: usize,
    /// `sasl_oidc_auth`, if enabled: then tokens may log in.
    pub tokens: Option<TokenSettings>,
    /// `server.worker_pool`.
    pub pool: PoolSettings,
    /// `transport`.
    pub transport: Transport,
}

/// How a password goes to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `json`, the default.
    Json,
    /// `grpc`.
    Grpc {
        /// `grpc.timeout`: of a call, within what is left of `timeout`; 5 s by default.
        timeout: Duration,
    },
}

/// The fields of a JSON body that decide a login.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// `accept_field`: `true` or `false`.
    pub accept: Field,
    /// `account_field`: the account, if it is not the name as typed.
    pub account: Option<Field>,
    /// `reason_field`: why the login is denied.
    pub reason: Option<Field>,
}

impl LoginSettings {
    /// The URLs that are asked with `server.tls`: that of its API, if it has no `tls` of its own, and those of its
    /// identity providers.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        let clients =
            self.request.bearer.as_deref().into_iter().chain(self.tokens.iter().map(|tokens| &tokens.client));
        let urls = self.upstream.urls().filter(|_| self.connection.tls.is_none());
        clients.map(|client| &client.configuration_uri).chain(urls)
    }
}

/// Reads the entries of `dovecot_sasl`.
pub fn read(entries: &Entries<'_>, inherited: &Inherited) -> Vec<LoginSettings> {
    entries.read(|name, keys| entry(name, keys, inherited))
}

fn entry(name: &str, entry: &Section<'_>, inherited: &Inherited) -> Option<LoginSettings> {
    let (way, json) = match settings::grpc(entry, nauthilus::PATH) {
        None => (json(entry), entry.clone()),
        Some(grpc) => (over_grpc(entry, grpc), entry.without_effect()),
    };
    let tokens = oidc::settings::tokens(entry);
    of_lookups(entry);
    let status_code = settings::status_code(&json);
    let denied_status =
        settings::statuses(&json, "denied_status", status_code, "is `status_code`, which accepts");
    let accept_bare_status = json.key("accept_bare_status").flag().or(false);
    let (penalty, penalty_exempt) = penalty(entry);
    Some(LoginSettings {
        name: name.to_owned(),
        request: way.request,
        transport: way.transport,
        tokens,
        status_code,
        denied_status,
        accept_bare_status,
        fields: fields(&json, accept_bare_status),
        timeout: timeout(entry, inherited.timeout),
        on_failure: entry.key("on_failure").choice(ON_FAILURE).or(OnFailure::Auto),
        default_local_port: entry.key("default_local_port").word().read_as(|text| port(&text)).get(),
        failure_delay: entry.key("failure_delay").duration(FAILURE_DELAY).or(Duration::from_secs(2)),
        penalty,
        penalty_exempt,
        attempts: size(entry.key("sasl_attempts").count(0..=65_535).or(8)),
        pool: inherited.pool,
        // Last: a problem of these must not hide the others'.
        connection: way.connection?,
        upstream: way.upstream?,
    })
}

/// How requests go to the API. What is wrong is missing.
struct Way {
    transport: Transport,
    upstream: Option<UpstreamSettings>,
    connection: Option<ConnectionSettings>,
    request: RequestSettings,
}

/// Reads the keys of `transport: json`.
fn json(entry: &Section<'_>) -> Way {
    let targets = settings::targets(entry, None, true);
    if let Some(targets) = &targets {
        targets.warn_of_plain_http("passwords");
    }
    let upstream = upstream::read(entry, targets.map(|targets| targets.in_order()), false);
    let connection = connection(entry, upstream.as_ref().map(UpstreamSettings::most_secure));
    Way { transport: Transport::Json, upstream, connection, request: settings::request(entry, true) }
}

/// The same for `transport: grpc`; the keys of JSON have no effect.
fn over_grpc(entry: &Section<'_>, grpc: GrpcSettings) -> Way {
    let json = entry.without_effect();
    settings::targets(&json, None, false);
    upstream::read(&json, None, false);
    settings::request(&json, true);
    let own = OF_JSON.into_iter().map(|name| entry.key(name)).filter(Key::is_own);
    no_effect(own, "with `transport: grpc`");
    let GrpcSettings { upstream, connection, metadata, timeout } = grpc;
    let request = settings::grpc_request(entry, metadata);
    Way { transport: Transport::Grpc { timeout }, upstream, connection, request }
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().ok().filter(|port| *port > 0).ok_or("must be a port from 1 to 65535")
}

/// Reads `timeout`; `inherited` is `server.http_client.timeout`.
fn timeout(entry: &Section<'_>, inherited: Duration) -> Duration {
    let timeout = entry.key("timeout").duration(Duration::ZERO..=Duration::MAX).check(|timeout| {
        let refusal = || Refusal::from("must be from 1ms to 8s").hint("Postfix gives up a login after 10 s");
        (MIN_TIMEOUT..=LOGIN_BUDGET).contains(timeout).then_some(()).ok_or_else(refusal)
    });
    timeout.or_inherit(inherited.min(LOGIN_BUDGET), "server.http_client.timeout")
}

/// Reads `sasl_penalty` and `penalty_exempt`.
fn penalty(entry: &Section<'_>) -> (bool, Vec<IpNet>) {
    let penalty = entry.key("sasl_penalty").flag().or(true);
    let exempt = entry.key("penalty_exempt");
    let networks = exempt.list(Kind::Text);
    if !networks.is_empty() && !penalty {
        no_effect([exempt], "with `sasl_penalty: false`");
    }
    (penalty, networks.iter().filter_map(|item| item.network().get()).collect())
}

/// Reads `accept_field` and what belongs to it, and says which of it and `accept_bare_status` has no effect.
fn fields(entry: &Section<'_>, accept_bare_status: bool) -> Option<Fields> {
    let [accept, account, reason] = ["accept_field", "account_field", "reason_field"]
        .map(|name| entry.key(name).text().read_as(|text| Field::parse(&text)));
    let bare_status = entry.key("accept_bare_status");
    if !accept.is_set() {
        let fields = [&account, &reason].into_iter().filter(|field| field.as_ref().is_some());
        no_effect(fields.map(|field| field.key.clone()), "without `accept_field`");
        if accept_bare_status {
            bare_status.warning("every password is accepted if the API answers with `status_code`");
        }
    } else if accept_bare_status {
        no_effect([bare_status], "with `accept_field`");
    }
    Some(Fields { accept: accept.get()?, account: account.get(), reason: reason.get() })
}

/// Warns of what lookups alone may have.
fn of_lookups(entry: &Section<'_>) {
    let checked = entry.without_effect();
    checked.key("payload").hidden_text();
    checked.key("value_field").text();
    checked.key("error_field").text();
    checked.key("no_error_value").word();
    let keys = ["payload", "value_field", "error_field", "no_error_value"].map(|name| entry.key(name));
    no_effect(keys, "in dovecot_sasl");
}
