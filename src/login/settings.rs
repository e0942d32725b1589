//! What an entry of `dovecot_sasl` says, as values that cannot be wrong; and how it is read.
//!
//! A login's request is fixed, and its answer has keys of its own: those that describe them elsewhere
//! have no effect here.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::header::HeaderMap;
use url::Url;

use crate::document::{Entries, Found, Kind, Refusal, Section};
use crate::lookup::PoolSettings;
use crate::lookup::settings::{self, Inherited, MIN_TIMEOUT, RequestSettings};
use crate::lookup::value::Field;
use crate::model::{LOGIN_BUDGET, OnFailure};
use crate::oidc;
use crate::oidc::{ClientSettings, TokenSettings};

/// With the longest of them, a denial still arrives before Postfix gives up.
const FAILURE_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(6);
const ON_FAILURE: &[(&str, OnFailure)] =
    &[("auto", OnFailure::Auto), ("disconnect", OnFailure::Disconnect), ("fail", OnFailure::Fail)];

/// One entry of `dovecot_sasl`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The entry's name.
    pub name: String,
    /// `target`: http or https, with a host.
    pub url: Url,
    /// `custom_headers`, `http_auth_basic`, and `Content-Type: application/json` unless they hold one.
    pub headers: HeaderMap,
    /// `http_request_compression`: the body is sent as gzip.
    pub compress_request: bool,
    /// `http_response_compression`: the answer may be gzip. Its body is read by `fields` alone.
    pub compress_response: bool,
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
    /// `default_local_port`: sent where the client names none.
    pub default_local_port: Option<u16>,
    /// `failure_delay`: how long after its request a denial leaves, 2 s by default, at most 6 s.
    pub failure_delay: Duration,
    /// `sasl_penalty`: whether that grows with the denials of one remote address.
    pub penalty: bool,
    /// `penalty_exempt`: networks for which it does not, besides loopback.
    pub penalty_exempt: Vec<IpNet>,
    /// `sasl_attempts`: how many logins of one remote address, and of one name, are under way at a
    /// time, 8 by default; 0: no bound.
    pub attempts: usize,
    /// `backend_oidc_auth`, where enabled.
    pub bearer: Option<ClientSettings>,
    /// `sasl_oidc_auth`, where enabled: then tokens may log in.
    pub tokens: Option<TokenSettings>,
    /// `server.worker_pool`.
    pub pool: PoolSettings,
}

/// Where a JSON body says what became of a login.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// `accept_field`: `true` or `false`.
    pub accept: Field,
    /// `account_field`: who has logged in, if not as typed.
    pub account: Option<Field>,
    /// `reason_field`: why somebody has not.
    pub reason: Option<Field>,
}

impl Settings {
    /// Whether its API or an identity provider is asked over TLS.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        let clients = [self.bearer.as_ref(), self.tokens.as_ref().map(|tokens| &tokens.client)];
        let providers = clients.into_iter().flatten().map(|client| &client.configuration_uri);
        providers.chain([&self.url]).any(|url| url.scheme() == "https")
    }
}

/// Reads the entries of `dovecot_sasl`.
pub fn read(entries: &Entries<'_>, inherited: &Inherited) -> Vec<Settings> {
    entries.read(|name, entry| of_entry(name, entry, inherited))
}

fn of_entry(name: &str, entry: &Section<'_>, inherited: &Inherited) -> Option<Settings> {
    let is_grpc = settings::grpc(entry);
    let target = settings::target(entry, None, !is_grpc).map(|(url, _)| url);
    if let Some(url) = &target {
        settings::warn_of_plain_http(entry, url, "passwords");
    }
    let RequestSettings { headers, compress_request, compress_response, bearer } =
        settings::request(entry, true);
    let tokens = oidc::settings::tokens(entry);
    of_lookups(entry);
    let status_code = settings::status_code(entry);
    let denied_status =
        settings::statuses(entry, "denied_status", status_code, "is `status_code`, which accepts");
    let bare_status = entry.key("accept_bare_status");
    let accept_bare_status = bare_status.flag().or(false);
    let fields = fields(entry, accept_bare_status);
    if accept_bare_status && fields.is_none() {
        bare_status.warning("whatever answers with `status_code` lets every password pass");
    }
    let timeout = timeout(entry, inherited.timeout);
    let on_failure = entry.key("on_failure").choice(ON_FAILURE).or(OnFailure::Auto);
    let default_local_port = entry.key("default_local_port").word().read_as(|port| {
        let port = port.parse().ok().filter(|port| *port > 0);
        port.ok_or("must be a port from 1 to 65535")
    });
    let failure_delay = entry.key("failure_delay").duration(FAILURE_DELAY).or(Duration::from_secs(2));
    let (penalty, penalty_exempt) = penalty(entry);
    let attempts = entry.key("sasl_attempts").count(0..=65_535).or(8);
    Some(Settings {
        name: name.to_owned(),
        url: target?,
        headers,
        compress_request,
        compress_response,
        timeout,
        status_code,
        denied_status,
        accept_bare_status,
        fields,
        on_failure,
        default_local_port: default_local_port.get(),
        failure_delay,
        penalty,
        penalty_exempt,
        attempts: usize::try_from(attempts).unwrap_or(usize::MAX),
        bearer,
        tokens,
        pool: inherited.pool,
    })
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
        exempt.warning("has no effect with `sasl_penalty: false`");
    }
    (penalty, networks.iter().filter_map(|item| item.network().get()).collect())
}

/// Reads `accept_field`, and what has no effect without it, or with it.
fn fields(entry: &Section<'_>, accept_bare_status: bool) -> Option<Fields> {
    let field = |name| entry.key(name).text().read_as(|text| Field::parse(&text));
    let (accept, account, reason) = (field("accept_field"), field("account_field"), field("reason_field"));
    if !accept.is_set() {
        for found in [&account, &reason].into_iter().filter(|found| found.as_ref().is_some()) {
            found.key.warning("has no effect without `accept_field`");
        }
    } else if accept_bare_status {
        entry.key("accept_bare_status").warning("has no effect with `accept_field`");
    }
    let [account, reason] = [account, reason].map(Found::get);
    Some(Fields { accept: accept.get()?, account, reason })
}

/// Warns of what lookups alone may have.
fn of_lookups(entry: &Section<'_>) {
    let checked = entry.without_effect();
    checked.key("payload").hidden_text();
    checked.key("value_field").text();
    checked.key("error_field").text();
    checked.key("no_error_value").word();
    let set = ["payload", "value_field", "error_field", "no_error_value"].map(|name| entry.key(name));
    for key in set.into_iter().filter(|key| key.is_set()) {
        key.warning("has no effect in dovecot_sasl");
    }
}
