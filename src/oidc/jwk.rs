//! A provider's public keys (JWK Set, RFC 7517), and signatures made with them.
//!
//! The key decides which algorithms may be used with it; the algorithm of a token must be one of those. At
//! most 64 keys are kept; invalid keys and those that are not for signatures are left out. The set is fresh for
//! `jwks_cache_ttl`; if it cannot be fetched again, the old one is used for 1 h longer.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use super::algorithm::Algorithm;
use super::fetched::{self, Kept};
use super::json::{self, JsonObject};
use super::jws::Jws;
use super::provider::{Provider, ProviderEndpoint};

const MOST_KEYS: usize = 64;
/// How many keys are tried for one token: each costs time.
const MOST_TRIES: usize = 8;
/// How long keys serve beyond their time.
const BEYOND: Duration = Duration::from_hours(1);
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
    is_cut: bool,
}

#[derive(Debug)]
struct PublicKey {
    kid: Option<String>,
    /// `alg`, if the key is for that one alone.
    algorithm: Option<Algorithm>,
    material: KeyMaterial,
}

#[derive(Debug)]
enum KeyMaterial {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// A point on the curve of this algorithm.
    Curve(Algorithm, UnparsedPublicKey<Vec<u8>>),
}

/// What a set says of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Good,
    /// It is not that of the key which it names.
    Bad,
    /// The key it names, or any that would fit, is not in the set.
    UnknownKey,
    /// It names no key, and none that fits has made it: another one may have.
    Unproven,
    /// We have not looked at every key.
    Undecided,
}

pub(super) async fn fetch(provider: Arc<Provider>, ttl: Duration) -> Option<Kept<KeySet>> {
    let deadline = fetched::limit();
    let (_, address) = provider.with(ProviderEndpoint::Keys, deadline).await?;
    let http = &provider.http;
    let object = http.get(ProviderEndpoint::Keys.name(), &http.calls.keys, &address, deadline).await?;
    let keys = KeySet::read(&object);
    if keys.keys.is_empty() {
        http.report(format_args!("{}: no usable key", ProviderEndpoint::Keys.name()));
        return None;
    }
    let now = Instant::now();
    let renew = now + ttl - (ttl / 5).min(Duration::from_mins(1));
    Some(Kept { value: Arc::new(keys), renew, fresh: now + ttl, ends: now + ttl + BEYOND })
}

impl KeySet {
    /// Reads `{"keys": […]}`.
    pub(super) fn read(object: &JsonObject) -> Self {
        let keys = object.get("keys").and_then(Value::as_array).into_iter().flatten();
        let usable = keys.filter_map(|key| {
            let key = key.as_object().ok_or("it is no object").and_then(PublicKey::read);
            key.inspect_err(|flaw| debug!(flaw, "a provider's key is left out")).ok()
        });
        let mut keys: Vec<PublicKey> = usable.take(MOST_KEYS + 1).collect();
        let is_cut = keys.len() > MOST_KEYS;
        keys.truncate(MOST_KEYS);
        Self { keys, is_cut }
    }

    /// Verifies with the key that `token` names, or with those that fit it.
    pub(super) fn verify(&self, token: &Jws<'_>) -> Signature {
        let unknown = if self.is_cut { Signature::Undecided } else { Signature::UnknownKey };
        let named: Vec<&PublicKey> =
            self.keys.iter().filter(|key| token.kid.is_none() || key.kid == token.kid).collect();
        let fitting: Vec<&PublicKey> =
            named.iter().copied().filter(|key| key.fits(token.algorithm)).collect();
        if fitting.is_empty() {
            // The key exists, but is for another algorithm.
            return if token.kid.is_some() && !named.is_empty() { Signature::Bad } else { unknown };
        }
        let is_good = |key: &&PublicKey| key.verify(token);
        if fitting.iter().take(MOST_TRIES).any(is_good) {
            return Signature::Good;
        }
        match token.kid {
            _ if fitting.len() > MOST_TRIES => Signature::Undecided,
            Some(_) => Signature::Bad,
            None if self.is_cut => Signature::Undecided,
            None => Signature::Unproven,
        }
    }
}

impl PublicKey {
    fn read(jwk: &JsonObject) -> Result<Self, &'static str> {
        if jwk.get("use").is_some_and(|usage| !usage.is_null() && usage != "sig") {
            return Err("its use is not sig");
        }
        if let Some(operations) = jwk.get("key_ops") {
            let operations = operations.as_array().ok_or("its key_ops are no list")?;
            if !operations.iter().any(|operation| operation == "verify") {
                return Err("its key_ops do not hold verify");
            }
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("its kid is no text"),
        };
        let material = KeyMaterial::read(jwk)?;
        let known = |name: &Value| name.as_str().and_then(Algorithm::of);
        let algorithm = jwk.get("alg").map(|name| known(name).ok_or("its alg is not for signatures"));
        let algorithm = algorithm.transpose()?;
        let key = Self { kid, algorithm, material };
        if algorithm.is_some_and(|algorithm| !key.fits(algorithm)) {
            return Err("its alg does not fit its kind");
        }
        Ok(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let fits_material = match &self.material {
            KeyMaterial::Rsa(_) => Algorithm::RSA.contains(&algorithm),
            KeyMaterial::Curve(own, _) => *own == algorithm,
        };
        fits_material && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether the signature of `token` is that of this key, which must fit its algorithm.
    fn verify(&self, token: &Jws<'_>) -> bool {
        let (message, signature) = (token.message.as_bytes(), &token.signature);
        match &self.material {
            KeyMaterial::Rsa(key) => {
                let rsa = token.algorithm.rsa();
                rsa.is_some_and(|(parameters, _)| key.verify(parameters, message, signature).is_ok())
            }
            KeyMaterial::Curve(_, key) => key.verify(message, signature).is_ok(),
        }
    }
}

impl KeyMaterial {
    fn read(jwk: &JsonObject) -> Result<Self, &'static str> {
        let member = |name| -> Result<Vec<u8>, &'static str> {
            let text = json::text(jwk, name).ok_or("it is not complete")?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| "it is no base64url")
        };
        // RFC 7518 6.2.1.2: of the curve's length, leading zeros included.
        let coordinate = |name, length: usize| {
            let wrong = "its coordinates are not of its curve's length";
            member(name).and_then(|bytes| if bytes.len() == length { Ok(bytes) } else { Err(wrong) })
        };
        // Uncompressed (SEC1 2.3.3).
        let point = |length| {
            coordinate("x", length).and_then(|x| Ok([vec![4], x, coordinate("y", length)?].concat()))
        };
        let curve = |algorithm, verification: &'static dyn VerificationAlgorithm, key| {
            Ok(Self::Curve(algorithm, UnparsedPublicKey::new(verification, key)))
        };
        match (json::text(jwk, "kty"), json::text(jwk, "crv")) {
            (Some("RSA"), _) => rsa(&member("n")?, &member("e")?).map(Self::Rsa),
            (Some("EC"), Some("P-256")) => curve(Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, point(32)?),
            (Some("EC"), Some("P-384")) => curve(Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, point(48)?),
            (Some("EC"), Some("P-521")) => curve(Algorithm::Es512, &ECDSA_P521_SHA512_FIXED, point(66)?),
            (Some("OKP"), Some("Ed25519")) => curve(Algorithm::EdDsa, &ED25519, coordinate("x", 32)?),
            _ => Err("it is of a kind that is not used here"),
        }
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<RsaPublicKeyComponents<Vec<u8>>, &'static str> {
    // Some providers add a leading zero (against RFC 7518 2).
    let trimmed =
        |number: &[u8]| -> Vec<u8> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
    let (n, e) = (trimmed(modulus), trimmed(exponent));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("it has fewer than 2048 bits, or more than 8192");
    }
    // With an exponent of 1 the message is its own signature.
    if e.len() > 8 || e.as_slice() <= [1].as_slice() || e.last().is_none_or(|last| last % 2 == 0) {
        return Err("its exponent is none");
    }
    Ok(RsaPublicKeyComponents { n, e })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_key_has_2048_to_8192_bits_and_an_odd_exponent() {
        let modulus = |first: u8, bytes: usize| [vec![first], vec![0xff; bytes - 1]].concat();
        for (first, bytes, due) in [
            (0x80, 256, true),
            (0x7f, 256, false),
            (0, 256, false),
            (0, 257, true),
            (0xff, 1024, true),
            (1, 1025, false),
        ] {
            assert_eq!(rsa(&modulus(first, bytes), &[1, 0, 1]).is_ok(), due, "{first} {bytes}");
        }
        let exponents: [(&[u8], bool); 9] = [
            (&[3], true),
            (&[0, 0, 3], true),
            (&[1, 0, 0, 0, 0, 0, 0, 1], true),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 1], false),
            (&[], false),
            (&[0], false),
            (&[1], false),
            (&[2], false),
            (&[1, 0], false),
        ];
        for (exponent, due) in exponents {
            assert_eq!(rsa(&modulus(0x80, 256), exponent).is_ok(), due, "{exponent:?}");
        }
    }
}
