//! Logins with tokens through a real Postfix: a real provider with swaks and curl, and forged tokens.

use serde_json::json;

use crate::logins_postfix::{LATER, RIGHT, WRONG, postfix, postfix_for, users};
use crate::support::backend::{Backend, Reply};
use crate::support::fake_provider::{Endpoint, FakeProvider, now};
use crate::support::jwt::{self, Key, KeyKind};
use crate::support::mail_clients::curl;
use crate::support::oidc::{MAIL_PROGRAM, POST, Provider};
use crate::support::setup::Setup;
use crate::support::smtp::Smtp;

/// Lines of an entry that accepts tokens for `mail` of the provider at `configuration_uri`.
fn tokens(configuration_uri: &str, validation: &str) -> String {
    format!(
        r#"
        sasl_oidc_auth:
          enabled: true
          configuration_uri: "{configuration_uri}"
          client_id: "{}"
          client_secret: "{}"
          auth_method: client_secret_post
          validation: {validation}
          account_claim: email
          audiences: [mail, "{MAIL_PROGRAM}"]
        "#,
        POST.id, POST.secret
    )
}

#[test]
fn tokens_of_a_real_provider_log_in() {
    let mut provider = Provider::start();
    let api = Backend::start(users);
    let setup = Setup::start(|config| {
        let uri = provider.configuration_uri();
        config.login("users", &api.url("/auth"), &[&tokens(&uri, "auto")])
    });
    let (_postfix, ports) = postfix_for(&setup, "users", &["XOAUTH2", "OAUTHBEARER"]);
    let claims = json!({"email": "u@example.com"});
    let mint = |provider: &Provider, format: &str, alg: &str, audience: &str| {
        provider
            .mint(&json!({"sub": "1", "audience": audience, "format": format, "alg": alg, "claims": claims}))
    };
    for (way, mechanism, port) in &ports {
        for at_once in [true, false] {
            let opaque = mint(&provider, "opaque", "RS256", "mail");
            let login = curl(*port, mechanism, "u@example.com", &opaque, at_once);
            assert_eq!(login.code, 235, "{way:?} {mechanism}, opaque: {}", login.dialogue);
        }
        for alg in ["RS256", "ES256", "EdDSA"] {
            let token = mint(&provider, "jwt", alg, "mail");
            let login = curl(*port, mechanism, "U@example.com", &token, true);
            assert_eq!(login.code, 235, "{way:?} {mechanism} {alg}: {}", login.dialogue);
        }
        let elsewhere = mint(&provider, "jwt", "RS256", "https://shop.example");
        let login = curl(*port, mechanism, "u@example.com", &elsewhere, true);
        assert_eq!(login.code, 235, "its client is listed: {}", login.dialogue);
        let token = mint(&provider, "jwt", "ES256", "mail");
        for (what, user, token) in [
            ("another user", "ceo@example.com", token.as_str()),
            ("not a token", "u@example.com", "nonsense"),
            ("cut", "u@example.com", &token[..token.len() - 4]),
        ] {
            let login = curl(*port, mechanism, user, token, true);
            // curl hangs up when it gets the explanation of XOAUTH2.
            let due = if *mechanism == "XOAUTH2" { 334 } else { 535 };
            assert_eq!(login.code, due, "{way:?} {mechanism}, {what}: {}", login.dialogue);
        }
    }
    // A key rotation denies no login.
    provider.rotate(false);
    for (way, mechanism, port) in &ports {
        let token = mint(&provider, "jwt", "ES256", "mail");
        let login = curl(*port, mechanism, "u@example.com", &token, true);
        assert_eq!(login.code, 235, "{way:?}, new keys: {}", login.dialogue);
    }
    let opaque = mint(&provider, "opaque", "RS256", "mail");
    provider.down();
    for (way, mechanism, port) in &ports {
        let login = curl(*port, mechanism, "u@example.com", &opaque, true);
        assert_eq!(login.code, 454, "{way:?}, no provider: {}", login.dialogue);
    }
}

#[test]
fn forged_tokens_are_wrong_passwords() {
    let provider = FakeProvider::start();
    let (key, stranger) = (Key::new(KeyKind::Rsa, "k1"), Key::new(KeyKind::Rsa, "k1"));
    provider.publish(&[&key]);
    let api = Backend::start(users);
    let setup = Setup::start(|config| {
        let uri = provider.configuration_uri();
        config.login("users", &api.url("/auth"), &[&tokens(&uri, "jwks")])
    });
    let (_postfix, ports) = postfix(&setup, "users");
    let mut claims = provider.claims("1", "mail");
    claims["email"] = json!("u@example.com");
    let with = |member: &str, value: serde_json::Value| {
        let mut changed = claims.clone();
        changed[member] = value;
        key.token(&changed)
    };
    let good = key.token(&claims);
    let unsigned = format!("{}.", jwt::signing_input(r#"{"alg":"none"}"#, &claims.to_string()));
    let swapped = jwt::hs256(&json!({"alg": "HS256", "kid": "k1"}), &claims, key.public());
    for (way, port) in &ports {
        for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
            let (mut smtp, _) = Smtp::greet(*port);
            let mut say = |token: &str| {
                let response = match mechanism {
                    "XOAUTH2" => format!("user=u@example.com\x01auth=Bearer {token}\x01\x01"),
                    _ => format!("n,,\x01auth=Bearer {token}\x01\x01"),
                };
                let mut reply = smtp.auth(mechanism, response);
                if reply.starts_with("334 ") {
                    reply = smtp.respond(if mechanism == "XOAUTH2" { "" } else { "\x01" });
                }
                reply.chars().take(9).collect::<String>()
            };
            for (what, token) in [
                ("expired", with("exp", json!(now() - 120))),
                ("another audience", with("aud", json!("shop"))),
                ("another issuer", with("iss", json!("https://evil.example"))),
                ("another key", stranger.token(&claims)),
                ("alg none", unsigned.clone()),
                ("alg swapped", swapped.clone()),
            ] {
                assert_eq!(say(&token), WRONG, "{way:?} {mechanism}: {what}");
            }
            provider.break_with(Endpoint::Keys, Reply::status(503));
            assert_eq!(say(&Key::new(KeyKind::P256, "unknown").token(&claims)), LATER, "{way:?} {mechanism}");
            provider.mend(Endpoint::Keys);
            assert_eq!(say(&good), RIGHT, "{way:?} {mechanism}");
        }
    }
}
