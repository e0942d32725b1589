//! The HTTP API of `demo`: a few mailboxes, a policy and a user, on a loopback port of the system's
//! choice. It keeps the last exchange, which `demo` prints.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// One request, and what was answered.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) request: String,
    pub(super) response: String,
}

/// The running API.
#[derive(Debug, Clone)]
pub(super) struct SampleApi {
    pub(super) address: SocketAddr,
    last: Arc<Mutex<Option<Exchange>>>,
}

impl SampleApi {
    /// Starts it in the background of the runtime.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let api = Self { address: listener.local_addr()?, last: Arc::default() };
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = served.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| api.answer(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Ok(api)
    }

    /// The exchange since the last call.
    pub(super) fn last(&self) -> Option<Exchange> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let line = format!("{} {}", request.method(), request.uri().path());
        let path = request.uri().path().to_owned();
        let body = Limited::new(request.into_body(), 256 * 1024).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let asked = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, said) = match path.as_str() {
            "/mailboxes" => mailbox(&asked),
            "/policy" => policy(&asked),
            "/login" => login(&asked),
            _ => (StatusCode::SERVICE_UNAVAILABLE, json!({"message": "out of order"})),
        };
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        // A login is answered in the headers.
        let shown = match said.as_str() {
            Some(auth_status) => {
                let value = HeaderValue::from_str(auth_status).unwrap_or(HeaderValue::from_static(""));
                response.headers_mut().insert("auth-status", value);
                format!("Auth-Status: {auth_status}")
            }
            None => {
                *response.body_mut() = Full::from(said.to_string());
                said.to_string()
            }
        };
        let exchange = Exchange {
            request: format!("{line} {}", String::from_utf8_lossy(&body)),
            response: format!("{} {shown}", status.as_u16()),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
        Ok(response)
    }
}

fn mailbox(asked: &Value) -> (StatusCode, Value) {
    match asked["key"].as_str() {
        Some(key @ ("bob@example.com" | "\"bob, at work\"@example.com")) => {
            (StatusCode::OK, json!({"data": {"result": key}}))
        }
        _ => (StatusCode::OK, json!({"data": {}})),
    }
}

/// A user that exists; a text is meant for `Auth-Status`.
fn login(asked: &Value) -> (StatusCode, Value) {
    match (asked["username"].as_str(), asked["password"].as_str()) {
        (Some("bob@example.com"), Some("swordfish")) => (StatusCode::OK, json!("OK")),
        _ => (StatusCode::OK, json!("Invalid login or password")),
    }
}

fn policy(asked: &Value) -> (StatusCode, Value) {
    let action = match asked["client_address"].as_str() {
        Some("192.0.2.66") => "REJECT this address sends nothing but spam",
        _ => "DUNNO",
    };
    (StatusCode::OK, json!({"policy": {"result": action}}))
}
