//! Connections that ask once, at each kind of listener: none is lost while reloads change listeners.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pfxhttp::model::Answer;
use pfxhttp::wire::ipc::Service;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::config::{Config, Kind};
use crate::support::frames::{Frames, map_question};
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;

const RELOADS: usize = 40;
/// At each listener.
const PEERS: usize = 2;

fn api(request: &Request) -> Reply {
    match request.path.as_str() {
        "/map" => Reply::json(&format!(r#"{{"value": "for {}"}}"#, request.text("key"))),
        "/policy" => Reply::json(r#"{"action": "REJECT no"}"#),
        _ => Reply::with_header("Auth-User", &request.text("username"), ""),
    }
}

/// In each variant, other tasks accept at every listener but that for clients.
fn varied(directory: &Path, api: &Backend, [map, login]: [&Port; 2], variant: usize) -> Config {
    let pool = format!("worker_pool: {{max_workers: {}}}", 10 + variant);
    let tcp = |port: &Port| format!("type: tcp, address: 127.0.0.1, port: {}, {pool}", port.number());
    let unix = |name: &str| format!("type: unix, address: \"{}\", {pool}", directory.join(name).display());
    Config::new(directory)
        .map("m", &api.url("/map"), &[])
        .policy("checks", &api.url("/policy"), &[])
        .login("users", &api.url("/login"), &[])
        .listen(Kind::Map, "maps", &tcp(map))
        .listen(Kind::Login, "users", &tcp(login))
        .listen(Kind::Map, "unix", &unix("maps.sock"))
        .listen(Kind::Policy, "checks", &unix("checks.sock"))
}

#[test]
fn none_is_lost_while_listeners_change() {
    let directory = open_directory();
    let api = Backend::start(api);
    let ports = [(); 2].map(|()| Port::reserve());
    let [map, login] = &ports;
    let broker = Broker::start(&varied(directory.path(), &api, [map, login], 0).write());
    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let at = |name: &str| directory.path().join(name);
    let looks_up = |mut peer: Peer, key: &str| assert_eq!(peer.look_up("m", key), format!("OK for {key}"));
    let asks: [&(dyn Fn(&str) + Sync); 5] = [
        &|key| looks_up(Peer::tcp(map.address()), key),
        &|key| looks_up(Peer::unix(&at("maps.sock")), key),
        &|_| {
            let reply = Peer::unix(&at("checks.sock")).ask(&[("request", "smtpd_access_policy")]);
            assert_eq!(reply, "action=REJECT no\n\n");
        },
        &|_| {
            let mut sasl = Sasl::begin(Peer::tcp(login.address()));
            sasl.plain(1, "u", "secret");
            assert_eq!(sasl.line(), "OK\t1\tuser=u");
        },
        &|key| {
            let mut client = Frames::connect(&Config::ipc(directory.path()));
            client.say_hello(&Service::Socketmap);
            client.welcome().expect("a greeting");
            client.ask(1, Duration::ZERO, &map_question("m", key));
            let value = Answer::Value(format!("for {key}"));
            assert_eq!(client.told().expect("an answer").answer, value);
        },
    ];
    std::thread::scope(|scope| {
        for (nth, ask) in asks.into_iter().enumerate() {
            for peer in 0..PEERS {
                let (ended, asked) = (&ended, &asked);
                scope.spawn(move || {
                    let keys = (0..).map(|number| format!("{nth} {peer} {number}"));
                    for key in keys.take_while(|_| !ended.load(Ordering::Relaxed)) {
                        ask(&key);
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for variant in 1..=RELOADS {
                varied(directory.path(), &api, [map, login], variant).write();
                assert!(broker.reload(), "reload {variant}:\n{}", broker.log());
            }
        }));
        ended.store(true, Ordering::Relaxed);
        outcome.expect("every reload is taken");
    });
    let changes = broker.log().matches("listeners_changed=4").count();
    assert_eq!(changes, RELOADS, "{}", broker.log());
    assert!(asked.load(Ordering::Relaxed) > 10 * RELOADS, "{asked:?} connections are too few for a load");
}

/// More at a time than a listener has threads that accept.
#[test]
fn a_crowd_is_answered_at_each_listener() {
    let directory = open_directory();
    let api = Backend::start(api);
    let ports = [(); 2].map(|()| Port::reserve());
    let [map, login] = &ports;
    let _broker = Broker::start(&varied(directory.path(), &api, [map, login], 0).write());
    let ways: [&dyn Fn() -> Peer; 2] =
        [&|| Peer::tcp(map.address()), &|| Peer::unix(&directory.path().join("maps.sock"))];
    for (nth, way) in ways.into_iter().enumerate() {
        let mut crowd: Vec<Peer> = (0..200).map(|_| way()).collect();
        for (peer, number) in crowd.iter_mut().zip(0..) {
            assert_eq!(peer.look_up("m", &format!("{nth} {number}")), format!("OK for {nth} {number}"));
        }
    }
    let mut crowd: Vec<Sasl> = (0..50).map(|_| Sasl::begin(Peer::tcp(login.address()))).collect();
    for sasl in &mut crowd {
        sasl.plain(1, "u", "secret");
        assert_eq!(sasl.line(), "OK\t1\tuser=u");
    }
}
