//! `server.observability`, keys `prometheus_…`: the endpoint for Prometheus.
//!
//! The keys and their ranges are the Go program's, but for the status page. An endpoint that is not enabled is checked all the same.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;

use crate::document::{Key, Section, no_effect, numeric};
use crate::http::settings::{basic_authorization, identity, usable};
use crate::http::tls::{self, Identity};
use crate::model::secret::Secret;

const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The port of OpenTelemetry's exporters for Prometheus.
const DEFAULT_PORT: u16 = 9464;
/// The path of the health check.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// The path of the status page.
pub(crate) const STATUS_PATH: &str = "/status";

/// The endpoint, if it is enabled.
#[derive(Clone)]
pub struct Prometheus {
    /// `prometheus_address`, `prometheus_port`; 127.0.0.1:9464 by default.
    pub address: SocketAddr,
    /// `prometheus_path`, from `/` on; `/metrics` by default.
    pub path: String,
    /// `prometheus_runtime_metrics`.
    pub runtime: bool,
    /// `prometheus_status_page`.
    pub status_page: bool,
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
    let address = address(&block.key("prometheus_address"));
    let port = block.key("prometheus_port").count(1..=65535).or(DEFAULT_PORT.into());
    let path = path(&block.key("prometheus_path"));
    let runtime = block.key("prometheus_runtime_metrics").flag().or(false);
    let status_page = block.key("prometheus_status_page").flag().or(false);
    let others = [(true, HEALTH_PATH, "health check"), (status_page, STATUS_PATH, "status page")];
    if let Some((_, _, what)) = others.iter().find(|(is_there, other, _)| *is_there && path == *other) {
        block.key("prometheus_path").error(format!("is the path of the {what}"));
    }
    let secret = block.secret("prometheus_http_auth_basic", "prometheus_http_auth_basic_file");
    let is_pair = |pair: &Secret| basic_authorization(secret.key(), pair.expose()).is_some();
    let credentials = secret.read().filter(is_pair);
    let tls = tls(&block.key("prometheus_tls").section("PrometheusTls"));
    if !is_enabled {
        return None;
    }
    if !address.to_canonical().is_loopback() && (credentials.is_none() || tls.is_none()) {
        let told = block.key("prometheus_address").warning(match credentials {
            None => "any host that reaches this address may read the metrics",
            Some(_) => "the metrics and their password go over the network without TLS",
        });
        told.hint("set prometheus_http_auth_basic and prometheus_tls, or use \"127.0.0.1\"");
    }
    let address = SocketAddr::new(address, u16::try_from(port).unwrap_or(DEFAULT_PORT));
    Some(Prometheus { address, path, runtime, status_page, credentials, tls })
}

fn address(key: &Key<'_>) -> IpAddr {
    numeric(&key.text().or(DEFAULT_ADDRESS.to_string()), false).unwrap_or_else(|| {
        key.error("numeric addresses only").hint("as \"127.0.0.1\" or \"[::1]\"");
        DEFAULT_ADDRESS
    })
}

/// A `/` at its beginning may be missing, as in the Go program.
fn path(key: &Key<'_>) -> String {
    let text = key.text().or("/metrics".to_owned());
    let is_legal = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_legal) {
        key.error("must be the path of a URL, without query");
    }
    format!("/{}", text.strip_prefix('/').unwrap_or(&text))
}

fn tls(block: &Section<'_>) -> Option<Arc<ServerConfig>> {
    let is_enabled = block.key("enabled").flag().or(false);
    let [cert, key] = ["cert", "key"].map(|name| block.key(name).text());
    let only_1_3 = block.key("min_tls_version").word_choice(&[("1.2", false), ("1.3", true)]).or(false);
    if !is_enabled {
        no_effect([cert.key, key.key], "without `enabled: true`");
        return None;
    }
    let (cert, key) = identity(&cert, &key)??;
    usable(block, tls::server(Identity { cert: &cert, key: &key }, only_1_3))
}
