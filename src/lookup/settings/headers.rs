//! What all requests of an entry carry: `custom_headers`, `http_auth_basic`, compression, and
//! `backend_oidc_auth`.
//!
//! No header's value reaches a message, and none is shown by `Debug`.

use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
};

use crate::document::{Key, Kind, Section, not_dumped};
use crate::http::settings::basic_authorization;
use crate::observe::redact::REDACTED;
use crate::oidc;
use crate::oidc::ClientSettings;

/// Headers of HTTP's framing or of one connection: the HTTP client sets them.
pub(super) const OF_CLIENT: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the requests of an entry have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSettings {
    /// `custom_headers`, `http_auth_basic`, those for gzip; `Content-Type` is application/json by default.
    pub headers: HeaderMap,
    /// `http_request_compression`: the body is sent as gzip.
    pub compress_request: bool,
    /// `http_response_compression`: the answer may be gzip.
    pub compress_response: bool,
    /// `backend_oidc_auth`, if enabled.
    pub bearer: Option<Box<ClientSettings>>,
}

/// Reads what the requests of an entry carry; `has_body` says whether they have a body.
pub(crate) fn request(entry: &Section<'_>, has_body: bool) -> RequestSettings {
    let mut headers = custom(&entry.key("custom_headers"));
    let bearer = credentials(entry, &mut headers);
    let compress_request = entry.key("http_request_compression").flag().or(false);
    let compress_response = entry.key("http_response_compression").flag().or(false);
    if compress_request && !has_body {
        entry.key("http_request_compression").warning("has no effect: a GET has no body");
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let compress_request = compress_request && has_body;
    let gzip = HeaderValue::from_static("gzip");
    if compress_request {
        headers.insert(CONTENT_ENCODING, gzip.clone());
    }
    if compress_response {
        headers.insert(ACCEPT_ENCODING, gzip);
    }
    RequestSettings { headers, compress_request, compress_response, bearer }
}

/// Reads what the calls of an entry with `transport: grpc` carry besides `metadata`.
pub(crate) fn grpc_request(entry: &Section<'_>, metadata: HeaderMap) -> RequestSettings {
    let custom_headers = entry.key("custom_headers");
    custom(&custom_headers);
    if custom_headers.is_set() {
        let told = custom_headers.key_error("cannot hold with `transport: grpc`");
        told.hint("write them in `grpc.metadata`");
    }
    let mut headers = metadata;
    let bearer = credentials(entry, &mut headers);
    RequestSettings { headers, compress_request: false, compress_response: false, bearer }
}

/// Reads `http_auth_basic`, which becomes one of `headers`, and `backend_oidc_auth`.
fn credentials(entry: &Section<'_>, headers: &mut HeaderMap) -> Option<Box<ClientSettings>> {
    let pair = entry.secret("http_auth_basic", "http_auth_basic_file");
    let bearer = oidc::settings::backend(entry).map(Box::new);
    if let Some(secret) = pair.read() {
        let key = pair.key();
        if bearer.is_some() {
            key.key_error("`backend_oidc_auth` is enabled as well; only one of them can hold");
        }
        if headers.contains_key(AUTHORIZATION) {
            key.key_error("`custom_headers` hold an `Authorization` as well; only one of them can hold");
        }
        if let Some(value) = basic_authorization(key, secret.expose()) {
            headers.insert(AUTHORIZATION, value);
        }
    }
    if bearer.is_some() {
        // The token takes its place, also while there is none.
        headers.remove(AUTHORIZATION);
    }
    bearer
}

/// Reads `custom_headers`: those of `defaults`, but for the ones that the entry has as well, and its own.
fn custom(key: &Key<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for layer in key.each_layer().iter().rev() {
        let nearer = lines(layer);
        for name in nearer.keys() {
            headers.remove(name);
        }
        for (name, value) in &nearer {
            headers.append(name, value.clone());
        }
    }
    key.note_sum(headers.keys().map(|name| format!("{name}: {REDACTED}")));
    headers
}

fn lines(key: &Key<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for item in key.list(Kind::Text) {
        let line = item.hidden_text().read_as(|line| header(&line));
        let Some((name, value)) = line.get() else { continue };
        let once = [HOST, CONTENT_TYPE, AUTHORIZATION].contains(&name);
        if once && headers.contains_key(&name) {
            item.error(format!("`{name}` is a duplicate"));
        } else {
            headers.append(name, value);
        }
    }
    headers
}

/// Reads `Name: value`. Messages hold the name at most.
fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err("a header is written `Name: value`".to_owned());
    };
    let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes()) else {
        return Err("the text before the `:` is not a header's name".to_owned());
    };
    if OF_CLIENT.contains(&name.as_str()) {
        return Err(format!("`{name}` cannot be set: the HTTP client sets it"));
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("`{name}` has no value"));
    }
    not_dumped(&value)?;
    let Ok(mut value) = HeaderValue::from_str(value) else {
        return Err(format!("the value of `{name}` must be printable ASCII"));
    };
    value.set_sensitive(true);
    Ok((name, value))
}
