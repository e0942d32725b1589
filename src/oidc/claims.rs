//! What a token must say, and who logs in with it: one set of rules for JWTs and for what an
//! introspection answers (RFC 7519 4.1, RFC 9068 4, RFC 7662 2.2).
//!
//! An introspection's answer comes from the provider itself, so what it leaves out is not missed;
//! what it says must be right all the same.

use serde_json::Value;

use super::json::{self, Object};
use super::settings::TokenSettings;
use super::verify::Refusal;

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

/// Where claims come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Jwt,
    Introspection,
}

/// The rules for one token.
#[derive(Debug)]
pub(super) struct Rules<'r> {
    pub(super) settings: &'r TokenSettings,
    /// The discovered one.
    pub(super) issuer: Option<&'r str>,
    pub(super) source: Source,
    /// Seconds since 1970.
    pub(super) now: f64,
}

impl Rules<'_> {
    /// The name that logs in.
    pub(super) fn account(&self, claims: &Object) -> Result<String, Refusal> {
        self.kind(claims)?;
        self.issuer(claims)?;
        self.times(claims)?;
        self.audience(claims)?;
        self.name(claims)
    }

    /// An ID token tells a web application who its user is, a refresh token gets others, a logout
    /// token ends a session: none of them is a key to anything (OpenID Connect Core 1.0 2 and
    /// 3.3.2.11, Back-Channel Logout 1.0 2.4; `typ` is Keycloak's, `token_use` Cognito's).
    fn kind(&self, claims: &Object) -> Result<(), Refusal> {
        let sign = ["nonce", "at_hash", "c_hash", "events"].into_iter();
        let mut sign = sign.filter(|name| self.source == Source::Jwt && claims.contains_key(*name));
        if let Some(sign) = sign.next() {
            return Err(Refusal::invalid(format!("it holds {sign}, so it is no access token")));
        }
        let kinds: &[&str] = match self.source {
            Source::Jwt => &["typ", "token_use"],
            Source::Introspection => &["typ", "token_use", "token_type"],
        };
        let named = kinds.iter().filter_map(|name| json::text(claims, name));
        match named.map(str::to_ascii_lowercase).find(|kind| OTHER_KINDS.contains(&kind.as_str())) {
            Some(kind) => Err(Refusal::invalid(format!("it is of kind {kind:?}, and no access token"))),
            None => Ok(()),
        }
    }

    fn issuer(&self, claims: &Object) -> Result<(), Refusal> {
        match (claim(claims, "iss"), self.issuer) {
            (None, _) if self.source == Source::Introspection => Ok(()),
            (Some(_), None) if self.source == Source::Introspection => Ok(()),
            (None, _) => Err(Refusal::missing("iss")),
            (Some(Value::String(iss)), Some(issuer)) if iss == issuer => Ok(()),
            (Some(iss), _) => Err(Refusal::invalid(format!("it was issued by {}", shown(iss)))),
        }
    }

    fn times(&self, claims: &Object) -> Result<(), Refusal> {
        let time = |name: &str| match claim(claims, name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(Refusal::invalid(format!("its {name} is no number"))),
        };
        match time("exp")? {
            Some(exp) if self.now >= exp + LEEWAY => {
                return Err(Refusal::invalid("it has expired".to_owned()));
            }
            None if self.source == Source::Jwt => return Err(Refusal::missing("exp")),
            _ => {}
        }
        for name in ["nbf", "iat"] {
            if time(name)?.is_some_and(|time| time > self.now + AHEAD) {
                return Err(Refusal::invalid(format!("its {name} is in the future")));
            }
        }
        Ok(())
    }

    /// RFC 8725 3.9: a token that was made for another application is not for us. Providers differ
    /// in where they say that.
    fn audience(&self, claims: &Object) -> Result<(), Refusal> {
        let Some(audiences) = &self.settings.audiences else { return Ok(()) };
        let mut found = Vec::new();
        for name in ["aud", "azp", "client_id"] {
            match claim(claims, name) {
                None => {}
                Some(Value::String(one)) => found.push(one.as_str()),
                Some(Value::Array(several)) if name == "aud" => {
                    for one in several {
                        found.push(one.as_str().ok_or_else(|| malformed(name))?);
                    }
                }
                Some(_) => return Err(malformed(name)),
            }
        }
        if found.iter().any(|one| audiences.iter().any(|ours| ours == one)) {
            return Ok(());
        }
        match found.first() {
            Some(one) => Err(Refusal::invalid(format!(
                "the token is for {}; add that to sasl_oidc_auth.audiences to accept it",
                shown(&Value::from(*one))
            ))),
            None if self.source == Source::Introspection && !self.settings.require_audience => Ok(()),
            None => Err(Refusal::invalid(
                "the token does not say whom it is for (aud, azp, client_id); see sasl_oidc_auth.audiences"
                    .to_owned(),
            )),
        }
    }

    fn name(&self, claims: &Object) -> Result<String, Refusal> {
        let usual: &[&str] = match self.source {
            Source::Jwt => &["username", "preferred_username", "sub"],
            Source::Introspection => &["username", "sub"],
        };
        let (chosen, wanted) = match &self.settings.account_claim {
            Some(claim) => (Some(claim.as_str()), claim.as_str()),
            None => (usual.iter().copied().find(|name| claim(claims, name).is_some()), "username or sub"),
        };
        let Some(chosen) = chosen.filter(|name| claim(claims, name).is_some()) else {
            return Err(Refusal::missing(wanted));
        };
        match json::text(claims, chosen) {
            Some(name) if (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control) => {
                Ok(name.to_owned())
            }
            _ => Err(Refusal::invalid(format!("its {chosen} is no name that can log in"))),
        }
    }
}

/// What `name` says; `null` says nothing.
fn claim<'c>(claims: &'c Object, name: &str) -> Option<&'c Value> {
    claims.get(name).filter(|value| !value.is_null())
}

fn malformed(claim: &str) -> Refusal {
    Refusal::invalid(format!("its {claim} is no text"))
}

/// A claim, fit for a line of the log.
fn shown(claim: &Value) -> String {
    match claim {
        Value::String(text) => {
            let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            format!("\"{text}\"")
        }
        _ => "something that is no text".to_owned(),
    }
}
