//! Checks a provider: fetches its discovery document, its keys if tokens are verified locally, and connects
//! to the other endpoints that are needed.
//!
//! The result also contains the deviations that the log reports, and the origins that would receive
//! `client_secret`: a discovery document may name any public origin.
//!
//! No token is fetched: it would be a valid credential, it counts against the provider's limits, and a wrong
//! secret may lock the client out. No token is introspected: there is no mail client's token.

use std::collections::{BTreeMap, BTreeSet};
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

/// The needs of entries at a provider.
#[derive(Debug, Default)]
pub struct Needs {
    /// The endpoints, and whether they receive `client_secret`.
    endpoints: BTreeMap<ProviderEndpoint, bool>,
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
        Self::new(&[ProviderEndpoint::Token], client, false)
    }

    /// Those of `sasl_oidc_auth`.
    #[must_use]
    pub fn of_tokens(settings: &TokenSettings) -> Self {
        let endpoints: &[_] = match settings.validation {
            Validation::Introspection => &[ProviderEndpoint::Introspection],
            Validation::Jwks => &[ProviderEndpoint::Keys],
            Validation::Auto => &[ProviderEndpoint::Keys, ProviderEndpoint::Introspection],
        };
        Self::new(endpoints, &settings.client, settings.issuers.are_discovered())
    }

    fn new(endpoints: &[ProviderEndpoint], client: &ClientSettings, issuer: bool) -> Self {
        let has_secret =
            matches!(client.authentication, Authentication::SecretBasic(_) | Authentication::SecretPost(_));
        // Keys are public.
        let is_told = |endpoint| has_secret && endpoint != ProviderEndpoint::Keys;
        Self { endpoints: endpoints.iter().map(|endpoint| (*endpoint, is_told(*endpoint))).collect(), issuer }
    }

    /// Adds the needs of `other`.
    pub fn add(&mut self, other: Self) {
        for (endpoint, is_told) in other.endpoints {
            *self.endpoints.entry(endpoint).or_default() |= is_told;
        }
        self.issuer |= other.issuer;
    }

    /// The error in the document itself.
    fn lack(&self, document: &DiscoveryDocument) -> Option<String> {
        match &document.issuer {
            _ if !self.issuer => None,
            Some(discovered) => issuer::pattern(discovered),
            None => self.endpoints.contains_key(&ProviderEndpoint::Keys).then(|| issuer::MISSING.to_owned()),
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
        let Some(document) = provider.document.get(deadline).await else {
            return Err(self.trouble(&provider.http, "discovery", uri, deadline).await);
        };
        let needed = needs.endpoints.keys();
        let wrong = join_all(
            needed.map(|endpoint| self.reach_endpoint(&provider, &document, uri, *endpoint, deadline)),
        );
        let wrong = wrong.await.into_iter().filter_map(Result::err);
        let wrong: Vec<_> = wrong.chain(needs.lack(&document)).collect();
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let told = needs.endpoints.iter().filter(|(_, is_told)| **is_told);
        let told = told.filter_map(|(endpoint, _)| document.address(*endpoint).ok());
        let told: BTreeSet<_> = told.map(|address| address.url.origin().ascii_serialization()).collect();
        Ok(ReachedProvider { remark: document.remark.clone(), told: told.into_iter().collect() })
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
