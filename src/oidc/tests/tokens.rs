//! Our own tokens.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::json as objects;
use super::super::jwk::{KeySet, Signature};
use super::super::jws::{Jws, TokenForm};
use super::super::{Authentication, Bearer};
use super::provider::{Provider, Says};
use super::signing::{Key, now};
use super::{client, in_time, later, oidc, secret, until};
use crate::model::{Deadline, Failure};

async fn token(bearer: &Bearer) -> Result<String, Failure> {
    bearer.token(in_time()).await.map(|token| token.header().to_str().expect("a header").to_owned())
}

fn is(number: usize) -> Result<String, Failure> {
    Ok(format!("Bearer token-{number}"))
}

#[tokio::test]
async fn a_thousand_lookups_ask_once() {
    let (provider, oidc) = (Provider::start().await, oidc());
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    let all: Vec<_> = (0..1000)
        .map(|_| {
            let bearer = Arc::clone(&bearer);
            tokio::spawn(async move { token(&bearer).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.expect("no panic"), is(1));
    }
    assert_eq!((provider.count("/configuration"), provider.count("/token")), (1, 1));
}

#[tokio::test]
async fn equal_settings_share_a_token_and_others_do_not() {
    let (provider, oidc) = (Provider::start().await, oidc());
    let settings = client(&provider, Authentication::SecretPost(secret("a")));
    let bearer = oidc.bearer(&settings);
    assert!(Arc::ptr_eq(&bearer, &oidc.bearer(&settings.clone())));
    let others = [
        client(&provider, Authentication::SecretPost(secret("b"))),
        client(&provider, Authentication::SecretBasic(secret("a"))),
        super::ClientSettings { scopes: Vec::new(), ..settings.clone() },
        super::ClientSettings { client_id: "us".to_owned(), ..settings },
    ];
    let mut kept = vec![bearer];
    for other in others {
        let other = oidc.bearer(&other);
        assert!(kept.iter().all(|one| !Arc::ptr_eq(one, &other)));
        assert!(token(&other).await.is_ok());
        kept.push(other);
    }
    assert_eq!((provider.count("/configuration"), provider.count("/token")), (1, 4));
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_nobody_else() {
    let (hanging, well, oidc) = (Provider::start().await, Provider::start().await, oidc());
    hanging.say("/configuration", Says::Nothing);
    let waiting = oidc.bearer(&client(&hanging, Authentication::None));
    let waiting = tokio::spawn(async move { waiting.token(Deadline::after(Duration::from_secs(1))).await });
    until(|| hanging.count("/configuration") == 1).await;
    let asked = Instant::now();
    let bearer = oidc.bearer(&client(&well, Authentication::None));
    assert_eq!(token(&bearer).await, is(1));
    assert!(asked.elapsed() < Duration::from_millis(500));
    assert_eq!(waiting.await.expect("no panic").err(), Some(Failure::Provider));
}

#[tokio::test]
async fn a_token_is_renewed_in_the_background() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/token", Says::Tokens(json!("100")));
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    assert_eq!(token(&bearer).await, is(1));
    later(Duration::from_secs(79)).await;
    assert_eq!((token(&bearer).await, provider.count("/token")), (is(1), 1));
    later(Duration::from_secs(2)).await;
    assert_eq!(token(&bearer).await, is(1), "the old one, while the new one is fetched");
    until(|| provider.count("/token") == 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((token(&bearer).await, provider.count("/token")), (is(2), 2));
}

#[tokio::test]
async fn a_provider_that_is_down_is_not_missed_while_the_token_is_good() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/token", Says::Tokens(json!(100)));
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    assert_eq!(token(&bearer).await, is(1));
    provider.say("/token", Says::Json(503, Value::Null));
    later(Duration::from_secs(90)).await;
    assert_eq!(token(&bearer).await, is(1));
    until(|| provider.count("/token") == 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..5 {
        assert_eq!((token(&bearer).await, provider.count("/token")), (is(1), 2), "not again so soon");
    }
    later(Duration::from_secs(10)).await;
    assert_eq!(token(&bearer).await, Err(Failure::Provider), "it has ended");
    assert_eq!(token(&bearer).await, Err(Failure::Provider));
    assert_eq!(provider.count("/token"), 3, "not again so soon");
    provider.say("/token", Says::Tokens(json!(100)));
    later(Duration::from_secs(1)).await;
    assert_eq!(token(&bearer).await, is(4));
}

#[tokio::test]
async fn a_token_of_two_seconds_serves_many() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/token", Says::Tokens(json!(2)));
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    for _ in 0..100 {
        assert_eq!(token(&bearer).await, is(1));
    }
    later(Duration::from_secs(2)).await;
    assert_eq!((token(&bearer).await, provider.count("/token")), (is(2), 2));
}

#[tokio::test]
async fn answers_without_a_token_are_failures() {
    let says = [
        Says::Json(401, json!({"access_token": "t"})),
        Says::Json(201, json!({"access_token": "t"})),
        Says::Json(200, json!({})),
        Says::Json(200, json!({"access_token": ""})),
        Says::Json(200, json!({"access_token": "a\r\nb"})),
        Says::Json(200, json!(["t"])),
        Says::Text("<html>"),
        Says::Text(r#"{"access_token": "a", "access_token": "b"}"#),
    ];
    for says in says {
        let (provider, oidc) = (Provider::start().await, oidc());
        provider.say("/token", says.clone());
        let bearer = oidc.bearer(&client(&provider, Authentication::None));
        assert_eq!(token(&bearer).await, Err(Failure::Provider), "{says:?}");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_in_ten_seconds() {
    let (provider, oidc) = (Provider::start().await, oidc());
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    let first = bearer.token(in_time()).await.expect("a token");
    let all: Vec<_> = (0..100)
        .map(|_| {
            let (bearer, first) = (Arc::clone(&bearer), Arc::clone(&first));
            tokio::spawn(async move { bearer.after_refusal(&first, in_time()).await })
        })
        .collect();
    let mut second = None;
    for one in all {
        let token = one.await.expect("no panic").expect("a provider").expect("another token");
        assert_eq!(token.header(), "Bearer token-2");
        second = Some(token);
    }
    let second = second.expect("a token");
    assert_eq!(provider.count("/token"), 2);
    assert!(bearer.after_refusal(&second, in_time()).await.expect("no failure").is_none());
    assert_eq!((token(&bearer).await, provider.count("/token")), (is(2), 2));
    later(Duration::from_secs(10)).await;
    let third = bearer.after_refusal(&second, in_time()).await.expect("no failure").expect("a token");
    assert_eq!(third.header(), "Bearer token-3");
    later(Duration::from_secs(10)).await;
    provider.say("/token", Says::Json(200, json!({"access_token": "token-3"})));
    assert!(bearer.after_refusal(&third, in_time()).await.expect("no failure").is_none(), "the same again");
    later(Duration::from_secs(10)).await;
    provider.say("/token", Says::Json(500, Value::Null));
    let current = bearer.token(in_time()).await.expect("a token");
    assert_eq!(bearer.after_refusal(&current, in_time()).await.err(), Some(Failure::Provider));
}

#[tokio::test]
async fn each_method_says_who_we_are_in_its_own_way() {
    let none: [(&str, &str); 1] = [("client_id", "us:1")];
    let post = [("client_id", "us:1"), ("client_secret", "ä &=+:")];
    let cases = [
        (Authentication::None, &none[..], None),
        (Authentication::SecretPost(secret("ä &=+:")), &post, None),
        // us%3A1:%C3%A4+%26%3D%2B%3A
        (
            Authentication::SecretBasic(secret("ä &=+:")),
            &[],
            Some("Basic dXMlM0ExOiVDMyVBNCslMjYlM0QlMkIlM0E="),
        ),
    ];
    for (authentication, fields, authorization) in cases {
        let (provider, oidc) = (Provider::start().await, oidc());
        let settings = client(&provider, authentication);
        assert_eq!(token(&oidc.bearer(&settings)).await, is(1));
        let asked = provider.asked("/token").remove(0);
        let mut due = vec![("grant_type", "client_credentials"), ("scope", "mail send")];
        due.extend_from_slice(fields);
        let form: Vec<_> = asked.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(form, due);
        let header = |name: &str| asked.headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(header("authorization"), authorization);
        assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(header("accept"), Some("application/json"));
        assert_eq!(asked.method, "POST");
    }
}

#[tokio::test]
async fn an_assertion_is_ours_and_used_once() {
    for key in Key::all() {
        let (provider, oidc) = (Provider::start().await, oidc());
        let settings = client(&provider, Authentication::PrivateKey(key.private.clone()));
        provider.say("/token", Says::HangsUp(1));
        assert_eq!(token(&oidc.bearer(&settings)).await, is(2));
        let keys = objects::object(json!({"keys": [key.jwk]}).to_string().as_bytes()).expect("an object");
        let keys = KeySet::read(&keys);
        let mut seen = HashSet::new();
        for asked in provider.asked("/token") {
            assert_eq!(asked.field("client_id"), Some("us:1"));
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            assert_eq!(asked.field("client_assertion_type"), Some(kind));
            assert!(!asked.headers.contains_key("authorization"));
            let TokenForm::Signed(jwt) = Jws::read(asked.field("client_assertion").expect("an assertion"))
            else {
                panic!("it is no JWT")
            };
            assert_eq!(jwt.algorithm, key.algorithm);
            assert_eq!(keys.verify(&jwt), Signature::Good, "with the public half");
            let claims = jwt.claims().expect("claims");
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("us:1"), &json!("us:1")));
            assert_eq!(claims["aud"], json!(provider.url("/token")));
            let time = |name: &str| claims[name].as_u64().expect("a time");
            assert!(now().abs_diff(time("iat")) <= 2 && (1..=300).contains(&(time("exp") - time("iat"))));
            let jti = claims["jti"].as_str().expect("a text").to_owned();
            assert!(jti.len() >= 22 && seen.insert(jti));
        }
        assert_eq!(seen.len(), 2, "the lost attempt had one of its own");
    }
}

#[tokio::test]
async fn an_assertion_is_followed_by_one_other_at_most() {
    let key = Key::ed25519();
    for (hangs_up, asked, due) in [(0, 1, is(1)), (1, 2, is(2)), (2, 2, Err(Failure::Provider))] {
        let (provider, oidc) = (Provider::start().await, oidc());
        if hangs_up > 0 {
            provider.say("/token", Says::HangsUp(hangs_up));
        }
        let settings = client(&provider, Authentication::PrivateKey(key.private.clone()));
        assert_eq!(token(&oidc.bearer(&settings)).await, due, "{hangs_up}");
        assert_eq!(provider.count("/token"), asked, "{hangs_up}");
    }
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_code_alone() {
    let trouble = async |status: u16, answer: Value| {
        let (provider, oidc) = (Provider::start().await, oidc());
        provider.say("/token", Says::Json(status, answer));
        let settings = client(&provider, Authentication::SecretPost(secret("s")));
        let bearer = oidc.bearer(&settings);
        assert_eq!(token(&bearer).await, Err(Failure::Provider));
        oidc.provider(&settings.configuration_uri).http.last_error().expect("a report")
    };
    let what = r#"token_endpoint for client "us:1": status"#;
    let advice = "; check client_id, client_secret and auth_method";
    for code in ["invalid_client", "invalid_scope"] {
        assert_eq!(trouble(401, json!({ "error": code })).await, format!("{what} 401 ({code}){advice}"));
    }
    assert_eq!(trouble(400, json!({"error": "a secret"})).await, format!("{what} 400{advice}"));
    assert_eq!(trouble(403, Value::Null).await, format!("{what} 403{advice}"));
    assert_eq!(
        trouble(503, json!({"error": "invalid_client"})).await,
        format!("{what} 503 (invalid_client)")
    );
}

#[tokio::test]
async fn a_discovery_document_is_fetched_again_in_time() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/token", Says::Tokens(json!(100)));
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    assert_eq!(token(&bearer).await, is(1));
    later(Duration::from_secs(400)).await;
    assert_eq!((token(&bearer).await, provider.count("/configuration")), (is(2), 1));
    let mut moved = provider.document();
    moved["token_endpoint"] = json!(provider.url("/moved"));
    provider.say("/configuration", Says::Json(200, moved));
    provider.say("/moved", Says::Tokens(json!(100)));
    later(Duration::from_secs(201)).await;
    assert_eq!((token(&bearer).await, provider.count("/moved")), (is(1), 1));
    provider.say("/configuration", Says::Json(500, Value::Null));
    later(Duration::from_hours(23)).await;
    assert_eq!(token(&bearer).await, is(2), "the old one serves");
    later(Duration::from_hours(2)).await;
    assert_eq!(token(&bearer).await, Err(Failure::Provider), "but not for ever");
}

#[tokio::test]
async fn a_document_that_names_no_endpoint_takes_no_others_place() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/token", Says::Tokens(json!(100)));
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    assert_eq!(token(&bearer).await, is(1));
    for (number, nothing) in
        [json!({}), json!({"status": "maintenance"}), json!({"error": "x"}), json!({"issuer": "x"})]
            .into_iter()
            .enumerate()
    {
        provider.say("/configuration", Says::Json(200, nothing.clone()));
        later(Duration::from_mins(11)).await;
        assert_eq!(token(&bearer).await, is(2 + number), "{nothing}");
    }
    assert_eq!(provider.count("/configuration"), 5);
}

#[tokio::test]
async fn a_missing_endpoint_is_looked_for_again() {
    let (provider, oidc) = (Provider::start().await, oidc());
    provider.say("/configuration", Says::Json(200, json!({"issuer": "x", "jwks_uri": "https://x.test/"})));
    let bearer = oidc.bearer(&client(&provider, Authentication::None));
    assert_eq!(token(&bearer).await, Err(Failure::Provider));
    assert_eq!(provider.count("/configuration"), 2);
    provider.say("/configuration", Says::Json(200, provider.document()));
    later(Duration::from_secs(11)).await;
    assert_eq!(token(&bearer).await, is(1));
}
