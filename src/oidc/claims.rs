//! What a token must say, and who logs in with it: one set of rules for JWTs and for what an
//! introspection answers (RFC 7519 4.1, RFC 9068 4, RFC 7662 2.2).
//!
//! An introspection's answer comes from the provider itself, so what it leaves out is not missed;
//! what it says must be right all the same, and what makes no sense there is the provider's trouble.

use serde_json::Value;

use super::issuer;
use super::json::{self, JsonObject};
use super::provider::ProviderEndpoint;
use super::refusal::TokenRefusal;
use super::settings::TokenSettings;
use crate::model::is_account_name;

/// How much later than `exp` a JWT still passes, in seconds: clocks differ.
const LEEWAY: f64 = 30.0;
/// How far ahead `nbf` and `iat` may be.
const AHEAD: f64 = 60.0;
const LONGEST_NAME: usize = 255;

/// What tokens are called that are for something else.
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

/// What an access token says of its client and of what it is good for, by one name or another: one
/// of these, where it tells when its user has logged in (RFC 9068 2.2). An ID token has none.
const OF_ACCESS: [&str; 8] = ["scope", "scp", "client_id", "cid", "appid", "azp", "roles", "jti"];

/// Where claims come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimsSource {
    Jwt {
        /// By its header.
        is_access_token: bool,
    },
    Introspection,
}

/// Why nobody logs in.
#[derive(Debug)]
pub(super) enum NoAccount {
    /// The token is no good.
    Refused(TokenRefusal),
    /// What the provider says cannot be understood, which proves nothing; why, for the log.
    Unclear(String),
}

impl From<TokenRefusal> for NoAccount {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The rules for one token.
#[derive(Debug)]
pub(super) struct Rules<'r> {
    pub(super) settings: &'r TokenSettings,
    /// The discovered one, where that counts.
    pub(super) issuer: Option<&'r str>,
    pub(super) source: ClaimsSource,
    /// Seconds since 1970.
    pub(super) now: f64,
}

impl Rules<'_> {
    /// The name that logs in.
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

    /// An ID token tells a web application who its user is, a refresh token gets others, a logout
    /// token ends a session: none of them is a key to anything (OpenID Connect Core 1.0 2 and
    /// 3.3.2.11, Back-Channel Logout 1.0 2.4; `typ` is Keycloak's, `token_use` Cognito's). One that
    /// shows no sign of what it is cannot be told from an access token.
    fn kind(&self, claims: &JsonObject) -> Result<(), TokenRefusal> {
        let sign = ["nonce", "at_hash", "c_hash", "s_hash", "events"].into_iter();
        let mut sign = sign.filter(|name| !self.is_introspection() && claims.contains_key(*name));
        if let Some(sign) = sign.next() {
            return Err(TokenRefusal::invalid(format!("it holds {sign}, so it is no access token")));
        }
        let kinds: &[&str] = match self.source {
            ClaimsSource::Jwt { .. } => &["typ", "token_use"],
            ClaimsSource::Introspection => &["typ", "token_use", "token_type"],
        };
        let named = kinds.iter().filter_map(|name| json::text(claims, name)).map(str::to_ascii_lowercase);
        let named: Vec<_> = named.collect();
        if let Some(kind) = named.iter().find(|kind| OTHER_KINDS.contains(&kind.as_str())) {
            return Err(TokenRefusal::invalid(format!("it is of kind {kind:?}, and no access token")));
        }
        let is_bare = self.source == ClaimsSource::Jwt { is_access_token: false } && named.is_empty();
        let says = |name: &str| claim(claims, name).is_some();
        if is_bare && says("auth_time") && !OF_ACCESS.iter().any(|name| says(name)) {
            let why = "it tells of a login (auth_time) and of no client or scope, so it is no access token";
            return Err(TokenRefusal::invalid(why.to_owned()));
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
            // Which tenant it is from must be known where that counts.
            None if self.is_introspection() && issuers.tenants.is_empty() => Ok(()),
            None => Err(TokenRefusal::missing("iss").into()),
            Some(iss) if is_right(iss) => Ok(()),
            Some(iss) if self.is_introspection() && !iss.is_string() => Err(self.malformed("iss")),
            Some(iss) => {
                let from = tenant.map(|tenant| format!(" for tenant {}", shown(&Value::from(tenant))));
                let named = if issuers.are_discovered() { "" } else { "; see sasl_oidc_auth.issuers" };
                let from = from.unwrap_or_default();
                Err(TokenRefusal::invalid(format!("it was issued by {}{from}{named}", shown(iss))).into())
            }
        }
    }

    fn times(&self, claims: &JsonObject) -> Result<(), NoAccount> {
        match self.time(claims, "exp")? {
            Some(exp) if self.now >= exp + LEEWAY => {
                return Err(TokenRefusal::invalid("it has expired".to_owned()).into());
            }
            None if !self.is_introspection() => return Err(TokenRefusal::missing("exp").into()),
            _ => {}
        }
        for name in ["nbf", "iat"] {
            if self.time(claims, name)?.is_some_and(|time| time > self.now + AHEAD) {
                return Err(TokenRefusal::invalid(format!("its {name} is in the future")).into());
            }
        }
        Ok(())
    }

    /// Seconds since 1970. Some providers' introspection writes them as a text.
    fn time(&self, claims: &JsonObject, name: &str) -> Result<Option<f64>, NoAccount> {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match claim(claims, name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::String(text)) if self.is_introspection() && is_digits(text) => Ok(text.parse().ok()),
            Some(_) if self.is_introspection() => Err(NoAccount::Unclear(format!(
                "{}: {name} is no number",
                ProviderEndpoint::Introspection.name()
            ))),
            Some(_) => Err(TokenRefusal::invalid(format!("its {name} is no number")).into()),
        }
    }

    /// RFC 8725 3.9: a token that was made for another application is not for us. Providers differ
    /// in where they say that.
    fn audience(&self, claims: &JsonObject) -> Result<(), NoAccount> {
        let Some(audiences) = &self.settings.audiences else { return Ok(()) };
        let mut found = Vec::new();
        for name in ["aud", "azp", "client_id"] {
            match claim(claims, name) {
                None => {}
                Some(Value::String(one)) => found.push(one.as_str()),
                Some(Value::Array(several)) if name == "aud" => {
                    for one in several {
                        found.push(one.as_str().ok_or_else(|| self.malformed(name))?);
                    }
                }
                Some(_) => return Err(self.malformed(name)),
            }
        }
        if found.iter().any(|one| audiences.iter().any(|ours| ours == one)) {
            return Ok(());
        }
        match found.first() {
            Some(one) => Err(TokenRefusal::invalid(format!(
                "the token is for {}; add that to sasl_oidc_auth.audiences to accept it",
                shown(&Value::from(*one))
            ))
            .into()),
            None if self.is_introspection() && !self.settings.require_audience => Ok(()),
            None => Err(TokenRefusal::invalid(
                "the token does not say whom it is for (aud, azp, client_id); see sasl_oidc_auth.audiences"
                    .to_owned(),
            )
            .into()),
        }
    }

    fn name(&self, claims: &JsonObject) -> Result<String, NoAccount> {
        let usual: &[&str] = match self.source {
            ClaimsSource::Jwt { .. } => &["username", "preferred_username", "sub"],
            ClaimsSource::Introspection => &["username", "sub"],
        };
        let (chosen, wanted) = match &self.settings.account_claim {
            Some(claim) => (Some(claim.as_str()), claim.as_str()),
            None => (usual.iter().copied().find(|name| claim(claims, name).is_some()), "username or sub"),
        };
        let Some(chosen) = chosen.filter(|name| claim(claims, name).is_some()) else {
            return Err(TokenRefusal::missing(wanted).into());
        };
        // OpenID Connect Core 1.0 5.1: else its user may have made it up.
        if chosen == "email" && !claim(claims, "email_verified").is_none_or(is_true) {
            return Err(TokenRefusal::invalid("its email is not verified (email_verified)".to_owned()).into());
        }
        match json::text(claims, chosen) {
            Some(name) if name.len() <= LONGEST_NAME && is_account_name(name) => Ok(name.to_owned()),
            None if self.is_introspection() => Err(self.malformed(chosen)),
            _ => Err(TokenRefusal::invalid(format!("its {chosen} is no name that can log in")).into()),
        }
    }

    /// A claim that is no text where one is due: a fault of the token, or of the provider that is asked.
    fn malformed(&self, claim: &str) -> NoAccount {
        match self.source {
            ClaimsSource::Jwt { .. } => TokenRefusal::invalid(format!("its {claim} is no text")).into(),
            ClaimsSource::Introspection => {
                NoAccount::Unclear(format!("{}: {claim} is no text", ProviderEndpoint::Introspection.name()))
            }
        }
    }
}

/// What `name` says; `null` says nothing.
fn claim<'c>(claims: &'c JsonObject, name: &str) -> Option<&'c Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// `true`, also as some providers write it.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => *is_true,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => *value == 1,
    }
}

/// A claim, fit for a line of the log.
fn shown(claim: &Value) -> String {
    match claim {
        Value::String(text) => format!("\"{}\"", issuer::shown(text)),
        _ => "something that is no text".to_owned(),
    }
}
