//! What the configuration says of HTTP and TLS: `server.http_client`, `server.tls`; and the checks of
//! URLs and of credentials that other rooms' keys need, too.
//!
//! Files are read here, so that a bad one is an error of the configuration. No message holds a URL or a
//! credential.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use rustls::ClientConfig;
use url::Url;

use super::tls::{self, Identity, Trust};
use crate::document::{Found, HIDDEN, Holds, Key, Section};

/// The ranges of the Go program.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const IDLE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const CONNECTIONS: RangeInclusive<u64> = 0..=16384;

/// `server.http_client` and `server.tls`, checked.
#[derive(Clone)]
pub struct HttpSettings {
    /// `max_connections_per_host`; `None`: as many as lookups are in progress.
    pub max_connections_per_host: Option<usize>,
    /// `max_idle_connections`; `None`: no bound but that of each host.
    pub max_idle_connections: Option<usize>,
    /// `max_idle_connections_per_host`; 256 by default, as many as the workers of an entry.
    pub max_idle_connections_per_host: usize,
    /// `idle_connection_timeout`; 90 s by default.
    pub idle_connection_timeout: Duration,
    /// `proxy`, for every target; `None`: what the proxy environment variables say.
    pub proxy: Option<Url>,
    /// `server.tls`.
    pub tls: Arc<ClientConfig>,
    /// A hash of what `tls` was made of, files included: two of them cannot be compared.
    pub tls_inputs: [u8; 32],
}

#[cfg(test)]
impl HttpSettings {
    /// For tests: no bound but that of idle connections to a host.
    pub(crate) fn plain(max_idle_connections_per_host: usize) -> Self {
        Self {
            max_connections_per_host: None,
            max_idle_connections: None,
            max_idle_connections_per_host,
            idle_connection_timeout: Duration::from_secs(90),
            proxy: None,
            tls: tls::client(tls::Trust::SystemLater, None).expect("TLS"),
            tls_inputs: [0; 32],
        }
    }
}

impl PartialEq for HttpSettings {
    fn eq(&self, other: &Self) -> bool {
        let plain = |settings: &Self| {
            let Self { max_connections_per_host, max_idle_connections, tls_inputs, .. } = settings;
            let Self { max_idle_connections_per_host, idle_connection_timeout, .. } = settings;
            (
                *max_connections_per_host,
                *max_idle_connections,
                *max_idle_connections_per_host,
                *idle_connection_timeout,
                *tls_inputs,
            )
        };
        plain(self) == plain(other) && self.proxy == other.proxy
    }
}

impl fmt::Debug for HttpSettings {
    /// Without what a proxy is told about us.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_ref().and_then(Url::host_str);
        f.debug_struct("HttpSettings").field("proxy", &proxy).finish_non_exhaustive()
    }
}

/// Reads `server.http_client.timeout`, the default of an entry's `timeout`.
#[must_use]
pub fn timeout(server: &Section<'_>) -> Duration {
    let client = server.key("http_client").section("HttpClient");
    client.key("timeout").duration(TIMEOUT).or(Duration::from_secs(30))
}

/// Reads the rest of `server.http_client`, and `server.tls`. `is_used` says whether any target or
/// provider is https.
pub fn read(server: &Section<'_>, is_used: bool) -> Option<HttpSettings> {
    let client = server.key("http_client").section("HttpClient");
    let count = |name, default| {
        let count = client.key(name).count(CONNECTIONS).or(default);
        usize::try_from(count).ok().filter(|count| *count > 0)
    };
    let max_connections_per_host = count("max_connections_per_host", 0);
    let max_idle_connections = count("max_idle_connections", 0);
    let max_idle_connections_per_host = count("max_idle_connections_per_host", 256).unwrap_or(256);
    let idle_connection_timeout =
        client.key("idle_connection_timeout").duration(IDLE).or(Duration::from_secs(90));
    let proxy = client.key("proxy");
    let named = proxy.text().shown(|text| shown(text)).get().filter(|text| !text.is_empty());
    let proxy = named.and_then(|text| proxy_url(&proxy, &text));
    let (tls, tls_inputs) = tls(&server.key("tls").section("Tls"), is_used)?;
    Some(HttpSettings {
        max_connections_per_host,
        max_idle_connections,
        max_idle_connections_per_host,
        idle_connection_timeout,
        proxy,
        tls,
        tls_inputs,
    })
}

/// A user name and a password are allowed here: Go's client sends them to the proxy.
fn proxy_url(key: &Key<'_>, text: &str) -> Option<Url> {
    let url = url(key, text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        key.error("a proxy's URL ends behind its host and port");
        return None;
    }
    Some(url)
}

/// The URL `text`, the value of `key`: http or https, with a host.
pub fn url(key: &Key<'_>, text: &str) -> Option<Url> {
    // Url::parse would drop them in silence.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        key.error("a URL holds no blanks and no control characters");
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            key.error("a URL begins with http:// or https://");
            return None;
        }
        Err(error) => {
            key.error(format!("not a URL: {error}"));
            return None;
        }
    };
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        key.error("the URL needs a host, and a port that is not 0");
        return None;
    }
    Some(url)
}

/// The URL `text` as the effective configuration shows it: without user, password, query and fragment.
#[must_use]
pub fn shown(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let Ok(mut url) = Url::parse(text) else { return HIDDEN.to_owned() };
    let is_cut = url.query().is_some() || url.fragment().is_some();
    let is_bare = url.username().is_empty() && url.password().is_none();
    if is_bare && !is_cut {
        return text.to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL without a host has none to be taken away.
    if !is_bare && (url.set_username("").is_err() || url.set_password(None).is_err()) {
        return HIDDEN.to_owned();
    }
    if is_cut { format!("{url}?{HIDDEN}") } else { url.into() }
}

/// The value of `Authorization` for `user:password`, the value of `key`.
pub fn basic_authorization(key: &Key<'_>, pair: &str) -> Option<HeaderValue> {
    let is_complete = pair.split_once(':').is_some_and(|(user, password)| {
        !user.is_empty() && !password.is_empty() && !pair.chars().any(char::is_control)
    });
    let value = is_complete.then(|| HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok());
    let Some(Some(mut value)) = value else {
        key.error("must be `user:password`, both not empty and without control characters");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// `server.tls`: the configuration of all connections, and a hash of what it is made of.
fn tls(section: &Section<'_>, is_used: bool) -> Option<(Arc<ClientConfig>, [u8; 32])> {
    let is_enabled = section.key("enabled").flag().or(false);
    let [root_ca, cert, key] = ["root_ca", "cert", "key"].map(|name| section.key(name).text());
    let skip_verify = section.renamed_key("skip_verify", "http_client_skip_verify");
    let skips = skip_verify.flag().or(false);
    // Before the files are read for good: a change in between is one of the next reload.
    let inputs = tls_inputs([is_used, is_enabled, skips], [&root_ca, &cert, &key]);
    let system = if is_used { Trust::System } else { Trust::SystemLater };
    if !is_enabled {
        let files = [&cert, &key, &root_ca].into_iter().filter(|file| file.is_set()).map(|file| &file.key);
        for key in files.chain(Some(&skip_verify).filter(|_| skips)) {
            key.warning("has no effect without `enabled: true`");
        }
        return Some((client(section, system, None)?, inputs));
    }
    match (cert.is_set(), key.is_set()) {
        (true, false) => drop(key.key.missing()),
        (false, true) => drop(cert.key.missing()),
        _ => {}
    }
    let root = opened(&root_ca, Holds::Certificates)?;
    let identity = if cert.is_set() && key.is_set() {
        opened(&cert, Holds::Certificates)?.zip(opened(&key, Holds::Secret)?)
    } else {
        None
    };
    let identity = identity.as_ref().map(|(cert, key)| Identity { cert, key });
    let trust = root.as_deref().map_or(system, Trust::File);
    if !skips {
        return Some((client(section, trust, identity)?, inputs));
    }
    skip_verify.warning("whoever answers for a target is believed").hint(match root {
        Some(_) => "leave it out, and root_ca says whom to believe",
        None => "name the certificate of its authority in root_ca",
    });
    // A file that is named must be good all the same: it is used as soon as this ends.
    if root.is_some() {
        client(section, trust, identity)?;
    }
    Some((client(section, Trust::Anything, identity)?, inputs))
}

/// The path of the file that a key names, if it names one; nothing if that cannot be read.
fn opened(file: &Found<'_, String>, holds: Holds) -> Option<Option<PathBuf>> {
    if file.is_set() { file.open(holds).map(|(_, name)| Some(name)) } else { Some(None) }
}

/// A hash of the values, and of the contents of the files. A file that cannot be read is reported elsewhere.
fn tls_inputs(flags: [bool; 3], files: [&Found<'_, String>; 3]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(&flags.map(u8::from));
    for file in files {
        let name = file.as_ref().map(String::as_bytes).unwrap_or_default();
        for part in [name, &file.content().unwrap_or_default()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let mut inputs = [0; 32];
    inputs.copy_from_slice(hash.finish().as_ref());
    inputs
}

fn client(
    section: &Section<'_>,
    trust: Trust<'_>,
    identity: Option<Identity<'_>>,
) -> Option<Arc<ClientConfig>> {
    let error = match tls::client(trust, identity) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    match &error {
        tls::Error::RootCa(_) => section.key("root_ca").error(error.to_string()),
        tls::Error::Cert(_) => section.key("cert").error(error.to_string()),
        tls::Error::Key(_) => section.key("key").error(error.to_string()),
        tls::Error::System(_) => section.error(error.to_string()),
    };
    None
}
