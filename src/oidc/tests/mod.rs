//! A provider of the tests' own, and what is asked of it.

mod forged;
mod hosts;
mod introspection;
mod issuers;
mod keys;
mod limits;
mod pem;
mod provider;
mod rules;
mod signing;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{
    Authentication, ClientSettings, Issuers, Oidc, TokenSettings, TokenVerdict, TokenVerifier, Validation,
};
use crate::http::{Http, HttpSettings};
use crate::model::secret::Secret;
use crate::model::{Deadline, Failure, Peer};
use provider::Provider;

/// Everything that is asked, as the broker does it.
fn oidc() -> Oidc {
    let settings = HttpSettings::plain(32);
    Oidc::new(Arc::new(Http::new(settings, &Arc::default())))
}

fn client(provider: &Provider, authentication: Authentication) -> ClientSettings {
    ClientSettings {
        configuration_uri: Url::parse(&provider.url("/configuration")).expect("a URL"),
        client_id: "us:1".to_owned(),
        authentication,
        scopes: vec!["mail".to_owned(), "send".to_owned()],
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Tokens for `us:1`, keys kept for 5 min.
fn settings(provider: &Provider, validation: Validation) -> TokenSettings {
    TokenSettings {
        client: client(provider, Authentication::SecretBasic(secret("s&cret"))),
        validation,
        jwks_cache_ttl: Duration::from_mins(5),
        account_claim: None,
        audiences: Some(vec!["us:1".to_owned(), "us2".to_owned()]),
        issuers: Issuers::default(),
        require_audience: false,
    }
}

fn in_time() -> Deadline {
    Deadline::from(tokio::time::Instant::now().into_std(), Duration::from_secs(8))
}

async fn verify(verifier: &TokenVerifier, token: &str) -> Result<TokenVerdict, Failure> {
    verifier.verify(&secret(token), &Peer::default(), None, in_time()).await
}

fn account(name: &str) -> Result<TokenVerdict, Failure> {
    Ok(TokenVerdict::Account(name.to_owned()))
}

fn is_refused(verdict: &Result<TokenVerdict, Failure>) -> bool {
    matches!(verdict, Ok(TokenVerdict::Refused(_)))
}

/// So much later; between network exchanges alone, which know no such leaps.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits for what happens in the background.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 5 s");
}
