//! What the configuration says of identity providers: `backend_oidc_auth`, `sasl_oidc_auth`.
//!
//! A block that is not enabled may lack anything. What proves who we are is read here, also out of
//! files; a secret or key that the method does not use is neither read nor kept.

use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

use super::issuer::{Issuers, TENANT};
use super::private_key::PrivateKey;
use crate::document::{Found, Key, Kind, SecretKey, Section};
use crate::http::is_loopback;
use crate::http::settings::{shown, url};
use crate::model::secret::Secret;

const JWKS_TTL: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(168);

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

/// What `auth_method` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    SecretBasic,
    SecretPost,
    PrivateKey,
    None,
}

/// `auto` is resolved by what else there is.
const METHODS: &[(&str, Option<Method>)] = &[
    ("auto", None),
    ("client_secret_basic", Some(Method::SecretBasic)),
    ("client_secret_post", Some(Method::SecretPost)),
    ("private_key_jwt", Some(Method::PrivateKey)),
    ("none", Some(Method::None)),
];

const VALIDATIONS: &[(&str, Validation)] =
    &[("introspection", Validation::Introspection), ("jwks", Validation::Jwks), ("auto", Validation::Auto)];

/// Reads `backend_oidc_auth` of an entry; nothing if it is not enabled.
pub fn backend(entry: &Section<'_>) -> Option<ClientSettings> {
    client(&entry.renamed_key("backend_oidc_auth", "oidc_auth").section("BackendOidc"))
}

/// Reads `sasl_oidc_auth` of an entry; nothing if it is not enabled.
pub fn tokens(entry: &Section<'_>) -> Option<TokenSettings> {
    let block = entry.key("sasl_oidc_auth").section("SaslOidc");
    let is_enabled = block.key("enabled").flag().or(false);
    let validation = block.key("validation").choice(VALIDATIONS).or(Validation::Introspection);
    let jwks_cache_ttl = block.key("jwks_cache_ttl").duration(JWKS_TTL).or(Duration::from_mins(5));
    let account_claim = account_claim(&block.key("account_claim"), is_enabled);
    let require_audience = block.key("require_audience").flag();
    let audiences = audiences(&block, &require_audience, is_enabled);
    let issuers = issuers(&block, is_enabled);
    let require_audience = require_audience.or(false);
    let client = client(&block)?;
    let own = || vec![client.client_id.clone()];
    Some(TokenSettings {
        audiences: audiences.map(|named| if named.is_empty() { own() } else { named }),
        client,
        validation,
        jwks_cache_ttl,
        account_claim,
        issuers,
        require_audience,
    })
}

/// What both blocks have.
fn client(block: &Section<'_>) -> Option<ClientSettings> {
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
    let key = uri.key.clone();
    let configuration_uri = uri.required().and_then(|text| provider(&key, &text));
    // RFC 6749 A.1.
    if client_id.as_ref().is_some_and(|id| id.is_empty() || id.chars().any(char::is_control)) {
        client_id.key.error("must not be empty, and holds no control characters");
    }
    let client_id = client_id.required();
    let authentication = authentication(method, &secret, private_key);
    Some(ClientSettings {
        configuration_uri: configuration_uri?,
        client_id: client_id?,
        authentication: authentication?,
        scopes,
    })
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

fn provider(key: &Key<'_>, text: &str) -> Option<Url> {
    let url = url(key, text)?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        key.error("the URL must not hold a user name, a password or a fragment (`#`)");
        return None;
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let told = key.warning("an identity provider beyond loopback without TLS");
        told.hint("whoever is on the way there reads its tokens; write https://");
    }
    Some(url)
}

/// `auth_method`, or what stands for `auto`, with what it needs.
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
    let secrets = secret.keys().filter(|_| !uses_secret);
    let unused_key = private_key.is_set() && method != Method::PrivateKey;
    for key in secrets.chain(Some(&private_key.key).filter(|_| unused_key)) {
        let name = METHODS.iter().find(|(_, choice)| *choice == Some(method)).map_or("", |(name, _)| name);
        let told = key.warning(format!("has no effect with auth_method {name}"));
        if named.is_none() {
            told.hint("which is what private_key_file means, unless auth_method says otherwise");
        }
    }
    if uses_secret && !secret.is_set() {
        secret.given().missing();
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

/// `account_claim`; without it, what names the account may be the user's to change.
fn account_claim(key: &Key<'_>, is_enabled: bool) -> Option<String> {
    let claim = key.word().get().filter(|claim| !claim.is_empty());
    match &claim {
        Some(claim) if !claim.chars().all(|c| c.is_ascii_graphic()) => {
            key.error("a claim's name is printable ASCII");
        }
        None if is_enabled => {
            let message = "is not set: `username`, `preferred_username` or `sub` names the account";
            let hint = "users may change some of them at many providers; name the one that they cannot";
            key.warning(message).hint(hint);
        }
        _ => {}
    }
    claim
}

/// `audiences`, empty if our own `client_id` is meant; nothing with `check_audience: false`.
fn audiences(block: &Section<'_>, required: &Found<'_, bool>, is_enabled: bool) -> Option<Vec<String>> {
    let key = block.key("audiences");
    let named = words(&key, |audience| !audience.is_empty(), "an audience is not empty");
    let check = block.key("check_audience");
    if check.flag().or(true) {
        return Some(named);
    }
    if is_enabled {
        check.warning("a token that was made for any other client of the provider logs in");
        let set = [(&key, !named.is_empty()), (&required.key, required.as_ref() == Some(&true))];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            key.warning("has no effect with `check_audience: false`");
        }
    }
    None
}

/// `issuers` and `tenants`: one without the other would let in everybody's tenants, or nobody.
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
    match (is_pattern, issuers.tenants.is_empty()) {
        _ if !is_enabled => {}
        (true, true) => {
            tenants.missing().hint(format!("`{TENANT}` in issuers stands for each of them"));
        }
        (false, false) => {
            tenants.warning(format!("has no effect without `{TENANT}` in `issuers`"));
        }
        (true, false) | (false, true) => {}
    }
    issuers
}
