//! Whether a provider would serve us: its discovery document is fetched, its keys where tokens are
//! verified here, and what other endpoints are needed is connected to.
//!
//! What is said of it in the log is said here, too, and where `client_secret` would go: a discovery
//! document may send it to any public origin.
//!
//! No token is fetched, and none is asked about. A token is a credential that would be good from
//! then on for whoever finds it, it counts against the provider's limits, and a secret that is wrong
//! may lock our client out; and there is no mail client's token to ask about.

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
use crate::http::Unreached;
use crate::model::Deadline;

impl Validation {
    /// What of a provider is needed for it.
    fn endpoints(self) -> &'static [ProviderEndpoint] {
        match self {
            Self::Introspection => &[ProviderEndpoint::Introspection],
            Self::Jwks => &[ProviderEndpoint::Keys],
            Self::Auto => &[ProviderEndpoint::Keys, ProviderEndpoint::Introspection],
        }
    }
}

/// What is needed of a provider.
#[derive(Debug, Default)]
pub struct Needs {
    endpoints: Vec<ProviderEndpoint>,
    /// Those of them that are told `client_secret`.
    told: Vec<ProviderEndpoint>,
    /// The issuer that its tokens name.
    issuer: bool,
}

/// A provider that is there.
#[derive(Debug)]
pub struct ReachedProvider {
    /// What is strange about it, as in the log.
    pub remark: Option<String>,
    /// The origins that are told `client_secret`.
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
        // Keys are for everybody.
        let told = endpoints.iter().filter(|endpoint| has_secret && **endpoint != ProviderEndpoint::Keys);
        Self { endpoints: endpoints.to_vec(), told: told.copied().collect(), issuer: false }
    }

    /// What both need.
    pub fn add(&mut self, other: Self) {
        for (all, more) in [(&mut self.endpoints, other.endpoints), (&mut self.told, other.told)] {
            let more = more.into_iter().filter(|endpoint| !all.contains(endpoint));
            let more: Vec<_> = more.collect();
            all.extend(more);
        }
        self.issuer |= other.issuer;
    }

    /// What of it is wrong in the document itself.
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
    /// Whether the provider at `uri` is there, with what is needed of it.
    ///
    /// # Errors
    /// All that is wrong, in one line without secrets.
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
        // Where the document came from there is somebody.
        if url.origin() == uri.origin() {
            return Ok(());
        }
        self.connect(url, deadline).await.map_err(|why| unreached(name, url, &why))
    }

    async fn connect(&self, url: &Url, deadline: Deadline) -> Result<(), Unreached> {
        let host = self.http.host(url).map_err(|error| Unreached::of(&error))?;
        host.reach(deadline).await.map(drop)
    }

    /// Why nothing was fetched from `url`: what is in the way there, else what was told to the log.
    async fn trouble(&self, http: &ProviderHttp, what: &str, url: &Url, deadline: Deadline) -> String {
        if Instant::now().into_std() < deadline.instant()
            && let Err(why) = self.connect(url, deadline).await
        {
            return unreached(what, url, &why);
        }
        http.last_error().unwrap_or_else(|| format!("{what}: no complete answer in time"))
    }
}

fn unreached(what: &str, url: &Url, why: &Unreached) -> String {
    format!("{what}: {} is not reached: {why}", url.origin().ascii_serialization())
}
