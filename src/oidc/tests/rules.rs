//! The limits of the rules for claims, to the second.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::super::claims::{ClaimsSource, NoAccount, Rules};
use super::super::json as objects;
use super::super::{Authentication, ClientSettings, Issuers, TokenSettings, Validation};

const NOW: u32 = 2_000_000_000;
const JWT: ClaimsSource = ClaimsSource::Jwt { is_access_token: true };

/// What a token with these changes comes to: the account, or the detail for the log.
fn judged(source: ClaimsSource, change: impl Fn(&mut Value)) -> Result<String, String> {
    let settings = TokenSettings {
        client: ClientSettings {
            configuration_uri: Url::parse("https://idp.example").expect("a URL"),
            client_id: "us".to_owned(),
            authentication: Authentication::None,
            scopes: Vec::new(),
        },
        validation: Validation::Jwks,
        jwks_cache_ttl: Duration::from_mins(5),
        account_claim: None,
        audiences: Some(vec!["us".to_owned()]),
        issuers: Issuers::default(),
        require_audience: false,
    };
    let mut claims = json!({"iss": "https://idp.example", "sub": "bob", "aud": "us", "exp": NOW + 60});
    change(&mut claims);
    let claims = objects::object(claims.to_string().as_bytes()).expect("an object");
    let rules =
        Rules { settings: &settings, issuer: Some("https://idp.example"), source, now: f64::from(NOW) };
    rules.account(&claims).map_err(|none| match none {
        NoAccount::Refused(refusal) => refusal.detail,
        NoAccount::Unclear(reason) => format!("unclear: {reason}"),
    })
}

#[test]
fn clocks_may_differ_by_so_much() {
    for source in [JWT, ClaimsSource::Introspection] {
        let with = |name: &str, time: u32| judged(source, |claims| claims[name] = json!(time));
        assert_eq!(with("exp", NOW - 29), Ok("bob".into()));
        assert_eq!(with("exp", NOW - 30), Err("it has expired".into()));
        for name in ["nbf", "iat"] {
            assert_eq!(with(name, NOW + 60), Ok("bob".into()), "{name}");
            assert_eq!(with(name, NOW + 61), Err(format!("its {name} is in the future")));
        }
    }
}

#[test]
fn only_aud_may_be_a_list() {
    let with = |name: &str| judged(JWT, |claims| claims[name] = json!(["us", "them"]));
    assert_eq!(with("aud"), Ok("bob".into()));
    for name in ["azp", "client_id"] {
        assert_eq!(with(name), Err(format!("its {name} is no text")));
    }
}

#[test]
fn a_name_has_255_bytes_at_most() {
    let with = |count: usize| judged(JWT, |claims| claims["sub"] = json!("u".repeat(count)));
    assert_eq!(with(255), Ok("u".repeat(255)));
    assert_eq!(with(256), Err("its sub is no name that can log in".into()));
}

#[test]
fn a_claim_that_is_no_text_is_an_error_of_who_wrote_it() {
    let with = |source| judged(source, |claims| claims["sub"] = json!(7));
    assert_eq!(with(JWT), Err("its sub is no name that can log in".into()));
    assert_eq!(
        with(ClaimsSource::Introspection),
        Err("unclear: introspection_endpoint: sub is no text".into())
    );
}
