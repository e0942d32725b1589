//! `server.observability`, keys `otel_…`: the collector that is told.
//!
//! The endpoint is a URL, or `host:port`, which is https unless `…_insecure` says otherwise; a path
//! is taken for what `v1/traces` stands below.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::http;
use super::path::KeyPath;
use super::problem::Report;
use super::raw::{self, Word};
use crate::export::Settings;

/// The port of OTLP over HTTP.
const DEFAULT_PORT: u16 = 4318;

/// Resolves the keys; `None` where nothing is exported.
pub(super) fn settings(
    report: &mut Report<'_>,
    raw: &mut raw::Observability,
    path: &KeyPath,
) -> Option<Settings> {
    let at = path.key("otel_exporter_otlp_endpoint");
    let text = raw.otel_exporter_otlp_endpoint.take().filter(|text| !text.is_empty());
    let insecure = raw.otel_exporter_otlp_insecure.unwrap_or(false);
    let is_missing = text.is_none();
    let endpoint = text.and_then(|text| endpoint(report, &at, &text, insecure));
    let sample_ratio = raw.otel_sample_ratio.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample_ratio) {
        report.value(&path.key("otel_sample_ratio"), "must be from 0 to 1");
    }
    let headers = headers(report, raw, &path.key("otel_exporter_otlp_headers"));
    if raw.otel_enabled != Some(true) {
        return None;
    }
    let traces = raw.otel_traces_enabled.unwrap_or(false);
    let metrics = raw.otel_metrics_enabled.unwrap_or(false);
    if !traces && !metrics {
        let problem = report.value(&path.key("otel_enabled"), "there is nothing to export");
        problem.hint("set otel_traces_enabled, otel_metrics_enabled, or both");
    }
    if is_missing {
        report.missing(path, "otel_exporter_otlp_endpoint");
    }
    let version = raw.otel_service_version.take().map(|Word(version)| version);
    Some(Settings {
        traces,
        metrics,
        endpoint: endpoint?,
        headers,
        service_name: raw.otel_service_name.take().unwrap_or_else(|| "pfxhttp".to_owned()),
        service_version: version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        sample_ratio,
    })
}

fn endpoint(report: &mut Report<'_>, path: &KeyPath, text: &str, insecure: bool) -> Option<Url> {
    let has_scheme = text.contains("://");
    let scheme = if insecure { "http" } else { "https" };
    let mut url = if has_scheme {
        http::url(report, path, text)
    } else {
        http::url(report, path, &format!("{scheme}://{text}"))
    }?;
    if has_scheme && insecure && url.scheme() == "https" {
        report.value(path, "is https, and otel_exporter_otlp_insecure says otherwise");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        report.value(path, "holds no user and no query: see otel_exporter_otlp_headers");
        return None;
    }
    if !has_scheme && url.port().is_none() {
        let _ = url.set_port(Some(DEFAULT_PORT));
    }
    // Whoever names the whole path means what stands before it.
    let signals = ["/v1/traces", "/v1/metrics"];
    let base = signals.iter().find_map(|signal| url.path().strip_suffix(signal)).map(str::to_owned);
    if let Some(base) = base {
        url.set_path(&base);
    }
    Some(url)
}

fn headers(report: &mut Report<'_>, raw: &mut raw::Observability, path: &KeyPath) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, Word(value)) in raw.otel_exporter_otlp_headers.take().unwrap_or_default() {
        let at = path.key(&name);
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) => {
                report.value(&at, "is no header's name");
            }
            (_, Err(_)) => {
                report.value(&at, "must be printable ASCII");
            }
        }
    }
    headers
}
