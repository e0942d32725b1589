//! Private keys as files hold them.

use std::hash::{DefaultHasher, Hash, Hasher};

use aws_lc_rs::signature::{ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::json;

use super::super::algorithm::Algorithm;
use super::super::private_key::PrivateKey;
use super::secret;
use super::signing::{Key, pem};

#[test]
fn every_notation_of_a_key_is_read() {
    for key in Key::all() {
        assert!(key.pems.len() >= 2);
        for text in &key.pems {
            let text = format!("a comment\n{}", text.replace('\n', "\r\n"));
            let read = PrivateKey::read(secret(&text)).expect("a key");
            assert_eq!(read.algorithm(&[]), key.algorithm);
            assert_eq!(format!("{read:?}"), "PrivateKey(…)");
        }
    }
}

#[test]
fn keys_are_equal_if_their_texts_are() {
    let hash = |key: &PrivateKey| {
        let mut state = DefaultHasher::new();
        key.hash(&mut state);
        state.finish()
    };
    let [one, same, other] = {
        let (key, other) = (Key::ed25519(), Key::ed25519());
        [&key.pems[0], &key.pems[0], &other.pems[0]]
            .map(|text| PrivateKey::read(secret(text)).expect("a key"))
    };
    assert!(one == same && one != other);
    assert!(hash(&one) == hash(&same) && hash(&one) != hash(&other));
}

#[test]
fn what_is_no_key_is_refused_with_a_sentence() {
    let curve = EcdsaKeyPair::generate(&ECDSA_P256K1_SHA256_ASN1_SIGNING).expect("a key");
    let curve = pem("PRIVATE KEY", curve.to_pkcs8v1().expect("DER").as_ref());
    let good = &Key::p256().pems[0];
    let cases = [
        (String::new(), "no private key"),
        ("-----BEGIN PRIVATE KEY-----".to_owned(), "no private key"),
        (pem("CERTIFICATE", b"x"), "no private key"),
        (pem("PRIVATE KEY", b""), "no key that can be used"),
        (pem("PRIVATE KEY", b"\x30\x00"), "no key that can be used"),
        (pem("EC PRIVATE KEY", b"x"), "no key that can be used"),
        (pem("RSA PRIVATE KEY", b"x"), "no key that can be used"),
        (pem("OPENSSH PRIVATE KEY", b"x"), "a kind"),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), "encrypted"),
        (curve, "no key that can be used"),
        (good.replacen("\n", "\nProc-Type: 4,ENCRYPTED\n", 1), "encrypted"),
        (good.replacen('M', "*", 1), "base64"),
        (good.replace("END PRIVATE", "END"), "no private key"),
    ];
    for (text, due) in cases {
        let error = PrivateKey::read(secret(&text)).expect_err(due);
        assert!(error.contains(due), "{error}");
    }
}

#[test]
fn a_key_signs_with_what_the_provider_takes() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let rsa = Key::rsa().private;
    for (supported, due) in [
        (&[][..], Algorithm::Rs256),
        (&["ES256"], Algorithm::Rs256),
        (&["PS256", "RS256"], Algorithm::Rs256),
        (&["PS384", "RS512"], Algorithm::Rs512),
        (&["PS384"], Algorithm::Ps384),
    ] {
        let algorithm = rsa.algorithm(&names(supported));
        assert_eq!(algorithm, due, "{supported:?}");
        assert!(rsa.sign(algorithm, b"m").is_some());
    }
    assert_eq!(Key::p521().private.algorithm(&names(&["RS256"])), Algorithm::Es512);
    assert_eq!(json!(Algorithm::of("Ed25519").map(Algorithm::name)), json!("EdDSA"));
}
