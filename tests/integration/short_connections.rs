//! Connections that ask once, at each kind of listener: none is lost while reloads change listeners.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pfxhttp::model::Answer;
use pfxhttp::wire::ipc::Service;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::config::{Config, Kind};
use crate::support::frames::{Frames, map_question};
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, shown};

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

/// Sends `request`. `false` if the connection ends before a byte of the reply: Postfix then asks again on another one.
/// Whatever else is not `reply`, alone, fails the test.
fn is_answered(peer: &mut Peer, request: &[u8], reply: &str) -> bool {
    if peer.try_send(request).is_err() {
        return false;
    }
    let got = peer.up_to(reply.len());
    if got.is_empty() {
        return false;
    }
    assert_eq!(shown(&got), shown(reply.as_bytes()), "to {}", shown(request));
    peer.set_patience(Duration::from_millis(1));
    let further = peer.receive(&mut [0]);
    assert!(!matches!(further, Ok(1..)), "more than one reply to {}", shown(request));
    true
}

fn looks_up(peer: &mut Peer, key: &str) -> bool {
    let value = format!("OK for {key}");
    is_answered(peer, &netstring(format!("m {key}")), &format!("{}:{value},", value.len()))
}

/// As Postfix does: its greeting, then `AUTH` after the whole handshake.
fn logs_in(peer: &mut Peer, user: &str) -> bool {
    let mut handshake = Vec::new();
    if peer.try_send(b"VERSION\t1\t0\nCPID\t7\n").is_err() {
        return false;
    }
    while !handshake.ends_with(b"DONE\n") {
        match peer.up_to(1)[..] {
            [byte] => handshake.push(byte),
            _ => return false,
        }
    }
    let response = STANDARD.encode(format!("\0{user}\0secret"));
    let auth = format!("AUTH\t1\tPLAIN\tservice=smtp\tnologin\trip=192.0.2.7\tsecured\tresp={response}\n");
    is_answered(peer, auth.as_bytes(), &format!("OK\t1\tuser={user}\n"))
}

#[test]
fn none_is_lost_while_listeners_change() {
    let directory = open_directory();
    let api = Backend::start(api);
    let ports = [(); 2].map(|()| Port::reserve());
    let [map, login] = &ports;
    let broker = Broker::start(&varied(directory.path(), &api, [map, login], 0).write());
    let (ended, [asked, reloads]) = (AtomicBool::new(false), [(); 2].map(|()| AtomicUsize::new(0)));
    let at = |name: &str| directory.path().join(name);
    let asks: [&(dyn Fn(&str) -> bool + Sync); 5] = [
        &|key| looks_up(&mut Peer::tcp(map.address()), key),
        &|key| looks_up(&mut Peer::unix(&at("maps.sock")), key),
        &|key| {
            let request = policy_request(&[("sender", key)]);
            is_answered(&mut Peer::unix(&at("checks.sock")), &request, "action=REJECT no\n\n")
        },
        &|key| logs_in(&mut Peer::tcp(login.address()), key),
        // No reload changes this listener.
        &|key| {
            let mut client = Frames::connect(&Config::ipc(directory.path()));
            client.say_hello(&Service::Socketmap);
            client.welcome().expect("a greeting");
            client.ask(1, Duration::ZERO, &map_question("m", key));
            let value = Answer::Value(format!("for {key}"));
            assert_eq!(client.told().expect("an answer").answer, value);
            true
        },
    ];
    // A reload ends the connection that a peer has at that moment, at most, and none that waits in a queue.
    let asks_on = |nth: usize, peer: usize| {
        let mut again = 0;
        for number in 0.. {
            if ended.load(Ordering::Relaxed) {
                return again;
            }
            let key = format!("{nth}-{peer}-{number}");
            while !asks[nth](&key) {
                again += 1;
                let most = reloads.load(Ordering::SeqCst);
                assert!(again <= most, "{nth}-{peer}: {again} connections ended in {most} reloads");
            }
            asked.fetch_add(1, Ordering::Relaxed);
        }
        again
    };
    let again: Vec<usize> = std::thread::scope(|scope| {
        let begin = |nth: usize| (0..PEERS).map(move |peer| (nth, peer));
        let peers: Vec<_> = (0..asks.len())
            .flat_map(begin)
            .map(|(nth, peer)| scope.spawn(move || asks_on(nth, peer)))
            .collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for variant in 1..=RELOADS {
                varied(directory.path(), &api, [map, login], variant).write();
                reloads.store(variant, Ordering::SeqCst);
                assert!(broker.reload(), "reload {variant}:\n{}", broker.log());
            }
        }));
        ended.store(true, Ordering::Relaxed);
        let again = peers.into_iter().map(|peer| peer.join().expect("each is answered")).collect();
        outcome.expect("every reload is taken");
        again
    });
    println!("{asked:?} asked; again, for each peer: {again:?}");
    let changes = broker.log().matches("listeners_changed=4").count();
    assert_eq!(changes, RELOADS, "{}", broker.log());
    let asked = asked.into_inner();
    assert!(asked > 10 * RELOADS, "{asked} connections are too few for a load");
    // A request that has reached the API was answered.
    assert_eq!(api.count(), asked, "each was asked once");
}

/// At `server.max_connections`, in the kernel's queue or with a thread that waits for a permit.
#[test]
fn those_that_wait_are_served_by_the_changed_listener() {
    let directory = open_directory();
    let api = Backend::start(api);
    let ports = [(); 2].map(|()| Port::reserve());
    let [map, login] = &ports;
    let config =
        |variant| varied(directory.path(), &api, [map, login], variant).server("max_connections: 40");
    let broker = Broker::start(&config(0).write());
    let unix = directory.path().join("maps.sock");
    let [tcp, unix, logins]: [&dyn Fn() -> Peer; 3] =
        [&|| Peer::tcp(map.address()), &|| Peer::unix(&unix), &|| Peer::tcp(login.address())];
    type Asks = fn(&mut Peer, &str) -> bool;
    let ways: [(&dyn Fn() -> Peer, Asks, usize); 3] =
        [(tcp, looks_up, 30), (unix, looks_up, 30), (logins, logs_in, 40)];
    for (nth, (way, ask, most)) in ways.into_iter().enumerate() {
        let mut before: Vec<Peer> = (0..most).map(|_| way()).collect();
        for (peer, number) in before.iter_mut().zip(0..) {
            assert!(ask(peer, &format!("before-{nth}-{number}")), "{nth}: {number} of {most}");
            peer.set_patience(PATIENCE);
        }
        let waiting: Vec<Peer> = (0..20).map(|_| way()).collect();
        config(nth + 1).write();
        assert!(broker.reload(), "{}", broker.log());
        // Each is closed at its end: they are more than there are permits.
        std::thread::scope(|scope| {
            for (mut peer, number) in waiting.into_iter().zip(0..) {
                scope.spawn(move || {
                    assert!(ask(&mut peer, &format!("{nth}-{number}")), "{nth}: {number} is lost")
                });
            }
        });
        for peer in &mut before {
            assert_eq!(peer.rest(), b"", "an idle connection ends");
        }
    }
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
