//! Tokens that the provider is asked about.

use serde_json::{Value, json};

use super::super::{Authentication, TokenSettings, Validation, Verdict};
use super::provider::{Provider, Says};
use super::signing::now;
use super::{account, client, in_time, is_refused, oidc, secret, settings, verify};
use crate::ask::{Failure, Peer};

async fn ask(change: impl Fn(&mut TokenSettings), says: Says) -> Result<Verdict, Failure> {
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
        json!({"active": true, "sub": 1}),
        json!({"active": true, "sub": "b\tob"}),
        json!({"active": true, "sub": "b\u{85}ob"}),
        json!({"active": true, "sub": "b".repeat(256)}),
        json!({"active": true, "sub": "bob", "aud": "other"}),
        json!({"active": true, "sub": "bob", "aud": ["other", 1]}),
        json!({"active": true, "sub": "bob", "client_id": "other"}),
        json!({"active": true, "sub": "bob", "iss": "https://other.test"}),
        json!({"active": true, "sub": "bob", "exp": "9999999999"}),
        past,
        ahead,
    ];
    for answer in wrong {
        let verdict = ask(|_| {}, Says::Json(200, answer.clone())).await;
        assert!(is_refused(&verdict), "{answer}: {verdict:?}");
    }
}

#[tokio::test]
async fn only_true_is_active() {
    for active in [json!(false), json!("true"), json!(1), Value::Null, json!([true])] {
        let verdict = ask(|_| {}, Says::Json(200, json!({"active": active, "sub": "bob"}))).await;
        let Ok(Verdict::Refused(refusal)) = verdict else { panic!("{active}: {verdict:?}") };
        assert_eq!(refusal.reason, "token is not active");
    }
    let verdict = ask(|_| {}, Says::Json(200, json!({"sub": "bob"}))).await;
    let Ok(Verdict::Refused(refusal)) = verdict else { panic!("{verdict:?}") };
    assert_eq!(refusal.reason, "introspection response missing 'active' field");
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
async fn settings_change_the_rules() {
    let answer = |answer: Value| Says::Json(200, answer);
    let claim = |settings: &mut TokenSettings| settings.account_claim = Some("mail".to_owned());
    let named = json!({"active": true, "sub": "svc", "mail": "bob"});
    assert_eq!(ask(claim, answer(named)).await, account("bob"));
    let verdict = ask(claim, answer(json!({"active": true, "sub": "svc", "username": "bob"}))).await;
    let Ok(Verdict::Refused(refusal)) = verdict else { panic!("{verdict:?}") };
    assert_eq!((refusal.reason, refusal.detail.as_str()), ("invalid token", "it has no mail"));

    let require = |settings: &mut TokenSettings| settings.require_audience = true;
    assert!(is_refused(&ask(require, answer(json!({"active": true, "sub": "bob"}))).await));
    let any = |settings: &mut TokenSettings| settings.audiences = None;
    assert_eq!(ask(any, answer(json!({"active": true, "sub": "bob", "aud": "x"}))).await, account("bob"));

    let verdict = ask(|_| {}, answer(json!({"active": true, "sub": "bob", "aud": "o\n\"ther"}))).await;
    let Ok(Verdict::Refused(refusal)) = verdict else { panic!("{verdict:?}") };
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
