//! SIGHUP: another configuration takes effect, and no other request notices it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Flaw};
use crate::support::config::{Config, Kind, backend_oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::peer::{Peer, netstring};
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;

/// The number of reloads, unless `PFXHTTP_TEST_RELOADS` sets it.
const RELOADS: usize = 300;

fn value(text: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |_| Reply::json(&format!(r#"{{"value": "{text}", "action": "REJECT {text}"}}"#))
}

/// A configuration that depends on `variant`, except for the entries that the test asks.
fn varied(directory: &Path, api: &Backend, variant: usize) -> Config {
    let at = |name: &str| directory.join(format!("{name}.sock"));
    let mut config = Config::new(directory)
        .map("steady", &api.url("/map"), &[])
        .policy("checks", &api.url("/policy"), &[])
        .login("users", &api.url("/login"), &[])
        .map("changes", &api.url(&format!("/other/{variant}")), &[])
        .listen_unix(Kind::Map, "maps", &at("maps"))
        .listen_unix(Kind::Policy, "checks", &at("checks"))
        .listen_unix(Kind::Login, "users", &at("users"));
    if variant % 2 == 1 {
        config = config.policy(&format!("p{variant}"), &api.url("/policy"), &[]);
        config = config.listen_unix(Kind::Policy, &format!("p{variant}"), &at("comes-and-goes"));
        config = config.server(&format!("tls: {{enabled: true, skip_verify: {}}}", variant % 4 == 1));
    }
    config
}

#[test]
fn reloads_under_load_lose_nothing() {
    let reloads =
        std::env::var("PFXHTTP_TEST_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(RELOADS);
    let directory = open_directory();
    let api = Backend::start(|request| match request.path.as_str() {
        "/map" => Reply::json(&format!(r#"{{"value": "for {}"}}"#, request.text("key"))),
        "/policy" => Reply::json(r#"{"action": "REJECT no"}"#),
        _ => Reply::with_header("Auth-User", &request.text("username"), ""),
    });
    let broker = Broker::start(&varied(directory.path(), &api, 0).write());
    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let socket = |name: &str| directory.path().join(format!("{name}.sock"));
    let running = || !ended.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for keeps in [true, false] {
            let (socket, running, asked, directory) = (&socket, &running, &asked, &directory);
            scope.spawn(move || {
                let ipc = Config::ipc(directory.path());
                let mut peers = [Peer::unix(&socket("maps")), Peer::asking(&ipc, &["socketmap"])];
                for number in 0.. {
                    if !running() {
                        break;
                    }
                    if !keeps {
                        peers[0] = Peer::unix(&socket("maps"));
                    }
                    for peer in &mut peers {
                        assert_eq!(peer.look_up("steady", &number.to_string()), format!("OK for {number}"));
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            scope.spawn(move || {
                let mut peer = Peer::unix(&socket("checks"));
                while running() {
                    if !keeps {
                        peer = Peer::unix(&socket("checks"));
                    }
                    assert_eq!(peer.ask(&[("request", "smtpd_access_policy")]), "action=REJECT no\n\n");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(move || {
                let mut sasl = Sasl::begin(Peer::unix(&socket("users")));
                for id in 1.. {
                    if !running() {
                        break;
                    }
                    if !keeps {
                        sasl = Sasl::begin(Peer::unix(&socket("users")));
                    }
                    sasl.plain(id, "u", "secret");
                    assert_eq!(sasl.line(), format!("OK\t{id}\tuser=u"));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for variant in 1..=reloads {
                // Every other reload changes targets and listeners; the others change nothing.
                varied(directory.path(), &api, variant / 2).write();
                assert!(broker.reload(), "reload {variant}:\n{}", broker.log());
            }
        }));
        ended.store(true, Ordering::Relaxed);
        outcome.expect("every reload is taken");
    });
    assert!(asked.load(Ordering::Relaxed) > reloads, "{asked:?} requests are too few for a load");
}

#[test]
fn broken_configurations_change_nothing() {
    let directory = open_directory();
    let api = Backend::start(value("v"));
    let file = varied(directory.path(), &api, 0).write();
    let good = fs::read_to_string(&file).expect("the configuration");
    let broker = Broker::start(&file);
    let socket = directory.path().join("maps.sock");
    let mut peer = Peer::unix(&socket);
    let pem = directory.path().join("broken.pem");
    fs::write(&pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("a file");
    let taken = directory.path().join("taken.sock");
    let _other = std::os::unix::net::UnixListener::bind(&taken).expect("a socket");
    let mut broken = vec![
        good.replace("socket_maps", "socket_map"),
        good.replace("steady", "ste ady"),
        good.replace("http://", "ftp://"),
        good.replace("payload", "payloads"),
        good.replace("value_field: value", "value_field: [value]"),
        good.replace("{{ .Key }}", "{{ .Nothing }}"),
        varied(directory.path(), &api, 0).trust(&pem).text(),
        good.replace("level: info", "level: loud"),
        good.replace("maps.sock", "no/such/directory/maps.sock"),
        good.replace("maps.sock", "taken.sock"),
        String::new(),
        "\u{0}".to_owned(),
    ];
    // A file that was cut because the disk was full.
    let lines: Vec<&str> = good.lines().collect();
    broken.extend((1..lines.len() - 3).map(|count| lines[..count].join("\n") + "\n  - {"));
    let mut refused = 0;
    for text in broken {
        fs::write(&file, &text).expect("the configuration can be written");
        assert!(!broker.reload(), "this was accepted:\n{text}");
        refused += 1;
        assert_eq!(peer.look_up("steady", "k"), "OK v", "{text}");
        assert_eq!(Peer::unix(&socket).look_up("steady", "k"), "OK v", "{text}");
    }
    assert!(refused > 25, "{refused}");
    assert!(broker.log().contains("not reloaded; the running configuration stays"));
    fs::write(&file, good).expect("the configuration can be written");
    assert!(broker.reload(), "a good one is accepted");
}

#[test]
fn listeners_are_added_removed_and_changed() {
    let directory = open_directory();
    let (one, two) = (Backend::start(value("one")), Backend::start(value("two")));
    let at = |name: &str| directory.path().join(format!("{name}.sock"));
    let base = || {
        Config::new(directory.path())
            .map("m", &one.url("/"), &[])
            .policy("first", &one.url("/"), &[])
            .policy("second", &two.url("/"), &[])
            .listen_unix(Kind::Map, "stays", &at("stays"))
    };
    let file = base()
        .listen_unix(Kind::Map, "goes", &at("goes"))
        .listen_unix(Kind::Policy, "first", &at("p"))
        .write();
    let broker = Broker::start(&file);
    let ask = |peer: &mut Peer| peer.ask(&[("request", "smtpd_access_policy")]);
    let mut stays = Peer::unix(&at("stays"));
    assert_eq!(stays.look_up("m", "k"), "OK one");
    let (mut going, mut idle) = (Peer::unix(&at("goes")), Peer::unix(&at("goes")));
    assert_eq!(idle.look_up("m", "k"), "OK one");
    let mut changing = Peer::unix(&at("p"));
    assert_eq!(ask(&mut changing), "action=REJECT one\n\n");
    // A request is in progress at the listener that is removed.
    one.answer_with(|_| Reply::Hold(Box::new(Reply::json(r#"{"value": "late"}"#))));
    let before = one.count();
    going.send(netstring("m slow"));
    assert!(one.wait_for(before + 1, PATIENCE));
    base()
        .listen_unix(Kind::Map, "comes", &at("comes"))
        .listen_unix(Kind::Policy, "second", &at("p"))
        .write();
    assert!(broker.reload(), "{}", broker.log());
    one.release();
    one.answer_with(value("one"));
    assert_eq!(going.reply(), "OK late", "the request in progress is answered");
    assert_eq!(going.rest(), b"", "the connection is closed then");
    assert_eq!(idle.rest(), b"");
    assert!(!at("goes").exists(), "its path is removed");
    assert_eq!(Peer::unix(&at("comes")).look_up("m", "k"), "OK one");
    assert_eq!(changing.rest(), b"", "connections to the changed listener are closed");
    assert_eq!(ask(&mut Peer::unix(&at("p"))), "action=REJECT two\n\n");
    assert_eq!(stays.look_up("m", "k"), "OK one", "the same connection");
    assert!(
        broker.logged(&[
            "configuration reloaded",
            "listeners_added=1",
            "listeners_removed=1",
            "listeners_changed=1",
            "entries_changed=0"
        ]),
        "{}",
        broker.log()
    );
    assert!(broker.logged(&["listening", "comes.sock"]), "{}", broker.log());
}

#[test]
fn the_log_counts_changed_entries_and_modes() {
    let directory = open_directory();
    let api = Backend::start(value("v"));
    let at = directory.path().join("maps.sock");
    let config = |mode: &str| {
        let config = Config::new(directory.path()).map("stays", &api.url("/"), &[]);
        let endpoint = format!("type: unix, address: \"{}\", mode: \"{mode}\"", at.display());
        config.listen(Kind::Map, "maps", &endpoint)
    };
    let broker = Broker::start(
        &config("0666").map("changes", &api.url("/a"), &[]).map("goes", &api.url("/"), &[]).write(),
    );
    let mut peer = Peer::unix(&at);
    assert_eq!(peer.look_up("stays", "k"), "OK v");
    config("0660").map("changes", &api.url("/b"), &[]).policy("comes", &api.url("/"), &[]).write();
    assert!(broker.reload(), "{}", broker.log());
    assert!(
        broker.logged(&["configuration reloaded", "listeners_changed=1", "entries_changed=3"]),
        "{}",
        broker.log()
    );
    assert_eq!(peer.look_up("stays", "k"), "OK v", "the same connection");
    assert!(broker.reload(), "{}", broker.log());
    assert!(broker.logged(&["generation=3", "listeners_changed=0", "entries_changed=0"]), "{}", broker.log());
}

#[test]
fn unchanged_entries_keep_their_connections_and_caches() {
    let directory = open_directory();
    let (api, provider) = (Backend::start(value("v")), FakeProvider::start());
    let uri = provider.configuration_uri();
    let bearer = backend_oidc(&uri, "client_id: a, client_secret: s");
    let at = directory.path().join("maps.sock");
    let config = |other: &str, level: &str| {
        Config::new(directory.path())
            .server("response_cache: {enabled: true, ttl: 1h}")
            .server(level)
            .map("kept", &api.url("/kept"), &[&bearer, "cache: {fresh: 1h}"])
            .map("other", &api.url(other), &["cache: {fresh: 1h}"])
            .listen_unix(Kind::Map, "maps", &at)
    };
    let broker = Broker::start(&config("/a", "max_connections: 500").write());
    let mut peer = Peer::unix(&at);
    assert_eq!((peer.look_up("kept", "k"), peer.look_up("other", "k")), ("OK v".into(), "OK v".into()));
    let connections = api.connections();
    config("/b", "max_connections: 400").write();
    assert!(broker.reload(), "{}", broker.log());
    api.answer_with(value("new"));
    assert_eq!(peer.look_up("kept", "k"), "OK v", "cached answers are kept");
    assert_eq!(peer.look_up("other", "k"), "OK new", "cached answers of a changed target are dropped");
    assert_eq!(peer.look_up("kept", "another"), "OK new");
    assert_eq!(provider.count(Endpoint::Token), 1, "the token is kept");
    assert_eq!(api.connections(), connections, "connections are kept");
    assert!(broker.logged(&["server.max_connections", "needs a restart"]), "{}", broker.log());
}

#[test]
fn changed_certificates_take_effect() {
    let directory = open_directory();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let api = Backend::start_tls(old.server(Flaw::None).serve(rustls::ALL_VERSIONS, None), value("v"));
    let (ca, trusted) = (new.write(directory.path(), "ca"), old.write(directory.path(), "trusted"));
    let at = directory.path().join("maps.sock");
    let config = Config::new(directory.path()).trust(&ca).map("m", &api.url("/"), &[]).listen_unix(
        Kind::Map,
        "maps",
        &at,
    );
    let broker = Broker::start(&config.write());
    let mut peer = Peer::unix(&at);
    assert!(peer.look_up("m", "k").starts_with("TEMP"), "an authority that is not trusted");
    fs::copy(&trusted, &ca).expect("a file");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(peer.look_up("m", "k"), "OK v", "the same path, another certificate");
    fs::write(&ca, "nonsense").expect("a file");
    assert!(!broker.reload(), "{}", broker.log());
    assert_eq!(peer.look_up("m", "k2"), "OK v");
}

#[test]
fn a_service_manager_is_notified() {
    let directory = open_directory();
    let api = Backend::start(value("v"));
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a datagram socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    let hear = |word: &str| loop {
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {word}: {error}"));
        let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if said.lines().any(|line| line == word) {
            return said;
        }
        assert!(said.contains("WATCHDOG=1"), "{said:?} in place of {word}");
    };
    let notify = path.display().to_string();
    let environment = [("NOTIFY_SOCKET", notify.as_str()), ("WATCHDOG_USEC", "200000")];
    let mut broker = Broker::start_with(&varied(directory.path(), &api, 0).write(), &environment);
    hear("READY=1");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    assert!(broker.reload());
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    broker.terminate();
    hear("STOPPING=1");
    assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
}
