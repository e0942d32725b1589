//! Tokens that must not log anybody in: forged, malformed, or made for something else.

use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Validation;
use super::provider::{Provider, Says};
use super::signing::{Key, base64url, claims, now, pem};
use super::{account, oidc, settings, verify};

type Corpus = Vec<(String, String)>;

/// `token` with its signature as `change` makes it.
fn resigned(token: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    use base64::Engine;
    let (message, signature) = token.rsplit_once('.').expect("a signature");
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature);
    let mut signature = decoded.expect("base64url");
    change(&mut signature);
    format!("{message}.{}", base64url(signature))
}

/// Signatures that are none.
fn signatures(key: &Key, other: &Key, honest: &Value, corpus: &mut Corpus) {
    let token = key.token(honest);
    let mut add = |name: &str, token: String| corpus.push((name.to_owned(), token));
    add("another key", other.token(honest));
    add("no signature", resigned(&token, Vec::clear));
    add("zeros", resigned(&token, |signature| signature.fill(0)));
    add("ones", resigned(&token, |signature| signature.fill(0xff)));
    add("cut", resigned(&token, |signature| signature.truncate(signature.len() - 1)));
    add("half", resigned(&token, |signature| signature.truncate(signature.len() / 2)));
    add("longer", resigned(&token, |signature| signature.push(0)));
    add("zero in front", resigned(&token, |signature| signature.insert(0, 0)));
    add(
        "swapped halves",
        resigned(&token, |signature| {
            let half = signature.len() / 2;
            signature.rotate_left(half);
        }),
    );
    add("as DER", resigned(&token, |signature| *signature = der(signature)));
    for at in (0..64).step_by(3) {
        add("a bit", resigned(&token, |signature| signature[at] ^= 1 << (at % 8)));
    }
    let mut claims = honest.clone();
    claims["username"] = json!("ceo@example.com");
    let signature = token.rsplit_once('.').expect("a signature").1;
    let header = base64url(key.header().to_string());
    add("other claims", format!("{header}.{}.{signature}", base64url(claims.to_string())));
}

/// r and s as ECDSA writes them elsewhere.
fn der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let integer = |number: &[u8]| [&[2, number.len() as u8 + 1, 0], number].concat();
    let both = [integer(r), integer(s)].concat();
    [&[0x30, 0x81, both.len() as u8], both.as_slice()].concat()
}

/// Headers that must not be followed, rightly signed or not.
fn headers(key: &Key, honest: &Value, corpus: &mut Corpus) {
    let claims = honest.to_string();
    for name in
        ["none", "None", "NONE", "nOnE", "", "none ", "RS1", "ES256K", "HS256", "HS384", "HS512", "rs256"]
    {
        let mut header = key.header();
        header["alg"] = json!(name);
        let signed = key.sign(&header.to_string(), &claims);
        let message = signed.rsplit_once('.').expect("a signature").0;
        corpus.push((format!("alg {name}"), format!("{message}.")));
        corpus.push((format!("alg {name}, signed"), signed));
    }
    for algorithm in ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"] {
        if algorithm != key.algorithm.name() {
            let mut header = key.header();
            header["alg"] = json!(algorithm);
            corpus.push((format!("swapped for {algorithm}"), key.sign(&header.to_string(), &claims)));
        }
    }
    for (name, value) in [
        ("crit", json!(["x"])),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", Value::Null),
        ("kid", json!("another")),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("kid", json!(["k"])),
        ("kid", json!("K")),
        ("typ", json!("logout+jwt")),
        ("typ", json!("application/secevent+jwt")),
        ("typ", json!("")),
        ("typ", json!(1)),
        ("alg", json!(["RS256"])),
        ("alg", Value::Null),
    ] {
        let mut header = key.header();
        header[name] = value.clone();
        corpus.push((format!("{name}: {value}"), key.sign(&header.to_string(), &claims)));
    }
    let twice = format!("{{\"alg\": \"none\", {}", &key.header().to_string()[1..]);
    corpus.push(("alg twice".to_owned(), key.sign(&twice, &claims)));
    for header in ["", "{", "[]", "null", "\"RS256\"", "{}", "\u{feff}{}"] {
        corpus.push((format!("header {header}"), key.sign(header, &claims)));
    }
}

/// Keys that are none of the provider's secrets, or none of its keys.
fn confusions(key: &Key, other: &Key, honest: &Value, corpus: &mut Corpus) {
    let claims = honest.to_string();
    let public = key.jwk.to_string();
    let secrets = [
        public.clone().into_bytes(),
        pem("PUBLIC KEY", &key.public).into_bytes(),
        pem("PUBLIC KEY", &key.public).trim_end().as_bytes().to_vec(),
        key.public.clone(),
        key.jwk["n"].as_str().or(key.jwk["x"].as_str()).expect("a number").as_bytes().to_vec(),
        Vec::new(),
    ];
    for secret in &secrets {
        for algorithm in ["HS256", "RS256"] {
            let header = json!({"alg": algorithm, "typ": "JWT"});
            let message = format!("{}.{}", base64url(header.to_string()), base64url(&claims));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
            corpus.push((
                format!("a public key as secret, {algorithm}"),
                format!("{message}.{}", base64url(tag)),
            ));
        }
    }
    // The attacker's own key, signed with it.
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let mut header = other.header();
        header[name] = if name == "jwk" { other.jwk.clone() } else { json!("https://evil.test/") };
        corpus.push((format!("{name} of its own"), other.sign(&header.to_string(), &claims)));
        header.as_object_mut().expect("an object").remove("kid");
        corpus.push((format!("{name}, no kid"), other.sign(&header.to_string(), &claims)));
    }
}

/// Claims that do not hold, rightly signed.
fn wrong_claims(key: &Key, honest: &Value, corpus: &mut Corpus) {
    let time = now();
    let changes = [
        ("iss", json!("https://evil.test")),
        ("iss", json!(format!("{}/", honest["iss"].as_str().expect("a text")))),
        ("iss", json!(honest["iss"].as_str().expect("a text").to_uppercase())),
        ("iss", json!([honest["iss"]])),
        ("iss", json!("")),
        ("exp", json!(time - 120)),
        ("exp", json!(time - 31)),
        ("exp", json!((time + 600).to_string())),
        ("exp", json!([time + 600])),
        ("exp", json!(true)),
        ("exp", json!(0)),
        ("exp", json!(-1e300)),
        ("exp", json!(i64::MIN)),
        ("nbf", json!(time + 120)),
        ("nbf", json!(1e300)),
        ("nbf", json!(u64::MAX)),
        ("nbf", json!("0")),
        ("iat", json!(time + 120)),
        ("iat", json!({})),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", json!([["us:1"]])),
        ("aud", json!({"us:1": "us:1"})),
        ("aud", json!("us:1 ")),
        ("aud", json!("us")),
        ("aud", json!([])),
        ("aud", json!(["us:1", 1])),
        ("azp", json!(["us:1"])),
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("s_hash", json!("h")),
        ("username", json!("")),
        ("username", json!(["bob"])),
        ("username", json!("a\nb")),
        ("username", json!("a\u{0}")),
        ("username", json!("ü".repeat(128))),
    ];
    for (name, value) in changes {
        let mut claims = honest.clone();
        claims[name] = value.clone();
        corpus.push((format!("{name}: {value}"), key.token(&claims)));
    }
    for gone in ["iss", "exp", "aud"] {
        let mut claims = honest.clone();
        claims.as_object_mut().expect("an object").remove(gone);
        corpus.push((format!("no {gone}"), key.token(&claims)));
        claims[gone] = Value::Null;
        corpus.push((format!("{gone}: null"), key.token(&claims)));
    }
    let (header, text) = (key.header().to_string(), honest.to_string());
    let open = &text[..text.len() - 1];
    for (name, claims) in [
        ("a name twice", format!("{open}, \"username\": \"ceo\"}}")),
        ("a name twice, escaped", format!("{open}, \"\\u0073ub\": \"ceo\"}}")),
        ("NaN", text.replace(&honest["exp"].to_string(), "NaN")),
        ("1e999", text.replace(&honest["exp"].to_string(), "1e999")),
        ("a list", format!("[{text}]")),
        ("a text", json!(text).to_string()),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
        ("deep", format!("{open}, \"x\": {}", "[".repeat(5000))),
        ("two", format!("{text}{text}")),
        ("behind it", format!("{text}x")),
        ("cut", open.to_owned()),
    ] {
        corpus.push((format!("claims: {name}"), key.sign(&header, &claims)));
    }
}

/// Honest tokens, spelled in another way.
fn spellings(key: &Key, honest: &Value, corpus: &mut Corpus) {
    let token = key.token(honest);
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let mut add = |name: &str, token: String| corpus.push((name.to_owned(), token));
    for (name, text) in
        [("space", " "), ("line", "\n"), ("tab", "\t"), ("NUL", "\0"), ("padding", "="), ("dot", ".")]
    {
        add(&format!("{name} behind"), format!("{token}{text}"));
        add(&format!("{name} in front"), format!("{text}{token}"));
        add(&format!("{name} behind the header"), format!("{header}{text}.{claims}.{signature}"));
        add(&format!("{name} behind the claims"), format!("{header}.{claims}{text}.{signature}"));
        let spelled = key.sign_parts(&format!("{header}{text}"), claims);
        add(&format!("{name}, signed"), spelled);
        add(&format!("{name}, signed claims"), key.sign_parts(header, &format!("{claims}{text}")));
    }
    add("a JWE", format!("{header}.{claims}.{signature}.{claims}.{signature}"));
    add("two parts", format!("{header}.{claims}"));
    add("Bearer", format!("Bearer {token}"));
    add("twice", format!("{token}{token}"));
    add("no claims", key.sign_parts(header, ""));
    add("no header", key.sign_parts("", claims));
    add("one letter", key.sign_parts(header, "e"));
    add(
        "JSON serialization",
        json!({"payload": claims, "protected": header, "signature": signature}).to_string(),
    );
    // The last letter holds bits that stand for nothing.
    let (start, last) = signature.split_at(signature.len() - 1);
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = LETTERS.find(last).expect("a letter");
    if signature.len() % 4 != 0 {
        let next = &LETTERS[at + 1..at + 2];
        add("another last letter", format!("{header}.{claims}.{start}{next}"));
    }
    if token.contains(['-', '_']) {
        add("the other alphabet", token.replace('-', "+").replace('_', "/"));
    }
    let long = json!({"pad": "x".repeat(16 * 1024)});
    add("too long", key.sign(&key.header().to_string(), &long.to_string()));
}

#[tokio::test]
async fn no_forged_token_logs_in() {
    let others = Key::all();
    for (key, other) in Key::all().into_iter().zip(others) {
        let (provider, oidc) = (Provider::start().await, oidc());
        // Also what a lenient provider would say must not help.
        provider.say("/introspect", Says::Json(200, json!({"active": true, "sub": "ceo"})));
        provider.say("/keys", Says::Json(200, json!({"keys": [key.jwk]})));
        let verifier = oidc.verifier(&settings(&provider, Validation::Jwks));
        let honest = claims(&provider.url(""));
        let name = key.algorithm.name();
        let mut corpus = Corpus::new();
        signatures(&key, &other, &honest, &mut corpus);
        headers(&key, &honest, &mut corpus);
        confusions(&key, &other, &honest, &mut corpus);
        wrong_claims(&key, &honest, &mut corpus);
        spellings(&key, &honest, &mut corpus);
        assert!(corpus.len() >= 200, "{name}: {}", corpus.len());
        let good = account("bob@example.com");
        assert_eq!(verify(&verifier, &key.token(&honest)).await, good, "{name}");
        for (what, token) in &corpus {
            let verdict = verify(&verifier, token).await;
            assert!(!matches!(verdict, Ok(super::TokenVerdict::Account(_))), "{name}, {what}: {verdict:?}");
            if let Ok(super::TokenVerdict::Refused(refusal)) = verdict {
                assert_eq!(refusal.reason, "invalid token");
                assert!(refusal.detail.len() < 500 && !refusal.detail.contains(char::is_control), "{what}");
            }
        }
        assert_eq!(verify(&verifier, &key.token(&honest)).await, good, "{name}");
        assert_eq!(provider.count("/introspect"), 0);
    }
}

/// OpenID Connect Core 1.0 2: an ID token tells when its user has logged in, and an access token that
/// tells that names its client or what it is good for, too (RFC 9068 2.2).
#[tokio::test]
async fn an_id_token_is_told_by_what_it_lacks() {
    let (provider, oidc, key) = (Provider::start().await, oidc(), Key::p256());
    provider.say("/keys", Says::Json(200, json!({"keys": [key.jwk]})));
    let verifier = oidc.verifier(&settings(&provider, Validation::Jwks));
    let mut header = key.header();
    let mut judge = async |typ: &str, changes: &[(&str, Value)]| {
        header["typ"] = json!(typ);
        let mut claims = claims(&provider.url(""));
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        verify(&verifier, &key.sign(&header.to_string(), &claims.to_string())).await
    };
    let login = ("auth_time", json!(now()));
    for id in [&[][..], &[("amr", json!(["pwd"]))], &[("acr", json!("1")), ("email", json!("b@x"))]] {
        let verdict = judge("JWT", &[std::slice::from_ref(&login), id].concat()).await;
        let Ok(super::TokenVerdict::Refused(refusal)) = verdict else { panic!("{id:?}: {verdict:?}") };
        assert!(refusal.detail.contains("no access token"), "{}", refusal.detail);
    }
    for sign in ["scope", "scp", "client_id", "azp", "cid", "appid", "jti", "roles"] {
        let verdict = judge("JWT", &[login.clone(), (sign, json!("us:1"))]).await;
        assert_eq!(verdict, account("bob@example.com"), "{sign}");
    }
    for (name, value) in [("token_use", "access"), ("typ", "Bearer")] {
        let verdict = judge("JWT", &[login.clone(), (name, json!(value))]).await;
        assert_eq!(verdict, account("bob@example.com"), "{name}");
    }
    assert_eq!(judge("at+jwt", std::slice::from_ref(&login)).await, account("bob@example.com"));
    assert_eq!(judge("JWT", &[("auth_time", Value::Null)]).await, account("bob@example.com"));
}

#[tokio::test]
async fn what_is_merely_unusual_logs_in() {
    let (provider, oidc, key) = (Provider::start().await, oidc(), Key::p256());
    provider.say("/keys", Says::Json(200, json!({"keys": [key.jwk]})));
    let verifier = oidc.verifier(&settings(&provider, Validation::Jwks));
    let time = now();
    for (name, value) in [
        ("exp", json!(time - 20)),
        ("exp", json!(time as f64 + 0.5)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("nbf", json!(time + 30)),
        ("aud", json!("us:1")),
        ("aud", json!(["us2"])),
        ("client_id", json!("x")),
    ] {
        let mut claims = claims(&provider.url(""));
        claims[name] = value.clone();
        assert_eq!(
            verify(&verifier, &key.token(&claims)).await,
            account("bob@example.com"),
            "{name}: {value}"
        );
    }
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("application/AT+jwt")),
        ("jwk", json!({"kty": "oct", "k": "AA"})),
        ("jku", json!("https://evil.test")),
    ] {
        let mut header = key.header();
        header[name] = value.clone();
        let token = key.sign(&header.to_string(), &claims(&provider.url("")).to_string());
        assert_eq!(verify(&verifier, &token).await, account("bob@example.com"), "{name}: {value}");
    }
}

#[test]
fn no_text_is_too_strange() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (verifier, key, issuer) = runtime.block_on(async {
        let (provider, oidc, key) = (Provider::start().await, oidc(), Key::p256());
        provider.say("/keys", Says::Json(200, json!({"keys": [key.jwk]})));
        (oidc.verifier(&settings(&provider, Validation::Jwks)), key, provider.url(""))
    });
    let json_text = || {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<f64>().prop_map(|number| json!(number)),
            any::<i64>().prop_map(|n| json!(n)),
            ".{0,12}".prop_map(Value::String),
            Just(json!(issuer.clone())),
            Just(json!("us:1")),
        ];
        let name =
            prop::sample::select(vec!["alg", "kid", "typ", "iss", "aud", "nbf", "username", "sub", "x"]);
        let members = prop::collection::vec(
            (name, prop_oneof![leaf.clone(), prop::collection::vec(leaf, 0..3).prop_map(Value::Array)]),
            0..8,
        );
        members.prop_map(|members| {
            Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                .to_string()
        })
    };
    let strategy = prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,5}",
        (json_text(), json_text()).prop_map(|(header, claims)| key.sign(&header, &claims)),
        json_text().prop_map(|claims| key.sign(&key.header().to_string(), &claims)),
    ];
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&strategy, |token| {
        let verdict = runtime.block_on(verify(&verifier, &token));
        prop_assert!(
            !matches!(verdict, Ok(super::TokenVerdict::Account(_))),
            "there is no exp among the names"
        );
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
