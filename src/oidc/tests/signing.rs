//! Keys of every kind, and tokens signed with them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::super::algorithm::Algorithm;
use super::super::private_key::PrivateKey;
use super::secret;

/// A key of the provider's.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) private: PrivateKey,
    pub(super) algorithm: Algorithm,
    /// The public half.
    pub(super) jwk: Value,
    /// The same as SubjectPublicKeyInfo in DER.
    pub(super) public: Vec<u8>,
    /// Every PEM that it can be written as.
    pub(super) pems: Vec<String>,
}

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Key {
    fn new(
        algorithm: Algorithm,
        jwk: Value,
        public: &impl AsDer<PublicKeyX509Der<'static>>,
        pems: Vec<String>,
    ) -> Self {
        let private = PrivateKey::read(secret(&pems[0])).expect("a key");
        let public = public.as_der().expect("DER").as_ref().to_vec();
        Self { private, algorithm, jwk, public, pems }
    }

    pub(super) fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let pkcs8 = AsDer::<Pkcs8V1Der>::as_der(&pair).expect("DER");
        let public = pair.public_key();
        let jwk = json!({
            "kty": "RSA", "kid": "k", "use": "sig",
            "n": base64url(public.modulus().big_endian_without_leading_zero()),
            "e": base64url(public.exponent().big_endian_without_leading_zero()),
        });
        // PKCS#8 holds PKCS#1 behind a head of 26 bytes, at this size.
        let pems = vec![pem("PRIVATE KEY", pkcs8.as_ref()), pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..])];
        Self::new(Algorithm::Rs256, jwk, public, pems)
    }

    pub(super) fn p256() -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256, "P-256")
    }

    pub(super) fn p384() -> Self {
        Self::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384, "P-384")
    }

    pub(super) fn p521() -> Self {
        Self::ec(&ECDSA_P521_SHA512_FIXED_SIGNING, Algorithm::Es512, "P-521")
    }

    fn ec(signing: &'static EcdsaSigningAlgorithm, algorithm: Algorithm, curve: &str) -> Self {
        let pair = EcdsaKeyPair::generate(signing).expect("a key");
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "kid": "k", "crv": curve, "x": base64url(x), "y": base64url(y)});
        let pkcs8 = pair.to_pkcs8v1().expect("DER");
        let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().expect("DER");
        let sec1 = pem("EC PRIVATE KEY", sec1.as_ref());
        let with_parameters = format!("{}{sec1}", pem("EC PARAMETERS", b"\x06\x05\x2b\x81\x04\x00\x22"));
        Self::new(
            algorithm,
            jwk,
            pair.public_key(),
            vec![pem("PRIVATE KEY", pkcs8.as_ref()), sec1, with_parameters],
        )
    }

    pub(super) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let pkcs8 = [pair.to_pkcs8v1().expect("DER"), pair.to_pkcs8().expect("DER")];
        let jwk = json!({
            "kty": "OKP", "kid": "k", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()),
        });
        Self::new(
            Algorithm::EdDsa,
            jwk,
            pair.public_key(),
            pkcs8.map(|der| pem("PRIVATE KEY", der.as_ref())).into(),
        )
    }

    /// One of each kind.
    pub(super) fn all() -> [Self; 5] {
        [Self::rsa(), Self::p256(), Self::p384(), Self::p521(), Self::ed25519()]
    }

    /// The same one under another `kid`.
    pub(super) fn named(mut self, kid: &str) -> Self {
        self.jwk["kid"] = json!(kid);
        self
    }

    /// The header of an honest token.
    pub(super) fn header(&self) -> Value {
        json!({"alg": self.algorithm.name(), "kid": self.jwk["kid"], "typ": "at+jwt"})
    }

    /// A token of these texts, rightly signed.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_parts(&base64url(header), &base64url(claims))
    }

    /// A token of these parts, rightly signed.
    pub(super) fn sign_parts(&self, header: &str, claims: &str) -> String {
        let message = format!("{header}.{claims}");
        let signature = self.private.sign(self.algorithm, message.as_bytes()).expect("a signature");
        format!("{message}.{}", base64url(signature))
    }

    /// An honest token of these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// What an honest token says.
pub(super) fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "4711", "username": "bob@example.com", "aud": ["other", "us:1"],
        "exp": now() + 600, "iat": now(), "nbf": now(),
    })
}
