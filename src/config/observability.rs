//! `server.observability`: where Prometheus may ask, and which collector is told.
//!
//! The keys and their ranges are the Go program's. A block that is not enabled is read, checked and
//! left at that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_yaml::Value;

use super::block::{self, child};
use super::file::{self, Holds};
use super::headers;
use super::keys::Block;
use super::listener;
use super::otel;
use super::path::KeyPath;
use super::problem::Report;
use super::raw::{self, Word};
use super::scalar;
use super::secret;
use crate::export;
use crate::export::endpoint::Settings;
use crate::http::tls::{self, Identity};
use crate::model::secret::Secret;

const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The port of OpenTelemetry's exporters for Prometheus.
const DEFAULT_PORT: u16 = 9464;

/// Resolves the block.
pub(super) fn settings(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
) -> (Option<Settings>, Option<export::Settings>) {
    let Some(mut raw) = block::read::<raw::Observability>(report, value, path, Block::Observability) else {
        return (None, None);
    };
    let tls = tls(report, child(value, "prometheus_tls"), &path.key("prometheus_tls"));
    let otlp = otel::settings(report, &mut raw, path);
    (prometheus(report, raw, tls, path), otlp)
}

/// The keys that begin with `prometheus_`.
fn prometheus(
    report: &mut Report<'_>,
    raw: raw::Observability,
    tls: Option<Arc<rustls::ServerConfig>>,
    path: &KeyPath,
) -> Option<Settings> {
    let port = scalar::number(report, &path.key("prometheus_port"), raw.prometheus_port, 1..=65535);
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
    let address = match &raw.prometheus_address {
        Some(text) => address(report, &path.key("prometheus_address"), text),
        None => DEFAULT_ADDRESS,
    };
    let at = path.key("prometheus_path");
    let served = url_path(report, &at, raw.prometheus_path.as_deref().unwrap_or("/metrics"));
    let credentials = credentials(
        report,
        path,
        raw.prometheus_http_auth_basic,
        raw.prometheus_http_auth_basic_file.as_deref(),
    );
    if raw.prometheus_enabled != Some(true) {
        return None;
    }
    if !address.to_canonical().is_loopback() && (credentials.is_none() || tls.is_none()) {
        let at = path.key("prometheus_address");
        let problem = report.warning(&at, "whoever reaches this address may read the metrics");
        problem.hint("set prometheus_http_auth_basic and prometheus_tls, or use \"127.0.0.1\"");
    }
    Some(Settings {
        address: SocketAddr::new(address, port),
        path: served,
        runtime: raw.prometheus_runtime_metrics.unwrap_or(false),
        credentials,
        tls,
    })
}

fn address(report: &mut Report<'_>, path: &KeyPath, text: &str) -> IpAddr {
    listener::numeric(text, false).unwrap_or_else(|| {
        report.value(path, "numeric addresses only").hint("as \"127.0.0.1\" or \"[::1]\"");
        DEFAULT_ADDRESS
    })
}

/// A `/` at its beginning may be missing, as in the Go program.
fn url_path(report: &mut Report<'_>, path: &KeyPath, text: &str) -> String {
    let is_legal = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte));
    if !is_legal {
        report.value(path, "must be the path of a URL, without query");
    }
    format!("/{}", text.strip_prefix('/').unwrap_or(text))
}

fn credentials(
    report: &mut Report<'_>,
    path: &KeyPath,
    given: Option<String>,
    file: Option<&str>,
) -> Option<Secret> {
    let key = "prometheus_http_auth_basic";
    let (pair, at) = secret::read(report, path, key, given, file)?;
    headers::basic(report, &at, pair.expose()).map(|_| pair)
}

fn tls(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Option<Arc<rustls::ServerConfig>> {
    const VERSIONS: [(&str, bool); 2] = [("1.2", false), ("1.3", true)];
    let raw: raw::PrometheusTls = block::read(report, value, path, Block::PrometheusTls)?;
    let at = path.key("min_tls_version");
    let version = raw.min_tls_version.map(|Word(text)| scalar::choice(report, &at, &text, &VERSIONS));
    let only_1_3 = version.flatten().unwrap_or(false);
    if raw.enabled != Some(true) {
        for (key, _) in [("cert", raw.cert.is_some()), ("key", raw.key.is_some())].iter().filter(|key| key.1)
        {
            report.warning(&path.key(key), "has no effect without `enabled: true`");
        }
        return None;
    }
    let files = [("cert", raw.cert), ("key", raw.key)].map(|(key, file)| {
        if file.is_none() {
            report.missing(path, key);
        }
        file
    });
    let [Some(cert), Some(key)] = files else { return None };
    let (_, cert) = file::open(report, &path.key("cert"), &cert, Holds::Certificates)?;
    let (_, key) = file::open(report, &path.key("key"), &key, Holds::Secret)?;
    let identity = Identity { cert: &cert, key: &key };
    tls::server(identity, only_1_3)
        .map_err(|error| {
            let key = if matches!(error, tls::Error::Cert(_)) { "cert" } else { "key" };
            report.value(&path.key(key), error.to_string());
        })
        .ok()
}
