//! The private key of `private_key_jwt`, read with the configuration.
//!
//! PEM (RFC 7468) of PKCS#8 (RFC 5958), PKCS#1 for RSA (RFC 8017) and SEC1 for EC (RFC 5915).
//! Encrypted keys are refused: the broker cannot ask for a passphrase.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use crate::model::secret::Secret;

/// The key in `private_key_file`.
#[derive(Clone)]
pub struct PrivateKey {
    /// For comparisons.
    pem: Secret,
    pair: Arc<SigningKey>,
}

enum SigningKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, Algorithm),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a key in PEM: RSA of 2048 bits or more (PKCS#1 or PKCS#8), EC P-256, P-384 or P-521
    /// (SEC1 or PKCS#8), Ed25519 (PKCS#8).
    ///
    /// # Errors
    /// The reason, without any part of the key.
    pub fn read(pem: Secret) -> Result<Self, String> {
        let pair = read(pem.expose())?;
        let key = Self { pem, pair: Arc::new(pair) };
        let able = key.sign(key.algorithm(&[]), b"a trial").is_some();
        if able { Ok(key) } else { Err("the key cannot sign".to_owned()) }
    }

    /// The algorithm for a provider that accepts `supported`; empty: unknown.
    pub(super) fn algorithm(&self, supported: &[String]) -> Algorithm {
        match &*self.pair {
            SigningKey::Rsa(_) => {
                let is_supported = |known: &Algorithm| supported.iter().any(|name| name == known.name());
                Algorithm::RSA.into_iter().find(is_supported).unwrap_or(Algorithm::Rs256)
            }
            SigningKey::Ec(_, algorithm) => *algorithm,
            SigningKey::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Signs with an algorithm that [`Self::algorithm`] named; of ECDSA the signature is r and s
    /// side by side (RFC 7518 3.4).
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.pair {
            SigningKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(algorithm.rsa()?.1, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            SigningKey::Ec(pair, _) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            SigningKey::Ed25519(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
        }
    }
}

fn read(pem: &str) -> Result<SigningKey, String> {
    let (label, der) = block(pem)?;
    let pair = match label {
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).ok().map(SigningKey::Rsa),
        "EC PRIVATE KEY" => ec(&der),
        "PRIVATE KEY" => {
            let rsa = || RsaKeyPair::from_pkcs8(&der).ok().map(SigningKey::Rsa);
            let ed25519 = || Ed25519KeyPair::from_pkcs8(&der).ok().map(SigningKey::Ed25519);
            rsa().or_else(|| ec(&der)).or_else(ed25519)
        }
        "ENCRYPTED PRIVATE KEY" => return Err(ENCRYPTED.to_owned()),
        _ => return Err("it holds a key of a kind that cannot be used".to_owned()),
    };
    let usable = "RSA of 2048 to 8192 bits, EC P-256, P-384 or P-521, or Ed25519";
    pair.ok_or_else(|| format!("it holds no key that can be used: {usable}"))
}

const ENCRYPTED: &str = "the key is encrypted; it must be one without a passphrase";

fn ec(der: &[u8]) -> Option<SigningKey> {
    let curves = [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384),
        (&ECDSA_P521_SHA512_FIXED_SIGNING, Algorithm::Es512),
    ];
    // Takes SEC1 as well as PKCS#8.
    let read = |(signing, algorithm)| {
        EcdsaKeyPair::from_private_key_der(signing, der).ok().map(|pair| SigningKey::Ec(pair, algorithm))
    };
    curves.into_iter().find_map(read)
}

/// The first block that holds a private key: openssl writes `EC PARAMETERS` before it.
fn block(pem: &str) -> Result<(&str, Zeroizing<Vec<u8>>), String> {
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = after.split_once("-----") else { break };
        let end = format!("-----END {label}-----");
        let Some((body, behind)) = body.split_once(end.as_str()) else { break };
        rest = behind;
        if !label.ends_with("PRIVATE KEY") {
            continue;
        }
        // RFC 1421 headers, which only keys encrypted the old way have.
        if body.contains("ENCRYPTED") {
            return Err(ENCRYPTED.to_owned());
        }
        let mut text = Zeroizing::new(String::with_capacity(body.len()));
        text.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
        return match STANDARD.decode(text.as_bytes()) {
            Ok(der) => Ok((label, Zeroizing::new(der))),
            Err(_) => Err("the key is damaged: it is no base64".to_owned()),
        };
    }
    Err("it holds no private key in PEM".to_owned())
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for PrivateKey {}

impl Hash for PrivateKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pem.hash(state);
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}
