//! An entry of `dovecot_sasl`: the API that checks passwords, the provider whose tokens log in, and
//! what a wrong guess costs.
//!
//! A login's request is fixed, and its answer has keys of its own: those that describe them elsewhere
//! have no effect here. `grpc` is checked, and not built yet.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::block::{self, child};
use super::entry::{self, Entries, Inherited, Source};
use super::grpc;
use super::oidc;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use super::template;
use super::tokens;
use crate::http::is_loopback;
use crate::login::{Fields, Settings};
use crate::model::{LOGIN_BUDGET, OnFailure};

/// With the longest of them, a denial still arrives before Postfix gives up.
const FAILURE_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(6);
const DEFAULT_FAILURE_DELAY: Duration = Duration::from_secs(2);
/// Logins of one address or name at a time; 0: no bound.
const ATTEMPTS: RangeInclusive<u64> = 0..=65_535;
const DEFAULT_ATTEMPTS: usize = 8;

/// Resolves the whole section.
pub(super) fn section(report: &mut Report<'_>, entries: &Entries<'_>, inherited: Inherited) -> Vec<Settings> {
    let mut settings = Vec::new();
    entries.each(report, |report, source| settings.extend(entry(report, source, inherited)));
    settings
}

fn entry(report: &mut Report<'_>, source: &Source<'_>, inherited: Inherited) -> Option<Settings> {
    let Source { value, path, block, .. } = source;
    let mut raw: raw::Entry = block::read(report, Some(value), path, *block)?;
    let login: raw::LoginEntry = block::read(report, Some(value), path, *block)?;
    let url = target(report, source, &raw);
    without_effect(report, path, &raw);
    let status = entry::status_code(report, path, raw.status_code);
    let denied_status = denied_status(report, &path.key("denied_status"), &login, status);
    let fields = fields(report, path, &login);
    let timeout = timeout(report, &path.key("timeout"), raw.timeout.as_ref());
    let on_failure = on_failure(report, &path.key("on_failure"), login.on_failure.as_deref());
    if login.accept_bare_status == Some(true) && fields.is_none() {
        let message = "whatever answers with `status_code` lets every password pass";
        report.warning(&path.key("accept_bare_status"), message);
    }
    let port = raw.default_local_port.as_ref();
    let default_local_port = port.and_then(|word| local_port(report, &path.key("default_local_port"), word));
    let delay = login.failure_delay.as_ref();
    let delay = scalar::duration(report, &path.key("failure_delay"), delay, FAILURE_DELAY);
    let penalty = login.sasl_penalty.unwrap_or(true);
    let penalty_exempt = exempt(report, &path.key("penalty_exempt"), &login, penalty);
    let attempts = scalar::number(report, &path.key("sasl_attempts"), login.sasl_attempts, ATTEMPTS);
    let bearer = oidc::backend(report, child(Some(value), "backend_oidc_auth"), path);
    let tokens = tokens::sasl(report, child(Some(value), "sasl_oidc_auth"), path);
    let compress_request = raw.http_request_compression.unwrap_or(false);
    let compress_response = raw.http_response_compression.unwrap_or(false);
    let headers = entry::all_headers(report, source, &mut raw, true);
    Some(Settings {
        name: source.name.to_owned(),
        url: url?,
        headers,
        compress_request,
        compress_response,
        timeout: timeout.unwrap_or(inherited.timeout.min(LOGIN_BUDGET)),
        status_code: status,
        denied_status,
        accept_bare_status: login.accept_bare_status.unwrap_or(false),
        fields,
        on_failure,
        default_local_port,
        failure_delay: delay.unwrap_or(DEFAULT_FAILURE_DELAY),
        penalty,
        penalty_exempt,
        attempts: attempts.and_then(|most| usize::try_from(most).ok()).unwrap_or(DEFAULT_ATTEMPTS),
        bearer,
        tokens,
        pool: inherited.pool,
    })
}

/// `target`, by the one `transport` that is built.
fn target(report: &mut Report<'_>, source: &Source<'_>, raw: &raw::Entry) -> Option<Url> {
    const TRANSPORTS: [(&str, bool); 2] = [("json", false), ("grpc", true)];
    let path = &source.path;
    let at = path.key("transport");
    let transport = raw.transport.as_deref();
    let is_grpc = transport.and_then(|text| scalar::choice(report, &at, text, &TRANSPORTS)) == Some(true);
    let block = child(Some(source.value), "grpc");
    if is_grpc {
        report.value(&at, "grpc is not built yet");
        grpc::asked(report, block, path);
    } else {
        grpc::shape(report, block, path);
    }
    let at = path.key("target");
    match raw.target.as_deref() {
        Some(text) if text.contains("{{") => {
            report.value(&at, "a login's target holds no insertion: what it asks stands in the body");
            None
        }
        Some(text) => {
            let url = template::target(report, &at, text, None).map(|(url, _)| url)?;
            if url.scheme() == "http" && !is_loopback(&url) {
                let problem = report.warning(&at, "passwords go over the network without TLS");
                problem.hint("write https://");
            }
            Some(url)
        }
        None if is_grpc => None,
        None => {
            report.missing(path, "target");
            None
        }
    }
}

/// `accept_field`, and what has no effect without it, or with it.
fn fields(report: &mut Report<'_>, path: &KeyPath, login: &raw::LoginEntry) -> Option<Fields> {
    let mut field =
        |key: &str, text: Option<&str>| text.and_then(|text| entry::field(report, path, key, text));
    let account = field("account_field", login.account_field.as_deref());
    let reason = field("reason_field", login.reason_field.as_deref());
    let accept = field("accept_field", login.accept_field.as_deref());
    if login.accept_field.is_none() {
        for (key, is_set) in [("account_field", account.is_some()), ("reason_field", reason.is_some())] {
            if is_set {
                report.warning(&path.key(key), "has no effect without `accept_field`");
            }
        }
    } else if login.accept_bare_status == Some(true) {
        report.warning(&path.key("accept_bare_status"), "has no effect with `accept_field`");
    }
    Some(Fields { accept: accept?, account, reason })
}

/// A login's request is Nauthilus' own, and so is its answer but for `fields`.
fn without_effect(report: &mut Report<'_>, path: &KeyPath, raw: &raw::Entry) {
    let set = [
        ("payload", raw.payload.is_some()),
        ("value_field", raw.value_field.is_some()),
        ("error_field", raw.error_field.is_some()),
        ("no_error_value", raw.no_error_value.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        report.warning(&path.key(key), "has no effect in dovecot_sasl");
    }
}

fn denied_status(report: &mut Report<'_>, path: &KeyPath, login: &raw::LoginEntry, status: u16) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (index, count) in login.denied_status.iter().flatten().enumerate() {
        let path = path.item(index);
        match scalar::status(report, &path, Some(*count)) {
            Some(code) if code == status => {
                report.value(&path, "is `status_code`, which accepts");
            }
            code => statuses.extend(code),
        }
    }
    statuses
}

/// An entry's own `timeout`.
fn timeout(report: &mut Report<'_>, path: &KeyPath, time: Option<&raw::Time>) -> Option<Duration> {
    let timeout = scalar::duration(report, path, time, Duration::ZERO..=Duration::MAX)?;
    if (entry::MIN_TIMEOUT..=LOGIN_BUDGET).contains(&timeout) {
        return Some(timeout);
    }
    report.value(path, "must be from 1ms to 8s").hint("Postfix gives up a login after 10 s");
    None
}

fn on_failure(report: &mut Report<'_>, path: &KeyPath, text: Option<&str>) -> OnFailure {
    let choices = ["auto", "disconnect", "fail"].map(|name| (name, name));
    match text.and_then(|text| scalar::choice(report, path, text, &choices)) {
        Some("disconnect") => OnFailure::Disconnect,
        Some("fail") => OnFailure::Fail,
        _ => OnFailure::Auto,
    }
}

fn local_port(report: &mut Report<'_>, path: &KeyPath, word: &raw::Word) -> Option<u16> {
    let port = word.0.parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        report.value(path, "must be a port from 1 to 65535");
    }
    port
}

fn exempt(report: &mut Report<'_>, path: &KeyPath, login: &raw::LoginEntry, has_penalty: bool) -> Vec<IpNet> {
    let names = login.penalty_exempt.as_deref().unwrap_or_default();
    if !names.is_empty() && !has_penalty {
        report.warning(path, "has no effect with `sasl_penalty: false`");
    }
    let names = names.iter().enumerate();
    names.filter_map(|(index, text)| scalar::network(report, &path.item(index), text)).collect()
}
