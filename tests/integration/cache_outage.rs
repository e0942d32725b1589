//! The outage cache: a failure is replaced by the last good answer, and nothing else is.

use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Config;
use crate::support::pause;
use crate::support::setup::Setup;

const TEMP: &str = "TEMP Temporary server problem";
const FAILED: &str = "action=DEFER Temporary server problem\n\n";
const GOOD: &str = r#"{"value": "v", "action": "REJECT no"}"#;

fn cached(config: Config) -> Config {
    config.server("response_cache: {enabled: true, ttl: 1h}")
}

/// What the API does in an outage, and the reply if nothing is cached.
fn outages() -> Vec<(&'static str, Reply, &'static str)> {
    let mut outages = vec![
        ("HTML", Reply::json("<html>It works!</html>"), TEMP),
        ("no body", Reply::json(""), TEMP),
        ("reset", Reply::Reset, TEMP),
        ("truncated", Reply::Truncated(GOOD.as_bytes().to_vec()), TEMP),
        ("garbage", Reply::Raw(b"220 mx\r\n".to_vec()), TEMP),
        ("stall", Reply::stall(), TEMP),
        ("404", Reply::status(404), "PERM unexpected status code received: 404"),
        ("302", Reply::status(302), "PERM unexpected status code received: 302"),
    ];
    let temporary = [("500", 500), ("503", 503), ("429", 429), ("401", 401), ("403", 403)];
    outages.extend(temporary.map(|(name, code)| (name, Reply::status(code), TEMP)));
    outages
}

#[test]
fn a_good_answer_replaces_a_failure() {
    let mut api = Backend::constant(GOOD);
    let setup = Setup::start(|config| {
        let config = cached(config).map("m", &api.url("/"), &["timeout: 1s"]);
        config.policy("p", &api.url("/"), &["timeout: 1s"])
    });
    let (mut map, mut policy) = (setup.map(), setup.policy("p"));
    let asked = [("sender", "a@example.com")];
    for (what, reply, uncached) in outages() {
        api.answer_with(|_| Reply::json(GOOD));
        assert_eq!(map.look_up("m", "k"), "OK v", "before {what}");
        assert_eq!(policy.ask(&asked), "action=REJECT no\n\n", "before {what}");
        api.answer_with(move |_| reply.clone());
        let before = api.count();
        assert_eq!(map.look_up("m", "k"), "OK v", "{what}");
        assert!(api.count() > before, "the API is asked each time: {what}");
        assert_eq!(policy.ask(&asked), "action=REJECT no\n\n", "{what}");
        assert_eq!(map.look_up("m", "another"), uncached, "{what}");
        assert_eq!(policy.ask(&[("sender", "b@example.com")]), FAILED, "{what}");
    }
    api.down();
    assert_eq!(map.look_up("m", "k"), "OK v", "down");
    assert_eq!(policy.ask(&asked), "action=REJECT no\n\n", "down");
    assert_eq!(setup.client(&["socketmap"]).look_up("m", "k"), "OK v", "by the local socket");
    assert_eq!(setup.client(&["policy", "p"]).ask(&asked), "action=REJECT no\n\n", "by the local socket");
}

#[test]
fn the_newest_good_answer_counts() {
    let mut api = Backend::constant(r#"{"value": "old"}"#);
    let setup = Setup::start(|config| {
        cached(config).server("socketmap_max_reply_size: 20").map("m", &api.url("/"), &[])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK old");
    api.answer_with(|_| Reply::json(r#"{"value": "new"}"#));
    assert_eq!(peer.look_up("m", "k"), "OK new", "the backend's answer is used");
    for (body, due) in [
        (r#"{"value": {}}"#, "PERM unexpected value"),
        (r#"{"value": ""}"#, "PERM empty value"),
        (r#"{"value": "more than 20 bytes"}"#, "PERM value too long: 21"),
        (r#"{"error": "no luck"}"#, "PERM unexpected error received: no luck"),
    ] {
        api.answer_with(move |_| Reply::json(body));
        assert_eq!(peer.look_up("m", "k"), due);
    }
    api.down();
    assert_eq!(peer.look_up("m", "k"), "OK new", "a failure replaces nothing");
}

#[test]
fn a_value_that_was_removed_does_not_come_back() {
    let mut api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        let config = cached(config).map("m", &api.url("/"), &["not_found_status: [404]"]);
        config.map("empty", &api.url("/"), &["empty_value: not_found"])
    });
    let mut peer = setup.map();
    for (map, gone) in
        [("m", Reply::json("{}")), ("m", Reply::status(404)), ("empty", Reply::json(r#"{"value": ""}"#))]
    {
        api.answer_with(|_| Reply::json(r#"{"value": "v"}"#));
        assert_eq!(peer.look_up(map, "k"), "OK v");
        api.answer_with(move |_| gone.clone());
        assert_eq!(peer.look_up(map, "k"), "NOTFOUND ");
        api.down();
        assert_eq!(peer.look_up(map, "k"), TEMP, "{map}");
        api.up();
    }
}

#[test]
fn a_cached_answer_ends_with_its_ttl() {
    let mut api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        config.server("response_cache: {enabled: true, ttl: 1s}").map("m", &api.url("/"), &[])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    api.down();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    pause(Duration::from_millis(1200));
    assert_eq!(peer.look_up("m", "k"), TEMP);
}

#[test]
fn without_a_configured_cache_a_failure_is_a_failure() {
    let good = r#"{"value": "v", "action": "OK"}"#;
    let mut api = Backend::constant(good);
    let off = Setup::start(|config| config.map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[]));
    let without = Setup::start(|config| {
        let none = ["cache: {outage: false}"];
        cached(config).map("m", &api.url("/"), &none).policy("p", &api.url("/"), &none)
    });
    let asked = [("sender", "a@example.com")];
    for setup in [&off, &without] {
        assert_eq!(setup.map().look_up("m", "k"), "OK v");
        assert_eq!(setup.policy("p").ask(&asked), "action=OK\n\n");
    }
    api.down();
    for setup in [&off, &without] {
        assert_eq!(setup.map().look_up("m", "k"), TEMP);
        assert_eq!(setup.policy("p").ask(&asked), FAILED);
    }
}

#[test]
fn keys_and_maps_are_kept_apart() {
    let mut api = Backend::start(|request: &Request| {
        Reply::json(&format!(r#"{{"value": "{} {}"}}"#, request.path, request.text("key")))
    });
    let setup =
        Setup::start(|config| cached(config).map("a", &api.url("/a"), &[]).map("ab", &api.url("/ab"), &[]));
    let mut peer = setup.map();
    let asked = [("a", "b c"), ("ab", "c"), ("a", "c"), ("a", "C"), ("a", "bc"), ("ab", "b c")];
    let good: Vec<String> = asked.iter().map(|(map, key)| peer.look_up(map, key)).collect();
    api.down();
    let stale: Vec<String> = asked.iter().map(|(map, key)| peer.look_up(map, key)).collect();
    assert_eq!(stale, good);
    assert_eq!(peer.look_up("ab", "C"), TEMP, "another key is not in the cache");
}

#[test]
fn on_failure_applies_if_nothing_is_cached() {
    let mut api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| cached(config).map("m", &api.url("/"), &["on_failure: not_found"]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    api.down();
    assert_eq!(peer.look_up("m", "k"), "OK v", "a cached value takes precedence");
    assert_eq!(peer.look_up("m", "another"), "NOTFOUND ");
}
