//! From the tree to values that cannot be wrong: the order of the blocks.
//!
//! Everything is looked at in one run, whatever is wrong before it. The result is handed out only
//! if the report holds no error.

use std::path::PathBuf;

use serde_yaml::Value;

use super::block::{self, child};
use super::cache;
use super::defaults;
use super::entry::{self, Entries, Inherited};
use super::http;
use super::keys::Block;
use super::listener;
use super::login;
use super::observability;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use super::{Config, Level, Logging, Privileges, Server};
use crate::lookup::LogKeys;
use crate::server::settings as sockets;

/// Resolves the whole tree.
pub(super) fn config(report: &mut Report<'_>, mut tree: Value) -> Option<Config> {
    let top = KeyPath::default();
    if tree.is_null() {
        report.value(&top, "the configuration is empty");
    }
    let [map_defaults, policy_defaults, login_defaults] = ["socket_maps", "policy_services", "dovecot_sasl"]
        .map(|section| {
            let entries = tree.get_mut(section)?;
            defaults::inherit(report, entries, &top.key(section))
        });
    block::read::<raw::Top>(report, Some(&tree), &top, Block::Top);
    let [maps, policies, logins] = ["socket_maps", "policy_services", "dovecot_sasl"]
        .map(|section| block::entries(report, child(Some(&tree), section), &top.key(section)));
    let names = |entries: &[(&str, &Value)]| entries.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = listener::Names { maps: maps.len(), policies: names(&policies), logins: names(&logins) };

    let mut lookups = maps.iter().chain(&policies);
    let over_tls = lookups.any(|(_, entry)| is_over_tls(entry, &["backend_oidc_auth"]))
        || logins.iter().any(|(_, entry)| is_over_tls(entry, &["backend_oidc_auth", "sasl_oidc_auth"]));
    let server_block = child(Some(&tree), "server");
    let (server, inherited) = server(report, server_block, &top.key("server"), &names, over_tls);
    let section = |entries, defaults, path, block| Entries { entries, defaults, path, block };
    let maps = section(maps, map_defaults, top.key("socket_maps"), Block::Map);
    let policies = section(policies, policy_defaults, top.key("policy_services"), Block::Policy);
    let logins = section(logins, login_defaults, top.key("dovecot_sasl"), Block::Login);
    let maps = entry::section(report, &maps, inherited);
    let policies = entry::section(report, &policies, inherited);
    let logins = login::section(report, &logins, inherited);
    Some(Config { server: server?, maps, policies, logins })
}

/// Whether an entry asks anything over TLS: its target, or a provider that one of `blocks` names.
fn is_over_tls(entry: &Value, blocks: &[&str]) -> bool {
    let https = |block: &Value, key| {
        let url = block.get(key).and_then(Value::as_str).unwrap_or_default();
        url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    };
    let blocks = blocks.iter().map(|key| child(Some(entry), key));
    let mut providers = blocks.filter(|block| block::is_enabled(*block)).flatten();
    https(entry, "target") || providers.any(|block| https(block, "configuration_uri"))
}

fn server(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    names: &listener::Names,
    over_tls: bool,
) -> (Option<Server>, Inherited) {
    let raw: raw::Server = block::read(report, value, path, Block::Server).unwrap_or_default();
    let logging = logging(report, child(value, "logging"), &path.key("logging"));
    let (http, timeout) =
        http::settings(report, child(value, "http_client"), child(value, "tls"), path, over_tls);
    let log_keys = logging.keys;
    let cache = cache::server(report, child(value, "response_cache"), &path.key("response_cache"));
    let pool = cache::pool(report, child(value, "worker_pool"), &path.key("worker_pool"));
    let ipc = listener::ipc(report, child(value, "ipc"), &path.key("ipc"));
    let admin =
        listener::admin(report, child(value, "admin"), &path.key("admin"), &ipc, raw.run_as_user.as_ref());
    let listen = child(value, "listen");
    let listen = listener::listeners(report, listen, &path.key("listen"), names, &ipc);
    let observed = child(value, "observability");
    let (prometheus, otlp) = observability::settings(report, observed, &path.key("observability"));
    let mut connections = |key: &str, count| {
        let most = scalar::number(report, &path.key(key), count, 1..=u64::MAX);
        most.and_then(|most| usize::try_from(most).ok())
    };
    let max_connections = connections("max_connections", raw.max_connections);
    let max_connections_per_address =
        connections("max_connections_per_address", raw.max_connections_per_address);
    let max_reply = max_reply(report, raw.socketmap_max_reply_size, path);
    let privileges = privileges(report, path, raw.run_as_user, raw.run_as_group, raw.chroot);
    let cache_bytes = cache.max_bytes;
    let sockets = sockets::Settings { listen, ipc, admin, privileges, has_one_map: names.maps == 1 };
    let server = http.map(|http| Server {
        sockets,
        logging,
        http,
        cache_bytes,
        max_connections,
        max_connections_per_address,
        prometheus,
        otlp,
    });
    (server, Inherited { timeout, max_reply, outage: cache.outage, pool, log_keys })
}

fn logging(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Logging {
    const LEVELS: [(&str, Level); 4] =
        [("none", Level::None), ("error", Level::Error), ("info", Level::Info), ("debug", Level::Debug)];
    const KEYS: [(&str, LogKeys); 3] =
        [("never", LogKeys::Never), ("failures", LogKeys::Failures), ("always", LogKeys::Always)];
    let raw: raw::Logging = block::read(report, value, path, Block::Logging).unwrap_or_default();
    let level = raw.level.and_then(|text| scalar::choice(report, &path.key("level"), &text, &LEVELS));
    let keys = raw.log_keys.and_then(|text| scalar::choice(report, &path.key("log_keys"), &text, &KEYS));
    Logging {
        json: raw.json.unwrap_or(false),
        level: level.unwrap_or(Level::Info),
        use_systemd: raw.use_systemd.unwrap_or(false),
        keys: keys.unwrap_or(LogKeys::Never),
    }
}

fn privileges(
    report: &mut Report<'_>,
    path: &KeyPath,
    user: Option<raw::Word>,
    group: Option<raw::Word>,
    chroot: Option<String>,
) -> Privileges {
    let user = scalar::account(report, &path.key("run_as_user"), user);
    let group = scalar::account(report, &path.key("run_as_group"), group);
    let chroot = chroot.map(PathBuf::from);
    // In the jail its own path leads nowhere.
    let is_there = |jail: &PathBuf| report.is_jailed || jail.is_dir();
    if chroot.as_ref().is_some_and(|jail| !jail.is_absolute() || !is_there(jail)) {
        report.value(&path.key("chroot"), "must be the absolute path of a directory that exists");
    }
    Privileges { user, group, chroot }
}

/// `server.socketmap_max_reply_size`. The Go program's range ends at a gigabyte, which no Postfix
/// takes and which would be a buffer for each connection.
fn max_reply(report: &mut Report<'_>, count: Option<raw::Count>, path: &KeyPath) -> usize {
    const DEFAULT: usize = 100_000;
    let path = path.key("socketmap_max_reply_size");
    let size = scalar::number(report, &path, count, 1..=1 << 20);
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(DEFAULT)
}
