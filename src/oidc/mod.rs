//! OpenID Connect: our own tokens for the APIs that are asked (RFC 6749 4.4), and the tokens that
//! mail clients log in with (RFC 7662, RFC 7519).
//!
//! Whatever a provider gives (discovery document, keys, our tokens) is fetched once for all who
//! need it, see `fetched`, and is kept as long as somebody does. What it says of a mail client's
//! token is not kept.

mod algorithm;
mod bearer;
mod claims;
mod client;
mod fetched;
mod issuer;
mod json;
mod jwk;
mod jws;
mod private_key;
mod provider;
mod provider_http;
mod reach;
mod refusal;
pub mod settings;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::http::Http;
use crate::model::weak_map::WeakMap;
pub use bearer::{Bearer, Token};
use client::Client;
use fetched::Fetched;
pub use issuer::{Issuers, TENANT};
use jwk::KeySet;
pub use private_key::PrivateKey;
use provider::Provider;
pub use provider::ProviderEndpoint;
pub use reach::{Needs, ReachedProvider};
pub use refusal::TokenRefusal;
pub use settings::{Authentication, ClientSettings, TokenSettings, Validation};
pub use verify::{TokenVerdict, TokenVerifier};

/// All that is known of identity providers: documents, keys and tokens, each fetched once for all
/// who need it.
pub struct Oidc {
    http: Arc<Http>,
    providers: WeakMap<Url, Provider>,
    bearers: WeakMap<ClientSettings, Bearer>,
    keys: WeakMap<(Url, Duration), Fetched<KeySet>>,
}

impl Oidc {
    /// Nothing is fetched yet.
    #[must_use]
    pub fn new(http: Arc<Http>) -> Self {
        Self { http, providers: WeakMap::default(), bearers: WeakMap::default(), keys: WeakMap::default() }
    }

    /// Our tokens at a provider; the same for equal settings, as long as somebody holds it.
    pub fn bearer(&self, settings: &ClientSettings) -> Arc<Bearer> {
        self.bearers.get_or_make(settings.clone(), || Bearer::new(self.client(settings)))
    }

    /// Judges tokens at a provider. Its keys are shared by all who keep them equally long.
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

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
