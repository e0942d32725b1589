//! `transport` and `grpc`.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use url::Url;

use super::headers::OF_CLIENT;
use crate::document::{Key, Kind, Section, no_effect, not_dumped};
use crate::http::ConnectionSettings;
use crate::http::settings::grpc_connection;
use crate::upstream::settings::UpstreamSettings;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const ADDRESS: &str = "must be `host:port`";

/// `grpc` of an entry that has `transport: grpc`.
pub(crate) struct GrpcSettings {
    /// The URL of the call, at `address`; nothing if that is wrong.
    pub(crate) upstream: Option<UpstreamSettings>,
    /// `timeout`, 5 s by default.
    pub(crate) timeout: Duration,
    /// `metadata`, each value sensitive.
    pub(crate) metadata: HeaderMap,
    /// `tls`, and `proxy` of the entry.
    pub(crate) connection: Option<ConnectionSettings>,
}

/// Reads `transport` and `grpc` of an entry; `None`: JSON. `path` is that of the call.
pub(crate) fn grpc(entry: &Section<'_>, path: &str) -> Option<GrpcSettings> {
    let is_grpc = entry.key("transport").choice(&[("json", false), ("grpc", true)]).or(false);
    let block = entry.key("grpc");
    // Without effect it is read all the same, for the faults of its values.
    let section = block.section("Grpc");
    let section = if is_grpc { section } else { section.without_effect() };
    let address = section.key("address").text();
    let timeout = section.key("timeout").duration(TIMEOUT).or(Duration::from_secs(5));
    let metadata = metadata(&section.key("metadata"));
    let tls = section.key("tls").section("GrpcTls");
    if !is_grpc {
        grpc_connection(&entry.without_effect(), &tls);
        let why = "without `transport: grpc`";
        if entry.key("grpc").section("Grpc").key("metadata").is_set() {
            block.key_error(format!("`metadata` cannot hold {why}"));
        } else {
            no_effect(Some(block).filter(Key::is_own), why);
        }
        return None;
    }
    let connection = grpc_connection(entry, &tls);
    let is_plain = connection.as_ref().is_some_and(|connection| connection.tls.is_none());
    let url = address.required().and_then(|address| {
        let url = url(if is_plain { "http" } else { "https" }, &address, path);
        if url.is_none() {
            section.key("address").error(ADDRESS);
        }
        url
    });
    if is_plain && url.as_ref().is_some_and(|url| !crate::http::is_loopback(url)) {
        let told = section.key("address").warning("passwords go over the network without TLS");
        told.hint("set `grpc.tls.enabled: true`");
    }
    Some(GrpcSettings { upstream: url.map(UpstreamSettings::single), timeout, metadata, connection })
}

/// The URL of the call at `host:port`.
fn url(scheme: &str, address: &str, path: &str) -> Option<Url> {
    let (host, port) = address.rsplit_once(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = host.chars().all(|c| c.is_alphanumeric() || ".-_:[]".contains(c));
    if !is_port || !is_host {
        return None;
    }
    let url = Url::parse(&format!("{scheme}://{address}{path}")).ok()?;
    url.host_str().is_some_and(|host| !host.is_empty()).then_some(url)
}

/// Reads `metadata`: that of `defaults`, but for the names that the entry has as well, and its own.
fn metadata(key: &Key<'_>) -> HeaderMap {
    // The kinds of what is set nowhere are recorded, too.
    let mut all = HeaderMap::new();
    for layer in key.each_layer().iter().rev() {
        let mut own = HeaderMap::new();
        for (name, values) in layer.pairs(Kind::List(Box::new(Kind::Word))) {
            let items = values.list(Kind::Word);
            let texts: Vec<_> = items.iter().filter_map(|item| value(item)).collect();
            let name = match metadata_name(&name) {
                Ok(name) if own.contains_key(&name) => Err("this name is there already, in other letters"),
                name => name,
            };
            match name {
                Ok(_) if items.is_empty() => {
                    values.error("needs a list of at least one value");
                }
                Ok(USER_AGENT) if items.len() > 1 => {
                    values.error("`user-agent` has one value");
                }
                Ok(name) => {
                    all.remove(&name);
                    key.note_pair(name.as_str(), &values, texts.len());
                    texts.into_iter().for_each(|text| {
                        own.append(&name, text);
                    });
                }
                Err(why) => {
                    values.error(why);
                }
            }
        }
        for (name, value) in &own {
            all.append(name, value.clone());
        }
    }
    all
}

/// A name without the blanks around it, in small letters.
fn metadata_name(name: &str) -> Result<HeaderName, &'static str> {
    let name = name.trim().to_ascii_lowercase();
    let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(is_legal) {
        return Err("a name of metadata consists of letters, digits, `.`, `_` and `-`");
    }
    if name == "authorization" {
        return Err("`authorization` is that of `http_auth_basic` or `backend_oidc_auth`");
    }
    if name == "traceparent" {
        return Err("`traceparent` is that of `server.observability`, if traces are enabled");
    }
    let is_of_client =
        OF_CLIENT.contains(&&*name) || [CONTENT_TYPE, HOST].iter().any(|own| own.as_str() == name);
    if name.starts_with("grpc-") || name.ends_with("-bin") || is_of_client {
        return Err("this name cannot be set: gRPC reserves it");
    }
    name.parse().map_err(|_| "is no name of metadata")
}

fn value(item: &Key<'_>) -> Option<HeaderValue> {
    let read = item.hidden_word().check(not_dumped).read_as(|text| {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.trim().is_empty();
        let value = is_printable.then(|| HeaderValue::from_str(&text).ok()).flatten();
        value.ok_or("a value of metadata is printable ASCII, and not empty")
    });
    let mut value = read.get()?;
    value.set_sensitive(true);
    Some(value)
}
