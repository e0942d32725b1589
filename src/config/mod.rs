//! The configuration: read with places, mirrored by serde, resolved to values that cannot be wrong.
//!
//! | step | file |
//! |---|---|
//! | a file's text, and the environment | `source` |
//! | text → tree, and an index of places | `syntax`, `places` |
//! | old names, variables and `defaults` are laid over both | `environment`, `defaults` |
//! | tree → raw structs, block by block; unknown keys | `block`, `tree`, `keys`, `raw` |
//! | raw structs → what stands below | `resolve` and the rest |
//!
//! All problems are found in one run, each with its place ([`Problem`]); with an error among them
//! there is no [`Config`]. Nothing here panics on any text, and no message shows a secret's value
//! (`mask`). Only `command` and `broker` see this module.

mod block;
mod cache;
mod conflict;
mod cuts;
mod defaults;
mod entry;
mod environment;
mod file;
mod grpc;
mod headers;
mod http;
mod keys;
mod listener;
mod login;
mod mask;
mod observability;
mod oidc;
mod otel;
mod path;
mod places;
mod problem;
mod protocol;
mod raw;
mod remains;
mod resolve;
mod scalar;
mod secret;
mod source;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;

use std::path::{Path, PathBuf};

use crate::broker;
use crate::export;
use crate::http::HttpSettings;
use crate::login as logins;
use crate::lookup;
use crate::observe::metrics::Component;
use crate::server::bind::LOCAL;
use crate::server::settings as server;
use crate::server::settings::{Endpoint, Ipc, Listener, Privileges, Speaks, UnixSocket};

pub use crate::document::Place;
pub use problem::{Problem, Severity};
pub use remains::admin_socket;
pub use source::environment;
pub use syntax::Syntax;

/// Reads and checks the file at `path`, in `syntax` or in the one that its extension names, with
/// the variables of `environment` laid over it. Beside the configuration stand the warnings.
///
/// # Errors
/// Everything that is wrong, warnings among it, in the order of the file.
pub fn load(
    path: &Path,
    syntax: Option<Syntax>,
    environment: &[(String, String)],
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    read(path, syntax, environment, false)
}

/// The same in a process that is in its `server.chroot` already, and finds all files there.
///
/// # Errors
/// As [`load`].
pub fn load_in_jail(
    path: &Path,
    syntax: Option<Syntax>,
    environment: &[(String, String)],
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    read(path, syntax, environment, true)
}

fn read(
    path: &Path,
    syntax: Option<Syntax>,
    environment: &[(String, String)],
    is_jailed: bool,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let (text, exposed) = source::read(path).map_err(|problem| vec![*problem])?;
    let read = checked(path, &text, syntax.unwrap_or(Syntax::of(path)), environment, is_jailed);
    let first = |problems: Vec<Problem>| exposed.into_iter().chain(problems).collect();
    match read {
        Ok((config, warnings)) => Ok((config, first(warnings))),
        Err(problems) => Err(first(problems)),
    }
}

/// Checks a configuration in YAML. `file_name` stands in the problems.
///
/// # Errors
/// As [`load`].
pub fn parse(file_name: &Path, text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    parse_as(file_name, text, Syntax::Yaml, &[])
}

/// Checks a configuration in `syntax`, under `environment`.
///
/// # Errors
/// As [`load`].
pub fn parse_as(
    file_name: &Path,
    text: &str,
    syntax: Syntax,
    environment: &[(String, String)],
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    checked(file_name, text, syntax, environment, false)
}

fn checked(
    file_name: &Path,
    text: &str,
    syntax: Syntax,
    environment: &[(String, String)],
    is_jailed: bool,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let text = source::normal(text);
    let (mut tree, places, faults) = syntax.read(&text);
    let mut report = problem::Report::new(file_name, &text, places);
    report.is_jailed = is_jailed;
    let credentials = environment.iter().find(|(name, _)| name == file::CREDENTIALS);
    report.credentials = credentials.map(|(_, directory)| directory.clone());
    // A tree that is not the text's would only bring problems that are none.
    let readable = faults.is_empty();
    faults.into_iter().for_each(|fault| report.fault(fault));
    let config = readable.then(|| {
        defaults::rename(&mut report, &mut tree);
        environment::apply(&mut report, &mut tree, environment);
        environment::stand_in(&mut report, &mut tree, environment);
        resolve::config(&mut report, tree)
    });
    let config = config.flatten();
    if config.as_ref().is_some_and(|config| config.server.http.proxy.is_none()) {
        environment::warn_of_proxies(&mut report, environment);
    }
    report.finish(config)
}

/// The file that is read when the command line names none: `pfxhttp.yml`, `.yaml`, `.toml` or
/// `.json` in `/usr/local/etc/pfxhttp`, `/etc/pfxhttp`, `$HOME/.pfxhttp` or the current directory.
/// Beside it stands a warning where its directory holds another one.
///
/// # Errors
/// There is none; the problem says where it was looked for.
pub fn search() -> Result<(PathBuf, Option<Problem>), Vec<Problem>> {
    source::search(&source::directories()).map_err(|problem| vec![*problem])
}

/// A configuration and its warnings, or everything that is wrong with it.
pub type Read = Result<(Config, Vec<Problem>), Vec<Problem>>;

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
    #[must_use]
    pub fn read(&self, is_jailed: bool) -> (PathBuf, Read) {
        let (path, beside) = match &self.file {
            Some(path) => (path.clone(), None),
            None => match search() {
                Ok(found) => found,
                Err(problems) => return (PathBuf::from("configuration"), Err(problems)),
            },
        };
        let load = if is_jailed { load_in_jail } else { load };
        let read = load(&path, self.syntax, &environment());
        let read = read.map(|(config, warnings)| (config, beside.into_iter().chain(warnings).collect()));
        (path, read)
    }

    /// The path of the admin socket, as far as the broken file at `path` tells.
    #[must_use]
    pub fn admin_socket(&self, path: &Path) -> PathBuf {
        admin_socket(path, self.syntax, &environment())
    }
}

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Config {
    /// `server`.
    pub server: Server,
    /// `socket_maps`.
    pub maps: Vec<lookup::Settings>,
    /// `policy_services`.
    pub policies: Vec<lookup::Settings>,
    /// `dovecot_sasl`.
    pub logins: Vec<logins::Settings>,
}

impl Config {
    /// What a generation of the broker is made of.
    #[must_use]
    pub fn broker(&self) -> broker::Settings<'_> {
        let named = self.server.sockets.listen.iter().map(|listener| {
            let component = match listener.speaks {
                Speaks::Socketmap => Component::Map,
                Speaks::Policy => Component::Policy,
                Speaks::Login => Component::Login,
            };
            (component, listener.name.clone())
        });
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
    pub prometheus: Option<export::endpoint::Settings>,
    /// `server.observability`, where a collector is told.
    pub otlp: Option<export::Settings>,
}

/// `server.logging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// `json`.
    pub json: bool,
    /// `level`.
    pub level: Level,
    /// `use_systemd`: for journald, also where it does not show itself.
    pub use_systemd: bool,
    /// `log_keys`: when the log names what was asked.
    pub keys: lookup::LogKeys,
}

/// `server.logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing at all.
    None,
    /// Errors alone.
    Error,
    /// The default.
    Info,
    /// Everything.
    Debug,
}
