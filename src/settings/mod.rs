//! The configuration: the settings of every room, read from one document.
//!
//! A room reads its own keys in its file `settings`. This file calls them in order, and gives the settings
//! of one room to another. One run finds all problems; if one of them is an error, there is no
//! [`Configuration`]. No message shows a value that may be a secret.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod process;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::SHA256;

use crate::broker;
use crate::document::{CREDENTIALS, Document, Entries, Record, Section, Sources, size};
use crate::export;
use crate::export::settings::{Otlp, Prometheus};
use crate::http::{self, HttpSettings, proxy_complaints};
use crate::login;
use crate::lookup::settings::Inherited;
use crate::lookup::template::Names;
use crate::lookup::{self, LogKeys};
use crate::observe::metrics::Component;
use crate::server::bind::LOCAL;
use crate::server::settings as server;
use crate::shared::{self, SharedSettings};

pub use crate::document::{Problem, Severity, Syntax};
pub use process::{Level, Logging};
pub use source::{Location, environment};

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Configuration {
    /// `server`.
    pub server: Server,
    /// `socket_maps`.
    pub maps: Vec<lookup::LookupSettings>,
    /// `policy_services`.
    pub policies: Vec<lookup::LookupSettings>,
    /// `dovecot_sasl`.
    pub logins: Vec<login::LoginSettings>,
    /// SHA-256 of the text of the file: equal if two processes have read the same text.
    pub digest: [u8; 32],
}

impl Configuration {
    /// What a generation of the broker is made of.
    #[must_use]
    pub fn broker(&self) -> broker::BrokerSettings<'_> {
        let listeners = self.server.sockets.listen.iter();
        let named = listeners.map(|listener| (Component::from(listener.protocol), listener.name.clone()));
        let listeners: BTreeSet<_> = named.chain([(Component::Local, LOCAL.to_owned())]).collect();
        broker::BrokerSettings {
            http: &self.server.http,
            cache_bytes: self.server.cache_bytes,
            shared: self.server.shared.as_ref(),
            maps: &self.maps,
            policies: &self.policies,
            logins: &self.logins,
            listeners: listeners.into_iter().collect(),
        }
    }
}

/// `server`.
#[derive(Debug)]
pub struct Server {
    /// `server.listen`, `ipc`, `admin`; `run_as_user`, `run_as_group`, `chroot`.
    pub sockets: server::SocketSettings,
    /// `server.logging`.
    pub logging: Logging,
    /// `server.http_client` and `server.tls`, but for `timeout`, which entries inherit.
    pub http: HttpSettings,
    /// `server.response_cache.max_bytes`: the memory of the cache; 32 MiB by default.
    pub cache_bytes: u64,
    /// `server.shared`: the shared cache, if it has a `url`.
    pub shared: Option<SharedSettings>,
    /// `server.max_connections`; `None`: the descriptor limit less 256.
    pub max_connections: Option<usize>,
    /// `server.max_connections_per_address`; `None`: three quarters, if not loopback or in `allow_from`.
    pub max_connections_per_address: Option<usize>,
    /// `server.observability`: the endpoint for Prometheus, if enabled.
    pub prometheus: Option<Prometheus>,
    /// `server.observability`: the export to a collector, if enabled.
    pub otlp: Option<Otlp>,
}

/// A configuration and its warnings, or all problems in the order of the file.
pub type Read = Result<(Configuration, Vec<Problem>), Vec<Problem>>;

/// How a configuration is read, besides its text.
#[derive(Debug, Clone, Copy)]
pub struct Options<'o> {
    /// The syntax; `None`: by the file's extension.
    pub syntax: Option<Syntax>,
    /// The variables that set keys ([`environment`]).
    pub environment: &'o [(String, String)],
    /// Whether this process is in its `server.chroot`, and finds all files there.
    pub is_jailed: bool,
}

/// Checks the configuration `text` in YAML, without variables. `file_name` stands in the problems.
///
/// # Errors
/// All problems in the order of the file.
pub fn parse(file_name: &Path, text: &str) -> Read {
    parse_as(file_name, text, Options { syntax: Some(Syntax::Yaml), environment: &[], is_jailed: false })
}

/// Checks the configuration `text`.
///
/// # Errors
/// All problems in the order of the file.
pub fn parse_as(file_name: &Path, text: &str, options: Options<'_>) -> Read {
    parse_and(file_name, text, options, [], None).map(|(settings, warnings, _)| (settings, warnings))
}

/// As [`Read`], with the effective configuration; empty if it was not asked for.
type ReadAndDumped = Result<(Configuration, Vec<Problem>, String), Vec<Problem>>;

/// Checks `text`; `changed_only` asks for the effective configuration, and says whether it is without
/// defaults.
fn parse_and(
    file_name: &Path,
    text: &str,
    options: Options<'_>,
    warnings: impl IntoIterator<Item = Problem>,
    changed_only: Option<bool>,
) -> ReadAndDumped {
    let text = source::normal(text);
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, text.as_bytes()).as_ref());
    let document = Document::read(&text, sources(file_name, options));
    document.add(warnings);
    if changed_only.is_some() {
        document.keep_effective();
    }
    // A tree of a part of the text would bring problems that are none.
    let settings = if document.is_broken() { None } else { read(&document, options.is_jailed) };
    if !document.is_broken() {
        document.end(record, became);
    }
    if settings.as_ref().is_some_and(|settings| settings.server.http.proxy.is_none()) {
        let variable = |name: &str| options.environment.iter().find(|(known, _)| known == name);
        let complaints = proxy_complaints(|name| variable(name).map(|(_, text)| text.clone())).into_iter();
        document.add(complaints.map(|told| Problem::warning_of_file(Path::new(&told.variable), told.why)));
    }
    let dumped = changed_only.map(|changed_only| document.effective(changed_only)).unwrap_or_default();
    let settings = settings.map(|settings| Configuration { digest, ..settings });
    document.finish(settings).map(|(settings, warnings)| (settings, warnings, dumped))
}

/// The path of the admin socket by what can be read of `text`; else the usual one.
fn admin_socket(file_name: &Path, text: &str, options: Options<'_>) -> PathBuf {
    let text = source::normal(text);
    let document = Document::read(&text, sources(file_name, options));
    let block = document.top("Top").key("server").section("Server");
    let mut ipc = server::ipc(&block);
    if ipc.socket.path.as_os_str().is_empty() {
        ipc.socket.path = server::DEFAULT_IPC.into();
    }
    server::admin(&block, &ipc).path
}

fn sources<'o>(file: &'o Path, options: Options<'o>) -> Sources<'o> {
    let credentials = options.environment.iter().find(|(name, _)| name == CREDENTIALS);
    Sources {
        file,
        syntax: options.syntax.unwrap_or(Syntax::of(file)),
        is_secret: may_hold_secret,
        environment: options.environment,
        prefix: source::PREFIX,
        credentials: credentials.map(|(_, directory)| directory.as_str()),
    }
}

/// Which keys there are.
fn record() -> Record {
    let document = Document::recording();
    read(&document, false);
    document.into_record()
}

/// What became of a key that is unknown in `block`.
fn became(block: &str, key: &str) -> Option<&'static str> {
    Some(match (block, key) {
        // Too many blocks have a `timeout` for a hint by search.
        ("server", "timeout") => "what entries inherit is `server.http_client.timeout`",
        // A search would find those of `server.shared.tls`.
        (block, "cert") if block.ends_with(".grpc.tls") => "did you mean `client_cert`?",
        (block, "key") if block.ends_with(".grpc.tls") => "did you mean `client_key`?",
        // Keys of the Go program's versions 1.0 and 1.1.
        (_, "jwt_auth") => {
            "removed: `backend_oidc_auth` gets tokens by client credentials; a fixed token belongs in `custom_headers`, as \"Authorization: Bearer ...\""
        }
        ("server.shared.tls", "enabled") => "remove it: `rediss://` in `url` turns TLS on",
        (block, "enabled") if block.ends_with(".tls") => "remove it: `https://` in the URL turns TLS on",
        (_, "jwt_db_path") => "leave it out: tokens are kept in memory, and no database is needed",
        (_, "sasl_oidc_auth") => "it belongs in an entry of dovecot_sasl",
        _ => return None,
    })
}

/// Whether the value of `key`, and the names of the keys below it, are never shown. Names of headers are
/// among them: `custom_headers:` above them may be missing by mistake.
fn may_hold_secret(key: &str) -> bool {
    const PARTS: [&str; 9] = [
        "secret",
        "passw",
        "token",
        "auth_basic",
        "headers",
        "authorization",
        "cookie",
        "private_key",
        "payload",
    ];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part)) || matches!(key.as_str(), "metadata" | "proxy")
}

/// What entries take from `server`.
fn inherited(server: &Section<'_>, log_keys: LogKeys, outage: Duration, has_shared: bool) -> Inherited {
    Inherited {
        timeout: http::settings::timeout(server),
        max_reply: lookup::settings::max_reply(server),
        outage,
        has_shared,
        pool: lookup::settings::pool(server),
        log_keys,
    }
}

/// Reads every key of the document.
fn read(document: &Document<'_>, is_jailed: bool) -> Option<Configuration> {
    let top = document.top("Top");
    let server = top.key("server").section("Server");
    let logging = Logging::read(&server);
    let cache = lookup::settings::server_cache(&server);
    let shared = shared::settings::read(&server);
    let inherited = inherited(&server, logging.keys, cache.outage, shared.is_set);
    let [map_entries, policy_entries, login_entries] =
        [("socket_maps", "Map"), ("policy_services", "Policy"), ("dovecot_sasl", "Login")]
            .map(|(key, definition)| top.key(key).entries(definition));
    let maps = lookup::settings::read(&map_entries, Names::Map, &inherited);
    let policies = lookup::settings::read(&policy_entries, Names::Policy, &inherited);
    let logins = login::settings::read(&login_entries, &inherited);
    let lookups = maps.iter().chain(&policies).flat_map(lookup::LookupSettings::urls);
    let needs_tls =
        lookups.chain(logins.iter().flat_map(login::LoginSettings::urls)).any(|url| url.scheme() == "https");
    let needs_tls = needs_tls || shared.settings.as_ref().is_some_and(SharedSettings::uses_server_tls);
    let http = http::settings::read(&server, needs_tls);
    let names = |entries: &Entries<'_>| entries.list.iter().map(|(name, _)| name.clone()).collect();
    let names = server::EntryNames { policies: names(&policy_entries), logins: names(&login_entries) };
    let ipc = server::ipc(&server);
    let sockets = server::SocketSettings {
        listen: server::listeners(&server, &names, &ipc),
        admin: server::admin(&server, &ipc),
        ipc,
        privileges: process::privileges(&server, is_jailed),
        has_one_map: map_entries.list.len() == 1,
    };
    let (prometheus, otlp) = export::settings::read(&server);
    let connections = |name| server.key(name).count(1..=u64::MAX).get().map(size);
    let server = Server {
        sockets,
        logging,
        cache_bytes: cache.max_bytes,
        shared: shared.settings,
        max_connections: connections("max_connections"),
        max_connections_per_address: connections("max_connections_per_address"),
        prometheus,
        otlp,
        // Last: a problem of this must not hide the others'.
        http: http?,
    };
    Some(Configuration { server, maps, policies, logins, digest: [0; 32] })
}
