//! Connects to one origin: name, TCP and TLS. Through a proxy: a tunnel to an https origin (RFC 9110 9.3.6),
//! and to an http origin a proxy that forwards requests. If the proxy fails, nothing bypasses it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT as USER_AGENT_NAME};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Url;

use super::reason::TlsKeys;
use super::resolver::Resolver;
use super::settings::TlsSettings;
use super::socket::ApiSocket;
use super::{CONNECT, Http, USER_AGENT};

/// HTTP/2 in ALPN (RFC 9113 3.1).
const H2: &[u8] = b"h2";

type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type Stream = MaybeHttpsStream<ApiSocket>;

#[derive(Debug)]
pub(super) struct Connector {
    origin: Uri,
    /// The origin, with which a target in absolute-form begins.
    forwarded: String,
    proxy: Option<Intercept>,
    tcp: HttpConnector<Resolver>,
    tls: TlsSettings,
    /// For a proxy that speaks TLS.
    proxy_tls: Arc<ClientConfig>,
    resolver: Resolver,
    /// HTTP/2 and nothing else.
    is_http2: bool,
}

impl Connector {
    /// # Errors
    /// The reason for which the proxy cannot be used.
    pub(super) fn new(
        url: &Url,
        proxy: Option<&Url>,
        tls: &TlsSettings,
        http: &Http,
    ) -> Result<Self, String> {
        let forwarded = url.origin().ascii_serialization();
        let origin: Uri = forwarded.parse().unwrap_or_default();
        // Takes the credentials out of the proxy's URL.
        let intercept = |proxy: &Url| {
            let intercept = Matcher::builder().all(proxy.as_str()).build().intercept(&origin);
            intercept.ok_or_else(|| "the URL of the proxy cannot be used".to_owned())
        };
        let proxy = proxy.map(intercept).transpose()?;
        let resolver = http.resolver.clone();
        let mut tcp = HttpConnector::new_with_resolver(resolver.clone());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a name.
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let proxy_tls = Arc::clone(&http.settings.proxy_tls);
        Ok(Self { origin, forwarded, proxy, tcp, tls: tls.clone(), proxy_tls, resolver, is_http2: false })
    }

    /// The same for HTTP/2: a server behind TLS has to agree on it (RFC 9113 3.2).
    pub(super) fn for_http2(mut self) -> Self {
        let mut client = ClientConfig::clone(&self.tls.client);
        client.alpn_protocols = vec![H2.to_vec()];
        self.tls.client = Arc::new(client);
        Self { is_http2: true, ..self }
    }

    /// Makes a connection within 2 s. After a failure other addresses are tried.
    pub(super) async fn open(&self) -> Result<Stream, BoxError> {
        let late = |_| Err(io::Error::from(ErrorKind::TimedOut).into());
        let opened = timeout(CONNECT, self.connect()).await.unwrap_or_else(late);
        if opened.is_err() {
            let first = self.proxy.as_ref().map_or(&self.origin, Intercept::uri);
            self.resolver.turn(first.host().unwrap_or_default());
        }
        opened
    }

    /// Rare steps are boxed: thousands of lookups may connect at the same time.
    async fn connect(&self) -> Result<Stream, BoxError> {
        let stream = match &self.proxy {
            None => MaybeHttpsStream::Http(self.tcp.clone().call(self.origin.clone()).await?),
            Some(proxy) => Box::pin(self.connect_through(proxy)).await?,
        };
        let socket = ApiSocket::new(stream);
        if self.is_https() { Box::pin(self.secure(socket)).await } else { Ok(MaybeHttpsStream::Http(socket)) }
    }

    async fn connect_through(
        &self,
        proxy: &Intercept,
    ) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError> {
        let mut hop = HttpsConnector::from((self.tcp.clone(), Arc::clone(&self.proxy_tls)));
        if !self.is_https() {
            return hop.call(proxy.uri().clone()).await;
        }
        let user_agent = (USER_AGENT_NAME, HeaderValue::from_static(USER_AGENT));
        let headers = HeaderMap::from_iter([user_agent]);
        let mut tunnel = Tunnel::new(proxy.uri().clone(), hop).with_headers(headers);
        if let Some(authorization) = self.proxy_authorization() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        Ok(tunnel.call(self.origin.clone()).await?)
    }

    async fn secure(&self, socket: ApiSocket) -> Result<Stream, BoxError> {
        let host = self.origin.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = match &self.tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())?,
        };
        let tls =
            TlsConnector::from(Arc::clone(&self.tls.client)).connect(name, TokioIo::new(socket)).await?;
        if self.is_http2 && tls.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(rustls::Error::NoApplicationProtocol.into());
        }
        Ok(MaybeHttpsStream::Https(TokioIo::new(tls)))
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> &Uri {
        &self.origin
    }

    fn is_https(&self) -> bool {
        self.origin.scheme() == Some(&Scheme::HTTPS)
    }

    /// The keys of TLS, for the reason of a failure.
    pub(super) fn keys(&self) -> TlsKeys {
        self.tls.keys
    }

    /// Says in the reason of a failed connection that a proxy was to make it.
    pub(super) fn through_proxy(&self, reason: String) -> String {
        match &self.proxy {
            Some(proxy) => {
                let uri = proxy.uri();
                let usual = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
                let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual));
                format!("through the proxy {host}:{port}: {reason}")
            }
            None => reason,
        }
    }

    pub(super) fn proxy_authorization(&self) -> Option<&HeaderValue> {
        self.proxy.as_ref().and_then(Intercept::basic_auth)
    }

    /// Whether a proxy stands between the broker and the API.
    pub(super) fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Whether a proxy reads the requests: that of an http origin.
    pub(super) fn is_forwarded(&self) -> bool {
        self.proxy.is_some() && !self.is_https()
    }

    /// The target of a request, in two parts: in absolute-form for a proxy that forwards it, otherwise in
    /// origin-form (RFC 9112 3.2). `None` if `path` does not begin with `/`: it would continue the host.
    pub(super) fn target<'t>(&'t self, path: &'t PathAndQuery) -> Option<[&'t str; 2]> {
        let path = path.as_str();
        path.starts_with('/').then_some([if self.is_forwarded() { &self.forwarded } else { "" }, path])
    }
}

#[cfg(test)]
mod tests {
    use super::super::HttpSettings;
    use super::*;

    #[test]
    fn a_path_never_chooses_the_host() {
        let api: Url = "http://api.example:8443/x".parse().expect("a URL");
        let proxy = "http://127.0.0.1:1".parse().expect("a URL");
        let http = Http::new(HttpSettings::plain(1), &Arc::default());
        let connector = Connector::new(&api, Some(&proxy), &http.settings.tls, &http).expect("a proxy");
        for path in [
            "//evil.example/x",
            "/\\evil.example/x",
            "///evil.example",
            "/http://evil.example/",
            "/@evil.example/",
        ] {
            let path = path.parse().expect("a path");
            let url: Url = connector.target(&path).expect("a target").concat().parse().expect("a URL");
            assert_eq!((url.host_str(), url.port()), (Some("api.example"), Some(8443)), "{path}");
        }
        for path in ["evil", "@evil.example/", ":1/x", ".evil.example/", "?@evil.example/", "*"] {
            let parsed = path.parse().ok();
            assert!(parsed.as_ref().and_then(|path| connector.target(path)).is_none(), "{path}");
        }
    }
}
