//! The name that a token logs in as: from a claim that its user cannot choose, and without invisible
//! characters.

use serde_json::{Value, json};

use crate::login_tokens::{once, setup};
use crate::support::backend::{Backend, Reply};
use crate::support::fake_provider::FakeProvider;
use crate::support::jwt::{Key, KeyKind};
use crate::support::setup::Setup;
use crate::support::site::Way;

/// Names that look like another one, or like nothing.
const HIDDEN: [&str; 7] =
    ["u\u{200b}", "\u{feff}u", "\u{202e}u", "u\u{2066}", "u\u{2028}", " ", "\u{a0}\u{3000}"];

#[test]
fn an_address_that_is_not_verified_is_refused() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P256, "k"));
    provider.publish(&[&key]);
    for validation in ["jwks", "introspection"] {
        let by_email = setup(&provider, &format!("validation: {validation}, account_claim: email"), &[]);
        let by_sub = setup(&provider, &format!("validation: {validation}, account_claim: sub"), &[]);
        let log_in = |setup: &Setup, verified: Value| {
            let mut claims = provider.claims("4711", "pfx");
            claims["email"] = json!("ceo@example.com");
            claims["email_verified"] = verified;
            claims["active"] = json!(true);
            let body = claims.to_string();
            provider.introspect_with(move |_| Reply::json(&body));
            once(setup, "", &key.token(&claims))
        };
        assert_eq!(log_in(&by_email, json!(true)), "OK ceo@example.com", "{validation}");
        assert_eq!(log_in(&by_email, Value::Null), "OK ceo@example.com", "{validation}");
        for unverified in [json!(false), json!("false")] {
            assert_eq!(log_in(&by_email, unverified.clone()), "FAIL", "{validation}: {unverified}");
            assert_eq!(log_in(&by_sub, unverified), "OK 4711", "{validation}");
        }
        assert!(
            by_email.broker.logged(&["login denied", "email_verified"]),
            "{validation}: {}",
            by_email.broker.log()
        );
        assert!(!by_sub.broker.logged(&["account_claim"]), "{validation}: {}", by_sub.broker.log());
    }
    let usual = setup(&provider, "validation: jwks", &[]);
    assert!(usual.broker.logged(&["account_claim", "is not set"]), "{}", usual.broker.log());
}

#[test]
fn a_name_with_invisible_characters_is_refused() {
    let provider = FakeProvider::start();
    let tokens = setup(&provider, "account_claim: sub", &[]);
    let api = Backend::constant("{}");
    let passwords = Setup::start(|config| config.login("users", &api.url("/"), &[]));
    for name in HIDDEN {
        let body = json!({"active": true, "sub": name}).to_string();
        provider.introspect_with(move |_| Reply::json(&body));
        assert_eq!(once(&tokens, "", "tok.en"), "FAIL", "{name:?}");
        api.answer_with(move |_| Reply::with_header("Auth-User", &format!("u{name}u"), "{}"));
        let mut sasl = passwords.login(Way::Unix, "users");
        sasl.plain(1, "u", "secret");
        let heard = sasl.next(crate::support::PATIENCE);
        let hides = name.trim() != "";
        assert_eq!(matches!(heard, crate::support::sasl::Heard::Closed(_)), hides, "{name:?}: {heard:?}");
    }
    provider.introspect_with(|_| Reply::json(r#"{"active": true, "sub": "jos\u00e9@b\u00fccher.example"}"#));
    assert_eq!(once(&tokens, "", "tok.en"), "OK jos\u{e9}@b\u{fc}cher.example");
}
