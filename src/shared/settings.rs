//! `server.shared`: where the shared cache is, and the secret that protects what is in it.
//!
//! Without `url` there is none. The secrets are read here, out of their files, and are not shown.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::document::{Kind, Refusal, Section, no_effect};
use crate::http::is_loopback;
use crate::http::settings::{TlsSettings, shown, tls_of_block};
use crate::model::secret::Secret;

const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);
/// Bytes of a secret.
const SHORTEST: usize = 32;
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const SYNTAX: &str = "begins with redis://, rediss:// or unix:/";

/// `server.shared`, with a `url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSettings {
    /// `url`: where Redis or Valkey is, the user, and the number of the database.
    pub server: Endpoint,
    /// `password_file`.
    pub password: Option<Secret>,
    /// `secret_file`: at least 32 bytes, the same on all hosts.
    pub secret: Secret,
    /// `sentinel`; the host and port of `url` are not used then.
    pub sentinel: Option<SentinelSettings>,
    /// `prefix`: what each key begins with.
    pub prefix: String,
    /// `wait`: how long a lookup waits for an answer; 5 ms by default, at most 50 ms.
    pub wait: Duration,
    /// `penalties`: whether denied logins are counted on all hosts together; true by default.
    pub penalties: bool,
    /// `tls`; `None`: `server.tls`.
    pub tls: Option<TlsSettings>,
}

/// `sentinel`: who knows the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelSettings {
    /// `master`: its name.
    pub master: String,
    /// `urls`: the sentinels, in the order in which they are asked; never empty.
    pub servers: Vec<Endpoint>,
    /// `password_file`.
    pub password: Option<Secret>,
}

/// A server of Redis or Valkey, as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// The user of its ACL; `None`: the default user.
    pub user: Option<String>,
    /// The number of the database.
    pub database: u16,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// Host and port, as the origin of an URL of http, or of https for TLS.
    Tcp(Url),
}

impl Address {
    /// `host` and `port` of this scheme of URLs; an IPv6 address with or without brackets.
    pub(super) fn tcp(has_tls: bool, host: &str, port: u16) -> Option<Self> {
        let scheme = if has_tls { "https" } else { "http" };
        let is_bare = host.contains(':') && !host.starts_with('[');
        let host = if is_bare { format!("[{host}]") } else { host.to_owned() };
        let url = Url::parse(&format!("{scheme}://{host}:{port}/")).ok()?;
        (url.host_str().is_some_and(|host| !host.is_empty()) && port > 0).then_some(Self::Tcp(url))
    }

    /// Whether connections are made with TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        matches!(self, Self::Tcp(url) if url.scheme() == "https")
    }
}

impl fmt::Display for Address {
    /// Without the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(url) => {
                let scheme = if self.has_tls() { "rediss" } else { "redis" };
                let port = url.port_or_known_default().unwrap_or_default();
                write!(f, "{scheme}://{}:{port}", url.host_str().unwrap_or_default())
            }
        }
    }
}

impl SharedSettings {
    /// Whether it is connected to with `server.tls`.
    #[must_use]
    pub fn uses_server_tls(&self) -> bool {
        let mut servers = self.sentinel.iter().flat_map(|sentinel| &sentinel.servers).chain([&self.server]);
        self.tls.is_none() && servers.any(|server| server.address.has_tls())
    }
}

/// What `server.shared` says.
#[derive(Debug)]
pub struct Read {
    /// Whether there is a `url`, right or wrong.
    pub is_set: bool,
    /// The settings, without errors.
    pub settings: Option<SharedSettings>,
}

/// Reads `server.shared`.
#[must_use]
pub fn read(server: &Section<'_>) -> Read {
    let block = server.key("shared").section("Shared");
    let url = block.key("url").text().shown(|text| shown(text));
    let is_set = url.is_set();
    if !is_set {
        let others =
            ["password_file", "secret_file", "prefix", "wait", "penalties"].map(|name| block.key(name));
        no_effect(others, "without `url`");
    }
    let key = url.key.clone();
    let endpoint = url.read_as(|text| endpoint(&text, PORT)).get();
    let wait = block.key("wait").duration(WAIT).or(Duration::from_millis(5));
    let penalties = block.key("penalties").flag().or(true);
    let prefix = block.key("prefix").text().check(|prefix| is_prefix(prefix)).or("pfxhttp".to_owned());
    let password = block.key("password_file").text();
    let has_password = password.is_set();
    let secret = block.key("secret_file").text();
    if is_set && !secret.is_set() {
        secret.key.missing().hint("the same on all hosts, as from: openssl rand -base64 48");
    }
    let (password, secret) = match is_set {
        true => (password.read_secret(), secret.read_secret().filter(|read| is_long(&secret.key, read))),
        false => (None, None),
    };
    let sentinel = sentinel(&block, is_set);
    if let Some(endpoint) = &endpoint {
        if endpoint.user.is_some() && !has_password {
            key.warning("the user has no effect without `password_file`");
        }
        if has_password
            && matches!(&endpoint.address, Address::Tcp(url) if url.scheme() == "http" && !is_loopback(url))
        {
            key.warning("the password goes over the network without TLS").hint("write rediss://");
        }
    }
    let has_tls = endpoint.as_ref().map(|endpoint| endpoint.address.has_tls());
    let tls = tls_of_block(&block, has_tls, "`url` does not begin with rediss://");
    let settings = || {
        Some(SharedSettings {
            server: endpoint?,
            secret: secret?,
            sentinel: sentinel?,
            password,
            prefix,
            wait,
            penalties,
            tls: tls?,
        })
    };
    Read { is_set, settings: settings() }
}

/// Reads `sentinel`; `None` after an error.
fn sentinel(block: &Section<'_>, is_set: bool) -> Option<Option<SentinelSettings>> {
    let block = block.key("sentinel").section("Sentinel");
    let (master, urls) = (block.key("master").text(), block.key("urls"));
    let password = block.key("password_file").text();
    let items = urls.list(Kind::Text);
    let count = items.len();
    let servers: Vec<_> = items
        .into_iter()
        .filter_map(|item| {
            item.text().shown(|text| shown(text)).read_as(|text| sentinel_endpoint(&text)).get()
        })
        .collect();
    match (master.is_set(), count > 0) {
        _ if !is_set => no_effect([master.key.clone(), urls, password.key.clone()], "without `url`"),
        (true, false) => drop(urls.missing()),
        (false, true) => drop(master.key.missing()),
        (false, false) => no_effect([password.key.clone()], "without `master` and `urls`"),
        (true, true) => {
            let password = if password.is_set() { Some(password.read_secret()?) } else { None };
            let (master, is_good) = (master.get()?, servers.len() == count);
            return is_good.then_some(Some(SentinelSettings { master, servers, password }));
        }
    }
    (master.is_set() == (count > 0)).then_some(None)
}

fn sentinel_endpoint(text: &str) -> Result<Endpoint, Refusal> {
    let endpoint = endpoint(text, SENTINEL_PORT)?;
    if endpoint.database != 0 {
        return Err("a sentinel has no databases".into());
    }
    Ok(endpoint)
}

fn is_long(key: &crate::document::Key<'_>, secret: &Secret) -> bool {
    let is_long = secret.expose().len() >= SHORTEST;
    if !is_long {
        key.error("the secret must have at least 32 bytes").hint("as from: openssl rand -base64 48");
    }
    is_long
}

fn is_prefix(prefix: &str) -> Result<(), &'static str> {
    let is_good = (1..=64).contains(&prefix.len())
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'));
    is_good.then_some(()).ok_or("must be letters, digits, `-`, `_`, `.` and `:`, at most 64")
}

/// Reads a URL of a server. `port` is the usual one.
fn endpoint(text: &str, port: u16) -> Result<Endpoint, Refusal> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("a URL holds no blanks and no control characters".into());
    }
    let url = Url::parse(text).map_err(|_| Refusal::from(format!("this URL {SYNTAX}")))?;
    if url.password().is_some() {
        return Err(
            Refusal::from("the URL must not hold a password").hint("write it to a file: password_file")
        );
    }
    let pairs = url.query_pairs();
    let query = |name| pairs.clone().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    if url.fragment().is_some() {
        return Err("the URL must not hold a fragment (`#`)".into());
    }
    let (address, user, database) = match url.scheme() {
        "unix" if url.path().len() > 1 && !url.path().contains('%') => {
            if url.host_str().is_some_and(|host| !host.is_empty()) {
                return Err(
                    Refusal::from("the URL of a unix socket has no host").hint("as unix:///run/redis.sock")
                );
            }
            (Address::Unix(PathBuf::from(url.path())), query("user"), query("db").unwrap_or_default())
        }
        "redis" | "rediss" if url.query().is_none() => {
            let host = url.host_str().unwrap_or_default();
            let address = Address::tcp(url.scheme() == "rediss", host, url.port().unwrap_or(port));
            let address = address.ok_or("the URL needs a host, and a port that is not 0")?;
            let user = Some(url.username().to_owned()).filter(|user| !user.is_empty());
            (address, user, url.path().trim_start_matches('/').to_owned())
        }
        "redis" | "rediss" => return Err("this URL has no query".into()),
        "unix" => return Err("the URL of a unix socket has a path, without `%`".into()),
        _ => return Err(format!("this URL {SYNTAX}").into()),
    };
    let database = if database.is_empty() { Ok(0) } else { database.parse() };
    let database = database.map_err(|_| "the database is a number, as in redis://host:6379/0")?;
    if user.as_ref().is_some_and(|user| user.contains('%')) {
        return Err("the name of the user must not need `%`".into());
    }
    Ok(Endpoint { address, user, database })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server() {
        for (text, due, user, database) in [
            ("redis://h", "redis://h:6379", None, 0),
            ("redis://127.0.0.1:80/3", "redis://127.0.0.1:80", None, 3),
            ("rediss://pfx@[2001:db8::1]:443/", "rediss://[2001:db8::1]:443", Some("pfx"), 0),
            ("unix:///run/redis/s.sock", "unix:/run/redis/s.sock", None, 0),
            ("unix:/run/s?db=2&user=pfx", "unix:/run/s", Some("pfx"), 2),
        ] {
            let read = endpoint(text, PORT).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(
                (read.address.to_string().as_str(), read.user.as_deref(), read.database),
                (due, user, database)
            );
        }
        for text in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis://h:0",
            "redis://h/x",
            "redis://h?x=1",
            "redis://:pw@h",
            "redis://u:pw@h",
            "redis://h/70000",
            "unix:",
            "unix://h/x",
            "redis://h#x",
            "redis://a b",
        ] {
            assert!(endpoint(text, PORT).is_err(), "{text}");
        }
        let six = Address::tcp(false, "::1", 26379).expect("an address");
        assert_eq!(six.to_string(), "redis://[::1]:26379");
    }
}
