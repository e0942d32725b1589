//! The rules for claims, and the account name: the same for JWTs and for introspection (RFC 7519 4.1,
//! RFC 9068 4, RFC 7662 2.2).
//!
//! The answer of an introspection comes from the provider itself, so claims may be missing in it. Those that
//! are there must be right. A malformed one is a failure of the provider, not of the token.

use serde_json::Value;

use super::issuer;
use super::json::{self, JsonObject};
use super::provider::ProviderEndpoint;
use super::settings::TokenSettings;
use crate::model::is_account_name;

/// How much later than `exp` a JWT still passes, in seconds: clocks differ.
const LEEWAY: f64 = 30.0;
/// How far `nbf` and `iat` may be in the future, in seconds.
const AHEAD: f64 = 60.0;
const LONGEST_NAME: usize = 255;

const OTHER_KINDS: [&str; 9] = [
    "id",
    "id_token",
    "id+jwt",
    "refresh",
    "refresh_token",
    "offline",
    "logout",
    "logout_token",
    "logout+jwt",
];

/// Claims about the client or the scope. An access token with `auth_time` has one of them (RFC 9068 2.2), an
/// ID token has none.
const OF_ACCESS: [&str; 8] = ["scope", "scp", "client_id", "cid", "appid", "azp", "roles", "jti"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimsSource {
    Jwt {
        /// As its header says.
        is_access_token: bool,
    },
    Introspection,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefusal {
    /// For the SMTP client.
    pub reason: &'static str,
    /// For the log. Never contains the token.
    pub detail: String,
}

/// The reason for which there is no account.
#[derive(Debug)]
pub(super) enum NoAccount {
    Refused(TokenRefusal),
    /// The answer of the provider is invalid, so nothing is known about the token; the reason, for the log.
    Unclear(String),
}

impl TokenRefusal {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self { reason: "invalid token", detail: detail.into() }
    }
}

fn invalid(detail: impl Into<String>) -> NoAccount {
    NoAccount::Refused(TokenRefusal::invalid(detail))
}

fn missing(claim: &str) -> NoAccount {
    invalid(format!("it has no {claim}"))
}

#[derive(Debug)]
pub(super) struct Rules<'r> {
    pub(super) settings: &'r TokenSettings,
    /// The discovered issuer, if it applies.
    pub(super) issuer: Option<&'r str>,
    pub(super) source: ClaimsSource,
    /// Seconds since 1970.
    pub(super) now: f64,
}

impl Rules<'_> {
    pub(super) fn account(&self, claims: &JsonObject) -> Result<String, NoAccount> {
        self.kind(claims)?;
        self.issuer(claims)?;
        self.times(claims)?;
        self.audience(claims)?;
        self.name(claims)
    }

    fn is_introspection(&self) -> bool {
        self.source == ClaimsSource::Introspection
    }

    /// Refuses an ID token, which tells a web application who its user is, a refresh token, which gets others,
    /// and a logout token, which ends a session: none of them gives access (OpenID Connect Core 1.0 2 and
    /// 3.3.2.11, Back-Channel Logout 1.0 2.4; `typ` is Keycloak's, `token_use` Cognito's). A token without any
    /// of these signs cannot be distinguished from an access token.
    fn kind(&self, claims: &JsonObject) -> Result<(), NoAccount> {
        let mut signs = ["nonce", "at_hash", "c_hash", "s_hash", "events"].into_iter();
        if !self.is_introspection()
            && let Some(sign) = signs.find(|name| claims.contains_key(*name))
        {
            return Err(invalid(format!("it holds {sign}, so it is no access token")));
        }
        let kinds: &[&str] = match self.source {
            ClaimsSource::Jwt { .. } => &["typ", "token_use"],
            ClaimsSource::Introspection => &["typ", "token_use", "token_type"],
        };
        let named = kinds.iter().filter_map(|name| json::text(claims, name)).map(str::to_ascii_lowercase);
        let named: Vec<_> = named.collect();
        if let Some(kind) = named.iter().find(|kind| OTHER_KINDS.contains(&kind.as_str())) {
            return Err(invalid(format!("it is of kind {kind:?}, and no access token")));
        }
        let is_bare = self.source == ClaimsSource::Jwt { is_access_token: false } && named.is_empty();
        let says = |name: &str| claim(claims, name).is_some();
        if is_bare && says("auth_time") && !OF_ACCESS.iter().any(|name| says(name)) {
            let why = "it tells of a login (auth_time) and of no client or scope, so it is no access token";
            return Err(invalid(why));
        }
        Ok(())
    }

    fn issuer(&self, claims: &JsonObject) -> Result<(), NoAccount> {
        let issuers = &self.settings.issuers;
        let (iss, tenant) = (claim(claims, "iss"), json::text(claims, "tid"));
        let is_right = |iss: &Value| match self.issuer {
            _ if !issuers.are_discovered() => iss.as_str().is_some_and(|iss| issuers.hold(iss, tenant)),
            Some(discovered) => iss == discovered,
            None => self.is_introspection(),
        };
        if issuers.are_discovered()
            && let Some(trouble) = self.issuer.and_then(issuer::pattern)
        {
            return Err(NoAccount::Unclear(trouble));
        }
        match iss {
            // With `tenants` set, the tenant must be known.
            None if self.is_introspection() && issuers.tenants.is_empty() => Ok(()),
            None => Err(missing("iss")),
            Some(iss) if is_right(iss) => Ok(()),
            Some(iss) if self.is_introspection() && !iss.is_string() => Err(self.malformed("iss", "text")),
            Some(iss) => {
                let from = tenant.map(|tenant| format!(" for tenant {}", shown(&Value::from(tenant))));
                let named = if issuers.are_discovered() { "" } else { "; see sasl_oidc_auth.issuers" };
                let from = from.unwrap_or_default();
                Err(invalid(format!("it was issued by {}{from}{named}", shown(iss))))
            }
        }
    }

    fn times(&self, claims: &JsonObject) -> Result<(), NoAccount> {
        match self.time(claims, "exp")? {
            Some(exp) if self.now >= exp + LEEWAY => return Err(invalid("it has expired")),
            None if !self.is_introspection() => return Err(missing("exp")),
            _ => {}
        }
        for name in ["nbf", "iat"] {
            if self.time(claims, name)?.is_some_and(|time| time > self.now + AHEAD) {
                return Err(invalid(format!("its {name} is in the future")));
            }
        }
        Ok(())
    }

    /// A time in seconds since 1970. Some providers' introspection writes it as a string.
    fn time(&self, claims: &JsonObject, name: &str) -> Result<Option<f64>, NoAccount> {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match claim(claims, name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::String(text)) if self.is_introspection() && is_digits(text) => Ok(text.parse().ok()),
            Some(_) => Err(self.malformed(name, "number")),
        }
    }

    /// Refuses a token for another application (RFC 8725 3.9). Providers name it in different claims.
    fn audience(&self, claims: &JsonObject) -> Result<(), NoAccount> {
        let Some(audiences) = &self.settings.audiences else { return Ok(()) };
        let mut found = Vec::new();
        for name in ["aud", "azp", "client_id"] {
            match claim(claims, name) {
                None => {}
                Some(Value::Array(several)) if name == "aud" => found.extend(several),
                Some(one) => found.push(one),
            }
            if found.iter().any(|one| !one.is_string()) {
                return Err(self.malformed(name, "text"));
            }
        }
        if found.iter().any(|one| audiences.iter().any(|ours| one.as_str() == Some(ours))) {
            return Ok(());
        }
        match found.first() {
            Some(one) => Err(invalid(format!(
                "the token is for {}; add that to sasl_oidc_auth.audiences to accept it",
                shown(one)
            ))),
            None if self.is_introspection() && !self.settings.require_audience => Ok(()),
            None => Err(invalid(
                "the token does not say whom it is for (aud, azp, client_id); see sasl_oidc_auth.audiences",
            )),
        }
    }

    fn name(&self, claims: &JsonObject) -> Result<String, NoAccount> {
        let usual: &[&str] = match self.source {
            ClaimsSource::Jwt { .. } => &["username", "preferred_username", "sub"],
            ClaimsSource::Introspection => &["username", "sub"],
        };
        let says = |name: &&str| claim(claims, name).is_some();
        let chosen = match &self.settings.account_claim {
            Some(claim) => Some(claim.as_str()).filter(says).ok_or_else(|| missing(claim)),
            None => usual.iter().copied().find(says).ok_or_else(|| missing("username or sub")),
        }?;
        // Otherwise the user may have chosen any address (OpenID Connect Core 1.0 5.1).
        if chosen == "email" && !claim(claims, "email_verified").is_none_or(is_true) {
            return Err(invalid("its email is not verified (email_verified)"));
        }
        match json::text(claims, chosen) {
            Some(name) if name.len() <= LONGEST_NAME && is_account_name(name) => Ok(name.to_owned()),
            None if self.is_introspection() => Err(self.malformed(chosen, "text")),
            _ => Err(invalid(format!("its {chosen} is no name that can log in"))),
        }
    }

    /// A claim that should be a text or a number: an error of the token, or of the provider's introspection.
    fn malformed(&self, claim: &str, due: &str) -> NoAccount {
        match self.source {
            ClaimsSource::Jwt { .. } => invalid(format!("its {claim} is no {due}")),
            ClaimsSource::Introspection => {
                let endpoint = ProviderEndpoint::Introspection.name();
                NoAccount::Unclear(format!("{endpoint}: {claim} is no {due}"))
            }
        }
    }
}

/// The claim `name`; `null` counts as missing.
fn claim<'c>(claims: &'c JsonObject, name: &str) -> Option<&'c Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// Whether it is true, also as a string or 1.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => *is_true,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => *value == 1,
    }
}

fn shown(claim: &Value) -> String {
    match claim {
        Value::String(text) => format!("\"{}\"", issuer::shown(text)),
        _ => "something that is no text".to_owned(),
    }
}
