//! From the tree to values that cannot be wrong: the order of the blocks.
//!
//! Everything is looked at in one run, whatever is wrong before it. The result is handed out only
//! if the report holds no error.

use std::time::Duration;

use serde_yaml::Value;

use super::block;
use super::entry::{self, Inherited};
use super::keys::Block;
use super::listener;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use crate::exchange::HttpSettings;
use crate::exchange::tls::{self, Trust};

use super::{Config, Level, Logging, Server};

/// Resolves the whole tree.
pub(super) fn config(report: &mut Report<'_>, tree: &Value) -> Option<Config> {
    let top = KeyPath::default();
    if tree.is_null() {
        report.value(&top, "the configuration is empty");
    }
    let raw: raw::Top = block::read(report, Some(tree), &top, Block::Top).unwrap_or_default();
    let (maps_at, policies_at) = (top.key("socket_maps"), top.key("policy_services"));
    let maps = block::entries(report, raw.socket_maps.as_ref(), &maps_at);
    let policies = block::entries(report, raw.policy_services.as_ref(), &policies_at);
    let names: Vec<&str> = policies.iter().map(|(name, _)| *name).collect();

    let (server, inherited) = server(report, raw.server.as_ref(), &top.key("server"), &names);
    let maps = entry::section(report, &maps, &maps_at, Block::Map, inherited);
    let policies = entry::section(report, &policies, &policies_at, Block::Policy, inherited);
    Some(Config { server: server?, maps, policies })
}

fn server(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    policies: &[&str],
) -> (Option<Server>, Inherited) {
    let raw: raw::Server = block::read(report, value, path, Block::Server).unwrap_or_default();
    let logging = logging(report, raw.logging.as_ref(), &path.key("logging"));
    let timeout = timeout(report, raw.http_client.as_ref(), &path.key("http_client"));
    let ipc = listener::ipc(report, raw.ipc.as_ref(), &path.key("ipc"));
    let listen = listener::listeners(report, raw.listen.as_ref(), &path.key("listen"), policies, &ipc);
    let most = path.key("max_connections");
    let most = scalar::number(report, &most, raw.max_connections, 1..=u64::MAX);
    let max_reply = max_reply(report, raw.socketmap_max_reply_size, path);
    let max_connections = most.and_then(|most| usize::try_from(most).ok());
    let http = http(report, &path.key("tls"));
    let server = http.map(|http| Server {
        listen,
        ipc,
        logging,
        http,
        cache_bytes: 32 * 1024 * 1024,
        max_connections,
    });
    (server, Inherited { timeout, max_reply })
}

fn http(report: &mut Report<'_>, path: &KeyPath) -> Option<HttpSettings> {
    let tls = tls::client(Trust::System, None).map_err(|error| report.value(path, error.to_string())).ok()?;
    Some(HttpSettings {
        max_connections_per_host: None,
        max_idle_connections: None,
        max_idle_connections_per_host: 32,
        idle_connection_timeout: Duration::from_secs(90),
        proxy: None,
        tls,
    })
}

fn logging(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Logging {
    const LEVELS: [(&str, Level); 4] =
        [("none", Level::None), ("error", Level::Error), ("info", Level::Info), ("debug", Level::Debug)];
    let raw: raw::Logging = block::read(report, value, path, Block::Logging).unwrap_or_default();
    let level = raw.level.and_then(|text| scalar::choice(report, &path.key("level"), &text, &LEVELS));
    Logging { json: raw.json.unwrap_or(false), level: level.unwrap_or(Level::Info) }
}

/// `server.http_client.timeout`, in the range of the Go program.
fn timeout(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Duration {
    const RANGE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];
    let raw: raw::HttpClient = block::read(report, value, path, Block::HttpClient).unwrap_or_default();
    let [least, most] = RANGE;
    let timeout = scalar::duration(report, &path.key("timeout"), raw.timeout.as_ref(), least..=most);
    timeout.unwrap_or(Duration::from_secs(30))
}

/// `server.socketmap_max_reply_size`. The Go program's range ends at a gigabyte, which no Postfix
/// takes and which would be a buffer for each connection.
fn max_reply(report: &mut Report<'_>, count: Option<raw::Count>, path: &KeyPath) -> usize {
    const DEFAULT: usize = 100_000;
    let path = path.key("socketmap_max_reply_size");
    let size = scalar::number(report, &path, count, 1..=1 << 20);
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(DEFAULT)
}
