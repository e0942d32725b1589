//! `server.http_client`; and what several rooms check in their keys: URLs, credentials, files for TLS, keys
//! without effect. `tls` and `connection` read how connections are made.
//!
//! Files are read here, so that a bad one is an error of the configuration. No message holds a URL or a
//! credential.

mod connection;
mod tls;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use rustls::ClientConfig;
use url::Url;

use super::is_loopback;
use super::tls::Error as TlsError;
use crate::document::{DUMPED, Found, HIDDEN, Holds, Key, Section, size};
pub use connection::{ConnectionSettings, EntryProxy, Protocol};
pub(crate) use connection::{connection, grpc_connection};

pub use tls::TlsSettings;
pub(crate) use tls::of_block as tls_of_block;

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
    pub tls: TlsSettings,
    /// The same for proxies that speak TLS, without `pin_sha256`.
    pub proxy_tls: Arc<ClientConfig>,
}

#[cfg(test)]
impl HttpSettings {
    /// For tests: no bound but that of idle connections to a host.
    pub(crate) fn plain(max_idle_connections_per_host: usize) -> Self {
        let tls = TlsSettings::plain();
        Self {
            max_connections_per_host: None,
            max_idle_connections: None,
            max_idle_connections_per_host,
            idle_connection_timeout: Duration::from_secs(90),
            proxy: None,
            proxy_tls: Arc::clone(&tls.client),
            tls,
        }
    }
}

impl PartialEq for HttpSettings {
    fn eq(&self, other: &Self) -> bool {
        let connections = |of: &Self| {
            let per_host = (of.max_connections_per_host, of.max_idle_connections_per_host);
            (per_host, of.max_idle_connections, of.idle_connection_timeout)
        };
        connections(self) == connections(other) && self.proxy == other.proxy && self.tls == other.tls
    }
}

impl fmt::Debug for HttpSettings {
    /// Without the credentials for a proxy.
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

/// Reads the rest of `server.http_client`, and `server.tls`. `needs_tls` says whether any target or
/// provider is https.
pub fn read(server: &Section<'_>, needs_tls: bool) -> Option<HttpSettings> {
    let client = server.key("http_client").section("HttpClient");
    let count = |name, default| {
        Some(size(client.key(name).count(CONNECTIONS).or(default))).filter(|count| *count > 0)
    };
    let idle = |name| client.key(name).duration(IDLE).or(Duration::from_secs(90));
    let max_connections_per_host = count("max_connections_per_host", 0);
    let max_idle_connections = count("max_idle_connections", 0);
    let max_idle_connections_per_host = count("max_idle_connections_per_host", 256).unwrap_or(256);
    let idle_connection_timeout = idle("idle_connection_timeout");
    let proxy = proxy(&client.key("proxy"));
    let (tls, proxy_tls) = tls::of_server(&server.key("tls").section("Tls"), needs_tls)?;
    Some(HttpSettings {
        max_connections_per_host,
        max_idle_connections,
        max_idle_connections_per_host,
        idle_connection_timeout,
        proxy,
        tls,
        proxy_tls,
    })
}

fn proxy(key: &Key<'_>) -> Option<Url> {
    let text = key.text().shown(|text| shown(text)).get().filter(|text| !text.is_empty())?;
    proxy_url(key, &text)
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

/// The paths of a certificate and of its key, both of which must be set and can be opened. Within `Some`
/// there is nothing if one of them is missing.
pub(crate) fn identity<'d>(
    cert: &Found<'d, String>,
    key: &Found<'d, String>,
) -> Option<Option<(PathBuf, PathBuf)>> {
    for file in [cert, key].into_iter().filter(|file| !file.is_set()) {
        file.key.missing();
    }
    if !cert.is_set() || !key.is_set() {
        return Some(None);
    }
    Some(Some((cert.open(Holds::Certificates)?.1, key.open(Holds::Secret)?.1)))
}

/// What was made of the files that `section` names; reports one that cannot be used.
pub(crate) fn usable<T>(section: &Section<'_>, made: Result<T, TlsError>) -> Option<T> {
    let told = |error: TlsError| match error {
        TlsError::RootCa(text) => section.key("root_ca").error(text),
        TlsError::Cert(text) => section.key("cert").error(text),
        TlsError::Key(text) => section.key("key").error(text),
        TlsError::System(text) => section.error(text),
    };
    made.map_err(told).ok()
}

/// The URL `text`, the value of `key`: http or https, with a host.
pub(crate) fn url(key: &Key<'_>, text: &str) -> Option<Url> {
    let message = match Url::parse(text) {
        // Url::parse would drop them in silence.
        _ if text.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            "a URL holds no blanks and no control characters".to_owned()
        }
        _ if text.strip_suffix(HIDDEN).is_some_and(|start| start.ends_with('?')) => DUMPED.to_owned(),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            "a URL begins with http:// or https://".to_owned()
        }
        Err(url::ParseError::RelativeUrlWithoutBase) => "a URL begins with http:// or https://".to_owned(),
        Err(error) => format!("not a URL: {error}"),
        Ok(url) if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) => {
            "the URL needs a host, and a port that is not 0".to_owned()
        }
        Ok(url) => return Some(url),
    };
    key.error(message);
    None
}

/// The same without a user name, a password and a fragment; `hint` says where credentials belong.
pub(crate) fn plain_url(key: &Key<'_>, text: &str, hint: Option<&'static str>) -> Option<Url> {
    let url = url(key, text)?;
    if !url.username().is_empty() || url.password().is_some() {
        let told = key.error("the URL must not hold a user name or password");
        if let Some(hint) = hint {
            told.hint(hint);
        }
    } else if url.fragment().is_some() {
        key.error("the URL must not hold a fragment (`#`): it would not be sent");
    } else {
        return Some(url);
    }
    None
}

/// Warns if `url` is asked without TLS beyond this host; `what` could be read on the way.
pub(crate) fn warn_of_plain_http(key: &Key<'_>, url: &Url, what: &str) {
    if url.scheme() == "http" && !is_loopback(url) {
        key.warning(format!("{what} go over the network without TLS")).hint("write https://");
    }
}

/// The URL `text` as the effective configuration shows it: without user, password, query and fragment.
#[must_use]
pub(crate) fn shown(text: &str) -> String {
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
    // A URL without a host has no credentials that could be taken away.
    if !is_bare && (url.set_username("").is_err() || url.set_password(None).is_err()) {
        return HIDDEN.to_owned();
    }
    if is_cut { format!("{url}?{HIDDEN}") } else { url.into() }
}

/// The value of `Authorization` for `user:password`, the value of `key`.
pub(crate) fn basic_authorization(key: &Key<'_>, pair: &str) -> Option<HeaderValue> {
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
