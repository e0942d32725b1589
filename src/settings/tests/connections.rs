//! `tls` and `proxy` of entries, and `pin_sha256` of `server.tls`.

use super::*;
use crate::http::settings::EntryProxy;

const PIN: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn with(lines: &str) -> String {
    map(&format!("    {lines}\n")).replace("http://", "https://")
}

#[test]
fn what_an_entry_does_not_say_is_the_servers() {
    let entry = |text: &str| good(text).maps.remove(0).connection;
    assert!(entry(&map("")).tls.is_none(), "nothing is said");
    for nothing in ["tls: ~", "tls: {}", "proxy: ''", "proxy: ~"] {
        let connection = entry(&with(nothing));
        assert!(connection.tls.is_none() && connection.proxy.is_none(), "{nothing}");
    }
    let tls = entry(&with("tls: {server_name: api.internal, min_tls_version: '1.3'}")).tls.expect("its own");
    assert_eq!(
        tls.server_name.as_ref().map(|name| name.to_str().into_owned()).as_deref(),
        Some("api.internal")
    );
    let defaults = "  defaults: {tls: {server_name: x.test}, proxy: none}\n";
    let inherited = entry(&(map("") + defaults).replace("http://", "https://"));
    assert!(inherited.tls.is_some() && inherited.proxy == Some(EntryProxy::Direct));
    let taken = entry(&(with("tls: ~\n    proxy: ~") + defaults));
    assert!(taken.tls.is_none() && taken.proxy.is_none());
    let EntryProxy::Url(url) = entry(&with("proxy: 'http://joe:pw@p:3128'")).proxy.expect("a proxy") else {
        panic!("a URL")
    };
    assert_eq!((url.host_str(), url.password()), (Some("p"), Some("pw")));
    assert!(!format!("{:?}", EntryProxy::Url(url)).contains("pw"));
}

#[test]
fn equal_settings_are_equal() {
    let of = |lines: &str| good(&with(lines)).maps.remove(0);
    let pinned = format!("tls: {{pin_sha256: ['{PIN}']}}");
    assert!(of(&pinned).connection == of(&pinned).connection);
    for (one, other) in [
        (pinned.as_str(), "tls: {min_tls_version: '1.3'}"),
        ("tls: {server_name: a.test}", "tls: {server_name: b.test}"),
        ("proxy: none", "proxy: 'http://p'"),
        ("proxy: 'http://p'", "proxy: 'http://joe:pw@p'"),
        ("timeout: 9s", &pinned),
    ] {
        let (one, other) = (of(one), of(other));
        assert!(one.connection != other.connection, "{one:?}");
    }
    let (one, other) = (of(&pinned), of("proxy: none"));
    assert!(one != other && one.keeps_answers_of(&other), "the answers are the same");
    assert!(!one.keeps_answers_of(&of("status_code: 201")));
}

#[test]
fn a_server_that_is_not_enabled_gives_nothing() {
    let server = "server: {tls: {root_ca: /nowhere, pin_sha256: [x]}}\n";
    let text = server.to_owned() + &with("tls: {server_name: a.test}");
    assert!(told(&text).iter().all(|line| line.contains(" server.tls.")), "{:#?}", told(&text));
    let text = "server: {tls: {enabled: true, root_ca: /nowhere}}\n".to_owned();
    one(
        &(text.clone() + &with("tls: {server_name: a.test}")),
        "1:40 server.tls.root_ca: the file cannot be read",
    );
    // The system's certificates instead.
    let entry = with("tls: {root_ca: ~}");
    assert_eq!(told(&(text + &entry)).len(), 1);
}

#[test]
fn mistakes_are_told_where_they_stand() {
    for (lines, expected) in [
        ("tls: {root_ca: /nowhere}", "6:20 socket_maps.m.tls.root_ca: the file cannot be read"),
        ("tls: {cert: /nowhere}", "6:5 socket_maps.m.tls: `key` is missing"),
        ("tls: {enabled: true}", "6:11 socket_maps.m.tls.enabled: unknown key"),
        ("tls: {min_tls_version: '1.1'}", "6:28 socket_maps.m.tls.min_tls_version: must be one of: 1.2, 1.3"),
        ("tls: {server_name: 'a b'}", "6:24 socket_maps.m.tls.server_name: must be the name of a host"),
        ("tls: {pin_sha256: ['x']}", "6:24 socket_maps.m.tls.pin_sha256[0]: must be a pin"),
        ("tls: {pin_sha256: ['AAAA']}", "6:24 socket_maps.m.tls.pin_sha256[0]: must be a pin"),
        (
            "tls: {skip_verify: true}",
            "6:11 warning socket_maps.m.tls.skip_verify: any certificate is accepted",
        ),
        (
            "tls: {http_client_skip_verify: false}",
            "6:11 warning socket_maps.m.tls.http_client_skip_verify: is read as",
        ),
        ("proxy: 'socks5://p'", "6:12 socket_maps.m.proxy: a URL begins with http"),
        ("proxy: 'http://p/x'", "6:12 socket_maps.m.proxy: a proxy's URL ends behind"),
        ("proxy: direct", "6:12 socket_maps.m.proxy: a URL begins with http"),
    ] {
        one(&with(lines), expected);
    }
    let plain = map("    tls: {server_name: a.test}\n");
    one(&plain, "6:5 warning socket_maps.m.tls: has no effect: `target` begins with http://");
    good(&with(&format!("tls: {{skip_verify: true, pin_sha256: ['{PIN}']}}")));
    good(&format!("server: {{tls: {{enabled: true, skip_verify: true, pin_sha256: ['{PIN}']}}}}\n"));
    one(
        &format!("server: {{tls: {{pin_sha256: ['{PIN}']}}}}\n"),
        "1:16 warning server.tls.pin_sha256: has no effect without `enabled: true`",
    );
}
