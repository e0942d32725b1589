//! Tests of the identity providers of the tests, the real and the fake one: they behave as the other
//! tests assume. No broker is involved.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::support::backend::Reply;
use crate::support::certificates::{Authority, Flaw};
use crate::support::fake_provider::{Endpoint, FakeProvider, now};
use crate::support::jwt::{self, Key, KeyKind};
use crate::support::oidc::{ASSERTION, BASIC, MAIL_PROGRAM, POST, Provider, Registered};
use crate::support::site::open_directory;
use crate::support::{fetch, wait_until};

/// A token for a client, or the status and the error.
fn token(provider: &Provider, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Result<String, String> {
    let form = [&[("grant_type", "client_credentials")], form].concat();
    let (status, answer) = fetch::post(&format!("{}/token", provider.issuer()), headers, &form);
    let token = answer["access_token"].as_str().filter(|_| status == 200);
    token.map(str::to_owned).ok_or_else(|| format!("{status} {}", answer["error"]))
}

/// `client_secret_basic`: form-encoded, then base64.
fn basic(client: &Registered) -> String {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client.id), encoded(client.secret));
    format!("Basic {}", STANDARD.encode(pair))
}

fn introspect(provider: &Provider, token: &str) -> (u16, Value) {
    let url = format!("{}/token/introspection", provider.issuer());
    fetch::post(&url, &[("Authorization", &basic(&BASIC))], &[("token", token)])
}

/// The claims of a JWT, after the jsonwebtoken library has verified it with the provider's JWKS.
fn verified(jwks: &Value, token: &str, audience: &str) -> Result<Value, String> {
    let (header, _) = jwt::parts(token);
    let keys: JwkSet = serde_json::from_value(jwks.clone()).map_err(|error| error.to_string())?;
    let kid = header["kid"].as_str().ok_or("there is no kid")?;
    let key: &Jwk = keys.find(kid).ok_or_else(|| format!("no key is named {kid}"))?;
    let algorithm: Algorithm =
        serde_json::from_value(header["alg"].clone()).map_err(|error| error.to_string())?;
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
    decode::<Value>(token, &key, &validation).map(|data| data.claims).map_err(|error| error.to_string())
}

#[test]
fn the_provider_describes_itself_and_ends() {
    let mut provider = Provider::start();
    let (status, document) = fetch::get(&provider.configuration_uri());
    assert_eq!((status, document["issuer"].as_str()), (200, Some(provider.issuer().as_str())));
    assert_eq!(provider.hits("/.well-known/openid-configuration"), 1);
    let (_, before) = fetch::get(&format!("{}/jwks", provider.issuer()));
    provider.down();
    let address = provider.issuer().replace("http://", "");
    std::net::TcpStream::connect(&address).expect_err("it has ended");
    provider.up();
    let (_, after) = fetch::get(&format!("{}/jwks", provider.issuer()));
    assert_eq!(before, after, "its keys outlast a restart");
    provider.freeze();
    std::net::TcpStream::connect(&address).expect("frozen it still accepts");
    provider.thaw();
    assert_eq!(fetch::get(&provider.configuration_uri()).0, 200);
}

#[test]
fn the_provider_gives_tokens_to_clients_that_prove_themselves() {
    let provider = Provider::start();
    let good = basic(&BASIC);
    token(&provider, &[("Authorization", &good)], &[]).expect("client_secret_basic");
    // A secret that is not form-encoded is another secret.
    let bare = format!("Basic {}", STANDARD.encode(format!("{}:{}", BASIC.id, BASIC.secret)));
    let refused = token(&provider, &[("Authorization", &bare)], &[]);
    assert!(refused.is_err(), "a secret that is not encoded: {refused:?}");
    token(&provider, &[], &[("client_id", POST.id), ("client_secret", POST.secret)])
        .expect("client_secret_post");
    let refused = token(&provider, &[], &[("client_id", POST.id), ("client_secret", "wrong")]);
    assert_eq!(refused, Err("401 \"invalid_client\"".to_owned()));
    let refused = token(&provider, &[], &[("client_id", MAIL_PROGRAM)]);
    assert_eq!(refused, Err("400 \"invalid_request\"".to_owned()), "without an assertion there is no token");
}

/// Sends an assertion for [`ASSERTION`], good except for `change`.
fn assertion(provider: &Provider, key: &Key, change: impl FnOnce(&mut Value)) -> Result<String, String> {
    let mut claims = json!({"iss": ASSERTION, "sub": ASSERTION, "aud": provider.issuer(),
        "jti": format!("{}-{}", key.kid(), now()), "iat": now(), "exp": now() + 60});
    change(&mut claims);
    let form = [
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &key.token(&claims)),
    ];
    token(provider, &[], &form)
}

#[test]
fn the_provider_takes_assertions_by_every_key() {
    let provider = Provider::start();
    for kind in KeyKind::ALL {
        let pem = std::fs::read_to_string(provider.key_file(kind)).expect("the client's key");
        let key = Key::read(kind, &pem);
        assertion(&provider, &key, |_| {}).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let again = assertion(&provider, &key, |claims| claims["exp"] = json!(now() - 100));
        assert!(again.is_err(), "{kind:?}, expired: {again:?}");
        let foreign = assertion(&provider, &Key::new(kind, key.kid()), |_| {});
        assert!(foreign.is_err(), "{kind:?}, signed by another key: {foreign:?}");
    }
}

#[test]
fn the_provider_introspects_what_it_issued() {
    let provider = Provider::start();
    let minted = provider
        .mint(&json!({"sub": "u1", "audience": "https://mail.test.example", "scope": "mail",
        "claims": {"email": "u@example.com"}}));
    let (status, answer) = introspect(&provider, &minted);
    assert_eq!((status, &answer["active"]), (200, &json!(true)), "{answer}");
    let facts = ["sub", "email", "aud", "client_id", "iss"].map(|claim| answer[claim].as_str());
    let issuer = provider.issuer();
    let due = ["u1", "u@example.com", "https://mail.test.example", MAIL_PROGRAM, &issuer].map(Some);
    assert_eq!(facts, due, "{answer}");
    assert_eq!(introspect(&provider, "no-such-token"), (200, json!({"active": false})));
    let brief = provider.mint(&json!({"sub": "u1", "ttl": 1}));
    let gone =
        wait_until(Duration::from_secs(5), || introspect(&provider, &brief).1["active"] == json!(false));
    assert!(gone, "a token lasts as long as was asked for");
    // The provider does not introspect JWTs.
    let jwt = provider.mint(&json!({"sub": "u1", "audience": "a", "format": "jwt"}));
    let (status, answer) = introspect(&provider, &jwt);
    assert_eq!((status, answer["error"].as_str()), (400, Some("unsupported_token_type")), "{answer}");
}

#[test]
fn the_provider_signs_jwts_and_rotates_its_keys() {
    let provider = Provider::start();
    let jwks = || fetch::get(&format!("{}/jwks", provider.issuer())).1;
    let mint = |alg: &str| {
        provider.mint(&json!({"sub": "u1", "audience": "mail", "format": "jwt", "alg": alg,
            "claims": {"email": "u@example.com"}}))
    };
    // jsonwebtoken has no ES512.
    for alg in ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
        let claims = verified(&jwks(), &mint(alg), "mail").unwrap_or_else(|error| panic!("{alg}: {error}"));
        assert_eq!((&claims["sub"], &claims["email"]), (&json!("u1"), &json!("u@example.com")), "{alg}");
    }
    let es512 = jwt::parts(&mint("ES512")).0;
    assert_eq!(es512["alg"], "ES512");
    let old = mint("RS256");
    let fresh = provider.rotate(true);
    assert!(verified(&jwks(), &old, "mail").is_ok(), "the old key is still there");
    assert!(fresh.contains(&jwt::parts(&mint("RS256")).0["kid"].as_str().expect("a kid").to_owned()));
    provider.rotate(false);
    let refused = verified(&jwks(), &old, "mail");
    assert!(refused.as_ref().is_err_and(|error| error.starts_with("no key")), "{refused:?}");
    verified(&jwks(), &mint("ES256"), "mail").expect("the new keys sign");
}

#[test]
fn the_provider_can_issue_short_lived_tokens() {
    let provider = Provider::start();
    provider.set_ttl(1);
    let token = token(&provider, &[("Authorization", &basic(&BASIC))], &[]).expect("a token");
    let gone =
        wait_until(Duration::from_secs(5), || introspect(&provider, &token).1["active"] == json!(false));
    assert!(gone, "it ends within a second");
}

#[test]
fn the_provider_shows_a_certificate() {
    let directory = open_directory();
    let authority = Authority::new("providers");
    let provider = Provider::start_tls(&authority.server(Flaw::None));
    let roots = authority.write(directory.path(), "roots.crt");
    let strangers = Authority::new("others").write(directory.path(), "others.crt");
    let issuer = |roots: &Path| {
        let mut curl = Command::new("/usr/bin/curl");
        curl.args(["--silent", "--noproxy", "*", "--cacert"]).arg(roots).arg(provider.configuration_uri());
        let output = curl.output().expect("curl can be started: apt-get install curl");
        let document: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        document.and_then(|document| document["issuer"].as_str().map(str::to_owned))
    };
    assert_eq!(issuer(&roots), Some(provider.issuer()));
    assert!(provider.issuer().starts_with("https://127.0.0.1:"), "{}", provider.issuer());
    assert_eq!(issuer(&strangers), None, "no other authority signed it");
}

#[test]
fn the_fake_provider_does_as_it_is_told() {
    let provider = FakeProvider::start();
    let (_, document) = fetch::get(&provider.configuration_uri());
    let at = |member: &str| document[member].as_str().expect("a URL").to_owned();
    let keys: Vec<Key> = KeyKind::ALL.into_iter().map(|kind| Key::new(kind, kind.algorithm())).collect();
    provider.publish(&keys.iter().collect::<Vec<_>>());
    let (_, jwks) = fetch::get(&at("jwks_uri"));
    for key in keys.iter().filter(|key| key.kind() != KeyKind::P521) {
        let token = key.token(&provider.claims("u1", "mail"));
        verified(&jwks, &token, "mail").unwrap_or_else(|error| panic!("{}: {error}", key.kid()));
        let (unsigned, _) = token.rsplit_once('.').expect("three parts");
        let forged = format!("{unsigned}.{}", jwt::base64url(&[1; 64]));
        verified(&jwks, &forged, "mail").expect_err("a signature of nobody");
    }
    let form = [("grant_type", "client_credentials"), ("scope", "a b")];
    let (_, first) = fetch::post(&at("token_endpoint"), &[], &form);
    assert_eq!((&first["access_token"], &first["expires_in"]), (&json!("canary-token-1"), &json!(600)));
    provider.expire_in(None);
    let (_, second) = fetch::post(&at("token_endpoint"), &[], &form);
    assert_eq!((&second["access_token"], &second["expires_in"]), (&json!("canary-token-2"), &json!(null)));
    assert_eq!(
        (provider.count(Endpoint::Token), provider.forms(Endpoint::Token)[0]["scope"].as_str()),
        (2, "a b")
    );
    provider.introspect_with(|form| Reply::json(&json!({"active": form["token"] == "x"}).to_string()));
    let introspect = |token| fetch::post(&at("introspection_endpoint"), &[], &[("token", token)]).1;
    assert_eq!((introspect("x"), introspect("y")), (json!({"active": true}), json!({"active": false})));
    provider.break_with(Endpoint::Token, Reply::status(503));
    assert_eq!(fetch::post(&at("token_endpoint"), &[], &form).0, 503);
    provider.mend(Endpoint::Token);
    assert_eq!(fetch::post(&at("token_endpoint"), &[], &form).0, 200);
    provider.describe("introspection_endpoint", Value::Null);
    assert!(fetch::get(&provider.configuration_uri()).1.get("introspection_endpoint").is_none());
}

/// Each of these tokens has the fault that its name says.
#[test]
fn forged_tokens_have_the_intended_fault() {
    let key = Key::unnamed(KeyKind::P256);
    let jwks = json!({"keys": [key.jwk()]});
    let claims = json!({"aud": "mail", "exp": now() + 60});
    verified(&jwks, &key.token(&claims), "mail").expect("a good one");
    let (header, read) = jwt::parts(&key.token(&claims));
    assert_eq!((&header["alg"], &header["kid"], &read), (&json!("ES256"), &json!(key.kid()), &claims));
    let input = jwt::signing_input(&key.header().to_string(), &claims.to_string());
    let der = key.der_signature(input.as_bytes());
    assert_eq!(der[0], 0x30, "DER begins with a sequence: {der:?}");
    verified(&jwks, &format!("{input}.{}", jwt::base64url(&der)), "mail")
        .expect_err("DER is none of a JWT's");
    // HMAC with the public key as secret, which is no secret.
    let confused = jwt::hs256(&json!({"alg": "HS256", "kid": key.kid()}), &claims, key.public());
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["mail"]);
    let secret = DecodingKey::from_secret(key.public());
    decode::<Value>(&confused, &secret, &validation).expect("a verifier that is confused takes it");
    verified(&jwks, &confused, "mail").expect_err("one that is not does not");
}
