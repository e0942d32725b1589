//! `server.shared`, and `cache.shared` of an entry.

use super::*;
use crate::shared::settings::Address;

const LONG: &str = "0123456789abcdef0123456789abcdef";

/// `server.shared` with these fields, and a map with this `cache`; `FILE` is a secret, `SHORT` one that is too short.
fn text(fields: &str, cache: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, secret) in [("FILE", LONG), ("SHORT", "short")] {
        private(&directory.path().join(name), secret);
    }
    let at = |name: &str| directory.path().join(name).display().to_string();
    let fields = fields.replace("FILE", &at("FILE")).replace("SHORT", &at("SHORT"));
    let text = format!("server:\n  shared: {{{fields}}}\n{}    cache: {{{cache}}}\n", map(""));
    (directory, text)
}

#[test]
fn a_shared_cache_is_off_without_its_url() {
    assert!(good(&map("")).server.shared.is_none());
    for (fields, key) in
        [("wait: 9ms", "wait"), ("secret_file: FILE", "secret_file"), ("penalties: false", "penalties")]
    {
        let (_directory, text) = text(fields, "");
        one(&text, &format!("warning server.shared.{key}: has no effect without `url`"));
    }
    let (_directory, text) = text("sentinel: {master: m, urls: ['redis://h']}", "");
    assert_eq!(told(&text).len(), 2);
}

#[test]
fn a_shared_cache_has_these_settings() {
    let (_directory, usual) = text("url: 'redis://127.0.0.1', secret_file: FILE", "fresh: 1m, shared: true");
    let config = good(&usual);
    let shared = config.server.shared.expect("a shared cache");
    assert_eq!((shared.name().as_str(), shared.wait), ("redis://127.0.0.1:6379", Duration::from_millis(5)));
    assert_eq!((shared.prefix.as_str(), shared.password, shared.sentinel), ("pfxhttp", None, None));
    assert_eq!(shared.secret.expose(), LONG);
    assert!(shared.penalties);
    assert!(config.maps[0].cache.is_shared);
    let (_directory, all) = text(
        "url: 'rediss://u@h:1/2', password_file: FILE, secret_file: FILE, prefix: 'a:b', wait: 50ms, penalties: false, tls: {skip_verify: false}, sentinel: {master: m, urls: ['redis://s', 'redis://t:1'], password_file: FILE}",
        "",
    );
    let shared = good(&all).server.shared.expect("a shared cache");
    assert_eq!((shared.name().as_str(), shared.server.database), ("m (by sentinel)", 2));
    assert!(shared.tls.is_some() && shared.server.address.has_tls() && !shared.penalties);
    let sentinel = shared.sentinel.expect("sentinels");
    let addresses: Vec<_> = sentinel.servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(addresses, ["redis://s:26379", "redis://t:1"]);
    assert!(sentinel.password.is_some());
    let (_directory, unix) = text("url: 'unix:/run/s', secret_file: FILE", "");
    let shared = good(&unix).server.shared.expect("a shared cache");
    assert_eq!(shared.server.address, Address::Unix("/run/s".into()));
}

#[test]
fn what_is_wrong_with_a_shared_cache_is_told() {
    for (fields, cache, expected) in [
        ("url: 'redis://h'", "", "server.shared: `secret_file` is missing"),
        (
            "url: 'redis://h', secret_file: SHORT",
            "",
            "server.shared.secret_file: the secret must have at least 32 bytes",
        ),
        (
            "url: 'rediss://h', secret_file: FILE, tls: {enabled: true}",
            "",
            "server.shared.tls.enabled: unknown key (remove it: `rediss://` in `url` turns TLS on)",
        ),
        ("url: 'redis://h', secret_file: /nowhere", "", "server.shared.secret_file: the file cannot be read"),
        (
            "url: 'redis://u:hush@h', secret_file: FILE",
            "",
            "server.shared.url: the URL must not hold a password",
        ),
        ("url: 'http://h', secret_file: FILE", "", "server.shared.url: this URL begins with redis://"),
        (
            "url: 'redis://h', secret_file: FILE, wait: 51ms",
            "",
            "server.shared.wait: must be from 1ms to 50ms",
        ),
        ("url: 'redis://h', secret_file: FILE, prefix: ''", "", "server.shared.prefix: must be letters"),
        (
            "url: 'redis://u@127.0.0.1', secret_file: FILE",
            "",
            "warning server.shared.url: the user has no effect",
        ),
        (
            "url: 'redis://h', password_file: FILE, secret_file: FILE",
            "",
            "warning server.shared.url: the password goes over the network without TLS",
        ),
        (
            "url: 'redis://h', secret_file: FILE, tls: {skip_verify: false}",
            "",
            "warning server.shared.tls: has no effect: `url` does not begin with rediss://",
        ),
        (
            "url: 'redis://h', secret_file: FILE, sentinel: {master: m}",
            "",
            "server.shared.sentinel: `urls` is missing",
        ),
        (
            "url: 'redis://h', secret_file: FILE, sentinel: {urls: ['redis://h']}",
            "",
            "server.shared.sentinel: `master` is missing",
        ),
        (
            "url: 'redis://h', secret_file: FILE, sentinel: {master: m, urls: ['redis://h/1']}",
            "",
            "server.shared.sentinel.urls[0]: a sentinel has no databases",
        ),
        (
            "",
            "fresh: 1m, shared: true",
            "warning socket_maps.m.cache.shared: has no effect without `server.shared.url`",
        ),
        (
            "url: 'redis://h', secret_file: FILE",
            "shared: true",
            "warning socket_maps.m.cache.shared: has no effect without `fresh`, `negative` or `server.response_cache`",
        ),
    ] {
        let (_directory, text) = text(fields, cache);
        one(&text, expected);
        assert!(!told(&text).concat().contains("hush"), "{fields}");
    }
}
