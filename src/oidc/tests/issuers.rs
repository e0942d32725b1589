//! Whose tokens log in where the provider names itself by a pattern.

use serde_json::{Value, json};

use super::super::{Issuers, TokenSettings, TokenVerdict, TokenVerifier, Validation};
use super::provider::{Provider, Says};
use super::signing::{Key, claims};
use super::{account, is_refused, oidc, settings, verify};
use crate::model::Failure;

const BOB: &str = "bob@example.com";
const TENANT: &str = "11111111-2222-3333-4444-abcdefabcdef";

/// A provider with this issuer, whose tokens are `key`'s.
async fn provider(issuer: Value, key: &Key) -> Provider {
    let provider = Provider::start().await;
    let mut document = provider.document();
    document["issuer"] = issuer;
    provider.say("/configuration", Says::Json(200, document));
    provider.say("/keys", Says::Json(200, json!({"keys": [key.jwk]})));
    provider
}

fn verifier(provider: &Provider, validation: Validation, names: &[&str], tenants: &[&str]) -> TokenVerifier {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let issuers = Issuers { names: owned(names), tenants: owned(tenants) };
    oidc().verifier(&TokenSettings { issuers, ..settings(provider, validation) })
}

fn said(issuer: &str, tenant: &str) -> Value {
    let mut claims = claims(issuer);
    claims["tid"] = json!(tenant);
    claims
}

fn of(tenant: &str) -> String {
    format!("https://login.test/{tenant}/v2.0")
}

#[tokio::test]
async fn a_pattern_without_issuers_denies_nobody() {
    let key = Key::p256();
    let provider = provider(json!(of("{tenantid}")), &key).await;
    for validation in [Validation::Jwks, Validation::Auto] {
        let verifier = verifier(&provider, validation, &[], &[]);
        let token = key.token(&said(&of(TENANT), TENANT));
        assert_eq!(verify(&verifier, &token).await, Err(Failure::Provider), "{validation:?}");
        let told = verifier.client.provider.http.last_error().expect("the log was told");
        assert!(told.contains("sasl_oidc_auth.issuers") && told.contains("tenants"), "{told}");
    }
    assert_eq!(provider.count("/introspect"), 0);
    let mut answer = said(&of(TENANT), TENANT);
    answer["active"] = json!(true);
    for iss in [answer["iss"].clone(), Value::Null] {
        answer["iss"] = iss;
        provider.say("/introspect", Says::Json(200, answer.clone()));
        let verifier = verifier(&provider, Validation::Introspection, &[], &[]);
        assert_eq!(verify(&verifier, "opaque").await, Err(Failure::Provider));
    }
}

#[tokio::test]
async fn the_listed_tenants_log_in_and_no_others() {
    let key = Key::p256();
    let provider = provider(json!(of("{tenantid}")), &key).await;
    let upper = TENANT.to_uppercase();
    let (here, asked) = (Validation::Jwks, Validation::Introspection);
    let here = verifier(&provider, here, &[&of("{tenantid}"), "https://own.test"], &[&upper, "b-2"]);
    let asked = verifier(&provider, asked, &[&of("{tenantid}"), "https://own.test"], &[&upper, "b-2"]);
    let other = "99999999-2222-3333-4444-555555555555";
    for (claims, is_good) in [
        (said(&of(TENANT), TENANT), true),
        (said(&of("b-2"), "b-2"), true),
        (claims("https://own.test"), true),
        (said(&of(other), other), false),
        (said(&of(other), TENANT), false),
        (said(&of(TENANT), other), false),
        (said(&of("{tenantid}"), "{tenantid}"), false),
        (claims(&of(TENANT)), false),
        (claims(&of("{tenantid}")), false),
        (claims("https://evil.test"), false),
    ] {
        let mut answer = claims.clone();
        answer["active"] = json!(true);
        provider.say("/introspect", Says::Json(200, answer));
        for verdict in [verify(&here, &key.token(&claims)).await, verify(&asked, "opaque").await] {
            if is_good {
                assert_eq!(verdict, account(BOB), "{claims}");
                continue;
            }
            let Ok(TokenVerdict::Refused(refusal)) = verdict else { panic!("{claims}: {verdict:?}") };
            assert!(refusal.detail.contains("sasl_oidc_auth.issuers"), "{}", refusal.detail);
        }
    }
    // Whose it is must be known.
    provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "bob"})));
    assert!(is_refused(&verify(&asked, "opaque").await));
}

#[tokio::test]
async fn listed_issuers_take_the_place_of_the_discovered_one() {
    let key = Key::p256();
    for discovered in [json!("https://id.test"), Value::Null, json!(of("{tenantid}"))] {
        let provider = provider(discovered, &key).await;
        let verifier = verifier(&provider, Validation::Jwks, &["https://own.test", &of(TENANT)], &[]);
        for issuer in ["https://own.test", &of(TENANT)] {
            assert_eq!(verify(&verifier, &key.token(&claims(issuer))).await, account(BOB));
        }
        for issuer in ["https://id.test", &of("b-2"), "https://own.test/"] {
            assert!(is_refused(&verify(&verifier, &key.token(&said(issuer, "b-2"))).await), "{issuer}");
        }
    }
}
