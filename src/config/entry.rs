//! An entry of `socket_maps` or `policy_services`: the settings of one HTTP API.
//!
//! Everything that can be refused is refused here and not at the first lookup: the target, the
//! headers, the templates, the fields.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use serde_yaml::Value;
use url::Url;

use super::block::{self, child};
use super::cache;
use super::grpc;
use super::headers;
use super::keys::Block;
use super::oidc;
use super::path::KeyPath;
use super::places::DEFAULTS;
use super::problem::Report;
use super::protocol;
use super::raw;
use super::scalar;
use super::secret;
use super::template;
use super::tokens;
use crate::http::is_loopback;
use crate::lookup::template::{Names, Template};
use crate::lookup::value::Field;
use crate::lookup::{Absent, LogKeys, Method, PoolSettings, Settings};
use crate::model::LONGEST_BUDGET;

/// Shorter than any lookup.
pub(super) const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// What an entry takes from `server`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited {
    pub(super) timeout: Duration,
    pub(super) max_reply: usize,
    pub(super) outage: Duration,
    pub(super) pool: PoolSettings,
    pub(super) log_keys: LogKeys,
}

/// A section.
pub(super) struct Entries<'v> {
    /// Names and values, without `defaults`.
    pub(super) entries: Vec<(&'v str, &'v Value)>,
    pub(super) defaults: Option<Value>,
    pub(super) path: KeyPath,
    pub(super) block: Block,
}

/// An entry as it is read.
pub(super) struct Source<'s> {
    pub(super) name: &'s str,
    pub(super) value: &'s Value,
    pub(super) path: KeyPath,
    pub(super) block: Block,
    /// The `custom_headers` of `defaults`.
    pub(super) headers: &'s HeaderMap,
}

impl Entries<'_> {
    /// Reads every entry with `read`, after what they inherit and their names are checked.
    pub(super) fn each(&self, report: &mut Report<'_>, mut read: impl FnMut(&mut Report<'_>, &Source<'_>)) {
        let path = self.path.key(DEFAULTS);
        let raw: raw::Entry =
            block::read(report, self.defaults.as_ref(), &path, self.block).unwrap_or_default();
        let lines = raw.custom_headers.unwrap_or_default();
        let headers = headers::custom(report, &path.key("custom_headers"), &lines);
        for &(name, value) in &self.entries {
            let path = self.path.key(name);
            if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':') {
                report.key(&path, "a name holds no blanks, no `:` and no control characters");
            }
            read(report, &Source { name, value, path, block: self.block, headers: &headers });
        }
    }
}

/// Resolves a section of maps or policies.
pub(super) fn section(report: &mut Report<'_>, entries: &Entries<'_>, inherited: Inherited) -> Vec<Settings> {
    let mut settings = Vec::new();
    entries.each(report, |report, source| settings.extend(entry(report, source, inherited)));
    settings
}

fn entry(report: &mut Report<'_>, source: &Source<'_>, inherited: Inherited) -> Option<Settings> {
    let Source { path, block, .. } = source;
    let mut raw: raw::Entry = block::read(report, Some(source.value), path, *block)?;
    let lookup: raw::Lookup = block::read(report, Some(source.value), path, *block)?;
    without_effect(report, source, &raw);
    let names = if *block == Block::Policy { Names::Policy } else { Names::Map };
    let method = method(report, path, lookup.method.as_deref());
    let headers = all_headers(report, source, &mut raw, method == Method::Post);
    let target = required(report, path, "target", raw.target.as_deref())
        .and_then(|text| template::target(report, &path.key("target"), text, Some(names)));
    let payload = payload(report, path, &raw, method, names, is_form(&headers));
    let value_field =
        required(report, path, "value_field", raw.value_field.as_deref()).map(Field::parse_or_whole);
    let error_field = raw.error_field.as_deref().and_then(|text| field(report, path, "error_field", text));
    let status = status_code(report, path, raw.status_code);
    let absent_value = absent_value(report, path, lookup.absent_value.as_deref());
    let cache = path.key("cache");
    let cache = cache::entry(report, child(Some(source.value), "cache"), &cache, *block, inherited.outage);
    let timeout = timeout(report, path, raw.timeout.as_ref());
    let bearer = oidc::backend(report, child(Some(source.value), "backend_oidc_auth"), path);
    let url_template = target.as_ref().and_then(|(_, template)| template.as_ref());
    let templates = [("target", url_template), ("payload", payload.as_ref().and_then(Option::as_ref))];
    let delimiters = template::recipient_delimiter(report, path, lookup.recipient_delimiter, templates);
    let kind = protocol::kind(report, source, inherited, status);
    let (url, request_path) = target?;
    if bearer.is_some() || headers.contains_key(AUTHORIZATION) {
        credentials_need_tls(report, path, &url);
    }
    Some(Settings {
        name: source.name.to_owned(),
        kind: kind?,
        method,
        url,
        path: request_path,
        headers,
        payload: payload?,
        compress_request: raw.http_request_compression == Some(true) && method == Method::Post,
        compress_response: raw.http_response_compression == Some(true),
        timeout: timeout.unwrap_or(inherited.timeout.min(LONGEST_BUDGET)),
        status_code: status,
        recipient_delimiter: delimiters,
        value_field: value_field?,
        error_field,
        no_error_value: raw.no_error_value.map(|word| word.0).unwrap_or_default(),
        absent_value,
        cache,
        bearer,
        pool: inherited.pool,
        log_keys: inherited.log_keys,
    })
}

fn credentials_need_tls(report: &mut Report<'_>, path: &KeyPath, url: &Url) {
    if url.scheme() == "http" && !is_loopback(url) {
        let message = "credentials go over the network without TLS";
        report.warning(&path.key("target"), message).hint("write https://");
    }
}

fn without_effect(report: &mut Report<'_>, source: &Source<'_>, raw: &raw::Entry) {
    let path = &source.path;
    if raw.no_error_value.is_some() && raw.error_field.is_none() {
        report.warning(&path.key("no_error_value"), "has no effect without `error_field`");
    }
    let sasl = [
        ("sasl_oidc_auth", raw.sasl_oidc_auth.is_some()),
        ("default_local_port", raw.default_local_port.is_some()),
        ("transport", raw.transport.as_deref().is_some_and(|transport| transport != "json")),
        ("grpc", raw.grpc.is_some()),
    ];
    for (key, _) in sasl.into_iter().filter(|(_, is_set)| *is_set) {
        report.warning(&path.key(key), "has no effect outside dovecot_sasl");
    }
    tokens::shape(report, child(Some(source.value), "sasl_oidc_auth"), path);
    grpc::shape(report, child(Some(source.value), "grpc"), path);
}

fn required<'t>(
    report: &mut Report<'_>,
    path: &KeyPath,
    key: &str,
    text: Option<&'t str>,
) -> Option<&'t str> {
    if text.is_none() {
        report.missing(path, key);
    }
    text
}

fn method(report: &mut Report<'_>, path: &KeyPath, text: Option<&str>) -> Method {
    const METHODS: [(&str, Method); 2] = [("POST", Method::Post), ("GET", Method::Get)];
    let method = text.and_then(|text| scalar::choice(report, &path.key("method"), text, &METHODS));
    method.unwrap_or(Method::Post)
}

fn absent_value(report: &mut Report<'_>, path: &KeyPath, text: Option<&str>) -> Absent {
    const MEANINGS: [(&str, Absent); 2] = [("not_found", Absent::NotFound), ("error", Absent::Failure)];
    let absent = text.and_then(|text| scalar::choice(report, &path.key("absent_value"), text, &MEANINGS));
    absent.unwrap_or(Absent::NotFound)
}

/// Whether the body is a form's.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The payload of a POST; nothing within `Some` for a GET.
fn payload(
    report: &mut Report<'_>,
    path: &KeyPath,
    raw: &raw::Entry,
    method: Method,
    names: Names,
    is_form: bool,
) -> Option<Option<Template>> {
    let at = path.key("payload");
    if method == Method::Post {
        let text = required(report, path, "payload", raw.payload.as_deref())?;
        return template::payload(report, &at, text, names, is_form).map(Some);
    }
    for (key, is_set) in [
        ("payload", raw.payload.is_some()),
        ("http_request_compression", raw.http_request_compression == Some(true)),
    ] {
        if is_set {
            report.warning(&path.key(key), "has no effect: a GET has no body");
        }
    }
    Some(None)
}

pub(super) fn field(report: &mut Report<'_>, path: &KeyPath, key: &str, text: &str) -> Option<Field> {
    Field::parse(text).map_err(|message| report.value(&path.key(key), message)).ok()
}

/// `status_code`, 200 by default.
pub(super) fn status_code(report: &mut Report<'_>, path: &KeyPath, count: Option<raw::Count>) -> u16 {
    scalar::status(report, &path.key("status_code"), count).unwrap_or(200)
}

/// An entry's own `timeout`.
fn timeout(report: &mut Report<'_>, path: &KeyPath, time: Option<&raw::Time>) -> Option<Duration> {
    scalar::duration(report, &path.key("timeout"), time, MIN_TIMEOUT..=LONGEST_BUDGET)
}

/// What all of an entry's requests carry, but for the token of `backend_oidc_auth`.
pub(super) fn all_headers(
    report: &mut Report<'_>,
    source: &Source<'_>,
    raw: &mut raw::Entry,
    has_body: bool,
) -> HeaderMap {
    let path = &source.path;
    let bearer = block::is_enabled(child(Some(source.value), "backend_oidc_auth"));
    let own = headers::custom(
        report,
        &path.key("custom_headers"),
        raw.custom_headers.as_deref().unwrap_or_default(),
    );
    // `custom_headers: ~` takes back those of `defaults`.
    let is_reset = child(Some(source.value), "custom_headers").is_some_and(Value::is_null);
    let mut headers = if is_reset { own } else { headers::joined(source.headers, &own) };
    let pair = raw.http_auth_basic.take();
    let file = raw.http_auth_basic_file.as_deref();
    if let Some((pair, at)) = secret::read(report, path, "http_auth_basic", pair, file) {
        if bearer {
            report.key(&at, "`backend_oidc_auth` is enabled as well; only one of them can hold");
        }
        if headers.contains_key(AUTHORIZATION) {
            report.key(&at, "`custom_headers` hold an `Authorization` as well; only one of them can hold");
        }
        if let Some(value) = headers::basic(report, &at, pair.expose()) {
            headers.insert(AUTHORIZATION, value);
        }
    }
    if bearer {
        // The token's place, also while there is none: the specification's word.
        headers.remove(AUTHORIZATION);
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let gzip = HeaderValue::from_static("gzip");
    if raw.http_request_compression == Some(true) && has_body {
        headers.insert(CONTENT_ENCODING, gzip.clone());
    }
    if raw.http_response_compression == Some(true) {
        headers.insert(ACCEPT_ENCODING, gzip);
    }
    headers
}
