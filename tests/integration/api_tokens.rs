//! The broker's own tokens for APIs: fetched once, renewed before they end. A provider in trouble
//! affects only the entries that use it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::backend_oidc;
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::jwt::KeyKind;
use crate::support::oidc::{ASSERTION, BASIC, POST, Provider};
use crate::support::peer::netstring;
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, alone, wait_until};

const DEFER: &str = "action=DEFER Temporary server problem\n\n";
const TEMP: &str = "TEMP Temporary server problem";

/// The configuration of an OAuth client of this provider.
fn bearer(provider: &FakeProvider, more: &str) -> String {
    backend_oidc(&provider.configuration_uri(), &format!("client_id: pfx, {more}"))
}

#[test]
fn every_method_of_a_real_provider() {
    let provider = Provider::start();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let basic = format!(r#"client_id: "{}", client_secret: "{}""#, BASIC.id, BASIC.secret);
    let post = format!(
        r#"client_id: "{}", client_secret: "{}", auth_method: client_secret_post"#,
        POST.id, POST.secret
    );
    let keys = KeyKind::ALL.map(|kind| {
        format!(r#"client_id: {ASSERTION}, private_key_file: "{}""#, provider.key_file(kind).display())
    });
    let clients = [&[basic, post], &keys[..]].concat();
    let setup = Setup::start(|mut config| {
        for (number, client) in clients.iter().enumerate() {
            let line = backend_oidc(&provider.configuration_uri(), client);
            config = config.map(&format!("m{number}"), &api.url("/"), &[&line]);
        }
        config
    });
    for (number, client) in clients.iter().enumerate() {
        let reply = setup.map().look_up(&format!("m{number}"), "k");
        assert_eq!(reply, "OK v", "{client}\n{}", setup.broker.log());
        let header = api.last().header("authorization").map(str::to_owned).unwrap_or_default();
        assert!(header.starts_with("Bearer ") && header.len() > 20, "{client}: {header}");
    }
    assert_eq!(provider.hits("/token"), clients.len() as u64);
}

#[test]
fn a_thousand_lookups_fetch_one_token() {
    let _alone = alone();
    let provider = FakeProvider::start();
    provider.expire_in(Some(600));
    let api = Backend::start(takes("canary-token-1"));
    let line = bearer(&provider, "client_secret: s, scopes: [a, b]");
    let setup = Setup::start(|config| {
        config.map("one", &api.url("/1"), &[&line]).map("two", &api.url("/2"), &[&line])
    });
    let mut peers: Vec<_> = (0..100).map(|_| setup.map()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        let requests: Vec<u8> = (0..10)
            .flat_map(|nth| netstring(format!("{} {number}-{nth}", ["one", "two"][number % 2])))
            .collect();
        peer.send(requests);
    }
    for peer in &mut peers {
        for _ in 0..10 {
            assert_eq!(peer.reply(), "OK v");
        }
    }
    assert_eq!((api.count(), provider.count(Endpoint::Token)), (1000, 1));
    assert_eq!(provider.count(Endpoint::Discovery), 1);
    let form = &provider.forms(Endpoint::Token)[0];
    assert_eq!((form["grant_type"].as_str(), form["scope"].as_str()), ("client_credentials", "a b"));
    let request = &provider.requests(Endpoint::Token)[0];
    assert_eq!(request.header("authorization"), Some("Basic cGZ4OnM="));
    assert_eq!(request.header("accept"), Some("application/json"));
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let _alone = alone();
    let provider = FakeProvider::start();
    provider.expire_in(Some(2));
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup =
        Setup::start(|config| config.map("m", &api.url("/"), &[&bearer(&provider, "client_secret: s")]));
    let mut peer = setup.map();
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < Duration::from_secs(7) {
        let before = Instant::now();
        assert_eq!(peer.look_up("m", "k"), "OK v");
        slowest = slowest.max(before.elapsed());
        crate::support::pause(Duration::from_millis(10));
    }
    let tokens = provider.count(Endpoint::Token);
    assert!((3..=8).contains(&tokens), "{tokens} tokens of 2 s in 7 s");
    // While the provider is away, the present token is used until it ends.
    provider.expire_in(Some(600));
    assert!(wait_until(Duration::from_secs(5), || {
        assert_eq!(peer.look_up("m", "k"), "OK v");
        provider.count(Endpoint::Token) > tokens
    }));
    provider.break_with(Endpoint::Token, Reply::status(500));
    provider.break_with(Endpoint::Discovery, Reply::status(500));
    for _ in 0..50 {
        assert_eq!(peer.look_up("m", "k"), "OK v");
    }
}

/// An API that accepts one token and no other.
fn takes(token: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| match request.header("authorization").and_then(|header| header.strip_prefix("Bearer ")) {
        Some(given) if given == token => {
            Reply::with_header("Auth-User", "u", r#"{"value": "v", "action": "OK"}"#)
        }
        _ => Reply::status(401),
    }
}

#[test]
fn a_revoked_token_is_replaced_without_a_failure() {
    let provider = FakeProvider::start();
    let api = Backend::start(takes("canary-token-1"));
    let line = bearer(&provider, "client_secret: s");
    let setup =
        Setup::start(|config| config.map("m", &api.url("/"), &[&line]).policy("p", &api.url("/"), &[&line]));
    assert_eq!(setup.map().look_up("m", "1"), "OK v");
    api.answer_with(takes("canary-token-2"));
    let before = api.count();
    assert_eq!(setup.map().look_up("m", "2"), "OK v");
    assert_eq!((api.count() - before, provider.count(Endpoint::Token)), (2, 2), "asked twice, one new token");
    assert_eq!(setup.policy("p").ask(&[("request", "smtpd_access_policy")]), "action=OK\n\n");
    assert_eq!(provider.count(Endpoint::Token), 2);
    // An API that refuses every token does not cause endless fetches.
    api.answer_with(|_| Reply::status(401));
    for key in 0..50 {
        assert_eq!(setup.map().look_up("m", &key.to_string()), TEMP);
    }
    let tokens = provider.count(Endpoint::Token);
    assert!(tokens <= 4, "{tokens} tokens for an API that refuses each");
}

#[test]
fn a_login_with_a_revoked_token_is_sent_once_more() {
    let provider = FakeProvider::start();
    let api = Backend::start(takes("canary-token-1"));
    let line = bearer(&provider, "client_secret: s");
    let setup = Setup::start(|config| config.login("users", &api.url("/"), &[&line]));
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "secret");
    assert_eq!(sasl.line(), "OK\t1\tuser=u");
    // A 401 about the user says nothing about the broker's token.
    api.answer_with(|_| Reply::Answer {
        status: 401,
        headers: vec![("Auth-Status".to_owned(), "FAIL".to_owned())],
        body: Vec::new(),
    });
    sasl.plain(2, "u", "wrong");
    assert_eq!(sasl.line(), "FAIL\t2\treason=FAIL\tuser=u");
    assert_eq!((api.count(), provider.count(Endpoint::Token)), (2, 1));
    api.answer_with(takes("canary-token-2"));
    sasl.plain(3, "u", "secret");
    assert_eq!(sasl.line(), "OK\t3\tuser=u");
    assert_eq!((api.count(), provider.count(Endpoint::Token)), (4, 2));
}

#[test]
fn a_provider_that_hangs_delays_only_its_own_targets() {
    let (hanging, good) = (FakeProvider::start(), FakeProvider::start());
    hanging.break_with(Endpoint::Discovery, Reply::stall());
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        config
            .map("hangs", &api.url("/"), &[&bearer(&hanging, "client_secret: s"), "timeout: 2s"])
            .map("good", &api.url("/"), &[&bearer(&good, "client_secret: s")])
            .map("none", &api.url("/"), &[])
    });
    let mut waiting: Vec<_> = (0..50).map(|_| setup.map()).collect();
    let started = Instant::now();
    for peer in &mut waiting {
        peer.send(netstring("hangs k"));
    }
    assert!(hanging.backend.wait_for(1, PATIENCE));
    for name in ["good", "none"] {
        let before = Instant::now();
        assert_eq!(setup.map().look_up(name, "k"), "OK v", "{name}");
        assert!(before.elapsed() < Duration::from_secs(1), "{name}: {:?}", before.elapsed());
    }
    for peer in &mut waiting {
        assert_eq!(peer.reply(), TEMP);
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(hanging.count(Endpoint::Discovery), 1, "one request for all of them");
}

#[test]
fn a_provider_in_trouble_is_a_failure() {
    let provider = FakeProvider::start();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let line = bearer(&provider, "client_secret: s");
    let setup = Setup::start(|config| {
        let config = config.map("m", &api.url("/"), &[&line]);
        config.policy("p", &api.url("/"), &[&line]).login("users", &api.url("/"), &[&line])
    });
    for answer in [
        Reply::status(500),
        Reply::status(401),
        Reply::json("{}"),
        Reply::json(r#"{"access_token": ""}"#),
        Reply::json(r#"{"access_token": "a\nb"}"#),
        Reply::json(r#"{"access_token": "t", "token_type": "mac"}"#),
        Reply::json("[]"),
        Reply::with_header("Content-Type", "text/html", "<html>"),
        Reply::Close,
    ] {
        provider.break_with(Endpoint::Token, answer.clone());
        // A failed fetch is not repeated at once.
        crate::support::pause(Duration::from_millis(1100));
        assert_eq!(setup.map().look_up("m", "k"), TEMP, "{answer:?}");
        assert_eq!(setup.policy("p").ask(&[("request", "smtpd_access_policy")]), DEFER, "{answer:?}");
        let mut sasl = setup.login(Way::Unix, "users");
        sasl.plain(1, "u", "secret");
        assert_eq!(sasl.next(PATIENCE), crate::support::sasl::Heard::Closed(Vec::new()), "{answer:?}");
    }
    assert_eq!(api.count(), 0, "no request without a token");
    provider.mend(Endpoint::Token);
    assert!(
        wait_until(PATIENCE, || setup.map().look_up("m", "k") == "OK v"),
        "after the pause a token is fetched"
    );
    assert!(setup.broker.logged(&["identity provider answers again", "name=\"m\"", "failures="]));
    let log = setup.broker.log();
    let provider = format!("provider=\"{}\"", provider.backend.url(""));
    let of = |line: &str, name: &str| {
        let lines =
            log.lines().filter(|found| found.contains(line) && found.contains(&format!("name=\"{name}\"")));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for (line, name) in [("lookup failed", "m"), ("lookup failed", "p"), ("login failed", "users")] {
        let found = of(line, name);
        let is_of_provider = |line: &String| line.contains(&provider) && !line.contains(" target=");
        assert!(!found.is_empty() && found.iter().all(is_of_provider), "{found:#?}");
    }
    assert!(
        log.lines()
            .any(|line| line.contains("trouble with an identity provider") && line.contains(&provider))
    );
    assert!(of("API answers again", "m").is_empty(), "{log}");
}

#[test]
fn a_token_replaces_any_other_authorization_header() {
    let provider = FakeProvider::start();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let line = bearer(&provider, "client_secret: s");
    let setup = Setup::start(|config| {
        config.map("m", &api.url("/"), &[&line, "custom_headers: [\"Authorization: Basic eDp5\"]"])
    });
    assert_eq!(setup.map().look_up("m", "k"), "OK v");
    let request = api.last();
    let all: Vec<_> =
        request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).collect();
    assert_eq!(all, [&("authorization".to_owned(), "Bearer canary-token-1".to_owned())]);
    assert_eq!(json!(request.text("key")), json!("k"));
}
