//! The request of a password login: the JSON that Nauthilus takes at `/api/v1/auth/json`.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use serde_json::{Map, Value};
use url::Position;

use super::Settings;
use crate::ask::Login;
use crate::exchange::{Request, compress};
use crate::secret::Secret;
use crate::target::Asker;
use crate::target::request::{REQUEST_ID, request_id};

/// The body: every member a string, in the order of the alphabet; what is not known is left out.
pub(super) fn body(settings: &Settings, login: &Login, user: &str, password: &Secret) -> Bytes {
    let peer = &login.peer;
    let default_port = settings.default_local_port.map(|port| port.to_string()).unwrap_or_default();
    let local_port = if peer.local_port.is_empty() { &default_port } else { &peer.local_port };
    let mut members = Map::new();
    let mut member = |name: &str, value: &str| members.insert(name.to_owned(), Value::from(value));
    member("username", user);
    member("password", password.expose());
    member("protocol", &peer.service);
    member("method", login.mechanism.name());
    let known = [
        ("client_ip", peer.client_ip.as_str()),
        ("client_port", peer.client_port.as_str()),
        ("local_ip", peer.local_ip.as_str()),
        ("local_port", local_port),
        ("ssl", if peer.secured { "on" } else { "" }),
        ("ssl_protocol", peer.ssl_protocol.as_str()),
        ("ssl_cipher", peer.ssl_cipher.as_str()),
        ("client_id", peer.client_id.as_str()),
    ];
    for (name, value) in known.into_iter().filter(|(_, value)| !value.is_empty()) {
        member(name, value);
    }
    // A map of strings is always JSON.
    let body = serde_json::to_vec(&members).unwrap_or_default();
    if settings.compress_request { compress::deflate(&body).into() } else { body.into() }
}

/// The request around it. A password is sent once.
pub(super) fn request<'s>(settings: &'s Settings, body: Bytes, asker: &Asker) -> Request<'s> {
    let mut headers = settings.headers.clone();
    if let Ok(value) = HeaderValue::from_str(&request_id(asker)) {
        headers.entry(REQUEST_ID).or_insert(value);
    }
    if settings.compress_request {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if settings.compress_response {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let path = &settings.url[Position::BeforePath..Position::AfterQuery];
    Request { method: Method::POST, path, headers, body, repeatable: false }
}
