//! A provider's public keys (JWK Set, RFC 7517), and signatures made with them.
//!
//! The key decides which algorithms may be used with it; the algorithm of a token must be one of those. At
//! most 64 keys are kept; invalid keys and those that are not for signatures are left out. The set is fresh for
//! `jwks_cache_ttl`; if it cannot be fetched again, the old one is used for 1 h longer.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use super::algorithm::Algorithm;
use super::fetched::{self, Kept};
use super::json::{self, JsonObject};
use super::jws::Jws;
use super::provider::{Provider, ProviderEndpoint};
use super::provider_http::Message;

const MOST_KEYS: usize = 64;
/// How many keys are tried for one token: each costs time.
const MOST_TRIES: usize = 8;
/// How long keys serve beyond their time.
const BEYOND: Duration = Duration::from_hours(1);
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys of one provider.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
    /// Whether there were more than we keep.
    is_cut: bool,
}

struct PublicKey {
    kid: Option<String>,
    /// `alg`, where the key is for that one alone.
    algorithm: Option<Algorithm>,
    kind: KeyMaterial,
}

enum KeyMaterial {
    Rsa(DecodingKey),
    P256(DecodingKey),
    P384(DecodingKey),
    /// An uncompressed point (SEC1 2.3.3); jsonwebtoken does not know this curve.
    P521(Vec<u8>),
    Ed25519(DecodingKey),
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

/// Fetches the keys.
pub(super) async fn fetch(provider: Arc<Provider>, ttl: Duration) -> Option<Kept<KeySet>> {
    let deadline = fetched::limit();
    let (_, address) = provider.with(ProviderEndpoint::Keys, deadline).await?;
    let http = &provider.http;
    let reply = http.exchange(&http.calls.keys, &address, Message::get(), deadline).await;
    let object = http.object(ProviderEndpoint::Keys.name(), reply)?;
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
        let is_good = |key: &&PublicKey| key.verify(token.algorithm, token.message, token.signature);
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
        let kind = KeyMaterial::read(jwk)?;
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => {
                let algorithm =
                    name.as_str().and_then(Algorithm::of).ok_or("its alg is not for signatures")?;
                Some(algorithm)
            }
        };
        let key = Self { kid, algorithm, kind };
        if algorithm.is_some_and(|algorithm| !key.fits(algorithm)) {
            return Err("its alg does not fit its kind");
        }
        Ok(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let fits_kind = match &self.kind {
            KeyMaterial::Rsa(_) => Algorithm::RSA.contains(&algorithm),
            KeyMaterial::P256(_) => algorithm == Algorithm::Es256,
            KeyMaterial::P384(_) => algorithm == Algorithm::Es384,
            KeyMaterial::P521(_) => algorithm == Algorithm::Es512,
            KeyMaterial::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        fits_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// `algorithm` must fit.
    fn verify(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        use jsonwebtoken::Algorithm as Known;
        let known = match algorithm {
            Algorithm::Rs256 => Known::RS256,
            Algorithm::Rs384 => Known::RS384,
            Algorithm::Rs512 => Known::RS512,
            Algorithm::Ps256 => Known::PS256,
            Algorithm::Ps384 => Known::PS384,
            Algorithm::Ps512 => Known::PS512,
            Algorithm::Es256 => Known::ES256,
            Algorithm::Es384 => Known::ES384,
            Algorithm::Es512 => return self.verify_p521(message, signature),
            Algorithm::EdDsa => Known::EdDSA,
        };
        match &self.kind {
            KeyMaterial::Rsa(key)
            | KeyMaterial::P256(key)
            | KeyMaterial::P384(key)
            | KeyMaterial::Ed25519(key) => {
                jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, known).unwrap_or(false)
            }
            KeyMaterial::P521(_) => false,
        }
    }

    fn verify_p521(&self, message: &str, signature: &str) -> bool {
        let (KeyMaterial::P521(point), Ok(signature)) = (&self.kind, URL_SAFE_NO_PAD.decode(signature))
        else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point);
        key.verify(message.as_bytes(), &signature).is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl KeyMaterial {
    fn read(jwk: &JsonObject) -> Result<Self, &'static str> {
        let member = |name| -> Result<Vec<u8>, &'static str> {
            let text = json::text(jwk, name).ok_or("it is not complete")?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| "it is no base64url")
        };
        // RFC 7518 6.2.1.2: of the curve's length, leading zeros included.
        let point = |length: usize| -> Result<Vec<u8>, &'static str> {
            let (x, y) = (member("x")?, member("y")?);
            if x.len() != length || y.len() != length {
                return Err("its coordinates are not of its curve's length");
            }
            Ok([&[4], x.as_slice(), &y].concat())
        };
        match (json::text(jwk, "kty"), json::text(jwk, "crv")) {
            (Some("RSA"), _) => rsa(&member("n")?, &member("e")?).map(Self::Rsa),
            (Some("EC"), Some("P-256")) => Ok(Self::P256(DecodingKey::from_ec_der(&point(32)?))),
            (Some("EC"), Some("P-384")) => Ok(Self::P384(DecodingKey::from_ec_der(&point(48)?))),
            (Some("EC"), Some("P-521")) => point(66).map(Self::P521),
            (Some("OKP"), Some("Ed25519")) => match member("x")? {
                x if x.len() == 32 => Ok(Self::Ed25519(DecodingKey::from_ed_der(&x))),
                _ => Err("it is not of its curve's length"),
            },
            _ => Err("it is of a kind that is not used here"),
        }
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, &'static str> {
    // Some providers add a leading zero (against RFC 7518 2).
    let trimmed =
        |number: &[u8]| -> Vec<u8> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
    let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("it has fewer than 2048 bits, or more than 8192");
    }
    // With an exponent of 1 the message is its own signature.
    if exponent.len() > 8
        || exponent.as_slice() <= [1].as_slice()
        || exponent.last().is_none_or(|last| last % 2 == 0)
    {
        return Err("its exponent is none");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}
