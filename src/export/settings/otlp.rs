//! `server.observability`, keys `otel_…`: the export to a collector.
//!
//! The endpoint is a URL, or `host:port`, which is https without `otel_exporter_otlp_insecure`; `v1/traces`
//! and `v1/metrics` are below its path. If the export is enabled, OpenTelemetry's own variables stand in
//! for keys that are not set.

use std::fmt;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::document::{Key, Kind, Section, not_dumped};
use crate::http::settings::url;

/// The port of OTLP over HTTP.
const DEFAULT_PORT: u16 = 4318;

/// The export, if it is enabled.
#[derive(Clone, PartialEq)]
pub struct Otlp {
    /// `otel_traces_enabled`.
    pub traces: bool,
    /// `otel_metrics_enabled`.
    pub metrics: bool,
    /// `otel_exporter_otlp_endpoint`: `v1/traces` and `v1/metrics` stand below it.
    pub endpoint: Url,
    /// `otel_exporter_otlp_headers`.
    pub headers: HeaderMap,
    /// `otel_service_name`.
    pub service_name: String,
    /// `otel_service_version`.
    pub service_version: String,
    /// `otel_sample_ratio`: 0 to 1.
    pub sample_ratio: f64,
}

impl fmt::Debug for Otlp {
    /// Without the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("endpoint", &self.endpoint.host_str()).finish_non_exhaustive()
    }
}

/// The keys, and OpenTelemetry's variables that stand in for them.
pub const VARIABLES: [(&str, &str); 3] = [
    ("otel_service_name", "OTEL_SERVICE_NAME"),
    ("otel_exporter_otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("otel_exporter_otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS"),
];

/// Reads the keys; nothing if nothing is exported.
pub(super) fn read(server: &Section<'_>) -> Option<Otlp> {
    let block = server.key("observability").section("Observability");
    let enabled = block.key("otel_enabled");
    let is_enabled = enabled.flag().or(false);
    let flag = |name| block.key(name).flag().or(false);
    let key_or_variable = |name| match VARIABLES.iter().find(|(key, _)| *key == name) {
        Some((_, variable)) if is_enabled => block.key_or_variable(name, variable),
        _ => block.key(name),
    };
    let [traces, metrics] = ["otel_traces_enabled", "otel_metrics_enabled"].map(flag);
    let is_insecure = flag("otel_exporter_otlp_insecure");
    let sample_ratio = block.key("otel_sample_ratio").ratio().or(1.0);
    let service_name = key_or_variable("otel_service_name").text().or("pfxhttp".to_owned());
    let version = block.key("otel_service_version").word();
    let service_version = version.or(env!("CARGO_PKG_VERSION").to_owned());
    let headers = all_headers(&key_or_variable("otel_exporter_otlp_headers"));
    let address = key_or_variable("otel_exporter_otlp_endpoint");
    let text = address.text();
    let is_missing = !text.is_set() || text.as_ref().is_some_and(String::is_empty);
    let endpoint = text.get().filter(|text| !text.is_empty());
    let endpoint = endpoint.and_then(|text| endpoint_url(&address, &text, is_insecure));
    if !is_enabled {
        return None;
    }
    if !traces && !metrics {
        let told = enabled.error("there is nothing to export");
        told.hint("set otel_traces_enabled, otel_metrics_enabled, or both");
    }
    if is_missing {
        address.missing();
    }
    let endpoint = endpoint?;
    Some(Otlp { traces, metrics, endpoint, headers, service_name, service_version, sample_ratio })
}

fn endpoint_url(key: &Key<'_>, text: &str, is_insecure: bool) -> Option<Url> {
    let has_scheme = text.contains("://");
    let scheme = if is_insecure { "http" } else { "https" };
    let text = if has_scheme { text.to_owned() } else { format!("{scheme}://{text}") };
    let mut url = url(key, &text)?;
    if has_scheme && is_insecure && url.scheme() == "https" {
        key.error("is https, but otel_exporter_otlp_insecure is true");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        key.error("must not hold a user name, a password or a query; use otel_exporter_otlp_headers");
        return None;
    }
    if !has_scheme && url.port().is_none() {
        let _ = url.set_port(Some(DEFAULT_PORT));
    }
    // The path of a signal stands for the path above it.
    let signals = ["/v1/traces", "/v1/metrics"];
    let base = signals.iter().find_map(|signal| url.path().strip_suffix(signal)).map(str::to_owned);
    if let Some(base) = base {
        url.set_path(&base);
    }
    Some(url)
}

fn all_headers(key: &Key<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, key) in key.pairs(Kind::Word) {
        let Some(value) = key.hidden_word().check(not_dumped).get() else { continue };
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) => drop(key.error("is not a header's name")),
            (_, Err(_)) => drop(key.error("must be printable ASCII")),
        }
    }
    headers
}
