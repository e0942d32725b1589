//! OpenID Connect: the broker's own tokens for APIs (RFC 6749 4.4), and the tokens of mail clients
//! (RFC 7662, RFC 7519).
//!
//! Discovery documents, keys and own tokens are fetched once for all entries that need them (`fetched`), and
//! kept while they are in use. The result for a mail client's token is not kept.

mod algorithm;
mod bearer;
mod claims;
mod client;
mod fetched;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod issuer;
mod json;
mod jwk;
mod jws;
mod private_key;
mod provider;
mod provider_http;
mod reach;
pub mod settings;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::http::Http;
use crate::model::weak_map::WeakMap;
pub use bearer::{Bearer, Token};
pub use claims::TokenRefusal;
use client::Client;
use fetched::Fetched;
pub use issuer::{Issuers, TENANT};
use jwk::KeySet;
pub use private_key::PrivateKey;
use provider::Provider;
pub use provider::ProviderEndpoint;
pub use reach::{Needs, ReachedProvider};
pub use settings::{Authentication, ClientSettings, TokenSettings, Validation};
pub use verify::{TokenVerdict, TokenVerifier};

/// The identity providers: documents, keys and own tokens, each fetched once for all entries.
#[derive(Debug)]
pub struct Oidc {
    http: Arc<Http>,
    providers: WeakMap<Url, Provider>,
    bearers: WeakMap<ClientSettings, Bearer>,
    keys: WeakMap<(Url, Duration), Fetched<KeySet>>,
}

impl Oidc {
    /// Fetches nothing yet.
    #[must_use]
    pub fn new(http: Arc<Http>) -> Self {
        Self { http, providers: WeakMap::default(), bearers: WeakMap::default(), keys: WeakMap::default() }
    }

    /// Own tokens; shared by entries with equal settings.
    pub fn bearer(&self, settings: &ClientSettings) -> Arc<Bearer> {
        self.bearers.get_or_make(settings.clone(), || Bearer::new(self.client(settings)))
    }

    /// Verifies tokens of mail clients. Entries with the same provider and TTL share its keys.
    pub fn verifier(&self, settings: &TokenSettings) -> TokenVerifier {
        let client = self.client(&settings.client);
        let ttl = settings.jwks_cache_ttl;
        let keys = self.keys.get_or_make((settings.client.configuration_uri.clone(), ttl), || {
            let provider = Arc::clone(&client.provider);
            Fetched::new(move || jwk::fetch(Arc::clone(&provider), ttl))
        });
        TokenVerifier { settings: settings.clone(), client, keys }
    }

    fn client(&self, settings: &ClientSettings) -> Client {
        Client { provider: self.provider(&settings.configuration_uri), settings: settings.clone() }
    }

    fn provider(&self, uri: &Url) -> Arc<Provider> {
        self.providers.get_or_make(uri.clone(), || Provider::new(Arc::clone(&self.http), uri))
    }
}

#[cfg(test)]
mod tests;
