//! `backend_oidc_auth` and `sasl_oidc_auth`: identity providers.
//!
//! A block that is not enabled may be incomplete. Secrets and keys are read here, also out of files; one
//! that `auth_method` does not use is neither read nor kept.

use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

use super::issuer::{Issuers, TENANT};
use super::private_key::PrivateKey;
use crate::document::{Found, Key, Kind, SecretKey, Section, no_effect};
use crate::http::settings::{plain_url, shown, warn_of_plain_http};
use crate::model::secret::Secret;

const JWKS_TTL: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(168);

/// `backend_oidc_auth`, and the part of `sasl_oidc_auth` that is the same: a client of a provider.
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

impl ClientSettings {
    /// The origin of the provider, as the log names it.
    #[must_use]
    pub fn provider(&self) -> String {
        self.configuration_uri.origin().ascii_serialization()
    }
}

/// `auth_method`: how the client proves to the provider who it is.
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
    /// The client; `scopes` are sent with introspection requests.
    pub client: ClientSettings,
    /// `validation`.
    pub validation: Validation,
    /// `jwks_cache_ttl`; 5 min by default.
    pub jwks_cache_ttl: Duration,
    /// `account_claim`: the claim that names the account.
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
    /// Verify JWTs here; ask about other tokens, and if there are no keys.
    Auto,
}

/// A value of `auth_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    SecretBasic,
    SecretPost,
    PrivateKey,
    None,
}

/// What `auto` means depends on the other keys.
const METHODS: &[(&str, Option<Method>)] = &[
    ("auto", None),
    ("client_secret_basic", Some(Method::SecretBasic)),
    ("client_secret_post", Some(Method::SecretPost)),
    ("private_key_jwt", Some(Method::PrivateKey)),
    ("none", Some(Method::None)),
];

/// Reads `backend_oidc_auth` of an entry; nothing if it is not enabled.
pub fn backend(entry: &Section<'_>) -> Option<ClientSettings> {
    client(&entry.renamed_key("backend_oidc_auth", "oidc_auth").section("BackendOidc"), false)
}

/// Reads `sasl_oidc_auth` of an entry; nothing if it is not enabled.
pub fn tokens(entry: &Section<'_>) -> Option<TokenSettings> {
    let block = entry.key("sasl_oidc_auth").section("SaslOidc");
    let is_enabled = block.key("enabled").flag().or(false);
    let validation = block.key("validation").choice(&[
        ("introspection", Validation::Introspection),
        ("jwks", Validation::Jwks),
        ("auto", Validation::Auto),
    ]);
    let validation = validation.or(Validation::Introspection);
    let jwks_cache_ttl = block.key("jwks_cache_ttl").duration(JWKS_TTL).or(Duration::from_mins(5));
    let account_claim = account_claim(&block.key("account_claim"), is_enabled);
    let require_audience = block.key("require_audience").flag().or(false);
    let mut audiences = audiences(&block, require_audience, is_enabled);
    let issuers = issuers(&block, is_enabled);
    let client = client(&block, validation == Validation::Introspection)?;
    if let Some(named) = audiences.as_mut().filter(|named| named.is_empty()) {
        named.push(client.client_id.clone());
    }
    Some(TokenSettings {
        client,
        validation,
        jwks_cache_ttl,
        account_claim,
        audiences,
        issuers,
        require_audience,
    })
}

/// What both blocks have. `introspects` says whether the client asks about every token: it must be known to
/// the provider then (RFC 7662 2.1). `auth_method: none` says that this provider does without.
fn client(block: &Section<'_>, introspects: bool) -> Option<ClientSettings> {
    let enabled = block.key("enabled").flag();
    let uri = block.key("configuration_uri").text().shown(|text| shown(text));
    let client_id = block.key("client_id").word();
    // RFC 6749 3.3.
    let is_scope = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    let is_scope = |scope: &str| !scope.is_empty() && scope.chars().all(is_scope);
    let scopes = words(&block.key("scopes"), is_scope, "a scope is printable ASCII without blanks");
    let method = block.key("auth_method").choice(METHODS).or(None);
    let secret = block.secret("client_secret", "client_secret_file");
    let private_key = block.key("private_key_file").text();
    if !enabled.is_set() && uri.as_ref().is_some() {
        block.warning("has no effect without `enabled: true`");
    }
    if !enabled.or(false) {
        return None;
    }
    let key = block.key("configuration_uri");
    let configuration_uri = uri.required().and_then(|text| plain_url(&key, &text, None));
    if let Some(uri) = &configuration_uri {
        warn_of_plain_http(&key, uri, "credentials and tokens");
    }
    // RFC 6749 A.1.
    let is_client_id = |id: &String| !id.is_empty() && !id.chars().any(char::is_control);
    let client_id = client_id.check(|id| {
        is_client_id(id).then_some(()).ok_or("must not be empty, and holds no control characters")
    });
    let client_id = client_id.required();
    let authentication = authentication(method, &secret, private_key);
    let client = ClientSettings {
        configuration_uri: configuration_uri?,
        client_id: client_id?,
        authentication: authentication?,
        scopes,
    };
    if introspects && method.is_none() && client.authentication == Authentication::None {
        let message = "asks the provider about tokens without a client_secret, which most providers refuse";
        block.warning(message).hint("set client_secret_file, or private_key_file, or `validation: jwks`");
    }
    Some(client)
}

/// The items of the list `key`; `message` says what one that is not legal should be.
fn words(key: &Key<'_>, is_legal: impl Fn(&str) -> bool, message: &str) -> Vec<String> {
    let word = |item: Key<'_>| {
        let word = item.word().get()?;
        if !is_legal(&word) {
            item.error(message);
        }
        Some(word)
    };
    key.list(Kind::Word).into_iter().filter_map(word).collect()
}

/// `auth_method`, or what `auto` means here, with the secret or key that it needs.
fn authentication(
    named: Option<Method>,
    secret: &SecretKey<'_>,
    private_key: Found<'_, String>,
) -> Option<Authentication> {
    let method = named.unwrap_or(match (private_key.is_set(), secret.is_set()) {
        (true, _) => Method::PrivateKey,
        (false, true) => Method::SecretBasic,
        (false, false) => Method::None,
    });
    let uses_secret = matches!(method, Method::SecretBasic | Method::SecretPost);
    let name = METHODS.iter().find(|(_, choice)| *choice == Some(method)).map_or("", |(name, _)| name);
    let why = match named {
        Some(_) => format!("with auth_method {name}"),
        None => format!("with auth_method {name}, which `auto` means if private_key_file is set"),
    };
    if !uses_secret {
        no_effect(secret.keys().cloned(), &why);
    } else if !secret.is_set() {
        secret.given().missing();
    }
    if method != Method::PrivateKey {
        no_effect([private_key.key.clone()], &why);
    }
    match method {
        Method::None => Some(Authentication::None),
        Method::SecretBasic => secret.read().map(Authentication::SecretBasic),
        Method::SecretPost => secret.read().map(Authentication::SecretPost),
        Method::PrivateKey => {
            let pem = private_key.read_secret();
            let key = private_key.key.clone();
            private_key.required()?;
            PrivateKey::read(pem?).map_err(|message| key.error(message)).ok().map(Authentication::PrivateKey)
        }
    }
}

/// `account_claim`; without it the broker takes claims that users may be able to change.
fn account_claim(key: &Key<'_>, is_enabled: bool) -> Option<String> {
    let claim = key.word().get().filter(|claim| !claim.is_empty());
    if claim.as_ref().is_some_and(|claim| !claim.chars().all(|c| c.is_ascii_graphic())) {
        key.error("a claim's name is printable ASCII");
    } else if claim.is_none() && is_enabled {
        let told = key.warning("is not set: `username`, `preferred_username` or `sub` names the account");
        told.hint("at many providers users may change some of them; name a claim that they cannot change");
    }
    claim
}

/// `audiences`, empty if they are the `client_id`; nothing with `check_audience: false`.
fn audiences(block: &Section<'_>, require: bool, is_enabled: bool) -> Option<Vec<String>> {
    let named = words(&block.key("audiences"), |name| !name.is_empty(), "an audience is not empty");
    let check = block.key("check_audience");
    if check.flag().or(true) {
        return Some(named);
    }
    if is_enabled {
        check.warning("accepts tokens that were issued for any other client of the provider");
        let set = [(!named.is_empty(), "audiences"), (require, "require_audience")];
        let keys = set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| block.key(name));
        no_effect(keys, "with `check_audience: false`");
    }
    None
}

/// `issuers` and `tenants`. With a pattern alone, any tenant of the provider would be accepted.
fn issuers(block: &Section<'_>, is_enabled: bool) -> Issuers {
    let is_issuer = |name: &str| {
        let rest = name.replacen(TENANT, "", 1);
        !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || "{}".contains(c))
    };
    let message = format!("an issuer is what `iss` of its tokens says, with `{TENANT}` once at the most");
    let names = words(&block.key("issuers"), is_issuer, &message);
    let tenants = block.key("tenants");
    let is_tenant = |tenant: &str| {
        !tenant.is_empty() && tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    let message = "a tenant is what `tid` of its tokens says: letters, digits, `-`, `.` and `_`";
    let issuers = Issuers { names, tenants: words(&tenants, is_tenant, message) };
    let is_pattern = issuers.names.iter().any(|name| name.contains(TENANT));
    if is_enabled && is_pattern && issuers.tenants.is_empty() {
        tenants.missing().hint(format!("`{TENANT}` in issuers stands for each of them"));
    } else if is_enabled && !is_pattern && !issuers.tenants.is_empty() {
        tenants.warning(format!("has no effect without `{TENANT}` in `issuers`"));
    }
    issuers
}
