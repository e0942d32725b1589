//! What postconf(1) says about an installed Postfix.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::restrictions::{expanded, split, words};
use crate::model::Protocol;

/// Where Postfix installs postconf(1), which is not in the path of every user.
const POSTCONF: &str = "/usr/sbin/postconf";

/// A Postfix.
pub(super) struct Postfix {
    directory: Option<PathBuf>,
    /// Every parameter, its value expanded.
    parameters: HashMap<String, String>,
    pub(super) services: Vec<Service>,
}

/// A service of master.cf.
pub(super) struct Service {
    pub(super) name: String,
    /// `unix` or `inet`, …
    pub(super) kind: String,
    pub(super) is_private: bool,
    pub(super) is_unprivileged: bool,
    pub(super) is_in_chroot: bool,
    pub(super) maxproc: String,
    /// The command and its arguments.
    pub(super) command: Vec<String>,
    /// `-o name=value`.
    pub(super) overrides: BTreeMap<String, String>,
}

/// How a service starts `pfxhttp-client`.
pub(super) struct Client<'s> {
    pub(super) program: &'s str,
    /// `--socket`.
    pub(super) socket: Option<&'s str>,
    /// `--mechanisms`.
    pub(super) mechanisms: Option<&'s str>,
    pub(super) protocol: Option<Protocol>,
    /// The entry, but for maps.
    pub(super) entry: Option<&'s str>,
}

impl Service {
    pub(super) fn is_smtpd(&self) -> bool {
        self.command.first().is_some_and(|command| command == "smtpd")
    }

    /// How it starts `pfxhttp-client`, if it does.
    pub(super) fn client(&self) -> Option<Client<'_>> {
        if self.command.first()? != "spawn" {
            return None;
        }
        let at = self.command.iter().position(|word| word.starts_with("argv="))?;
        let program = self.command[at].strip_prefix("argv=")?;
        if Path::new(program).file_name()? != "pfxhttp-client" {
            return None;
        }
        let mut client = Client { program, socket: None, mechanisms: None, protocol: None, entry: None };
        let mut words = self.command[at + 1..].iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (option, joined) =
                word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
            match option {
                "--socket" => client.socket = joined.or_else(|| words.next()),
                "--mechanisms" => client.mechanisms = joined.or_else(|| words.next()),
                "--timeout" | "--on-failure" if joined.is_none() => drop(words.next()),
                "socketmap" => client.protocol = Some(Protocol::Socketmap),
                "policy" => (client.protocol, client.entry) = (Some(Protocol::Policy), words.next()),
                "sasl" => (client.protocol, client.entry) = (Some(Protocol::Sasl), words.next()),
                _ => {}
            }
        }
        Some(client)
    }
}

impl Postfix {
    /// Asks postconf(1) about the Postfix that is configured in `directory`, or in its usual one.
    ///
    /// # Errors
    /// A sentence: postconf(1) is not there, or fails.
    pub(super) fn installed(directory: Option<&Path>) -> Result<Self, String> {
        let run = |arguments: &[&str]| run(directory, arguments);
        let parameters: HashMap<_, _> = run(&["-x"])?.lines().filter_map(setting).collect();
        // spawn(8) does not expand "$" in arguments, smtpd(8) does in those of "-o".
        let (services, overrides) = (run(&["-M"])?, run(&["-xP"])?);
        let mut services: Vec<Service> =
            services.lines().filter_map(|line| service(line, &parameters)).collect();
        for (path, value) in overrides.lines().filter_map(setting) {
            let mut parts = path.splitn(3, '/');
            let (Some(name), Some(kind), Some(parameter)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if let Some(service) = services.iter_mut().find(|known| known.name == name && known.kind == kind)
            {
                service.overrides.insert(parameter.to_owned(), value);
            }
        }
        Ok(Self { directory: directory.map(Path::to_owned), parameters, services })
    }

    /// The value of a parameter; empty if there is none.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The value of a parameter in a service.
    pub(super) fn parameter_of<'p>(&'p self, service: &'p Service, name: &str) -> &'p str {
        service.overrides.get(name).map_or_else(|| self.parameter(name), String::as_str)
    }

    /// Where a parameter of a service stands.
    pub(super) fn place_of(service: &Service, name: &str) -> String {
        match service.overrides.contains_key(name) {
            true => format!("master.cf: {}: {name}", service.name),
            false => format!("main.cf: {name}"),
        }
    }

    /// The words of a list of restrictions in a service, with those of its restriction classes.
    pub(super) fn restrictions(&self, service: &Service, name: &str) -> Vec<String> {
        let classes = words(self.parameter_of(service, "smtpd_restriction_classes"));
        let class =
            |name: &str| classes.iter().any(|class| class == name).then(|| self.parameter_of(service, name));
        expanded(self.parameter_of(service, name), &class)
    }

    pub(super) fn smtpds(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.is_smtpd())
    }

    /// The service at `unix:private/NAME` or `unix:public/NAME`, which a client connects to.
    pub(super) fn service_at(&self, address: &str) -> Option<&Service> {
        let path = Path::new(address.strip_prefix("unix:")?);
        let path = path.strip_prefix(self.queue_directory()).unwrap_or(path);
        self.services.iter().find(|service| {
            let directory = if service.is_private { "private" } else { "public" };
            service.kind == "unix" && path == Path::new(directory).join(&service.name)
        })
    }

    pub(super) fn queue_directory(&self) -> PathBuf {
        PathBuf::from(self.parameter("queue_directory"))
    }

    /// Every parameter of main.cf.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The configuration directory.
    pub(super) fn place(&self) -> String {
        let directory = self.directory.as_ref().map(|directory| directory.display().to_string());
        directory.unwrap_or_else(|| self.parameter("config_directory").to_owned())
    }
}

/// The queue directory of the Postfix that is configured in `directory`, or in its usual one.
///
/// # Errors
/// A sentence: postconf(1) is not there, or fails.
pub(super) fn queue_directory(directory: Option<&Path>) -> Result<PathBuf, String> {
    Ok(PathBuf::from(run(directory, &["-xh", "queue_directory"])?.trim_end_matches('\n')))
}

fn run(directory: Option<&Path>, arguments: &[&str]) -> Result<String, String> {
    let program = if Path::new(POSTCONF).exists() { POSTCONF } else { "postconf" };
    let mut command = Command::new(program);
    if let Some(directory) = directory {
        command.arg("-c").arg(directory);
    }
    let output =
        command.args(arguments).output().map_err(|error| format!("cannot run postconf(1): {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("postconf(1) fails: {}", said.lines().next().unwrap_or("it says no reason")))
    }
}

/// `name = value`.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

/// A line of `postconf -M`.
fn service(line: &str, parameters: &HashMap<String, String>) -> Option<Service> {
    let fields = split(line, char::is_whitespace);
    let [name, kind, private, unprivileged, chroot, _wakeup, maxproc, command @ ..] = &fields[..] else {
        return None;
    };
    // What "-" means for chroot depends on this parameter (Postfix 3.0).
    let level = parameters.get("compatibility_level").map_or("0", String::as_str);
    let is_in_chroot = *chroot == "y" || (*chroot == "-" && level.starts_with('0'));
    Some(Service {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        is_private: *private != "n",
        is_unprivileged: *unprivileged != "n",
        is_in_chroot,
        maxproc: (*maxproc).to_owned(),
        command: command.iter().map(|word| argument(word).to_owned()).collect(),
        overrides: BTreeMap::new(),
    })
}

/// postconf(1) writes arguments with blanks in braces, and no others.
fn argument(word: &str) -> &str {
    let inside = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
    inside.filter(|inside| inside.contains(char::is_whitespace)).unwrap_or(word)
}

/// A time of Postfix (postconf(5)): seconds unless a unit follows.
pub(super) fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &value[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
