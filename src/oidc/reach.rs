//! Whether a provider would serve us: its discovery document is fetched, its keys where tokens are
//! verified here, and what other endpoints are needed is connected to.
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
use super::contact::Contact;
use super::jwk;
use super::provider::{Document, Endpoint, Provider};
use super::settings::Validation;
use crate::ask::Deadline;
use crate::exchange::Unreached;

impl Validation {
    /// What of a provider is needed for it.
    #[must_use]
    pub fn endpoints(self) -> &'static [Endpoint] {
        match self {
            Self::Introspection => &[Endpoint::Introspection],
            Self::Jwks => &[Endpoint::Keys],
            Self::Auto => &[Endpoint::Keys, Endpoint::Introspection],
        }
    }
}

impl Oidc {
    /// Whether the provider at `uri` is there, with these endpoints.
    ///
    /// # Errors
    /// All that is wrong, in one line without secrets.
    pub async fn reach(&self, uri: &Url, endpoints: &[Endpoint], deadline: Deadline) -> Result<(), String> {
        let provider = self.provider(uri);
        let Some(document) = provider.document(deadline).await else {
            return Err(self.trouble(&provider.contact, "discovery", uri, deadline).await);
        };
        let needed = endpoints.iter();
        let wrong = join_all(
            needed.map(|endpoint| self.reach_endpoint(&provider, &document, uri, *endpoint, deadline)),
        );
        let wrong: Vec<_> = wrong.await.into_iter().filter_map(Result::err).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    async fn reach_endpoint(
        &self,
        provider: &Arc<Provider>,
        document: &Document,
        uri: &Url,
        endpoint: Endpoint,
        deadline: Deadline,
    ) -> Result<(), String> {
        let name = endpoint.name();
        let url = &document.address(endpoint).map_err(|lack| format!("discovery: {name} {lack}"))?.url;
        if endpoint == Endpoint::Keys {
            let keys = jwk::fetch(Arc::clone(provider), Duration::ZERO);
            return match timeout_at(deadline.instant().into(), keys).await {
                Ok(Some(_)) => Ok(()),
                _ => Err(self.trouble(&provider.contact, name, url, deadline).await),
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
    async fn trouble(&self, contact: &Contact, what: &str, url: &Url, deadline: Deadline) -> String {
        if Instant::now().into_std() < deadline.instant()
            && let Err(why) = self.connect(url, deadline).await
        {
            return unreached(what, url, &why);
        }
        contact.last_trouble().unwrap_or_else(|| format!("{what}: no complete answer in time"))
    }
}

fn unreached(what: &str, url: &Url, why: &Unreached) -> String {
    format!("{what}: {} is not reached: {why}", url.origin().ascii_serialization())
}
