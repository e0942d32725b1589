//! HTTP exchanges with a provider. Failures are logged once a minute each, never with the content of a
//! message.

use std::fmt;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use tracing::{debug, warn};
use url::Url;

use super::json::{self, JsonObject};
use crate::http::{Host, Http, Reply, Request, path_of};
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::metrics::{Calls, Component};
use crate::observe::warnings::RateLimitedWarnings;

/// Error codes that are logged (RFC 6749 5.2); others are not.
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

#[derive(Debug)]
pub(super) struct ProviderHttp {
    pub(super) http: Arc<Http>,
    /// Of its discovery document.
    origin: String,
    pub(super) calls: ProviderCalls,
    warnings: RateLimitedWarnings,
    last_error: Mutex<Option<String>>,
    remarked: Once,
}

#[derive(Debug)]
pub(super) struct ProviderCalls {
    pub(super) discovery: Arc<Calls>,
    pub(super) token: Arc<Calls>,
    pub(super) introspection: Arc<Calls>,
    pub(super) keys: Arc<Calls>,
}

/// The URL of an endpoint, also as it was written, because that is the audience of an assertion. It holds the
/// connections to its origin.
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

pub(super) struct Form {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: String,
    /// Whether it may be sent once more if a kept connection fails.
    pub(super) repeatable: bool,
}

impl ProviderHttp {
    pub(super) fn new(http: Arc<Http>, configuration_uri: &Url) -> Self {
        let calls = |name, method| http.metrics().calls(Component::Oidc, name, method);
        Self {
            origin: configuration_uri.origin().ascii_serialization(),
            calls: ProviderCalls {
                discovery: calls("discovery", "GET"),
                token: calls("token", "POST"),
                introspection: calls("introspection", "POST"),
                keys: calls("jwks", "GET"),
            },
            http,
            warnings: RateLimitedWarnings::default(),
            last_error: Mutex::default(),
            remarked: Once::new(),
        }
    }

    /// Makes `address` hold existing connections to its origin.
    pub(super) fn keep(&self, address: &EndpointUrl) {
        if let Some(host) = self.http.known_host(&address.url) {
            let _ = address.host.set(host);
        }
    }

    /// Gets the JSON object at `address`. Failures are logged; `what` names the request.
    pub(super) async fn get(
        &self,
        what: &str,
        calls: &Calls,
        address: &EndpointUrl,
        deadline: Deadline,
    ) -> Option<JsonObject> {
        self.object(what, self.exchange(calls, address, None, deadline).await)
    }

    /// Posts `form` to `address`, or gets it, and counts that in `calls`.
    pub(super) async fn exchange(
        &self,
        calls: &Calls,
        address: &EndpointUrl,
        form: Option<Form>,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let host = address.host.get_or_init(|| self.http.host(&address.url));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let method = if form.is_some() { Method::POST } else { Method::GET };
        if form.is_some() {
            let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, urlencoded);
        }
        let form = form.unwrap_or(Form { authorization: None, body: String::new(), repeatable: true });
        let request = Request {
            method,
            path: path_of(&address.url),
            headers: &host.headers(&headers),
            own: &[],
            authorization: form.authorization,
            body: form.body.into(),
            repeatable: form.repeatable,
        };
        host.exchange(&request, calls, deadline).await.map_err(Failure::from)
    }

    /// The JSON object in an answer with status 200; anything else is logged. `what` names the request.
    pub(super) fn object(&self, what: &str, reply: Result<Reply, Failure>) -> Option<JsonObject> {
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                self.report(format_args!("{what}: {failure} ({})", failure.class()));
                return None;
            }
        };
        if reply.status != 200 {
            // At endpoints with client authentication these are about our client (RFC 6749 5.2).
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

    pub(super) fn report(&self, trouble: fmt::Arguments<'_>) {
        let trouble = trouble.to_string();
        if self.warnings.is_due(&trouble) {
            warn!(provider = self.origin, trouble, "trouble with an identity provider");
        } else {
            debug!(provider = self.origin, trouble, "trouble with an identity provider");
        }
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes for `query --trace` why a request gets no token or no decision. Much of what is fetched is fetched in a
    /// task of its own, which has no trace.
    pub(super) fn explain(&self) {
        explain::note(|| {
            let trouble = self.last_error().unwrap_or_else(|| "no complete answer in time".to_owned());
            format!("provider: {}: {trouble}", self.origin)
        });
    }

    /// Logs a deviation that does no harm, once.
    pub(super) fn remark(&self, remark: &str) {
        self.remarked.call_once(|| {
            warn!(
                provider = self.origin,
                remark, "an identity provider has an unusual issuer; its tokens are accepted"
            );
        });
    }
}
