//! A mail client's token as a JWT in compact form (RFC 7515 7.1, RFC 7519), not yet verified.
//!
//! The headers `jku`, `x5u`, `jwk` and `x5c` are ignored: a token may not bring its own keys. `none` and
//! the algorithms with shared secrets are refused by name (RFC 8725 3.1, 3.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::json::{self, JsonObject, ObjectError};

#[derive(Debug)]
pub(super) enum TokenForm<'t> {
    Signed(Jws<'t>),
    /// A JWT that is refused, and the reason.
    Refused(&'static str),
    /// A token that only its provider can read.
    Opaque,
}

#[derive(Debug)]
pub(super) struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// Whether `typ` says so (RFC 9068 2.1).
    pub(super) is_access_token: bool,
    /// What is signed.
    pub(super) message: &'t str,
    pub(super) signature: Vec<u8>,
    claims: Vec<u8>,
}

impl<'t> Jws<'t> {
    pub(super) fn read(token: &'t str) -> TokenForm<'t> {
        let mut dots = token.match_indices('.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return TokenForm::Opaque;
        };
        let (head, claims, signature) = (&token[..first], &token[first + 1..second], &token[second + 1..]);
        let Ok(head) = URL_SAFE_NO_PAD.decode(head) else { return TokenForm::Opaque };
        let head = match json::object(&head) {
            Ok(head) if head.contains_key("alg") => head,
            Err(ObjectError::Repeated) => return TokenForm::Refused("its header says something twice"),
            _ => return TokenForm::Opaque,
        };
        let (algorithm, kid, is_access_token) = match header(&head) {
            Ok(header) => header,
            Err(flaw) => return TokenForm::Refused(flaw),
        };
        // The decoder is strict: each value has one spelling.
        let decoded = (URL_SAFE_NO_PAD.decode(claims), URL_SAFE_NO_PAD.decode(signature));
        let (Ok(claims), Ok(signature)) = decoded else {
            return TokenForm::Refused("it is no base64url");
        };
        let message = &token[..second];
        TokenForm::Signed(Self { algorithm, kid, is_access_token, message, signature, claims })
    }

    /// The claims. Not trusted before the signature is verified.
    pub(super) fn claims(&self) -> Result<JsonObject, &'static str> {
        json::object(&self.claims).map_err(|flaw| match flaw {
            ObjectError::Shape => "its claims are no JSON object",
            ObjectError::Repeated => "its claims say something twice",
        })
    }
}

fn header(head: &JsonObject) -> Result<(Algorithm, Option<String>, bool), &'static str> {
    if head.contains_key("crit") {
        return Err("its header demands an extension (crit)");
    }
    let algorithm = json::text(head, "alg").and_then(Algorithm::of);
    let algorithm = algorithm.ok_or("it is not signed with an algorithm that is accepted")?;
    let kid = match head.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err("its kid is no text"),
    };
    // RFC 9068 2.1; RFC 8725 3.11: logout tokens and the like say so.
    let kind = match head.get("typ") {
        None => "jwt".to_owned(),
        Some(Value::String(kind)) => kind.to_ascii_lowercase(),
        Some(_) => String::new(),
    };
    match kind.strip_prefix("application/").unwrap_or(&kind) {
        "jwt" => Ok((algorithm, kid, false)),
        "at+jwt" => Ok((algorithm, kid, true)),
        _ => Err("its typ is that of another kind of token"),
    }
}
