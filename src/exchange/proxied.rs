//! The way through a proxy, by reqwest: absolute-form for http, CONNECT for https (RFC 9112 3.2.2,
//! RFC 9110 9.3.6). What the proxy does not carry is a failure: nothing ever goes around it.
//!
//! reqwest does not tell whether a connection that failed was a kept one. So any request whose
//! connection fails in mid-exchange is sent once more, where it may be, by a second client that
//! keeps none.

use std::error::Error;

use reqwest::{Proxy, redirect, retry};
use url::{Origin, Url};

use super::resolve::Names;
use super::{
    Broken, CONNECT, HttpSettings, MAX_BODY, Reply, Request, USER_AGENT, is_tls, proxy, refuse_large, take,
};
use crate::ask::Failure;
use crate::hidden::Hidden;
use crate::trace;

/// The connections to one origin, through its proxy.
#[derive(Debug)]
pub(super) struct Proxied {
    origin: Origin,
    /// The proxy's name, whose addresses have their turns.
    proxy: String,
    names: Names,
    /// What the proxy is told about us.
    credentials: Hidden,
    /// Keeps connections.
    kept: reqwest::Client,
    /// Makes one for each request.
    fresh: reqwest::Client,
}

impl Proxied {
    pub(super) fn new(
        url: &Url,
        proxy: &proxy::Proxy,
        settings: &HttpSettings,
        names: &Names,
    ) -> Result<Self, reqwest::Error> {
        let mut through = Proxy::all(&proxy.url)?;
        if let Some((user, password)) = &proxy.credentials {
            through = through.basic_auth(user, password);
        }
        let client = |keep: usize| {
            reqwest::Client::builder()
                .tls_backend_preconfigured((*settings.tls).clone())
                .dns_resolver(names.clone())
                .user_agent(USER_AGENT)
                .http1_only()
                // Else reqwest would look for proxies itself.
                .no_proxy()
                .proxy(through.clone())
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .connect_timeout(CONNECT)
                .pool_idle_timeout(settings.idle_connection_timeout)
                .pool_max_idle_per_host(keep)
                .build()
        };
        Ok(Self {
            origin: url.origin(),
            proxy: Url::parse(&proxy.url)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned))
                .unwrap_or_default(),
            names: names.clone(),
            credentials: proxy.hidden(),
            kept: client(settings.max_idle_connections_per_host)?,
            fresh: client(0)?,
        })
    }

    pub(super) async fn exchange(&self, request: &Request<'_>) -> Result<Reply, Broken> {
        trace::hide(|| self.credentials.clone());
        if !request.repeatable {
            return self.once(&self.fresh, request).await;
        }
        match self.once(&self.kept, request).await {
            Err(Broken::Lost) => self.once(&self.fresh, request).await,
            other => other,
        }
    }

    /// The URL of a path. Never another origin: `//host` at its beginning is a part of it.
    fn url(&self, path: &str) -> Option<Url> {
        let url = Url::parse(&format!("{}{path}", self.origin.ascii_serialization())).ok()?;
        (path.starts_with('/') && url.origin() == self.origin).then_some(url)
    }

    async fn once(&self, client: &reqwest::Client, request: &Request<'_>) -> Result<Reply, Broken> {
        let url = self.url(request.path).ok_or(Broken::Refused(Failure::Malformed))?;
        let mut response = client
            .request(request.method.clone(), url)
            .headers(request.headers.clone())
            .body(request.body.clone())
            .send()
            .await
            .map_err(|error| {
                if error.is_connect() {
                    self.names.turn(&self.proxy);
                }
                broken(&error)
            })?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        refuse_large(&headers, response.extensions())?;
        if response.content_length().is_some_and(|announced| announced > MAX_BODY as u64) {
            return Err(Broken::Refused(Failure::Body));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            take(&mut body, &chunk)?;
        }
        Ok(Reply { status, headers, body })
    }
}

fn broken(error: &reqwest::Error) -> Broken {
    if is_tls(error) {
        Broken::Refused(Failure::Tls)
    } else if error.is_connect() {
        Broken::Refused(Failure::Connect)
    } else if is_parse(error) {
        Broken::Refused(Failure::Protocol)
    } else {
        Broken::Lost
    }
}

/// Whether what came was no HTTP: a new connection would bring the same.
fn is_parse(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_chooses_the_host() {
        let api: Url = "https://api.example:8443/x".parse().expect("a URL");
        let settings = HttpSettings {
            max_connections_per_host: None,
            max_idle_connections: None,
            max_idle_connections_per_host: 1,
            idle_connection_timeout: std::time::Duration::from_secs(1),
            proxy: None,
            tls_inputs: [0; 32],
            tls: super::super::tls::client(super::super::tls::Trust::SystemLater, None).expect("TLS"),
        };
        let proxy = proxy::Proxy { url: "http://127.0.0.1:1".to_owned(), credentials: None };
        let proxied = Proxied::new(&api, &proxy, &settings, &Names::default()).expect("a client");
        for path in [
            "//evil.example/x",
            "/\\evil.example/x",
            "///evil.example",
            "/http://evil.example/",
            "/@evil.example/",
        ] {
            let url = proxied.url(path).expect("a URL");
            assert_eq!((url.host_str(), url.port()), (Some("api.example"), Some(8443)), "{path}");
        }
        for path in ["", "evil", "@evil.example/", ":1/x", ".evil.example/"] {
            assert_eq!(proxied.url(path), None, "{path}");
        }
    }
}
