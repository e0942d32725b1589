//! Tokens that the provider is asked about.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Authentication, TokenSettings, TokenVerdict, Validation};
use super::provider::{Provider, Says};
use super::signing::{Key, claims, now};
use super::{account, client, in_time, is_refused, oidc, secret, settings, verify};
use crate::model::{Deadline, Failure, Peer};

async fn ask(change: impl Fn(&mut TokenSettings), says: Says) -> Result<TokenVerdict, Failure> {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/introspect", says);
    let mut settings = settings(&provider, Validation::Introspection);
    change(&mut settings);
    verify(&oidc.verifier(&settings), "opaque").await
}

#[tokio::test]
async fn what_the_answer_says_is_held_to_the_rules() {
    let good = account("bob");
    let past = json!({"active": true, "sub": "bob", "exp": now() - 120});
    let soon = json!({"active": true, "sub": "bob", "exp": now() + 120, "iat": now(), "nbf": now()});
    let ahead = json!({"active": true, "sub": "bob", "nbf": now() + 300});
    let rightful = [
        json!({"active": true, "username": "bob"}),
        json!({"active": true, "sub": "bob"}),
        json!({"active": true, "sub": "4711", "username": "bob"}),
        json!({"active": true, "sub": "bob", "preferred_username": "alice"}),
        json!({"active": true, "sub": "bob", "username": null}),
        json!({"active": true, "sub": "bob", "aud": "us2"}),
        json!({"active": true, "sub": "bob", "aud": ["x", "us:1"]}),
        json!({"active": true, "sub": "bob", "aud": "x", "client_id": "us:1"}),
        json!({"active": true, "sub": "bob", "nonce": "n"}),
        soon,
    ];
    for answer in rightful {
        assert_eq!(ask(|_| {}, Says::Json(200, answer.clone())).await, good, "{answer}");
    }
    let wrong = [
        json!({"active": true}),
        json!({"active": true, "sub": ""}),
        json!({"active": true, "sub": "b\tob"}),
        json!({"active": true, "sub": "b\u{85}ob"}),
        json!({"active": true, "sub": "b".repeat(256)}),
        json!({"active": true, "sub": "bob", "aud": "other"}),
        json!({"active": true, "sub": "bob", "aud": ["other", "more"]}),
        json!({"active": true, "sub": "bob", "client_id": "other"}),
        json!({"active": true, "sub": "bob", "iss": "https://other.test"}),
        past,
        ahead,
    ];
    for answer in wrong {
        let verdict = ask(|_| {}, Says::Json(200, answer.clone())).await;
        assert!(is_refused(&verdict), "{answer}: {verdict:?}");
    }
    // What makes no sense is the provider's trouble, and nobody's wrong password.
    for answer in [
        json!({"active": true, "sub": 1}),
        json!({"active": true, "username": {"name": "bob"}}),
        json!({"active": true, "sub": "bob", "aud": 5}),
        json!({"active": true, "sub": "bob", "aud": ["other", 1]}),
        json!({"active": true, "sub": "bob", "client_id": 5}),
        json!({"active": true, "sub": "bob", "iss": 5}),
    ] {
        assert_eq!(ask(|_| {}, Says::Json(200, answer.clone())).await, Err(Failure::Provider), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_whether_a_token_is_active_denies_nobody() {
    let verdict = ask(|_| {}, Says::Json(200, json!({"active": false, "sub": "bob"}))).await;
    let Ok(TokenVerdict::Refused(refusal)) = verdict else { panic!("{verdict:?}") };
    assert_eq!(refusal.reason, "token is not active");
    for nothing in [
        json!({}),
        json!({"sub": "bob"}),
        json!({"error": "invalid_request"}),
        json!({"status": "maintenance"}),
        json!({"active": "true", "sub": "bob"}),
        json!({"active": "false"}),
        json!({"active": 1, "sub": "bob"}),
        json!({"active": 0}),
        json!({"active": null}),
        json!({"active": [true]}),
    ] {
        assert_eq!(ask(|_| {}, Says::Json(200, nothing.clone())).await, Err(Failure::Provider), "{nothing}");
    }
}

#[tokio::test]
async fn a_time_is_a_number_or_digits() {
    let ask = async |name: &str, time: Value| {
        let answer = json!({"active": true, "sub": "bob", name: time});
        ask(|_| {}, Says::Json(200, answer)).await
    };
    for exp in [json!((now() + 60).to_string()), json!("9999999999"), json!("99999999999999999999999")] {
        assert_eq!(ask("exp", exp.clone()).await, account("bob"), "{exp}");
    }
    assert_eq!(ask("nbf", json!((now() - 60).to_string())).await, account("bob"));
    for (name, time) in [("exp", now() - 120), ("exp", 0), ("nbf", now() + 300), ("iat", now() + 300)] {
        assert!(is_refused(&ask(name, json!(time.to_string())).await), "{name}");
    }
    for time in ["", " ", "soon", "1e10", "-5", "+99999999999", "9999999999.5", "2099-01-01T00:00:00Z"] {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(ask(name, json!(time)).await, Err(Failure::Provider), "{name}: {time:?}");
        }
    }
    for time in [json!(true), json!([9_999_999_999_u64]), json!({})] {
        assert_eq!(ask("exp", time.clone()).await, Err(Failure::Provider), "{time}");
    }
}

#[tokio::test]
async fn a_name_is_what_can_be_seen() {
    for hidden in
        ["b\u{200b}ob", "bob\u{feff}", "\u{202e}bob", "bob\u{2028}", "\u{2066}b", " ", "\u{a0}\u{3000}"]
    {
        let verdict = ask(|_| {}, Says::Json(200, json!({"active": true, "username": hidden}))).await;
        assert!(is_refused(&verdict), "{hidden:?}: {verdict:?}");
    }
    let verdict = ask(|_| {}, Says::Json(200, json!({"active": true, "username": "Bob B\u{f6}b"}))).await;
    assert_eq!(verdict, account("Bob B\u{f6}b"));
}

#[tokio::test]
async fn an_address_that_is_not_verified_names_nobody() {
    let email = |settings: &mut TokenSettings| settings.account_claim = Some("email".to_owned());
    let says = |verified: Value| {
        Says::Json(200, json!({"active": true, "sub": "4711", "email": "bob@x", "email_verified": verified}))
    };
    for verified in [json!(true), json!("true"), json!("True"), json!(1), Value::Null] {
        assert_eq!(ask(email, says(verified.clone())).await, account("bob@x"), "{verified}");
    }
    for verified in [json!(false), json!("false"), json!(0), json!(""), json!("no"), json!([])] {
        let verdict = ask(email, says(verified.clone())).await;
        let Ok(TokenVerdict::Refused(refusal)) = verdict else { panic!("{verified}: {verdict:?}") };
        assert!(refusal.detail.contains("email_verified"), "{}", refusal.detail);
        assert_eq!(ask(|_| {}, says(verified)).await, account("4711"), "another claim names the account");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_denies_nobody() {
    let good = json!({"active": true, "sub": "bob"});
    let mut says: Vec<_> = [201, 204, 302, 400, 401, 403, 404, 429, 500, 503]
        .map(|status| Says::Json(status, good.clone()))
        .into();
    says.extend([Says::Text("<html>"), Says::Text(r#"["active"]"#), Says::Text("")]);
    says.push(Says::Text(r#"{"active": false, "active": true, "sub": "bob"}"#));
    for says in says {
        assert_eq!(ask(|_| {}, says.clone()).await, Err(Failure::Provider), "{says:?}");
    }
}

#[tokio::test]
async fn a_token_has_16_kib_at_most() {
    let provider = Provider::start().await;
    provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "bob"})));
    let verifier = oidc().verifier(&settings(&provider, Validation::Introspection));
    assert_eq!(verify(&verifier, &"t".repeat(16 * 1024)).await, account("bob"));
    assert!(is_refused(&verify(&verifier, &"t".repeat(16 * 1024 + 1)).await));
    assert!(is_refused(&verify(&verifier, "").await));
    assert_eq!(provider.count("/introspect"), 1);
}

#[tokio::test]
async fn with_auto_half_of_the_time_is_left_for_the_question() {
    let (provider, key) = (Provider::start().await, Key::ed25519());
    provider.say("/keys", Says::Nothing);
    provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "asked"})));
    let verifier = oidc().verifier(&settings(&provider, Validation::Auto));
    let begun = tokio::time::Instant::now();
    let deadline = Deadline::from(begun.into_std(), Duration::from_secs(3));
    let token = secret(&key.token(&claims(&provider.url(""))));
    let verdict = verifier.verify(&token, &Peer::default(), None, deadline).await;
    assert_eq!(verdict, account("asked"));
    assert!(begun.elapsed() >= Duration::from_millis(1500), "the keys had the other half");
}

#[tokio::test]
async fn with_auto_a_key_that_is_unknown_again_is_asked_about() {
    let (provider, known) = (Provider::start().await, Key::ed25519());
    provider.say("/keys", Says::Json(200, json!({ "keys": [known.jwk] })));
    provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "asked"})));
    let verifier = oidc().verifier(&settings(&provider, Validation::Auto));
    let token = |kid: &str| Key::ed25519().named(kid).token(&claims(&provider.url("")));
    assert!(is_refused(&verify(&verifier, &token("one")).await), "the new keys do not hold it, either");
    assert_eq!(verify(&verifier, &token("two")).await, account("asked"), "too soon for new keys");
}

#[tokio::test]
async fn settings_change_the_rules() {
    let answer = |answer: Value| Says::Json(200, answer);
    let claim = |settings: &mut TokenSettings| settings.account_claim = Some("mail".to_owned());
    let named = json!({"active": true, "sub": "svc", "mail": "bob"});
    assert_eq!(ask(claim, answer(named)).await, account("bob"));
    let verdict = ask(claim, answer(json!({"active": true, "sub": "svc", "username": "bob"}))).await;
    let Ok(TokenVerdict::Refused(refusal)) = verdict else { panic!("{verdict:?}") };
    assert_eq!((refusal.reason, refusal.detail.as_str()), ("invalid token", "it has no mail"));

    let require = |settings: &mut TokenSettings| settings.require_audience = true;
    assert!(is_refused(&ask(require, answer(json!({"active": true, "sub": "bob"}))).await));
    let any = |settings: &mut TokenSettings| settings.audiences = None;
    assert_eq!(ask(any, answer(json!({"active": true, "sub": "bob", "aud": "x"}))).await, account("bob"));

    let verdict = ask(|_| {}, answer(json!({"active": true, "sub": "bob", "aud": "o\n\"ther"}))).await;
    let Ok(TokenVerdict::Refused(refusal)) = verdict else { panic!("{verdict:?}") };
    assert!(refusal.detail.contains("sasl_oidc_auth.audiences"), "{}", refusal.detail);
    assert!(refusal.detail.starts_with("the token is for \"o\"ther\""), "{}", refusal.detail);
}

#[tokio::test]
async fn the_provider_is_told_what_it_may_know() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "bob"})));
    let peer = Peer {
        service: "smtp".to_owned(),
        client_ip: "192.0.2.1".to_owned(),
        local_ip: "192.0.2.2".to_owned(),
        client_id: "a mail client".to_owned(),
        ..Peer::default()
    };
    let form = |at: usize| {
        let asked = provider.asked("/introspect").remove(at);
        let authorization =
            asked.headers.get("authorization").map(|value| value.to_str().expect("text").to_owned());
        (asked.form, authorization)
    };
    let common = [("token", "o p=&"), ("token_type_hint", "access_token"), ("scope", "mail send")];
    let owned = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };

    let verifier = oidc.verifier(&settings(&provider, Validation::Introspection));
    assert!(verifier.verify(&secret("o p=&"), &peer, Some(587), in_time()).await.is_ok());
    let told =
        [("service", "smtp"), ("client_ip", "192.0.2.1"), ("local_ip", "192.0.2.2"), ("local_port", "587")];
    // us%3A1:s%26cret
    assert_eq!(
        form(0),
        (owned(&[&common[..], &told].concat()), Some("Basic dXMlM0ExOnMlMjZjcmV0".to_owned()))
    );

    let mut other = settings(&provider, Validation::Introspection);
    other.client = client(&provider, Authentication::None);
    let with_port = Peer { local_port: "25".to_owned(), ..Peer::default() };
    assert!(oidc.verifier(&other).verify(&secret("o p=&"), &with_port, Some(587), in_time()).await.is_ok());
    let told = [("local_port", "25"), ("client_id", "us:1")];
    assert_eq!(form(1), (owned(&[&common[..], &told].concat()), None));
}

#[tokio::test]
async fn nothing_is_kept_of_an_answer() {
    let (provider, oidc) = (Provider::start().await, oidc());
    let verifier = oidc.verifier(&settings(&provider, Validation::Introspection));
    provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "bob"})));
    assert_eq!(verify(&verifier, "t").await, account("bob"));
    provider.say("/introspect", Says::Json(200, json!({"active": false})));
    assert!(is_refused(&verify(&verifier, "t").await));
    for token in ["", &"x".repeat(16 * 1024 + 1)] {
        assert!(is_refused(&verify(&verifier, token).await));
    }
    assert_eq!(provider.count("/introspect"), 2);
}
