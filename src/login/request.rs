//! The body of a password login: the JSON that Nauthilus takes at `/api/v1/auth/json`.

use hyper::body::Bytes;
use serde_json::{Map, Value};

use super::LoginSettings;
use crate::http::compress;
use crate::model::Login;
use crate::model::secret::Secret;

/// Every member is a string, in the order of the alphabet; what is not known is left out.
pub(super) fn body(settings: &LoginSettings, login: &Login, user: &str, password: &Secret) -> Bytes {
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
    if settings.request.compress_request { compress::deflate(&body).into() } else { body.into() }
}
