//! The fake API. Its answer is a function of the key alone, unless a fault replaces it. It writes a ledger of what
//! it saw.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::ledger::{Called, Ledgers};
use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Kind;

type Fault = Arc<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

/// A running API for maps (`/map`), policies (`/policy`) and logins (`/login`).
pub(crate) struct Api {
    pub(crate) backend: Backend,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// f(key): the reply that Postfix has to get for the request of this number.
pub(crate) fn due(kind: Kind, id: u64) -> String {
    match (kind, is_negative(id)) {
        (Kind::Map, true) => "NOTFOUND ".to_owned(),
        (Kind::Map, false) => format!("OK value-of-k{id}"),
        (Kind::Policy, true) => format!("action=REJECT no k{id}\n\n"),
        (Kind::Policy, false) => format!("action=WARN for k{id}\n\n"),
        (Kind::Login, true) => "FAIL".to_owned(),
        (Kind::Login, false) => format!("OK k{id}"),
    }
}

/// A quarter of the keys: absent, rejected, denied.
fn is_negative(id: u64) -> bool {
    id % 4 == 3
}

/// The number at the end of a key, or of the local part of an address.
fn number(key: &str) -> u64 {
    let local = key.trim_end_matches("@example.com");
    local.rsplit('k').next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

/// Which kind of entry asks, and for which key.
fn asked(request: &Request) -> (Kind, String) {
    let path = request.path.rsplit('/').next().unwrap_or_default();
    match path {
        "policy" => (Kind::Policy, request.text("recipient")),
        "login" => (Kind::Login, request.text("username")),
        _ => (Kind::Map, request.text("key")),
    }
}

/// The answer that is right.
pub(crate) fn right(request: &Request) -> Reply {
    let (kind, key) = asked(request);
    let id = number(&key);
    match kind {
        Kind::Map if is_negative(id) => Reply::json("{}"),
        Kind::Map => Reply::json(&json!({ "value": format!("value-of-k{id}") }).to_string()),
        Kind::Policy if is_negative(id) => Reply::json(&format!(r#"{{"action": "REJECT no k{id}"}}"#)),
        Kind::Policy => Reply::json(&format!(r#"{{"action": "WARN for k{id}"}}"#)),
        Kind::Login if is_negative(id) => Reply::with_header("Auth-Status", "wrong password", ""),
        Kind::Login => Reply::with_headers(200, &[("Auth-Status", "OK"), ("Auth-User", &key)], ""),
    }
}

impl Api {
    /// Starts one.
    pub(crate) fn start(ledgers: &Arc<Ledgers>) -> Self {
        let (fault, backend) = Self::handler(ledgers);
        Self { backend: Backend::start(backend), fault }
    }

    /// Starts one behind TLS.
    pub(crate) fn start_tls(ledgers: &Arc<Ledgers>, tls: Arc<rustls::ServerConfig>) -> Self {
        let (fault, backend) = Self::handler(ledgers);
        Self { backend: Backend::start_tls(tls, backend), fault }
    }

    fn handler(
        ledgers: &Arc<Ledgers>,
    ) -> (Arc<Mutex<Option<Fault>>>, impl Fn(&Request) -> Reply + Send + Sync + 'static + use<>) {
        let fault = Arc::new(Mutex::new(None::<Fault>));
        let (ledgers, played) = (Arc::clone(ledgers), Arc::clone(&fault));
        let handler = move |request: &Request| {
            let (kind, key) = asked(request);
            // Postfix asks for the whole domain if a recipient is not found.
            if key == "@example.com" {
                return Reply::json("{}");
            }
            let is_password = kind == Kind::Login;
            ledgers.called.append(Called { id: number(&key), key, is_password });
            let fault = played.lock().unwrap_or_else(PoisonError::into_inner).clone();
            fault.and_then(|fault| fault(request)).unwrap_or_else(|| right(request))
        };
        (fault, handler)
    }

    /// From now on this decides about answers; where it returns `None`, the answer is right.
    pub(crate) fn fault(&self, fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(fault));
    }

    /// Every answer is right again, and what was held back is sent.
    pub(crate) fn mend(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.backend.release();
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        self.backend.url(path)
    }
}
