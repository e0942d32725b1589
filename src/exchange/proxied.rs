//! The way through a proxy, by reqwest: absolute-form for http, CONNECT for https (RFC 9112 3.2.2,
//! RFC 9110 9.3.6). What the proxy does not carry is a failure: nothing ever goes around it.
//!
//! reqwest does not tell whether a connection that failed was a kept one. So any request whose
//! connection fails in mid-exchange is sent once more, where it may be, by a second client that
//! keeps none.

use reqwest::{Proxy, redirect, retry};
use url::Url;

use super::resolve::Names;
use super::{
    Broken, CONNECT, HttpSettings, MAX_BODY, Reply, Request, USER_AGENT, is_tls, proxy, refuse_large, take,
};
use crate::ask::Failure;

/// The connections to one origin, through its proxy.
#[derive(Debug)]
pub(super) struct Proxied {
    origin: Url,
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
            origin: url.clone(),
            kept: client(settings.max_idle_connections_per_host)?,
            fresh: client(0)?,
        })
    }

    pub(super) async fn exchange(&self, request: &Request<'_>) -> Result<Reply, Broken> {
        match self.once(&self.kept, request).await {
            Err(Broken::Lost) if request.repeatable => self.once(&self.fresh, request).await,
            other => other,
        }
    }

    async fn once(&self, client: &reqwest::Client, request: &Request<'_>) -> Result<Reply, Broken> {
        let url = self.origin.join(request.path).map_err(|_| Broken::Refused(Failure::Malformed))?;
        let mut response = client
            .request(request.method.clone(), url)
            .headers(request.headers.clone())
            .body(request.body.clone())
            .send()
            .await
            .map_err(|error| broken(&error))?;
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
    } else {
        Broken::Lost
    }
}
