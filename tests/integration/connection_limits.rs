//! Limits on connections: `allow_from`, `max_connections_per_address`, and which connections are closed
//! when `max_connections` is reached.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::config::{Config, Kind};
use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};
use crate::support::{PATIENCE, wait_until};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const EVENTS: &str = "pfxhttp_listener_connections_total";

fn users(request: &Request) -> Reply {
    match request.path.as_str() {
        "/m" => Reply::json(r#"{"value": "v"}"#),
        _ => Reply::with_header("Auth-User", &request.text("username"), ""),
    }
}

fn logs_in(sasl: &mut Sasl) -> String {
    sasl.plain(1, "u", "secret");
    sasl.line()
}

#[test]
fn only_networks_in_allow_from_may_connect() {
    let directory = open_directory();
    let api = Backend::start(users);
    let [login, map, metrics] = [(); 3].map(|()| Port::reserve());
    let config = |allowed: &str| {
        let config = Config::new(directory.path()).prometheus(metrics.number(), &[]);
        let config = config.login("users", &api.url("/auth"), &[]).map("m", &api.url("/m"), &[]);
        let endpoint =
            |port: &Port| format!("type: tcp, address: 127.0.0.1, port: {}{allowed}", port.number());
        let config = config.listen(Kind::Login, "users", &endpoint(&login));
        config.listen(Kind::Map, "maps", &endpoint(&map)).write()
    };
    let broker = Broker::start(&config(", allow_from: [127.0.0.2, '2001:db8::/32']"));
    for _ in 0..5 {
        assert_eq!(Peer::tcp_from(HERE, login.address()).rest(), b"", "closed without a reply");
        assert_eq!(Peer::tcp_from(HERE, map.address()).rest(), b"");
    }
    let mut inside = Sasl::begin(Peer::tcp_from(THERE, login.address()));
    assert_eq!(logs_in(&mut inside), "OK\t1\tuser=u");
    assert_eq!(Peer::tcp_from(THERE, map.address()).look_up("m", "k"), "OK v");
    let due = ["WARN", "outside of allow_from", "listener=\"users\"", "address=127.0.0.1"];
    assert!(broker.logged(&due), "{}", broker.log());
    let lines = broker.log().lines().filter(|line| line.contains("outside of allow_from")).count();
    assert_eq!(lines, 2, "one line a minute for each listener: {}", broker.log());
    for component in ["dovecot_sasl", "socket_map"] {
        let labels = [("component", component), ("event", "accept"), ("result", "error")];
        let refused = Scrape::of(metrics.address()).sum(EVENTS, &labels);
        assert_eq!(refused, 5.0, "{component}");
    }
    config(", allow_from: [127.0.0.0/31]");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(Peer::tcp_from(THERE, map.address()).rest(), b"", "the reload takes effect");
    assert_eq!(logs_in(&mut Sasl::begin(Peer::tcp_from(HERE, login.address()))), "OK\t1\tuser=u");
    config("");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(
        Peer::tcp_from(THERE, map.address()).look_up("m", "k"),
        "OK v",
        "without allow_from all may connect"
    );
}

#[test]
fn silent_connections_are_closed_for_logins() {
    let api = Backend::start(users);
    // From one address, or from so many addresses that none is above its limit.
    for (addresses, bound, says) in [
        (1, "30", "server.max_connections_per_address is reached: its oldest connection without a request"),
        (8, "30", "server.max_connections is reached: the oldest connection without a request"),
        (1, "~", "server.max_connections is reached: the oldest connection without a request"),
    ] {
        let setup = Setup::start(|config| {
            let config = config.server("max_connections: 40").map("m", &api.url("/m"), &[]);
            let config = config.server(&format!("max_connections_per_address: {bound}"));
            config.login("users", &api.url("/auth"), &[])
        });
        let port = setup.login_port("users").address();
        let mut before = setup.login(Way::Tcp, "users");
        assert_eq!(logs_in(&mut before), "OK\t1\tuser=u", "{addresses} addresses, limit {bound}");
        let mut map = setup.map();
        assert_eq!(map.look_up("m", "k"), "OK v", "{addresses} addresses, limit {bound}");
        // Connections that send nothing or an incomplete line, more than there is room for.
        let silent = |nth: u8| {
            let mut peer = Peer::tcp_from(Ipv4Addr::new(127, 0, 0, 1 + nth % addresses), port);
            // The broker may have closed it already.
            let _ = peer.try_send(&b"VERSION\t1"[..usize::from(nth) % 10]);
            peer
        };
        let mut crowd: Vec<Peer> = (0..60).map(silent).collect();
        for nth in 0..50 {
            for way in [Way::Tcp, Way::Unix] {
                assert_eq!(logs_in(&mut setup.login(way, "users")), "OK\t1\tuser=u", "{addresses} {way:?}");
            }
            crowd.push(silent(nth));
        }
        // Other listeners do not wait either.
        assert_eq!(setup.map().look_up("m", "k"), "OK v", "{addresses} addresses, limit {bound}");
        before.plain(2, "u", "secret");
        assert_eq!(
            before.line(),
            "OK\t2\tuser=u",
            "{addresses} addresses, limit {bound}: a connection that has asked is kept"
        );
        assert_eq!(map.look_up("m", "k"), "OK v", "{addresses} addresses, limit {bound}");
        assert!(
            setup.broker.logged(&["WARN", says]),
            "{addresses} addresses, limit {bound}: {}",
            setup.broker.log()
        );
    }
}

#[test]
fn connections_of_one_address_are_limited() {
    let api = Backend::start(users);
    let (port, directory) = (Port::reserve(), open_directory());
    let config = Config::new(directory.path()).server("max_connections_per_address: 4");
    let config = config.map("m", &api.url("/m"), &[]).listen_tcp(Kind::Map, "maps", port.number());
    let config = config.listen_unix(Kind::Map, "unix", &directory.path().join("unix.sock"));
    let broker = Broker::start(&config.write());
    let mut known: Vec<Peer> = (0..4).map(|_| Peer::tcp(port.address())).collect();
    for peer in &mut known {
        assert_eq!(peer.look_up("m", "k"), "OK v");
    }
    assert_eq!(Peer::tcp(port.address()).rest(), b"", "a fifth is closed at once");
    assert!(broker.logged(&["WARN", "max_connections_per_address", "address=127.0.0.1"]), "{}", broker.log());
    assert_eq!(
        Peer::tcp_from(THERE, port.address()).look_up("m", "k"),
        "OK v",
        "another address may connect"
    );
    let mut unix: Vec<Peer> = (0..6).map(|_| Peer::unix(&directory.path().join("unix.sock"))).collect();
    for peer in &mut unix {
        assert_eq!(peer.look_up("m", "k"), "OK v", "a unix socket has no addresses");
    }
    for peer in &mut known {
        assert_eq!(peer.look_up("m", "k"), "OK v", "earlier connections are kept");
    }
    drop(known.pop());
    let again = || {
        let mut peer = Peer::tcp(port.address());
        peer.set_patience(Duration::from_secs(5));
        peer.try_send(b"3:m k,").is_ok() && peer.up_to(7) == b"4:OK v,"
    };
    assert!(wait_until(PATIENCE, again), "another connection is accepted");
    drop(known);
    // Silent connections are closed for others of their address.
    let silent: Vec<Peer> = (0..10).map(|_| Peer::tcp(port.address())).collect();
    assert!(wait_until(PATIENCE, again), "a silent connection makes room");
    drop(silent);
}

/// All of Postfix' processes have the same address for a broker on their host.
#[test]
fn lookups_of_one_host_do_not_count_against_logins() {
    let api = Backend::start(users);
    let port = Port::reserve();
    let setup = Setup::start(|config| {
        let config = config.server("max_connections: 40").map("m", &api.url("/m"), &[]);
        let config = config.login("users", &api.url("/auth"), &[]);
        config.listen_tcp(Kind::Map, "m", port.number())
    });
    let mut lookups: Vec<Peer> = (0..30).map(|_| Peer::tcp(port.address())).collect();
    for peer in &mut lookups {
        assert_eq!(peer.look_up("m", "k"), "OK v");
    }
    assert_eq!(logs_in(&mut setup.login(Way::Tcp, "users")), "OK\t1\tuser=u");
    for peer in &mut lookups {
        assert_eq!(peer.look_up("m", "k"), "OK v", "none of them was closed");
    }
}
