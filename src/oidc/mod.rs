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
mod contact;
mod fetched;
mod issuer;
mod json;
mod jwk;
mod jws;
mod private_key;
mod provider;
mod reach;
pub mod settings;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use url::Url;

use crate::http::Http;
pub use bearer::{Bearer, Token};
use client::Client;
use fetched::Fetched;
pub use issuer::{Issuers, TENANT};
use jwk::KeySet;
pub use private_key::PrivateKey;
pub use provider::Endpoint;
use provider::Provider;
pub use reach::{Found, Needs};
pub use settings::{Authentication, ClientSettings, TokenSettings, Validation};
pub use verify::{Refusal, Verdict, Verifier};

/// All that is known of identity providers: documents, keys and tokens, each fetched once for all
/// who need it.
pub struct Oidc {
    http: Arc<Http>,
    providers: InUse<Url, Provider>,
    bearers: InUse<ClientSettings, Bearer>,
    keys: InUse<(Url, Duration), Fetched<KeySet>>,
}

impl Oidc {
    /// Nothing is fetched yet.
    #[must_use]
    pub fn new(http: Arc<Http>) -> Self {
        Self { http, providers: InUse::default(), bearers: InUse::default(), keys: InUse::default() }
    }

    /// Our tokens at a provider; the same for equal settings, as long as somebody holds it.
    pub fn bearer(&self, settings: &ClientSettings) -> Arc<Bearer> {
        self.bearers.of(settings, || Bearer::new(self.client(settings)))
    }

    /// Judges tokens at a provider. Its keys are shared by all who keep them equally long.
    pub fn verifier(&self, settings: &TokenSettings) -> Verifier {
        let client = self.client(&settings.client);
        let ttl = settings.jwks_cache_ttl;
        let keys = self.keys.of(&(settings.client.configuration_uri.clone(), ttl), || {
            let provider = Arc::clone(&client.provider);
            Fetched::new(move || jwk::fetch(Arc::clone(&provider), ttl))
        });
        Verifier { settings: settings.clone(), client, keys }
    }

    fn client(&self, settings: &ClientSettings) -> Client {
        Client { provider: self.provider(&settings.configuration_uri), settings: settings.clone() }
    }

    fn provider(&self, uri: &Url) -> Arc<Provider> {
        self.providers.of(uri, || Provider::new(Arc::clone(&self.http), uri))
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").finish_non_exhaustive()
    }
}

/// What is in use, by what makes it the same: as many as the configuration names, for what
/// nobody holds any longer goes.
struct InUse<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for InUse<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> InUse<K, V> {
    fn of(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.get(key).and_then(Weak::upgrade) {
            return value;
        }
        let value = Arc::new(make());
        known.retain(|_, value| value.strong_count() > 0);
        known.insert(key.clone(), Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests;
