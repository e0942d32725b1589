//! Exchanges through a proxy, by reqwest: absolute-form for http, CONNECT for https (RFC 9112 3.2.2,
//! RFC 9110 9.3.6). If the proxy fails, the exchange fails: nothing bypasses a proxy.
//!
//! A connection of reqwest belongs to the runtime that made it, and is only free again after that runtime
//! has run. So all exchanges with one origin run on one runtime; otherwise unnecessary connections were made.
//!
//! reqwest does not tell whether a connection that failed was a kept one. So a repeatable request is sent
//! once more after any failure during the exchange, by a second client that keeps no connections.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::Bytes;
use hyper::{HeaderMap, Method};
use reqwest::{Proxy, redirect, retry};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use url::{Origin, Url};

use super::broken::{Broken, MAX_HEADERS, Stage, refuse_head, refuse_long, take};
use super::reach::{ConnectOnly, ConnectResult, Reached, Unreached};
use super::resolver::Resolver;
use super::{CONNECT, HttpSettings, Reply, Request, USER_AGENT, proxy};
use crate::model::Failure;
use crate::observe::explain;
use crate::observe::redact::Redactor;

/// The connections to one origin, through its proxy.
#[derive(Debug)]
pub(super) struct Proxied {
    clients: Arc<Clients>,
    /// The runtime of the first request: all exchanges run there.
    home: OnceLock<Handle>,
}

#[derive(Debug)]
struct Clients {
    origin: Origin,
    /// The proxy's host, whose addresses are tried in turn.
    proxy: String,
    resolver: Resolver,
    /// The credentials for the proxy.
    credentials: Redactor,
    /// Keeps connections.
    kept: reqwest::Client,
    /// Makes a connection for each request.
    fresh: reqwest::Client,
    /// Connects, and sends nothing.
    connect_only: reqwest::Client,
}

impl Proxied {
    pub(super) fn new(
        url: &Url,
        proxy: &proxy::Proxy,
        settings: &HttpSettings,
        resolver: &Resolver,
    ) -> Result<Self, reqwest::Error> {
        // reqwest takes the credentials from the URL.
        let through = Proxy::all(proxy.0.clone())?;
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured((*settings.tls).clone())
                .dns_resolver(resolver.clone())
                .user_agent(USER_AGENT)
                .http1_only()
                .http1_max_headers(MAX_HEADERS)
                .http1_allow_obsolete_multiline_headers_in_responses(true)
                // Otherwise reqwest reads the environment itself.
                .no_proxy()
                .proxy(through.clone())
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .pool_idle_timeout(settings.idle_connection_timeout)
        };
        let client = |keep: usize| builder().connect_timeout(CONNECT).pool_max_idle_per_host(keep).build();
        let clients = Clients {
            origin: url.origin(),
            proxy: proxy.0.host_str().unwrap_or_default().to_owned(),
            resolver: resolver.clone(),
            credentials: proxy.redactor(),
            kept: client(settings.max_idle_connections_per_host)?,
            fresh: client(0)?,
            // `ConnectOnly` has its own timeout.
            connect_only: builder().connector_layer(ConnectOnly).build()?,
        };
        Ok(Self { clients: Arc::new(clients), home: OnceLock::new() })
    }

    pub(super) async fn exchange(&self, request: &Request<'_>) -> Result<Reply, Broken> {
        explain::redact(|| self.clients.credentials.clone());
        let call = Call {
            method: request.method.clone(),
            url: self
                .clients
                .url(request.path.as_str())
                .ok_or_else(|| Broken::refused(Failure::Malformed, ""))?,
            headers: request.all_headers(),
            body: request.body.clone(),
        };
        let (clients, repeatable) = (Arc::clone(&self.clients), request.repeatable);
        // Dropped with this future: an aborted lookup closes its connection.
        let mut task = JoinSet::new();
        let home = self.home.get_or_init(Handle::current);
        task.spawn_on(async move { clients.exchange(call, repeatable).await }, home);
        match task.join_next().await {
            Some(Ok(outcome)) => outcome,
            // The broker ends.
            Some(Err(_)) | None => Err(Broken::ended()),
        }
    }

    /// As [`Clients::reach`].
    pub(super) async fn reach(&self) -> Result<Reached, Unreached> {
        self.clients.reach().await
    }
}

/// A request without borrowed data.
#[derive(Clone)]
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Clients {
    async fn exchange(&self, call: Call, repeatable: bool) -> Result<Reply, Broken> {
        if !repeatable {
            return self.once(&self.fresh, call).await;
        }
        match self.once(&self.kept, call.clone()).await {
            Err(Broken { stage: Stage::Lost, .. }) => self.once(&self.fresh, call).await,
            other => other,
        }
    }

    /// Connects to the proxy, for https also to the origin, and closes the connection.
    async fn reach(&self) -> Result<Reached, Unreached> {
        let url = self.url("/").ok_or_else(Unreached::late)?;
        let is_tunnelled = url.scheme() == "https";
        let Err(error) = self.connect_only.get(url).send().await else { return Ok(Reached::Origin) };
        match ended(&error) {
            Some(ConnectResult(Ok(()))) if is_tunnelled => Ok(Reached::Origin),
            Some(ConnectResult(Ok(()))) => Ok(Reached::Proxy),
            Some(ConnectResult(Err(why))) => Err(why.clone().through(&self.proxy)),
            None => Err(Unreached::of(&error).through(&self.proxy)),
        }
    }

    /// The URL of a path. It never has another origin: `//host` at the beginning is part of the path.
    fn url(&self, path: &str) -> Option<Url> {
        let url = Url::parse(&format!("{}{path}", self.origin.ascii_serialization())).ok()?;
        (path.starts_with('/') && url.origin() == self.origin).then_some(url)
    }

    async fn once(&self, client: &reqwest::Client, call: Call) -> Result<Reply, Broken> {
        let mut response = client
            .request(call.method, call.url)
            .headers(call.headers)
            .body(call.body)
            .send()
            .await
            .map_err(|error| self.broken(error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        refuse_head(&headers, response.extensions())?;
        refuse_long(response.content_length().unwrap_or_default())?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            take(&mut body, &chunk)?;
        }
        Ok(Reply { at: Instant::now(), status, headers, body })
    }

    /// The failure without the URL, which may contain a key or an address.
    fn broken(&self, error: reqwest::Error) -> Broken {
        if !error.is_connect() {
            return Broken::in_exchange(&error.without_url());
        }
        self.resolver.turn(&self.proxy);
        Broken::unconnected(&error.without_url(), Some(&self.proxy))
    }
}

/// The result that [`ConnectOnly`] put into the error chain.
fn ended<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e ConnectResult> {
    error.downcast_ref().or_else(|| error.source().and_then(ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_chooses_the_host() {
        let api: Url = "https://api.example:8443/x".parse().expect("a URL");
        let settings = HttpSettings::plain(1);
        let proxy = proxy::Proxy("http://127.0.0.1:1".parse().expect("a URL"));
        let proxied = Proxied::new(&api, &proxy, &settings, &Resolver::default()).expect("a client");
        for path in [
            "//evil.example/x",
            "/\\evil.example/x",
            "///evil.example",
            "/http://evil.example/",
            "/@evil.example/",
        ] {
            let url = proxied.clients.url(path).expect("a URL");
            assert_eq!((url.host_str(), url.port()), (Some("api.example"), Some(8443)), "{path}");
        }
        for path in ["", "evil", "@evil.example/", ":1/x", ".evil.example/"] {
            assert_eq!(proxied.clients.url(path), None, "{path}");
        }
    }
}
