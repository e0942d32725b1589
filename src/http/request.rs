//! A request, and the complete response to it.

use std::time::Instant;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, Entry, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use url::{Position, Url};

use crate::model::grpc;

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
pub struct Headers(pub(super) HeaderMap);

impl Headers {
    /// With places for `names`, each of which every request has in [`Request::own`], or `Content-Length`. A copy
    /// of a map has no room for more than it holds: without places the map of each request would grow.
    #[must_use]
    pub fn with_places(mut self, names: &[HeaderName]) -> Self {
        for name in names {
            self.0.entry(name).or_insert(HeaderValue::from_static(""));
        }
        self
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
        let status = self.headers.get("grpc-status").and_then(|status| status.to_str().ok());
        status.and_then(|status| status.parse().ok()).unwrap_or(grpc::UNKNOWN)
    }
}

impl Request<'_> {
    pub(super) fn all_headers(&self) -> HeaderMap {
        let mut headers = self.headers.0.clone();
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
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, still compressed.
    pub body: Vec<u8>,
}
