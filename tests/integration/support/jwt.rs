//! Keys and JWTs of the tests, valid or not: the test chooses header, claims, and the key and algorithm
//! of the signature.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// 2048 bits.
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 5] = [Self::Rsa, Self::P256, Self::P384, Self::P521, Self::Ed25519];

    /// The algorithm that is used if the test names none.
    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Self::Rsa => "RS256",
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::P521 => "ES512",
            Self::Ed25519 => "EdDSA",
        }
    }

    /// The name of the curve in a JWK.
    fn curve(self) -> &'static str {
        match self {
            Self::Rsa => panic!("RSA has no curve"),
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// A curve's signature algorithm: with r and s as in a JWT, or in DER as in certificates.
    fn ecdsa(self, der: bool) -> &'static EcdsaSigningAlgorithm {
        match (self, der) {
            (Self::P256, false) => &ECDSA_P256_SHA256_FIXED_SIGNING,
            (Self::P256, true) => &ECDSA_P256_SHA256_ASN1_SIGNING,
            (Self::P384, false) => &ECDSA_P384_SHA384_FIXED_SIGNING,
            (Self::P384, true) => &ECDSA_P384_SHA384_ASN1_SIGNING,
            (Self::P521, false) => &ECDSA_P521_SHA512_FIXED_SIGNING,
            (Self::P521, true) => &ECDSA_P521_SHA512_ASN1_SIGNING,
            (Self::Rsa | Self::Ed25519, _) => panic!("{self:?} does not sign with ECDSA"),
        }
    }
}

/// A private key, and the name it is published under.
pub(crate) struct Key {
    kind: KeyKind,
    kid: String,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl Key {
    /// Makes a key that is published as `kid`.
    pub(crate) fn new(kind: KeyKind, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..Self::unnamed(kind) }
    }

    /// Makes a key whose `kid` is its thumbprint.
    pub(crate) fn unnamed(kind: KeyKind) -> Self {
        let pkcs8 = match kind {
            KeyKind::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
                der.as_ref().to_vec()
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                pair.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec()
            }
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let pair = EcdsaKeyPair::generate(kind.ecdsa(false)).expect("a key");
                pair.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec()
            }
        };
        Self::of(kind, pkcs8)
    }

    /// Reads a key that [`Self::pem`] wrote; its `kid` is its thumbprint.
    pub(crate) fn read(kind: KeyKind, pem: &str) -> Self {
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        Self::of(kind, STANDARD.decode(text).expect("base64"))
    }

    fn of(kind: KeyKind, pkcs8: Vec<u8>) -> Self {
        let public = match kind {
            KeyKind::Rsa => RsaKeyPair::from_pkcs8(&pkcs8).expect("a key").public_key().as_ref().to_vec(),
            KeyKind::Ed25519 => {
                Ed25519KeyPair::from_pkcs8(&pkcs8).expect("a key").public_key().as_ref().to_vec()
            }
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let pair = EcdsaKeyPair::from_pkcs8(kind.ecdsa(false), &pkcs8).expect("a key");
                pair.public_key().as_ref().to_vec()
            }
        };
        let mut key = Self { kind, kid: String::new(), pkcs8, public };
        key.kid = key.thumbprint();
        key
    }

    /// What it is for.
    pub(crate) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// `kid`.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The private key in PEM, as PKCS#8.
    pub(crate) fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// The public key in its own encoding: PKCS#1 for RSA, else a point.
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The public key as a JWK, `kid` and `use` included.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = self.members();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The members of a JWK of which a thumbprint is made.
    fn members(&self) -> Value {
        match self.kind {
            KeyKind::Rsa => {
                let (modulus, exponent) = self.public.split_at(self.public.len() - 5);
                assert_eq!(exponent, [2, 3, 1, 0, 1], "the exponent is 65537");
                let modulus = &modulus[modulus.len() - 2048 / 8..];
                json!({"e": "AQAB", "kty": "RSA", "n": base64url(modulus)})
            }
            KeyKind::Ed25519 => json!({"crv": "Ed25519", "kty": "OKP", "x": base64url(&self.public)}),
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let (x, y) = self.public[1..].split_at(self.public.len() / 2);
                json!({"crv": self.kind.curve(), "kty": "EC", "x": base64url(x), "y": base64url(y)})
            }
        }
    }

    /// The SHA-256 thumbprint of its public half (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        let canonical = self.members().to_string();
        base64url(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }

    /// A valid header for this key.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.kind.algorithm(), "kid": self.kid, "typ": "at+jwt"})
    }

    /// A JWT with a valid header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A JWT with this header. It is signed with the header's `alg` if this key can do that, else with
    /// the key's own algorithm.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = signing_input(&header.to_string(), &claims.to_string());
        let named = header["alg"].as_str().unwrap_or_default();
        let signature = self.signature(named, input.as_bytes());
        format!("{input}.{}", base64url(&signature))
    }

    /// The signature of `input`; see [`Self::sign`] for `algorithm`.
    pub(crate) fn signature(&self, algorithm: &str, input: &[u8]) -> Vec<u8> {
        match self.kind {
            KeyKind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).expect("a key of ours");
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding = rsa_encoding(algorithm);
                pair.sign(encoding, &SystemRandom::new(), input, &mut signature).expect("RSA signs");
                signature
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).expect("a key of ours");
                pair.sign(input).as_ref().to_vec()
            }
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => self.ecdsa_signature(false, input),
        }
    }

    /// The signature of `input` in DER, which is wrong for a JWT; for EC keys only.
    pub(crate) fn der_signature(&self, input: &[u8]) -> Vec<u8> {
        self.ecdsa_signature(true, input)
    }

    fn ecdsa_signature(&self, der: bool, input: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(self.kind.ecdsa(der), &self.pkcs8).expect("a key of ours");
        pair.sign(&SystemRandom::new(), input).expect("ECDSA signs").as_ref().to_vec()
    }
}

fn rsa_encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        "PS256" => &RSA_PSS_SHA256,
        "PS384" => &RSA_PSS_SHA384,
        "PS512" => &RSA_PSS_SHA512,
        _ => &RSA_PKCS1_SHA256,
    }
}

/// The input of a signature; neither text needs to be JSON.
pub(crate) fn signing_input(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// A JWT with this header, signed by HMAC-SHA-256 with `secret`, which may be a public key.
pub(crate) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let input = signing_input(&header.to_string(), &claims.to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{input}.{}", base64url(hmac::sign(&key, input.as_bytes()).as_ref()))
}

/// Base64 for URLs, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII"));
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.collect::<Vec<_>>().join("\n"))
}

/// Header and claims of a JWT, without a check of its signature.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let part = |nth: usize| {
        let text = token.split('.').nth(nth).unwrap_or_else(|| panic!("no JWT: {token}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_else(|error| panic!("{error}: {token}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {token}"))
    };
    (part(0), part(1))
}
