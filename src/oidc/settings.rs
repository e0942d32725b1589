//! What the configuration says of identity providers, as values that cannot be wrong.

use std::time::Duration;

use url::Url;

use super::issuer::Issuers;
use super::private_key::PrivateKey;
use crate::model::secret::Secret;

/// `backend_oidc_auth`, and the part of `sasl_oidc_auth` that is the same: us, at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientSettings {
    /// `configuration_uri`: the provider's discovery document.
    pub configuration_uri: Url,
    /// `client_id`.
    pub client_id: String,
    /// `auth_method`, with what it needs.
    pub authentication: Authentication,
    /// `scopes`.
    pub scopes: Vec<String>,
}

/// How we prove to a provider who we are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// `none`: the `client_id` alone.
    None,
    /// `client_secret_basic` (RFC 6749 2.3.1).
    SecretBasic(Secret),
    /// `client_secret_post` (RFC 6749 2.3.1).
    SecretPost(Secret),
    /// `private_key_jwt` (RFC 7523 2.2).
    PrivateKey(PrivateKey),
}

/// `sasl_oidc_auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// Us at the provider; `scopes` are sent with introspection requests.
    pub client: ClientSettings,
    /// `validation`.
    pub validation: Validation,
    /// `jwks_cache_ttl`; 5 min by default.
    pub jwks_cache_ttl: Duration,
    /// `account_claim`: the claim that names who logs in.
    pub account_claim: Option<String>,
    /// `audiences`, `client_id` by default; `None` with `check_audience: false`.
    pub audiences: Option<Vec<String>>,
    /// `issuers` and `tenants`.
    pub issuers: Issuers,
    /// `require_audience`: also an introspection's answer must name one of `audiences`.
    pub require_audience: bool,
}

/// `validation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// Ask the provider about every token.
    Introspection,
    /// Verify JWTs here.
    Jwks,
    /// Verify JWTs here; ask about other tokens, and where no keys can be had.
    Auto,
}
