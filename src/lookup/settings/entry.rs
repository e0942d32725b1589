//! An entry of `socket_maps` or `policy_services`: the settings of one HTTP API.

use std::time::Duration;

use hyper::header::AUTHORIZATION;

use super::headers::{RequestSettings, request};
use super::{Absent, Inherited, LookupSettings, Method, cache, grpc, kind, template};
use crate::document::{Kind, Section, no_effect};
use crate::http::settings::warn_of_plain_http;
use crate::lookup::template::Names;
use crate::lookup::value::Field;
use crate::model::LONGEST_BUDGET;
use crate::oidc;

/// Shorter than any lookup.
pub(crate) const MIN_TIMEOUT: Duration = Duration::from_millis(1);

const METHODS: &[(&str, Method)] = &[("POST", Method::Post), ("GET", Method::Get)];
const ABSENT_VALUE: &[(&str, Absent)] = &[("not_found", Absent::NotFound), ("error", Absent::Failure)];

/// Reads the entry `name`.
pub(super) fn read(
    name: &str,
    entry: &Section<'_>,
    names: Names,
    inherited: &Inherited,
) -> Option<LookupSettings> {
    of_logins(entry);
    let target = template::target(entry, Some(names), true);
    let method = entry.key("method").choice(METHODS).or(Method::Post);
    let RequestSettings { headers, compress_request, compress_response, bearer } =
        request(entry, method == Method::Post);
    let payload = template::payload(entry, method, names, &headers);
    let value_field = entry.key("value_field").text().required();
    let error_field = entry.key("error_field").text().read_as(|text| Field::parse(&text));
    let no_error_value = entry.key("no_error_value").word();
    if !error_field.is_set() {
        no_effect([no_error_value.key.clone()], "without `error_field`");
    }
    let path = target.as_ref().and_then(|(_, path)| path.as_ref());
    let recipient_delimiter =
        template::recipient_delimiter(entry, path, payload.as_ref().and_then(Option::as_ref));
    if let Some((url, _)) = &target
        && (bearer.is_some() || headers.contains_key(AUTHORIZATION))
    {
        warn_of_plain_http(&entry.key("target"), url, "credentials");
    }
    let status_code = status_code(entry);
    let timeout = entry.key("timeout").duration(MIN_TIMEOUT..=LONGEST_BUDGET);
    Some(LookupSettings {
        name: name.to_owned(),
        status_code,
        error_field: error_field.get(),
        no_error_value: no_error_value.or(String::new()),
        absent_value: entry.key("absent_value").choice(ABSENT_VALUE).or(Absent::NotFound),
        cache: cache::cache(entry, names, inherited.outage),
        timeout: timeout.or_inherit(inherited.timeout.min(LONGEST_BUDGET), "server.http_client.timeout"),
        recipient_delimiter,
        kind: match names {
            Names::Map => kind::map(entry, inherited, status_code),
            Names::Policy => kind::policy(entry),
        },
        method,
        headers,
        compress_request,
        compress_response,
        bearer,
        pool: inherited.pool,
        log_keys: inherited.log_keys,
        // Last: a problem of these must not hide the others'.
        value_field: Field::parse_or_whole(&value_field?),
        payload: payload?,
        url: target.as_ref()?.0.clone(),
        path: target?.1,
    })
}

/// Warns of what logins alone may have.
fn of_logins(entry: &Section<'_>) {
    let checked = entry.without_effect();
    oidc::settings::tokens(&checked);
    let is_grpc = grpc::grpc(&checked);
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
    let codes = entry.key(name).list(Kind::Count).into_iter().filter_map(|item| {
        let code = item.status().get()?;
        if code == accepting {
            item.error(message);
        }
        Some(code)
    });
    codes.collect()
}
