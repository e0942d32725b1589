//! Faults of providers while a token is checked: the login fails for now, and is not denied.

use std::time::Duration;

use serde_json::json;

use crate::login_tokens::{once, setup};
use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::{backend_oidc, sasl_oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::jwt::{Key, KeyKind};
use crate::support::pause;
use crate::support::setup::Setup;

/// How long the broker waits before it fetches keys again that did not help.
const COOL_DOWN: Duration = Duration::from_secs(10);

#[test]
fn a_key_that_is_replaced_under_its_kid_denies_no_login() {
    let provider = FakeProvider::start();
    let [old, new, forger] = [(); 3].map(|()| Key::new(KeyKind::P256, "k"));
    let token = |key: &Key| key.token(&provider.claims("u", "pfx"));
    provider.publish(&[&old]);
    let setup = setup(&provider, "validation: jwks", &[]);
    assert_eq!(once(&setup, "", &token(&old)), "OK u");
    pause(COOL_DOWN);
    provider.publish(&[&new]);
    assert_eq!(once(&setup, "", &token(&new)), "OK u");
    for _ in 0..20 {
        assert_eq!(once(&setup, "", &token(&forger)), "FAIL");
    }
    assert_eq!(provider.count(Endpoint::Keys), 2, "forged tokens cause no fetch");
    provider.break_with(Endpoint::Keys, Reply::status(500));
    pause(COOL_DOWN);
    assert_eq!(once(&setup, "", &token(&forger)), "closed", "the key may have changed");
    assert_eq!(once(&setup, "", &token(&new)), "OK u");
}

#[test]
fn an_unclear_introspection_is_a_temporary_failure() {
    let provider = FakeProvider::start();
    let setup = setup(&provider, "validation: introspection", &[]);
    for answer in [
        json!({}),
        json!({"error": "server_error"}),
        json!({"status": "maintenance"}),
        json!({"active": "true", "sub": "u"}),
        json!({"active": "false", "sub": "u"}),
        json!({"active": 1, "sub": "u"}),
        json!({"active": null, "sub": "u"}),
        json!({"sub": "u"}),
        json!({"active": true, "sub": "u", "exp": "tomorrow"}),
        json!({"active": true, "sub": "u", "exp": true}),
    ] {
        let body = answer.to_string();
        provider.introspect_with(move |_| Reply::json(&body));
        assert_eq!(once(&setup, "", "tok.en"), "closed", "{answer}");
    }
    for told in ["active is missing", "active is no boolean", "exp is no number"] {
        assert!(
            setup.broker.logged(&["trouble with an identity provider", told]),
            "{told}: {}",
            setup.broker.log()
        );
    }
}

#[test]
fn a_providers_byte_order_mark_is_skipped() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P256, "k"));
    let api = Backend::constant(r#"{"value": "v"}"#);
    provider.publish(&[&key]);
    provider.mark();
    provider.introspect_with(|_| Reply::json("\u{feff}{\"active\": true, \"sub\": \"introspected\"}"));
    let tokens = setup(&provider, "validation: auto", &[]);
    assert_eq!(once(&tokens, "", &key.token(&provider.claims("signed", "pfx"))), "OK signed");
    assert_eq!(once(&tokens, "", "opaque"), "OK introspected");
    let bearer = backend_oidc(&provider.configuration_uri(), "client_id: pfx");
    let map = Setup::start(|config| config.map("m", &api.url("/"), &[&bearer]));
    assert_eq!(map.map().look_up("m", "k"), "OK v");
}

#[test]
fn an_unusual_issuer_is_remarked_once() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P256, "k"));
    provider.publish(&[&key]);
    provider.describe("issuer", json!("https://login.example/tenant"));
    let mut claims = provider.claims("u", "pfx");
    claims["iss"] = json!("https://login.example/tenant");
    let setup = setup(&provider, "validation: jwks", &[]);
    for _ in 0..3 {
        assert_eq!(once(&setup, "", &key.token(&claims)), "OK u");
    }
    let remark = "an identity provider has an unusual issuer; its tokens are accepted";
    assert!(setup.broker.logged(&[remark, "https://login.example/tenant"]), "{}", setup.broker.log());
    assert_eq!(setup.broker.log().matches(remark).count(), 1);
}

#[test]
fn an_issuer_pattern_needs_tenants() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P256, "k"));
    provider.publish(&[&key]);
    let issuer = |tenant: &str| format!("{}/{tenant}/v2.0", provider.issuer());
    provider.describe("issuer", json!(issuer("{tenantid}")));
    let token = |tenant: &str| {
        let mut claims = provider.claims("u", "pfx");
        claims["iss"] = json!(issuer(tenant));
        claims["tid"] = json!(tenant);
        key.token(&claims)
    };
    let without = setup(&provider, "validation: jwks", &[]);
    assert_eq!(once(&without, "", &token("a-1")), "closed");
    let due = ["is a pattern", "sasl_oidc_auth.issuers", "tenants"];
    assert!(without.broker.logged(&due), "{}", without.broker.log());
    let lines = format!("validation: jwks, issuers: [\"{}\"], tenants: [a-1, b-2]", issuer("{tenantid}"));
    let with = setup(&provider, &lines, &[]);
    assert_eq!(once(&with, "", &token("a-1")), "OK u");
    assert_eq!(once(&with, "", &token("b-2")), "OK u");
    assert_eq!(once(&with, "", &token("c-3")), "FAIL");
    assert!(with.broker.logged(&["login denied", "c-3", "sasl_oidc_auth.issuers"]), "{}", with.broker.log());
}

/// A provider on a public host, reached through a proxy. Its documents are at `/out` and `/in`; the
/// URLs in them are on another public host, or on this backend itself.
fn behind_a_proxy(request: &Request) -> Reply {
    let document = |endpoint: &str| {
        Reply::json(&json!({"issuer": "http://id.example", "introspection_endpoint": endpoint}).to_string())
    };
    match request.path.as_str() {
        "http://id.example/out" => document("http://tokens.example/introspect"),
        "http://id.example/loopback" => document("http://127.0.0.1:1/introspect"),
        "http://id.example/mapped" => document("http://[::ffff:10.0.0.1]/introspect"),
        "http://id.example/name" => document("http://metadata.internal/introspect"),
        "http://10.0.0.1/inside" => document("http://10.0.0.2/introspect"),
        path if path.ends_with("/introspect") => Reply::json(r#"{"active": true, "sub": "u"}"#),
        _ => Reply::status(404),
    }
}

#[test]
fn a_public_document_cannot_name_an_internal_host() {
    let proxy = Backend::start(behind_a_proxy);
    let entry = |uri: &str| sasl_oidc(uri, "client_id: pfx, client_secret: s");
    for (uri, due) in [
        ("http://id.example/out", "OK u"),
        ("http://10.0.0.1/inside", "OK u"),
        ("http://id.example/loopback", "closed"),
        ("http://id.example/mapped", "closed"),
        ("http://id.example/name", "closed"),
    ] {
        let setup = Setup::start(|config| {
            config.proxy(&proxy.url("")).login("users", "http://127.0.0.1:1/", &[&entry(uri)])
        });
        let before = proxy.count();
        assert_eq!(once(&setup, "", "tok.en"), due, "{uri}");
        if due == "closed" {
            let due = ["introspection_endpoint is on an internal host"];
            assert!(setup.broker.logged(&due), "{uri}: {}", setup.broker.log());
            assert_eq!(proxy.count(), before + 2, "{uri}: only the document was fetched, twice");
        }
    }
}
