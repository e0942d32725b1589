//! The discovery document of a provider (OpenID Connect Discovery 1.0 4, RFC 8414 3): the URLs of its
//! endpoints.
//!
//! It is fresh for 10 min and shared by all entries with the same `configuration_uri`; if it cannot be fetched
//! again, the old one is used for 24 h. A document from https may not name endpoints without TLS, and one from
//! a public host may not name internal ones (checked when it is fetched; limits: `http::internal`). Other
//! public origins are accepted: some providers use several.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::fetched::{self, Fetched, Kept, Newer};
use super::issuer;
use super::json::{self, JsonObject};
use super::provider_http::{EndpointUrl, ProviderHttp};
use crate::http::Http;
use crate::model::Deadline;

const RENEW: Duration = Duration::from_mins(8);
const FRESH: Duration = Duration::from_mins(10);
const ENDS: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) http: Arc<ProviderHttp>,
    pub(super) document: Fetched<DiscoveryDocument>,
}

/// The used fields of a discovery document.
#[derive(Debug)]
pub(super) struct DiscoveryDocument {
    pub(super) issuer: Option<String>,
    /// A deviation that does no harm.
    pub(super) remark: Option<String>,
    /// In the order of [`ProviderEndpoint::ALL`].
    endpoints: [Result<Arc<EndpointUrl>, &'static str>; 3],
    signing: [Vec<String>; 2],
}

/// An endpoint of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderEndpoint {
    /// Issues the broker's own tokens.
    Token,
    /// Says whether a token is valid (RFC 7662).
    Introspection,
    /// Publishes its keys.
    Keys,
}

impl ProviderEndpoint {
    const ALL: [Self; 3] = [Self::Token, Self::Introspection, Self::Keys];

    /// Its name in the document.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Keys => "jwks_uri",
        }
    }
}

impl Provider {
    pub(super) fn new(http: Arc<Http>, uri: &Url) -> Self {
        let http = Arc::new(ProviderHttp::new(http, uri));
        let asked = Arc::clone(&http);
        let home = Arc::new(EndpointUrl::new(uri.clone(), uri.as_str()));
        Self { http, document: Fetched::new(move || fetch(Arc::clone(&asked), Arc::clone(&home))) }
    }

    /// The document with this endpoint. If it is missing, the document is fetched again.
    pub(super) async fn with(
        &self,
        endpoint: ProviderEndpoint,
        deadline: Deadline,
    ) -> Option<(Arc<DiscoveryDocument>, Arc<EndpointUrl>)> {
        let mut document = self.document.get(deadline).await?;
        if document.address(endpoint).is_err()
            && let Newer::Another(newer) = self.document.newer(&document, deadline).await
        {
            document = newer;
        }
        match document.address(endpoint).cloned() {
            Ok(address) => Some((document, address)),
            Err(lack) => {
                self.http.report(format_args!("discovery: {} {lack}", endpoint.name()));
                None
            }
        }
    }
}

impl DiscoveryDocument {
    pub(super) fn read(object: &JsonObject, uri: &Url) -> Self {
        let endpoints = ProviderEndpoint::ALL.map(|endpoint| address(object.get(endpoint.name()), uri));
        let signing = [ProviderEndpoint::Token, ProviderEndpoint::Introspection].map(|endpoint| {
            let name = format!("{}_auth_signing_alg_values_supported", endpoint.name());
            let names = object.get(&name).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).take(64).map(str::to_owned).collect()
        });
        // An issuer must be a URL (OpenID Connect Discovery 1.0 3).
        let is_url = |issuer: &&str| issuer.starts_with("https://") || issuer.starts_with("http://");
        let issuer = json::text(object, "issuer").filter(is_url).map(str::to_owned);
        let deviation = issuer.as_deref().filter(|issuer| !issuer::is_pattern(issuer));
        let deviation = deviation.filter(|issuer| !uri.as_str().starts_with(*issuer));
        let remark = deviation.map(|issuer| {
            format!("its issuer is {:?}, which configuration_uri does not begin with", issuer::shown(issuer))
        });
        Self { issuer, remark, endpoints, signing }
    }

    /// Refuses endpoints on internal hosts, unless the document comes from one itself: otherwise a public
    /// document could make the broker send requests and secrets to an internal host.
    async fn refuse_internal(&mut self, http: &Http, uri: &Url) {
        let looks = self.endpoints.iter().map(|endpoint| async move {
            match endpoint {
                Ok(address) => address.url.host() != uri.host() && http.is_internal(&address.url).await,
                Err(_) => false,
            }
        });
        let are_internal = join_all(looks).await;
        if !are_internal.contains(&true) || http.is_internal(uri).await {
            return;
        }
        for (endpoint, _) in
            self.endpoints.iter_mut().zip(are_internal).filter(|(_, is_internal)| *is_internal)
        {
            *endpoint = Err("is on an internal host, while configuration_uri is on a public one");
        }
    }

    /// The URL of an endpoint, or the reason for which there is none.
    pub(super) fn address(&self, endpoint: ProviderEndpoint) -> Result<&Arc<EndpointUrl>, &'static str> {
        self.endpoints[endpoint as usize].as_ref().map_err(|lack| *lack)
    }

    /// The algorithms of assertions that an endpoint accepts; empty if the document does not say.
    pub(super) fn signing(&self, endpoint: ProviderEndpoint) -> &[String] {
        let [token, introspection] = &self.signing;
        if endpoint == ProviderEndpoint::Introspection && !introspection.is_empty() {
            introspection
        } else {
            token
        }
    }
}

fn address(value: Option<&Value>, uri: &Url) -> Result<Arc<EndpointUrl>, &'static str> {
    let Some(value) = value else { return Err("is missing") };
    let text = value.as_str().ok_or("is no text")?;
    let url = Url::parse(text).map_err(|_| "is no URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("is no http or https URL");
    }
    if uri.scheme() == "https" && url.scheme() == "http" {
        return Err("is without TLS, while configuration_uri is https");
    }
    Ok(Arc::new(EndpointUrl::new(url, text)))
}

async fn fetch(http: Arc<ProviderHttp>, home: Arc<EndpointUrl>) -> Option<Kept<DiscoveryDocument>> {
    let object = http.get("discovery", &http.calls.discovery, &home, fetched::limit()).await?;
    // A document without endpoints (an error, a maintenance page) does not replace a valid one.
    if !ProviderEndpoint::ALL.iter().any(|endpoint| object.contains_key(endpoint.name())) {
        http.report(format_args!("discovery: the answer names no endpoint"));
        return None;
    }
    let mut document = DiscoveryDocument::read(&object, &home.url);
    document.refuse_internal(&http.http, &home.url).await;
    // The previous document still exists: the new one takes over its connections.
    for address in document.endpoints.iter().flatten() {
        http.keep(address);
    }
    if let Some(remark) = &document.remark {
        http.remark(remark);
    }
    let now = Instant::now();
    let kept = Kept { value: Arc::new(document), renew: now + RENEW, fresh: now + FRESH, ends: now + ENDS };
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, token: &str) -> Result<String, &'static str> {
        let object = json::object(format!(r#"{{"token_endpoint": {token}}}"#).as_bytes()).expect("an object");
        let document = DiscoveryDocument::read(&object, &Url::parse(uri).expect("a URL"));
        assert_eq!(document.address(ProviderEndpoint::Keys).err(), Some("is missing"));
        document.address(ProviderEndpoint::Token).map(|address| address.text.clone())
    }

    #[test]
    fn an_endpoint_is_a_web_address_and_no_downgrade() {
        let (plain, tls) = ("http://idp.test/d", "https://idp.test/d");
        assert_eq!(read(tls, r#""https://other.test""#), Ok("https://other.test".to_owned()));
        assert_eq!(read(plain, r#""http://idp.test/t""#), Ok("http://idp.test/t".to_owned()));
        assert_eq!(read(plain, r#""https://idp.test/t""#), Ok("https://idp.test/t".to_owned()));
        assert!(read(tls, r#""http://idp.test/t""#).is_err());
        for bad in
            [r#""/t""#, r#""file:///etc/passwd""#, r#""""#, "5", "null", r#""unix:/t""#, r#""http://""#]
        {
            assert!(read(plain, bad).is_err(), "{bad}");
        }
    }
}
