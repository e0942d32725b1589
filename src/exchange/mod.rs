//! One request to an HTTP API, and its complete answer: everything behind this is HTTP.
//!
//! HTTP/1.1 over kept connections (RFC 9112), no redirects, no proxy, no environment. Connecting
//! takes 2 s at most, the whole exchange the caller's deadline; a body has at most
//! [`MAX_BODY`] bytes. A request whose connection fails before the answer is complete is sent
//! once more, on a connection of its own: kept ones are closed by their backends at any moment.
//! Lookups may be repeated, Postfix does so itself; logins will not come this way twice.

pub mod tls;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect;
use url::Url;

use crate::ask::{Deadline, Failure};

/// The longest body that is read.
pub const MAX_BODY: usize = 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(90);
const IDLE_PER_HOST: usize = 32;

/// `server.http_client` and `server.tls`, checked.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `max_connections_per_host`; `None`: as many as lookups are in progress.
    pub max_connections_per_host: Option<usize>,
    /// `max_idle_connections`; `None`: no bound but that of each host.
    pub max_idle_connections: Option<usize>,
    /// `max_idle_connections_per_host`; 32 by default.
    pub max_idle_connections_per_host: usize,
    /// `idle_connection_timeout`; 90 s by default.
    pub idle_connection_timeout: Duration,
    /// `proxy`, for every target; `None`: what the proxy environment variables say.
    pub proxy: Option<Url>,
    /// `server.tls`.
    pub tls: Arc<rustls::ClientConfig>,
}

/// The HTTP side that all targets share.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// Keeps connections.
    kept: reqwest::Client,
    /// Opens one for each request.
    fresh: reqwest::Client,
}

/// A request; everything in it was checked when the configuration was read.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where to.
    pub url: &'a Url,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Loads the system's certificates.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("PostfixToHTTP/", env!("CARGO_PKG_VERSION")))
                .http1_only()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
        };
        Ok(Self {
            kept: builder().pool_max_idle_per_host(IDLE_PER_HOST).build()?,
            fresh: builder().pool_max_idle_per_host(0).build()?,
        })
    }

    /// Sends `request` and reads the whole answer.
    ///
    /// # Errors
    /// The class of what went wrong; what a complete answer says is the caller's to judge.
    pub async fn exchange(&self, request: Request<'_>, deadline: Deadline) -> Result<Reply, Failure> {
        let both_tries = async {
            match once(&self.kept, &request).await {
                Err(Failure::Protocol) => once(&self.fresh, &request).await,
                other => other,
            }
        };
        match tokio::time::timeout_at(deadline.instant().into(), both_tries).await {
            Ok(reply) => reply,
            Err(_) => Err(Failure::Timeout),
        }
    }
}

async fn once(client: &reqwest::Client, request: &Request<'_>) -> Result<Reply, Failure> {
    let mut response = client
        .post(request.url.clone())
        .headers(request.headers.clone())
        .body(request.body.clone())
        .send()
        .await
        .map_err(|error| class(&error))?;
    let status = response.status().as_u16();
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_BODY as u64 {
        return Err(Failure::Body);
    }
    let mut body = Vec::with_capacity(announced as usize);
    while let Some(chunk) = response.chunk().await.map_err(|error| class(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::Body);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

/// Where an exchange failed.
fn class(error: &reqwest::Error) -> Failure {
    if is_tls(error) {
        Failure::Tls
    } else if error.is_connect() {
        Failure::Connect
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        Failure::Protocol
    }
}

/// A TLS error stands at the end of the chain, inside of an I/O error.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = error.source();
    }
    false
}
