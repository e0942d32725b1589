//! A provider's keys: rotated, gone, unknown, senseless.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::super::algorithm::Algorithm;
use super::super::{TokenSettings, TokenVerifier, Validation, jwk};
use super::provider::{Provider, Says};
use super::signing::{Key, base64url, claims};
use super::{account, is_refused, later, oidc, settings, until, verify};
use crate::model::Failure;

fn show(provider: &Provider, keys: &[&Key]) {
    let keys: Vec<_> = keys.iter().map(|key| &key.jwk).collect();
    provider.say("/keys", Says::Json(200, json!({ "keys": keys })));
}

fn token(provider: &Provider, key: &Key) -> String {
    key.token(&claims(&provider.url("")))
}

async fn start(validation: Validation) -> (Provider, Arc<TokenVerifier>) {
    let provider = Provider::start().await;
    let verifier = oidc().verifier(&settings(&provider, validation));
    (provider, Arc::new(verifier))
}

const BOB: &str = "bob@example.com";

#[tokio::test]
async fn a_rotation_costs_no_login() {
    let (provider, verifier) = start(Validation::Jwks).await;
    let (old, new) = (Key::p256().named("old"), Key::p256().named("new"));
    show(&provider, &[&old]);
    for _ in 0..10 {
        assert_eq!(verify(&verifier, &token(&provider, &old)).await, account(BOB));
    }
    assert_eq!((provider.count("/keys"), provider.count("/configuration")), (1, 1));
    show(&provider, &[&new]);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (Arc::clone(&verifier), token(&provider, &new));
            tokio::spawn(async move { verify(&verifier, &token).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.expect("no panic"), account(BOB));
    }
    assert_eq!(provider.count("/keys"), 2);
}

#[tokio::test]
async fn unknown_keys_are_looked_for_once_in_ten_seconds() {
    let (provider, verifier) = start(Validation::Jwks).await;
    let (known, unknown) = (Key::p256(), Key::p256().named("unknown"));
    show(&provider, &[&known]);
    assert_eq!(verify(&verifier, &token(&provider, &known)).await, account(BOB));
    assert!(is_refused(&verify(&verifier, &token(&provider, &unknown)).await), "looked for, and not there");
    for kid in 0..20 {
        let other = unknown.clone().named(&kid.to_string());
        assert_eq!(verify(&verifier, &token(&provider, &other)).await, Err(Failure::Provider));
    }
    assert_eq!(provider.count("/keys"), 2);
    assert_eq!(verify(&verifier, &token(&provider, &known)).await, account(BOB));
    later(Duration::from_secs(10)).await;
    provider.say("/keys", Says::Json(500, Value::Null));
    assert_eq!(verify(&verifier, &token(&provider, &unknown)).await, Err(Failure::Provider));
    assert_eq!(verify(&verifier, &token(&provider, &known)).await, account(BOB));
    assert_eq!(provider.count("/keys"), 3);
}

#[tokio::test]
async fn a_key_that_is_replaced_under_its_name_turns_nobody_away() {
    for validation in [Validation::Jwks, Validation::Auto] {
        let (provider, verifier) = start(validation).await;
        // All of one name.
        let (old, new, other, forger) = (Key::p256(), Key::p256(), Key::ed25519(), Key::p256());
        show(&provider, &[&old]);
        assert_eq!(verify(&verifier, &token(&provider, &old)).await, account(BOB));
        assert!(is_refused(&verify(&verifier, &token(&provider, &forger)).await), "the set is a new one");
        assert_eq!(provider.count("/keys"), 1);
        for (round, key) in [&new, &other].into_iter().enumerate() {
            later(Duration::from_secs(10)).await;
            show(&provider, &[key]);
            let all: Vec<_> = (0..50)
                .map(|_| {
                    let (verifier, token) = (Arc::clone(&verifier), token(&provider, key));
                    tokio::spawn(async move { verify(&verifier, &token).await })
                })
                .collect();
            for one in all {
                assert_eq!(one.await.expect("no panic"), account(BOB), "{validation:?}");
            }
            for _ in 0..20 {
                assert!(is_refused(&verify(&verifier, &token(&provider, &forger)).await));
            }
            assert_eq!(provider.count("/keys"), 2 + round);
        }
        later(Duration::from_secs(10)).await;
        for _ in 0..20 {
            assert!(is_refused(&verify(&verifier, &token(&provider, &forger)).await), "looked for once more");
        }
        assert_eq!(provider.count("/keys"), 4);
        later(Duration::from_secs(10)).await;
        provider.say("/keys", Says::Json(503, Value::Null));
        provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "asked"})));
        for _ in 0..20 {
            let verdict = verify(&verifier, &token(&provider, &forger)).await;
            assert_eq!(verdict, Err(Failure::Provider), "the key may have changed");
        }
        assert_eq!(verify(&verifier, &token(&provider, &other)).await, account(BOB));
        assert_eq!((provider.count("/keys"), provider.count("/introspect")), (5, 0));
    }
}

#[tokio::test]
async fn old_keys_serve_for_an_hour_while_there_are_no_others() {
    let (provider, verifier) = start(Validation::Jwks).await;
    let key = Key::ed25519();
    show(&provider, &[&key]);
    let judge = async || verify(&verifier, &token(&provider, &key)).await;
    assert_eq!(judge().await, account(BOB));
    later(Duration::from_secs(4 * 60 + 1)).await;
    assert_eq!(judge().await, account(BOB));
    until(|| provider.count("/keys") == 2).await;
    for lost in [Says::Json(503, Value::Null), Says::Json(200, json!({"keys": []})), Says::Text("{")] {
        provider.say("/keys", lost.clone());
        later(Duration::from_secs(18 * 60)).await;
        assert_eq!(judge().await, account(BOB), "{lost:?}");
    }
    assert_eq!(provider.count("/keys"), 5);
    later(Duration::from_mins(15)).await;
    assert_eq!(judge().await, Err(Failure::Provider));
}

#[tokio::test]
async fn keys_are_renewed_shortly_before_they_are_old() {
    let (provider, oidc) = (Provider::start().await, oidc());
    show(&provider, &[&Key::ed25519()]);
    let uri = Url::parse(&provider.url("/configuration")).expect("a URL");
    for (ttl, early) in [(3600, 60), (300, 60), (100, 20), (10, 2)] {
        let kept = jwk::fetch(oidc.provider(&uri), Duration::from_secs(ttl)).await.expect("keys");
        assert_eq!(kept.fresh - kept.renew, Duration::from_secs(early), "{ttl}");
        assert_eq!(kept.ends - kept.fresh, Duration::from_hours(1), "{ttl}");
    }
}

#[tokio::test]
async fn what_cannot_be_verified_here_is_asked_about_with_auto_alone() {
    let key = Key::p256();
    for validation in [Validation::Jwks, Validation::Auto] {
        let (provider, verifier) = start(validation).await;
        let introspected = validation == Validation::Auto;
        provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "asked"})));
        let down = if introspected { account("asked") } else { Err(Failure::Provider) };
        assert_eq!(verify(&verifier, &token(&provider, &key)).await, down, "{validation:?}");
        show(&provider, &[&key]);
        later(Duration::from_secs(2)).await;
        assert_eq!(verify(&verifier, &token(&provider, &key)).await, account(BOB));
        for opaque in ["opaque", "a.b.c", "a.b.c.d.e", "...", "e30.e30.e30"] {
            let verdict = verify(&verifier, opaque).await;
            if introspected {
                assert_eq!(verdict, account("asked"), "{opaque}");
            } else {
                assert!(is_refused(&verdict), "{opaque}");
            }
        }
        let before = provider.count("/introspect");
        let mut forged = token(&provider, &Key::p256());
        assert!(is_refused(&verify(&verifier, &forged).await));
        forged.truncate(forged.len() - 8);
        assert!(is_refused(&verify(&verifier, &forged).await));
        let none = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url("{}"));
        assert!(is_refused(&verify(&verifier, &none).await));
        assert_eq!(provider.count("/introspect"), before, "no second opinion");
    }
}

#[tokio::test]
async fn auto_without_an_introspection_endpoint_fails() {
    let (provider, verifier) = start(Validation::Auto).await;
    let mut document = provider.document();
    document.as_object_mut().expect("an object").remove("introspection_endpoint");
    provider.say("/configuration", Says::Json(200, document));
    assert_eq!(verify(&verifier, &token(&provider, &Key::p256())).await, Err(Failure::Provider));
}

#[tokio::test]
async fn the_right_key_is_found() {
    let (provider, verifier) = start(Validation::Jwks).await;
    let all = Key::all();
    show(&provider, &all.each_ref());
    for key in &all {
        assert_eq!(verify(&verifier, &token(&provider, key)).await, account(BOB), "all have one kid");
        let mut header = key.header();
        header.as_object_mut().expect("an object").remove("kid");
        let token = key.sign(&header.to_string(), &claims(&provider.url("")).to_string());
        assert_eq!(verify(&verifier, &token).await, account(BOB), "no kid");
    }
    let mut rsa = all[0].clone();
    for algorithm in Algorithm::RSA {
        rsa.algorithm = algorithm;
        assert_eq!(verify(&verifier, &token(&provider, &rsa)).await, account(BOB), "{algorithm:?}");
    }
    assert_eq!(provider.count("/keys"), 1);
}

/// A key set of `change`d key alone, and a token of the unchanged one.
async fn with_key(key: &Key, change: impl Fn(&mut Value)) -> bool {
    let (provider, verifier) = start(Validation::Jwks).await;
    let mut changed = key.clone();
    change(&mut changed.jwk);
    let other = Key::ed25519().named("other");
    show(&provider, &[&changed, &other]);
    verify(&verifier, &token(&provider, key)).await == account(BOB)
}

#[tokio::test]
async fn keys_that_are_not_for_this_are_left_out() {
    let (rsa, p521) = (Key::rsa(), Key::p521());
    for (name, value) in
        [("use", json!("sig")), ("use", Value::Null), ("key_ops", json!(["verify"])), ("alg", json!("RS256"))]
    {
        assert!(with_key(&rsa, |jwk| jwk[name] = value.clone()).await, "{name}: {value}");
    }
    let long = base64url([&[0xff; 1025][..]].concat());
    let cases = [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!("verify")),
        ("alg", json!("RS512")),
        ("alg", json!("RSA-OAEP")),
        ("alg", json!("ES256")),
        ("kty", json!("EC")),
        ("kty", json!("oct")),
        ("kid", json!(1)),
        ("n", json!(base64url([0xff; 128]))),
        ("n", json!(long)),
        ("n", json!("")),
        ("n", json!("=")),
        ("n", Value::Null),
        ("e", json!(base64url([1]))),
        ("e", json!(base64url([4]))),
        ("e", json!("")),
        ("e", json!(base64url([0xff; 9]))),
    ];
    for (name, value) in cases {
        assert!(!with_key(&rsa, |jwk| jwk[name] = value.clone()).await, "{name}: {value}");
    }
    assert!(with_key(&p521, |_| {}).await);
    let cases = [
        ("crv", json!("P-256")),
        ("crv", json!("P-384")),
        ("crv", json!("secp256k1")),
        ("crv", Value::Null),
        ("x", json!(base64url([1; 65]))),
        ("x", json!(base64url([1; 67]))),
        ("x", json!(base64url([1; 66]))),
        ("y", json!(base64url([0; 66]))),
        ("y", json!(base64url([0xff; 10_000]))),
        ("y", json!(7)),
    ];
    for (name, value) in cases {
        assert!(!with_key(&p521, |jwk| jwk[name] = value.clone()).await, "{name}: {value}");
    }
    assert!(!with_key(&Key::ed25519(), |jwk| jwk["x"] = json!(base64url([1; 31]))).await);
    assert!(!with_key(&Key::ed25519(), |jwk| jwk["crv"] = json!("Ed448")).await);
}

#[tokio::test]
async fn a_name_comes_out_of_the_token_alone() {
    let (provider, oidc, key) = (Provider::start().await, oidc(), Key::ed25519());
    show(&provider, &[&key]);
    let of = |claim: Option<&str>| TokenSettings {
        account_claim: claim.map(str::to_owned),
        ..settings(&provider, Validation::Jwks)
    };
    let mut said = claims(&provider.url(""));
    said["preferred_username"] = json!("bob2");
    let cases = [(Some("preferred_username"), Some("bob2")), (Some("mail"), None), (Some("exp"), None)];
    for (claim, due) in cases {
        let verdict = verify(&oidc.verifier(&of(claim)), &key.token(&said)).await;
        match due {
            Some(name) => assert_eq!(verdict, account(name)),
            None => assert!(is_refused(&verdict), "{claim:?}"),
        }
    }
    let mut usual = async |gone: &str| {
        said.as_object_mut().expect("an object").remove(gone);
        verify(&oidc.verifier(&of(None)), &key.token(&said)).await
    };
    assert_eq!(usual("").await, account(BOB));
    assert_eq!(usual("username").await, account("bob2"));
    assert_eq!(usual("preferred_username").await, account("4711"));
    assert!(is_refused(&usual("sub").await));
}
