//! Checks a provider: fetches its discovery document, its keys if tokens are verified locally, and connects
//! to the other endpoints that are needed.
//!
//! The result also contains the deviations that the log reports, and the origins that would receive
//! `client_secret`: a discovery document may name any public origin.
//!
//! No token is fetched: it would be a valid credential, it counts against the provider's limits, and a wrong
//! secret may lock the client out. No token is introspected: there is no mail client's token.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::Oidc;
use super::issuer;
use super::jwk;
use super::provider::{DiscoveryDocument, Provider, ProviderEndpoint};
use super::provider_http::ProviderHttp;
use super::settings::{Authentication, ClientSettings, TokenSettings, Validation};
use crate::model::Deadline;

impl Validation {
    /// The endpoints that it needs.
    fn endpoints(self) -> &'static [ProviderEndpoint] {
        match self {
            Self::Introspection => &[ProviderEndpoint::Introspection],
            Self::Jwks => &[ProviderEndpoint::Keys],
            Self::Auto => &[ProviderEndpoint::Keys, ProviderEndpoint::Introspection],
        }
    }
}

/// The needs of entries at a provider.
#[derive(Debug, Default)]
pub struct Needs {
    endpoints: Vec<ProviderEndpoint>,
    /// Those that receive `client_secret`.
    told: Vec<ProviderEndpoint>,
    /// The issuer that its tokens name.
    issuer: bool,
}

/// A provider that passed the check.
#[derive(Debug)]
pub struct ReachedProvider {
    /// A deviation, as in the log.
    pub remark: Option<String>,
    /// The origins that receive `client_secret`.
    pub told: Vec<String>,
}

impl Needs {
    /// Those of `backend_oidc_auth`.
    #[must_use]
    pub fn of_client(client: &ClientSettings) -> Self {
        Self::new(&[ProviderEndpoint::Token], client)
    }

    /// Those of `sasl_oidc_auth`.
    #[must_use]
    pub fn of_tokens(settings: &TokenSettings) -> Self {
        let needs = Self::new(settings.validation.endpoints(), &settings.client);
        Self { issuer: settings.issuers.are_discovered(), ..needs }
    }

    fn new(endpoints: &[ProviderEndpoint], client: &ClientSettings) -> Self {
        let has_secret =
            matches!(client.authentication, Authentication::SecretBasic(_) | Authentication::SecretPost(_));
        // Keys are public.
        let told = endpoints.iter().filter(|endpoint| has_secret && **endpoint != ProviderEndpoint::Keys);
        Self { endpoints: endpoints.to_vec(), told: told.copied().collect(), issuer: false }
    }

    /// Adds the needs of `other`.
    pub fn add(&mut self, other: Self) {
        for (all, more) in [(&mut self.endpoints, other.endpoints), (&mut self.told, other.told)] {
            let more = more.into_iter().filter(|endpoint| !all.contains(endpoint));
            let more: Vec<_> = more.collect();
            all.extend(more);
        }
        self.issuer |= other.issuer;
    }

    /// The error in the document itself.
    fn lack(&self, document: &DiscoveryDocument) -> Option<String> {
        match document.issuer.as_deref().filter(|_| self.issuer) {
            Some(discovered) => issuer::pattern(discovered),
            None if self.issuer && self.endpoints.contains(&ProviderEndpoint::Keys) => {
                Some(issuer::MISSING.to_owned())
            }
            None => None,
        }
    }
}

impl Oidc {
    /// Checks the provider at `uri`.
    ///
    /// # Errors
    /// All errors, in one line without secrets.
    pub async fn reach(
        &self,
        uri: &Url,
        needs: &Needs,
        deadline: Deadline,
    ) -> Result<ReachedProvider, String> {
        let provider = self.provider(uri);
        let Some(document) = provider.document(deadline).await else {
            return Err(self.trouble(&provider.http, "discovery", uri, deadline).await);
        };
        let needed = needs.endpoints.iter();
        let wrong = join_all(
            needed.map(|endpoint| self.reach_endpoint(&provider, &document, uri, *endpoint, deadline)),
        );
        let wrong = wrong.await.into_iter().filter_map(Result::err);
        let wrong: Vec<_> = wrong.chain(needs.lack(&document)).collect();
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let told = needs.told.iter().filter_map(|endpoint| document.address(*endpoint).ok());
        let mut told: Vec<_> = told.map(|address| address.url.origin().ascii_serialization()).collect();
        told.sort();
        told.dedup();
        Ok(ReachedProvider { remark: document.remark.clone(), told })
    }

    async fn reach_endpoint(
        &self,
        provider: &Arc<Provider>,
        document: &DiscoveryDocument,
        uri: &Url,
        endpoint: ProviderEndpoint,
        deadline: Deadline,
    ) -> Result<(), String> {
        let name = endpoint.name();
        let url = &document.address(endpoint).map_err(|lack| format!("discovery: {name} {lack}"))?.url;
        if endpoint == ProviderEndpoint::Keys {
            let keys = jwk::fetch(Arc::clone(provider), Duration::ZERO);
            return match timeout_at(deadline.instant().into(), keys).await {
                Ok(Some(_)) => Ok(()),
                _ => Err(self.trouble(&provider.http, name, url, deadline).await),
            };
        }
        // The document came from this origin.
        if url.origin() == uri.origin() {
            return Ok(());
        }
        self.http.host(url).reach(deadline).await.map(drop).map_err(|why| unreached(name, url, &why))
    }

    /// The reason for which nothing was fetched from `url`: that of a connection, otherwise the logged one.
    async fn trouble(&self, http: &ProviderHttp, what: &str, url: &Url, deadline: Deadline) -> String {
        if Instant::now().into_std() < deadline.instant()
            && let Err(why) = self.http.host(url).reach(deadline).await
        {
            return unreached(what, url, &why);
        }
        http.last_error().unwrap_or_else(|| format!("{what}: no complete answer in time"))
    }
}

fn unreached(what: &str, url: &Url, why: &str) -> String {
    format!("{what}: {} is not reached: {why}", url.origin().ascii_serialization())
}
