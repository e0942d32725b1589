//! A request, and the complete response to it.

use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use hyper::body::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION,
};
use hyper::http::uri::PathAndQuery;
use url::{Position, Url};

use super::answer::has_option;
use super::fields::Fields;
use crate::model::grpc;

/// Bytes for the rest of a request's head.
const ROOM: usize = 256;
/// A longer body is not copied behind the head: it may be many times as long as what Postfix sent.
const MAX_COPIED: usize = 16 * 1024;

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
#[derive(Debug, Clone)]
pub struct Headers {
    pub(super) map: HeaderMap,
    /// Their lines, without those of `Authorization` and of places.
    lines: Vec<u8>,
    authorization: Option<HeaderValue>,
    closes: bool,
}

impl Headers {
    pub(super) fn new(map: HeaderMap) -> Self {
        Self::of(map, &[])
    }

    /// What each request needs is searched here, once.
    fn of(map: HeaderMap, places: &[HeaderName]) -> Self {
        let mut connection = map.get_all(CONNECTION).iter();
        let closes = connection.any(|value| has_option(value.as_bytes(), b"close"));
        Self { lines: lines(&map, places), authorization: map.get(AUTHORIZATION).cloned(), closes, map }
    }

    /// The same for equal headers in the same order, places included.
    pub(super) fn id(&self) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        let fields = self.map.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        for part in fields.chain([&*self.lines]) {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut id = [0; 32];
        id.copy_from_slice(hash.finish().as_ref());
        id
    }

    /// Whether they end the connection after the answer (RFC 9112 9.6).
    pub(super) fn close(&self) -> bool {
        self.closes
    }

    /// With places for `names`, each of which every request has in [`Request::own`], or `Content-Length`. A copy
    /// of a map has no room for more than it holds: without places the map of each call of gRPC would grow.
    #[must_use]
    pub fn with_places(mut self, names: &[HeaderName]) -> Self {
        for name in names {
            self.map.entry(name).or_insert(HeaderValue::from_static(""));
        }
        Self::of(self.map, names)
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
    /// The request, as it is sent (RFC 9112 3), and what of its body follows. `target` is the parts of its target.
    pub(super) fn encode(
        &self,
        target: [&str; 2],
        proxy_authorization: Option<&HeaderValue>,
    ) -> (Vec<u8>, Bytes) {
        let is_copied = self.body.len() <= MAX_COPIED;
        let copied = if is_copied { &*self.body } else { &[] };
        let Headers { map, lines, authorization, .. } = self.headers;
        let authorization = self.authorization.as_ref().or(authorization.as_ref());
        // A buffer that grows would leave a part of a password behind.
        let own: usize = self.own.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let credentials = [proxy_authorization, authorization];
        let credentials: usize = credentials.into_iter().flatten().map(HeaderValue::len).sum();
        let target_length = target[0].len() + target[1].len();
        let mut out =
            Vec::with_capacity(lines.len() + own + credentials + copied.len() + target_length + ROOM);
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
        if let Some(value) = authorization {
            line(&mut out, AUTHORIZATION.as_str(), value.as_bytes());
        }
        if !self.body.is_empty() || self.method == hyper::Method::POST {
            let mut length = itoa::Buffer::new();
            line(&mut out, CONTENT_LENGTH.as_str(), length.format(self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(copied);
        (out, if is_copied { Bytes::new() } else { self.body.clone() })
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

#[cfg(test)]
mod tests {
    use super::super::{Http, HttpSettings};
    use super::*;
    use hyper::Method;
    use std::sync::Arc;

    fn named(name: &'static str, value: &str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    }

    #[test]
    fn a_request_is_its_lines_and_its_body() {
        let map = HeaderMap::from_iter([
            named("accept", "*/*"),
            named("authorization", "Basic b2xk"),
            named("host", "api.example"),
            named("x-place", ""),
        ]);
        let headers = Headers::new(map).with_places(&[HeaderName::from_static("x-place")]);
        let own = [named("x-place", "here"), named("accept", "no effect")];
        let (path, authorization) =
            (PathAndQuery::from_static("/a?b"), HeaderValue::from_static("Bearer new"));
        let body = Bytes::from_static(b"{}");
        let mut request = Request {
            method: Method::POST,
            path,
            headers: &headers,
            own: &own,
            authorization: Some(authorization),
            body,
            repeatable: true,
        };
        let proxy = HeaderValue::from_static("Basic cHJveHk=");
        let (encoded, _) = request.encode(["http://api.example", "/a?b"], Some(&proxy));
        let due = "POST http://api.example/a?b HTTP/1.1\r\nhost: api.example\r\naccept: */*\r\nx-place: here\r\n\
                   proxy-authorization: Basic cHJveHk=\r\nauthorization: Bearer new\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8_lossy(&encoded), due);
        (request.method, request.body, request.authorization) = (Method::GET, Bytes::new(), None);
        let (encoded, _) = request.encode(["", "/a?b"], None);
        let due = "GET /a?b HTTP/1.1\r\nhost: api.example\r\naccept: */*\r\nx-place: here\r\n\
                   authorization: Basic b2xk\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&encoded), due);
        request.method = Method::POST;
        assert!(request.encode(["", "/"], None).0.ends_with(b"\r\ncontent-length: 0\r\n\r\n"));
        for (length, follows) in [(MAX_COPIED, 0), (MAX_COPIED + 1, MAX_COPIED + 1)] {
            request.body = vec![b'x'; length].into();
            let (encoded, rest) = request.encode(["", "/"], None);
            assert!(encoded.len() < length - follows + 200 && rest.len() == follows);
            assert_eq!(encoded.ends_with(b"x"), follows == 0);
        }
    }

    /// What a buffer leaves behind when it grows is not wiped.
    #[test]
    fn the_memory_of_a_request_is_taken_once() {
        let headers = Headers::new(HeaderMap::new());
        let long = "p".repeat(8192);
        let own = [named("auth-user", "u"), named("auth-pass", &long), named("auth-more", &long)];
        let authorization = Some(HeaderValue::from_str(&long).expect("a value"));
        let (path, body) = (PathAndQuery::from_static("/"), Bytes::from(long.clone()));
        let method = Method::POST;
        let request =
            Request { method, path, headers: &headers, own: &own, authorization, body, repeatable: false };
        let (encoded, _) = request.encode(["", "/"], None);
        assert!(
            encoded.len() > 4 * 8192 && encoded.capacity() <= encoded.len() + ROOM,
            "{}",
            encoded.capacity()
        );
    }

    #[test]
    fn equal_headers_are_kept_once() {
        let http = Http::new(HttpSettings::plain(1), &Default::default());
        let of = |value| {
            let map = HeaderMap::from_iter([named("x-tenant", value), named("accept", "*/*")]);
            http.shared(Headers::new(map).with_places(&[HeaderName::from_static("x-tenant")]))
        };
        let (one, other) = (of("a"), of("b"));
        assert!(Arc::ptr_eq(&one, &of("a")) && !Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&other, &of("b")) && !Arc::ptr_eq(&one, &of("")));
        let without = Headers::new(HeaderMap::from_iter([named("x-tenant", ""), named("accept", "*/*")]));
        assert_ne!(without.id(), of("").id(), "an empty value is no place");
    }

    #[test]
    fn the_end_of_a_connection_is_one_of_several_options() {
        for (value, closes) in [("close", true), ("keep-alive, Close", true), ("closed", false), ("", false)]
        {
            let headers = Headers::new(HeaderMap::from_iter([named("connection", value)]));
            assert_eq!(headers.close(), closes, "{value}");
        }
    }
}
