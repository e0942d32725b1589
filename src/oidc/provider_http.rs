//! Talking to a provider, and telling the log when that fails: each trouble once a minute, with
//! what was wrong, and never with what either side said.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use tracing::{debug, warn};
use url::Url;

use super::json::{self, JsonObject};
use crate::http::{Host, Http, Reply, Request, path_of};
use crate::model::{Deadline, Failure};
use crate::observe::metrics::{Calls, Component, Metrics};
use crate::observe::warnings::RateLimitedWarnings;

/// What a provider may say is wrong with us (RFC 6749 5.2); anything else is not repeated.
const CODES: [&str; 6] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
];

fn error_code(reply: &Reply) -> Option<&'static str> {
    let answer = json::answer(&reply.body).ok()?;
    let code = json::text(&answer, "error")?;
    CODES.into_iter().find(|known| *known == code)
}

/// One provider, as somebody to talk to.
#[derive(Debug)]
pub(super) struct ProviderHttp {
    http: Arc<Http>,
    name: String,
    pub(super) calls: ProviderCalls,
    warnings: RateLimitedWarnings,
    last_error: Mutex<Option<String>>,
}

/// What a provider is asked for, each counted by itself.
#[derive(Debug)]
pub(super) struct ProviderCalls {
    pub(super) discovery: Arc<Calls>,
    pub(super) token: Arc<Calls>,
    pub(super) introspection: Arc<Calls>,
    pub(super) keys: Arc<Calls>,
}

impl ProviderCalls {
    fn new(metrics: &Metrics) -> Self {
        let calls = |name, method| metrics.calls(Component::Oidc, name, method);
        Self {
            discovery: calls("discovery", "GET"),
            token: calls("token", "POST"),
            introspection: calls("introspection", "POST"),
            keys: calls("jwks", "GET"),
        }
    }
}

/// Where something is asked: an endpoint, also as it was written, for there it is the audience of an
/// assertion. It holds the connections to its origin, once there are any.
#[derive(Debug)]
pub(super) struct EndpointUrl {
    pub(super) url: Url,
    pub(super) text: String,
    host: OnceLock<Arc<Host>>,
}

impl EndpointUrl {
    pub(super) fn new(url: Url, text: &str) -> Self {
        Self { url, text: text.to_owned(), host: OnceLock::new() }
    }
}

/// What is sent.
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) repeatable: bool,
}

impl Message {
    /// A GET.
    pub(super) fn get() -> Self {
        Self { method: Method::GET, headers: HeaderMap::new(), body: Bytes::new(), repeatable: true }
    }
}

impl ProviderHttp {
    pub(super) fn new(http: Arc<Http>, configuration_uri: &Url) -> Self {
        let name = configuration_uri.host_str().unwrap_or_default().to_owned();
        let calls = ProviderCalls::new(http.metrics());
        Self { http, name, calls, warnings: RateLimitedWarnings::default(), last_error: Mutex::default() }
    }

    /// Where what is asked is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        self.http.metrics()
    }

    /// Whether the host of `url` is no public one.
    pub(super) async fn is_internal(&self, url: &Url) -> bool {
        self.http.is_internal(url).await
    }

    /// Has `address` hold the connections to its origin that others hold now.
    pub(super) fn keep(&self, address: &EndpointUrl) {
        if let Some(host) = self.http.known_host(&address.url) {
            let _ = address.host.set(host);
        }
    }

    fn host<'a>(&self, address: &'a EndpointUrl) -> Result<&'a Host, Failure> {
        if let Some(host) = address.host.get() {
            return Ok(host);
        }
        let host = self.http.host(&address.url).map_err(|_| Failure::Connect)?;
        Ok(address.host.get_or_init(|| host))
    }

    /// Sends `message` to `address`, which is counted in `calls`.
    pub(super) async fn exchange(
        &self,
        calls: &Calls,
        address: &EndpointUrl,
        mut message: Message,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let host = self.host(address)?;
        message.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let request = Request {
            method: message.method,
            path: path_of(&address.url),
            headers: &host.headers(&message.headers),
            own: &[],
            authorization: None,
            body: message.body,
            repeatable: message.repeatable,
        };
        host.exchange(&request, calls, deadline).await
    }

    /// The JSON object in a reply of status 200; anything else is told to the log. `what` was asked.
    pub(super) fn object(&self, what: &str, reply: Result<Reply, Failure>) -> Option<JsonObject> {
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                self.report(format_args!("{what}: {failure} ({})", failure.class()));
                return None;
            }
        };
        if reply.status != 200 {
            // At the endpoints where we name ourselves these are about us (RFC 6749 5.2).
            let code = error_code(&reply).map(|code| format!(" ({code})")).unwrap_or_default();
            let ours = match reply.status {
                400 | 401 | 403 => "; check client_id, client_secret and auth_method",
                _ => "",
            };
            self.report(format_args!("{what}: status {}{code}{ours}", reply.status));
            return None;
        }
        let object = json::answer(&reply.body);
        if object.is_err() {
            self.report(format_args!("{what}: the answer is no JSON object"));
        }
        object.ok()
    }

    /// Tells the log of a trouble.
    pub(super) fn report(&self, trouble: fmt::Arguments<'_>) {
        let trouble = trouble.to_string();
        if self.warnings.is_due(&trouble) {
            warn!(provider = self.name, trouble, "trouble with an identity provider");
        } else {
            debug!(provider = self.name, trouble, "trouble with an identity provider");
        }
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }

    /// What the log was told last.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the log of what is strange, but does no harm.
    pub(super) fn remark(&self, remark: &str) {
        warn!(
            provider = self.name,
            remark, "an identity provider does what others do not; its tokens are taken all the same"
        );
    }
}
