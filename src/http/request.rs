//! A request, and the complete response to it.

use std::time::Instant;

use hyper::body::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION,
};
use hyper::http::uri::PathAndQuery;
use url::{Position, Url};

use super::fields::Fields;
use crate::model::grpc;

/// Bytes for the rest of a request's head.
const ROOM: usize = 256;

/// One request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// GET or POST.
    pub method: hyper::Method,
    /// Path and query, from `/` on.
    pub path: PathAndQuery,
    /// The headers that all requests of an entry share.
    pub headers: &'a Headers,
    /// Headers of this request alone. One that is also in `headers` has no effect.
    pub own: &'a [(HeaderName, HeaderValue)],
    /// Replaces any `Authorization` (RFC 6750 2.1).
    pub authorization: Option<HeaderValue>,
    /// The body; empty for GET.
    pub body: Bytes,
    /// Whether it may be sent once more if a kept connection fails. If not, it is sent on a new connection,
    /// or on one that was used less than a second ago.
    pub repeatable: bool,
}

/// The headers that all requests of an entry share. Made by [`Host::headers`](super::Host::headers). An empty
/// value is a place that each request fills.
#[derive(Debug, Clone, PartialEq)]
pub struct Headers {
    pub(super) map: HeaderMap,
    /// Their lines, without those of `Authorization` and of places.
    lines: Vec<u8>,
}

impl Headers {
    pub(super) fn new(map: HeaderMap) -> Self {
        Self { lines: lines(&map, &[]), map }
    }

    /// Whether they end the connection after the answer (RFC 9112 9.6).
    pub(super) fn close(&self) -> bool {
        self.map.get(CONNECTION).is_some_and(|option| option.as_bytes().eq_ignore_ascii_case(b"close"))
    }

    /// With places for `names`, each of which every request has in [`Request::own`], or `Content-Length`. A copy
    /// of a map has no room for more than it holds: without places the map of each call of gRPC would grow.
    #[must_use]
    pub fn with_places(mut self, names: &[HeaderName]) -> Self {
        for name in names {
            self.map.entry(name).or_insert(HeaderValue::from_static(""));
        }
        Self { lines: lines(&self.map, names), ..self }
    }
}

/// The lines of `map`, but for `Authorization`, and for empty ones of the names `places`. `Host` is the first, as
/// RFC 9110 7.2 asks for.
fn lines(map: &HeaderMap, places: &[HeaderName]) -> Vec<u8> {
    let mut lines = Vec::new();
    let host = map.get(HOST).map(|host| (&HOST, host));
    for (name, value) in host.into_iter().chain(map.iter().filter(|(name, _)| **name != HOST)) {
        if *name != AUTHORIZATION && !(value.is_empty() && places.contains(name)) {
            line(&mut lines, name.as_str(), value.as_bytes());
        }
    }
    lines
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Path and query of `url`, as in a request.
#[must_use]
pub fn path_of(url: &Url) -> PathAndQuery {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    path.parse().unwrap_or(PathAndQuery::from_static("/"))
}

impl Reply {
    /// The status of a call of gRPC; one that is no number is `UNKNOWN`.
    #[must_use]
    pub fn grpc_status(&self) -> u16 {
        self.headers.text("grpc-status").and_then(|status| status.parse().ok()).unwrap_or(grpc::UNKNOWN)
    }
}

impl Request<'_> {
    /// The whole request, as it is sent (RFC 9112 3). `target` is the parts of its target.
    pub(super) fn encode(&self, target: [&str; 2], proxy_authorization: Option<&HeaderValue>) -> Vec<u8> {
        let Headers { map, lines } = self.headers;
        let mut out = Vec::with_capacity(lines.len() + self.body.len() + target[1].len() + ROOM);
        for part in [self.method.as_str(), " ", target[0], target[1], " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(lines);
        for (name, value) in self.own {
            if map.get(name).is_none_or(HeaderValue::is_empty) {
                line(&mut out, name.as_str(), value.as_bytes());
            }
        }
        let lacks = |name: HeaderName| !map.contains_key(name);
        if let Some(value) = proxy_authorization.filter(|_| lacks(PROXY_AUTHORIZATION)) {
            line(&mut out, PROXY_AUTHORIZATION.as_str(), value.as_bytes());
        }
        if let Some(value) = self.authorization.as_ref().or_else(|| map.get(AUTHORIZATION)) {
            line(&mut out, AUTHORIZATION.as_str(), value.as_bytes());
        }
        if !self.body.is_empty() || self.method == hyper::Method::POST {
            let mut length = itoa::Buffer::new();
            line(&mut out, CONTENT_LENGTH.as_str(), length.format(self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }

    /// All headers of a call of gRPC.
    pub(super) fn all_headers(&self) -> HeaderMap {
        let mut headers = self.headers.map.clone();
        for (name, value) in self.own {
            match headers.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value.clone());
                }
                Entry::Occupied(mut place) if place.get().is_empty() => {
                    place.insert(value.clone());
                }
                Entry::Occupied(_) => {}
            }
        }
        match self.body.len() {
            0 => headers.remove(CONTENT_LENGTH),
            length => headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        };
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }
}

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// The time at which it was complete.
    pub at: Instant,
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Fields,
    /// The whole body, still compressed.
    pub body: Vec<u8>,
}
