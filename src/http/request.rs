//! A request, and the complete response to it.

use std::time::Instant;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use url::{Position, Url};

/// A request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// GET or POST.
    pub method: hyper::Method,
    /// Path and query, from `/` on.
    pub path: PathAndQuery,
    /// Its headers.
    pub headers: &'a Headers,
    /// Headers that no other request has; where `headers` have one of these, too, that one holds.
    pub own: &'a [(HeaderName, HeaderValue)],
    /// Takes the place of any `Authorization` (RFC 6750 2.1).
    pub authorization: Option<HeaderValue>,
    /// Its body; empty for GET.
    pub body: Bytes,
    /// Whether it may be sent once more when a kept connection fails. What may not goes out on a
    /// connection that is sure to be alive: a new one, or one that was used a second ago.
    pub repeatable: bool,
}

/// The headers that all requests of one kind have, complete but for `Content-Length`: made once, by
/// [`Host::headers`].
#[derive(Debug, Clone)]
pub struct Headers(pub(super) HeaderMap);

/// Path and query of `url`, as a request names them.
#[must_use]
pub fn path_of(url: &Url) -> PathAndQuery {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    // Whatever a URL holds there is fit for a request.
    path.parse().unwrap_or(PathAndQuery::from_static("/"))
}

impl Request<'_> {
    /// All its headers, for one time that it is sent.
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
    /// When it was complete.
    pub at: Instant,
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, as it was sent.
    pub body: Vec<u8>,
}
