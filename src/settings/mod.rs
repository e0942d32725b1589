//! The configuration: the settings of every room, read from one document.
//!
//! A room reads its own keys (its file `settings`); here is their order, and what one room's settings
//! say to another's. All problems are found in one run; with an error among them there are no
//! [`Settings`]. No message shows a value that may be a secret.

mod process;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::broker;
use crate::document::{CREDENTIALS, Document, Entries, Record, Sources};
use crate::export;
use crate::export::settings::{Otlp, Prometheus};
use crate::http::{self, HttpSettings, proxy_complaints};
use crate::login;
use crate::lookup;
use crate::lookup::settings::Inherited;
use crate::lookup::template::Names;
use crate::observe::metrics::Component;
use crate::server::bind::LOCAL;
use crate::server::settings as server;

pub use crate::document::{Problem, Severity, Syntax};
pub use process::{Level, Logging};
pub use source::environment;

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Settings {
    /// `server`.
    pub server: Server,
    /// `socket_maps`.
    pub maps: Vec<lookup::Settings>,
    /// `policy_services`.
    pub policies: Vec<lookup::Settings>,
    /// `dovecot_sasl`.
    pub logins: Vec<login::Settings>,
}

impl Settings {
    /// What a generation of the broker is made of.
    #[must_use]
    pub fn broker(&self) -> broker::Settings<'_> {
        let listeners = self.server.sockets.listen.iter();
        let named = listeners.map(|listener| (Component::from(listener.protocol), listener.name.clone()));
        let mut listeners: Vec<_> = named.chain([(Component::Local, LOCAL.to_owned())]).collect();
        listeners.sort();
        listeners.dedup();
        broker::Settings {
            http: &self.server.http,
            cache_bytes: self.server.cache_bytes,
            maps: &self.maps,
            policies: &self.policies,
            logins: &self.logins,
            listeners,
        }
    }
}

/// `server`.
#[derive(Debug)]
pub struct Server {
    /// `server.listen`, `ipc`, `admin`; `run_as_user`, `run_as_group`, `chroot`.
    pub sockets: server::Settings,
    /// `server.logging`.
    pub logging: Logging,
    /// `server.http_client` and `server.tls`, but for `timeout`, which entries inherit.
    pub http: HttpSettings,
    /// `server.response_cache.max_bytes`: the memory of the cache; 32 MiB by default.
    pub cache_bytes: u64,
    /// `server.max_connections`; `None`: the descriptor limit less 256.
    pub max_connections: Option<usize>,
    /// `server.max_connections_per_address`; `None`: three quarters of them for an address
    /// that is neither loopback nor named in `allow_from`.
    pub max_connections_per_address: Option<usize>,
    /// `server.observability`, where Prometheus may ask.
    pub prometheus: Option<Prometheus>,
    /// `server.observability`, where a collector is told.
    pub otlp: Option<Otlp>,
}

/// A configuration and its warnings, or everything that is wrong, in the order of the file.
pub type Read = Result<(Settings, Vec<Problem>), Vec<Problem>>;

/// Where a configuration is: what the command line says of it.
#[derive(Debug, Clone, Default)]
pub struct Location {
    /// The file; `None`: the first one where configurations are looked for.
    pub file: Option<PathBuf>,
    /// The syntax; `None`: by the file's extension.
    pub syntax: Option<Syntax>,
}

impl Location {
    /// Reads it, under the variables of the process. `is_jailed` says whether the process is in its
    /// `server.chroot`.
    pub fn read(&self, is_jailed: bool) -> (PathBuf, Read) {
        let environment = environment();
        match self.find() {
            Ok((path, beside)) => {
                let read = load(&path, self.options(&environment, is_jailed));
                let read = read.map(|(settings, told)| (settings, beside.into_iter().chain(told).collect()));
                (path, read)
            }
            Err(problems) => (PathBuf::from("configuration"), Err(problems)),
        }
    }

    /// The configuration that holds ([`dump`]).
    ///
    /// # Errors
    /// As [`load`].
    pub fn dump(&self, changed_only: bool) -> Result<(String, Vec<Problem>), Vec<Problem>> {
        let environment = environment();
        let (path, beside) = self.find()?;
        let (text, told) = dump(&path, self.options(&environment, false), changed_only)?;
        Ok((text, beside.into_iter().chain(told).collect()))
    }

    /// The path of the admin socket, as far as the broken file at `path` tells.
    #[must_use]
    pub fn admin_socket(&self, path: &Path) -> PathBuf {
        admin_socket(path, self.options(&environment(), false))
    }

    /// The file, and a warning if other ones stand beside it that are not read.
    fn find(&self) -> Result<(PathBuf, Option<Problem>), Vec<Problem>> {
        match &self.file {
            Some(path) => Ok((path.clone(), None)),
            None => source::search(&source::directories()).map_err(|problem| vec![*problem]),
        }
    }

    fn options<'e>(&self, environment: &'e [(String, String)], is_jailed: bool) -> Options<'e> {
        Options { syntax: self.syntax, environment, is_jailed }
    }
}

/// How a configuration is read, besides its text.
#[derive(Debug, Clone, Copy)]
pub struct Options<'o> {
    /// The syntax; `None`: what the file's extension says.
    pub syntax: Option<Syntax>,
    /// The variables that are laid over the file ([`environment`]).
    pub environment: &'o [(String, String)],
    /// Whether this process is in its `server.chroot`, and finds all files there.
    pub is_jailed: bool,
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// Everything that is wrong, warnings among it.
pub fn load(path: &Path, options: Options<'_>) -> Read {
    let (text, exposed) = source::read(path).map_err(|problem| vec![*problem])?;
    parse_with(path, &text, options, exposed, |_| ()).map(|(settings, warnings, ())| (settings, warnings))
}

/// Checks a configuration in YAML. `file_name` stands in the problems.
///
/// # Errors
/// As [`load`].
pub fn parse(file_name: &Path, text: &str) -> Read {
    parse_as(file_name, text, Options { syntax: Some(Syntax::Yaml), environment: &[], is_jailed: false })
}

/// Checks a configuration.
///
/// # Errors
/// As [`load`].
pub fn parse_as(file_name: &Path, text: &str, options: Options<'_>) -> Read {
    parse_with(file_name, text, options, None, |_| ()).map(|(settings, warnings, ())| (settings, warnings))
}

/// The configuration that holds, in YAML: each value with its origin as a comment, without secrets. With
/// `changed_only` it leaves out what is set nowhere. Beside it stand the warnings.
///
/// # Errors
/// As [`load`].
pub fn dump(
    path: &Path,
    options: Options<'_>,
    changed_only: bool,
) -> Result<(String, Vec<Problem>), Vec<Problem>> {
    let (text, exposed) = source::read(path).map_err(|problem| vec![*problem])?;
    parse_with(path, &text, options, exposed, |document| document.effective(changed_only))
        .map(|(_, warnings, text)| (text, warnings))
}

/// The path of the admin socket by what can be read of the file at `path`, which may be broken; else
/// the usual one. The broker that runs has read another file, and is there.
#[must_use]
pub fn admin_socket(path: &Path, options: Options<'_>) -> PathBuf {
    let text = source::read(path).map(|(text, _)| source::normal(&text)).unwrap_or_default();
    let document = Document::read(&text, sources(path, options));
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

fn parse_with<T>(
    file_name: &Path,
    text: &str,
    options: Options<'_>,
    exposed: Option<Problem>,
    then: impl FnOnce(&Document<'_>) -> T,
) -> Result<(Settings, Vec<Problem>, T), Vec<Problem>> {
    let text = source::normal(text);
    let document = Document::read(&text, sources(file_name, options));
    document.add(exposed);
    // A tree that is not the text's would only bring problems that are none.
    if document.is_broken() {
        return document
            .finish(None::<(Settings, T)>)
            .map(|((settings, also), warnings)| (settings, warnings, also));
    }
    let settings = read(&document, options.is_jailed);
    document.end(record, became);
    if settings.as_ref().is_some_and(|settings| settings.server.http.proxy.is_none()) {
        let variable = |name: &str| options.environment.iter().find(|(known, _)| known == name);
        let complaints = proxy_complaints(|name| variable(name).map(|(_, text)| text.clone()));
        document.add(
            complaints.into_iter().map(|told| Problem::warning_of_file(Path::new(&told.variable), told.why)),
        );
    }
    let also = then(&document);
    document.finish(settings).map(|(settings, warnings)| (settings, warnings, also))
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
        // Too many blocks have one for it to be looked for.
        ("server", "timeout") => "what entries inherit is `server.http_client.timeout`",
        // Keys of the Go program's versions 1.0 and 1.1.
        (_, "jwt_auth") => {
            "gone: `backend_oidc_auth` gets tokens by client credentials; one that does not change stands in `custom_headers`, as \"Authorization: Bearer ...\""
        }
        (_, "jwt_db_path") => "leave it out: tokens are kept in memory, and no database is needed",
        (_, "sasl_oidc_auth") => "it belongs in an entry of dovecot_sasl",
        _ => return None,
    })
}

/// Whether the value of `key` is never shown, and the names of keys below it are not. Names of headers are
/// among them, for a header whose `custom_headers:` was lost to a slip.
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

/// Reads every key of the document.
fn read(document: &Document<'_>, is_jailed: bool) -> Option<Settings> {
    let top = document.top("Top");
    let server = top.key("server").section("Server");
    let logging = Logging::read(&server);
    let cache = lookup::settings::server_cache(&server);
    let inherited = Inherited {
        timeout: http::settings::timeout(&server),
        max_reply: lookup::settings::max_reply(&server),
        outage: cache.outage,
        pool: lookup::settings::pool(&server),
        log_keys: logging.keys,
    };
    let [map_entries, policy_entries, login_entries] =
        [("socket_maps", "Map"), ("policy_services", "Policy"), ("dovecot_sasl", "Login")]
            .map(|(key, definition)| top.key(key).entries(definition));
    let maps = lookup::settings::read(&map_entries, Names::Map, &inherited);
    let policies = lookup::settings::read(&policy_entries, Names::Policy, &inherited);
    let logins = login::settings::read(&login_entries, &inherited);
    let is_over_tls = maps.iter().chain(&policies).any(lookup::Settings::is_over_tls)
        || logins.iter().any(login::Settings::is_over_tls);
    let http = http::settings::read(&server, is_over_tls);
    let names = |entries: &Entries<'_>| entries.list.iter().map(|(name, _)| name.clone()).collect();
    let names = server::Names { policies: names(&policy_entries), logins: names(&login_entries) };
    let ipc = server::ipc(&server);
    let sockets = server::Settings {
        listen: server::listeners(&server, &names, &ipc),
        admin: server::admin(&server, &ipc),
        ipc,
        privileges: process::privileges(&server, is_jailed),
        has_one_map: map_entries.list.len() == 1,
    };
    let (prometheus, otlp) = export::settings::read(&server);
    let [max_connections, max_connections_per_address] = ["max_connections", "max_connections_per_address"]
        .map(|key| {
            let most = server.key(key).count(1..=u64::MAX).get();
            most.and_then(|most| usize::try_from(most).ok())
        });
    let server = Server {
        sockets,
        logging,
        http: http?,
        cache_bytes: cache.max_bytes,
        max_connections,
        max_connections_per_address,
        prometheus,
        otlp,
    };
    Some(Settings { server, maps, policies, logins })
}
