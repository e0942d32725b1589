//! The verification of a mail client's token.
//!
//! `jwks` verifies JWTs locally and refuses all other tokens. `introspection` asks the provider (RFC 7662)
//! about each token, and keeps no answer. `auto` verifies JWTs locally, and asks the provider about other
//! tokens, and while the keys are not available. A JWT with a wrong signature is refused without
//! introspection.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::time::Instant;

use super::claims::{ClaimsSource, NoAccount, Rules, TokenRefusal};
use super::client::Client;
use super::fetched::{Fetched, Newer};
use super::issuer;
use super::json::JsonObject;
use super::jwk::{KeySet, Signature};
use super::jws::{Jws, TokenForm};
use super::provider::ProviderEndpoint;
use super::settings::{TokenSettings, Validation};
use crate::model::secret::Secret;
use crate::model::{Deadline, Failure, Peer};

/// Bytes of a token.
const LONGEST: usize = 16 * 1024;

/// Verifies the tokens of one entry.
#[derive(Debug)]
pub struct TokenVerifier {
    pub(super) settings: TokenSettings,
    pub(super) client: Client,
    pub(super) keys: Arc<Fetched<KeySet>>,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenVerdict {
    /// The token is valid, for this account only.
    Account(String),
    /// The token is refused.
    Refused(TokenRefusal),
}

impl TokenVerifier {
    /// Verifies `token`. Introspection receives `peer`, with the default if it has no local port.
    ///
    /// # Errors
    /// [`Failure::Provider`] if the token cannot be verified now.
    pub async fn verify(
        &self,
        token: &Secret,
        peer: &Peer,
        default_local_port: Option<u16>,
        deadline: Deadline,
    ) -> Result<TokenVerdict, Failure> {
        let invalid = |detail: &str| Ok(TokenVerdict::Refused(TokenRefusal::invalid(detail)));
        if token.expose().is_empty() || token.expose().len() > LONGEST {
            return invalid("it is empty, or longer than 16 KiB");
        }
        if self.settings.validation != Validation::Introspection {
            match Jws::read(token.expose()) {
                TokenForm::Refused(flaw) => return invalid(flaw),
                TokenForm::Signed(jwt) => {
                    if let Some(verdict) = self.verify_here(&jwt, deadline).await? {
                        return Ok(verdict);
                    }
                    if self.settings.validation == Validation::Jwks {
                        return Err(Failure::Provider);
                    }
                }
                TokenForm::Opaque if self.settings.validation == Validation::Jwks => {
                    return invalid("it is no signed JWT, and validation is jwks");
                }
                TokenForm::Opaque => {}
            }
        }
        self.introspect(token, peer, default_local_port, deadline).await
    }

    /// Notes for `query --trace` why a token could not be verified.
    pub fn explain(&self) {
        self.client.provider.http.explain();
    }

    /// `None`: the keys or the issuer are not available.
    async fn verify_here(&self, jwt: &Jws<'_>, deadline: Deadline) -> Result<Option<TokenVerdict>, Failure> {
        let now = Instant::now().into_std();
        // With `auto` the other half is left for the introspection.
        let share = if self.settings.validation == Validation::Auto { 2 } else { 1 };
        let deadline = Deadline::from(now, deadline.instant().saturating_duration_since(now) / share);
        let Some(signature) = self.signature(jwt, deadline).await? else { return Ok(None) };
        let refused = |detail: &str| Ok(Some(TokenVerdict::Refused(TokenRefusal::invalid(detail))));
        match signature {
            Signature::Good => {}
            Signature::Bad => return refused("its signature is not that of the key"),
            Signature::UnknownKey => return refused("its key is none of the provider's"),
            Signature::Unproven => return refused("its signature is that of none of the provider's keys"),
            // Our own limit proves nothing about the token.
            Signature::Undecided => return Err(Failure::Provider),
        }
        let mut issuer = None;
        if self.settings.issuers.are_discovered() {
            let Some(document) = self.client.provider.document.get(deadline).await else { return Ok(None) };
            issuer = document.issuer.clone();
            if issuer.is_none() {
                self.client.provider.http.report(format_args!("{}", issuer::MISSING));
                return Ok(None);
            }
        }
        match jwt.claims() {
            Ok(claims) => {
                let source = ClaimsSource::Jwt { is_access_token: jwt.is_access_token };
                self.apply_rules(&claims, issuer.as_deref(), source).map(Some)
            }
            Err(flaw) => refused(flaw),
        }
    }

    /// Verifies the signature of `jwt`. `None`: the keys are not available.
    async fn signature(&self, jwt: &Jws<'_>, deadline: Deadline) -> Result<Option<Signature>, Failure> {
        let Some(keys) = self.keys.get(deadline).await else { return Ok(None) };
        let signature = keys.verify(jwt);
        let is_final = match signature {
            Signature::Good | Signature::Undecided => true,
            // The provider may use a new key.
            Signature::UnknownKey | Signature::Unproven => false,
            // Or a new key with an old name.
            Signature::Bad => self.keys.is_recent(&keys),
        };
        if is_final {
            return Ok(Some(signature));
        }
        match self.keys.newer(&keys, deadline).await {
            Newer::Another(keys) => Ok(Some(keys.verify(jwt))),
            Newer::TooSoon | Newer::Failed if signature == Signature::UnknownKey => Ok(None),
            // A key of the provider was tried: no introspection.
            Newer::TooSoon | Newer::Failed => Err(Failure::Provider),
        }
    }

    fn apply_rules(
        &self,
        claims: &JsonObject,
        issuer: Option<&str>,
        source: ClaimsSource,
    ) -> Result<TokenVerdict, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let rules = Rules { settings: &self.settings, issuer, source, now };
        match rules.account(claims) {
            Ok(name) => Ok(TokenVerdict::Account(name)),
            Err(NoAccount::Refused(refusal)) => Ok(TokenVerdict::Refused(refusal)),
            Err(NoAccount::Unclear(trouble)) => Err(self.unclear(&trouble)),
        }
    }

    /// An invalid answer of the provider is no denial.
    fn unclear(&self, trouble: &str) -> Failure {
        self.client.provider.http.report(format_args!("{trouble}"));
        Failure::Provider
    }

    async fn introspect(
        &self,
        token: &Secret,
        peer: &Peer,
        default_local_port: Option<u16>,
        deadline: Deadline,
    ) -> Result<TokenVerdict, Failure> {
        let scope = self.settings.client.scopes.join(" ");
        let port = match default_local_port {
            Some(port) if peer.local_port.is_empty() => port.to_string(),
            _ => peer.local_port.clone(),
        };
        // Not the peer's client_id, which the mail client chose.
        let mut fields = vec![
            ("token", token.expose()),
            ("token_type_hint", "access_token"),
            ("scope", &scope),
            ("service", &peer.service),
            ("client_ip", &peer.client_ip),
            ("local_ip", &peer.local_ip),
            ("local_port", &port),
        ];
        fields.retain(|(_, value)| !value.is_empty());
        let answer = self.client.post(ProviderEndpoint::Introspection, &fields, deadline).await;
        let answer = answer.ok_or(Failure::Provider)?;
        match answer.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => {
                let reason = "token is not active";
                return Ok(TokenVerdict::Refused(TokenRefusal { reason, detail: reason.to_owned() }));
            }
            // RFC 7662 2.2: it is required, and a boolean.
            active => {
                let lack = if active.is_some() { "is no boolean" } else { "is missing" };
                let endpoint = ProviderEndpoint::Introspection.name();
                return Err(self.unclear(&format!("{endpoint}: active {lack}")));
            }
        }
        let document = self.client.provider.document.get(deadline).await.ok_or(Failure::Provider)?;
        self.apply_rules(&answer, document.issuer.as_deref(), ClaimsSource::Introspection)
    }
}
