//! Connections to a backend: how many there are, how long they are kept, and what happens if the
//! backend closes one.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::peer::netstring;
use crate::support::setup::Setup;
use crate::support::{PATIENCE, pause, wait_until};

const TEMP: &str = "TEMP Temporary server problem";

fn echo(request: &Request) -> Reply {
    Reply::json(&format!(r#"{{"value": "{}"}}"#, request.text("key")))
}

/// Looks up `each` keys on each of `peers` connections in parallel; returns the replies that are not
/// `OK` and the key.
fn look_up_all(setup: &Setup, maps: &[&str], peers: usize, each: usize) -> Vec<String> {
    let wrong = |number: usize| {
        let (mut peer, map) = (setup.map(), maps[number % maps.len()]);
        let keys = (0..each).map(|lookup| format!("{map}-{number}-{lookup}"));
        let replies = keys.map(|key| (format!("OK {key}"), peer.look_up(map, &key)));
        replies.filter(|(due, got)| due != got).map(|(due, got)| format!("{got} for {due}")).collect()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..peers).map(|number| scope.spawn(move || wrong(number))).collect();
        let replies: Vec<Vec<String>> = threads.into_iter().map(|t| t.join().expect("no panic")).collect();
        replies.concat()
    })
}

/// 64 parallel lookups on two entries, directly or with the backend as a proxy.
fn assert_two_connections_at_most(proxied: bool) {
    let api = Backend::start(|request| {
        pause(Duration::from_millis(2));
        echo(request)
    });
    let setup = Setup::start(|config| {
        let proxy = if proxied { format!(", proxy: \"{}\"", api.url("")) } else { String::new() };
        let url = |path: &str| if proxied { format!("http://127.0.0.1:1{path}") } else { api.url(path) };
        let config = config.server(&format!("http_client: {{max_connections_per_host: 2{proxy}}}"));
        config.map("one", &url("/one"), &[]).map("two", &url("/two"), &[])
    });
    let wrong = look_up_all(&setup, &["one", "two"], 64, 20);
    assert!(wrong.is_empty(), "{} of 1280 failed: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert_eq!(api.most_open(), 2, "two connections were used, and no third");
    assert_eq!(api.connections(), 2, "connections were kept");
    assert_eq!(api.count(), 1280, "each key was asked for once");
}

#[test]
fn connections_to_a_host_are_limited() {
    assert_two_connections_at_most(false);
}

#[test]
fn connections_to_a_proxy_are_limited() {
    assert_two_connections_at_most(true);
}

/// The limit includes connections that never answer. A lookup that waits for one is bounded by its
/// budget.
#[test]
fn a_connection_that_hangs_is_released() {
    let api = Backend::start(|request| match request.text("key").starts_with("hang") {
        true => Reply::stall(),
        false => echo(request),
    });
    let setup = Setup::start(|config| {
        let config = config.server("http_client: {max_connections_per_host: 2}");
        config.map("m", &api.url("/"), &["timeout: 1s"])
    });
    let mut hanging: Vec<_> = (0..2).map(|_| setup.map()).collect();
    for (number, peer) in hanging.iter_mut().enumerate() {
        peer.send(netstring(format!("m hang {number}")));
    }
    assert!(api.wait_for(2, PATIENCE), "the API is asked for both");
    let mut waiting = setup.map();
    waiting.send(netstring("m waits"));
    for peer in &mut hanging {
        assert_eq!(peer.reply(), TEMP);
    }
    let reply = waiting.reply();
    assert!([TEMP, "OK waits"].contains(&reply.as_str()), "{reply}");
    for round in 0..10 {
        assert_eq!(waiting.look_up("m", &format!("{round}")), format!("OK {round}"));
    }
    assert_eq!(api.most_open(), 2, "never a third connection");
}

/// A lookup waits for a connection until its own budget ends, not until that of another lookup ends.
#[test]
fn a_wait_for_a_connection_ends_with_the_budget() {
    let api = Backend::start(|request| match request.text("key").as_str() {
        "hang" => Reply::stall(),
        _ => echo(request),
    });
    let setup = Setup::start(|config| {
        let config = config.server("http_client: {max_connections_per_host: 1}");
        config.map("slow", &api.url("/"), &["timeout: 20s"]).map("m", &api.url("/"), &["timeout: 500ms"])
    });
    let mut hanging = setup.map();
    hanging.send(netstring("slow hang"));
    assert!(api.wait_for(1, PATIENCE), "the API is asked");
    let start = std::time::Instant::now();
    assert_eq!(setup.map().look_up("m", "waits"), TEMP);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "took {took:?}");
    assert_eq!(api.count(), 1);
}

/// 300 lookups over 8 connections to a backend that ends each of its own after three requests.
fn closing_backend(last: fn(Reply) -> Reply) {
    let api =
        Backend::start(move |request| if request.nth < 3 { echo(request) } else { last(echo(request)) });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let wrong = look_up_all(&setup, &["m"], 8, 38);
    assert!(wrong.is_empty(), "{} failed: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let most = api.requests().iter().map(|request| request.nth).max();
    assert_eq!(most, Some(3), "connections were kept");
    assert_at_most_twice(&api);
}

fn assert_at_most_twice(api: &Backend) {
    let mut seen: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
    for request in api.requests() {
        seen.entry(request.text("key")).or_default().push((request.connection, request.nth));
    }
    for (key, sightings) in seen {
        assert!(sightings.len() <= 2, "{key} was seen at {sightings:?}");
        if let [_, (_, nth)] = sightings[..] {
            assert_eq!(nth, 1, "{key} was sent again on a connection that was kept: {sightings:?}");
        }
    }
}

#[test]
fn a_backend_that_announces_its_close_fails_no_lookup() {
    closing_backend(|reply| match reply {
        Reply::Answer { status, mut headers, body } => {
            headers.push(("Connection".to_owned(), "close".to_owned()));
            Reply::Last(Box::new(Reply::Answer { status, headers, body }))
        }
        other => other,
    });
}

#[test]
fn a_backend_that_closes_unannounced_fails_no_lookup() {
    closing_backend(|reply| Reply::Last(Box::new(reply)));
}

/// A request and the close of its idle connection cross on the network.
fn crossing_backend(end: Reply) {
    let api = Backend::start(move |request| if request.nth > 1 { end.clone() } else { echo(request) });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]).policy("p", &api.url("/p"), &[]));
    let mut peer = setup.map();
    for key in 0..20 {
        assert_eq!(peer.look_up("m", &format!("{key}")), format!("OK {key}"), "key {key}");
    }
    assert_at_most_twice(&api);
    let again = api.count() - 20;
    assert!((9..=19).contains(&again), "{again} of 20 lookups found a kept connection that ended");
    let wrong = look_up_all(&setup, &["m"], 8, 38);
    assert!(wrong.is_empty(), "{} failed: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}

#[test]
fn a_kept_connection_that_is_reset_is_replaced() {
    crossing_backend(Reply::Reset);
}

#[test]
fn a_kept_connection_that_is_closed_is_replaced() {
    crossing_backend(Reply::Close);
}

#[test]
fn a_kept_connection_that_breaks_off_is_replaced() {
    crossing_backend(Reply::Truncated(br#"{"value": "wrong"}"#.to_vec()));
}

/// A failure on a new connection is the backend's answer: a retry would double its load.
#[test]
fn a_new_connection_that_fails_is_not_tried_again() {
    for fault in [Reply::Reset, Reply::Close, Reply::Truncated(br#"{"value": "v"}"#.to_vec())] {
        let what = format!("{fault:?}");
        let api = Backend::start(move |_| fault.clone());
        let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
        let mut peer = setup.map();
        for round in 1..=3 {
            assert_eq!(peer.look_up("m", "k"), TEMP, "{what}");
            assert_eq!(api.count(), round, "{what}: one request for each lookup");
        }
    }
}

#[test]
fn a_status_is_not_tried_again() {
    let api = Backend::start(
        |request| {
            if request.text("key") == "good" { echo(request) } else { Reply::status(503) }
        },
    );
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "good"), "OK good");
    assert_eq!(peer.look_up("m", "bad"), TEMP);
    assert_eq!(api.count(), 2, "a 5xx is not tried again");
}

/// Bytes that are not HTTP would be the same on another connection.
#[test]
fn garbage_on_a_kept_connection_causes_no_retry() {
    let api = Backend::start(|request| match request.text("key").as_str() {
        "good" => echo(request),
        _ => Reply::Raw(b"220 mx.example.com ESMTP\r\n\r\n".to_vec()),
    });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "good"), "OK good");
    assert_eq!(peer.look_up("m", "bad"), TEMP);
    assert_eq!(api.count(), 2, "one request each");
}

#[test]
fn an_idle_connection_is_closed_after_its_timeout() {
    let api = Backend::start(echo);
    let setup = Setup::start(|config| {
        let config = config.server("http_client: {idle_connection_timeout: 200ms}");
        config.map("m", &api.url("/"), &[])
    });
    let mut peer = setup.map();
    for key in ["a", "b"] {
        assert_eq!(peer.look_up("m", key), format!("OK {key}"));
    }
    assert_eq!(api.connections(), 1, "a connection in use is kept");
    assert!(wait_until(PATIENCE, || api.open() == 0), "the backend sees its end");
    assert_eq!(peer.look_up("m", "c"), "OK c");
    assert_eq!(api.connections(), 2);
}

/// Runs eight lookups in parallel, all of which are answered.
fn eight_at_once(setup: &Setup, api: &Backend, map: &str) {
    let mut peers: Vec<_> = (0..8).map(|_| setup.map()).collect();
    let before = api.count();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.send(netstring(format!("{map} {number}")));
    }
    assert!(api.wait_for(before + 8, PATIENCE), "eight requests at the same time");
    api.release();
    for (number, peer) in peers.iter_mut().enumerate() {
        assert_eq!(peer.reply(), format!("OK {number}"));
    }
}

fn held(request: &Request) -> Reply {
    Reply::Hold(Box::new(echo(request)))
}

#[test]
fn idle_connections_to_a_host_are_limited() {
    let api = Backend::start(held);
    let setup = Setup::start(|config| {
        let config = config.server("http_client: {max_idle_connections_per_host: 1}");
        config.map("m", &api.url("/"), &[])
    });
    eight_at_once(&setup, &api, "m");
    assert_eq!(api.most_open(), 8, "each had a connection of its own");
    assert!(wait_until(PATIENCE, || api.open() <= 1), "{} are kept", api.open());
    pause(Duration::from_millis(100));
    assert_eq!(api.open(), 1, "one connection is kept");
}

#[test]
fn idle_connections_are_limited_in_total() {
    let (one, two) = (Backend::start(held), Backend::start(held));
    let setup = Setup::start(|config| {
        let config = config.server("http_client: {max_idle_connections: 2}");
        config.map("one", &one.url("/"), &[]).map("two", &two.url("/"), &[])
    });
    eight_at_once(&setup, &one, "one");
    eight_at_once(&setup, &two, "two");
    let open = || one.open() + two.open();
    assert!(wait_until(PATIENCE, || open() <= 2), "{} are kept", open());
}
