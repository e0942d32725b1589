//! A request, and the complete response to it.

use std::time::Instant;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use url::{Position, Url};

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

/// The headers that all requests of an entry share, complete but for `Content-Length`. Made by
/// [`Host::headers`](super::Host::headers).
#[derive(Debug, Clone)]
pub struct Headers(pub(super) HeaderMap);

/// Path and query of `url`, as in a request.
#[must_use]
pub fn path_of(url: &Url) -> PathAndQuery {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    path.parse().unwrap_or(PathAndQuery::from_static("/"))
}

impl Request<'_> {
    pub(super) fn all_headers(&self) -> HeaderMap {
        let mut headers = self.headers.0.clone();
        for (name, value) in self.own {
            headers.entry(name).or_insert_with(|| value.clone());
        }
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
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, still compressed.
    pub body: Vec<u8>,
}
