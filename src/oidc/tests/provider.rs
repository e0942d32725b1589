//! An identity provider on loopback that says what a test tells it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it says to one path.
#[derive(Debug, Clone)]
pub(super) enum Says {
    Json(u16, Value),
    /// `token-1`, `token-2`, …, with this as `expires_in`.
    Tokens(Value),
    Text(&'static str),
    Nothing,
    /// Closes the connection, so many times; then tokens.
    HangsUp(usize),
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct RecordedRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) form: Vec<(String, String)>,
}

impl RecordedRequest {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct State {
    says: HashMap<String, Says>,
    asked: Vec<RecordedRequest>,
}

/// The running provider.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    origin: String,
    state: Arc<Mutex<State>>,
}

impl Provider {
    /// Starts it, with a complete discovery document and tokens for an hour.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = Self { origin, state: Arc::default() };
        provider.say("/configuration", Says::Json(200, provider.document()));
        provider.say("/token", Says::Tokens(json!(3600)));
        let served = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = served.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| provider.answer(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        provider
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(super) fn document(&self) -> Value {
        json!({
            "issuer": self.origin, "token_endpoint": self.url("/token"),
            "introspection_endpoint": self.url("/introspect"), "jwks_uri": self.url("/keys"),
        })
    }

    pub(super) fn say(&self, path: &str, says: Says) {
        self.state.lock().expect("no test panics with it").says.insert(path.to_owned(), says);
    }

    pub(super) fn asked(&self, path: &str) -> Vec<RecordedRequest> {
        let state = self.state.lock().expect("no test panics with it");
        state.asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.asked(path).len()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let form = url::form_urlencoded::parse(&body).into_owned().collect();
        let path = head.uri.path().to_owned();
        let asked = RecordedRequest { method: head.method, path: path.clone(), headers: head.headers, form };
        let (says, number) = {
            let mut state = self.state.lock().expect("no test panics with it");
            state.asked.push(asked);
            let number = state.asked.iter().filter(|asked| asked.path == path).count();
            let says = state.says.get(&path).cloned().unwrap_or(Says::Json(404, Value::Null));
            if let Says::HangsUp(times) = says {
                let next = if times > 1 { Says::HangsUp(times - 1) } else { Says::Tokens(json!(3600)) };
                state.says.insert(path, next);
            }
            (says, number)
        };
        let (status, text) = match says {
            Says::Json(status, value) => (status, value.to_string()),
            Says::Text(text) => (200, text.to_owned()),
            Says::Tokens(life) => {
                let token = format!("token-{number}");
                let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": life});
                (200, answer.to_string())
            }
            Says::Nothing => std::future::pending().await,
            Says::HangsUp(_) => return Err(std::io::Error::other("hung up")),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
        Ok(response)
    }
}
