//! `postfix`: the lines of main.cf and master.cf that a configuration needs. With `--check` it compares
//! them with an installed Postfix, and says what is missing or dangerous.
//!
//! If a listener serves an entry, Postfix connects to the listener. All other entries are reached through
//! `pfxhttp-client`, which spawn(8) starts. Only postconf(1) is run; no file of Postfix is read or written.

mod check;
mod findings;
mod lines;
mod logins;
mod names;
mod policies;
mod postconf;
mod references;
mod relay;
mod restrictions;
mod service;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::cli::Cli;
use crate::daemon::exit::{CONFIG, UNAVAILABLE, say};
use crate::model::Protocol;
use crate::server::settings::{DEFAULT_IPC, Endpoint, Listener};
use crate::settings::Configuration;
use findings::Severity;
use postconf::Postfix;

/// The directory of Postfix' sockets, unless postconf(1) names another.
const QUEUE_DIRECTORY: &str = "/var/spool/postfix";
/// The user of the clients in packages.
const USER: &str = "pfxhttp-client";
/// The longest name of an entry in the name of a service, which is a unix socket.
const LONGEST_NAME: usize = 40;
/// Where packages install the client.
const CLIENT: &str = "/usr/libexec/pfxhttp/pfxhttp-client";

/// Prints the lines; with `check` compares them with the Postfix in `directory`, or in its usual one.
pub(super) fn postfix(cli: &Cli, check: bool, directory: Option<&Path>) -> ExitCode {
    let (_, read) = cli.location().read(false);
    let config = match read {
        Ok((config, _)) => config,
        Err(problems) => {
            say(&problems);
            return ExitCode::from(CONFIG);
        }
    };
    if check {
        return match Postfix::installed(directory) {
            Ok(postfix) => compare(&config, &postfix),
            Err(error) => {
                say(&[format!("pfxhttp-broker: {error}")]);
                ExitCode::from(UNAVAILABLE)
            }
        };
    }
    let queue = postconf::queue_directory(directory).unwrap_or(QUEUE_DIRECTORY.into());
    // The reader may have closed the stream.
    let _ = std::io::stdout().write_all(lines::of(&config, &queue).as_bytes());
    ExitCode::SUCCESS
}

fn compare(config: &Configuration, postfix: &Postfix) -> ExitCode {
    let findings = check::check(config, postfix);
    say(&findings);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let place = postfix.place();
    let summary = match (errors, warnings) {
        (0, 0) => format!("{place}: OK"),
        _ => format!("{place}: errors: {errors}, warnings: {warnings}"),
    };
    let _ = writeln!(std::io::stdout(), "{summary}");
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(CONFIG) }
}

/// An entry, and how Postfix reaches it.
struct Entry<'c> {
    protocol: Protocol,
    name: &'c str,
    access: Access<'c>,
    /// Those that serve it.
    listeners: Vec<&'c Endpoint>,
}

/// How Postfix reaches an entry.
#[derive(Clone)]
enum Access<'c> {
    /// At a listener of the broker.
    Listener(&'c Endpoint),
    /// At a service of master.cf with this name, which starts `pfxhttp-client`.
    Spawned(String),
}

impl Access<'_> {
    /// What Postfix connects to, as `unix:private/pfx-map` or `inet:127.0.0.1:23450`. A path below the
    /// queue directory is relative to it, so that a process in a chroot jail finds it, too.
    fn address(&self, queue: &Path) -> String {
        match self {
            Self::Listener(Endpoint::Unix(socket)) => {
                format!("unix:{}", socket.path.strip_prefix(queue).unwrap_or(&socket.path).display())
            }
            Self::Listener(Endpoint::Tcp { address, port, .. }) => {
                let host = match address {
                    address if !address.is_unspecified() => *address,
                    address if address.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
                    _ => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                format!("inet:{}", std::net::SocketAddr::new(host, *port))
            }
            Self::Spawned(service) => format!("unix:private/{service}"),
        }
    }

    /// The same for `smtpd_sasl_path`, in which a path has no type.
    fn sasl_path(&self, queue: &Path) -> String {
        let address = self.address(queue);
        address.strip_prefix("unix:").map_or(address.clone(), str::to_owned)
    }
}

/// All entries of `config`: maps, policies, logins.
fn entries(config: &Configuration) -> Vec<Entry<'_>> {
    let maps = config.maps.iter().map(|entry| (Protocol::Socketmap, entry.name.as_str()));
    let policies = config.policies.iter().map(|entry| (Protocol::Policy, entry.name.as_str()));
    let logins = config.logins.iter().map(|entry| (Protocol::Sasl, entry.name.as_str()));
    let named = maps.chain(policies).chain(logins);
    let entry = |(protocol, name)| {
        let listeners = listeners(config, protocol, name);
        let spawned = || Access::Spawned(service(config, protocol, name));
        let access = listeners.first().map_or_else(spawned, |endpoint| Access::Listener(endpoint));
        Entry { protocol, name, access, listeners }
    };
    named.map(entry).collect()
}

fn listeners<'c>(config: &'c Configuration, protocol: Protocol, name: &str) -> Vec<&'c Endpoint> {
    let serves = |listener: &&Listener| {
        listener.protocol == protocol
            && (protocol == Protocol::Socketmap || listener.name == name)
            // The system chooses port 0's number at each start.
            && !matches!(listener.endpoint, Endpoint::Tcp { port: 0, .. })
    };
    config.server.sockets.listen.iter().filter(serves).map(|listener| &listener.endpoint).collect()
}

/// The name of a service of master.cf. All maps share one; of the others each has its own. It is a file name
/// and part of the name of a parameter: an entry whose name does not fit lends its number.
fn service(config: &Configuration, protocol: Protocol, name: &str) -> String {
    let (service, names): (_, Vec<&str>) = match protocol {
        Protocol::Socketmap => return "pfx-map".to_owned(),
        Protocol::Policy => ("pfx-policy", config.policies.iter().map(|entry| entry.name.as_str()).collect()),
        Protocol::Sasl => ("pfx-sasl", config.logins.iter().map(|entry| entry.name.as_str()).collect()),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if names.len() == 1 {
        service.to_owned()
    } else if name.len() <= LONGEST_NAME && name.chars().all(is_plain) {
        format!("{service}-{name}")
    } else {
        let at = names.iter().position(|known| *known == name).unwrap_or_default();
        format!("{service}.{}", at + 1)
    }
}

/// The path of the client: the package's, or the one beside this program.
fn client() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    let directory = this.parent().unwrap_or(Path::new("/"));
    let beside = [directory.join("../libexec/pfxhttp/pfxhttp-client"), directory.join("pfxhttp-client")];
    let installed = Path::new(CLIENT);
    if installed.exists() {
        return installed.to_owned();
    }
    beside.iter().find_map(|path| path.canonicalize().ok()).unwrap_or(installed.to_owned())
}

/// What a service of master.cf runs to serve `entry`. `None`: master.cf cannot hold one of the words.
fn command(config: &Configuration, entry: &Entry<'_>) -> Option<String> {
    let ipc = &config.server.sockets.ipc;
    let user = ipc.allow_users.first().map_or(USER, String::as_str);
    let mut words = vec![format!("user={user}"), format!("argv={}", client().display())];
    if ipc.socket.path != Path::new(DEFAULT_IPC) {
        words.extend(["--socket".to_owned(), ipc.socket.path.display().to_string()]);
    }
    let name = || entry.name.to_owned();
    match entry.protocol {
        Protocol::Socketmap => words.push("socketmap".to_owned()),
        Protocol::Policy => words.extend(["policy".to_owned(), name()]),
        Protocol::Sasl => {
            let more = if takes_tokens(config, entry.name) { ",OAUTHBEARER,XOAUTH2" } else { "" };
            let mechanisms = format!("PLAIN,LOGIN{more}");
            words.extend(["--mechanisms".to_owned(), mechanisms, "sasl".to_owned(), name()]);
        }
    }
    let words: Option<Vec<String>> = words.iter().map(|word| names::argument(word)).collect();
    Some(words?.join(" "))
}

/// Whether tokens may log in at the entry `name` of `dovecot_sasl`.
fn takes_tokens(config: &Configuration, name: &str) -> bool {
    config.logins.iter().any(|login| login.name == name && login.tokens.is_some())
}
