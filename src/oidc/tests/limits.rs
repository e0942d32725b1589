//! What a set of keys, a token and a discovery document may hold at most, and what is beyond.

use serde_json::{Value, json};
use url::Url;

use super::super::json as objects;
use super::super::jwk::{KeySet, Signature};
use super::super::jws::{Jws, TokenForm};
use super::super::provider::{DiscoveryDocument, ProviderEndpoint};
use super::signing::{Key, base64url, claims};

/// What `keys` say of a token of `key`, with the `kid` of that or without any.
fn said(keys: &[Value], key: &Key, kid: bool) -> Signature {
    let set = objects::object(json!({ "keys": keys }).to_string().as_bytes()).expect("an object");
    let mut header = key.header();
    if !kid {
        header.as_object_mut().expect("an object").remove("kid");
    }
    let token = key.sign(&header.to_string(), &claims("https://idp.test").to_string());
    let TokenForm::Signed(jws) = Jws::read(&token) else { panic!("{token}") };
    KeySet::read(&set).verify(&jws)
}

/// So many keys of another kind, and these.
fn behind(count: usize, others: &[&Key]) -> Vec<Value> {
    let other = Key::p256();
    let many = (0..count).map(|number| other.clone().named(&format!("other {number}")).jwk);
    many.chain(others.iter().map(|key| key.jwk.clone())).collect()
}

#[test]
fn a_set_has_64_keys() {
    let (ours, unknown) = (Key::ed25519().named("ours"), Key::ed25519().named("unknown"));
    assert_eq!(said(&behind(63, &[&ours]), &ours, true), Signature::Good);
    assert_eq!(said(&behind(63, &[&ours]), &unknown, true), Signature::UnknownKey);
    assert_eq!(said(&behind(63, &[&ours]), &unknown, false), Signature::Unproven);
    // Of the keys that are left out nothing is known.
    assert_eq!(said(&behind(64, &[&ours]), &ours, true), Signature::Undecided);
    assert_eq!(said(&behind(64, &[&ours]), &unknown, true), Signature::Undecided);
    let mut cut = behind(64, &[]);
    cut.insert(0, ours.jwk.clone());
    assert_eq!(said(&cut, &ours, false), Signature::Good);
    assert_eq!(said(&cut, &unknown, false), Signature::Undecided);
}

#[test]
fn eight_keys_are_tried_for_a_token() {
    let (ours, other) = (Key::ed25519(), Key::ed25519());
    let among = |count: usize, with_ours: bool| {
        let mut keys = vec![other.jwk.clone(); count];
        keys.extend(with_ours.then(|| ours.jwk.clone()));
        said(&keys, &ours, false)
    };
    assert_eq!((among(7, true), among(8, true)), (Signature::Good, Signature::Undecided));
    assert_eq!((among(8, false), among(9, false)), (Signature::Unproven, Signature::Undecided));
}

#[test]
fn a_header_says_each_thing_once() {
    let token = |header: &str| format!("{}.{}.AAAA", base64url(header), base64url("{}"));
    let refused = |header: &str| match Jws::read(&token(header)) {
        TokenForm::Refused(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(r#"{"alg":"ES256","alg":"none"}"#), "its header says something twice");
    assert_eq!(refused(r#"{"alg":"ES256","kid":1}"#), "its kid is no text");
    assert!(matches!(Jws::read(&token(r#"{"typ":"JWT"}"#)), TokenForm::Opaque));
}

#[test]
fn a_document_tells_what_its_endpoints_take() {
    let read = |rest: &str| {
        let text = format!(r#"{{"issuer": "https://idp.test"{rest}}}"#);
        DiscoveryDocument::read(
            &objects::object(text.as_bytes()).expect("an object"),
            &Url::parse("https://idp.test/d").expect("a URL"),
        )
    };
    let token = r#", "token_endpoint_auth_signing_alg_values_supported": ["RS256", 5, "ES256"]"#;
    let introspection = r#", "introspection_endpoint_auth_signing_alg_values_supported": ["PS256"]"#;
    let (none, one, both) = (read(""), read(token), read(&[token, introspection].concat()));
    for (document, at_token, at_introspection) in [
        (&none, &[][..], &[][..]),
        (&one, &["RS256", "ES256"], &["RS256", "ES256"]),
        (&both, &["RS256", "ES256"], &["PS256"]),
    ] {
        assert_eq!(document.signing(ProviderEndpoint::Token), at_token);
        assert_eq!(document.signing(ProviderEndpoint::Introspection), at_introspection);
    }
}

#[test]
fn an_unusual_issuer_is_remarked() {
    let remark = |issuer: &str| {
        let object = json!({ "issuer": issuer }).to_string();
        let uri = Url::parse("https://idp.test/realm/.well-known/openid-configuration").expect("a URL");
        DiscoveryDocument::read(&objects::object(object.as_bytes()).expect("an object"), &uri).remark
    };
    for usual in ["https://idp.test/realm", "https://idp.test", "https://login.test/{tenantid}", "idp.test"] {
        assert_eq!(remark(usual), None, "{usual}");
    }
    let unusual = "https://other.test/realm";
    assert!(remark(unusual).is_some_and(|remark| remark.contains(unusual)));
}
