//! Rows 25 to 31: identity providers, the broker's own tokens and those of users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::driver::{Lane, Talk, Token};
use crate::ledger::Rules;
use crate::rig::{CLIENT_SECRET, Rig, entries};
use crate::rows::row;
use crate::support::backend::Reply;
use crate::support::config::{backend_oidc, sasl_oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider, now};
use crate::support::jwt::{Key, KeyKind, base64url, hs256, signing_input};
use crate::support::site::{Way, open_directory};
use crate::support::{PATIENCE, pause, wait_until};

/// The line of an entry that asks with tokens of this provider.
fn bearer(provider: &FakeProvider) -> String {
    backend_oidc(&provider.configuration_uri(), &format!("client_id: pfx, client_secret: {CLIENT_SECRET}"))
}

/// A broker whose logins take tokens of this provider, by signature.
fn token_rig(provider: &FakeProvider) -> Rig {
    let line = sasl_oidc(
        &provider.configuration_uri(),
        &format!("client_id: pfx, client_secret: {CLIENT_SECRET}, validation: jwks"),
    );
    Rig::start_with(|config, _| config.login("users", "http://127.0.0.1:1/", &[&line, "timeout: 2s"]))
}

/// A lane of logins with these tokens.
fn token_lane(rig: &Rig, name: &'static str, token: Token) -> Lane {
    Lane { name, talk: Talk::Token(token), ..rig.login(Way::Unix) }
}

/// Tokens that are right, of this key.
fn good(provider: &Arc<FakeProvider>, key: &Arc<Key>) -> Token {
    let (provider, key) = (Arc::clone(provider), Arc::clone(key));
    Arc::new(move |id| {
        let user = format!("k{id}");
        let token = key.token(&provider.claims(&user, "pfx"));
        (user.clone(), token, format!("OK {user}"))
    })
}

/// Tokens that have to be denied: the function changes the claims of a right one, and signs them.
fn denied(
    provider: &Arc<FakeProvider>,
    forge: impl Fn(u64, Value) -> (String, String) + Send + Sync + 'static,
) -> Token {
    let provider = Arc::clone(provider);
    Arc::new(move |id| {
        let (user, token) = forge(id, provider.claims(&format!("k{id}"), "pfx"));
        (user, token, "FAIL".to_owned())
    })
}

#[test]
fn row_25_the_provider_is_down() {
    let row = row("25");
    let mut provider = FakeProvider::start();
    let rig = Rig::start(&[&bearer(&provider)]);
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(20);
    provider.backend.down();
    traffic.more(100);
    row.counted(traffic.end(Rules::default()));
    assert_eq!(provider.count(Endpoint::Token), 1, "one token for all");
}

#[test]
fn row_26_the_provider_hangs() {
    let row = row("26");
    let (hanging, other) = (FakeProvider::start(), FakeProvider::start());
    hanging.break_with(Endpoint::Discovery, Reply::stall());
    let rig = Rig::start_with(|config, api| {
        let config = entries(config, api, &[&bearer(&other)]);
        config.map("hangs", &api.url("/hangs"), &[&bearer(&hanging), "timeout: 1s"])
    });
    let mut lanes = rig.lanes(Way::Unix);
    lanes.push(Lane { threads: 20, ..rig.map(Way::Unix, "hangs") });
    let mut traffic = rig.traffic(&lanes);
    traffic.fault(&["hangs"]);
    traffic.more_of(40, &["hangs"]);
    traffic.more(20);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary_of("hangs") >= 40);
    for lane in ["m", "p", "users"] {
        let p99 = outcome.p99_of(lane);
        assert!(p99 < Duration::from_millis(400), "p99 of {lane}: {p99:?}");
    }
}

#[test]
fn row_27_a_token_is_revoked() {
    let row = row("27");
    let provider = FakeProvider::start();
    let rig = Rig::start(&[&bearer(&provider)]);
    let least = Arc::new(AtomicU64::new(1));
    let accepted = Arc::clone(&least);
    rig.api.fault(move |request| {
        let given = request.header("authorization").and_then(|value| value.rsplit('-').next()?.parse().ok());
        let is_good = given.is_some_and(|given: u64| given >= accepted.load(Ordering::SeqCst));
        (!is_good).then(|| Reply::status(401))
    });
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(20);
    least.store(2, Ordering::SeqCst);
    traffic.more(60);
    // The API has refused the broker, not the user: the password goes to it again, with the new token.
    row.counted(traffic.end(Rules { passwords: 2, ..Rules::default() }));
    assert_eq!(provider.count(Endpoint::Token), 2, "one new token");
}

#[test]
fn row_28_an_unknown_key() {
    let row = row("28");
    let provider = Arc::new(FakeProvider::start());
    let [old, new] = ["old", "new"].map(|kid| Arc::new(Key::new(KeyKind::P256, kid)));
    provider.publish(&[&old]);
    let rig = token_rig(&provider);
    let lanes =
        [token_lane(&rig, "users", good(&provider, &old)), token_lane(&rig, "fresh", good(&provider, &new))];
    let traffic = rig.traffic(&lanes[..1]);
    traffic.more(10);
    let mut both = rig.traffic(&lanes[1..]);
    both.fault(&["fresh"]);
    provider.break_with(Endpoint::Keys, Reply::status(500));
    both.more(40);
    // Longer than a failed fetch is not repeated.
    pause(Duration::from_secs(4));
    traffic.more(20);
    let fetches = provider.count(Endpoint::Keys);
    assert!(fetches <= 3, "{fetches} fetches of the keys");
    provider.publish(&[&old, &new]);
    provider.mend(Endpoint::Keys);
    // The keys are fetched each 10 s as long as there are tokens with an unknown one.
    let is_fetched = wait_until(Duration::from_secs(11), || provider.count(Endpoint::Keys) > fetches);
    assert!(is_fetched, "the keys are not fetched again");
    both.mended();
    both.more(40);
    drop(traffic);
    let outcome = row.counted(both.end(Rules::default()));
    assert!(outcome.temporary_of("fresh") > 0);
    let accepted = outcome.definitive_of("fresh");
    assert!(accepted >= 30, "{accepted} logins with the new key");
}

/// Forged tokens, one kind for each remainder of the number.
fn forged(id: u64, mut claims: Value, key: &Key, other: &Key) -> (String, String) {
    let user = format!("k{id}");
    let header = key.header();
    let token = match id % 10 {
        0 => {
            let none = json!({"alg": "none", "typ": "JWT"}).to_string();
            format!("{}.", signing_input(&none, &claims.to_string()))
        }
        1 => hs256(&json!({"alg": "HS256", "kid": key.kid()}), &claims, key.public()),
        2 => hs256(&json!({"alg": "HS256"}), &claims, key.pem().as_bytes()),
        3 => {
            claims["aud"] = json!("another");
            key.token(&claims)
        }
        4 => {
            claims["iss"] = json!("https://evil.example");
            key.token(&claims)
        }
        5 => {
            claims.as_object_mut().expect("an object").remove("exp");
            key.token(&claims)
        }
        6 => {
            claims["exp"] = json!(now() - 3600);
            key.token(&claims)
        }
        7 => other.sign(&header, &claims),
        8 => {
            let mut embedded = header.clone();
            embedded["jwk"] = other.jwk();
            other.sign(&embedded, &claims)
        }
        _ => {
            let token = key.token(&claims);
            let (head, _) = token.rsplit_once('.').expect("three parts");
            format!("{head}.{}", base64url(&[0; 64]))
        }
    };
    (user, token)
}

#[test]
fn row_29_forged_tokens() {
    let row = row("29");
    let provider = Arc::new(FakeProvider::start());
    let [key, other] = [(); 2].map(|()| Arc::new(Key::new(KeyKind::P256, "k")));
    provider.publish(&[&key]);
    let rig = token_rig(&provider);
    let right = token_lane(&rig, "users", good(&provider, &key));
    let forge = move |id, claims| forged(id, claims, &key, &other);
    let lanes = [right, token_lane(&rig, "forged", denied(&provider, forge))];
    let traffic = rig.traffic(&lanes);
    traffic.more(200);
    row.counted(traffic.end(Rules::default()));
}

#[test]
fn row_30_no_name_and_another_user() {
    let row = row("30");
    let provider = Arc::new(FakeProvider::start());
    let key = Arc::new(Key::new(KeyKind::P256, "k"));
    provider.publish(&[&key]);
    let rig = token_rig(&provider);
    let right = token_lane(&rig, "users", good(&provider, &key));
    let forge = move |id: u64, mut claims: Value| match id % 2 {
        0 => {
            claims.as_object_mut().expect("an object").remove("sub");
            (format!("k{id}"), key.token(&claims))
        }
        _ => ("boss".to_owned(), key.token(&claims)),
    };
    let traffic = rig.traffic(&[right, token_lane(&rig, "forged", denied(&provider, forge))]);
    traffic.more(150);
    row.counted(traffic.end(Rules::default()));
}

#[test]
fn row_31_a_broken_key_file() {
    let row = row("31");
    let (provider, directory) = (FakeProvider::start(), open_directory());
    provider.expire_in(Some(2));
    let file = directory.path().join("client.key");
    fs::write(&file, Key::new(KeyKind::P256, "k").pem()).expect("a file");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its owner may");
    let client = format!("client_id: pfx, private_key_file: \"{}\"", file.display());
    let rig = Rig::start(&[&backend_oidc(&provider.configuration_uri(), &client)]);
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(20);
    fs::write(&file, "-----BEGIN PRIVATE KEY-----\nnone\n").expect("a file");
    assert!(!rig.setup.broker.reload(), "a reload with a broken key is refused");
    let before = provider.count(Endpoint::Token);
    assert!(wait_until(PATIENCE, || provider.count(Endpoint::Token) >= before + 2), "new tokens");
    traffic.more(20);
    row.counted(traffic.end(Rules::default()));
}
