//! The body of a password login: the JSON that Nauthilus takes at `/api/v1/auth/json`.

use hyper::body::Bytes;

use super::LoginSettings;
use crate::http::compress;
use crate::lookup::json;
use crate::model::Login;
use crate::model::secret::Secret;

/// These are always sent. Of the others, those that are not empty.
const ALWAYS: [&str; 4] = ["method", "password", "protocol", "username"];

/// An object of strings, in the order of the alphabet.
pub(super) fn body(settings: &LoginSettings, login: &Login, user: &str, password: &Secret) -> Bytes {
    let peer = &login.peer;
    let default_port = settings.default_local_port.map(|port| port.to_string()).unwrap_or_default();
    let members = [
        ("client_id", peer.client_id.as_str()),
        ("client_ip", &peer.client_ip),
        ("client_port", &peer.client_port),
        ("local_ip", &peer.local_ip),
        ("local_port", if peer.local_port.is_empty() { &default_port } else { &peer.local_port }),
        ("method", login.mechanism.name()),
        ("password", password.expose()),
        ("protocol", &peer.service),
        ("ssl", if peer.secured { "on" } else { "" }),
        ("ssl_cipher", &peer.ssl_cipher),
        ("ssl_protocol", &peer.ssl_protocol),
        ("username", user),
    ];
    let sent = members.iter().filter(|(name, value)| !value.is_empty() || ALWAYS.contains(name));
    let mut body = Vec::with_capacity(512);
    for (name, value) in sent {
        body.extend_from_slice(if body.is_empty() { b"{\"" } else { b",\"" });
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(b"\":");
        json::string(value, &mut body);
    }
    body.push(b'}');
    if settings.request.compress_request { compress::deflate(&body).into() } else { body.into() }
}
