//! What the configuration says of the endpoint for Prometheus: `server.observability`, keys
//! `prometheus_…`.
//!
//! The keys and their ranges are the Go program's. An endpoint that is not enabled is checked all the same.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;

use crate::document::{Holds, Key, Section, numeric};
use crate::http::settings::basic_authorization;
use crate::http::tls::{self, Identity};
use crate::model::secret::Secret;

const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The port of OpenTelemetry's exporters for Prometheus.
const DEFAULT_PORT: u16 = 9464;

/// `server.observability.prometheus_…`, where it is enabled.
#[derive(Clone)]
pub struct Prometheus {
    /// `prometheus_address`, `prometheus_port`.
    pub address: SocketAddr,
    /// `prometheus_path`, from `/` on.
    pub path: String,
    /// `prometheus_runtime_metrics`.
    pub runtime: bool,
    /// `prometheus_http_auth_basic`: `user:password`.
    pub credentials: Option<Secret>,
    /// `prometheus_tls`.
    pub tls: Option<Arc<ServerConfig>>,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Reads the keys; nothing if the endpoint is not enabled.
pub(super) fn read(server: &Section<'_>) -> Option<Prometheus> {
    let block = server.key("observability").section("Observability");
    let is_enabled = block.key("prometheus_enabled").flag().or(false);
    let key = block.key("prometheus_address");
    let address = address(&key, &key.text().or(DEFAULT_ADDRESS.to_string()));
    let port = block.key("prometheus_port").count(1..=65535).or(DEFAULT_PORT.into());
    let path = block.key("prometheus_path");
    let path = url_path(&path, &path.text().or("/metrics".to_owned()));
    let runtime = block.key("prometheus_runtime_metrics").flag().or(false);
    let secret = block.secret("prometheus_http_auth_basic", "prometheus_http_auth_basic_file");
    let pair = secret.read();
    let credentials = pair.filter(|pair| basic_authorization(secret.key(), pair.expose()).is_some());
    let tls = tls(&block.key("prometheus_tls").section("PrometheusTls"));
    if !is_enabled {
        return None;
    }
    if !address.to_canonical().is_loopback() && (credentials.is_none() || tls.is_none()) {
        let told = key.warning("whoever reaches this address may read the metrics");
        told.hint("set prometheus_http_auth_basic and prometheus_tls, or use \"127.0.0.1\"");
    }
    let address = SocketAddr::new(address, u16::try_from(port).unwrap_or(DEFAULT_PORT));
    Some(Prometheus { address, path, runtime, credentials, tls })
}

fn address(key: &Key<'_>, text: &str) -> IpAddr {
    numeric(text, false).unwrap_or_else(|| {
        key.error("numeric addresses only").hint("as \"127.0.0.1\" or \"[::1]\"");
        DEFAULT_ADDRESS
    })
}

/// A `/` at its beginning may be missing, as in the Go program.
fn url_path(key: &Key<'_>, text: &str) -> String {
    let is_legal = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte));
    if !is_legal {
        key.error("must be the path of a URL, without query");
    }
    format!("/{}", text.strip_prefix('/').unwrap_or(text))
}

fn tls(block: &Section<'_>) -> Option<Arc<ServerConfig>> {
    const VERSIONS: &[(&str, bool)] = &[("1.2", false), ("1.3", true)];
    let is_enabled = block.key("enabled").flag().or(false);
    let [cert, key] = ["cert", "key"].map(|name| block.key(name).text());
    let only_1_3 = block.key("min_tls_version").word_choice(VERSIONS).or(false);
    if !is_enabled {
        for file in [&cert, &key].into_iter().filter(|file| file.is_set()) {
            file.key.warning("has no effect without `enabled: true`");
        }
        return None;
    }
    for file in [&cert, &key].into_iter().filter(|file| !file.is_set()) {
        file.key.missing();
    }
    if !key.is_set() {
        return None;
    }
    let (_, cert_file) = cert.open(Holds::Certificates)?;
    let (_, key_file) = key.open(Holds::Secret)?;
    tls::server(Identity { cert: &cert_file, key: &key_file }, only_1_3)
        .map_err(|error| {
            let file = if matches!(error, tls::Error::Cert(_)) { &cert } else { &key };
            file.key.error(error.to_string());
        })
        .ok()
}
