//! `proxy` of an entry, which connections entries share, and how `check --online` tries them.

use rustls::ALL_VERSIONS;

use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::check::online;
use crate::support::config::{Config, Kind};
use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::tinyproxy::Tinyproxy;

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &str = r#"{"value": "v"}"#;

/// All entries have the same target.
#[test]
fn each_entry_has_its_own_proxy() {
    let (api, one, two) = (Backend::constant(VALUE), Backend::constant(VALUE), Backend::constant(VALUE));
    let nobody = Port::reserve();
    let own = format!("proxy: \"{}\"", two.url("").replace("http://", "http://user:secret@"));
    let setup = Setup::start(|config| {
        let config =
            config.proxy(&one.url("")).map("usual", &api.url("/"), &[]).map("own", &api.url("/"), &[&own]);
        let config = config.map("direct", &api.url("/"), &["proxy: none"]);
        config.map("dead", &api.url("/"), &[&format!("proxy: \"http://{}\"", nobody.address())])
    });
    let mut peer = setup.map();
    for round in 1..4 {
        for map in ["usual", "own", "direct"] {
            assert_eq!(peer.look_up(map, "k"), "OK v", "{map}");
        }
        assert_eq!(peer.look_up("dead", "k"), TEMP, "it is not bypassed");
        assert_eq!((one.count(), two.count(), api.count()), (round, round, round));
    }
    let authorization = |proxy: &Backend| proxy.last().header("proxy-authorization").map(str::to_owned);
    assert_eq!(authorization(&one), None);
    assert_eq!(authorization(&two).as_deref(), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(authorization(&api), None);
    assert!(!setup.broker.log().contains("secret"), "{}", setup.broker.log());
    let reason = format!("through the proxy {}: connection refused", nobody.address());
    assert!(setup.broker.logged(&["trouble with a target", &reason]), "{}", setup.broker.log());
}

#[test]
fn an_entry_takes_precedence_over_the_environment() {
    let (api, of_environment, own) =
        (Backend::constant(VALUE), Backend::constant(VALUE), Backend::constant(VALUE));
    // An address of this host that the rules do not treat as loopback.
    let target = api.url("/").replace("127.0.0.1", "0.0.0.0");
    let environment = [("HTTP_PROXY", of_environment.url(""))];
    let environment = environment.each_ref().map(|(name, text)| (*name, text.as_str()));
    let setup = Setup::start_with(&environment, |config| {
        let config = config.map("usual", &target, &[]).map("direct", &target, &["proxy: none"]);
        let config = config.map("empty", &target, &["proxy: \"\""]);
        config.map("own", &target, &[&format!("proxy: \"{}\"", own.url(""))])
    });
    let mut peer = setup.map();
    for map in ["usual", "direct", "own", "empty"] {
        assert_eq!(peer.look_up(map, "k"), "OK v", "{map}");
    }
    assert_eq!((of_environment.count(), api.count(), own.count()), (2, 1, 1));
}

/// A real tunnel. The client certificate and the authority are those of the entry.
#[test]
fn tls_of_an_entry_goes_through_its_tunnel() {
    let (directory, authority, proxy) = (open_directory(), Authority::new("good"), Tinyproxy::start());
    let api = Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, Some(&authority)), |_| {
        Reply::json(VALUE)
    });
    let (cert, key) = authority.client().write(directory.path(), "ours");
    let tls = format!(
        "tls: {{root_ca: \"{}\", cert: \"{}\", key: \"{}\"}}",
        authority.write(directory.path(), "ca.crt").display(),
        cert.display(),
        key.display()
    );
    let own = format!("proxy: \"{}\"", proxy.url());
    let setup = Setup::start(|config| {
        config.map("both", &api.url("/"), &[&tls, &own]).map("proxied", &api.url("/"), &[&own])
    });
    let mut peer = setup.map();
    for count in 1..4 {
        assert_eq!((peer.look_up("both", "k"), peer.look_up("proxied", "k")), ("OK v".into(), TEMP.into()));
        assert_eq!(api.count(), count);
    }
    assert!(proxy.log().contains("CONNECT"), "{}", proxy.log());
    assert!(api.requests().iter().all(|request| request.certified));
}

/// Equal settings, here of `defaults`, share; the metrics have one row for each API.
#[test]
fn entries_with_equal_settings_share_connections() {
    let (directory, identity, port) = (open_directory(), Identity::self_signed(), Port::reserve());
    let api = Backend::start_tls(identity.serve(ALL_VERSIONS, None), |_| Reply::json(VALUE));
    let tls = format!("tls: {{root_ca: \"{}\"}}", identity.write(directory.path(), "own").0.display());
    let setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &[]).map_of("defaults", &[&tls]);
        let config = config.map("one", &api.url("/a"), &[]).map("two", &api.url("/b"), &[]);
        config.map("three", &api.url("/c"), &["tls: {skip_verify: true}"])
    });
    let mut peer = setup.map();
    for map in ["one", "two", "one", "three", "two", "three"] {
        assert_eq!(peer.look_up(map, "k"), "OK v", "{map}");
    }
    assert_eq!(api.connections(), 2, "two entries share one, and the third has its own");
    let scrape = Scrape::of(port.address());
    let rows = scrape.text.lines().filter(|line| line.starts_with("pfxhttp_backend_connections{"));
    assert_eq!(rows.count(), 2, "idle and active: {}", scrape.text);
    assert_eq!(scrape.sum("pfxhttp_backend_connections", &[]), 2.0);
}

#[test]
fn a_reload_that_changes_the_proxy_keeps_the_answers() {
    let directory = open_directory();
    let (api, one, two) = (Backend::constant(VALUE), Backend::constant(VALUE), Backend::constant(VALUE));
    let at = directory.path().join("maps.sock");
    let config = |proxy: &Backend| {
        let proxy = format!("proxy: \"{}\"", proxy.url(""));
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[&proxy, "cache: {fresh: 1h}"]);
        config.listen_unix(Kind::Map, "maps", &at)
    };
    let broker = Broker::start(&config(&one).write());
    let mut peer = Peer::unix(&at);
    assert_eq!(peer.look_up("m", "k"), "OK v");
    config(&two).write();
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!((peer.look_up("m", "k"), two.count()), ("OK v".into(), 0), "the cached answer");
    assert_eq!((peer.look_up("m", "other"), two.count()), ("OK v".into(), 1));
    assert_eq!((one.count(), api.count()), (1, 0));
}

#[test]
fn check_online_tries_each_way_to_an_origin() {
    let (directory, identity) = (open_directory(), Identity::self_signed());
    let api = Backend::start_tls(identity.serve(ALL_VERSIONS, None), |_| Reply::json(VALUE));
    let nobody = Port::reserve();
    let own = format!("tls: {{root_ca: \"{}\"}}", identity.write(directory.path(), "own").0.display());
    let config = Config::new(directory.path())
        .map("good", &api.url("/"), &[&own])
        .policy("too", &api.url("/"), &[&own])
        .login("bad", &api.url("/"), &[])
        .map(
            "pinned",
            &api.url("/"),
            &[&own.replace('}', &format!(", pin_sha256: [\"{}\"]}}", Identity::self_signed().pin()))],
        )
        .map("dead", &api.url("/"), &[&own, &format!("proxy: \"http://{}\"", nobody.address())]);
    let checked = online(&config);
    let begin = format!("{}: ", api.url(""));
    let good = format!("{begin}reached (used by: map good, policy too)");
    assert!(checked.good.contains(&good), "{}", checked.text());
    for (user, reason) in [
        ("login bad", "signed by itself, and no root_ca names it"),
        ("map pinned", "which is not in pin_sha256"),
        ("map dead", "through the proxy 127.0.0.1"),
    ] {
        let user = format!("(used by: {user})");
        let is_told =
            |line: &&String| line.starts_with(&begin) && line.contains(reason) && line.ends_with(&user);
        assert!(checked.bad.iter().any(|line| is_told(&line)), "{user}: {}", checked.text());
    }
    assert_eq!(api.count(), 0);
}
