//! A fake identity provider that does what the test tells it. The [`Backend`] in it can hang, break off
//! and answer wrongly. `oidc` has a real provider.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::backend::{Backend, Reply, Request};
use super::jwt::Key;

/// The endpoints of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Discovery,
    Keys,
    Token,
    Introspection,
}

impl Endpoint {
    const ALL: [Self; 4] = [Self::Discovery, Self::Keys, Self::Token, Self::Introspection];

    fn path(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Keys => "/keys",
            Self::Token => "/token",
            Self::Introspection => "/introspect",
        }
    }
}

/// The fields of a form, by name.
pub(crate) type Form = BTreeMap<String, String>;

type Introspect = Arc<dyn Fn(&Form) -> Reply + Send + Sync>;

/// A running provider.
pub(crate) struct FakeProvider {
    /// The server, for `down`, `up`, `release` and `wait_for`.
    pub(crate) backend: Backend,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    document: Mutex<Value>,
    keys: Mutex<Vec<Value>>,
    expires_in: Mutex<Option<u64>>,
    tokens: AtomicU64,
    introspect: Mutex<Option<Introspect>>,
    instead: Mutex<BTreeMap<Endpoint, Reply>>,
    marks: AtomicBool,
}

/// A panic elsewhere must not hide the message of the test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeProvider {
    /// Starts a provider without keys. Its access tokens are `canary-token-1`, `canary-token-2` and so on, and last
    /// ten minutes. It introspects every token as not active.
    pub(crate) fn start() -> Self {
        let told = Arc::new(Told::default());
        *lock(&told.expires_in) = Some(600);
        let telling = Arc::clone(&told);
        let backend = Backend::start(move |request| telling.answer(request));
        let provider = Self { backend, told };
        let issuer = provider.issuer();
        let at = |endpoint: Endpoint| format!("{issuer}{}", endpoint.path());
        let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
        let algorithms = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"];
        *lock(&provider.told.document) = json!({
            "issuer": issuer,
            "jwks_uri": at(Endpoint::Keys),
            "token_endpoint": at(Endpoint::Token),
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint": at(Endpoint::Introspection),
            "introspection_endpoint_auth_methods_supported": methods,
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
        });
        provider
    }

    /// `iss` of its tokens.
    pub(crate) fn issuer(&self) -> String {
        self.backend.url("")
    }

    /// What `configuration_uri` says.
    pub(crate) fn configuration_uri(&self) -> String {
        self.backend.url(Endpoint::Discovery.path())
    }

    /// Sets a member of the discovery document; `null` takes it out.
    pub(crate) fn describe(&self, member: &str, value: Value) {
        let mut document = lock(&self.told.document);
        let members = document.as_object_mut().expect("the document is an object");
        if value.is_null() {
            members.remove(member);
        } else {
            members.insert(member.to_owned(), value);
        }
    }

    /// Its JWKS has these keys from now on, in this order.
    pub(crate) fn publish(&self, keys: &[&Key]) {
        self.publish_jwks(keys.iter().map(|key| key.jwk()).collect());
    }

    /// Its JWKS has these JWKs from now on, valid or not.
    pub(crate) fn publish_jwks(&self, keys: Vec<Value>) {
        *lock(&self.told.keys) = keys;
    }

    /// `expires_in` of access tokens from now on, in seconds; `None` leaves it out.
    pub(crate) fn expire_in(&self, seconds: Option<u64>) {
        *lock(&self.told.expires_in) = seconds;
    }

    /// The `introspect` function answers introspections from now on; its argument is the form.
    pub(crate) fn introspect_with(&self, introspect: impl Fn(&Form) -> Reply + Send + Sync + 'static) {
        *lock(&self.told.introspect) = Some(Arc::new(introspect));
    }

    /// This endpoint answers with this from now on, until [`Self::mend`].
    pub(crate) fn break_with(&self, endpoint: Endpoint, reply: Reply) {
        lock(&self.told.instead).insert(endpoint, reply);
    }

    /// This endpoint works again from now on.
    pub(crate) fn mend(&self, endpoint: Endpoint) {
        lock(&self.told.instead).remove(&endpoint);
    }

    /// Its JSON begins with a byte order mark from now on.
    pub(crate) fn mark(&self) {
        self.told.marks.store(true, Ordering::SeqCst);
    }

    /// The requests to this endpoint so far.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> Vec<Request> {
        let mut requests = self.backend.requests();
        requests.retain(|request| request.path == endpoint.path());
        requests
    }

    /// How many requests there were to this endpoint so far.
    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.requests(endpoint).len()
    }

    /// The forms that were sent to this endpoint so far.
    pub(crate) fn forms(&self, endpoint: Endpoint) -> Vec<Form> {
        self.requests(endpoint).iter().map(|request| form(&request.body)).collect()
    }

    /// The claims of a token that this provider would issue now, for ten minutes.
    pub(crate) fn claims(&self, sub: &str, audience: &str) -> Value {
        let now = now();
        json!({
            "iss": self.issuer(),
            "sub": sub,
            "aud": audience,
            "iat": now,
            "exp": now + 600,
            "jti": format!("{now}-{sub}"),
        })
    }
}

impl Told {
    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let Some(endpoint) = Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path) else {
            return Reply::status(404);
        };
        if let Some(reply) = lock(&self.instead).get(&endpoint) {
            return reply.clone();
        }
        let mark = if self.marks.load(Ordering::SeqCst) { "\u{feff}" } else { "" };
        let json = |value: &Value| Reply::json(&format!("{mark}{value}"));
        match endpoint {
            Endpoint::Discovery => json(&lock(&self.document)),
            Endpoint::Keys => json(&json!({"keys": *lock(&self.keys)})),
            Endpoint::Token => {
                let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
                let mut token =
                    json!({"access_token": format!("canary-token-{number}"), "token_type": "Bearer"});
                if let Some(seconds) = *lock(&self.expires_in) {
                    token["expires_in"] = json!(seconds);
                }
                json(&token)
            }
            Endpoint::Introspection => {
                let introspect = lock(&self.introspect).clone();
                let inactive = || json(&json!({"active": false}));
                introspect.map_or_else(inactive, |introspect| introspect(&form(&request.body)))
            }
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

fn form(body: &[u8]) -> Form {
    url::form_urlencoded::parse(body).into_owned().collect()
}
