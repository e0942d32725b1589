//! `server.http_client`, `server.tls`, and the URLs that both and entries name.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use serde_yaml::Value;
use url::Url;

use super::block;
use super::file::{self, Holds};
use super::keys::Block;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use crate::http::HttpSettings;
use crate::http::tls::{self, Identity, Trust};

/// The ranges of the Go program.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const IDLE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const CONNECTIONS: RangeInclusive<u64> = 0..=16384;

/// Resolves both blocks of `server`, which stands at `path`; besides the default of an entry's
/// `timeout`. `is_used` says whether anything is asked over TLS.
pub(super) fn settings(
    report: &mut Report<'_>,
    client: Option<&Value>,
    tls: Option<&Value>,
    path: &KeyPath,
    is_used: bool,
) -> (Option<HttpSettings>, Duration) {
    let tls_inputs = tls_inputs(report, tls, is_used);
    let tls = tls_config(report, tls, &path.key("tls"), is_used);
    let path = path.key("http_client");
    let raw: raw::HttpClient = block::read(report, client, &path, Block::HttpClient).unwrap_or_default();
    let timeout = scalar::duration(report, &path.key("timeout"), raw.timeout.as_ref(), TIMEOUT);
    let idle = raw.idle_connection_timeout;
    let idle = scalar::duration(report, &path.key("idle_connection_timeout"), idle.as_ref(), IDLE);
    let mut count = |key: &str, count: Option<raw::Count>| {
        let number = scalar::number(report, &path.key(key), count, CONNECTIONS).filter(|&number| number > 0);
        number.and_then(|number| usize::try_from(number).ok())
    };
    let max_connections_per_host = count("max_connections_per_host", raw.max_connections_per_host);
    let max_idle_connections = count("max_idle_connections", raw.max_idle_connections);
    let per_host = count("max_idle_connections_per_host", raw.max_idle_connections_per_host);
    let proxy = raw.proxy.filter(|text| !text.is_empty());
    let proxy = proxy.and_then(|text| proxy_url(report, &path.key("proxy"), &text));
    let http = tls.map(|tls| HttpSettings {
        max_connections_per_host,
        max_idle_connections,
        max_idle_connections_per_host: per_host.unwrap_or(256),
        idle_connection_timeout: idle.unwrap_or(Duration::from_secs(90)),
        proxy,
        tls,
        tls_inputs,
    });
    (http, timeout.unwrap_or(Duration::from_secs(30)))
}

/// A user name and a password are allowed here: Go's client sends them to the proxy.
fn proxy_url(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<Url> {
    let url = url(report, path, text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        report.value(path, "a proxy's URL ends behind its host and port");
        return None;
    }
    Some(url)
}

/// A URL with http or https, and a host.
pub(super) fn url(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<Url> {
    // Url::parse would drop them in silence.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        report.value(path, "a URL holds no blanks and no control characters");
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            report.value(path, "a URL begins with http:// or https://");
            return None;
        }
        Err(error) => {
            report.value(path, format!("not a URL: {error}"));
            return None;
        }
    };
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        report.value(path, "the URL needs a host, and a port that is not 0");
        return None;
    }
    Some(url)
}

/// A hash of all that `server.tls` is made of. A file that cannot be read is reported elsewhere.
fn tls_inputs(report: &Report<'_>, value: Option<&Value>, is_used: bool) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(&[u8::from(is_used)]);
    for key in ["enabled", "skip_verify", "root_ca", "cert", "key"] {
        let value = block::child(value, key);
        let name = value.and_then(Value::as_str);
        let content = name.and_then(|name| file::content(report.credentials.as_deref(), name));
        let content = content.unwrap_or_default();
        let shown = value.map(|value| format!("{value:?}")).unwrap_or_default();
        for part in [shown.as_bytes(), &content] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let mut inputs = [0; 32];
    inputs.copy_from_slice(hash.finish().as_ref());
    inputs
}

fn tls_config(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    is_used: bool,
) -> Option<Arc<rustls::ClientConfig>> {
    let system = if is_used { Trust::System } else { Trust::SystemLater };
    let raw: raw::Tls = block::read(report, value, path, Block::Tls).unwrap_or_default();
    if !raw.enabled.unwrap_or(false) {
        let set = [
            ("cert", raw.cert.is_some()),
            ("key", raw.key.is_some()),
            ("root_ca", raw.root_ca.is_some()),
            ("skip_verify", raw.skip_verify == Some(true)),
        ];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            report.warning(&path.key(key), "has no effect without `enabled: true`");
        }
        return client(report, path, system, None);
    }
    if let Some(key) = match (&raw.cert, &raw.key) {
        (Some(_), None) => Some("key"),
        (None, Some(_)) => Some("cert"),
        _ => None,
    } {
        report.missing(path, key);
    }
    let has_identity = raw.cert.is_some() && raw.key.is_some();
    let named = [
        ("root_ca", raw.root_ca.as_deref(), Holds::Certificates),
        ("cert", raw.cert.as_deref().filter(|_| has_identity), Holds::Certificates),
        ("key", raw.key.as_deref().filter(|_| has_identity), Holds::Secret),
    ];
    let mut files = [const { None }; 3];
    for (file, (key, name, holds)) in files.iter_mut().zip(named) {
        if let Some(name) = name {
            let (_, name) = file::open(report, &path.key(key), name, holds)?;
            *file = Some(name);
        }
    }
    let [root_ca, cert, key] = &files;
    let identity = cert.as_deref().zip(key.as_deref()).map(|(cert, key)| Identity { cert, key });
    let trust = root_ca.as_deref().map_or(system, Trust::File);
    if raw.skip_verify != Some(true) {
        return client(report, path, trust, identity);
    }
    let problem = report.warning(&path.key("skip_verify"), "whoever answers for a target is believed");
    problem.hint(match raw.root_ca {
        Some(_) => "leave it out, and root_ca says whom to believe",
        None => "name the certificate of its authority in root_ca",
    });
    // A file that is named must be good all the same: it is used as soon as this ends.
    let checked = raw.root_ca.is_none() || client(report, path, trust, identity).is_some();
    if checked { client(report, path, Trust::Anything, identity) } else { None }
}

fn client(
    report: &mut Report<'_>,
    path: &KeyPath,
    trust: Trust<'_>,
    identity: Option<Identity<'_>>,
) -> Option<Arc<rustls::ClientConfig>> {
    let error = match tls::client(trust, identity) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    let at = match &error {
        tls::Error::RootCa(_) => path.key("root_ca"),
        tls::Error::Cert(_) => path.key("cert"),
        tls::Error::Key(_) => path.key("key"),
        tls::Error::System(_) => path.clone(),
    };
    report.value(&at, error.to_string());
    None
}
