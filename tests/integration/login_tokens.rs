//! Logins with tokens: introspection, signatures and claims, and what the log says about a refusal.
//! `logins_postfix_tokens` tests a real provider and Postfix.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::backend::{Backend, Reply};
use crate::support::config::sasl_oidc;
use crate::support::fake_provider::{Endpoint, FakeProvider, now};
use crate::support::jwt::{Key, KeyKind};
use crate::support::peer::Peer;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, pause};

/// A broker whose entry `users` accepts tokens of this provider.
pub(crate) fn setup(provider: &FakeProvider, lines: &str, more: &[&str]) -> Setup {
    let client = format!("client_id: pfx, client_secret: s, {lines}");
    let tokens = sasl_oidc(&provider.configuration_uri(), &client);
    Setup::start(|config| config.login("users", "http://127.0.0.1:1/", &[&[tokens.as_str()], more].concat()))
}

/// Logs in by XOAUTH2 or, without a name, by OAUTHBEARER; returns `OK` and the name, `FAIL`, or
/// `closed`.
pub(crate) fn log_in(sasl: &mut Sasl, user: &str, token: &str) -> String {
    let (id, challenge) =
        if user.is_empty() { (1, "{\"status\":\"invalid_token\"}") } else { (2, "{\"status\":\"401\"") };
    if user.is_empty() {
        sasl.oauthbearer(id, user, token);
    } else {
        sasl.xoauth2(id, user, token);
    }
    let mut heard = sasl.next(PATIENCE);
    if let Heard::Line(line) = &heard
        && let Some(explained) = line.strip_prefix(&format!("CONT\t{id}\t"))
    {
        use base64::Engine as _;
        let explained = base64::engine::general_purpose::STANDARD.decode(explained).expect("base64");
        assert!(String::from_utf8_lossy(&explained).starts_with(challenge), "{explained:?}");
        sasl.cont(id, if user.is_empty() { "\x01" } else { "" });
        heard = sasl.next(PATIENCE);
        assert!(matches!(&heard, Heard::Line(line) if line.starts_with("FAIL\t")), "{heard:?}");
    }
    match heard {
        Heard::Line(line) => match line.strip_prefix(&format!("OK\t{id}\tuser=")) {
            Some(user) => format!("OK {user}"),
            None => "FAIL".to_owned(),
        },
        Heard::Closed(_) | Heard::Reset => "closed".to_owned(),
        Heard::Nothing => "nothing".to_owned(),
    }
}

/// One login on a connection of its own.
pub(crate) fn once(setup: &Setup, user: &str, token: &str) -> String {
    log_in(&mut setup.login(Way::Unix, "users"), user, token)
}

#[test]
fn all_spellings_of_a_names_domain_are_equal() {
    let provider = FakeProvider::start();
    let setup = setup(&provider, "scopes: [mail]", &[]);
    for account in ["bob@b\u{fc}cher.example", "bob@xn--bcher-kva.example"] {
        let body = json!({"active": true, "username": account}).to_string();
        provider.introspect_with(move |_| Reply::json(&body));
        for typed in ["bob@b\u{fc}cher.example", "Bob@XN--bcher-kva.example", "bob@bu\u{308}cher.example"] {
            assert_eq!(once(&setup, typed, "tok.en"), format!("OK {account}"), "{typed}");
        }
        for typed in ["bob@bucher.example", "rob@b\u{fc}cher.example", "bob"] {
            assert_eq!(once(&setup, typed, "tok.en"), "FAIL", "{account}: {typed}");
        }
    }
}

#[test]
fn introspection_decides() {
    let provider = FakeProvider::start();
    let setup = setup(&provider, "scopes: [mail]", &["default_local_port: \"587\""]);
    let issuer = provider.issuer();
    let cases: &[(Value, &str)] = &[
        (json!({"active": true, "username": "u"}), "OK u"),
        (json!({"active": true, "sub": "s", "username": "u"}), "OK u"),
        (json!({"active": true, "sub": "s"}), "OK s"),
        (json!({"active": true, "sub": "s", "aud": "pfx", "exp": now() + 60, "iss": issuer}), "OK s"),
        (json!({"active": true, "sub": "s", "aud": ["a", "pfx"]}), "OK s"),
        (json!({"active": true, "sub": "s", "client_id": "pfx", "aud": "a"}), "OK s"),
        (json!({"active": false, "username": "u"}), "FAIL"),
        (json!({"active": true}), "FAIL"),
        (json!({"active": true, "username": 5}), "closed"),
        (json!({"active": true, "username": "a\tb"}), "FAIL"),
        (json!({"active": true, "username": ""}), "FAIL"),
        (json!({"active": true, "sub": "s", "aud": "other"}), "FAIL"),
        (json!({"active": true, "sub": "s", "client_id": "other"}), "FAIL"),
        (json!({"active": true, "sub": "s", "exp": now() - 120}), "FAIL"),
        (json!({"active": true, "sub": "s", "exp": "9999999999"}), "OK s"),
        (json!({"active": true, "sub": "s", "exp": (now() - 120).to_string()}), "FAIL"),
        (json!({"active": true, "sub": "s", "nbf": now() + 120}), "FAIL"),
        (json!({"active": true, "sub": "s", "iss": "https://evil.example"}), "FAIL"),
        (json!([true]), "closed"),
        (json!("active"), "closed"),
    ];
    for (answer, due) in cases {
        let body = answer.to_string();
        provider.introspect_with(move |_| Reply::json(&body));
        assert_eq!(once(&setup, "", "tok.en"), *due, "{answer}");
    }
    for reply in
        [Reply::status(401), Reply::status(403), Reply::status(400), Reply::status(500), Reply::Close]
    {
        let answer = reply.clone();
        provider.introspect_with(move |_| answer.clone());
        assert_eq!(once(&setup, "u", "tok.en"), "closed", "{reply:?}");
    }
    let mut sasl = setup.login(Way::Unix, "users");
    provider.introspect_with(|_| Reply::json(r#"{"active": true, "sub": "s"}"#));
    let parameters = "service=smtp\tlip=127.0.0.1\trip=192.0.2.7\tclient_id=mua";
    sasl.say(format!("AUTH\t1\tOAUTHBEARER\t{parameters}\tresp=biwsAWF1dGg9QmVhcmVyIHRvay5lbgEB"));
    assert_eq!(sasl.line(), "OK\t1\tuser=s");
    let form = provider.forms(Endpoint::Introspection).pop().expect("a form");
    let due = [
        ("client_ip", "192.0.2.7"),
        ("local_ip", "127.0.0.1"),
        ("local_port", "587"),
        ("scope", "mail"),
        ("service", "smtp"),
        ("token", "tok.en"),
        ("token_type_hint", "access_token"),
    ];
    let due = due.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form, due.into_iter().collect(), "the mail client's client_id is not used");
    let request = provider.requests(Endpoint::Introspection).pop().expect("a request");
    assert_eq!(request.header("authorization"), Some("Basic cGZ4OnM="));
}

#[test]
fn the_token_decides_the_name() {
    let provider = FakeProvider::start();
    provider.introspect_with(|form| {
        Reply::json(
            &json!({"active": true, "sub": form["token"], "mail": format!("{}@x", form["token"])})
                .to_string(),
        )
    });
    let by_sub = setup(&provider, "require_audience: false", &[]);
    assert_eq!(once(&by_sub, "", "alice"), "OK alice");
    assert_eq!(
        once(&by_sub, "Alice", "alice"),
        "OK alice",
        "compared without case, and spelled as in the token"
    );
    assert_eq!(once(&by_sub, "ceo", "alice"), "FAIL");
    assert_eq!(once(&by_sub, "alice@x", "alice"), "FAIL");
    let by_mail = setup(&provider, "account_claim: mail", &[]);
    assert_eq!(once(&by_mail, "alice@x", "alice"), "OK alice@x");
    assert_eq!(once(&by_mail, "alice", "alice"), "FAIL");
    assert!(by_mail.broker.logged(&["login denied", "account_claim"]), "{}", by_mail.broker.log());
    // If the claim is missing, the name that was typed is not used instead.
    let by_none = setup(&provider, "account_claim: email", &[]);
    assert_eq!(once(&by_none, "ceo@x", "alice"), "FAIL");
    assert!(by_none.broker.logged(&["login denied", "email"]), "{}", by_none.broker.log());
    let strict = setup(&provider, "require_audience: true", &[]);
    assert_eq!(once(&strict, "", "alice"), "FAIL");
}

#[test]
fn a_refusal_says_which_audience_to_add() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::Ed25519, "k"));
    provider.publish(&[&key]);
    let token = key.token(&provider.claims("u", "webmail"));
    let refusing = setup(&provider, "validation: jwks", &[]);
    assert_eq!(once(&refusing, "", &token), "FAIL");
    assert!(refusing.broker.logged(&["login denied", "webmail", "audiences"]), "{}", refusing.broker.log());
    let taking = setup(&provider, "validation: jwks, audiences: [webmail]", &[]);
    assert_eq!(once(&taking, "", &token), "OK u");
    let careless = setup(&provider, "validation: jwks, check_audience: false", &[]);
    assert_eq!(once(&careless, "", &token), "OK u");
}

#[test]
fn each_validation_asks_the_right_endpoint() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P384, "k"));
    provider.publish(&[&key]);
    provider.introspect_with(|_| Reply::json(r#"{"active": true, "sub": "introspected"}"#));
    let good = key.token(&provider.claims("signed", "pfx"));
    let forged = Key::new(KeyKind::P384, "k").token(&provider.claims("signed", "pfx"));
    for (validation, jwt, opaque, bad) in [
        ("introspection", "OK introspected", "OK introspected", "OK introspected"),
        ("jwks", "OK signed", "FAIL", "FAIL"),
        ("auto", "OK signed", "OK introspected", "FAIL"),
    ] {
        let setup = setup(&provider, &format!("validation: {validation}"), &[]);
        for (token, due) in [(good.as_str(), jwt), ("opaque", opaque), (&forged, bad)] {
            assert_eq!(once(&setup, "", token), due, "{validation}: {token}");
        }
    }
    // Without keys, only `auto` has another way to check a token: introspection.
    provider.break_with(Endpoint::Keys, Reply::status(500));
    for (validation, due) in [("jwks", "closed"), ("auto", "OK introspected")] {
        let setup = setup(&provider, &format!("validation: {validation}"), &[]);
        assert_eq!(once(&setup, "", &good), due, "{validation} without keys");
    }
}

#[test]
fn a_change_of_keys_denies_no_login() {
    let provider = FakeProvider::start();
    let keys: Vec<Key> = (0..4).map(|number| Key::new(KeyKind::Rsa, &format!("k{number}"))).collect();
    provider.publish(&[&keys[0]]);
    let setup = setup(&provider, "validation: jwks", &[]);
    let mut sasl = setup.login(Way::Unix, "users");
    assert_eq!(log_in(&mut sasl, "", &keys[0].token(&provider.claims("u", "pfx"))), "OK u");
    // A provider may sign with a new key at once.
    provider.publish(&[&keys[1]]);
    assert_eq!(log_in(&mut sasl, "", &keys[1].token(&provider.claims("u", "pfx"))), "OK u");
    // Invented key ids do not cause a fetch each. A token that cannot be checked is not denied.
    let stranger = Key::new(KeyKind::Rsa, "made up").token(&provider.claims("u", "pfx"));
    let before = provider.count(Endpoint::Keys);
    for _ in 0..20 {
        let outcome = once(&setup, "", &stranger);
        assert!(outcome == "closed" || outcome == "FAIL", "{outcome}");
    }
    assert!(provider.count(Endpoint::Keys) <= before + 1, "{}", provider.count(Endpoint::Keys) - before);
    // While the provider is away, the keys that were fetched are used.
    provider.break_with(Endpoint::Keys, Reply::stall());
    assert_eq!(log_in(&mut sasl, "", &keys[1].token(&provider.claims("u", "pfx"))), "OK u");
    assert_eq!(once(&setup, "", &stranger), "closed");
}

#[test]
fn a_provider_that_is_away_is_a_temporary_failure() {
    let mut provider = FakeProvider::start();
    let setup = setup(&provider, "validation: introspection", &[]);
    provider.backend.down();
    assert_eq!(once(&setup, "u", "tok.en"), "closed");
    let named = format!("provider=\"{}\"", provider.backend.url(""));
    assert!(setup.broker.logged(&["login failed", &named, "class=\"provider\""]), "{}", setup.broker.log());
    let log = setup.broker.log();
    let blames_api = |line: &str| line.contains("login failed") && line.contains(" target=");
    assert!(!log.lines().any(blames_api), "the API was not asked: {log}");
    // Dovecot's own clients get the failure, without a challenge that would make them discard the
    // token.
    let mut sasl = Sasl::begin_as(Peer::unix(&setup.socket("users")), 2);
    sasl.xoauth2(9, "u", "tok.en");
    assert_eq!(sasl.line(), "FAIL\t9\treason=Temporary server problem\tcode=temp_fail\ttemp");
    provider.backend.up();
    provider.introspect_with(|_| Reply::json(r#"{"active": true, "sub": "u"}"#));
    let works = crate::support::wait_until(PATIENCE, || {
        pause(Duration::from_millis(100));
        once(&setup, "u", "tok.en") == "OK u"
    });
    assert!(works, "{}", setup.broker.log());
}

#[test]
fn malformed_tokens_are_refused_without_a_request() {
    let provider = FakeProvider::start();
    let setup = setup(&provider, "validation: auto", &[]);
    for way in Way::ALL {
        let mut sasl = setup.login(way, "users");
        for response in [
            &b"n,,\x01auth=Bearer a\tb\x01\x01"[..],
            b"n,,\x01auth=Bearer a\nb\x01\x01",
            b"n,,\x01auth=Bearer a\xffb\x01\x01",
            b"n,,\x01auth=Bearer t\x01",
            b"p=tls-unique,,\x01auth=Bearer t\x01\x01",
            b"\x01",
        ] {
            sasl.auth(1, "OAUTHBEARER", Some(response));
            assert_eq!(sasl.line(), "FAIL\t1\treason=invalid OAUTHBEARER data format", "{response:?}");
        }
        sasl.auth(1, "OAUTHBEARER", Some(b"n,a=u\tx,\x01auth=Bearer t\x01\x01"));
        assert_eq!(sasl.line(), "FAIL\t1\treason=control character in the user name", "{way:?}");
        sasl.auth(1, "XOAUTH2", Some(b"user=u\x01auth=Bearer cut"));
        assert_eq!(sasl.line(), "FAIL\t1\treason=invalid XOAUTH2 data format", "{way:?}");
    }
    assert!(
        setup.broker.logged(&["login refused without asking", "line_length_limit"]),
        "{}",
        setup.broker.log()
    );
    assert_eq!(provider.backend.count(), 0);
    let api = Backend::constant("{}");
    let off = Setup::start(|config| config.login("users", &api.url("/"), &[]));
    let mut sasl = off.login(Way::Unix, "users");
    sasl.oauthbearer(1, "", "t");
    assert_eq!(sasl.line(), "FAIL\t1\treason=unsupported mechanism");
}

#[test]
fn keys_without_a_kid_may_change() {
    let provider = FakeProvider::start();
    let (old, new) = (Key::unnamed(KeyKind::Rsa), Key::unnamed(KeyKind::Rsa));
    let bare = |key: &Key| {
        let mut jwk = key.jwk();
        jwk.as_object_mut().expect("an object").remove("kid");
        jwk
    };
    let token = |key: &Key| key.sign(&json!({"alg": "RS256"}), &provider.claims("u", "pfx"));
    for validation in ["jwks", "auto"] {
        provider.publish_jwks(vec![bare(&old)]);
        let setup = setup(&provider, &format!("validation: {validation}"), &[]);
        assert_eq!(once(&setup, "", &token(&old)), "OK u", "{validation}");
        provider.publish_jwks(vec![bare(&new)]);
        assert_eq!(once(&setup, "", &token(&new)), "OK u", "{validation}: the new key");
        // A forged token cannot be told from one by a still newer key.
        let forged = token(&Key::unnamed(KeyKind::Rsa));
        assert_eq!(once(&setup, "", &forged), "closed", "{validation}");
        assert_eq!(provider.count(Endpoint::Introspection), 0, "{validation}: no introspection");
    }
}

#[test]
fn tokens_for_another_purpose_are_refused() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P256, "k"));
    provider.publish(&[&key]);
    let setup_jwks = setup(&provider, "validation: jwks", &[]);
    for (name, value) in [
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
        ("token_use", json!("id")),
        ("events", json!({})),
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("s_hash", json!("h")),
    ] {
        let mut claims = provider.claims("u", "pfx");
        claims[name] = value.clone();
        assert_eq!(once(&setup_jwks, "", &key.token(&claims)), "FAIL", "{name}: {value}");
    }
    let mut claims = provider.claims("u", "pfx");
    claims["typ"] = json!("Bearer");
    assert_eq!(once(&setup_jwks, "", &key.token(&claims)), "OK u");
    // An ID token without a nonce: a client that sent none gets none.
    let header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
    let mut claims = provider.claims("u", "pfx");
    claims.as_object_mut().expect("an object").remove("jti");
    claims["auth_time"] = json!(now());
    assert_eq!(once(&setup_jwks, "", &key.sign(&header, &claims)), "FAIL");
    assert!(setup_jwks.broker.logged(&["login denied", "auth_time"]), "{}", setup_jwks.broker.log());
    claims["scope"] = json!("mail");
    assert_eq!(once(&setup_jwks, "", &key.sign(&header, &claims)), "OK u");
    let introspecting = setup(&provider, "validation: introspection", &[]);
    for kind in ["refresh_token", "id_token"] {
        provider.introspect_with(move |_| {
            Reply::json(&json!({"active": true, "sub": "s", "token_type": kind}).to_string())
        });
        assert_eq!(once(&introspecting, "", "tok.en"), "FAIL", "{kind}");
    }
}
