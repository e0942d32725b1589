//! What the endpoint for Prometheus answers: the metrics, the status page, the health check.
//!
//! `/healthz` is always there, and without credentials: a load balancer or a container asks it, and it says one
//! word. Everything else needs the credentials before the path is looked at.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::Current;
use super::page;
use super::prometheus::PreparedSettings;
use super::settings::{HEALTH_PATH, STATUS_PATH};
use super::text;
use crate::observe::metrics::Readiness;

/// The answer to one request. Its body is not read.
pub(super) fn reply<B>(
    request: &Request<B>,
    served: &PreparedSettings,
    current: &Current,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let settings = &served.settings;
    if path != HEALTH_PATH && !served.admits(request.headers().get(AUTHORIZATION)) {
        let realm = HeaderValue::from_static("Basic realm=\"pfxhttp metrics\"");
        return refusal(StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, realm);
    }
    let is_page = settings.status_page && path == STATUS_PATH;
    if path != HEALTH_PATH && !is_page && path != settings.path {
        return with(StatusCode::NOT_FOUND, "text/plain", String::new());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if path == HEALTH_PATH {
        let (status, word) = match (current.readiness)() {
            Readiness::Ready => (StatusCode::OK, "ok\n"),
            Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        };
        return with(status, "text/plain", word.to_owned());
    }
    if !is_page {
        let families = (current.families)(settings.runtime);
        return with(StatusCode::OK, text::CONTENT_TYPE, text::encode(&families));
    }
    let (status, readiness) = ((current.status)(), (current.readiness)());
    let html = page::page(&status, readiness, request.uri().query(), &settings.path);
    let mut reply = with(StatusCode::OK, page::CONTENT_TYPE, html);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, page::POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(resource, HeaderValue::from_static("same-origin"));
    reply
}

fn with(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

fn refusal(status: StatusCode, header: HeaderName, value: HeaderValue) -> Response<Full<Bytes>> {
    let mut reply = with(status, "text/plain", String::new());
    reply.headers_mut().insert(header, value);
    reply
}
