//! Answers from the cache without a request: `fresh`, `negative`, `stale_while_revalidate`; and lookups
//! that share one request.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, pause, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
/// Long enough for a request to arrive that should not be made.
const A_WHILE: Duration = Duration::from_millis(300);

fn held(body: &str) -> Reply {
    Reply::Hold(Box::new(Reply::json(body)))
}

#[test]
fn a_fresh_answer_makes_no_call() {
    let mut api = Backend::constant(r#"{"value": "v", "action": "REJECT no"}"#);
    let setup = Setup::start(|config| {
        let fresh = ["cache: {fresh: 1s}"];
        config.map("m", &api.url("/"), &fresh).policy("p", &api.url("/"), &fresh)
    });
    let (mut map, mut policy) = (setup.map(), setup.policy("p"));
    let asked = [("sender", "a@example.com")];
    for _ in 0..5 {
        assert_eq!(map.look_up("m", "k"), "OK v");
        assert_eq!(policy.ask(&asked), "action=REJECT no\n\n");
    }
    assert_eq!(api.count(), 2, "one request each");
    assert_eq!(map.look_up("m", "another"), "OK v");
    assert_eq!(api.count(), 3);
    pause(Duration::from_millis(1200));
    assert_eq!(map.look_up("m", "k"), "OK v");
    assert_eq!(policy.ask(&asked), "action=REJECT no\n\n");
    assert_eq!(api.count(), 5, "one request each after the time");
    api.down();
    assert_eq!(map.look_up("m", "k"), "OK v", "fresh again");
    pause(Duration::from_millis(1200));
    assert_eq!(map.look_up("m", "k"), TEMP, "without the outage cache a failure is not replaced");
}

#[test]
fn an_absence_is_kept_only_with_negative() {
    let api = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let config = config.map("fresh", &api.url("/"), &["cache: {fresh: 1h}"]);
        config.map("both", &api.url("/"), &["cache: {fresh: 1h, negative: 1s}"])
    });
    let mut peer = setup.map();
    let calls = |peer: &mut Peer, map: &str| {
        let before = api.count();
        for _ in 0..3 {
            assert_eq!(peer.look_up(map, "k"), "NOTFOUND ", "{map}");
        }
        api.count() - before
    };
    assert_eq!(calls(&mut peer, "fresh"), 3, "`fresh` applies to values only");
    assert_eq!(calls(&mut peer, "both"), 1);
    api.answer_with(|_| Reply::json(r#"{"value": "v"}"#));
    assert_eq!(peer.look_up("both", "k"), "NOTFOUND ", "still");
    pause(Duration::from_millis(1200));
    assert_eq!(peer.look_up("both", "k"), "OK v", "a request after its time");
}

#[test]
fn a_failure_is_never_kept() {
    let api = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let all = "cache: {fresh: 1h, negative: 1h, stale_while_revalidate: 1h}";
        config.map("m", &api.url("/"), &[all, "on_failure: not_found"]).map("usual", &api.url("/"), &[all])
    });
    let mut peer = setup.map();
    for (map, due) in [("m", "NOTFOUND "), ("usual", TEMP)] {
        api.answer_with(|_| Reply::status(503));
        assert_eq!(peer.look_up(map, "k"), due);
        api.answer_with(|_| Reply::json(r#"{"value": "v"}"#));
        assert_eq!(peer.look_up(map, "k"), "OK v", "{map}: the backend is asked again");
    }
}

#[test]
fn a_stale_answer_comes_at_once_while_one_call_renews_it() {
    let api = Backend::constant(r#"{"value": "old"}"#);
    let setup = Setup::start(|config| {
        config.map("m", &api.url("/"), &["cache: {fresh: 1s, stale_while_revalidate: 1h}"])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK old");
    api.answer_with(|_| held(r#"{"value": "new"}"#));
    pause(Duration::from_millis(1200));
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(peer.look_up("m", "k"), "OK old", "the API has not answered yet");
        assert!(start.elapsed() < A_WHILE, "took {:?}", start.elapsed());
    }
    assert!(api.wait_for(2, PATIENCE), "one renewal starts");
    assert!(!api.wait_for(3, A_WHILE), "only one renewal: {:?}", api.requests());
    api.release();
    assert!(wait_until(PATIENCE, || peer.look_up("m", "k") == "OK new"), "the new value arrives");
    for _ in 0..20 {
        assert_eq!(peer.look_up("m", "k"), "OK new", "the new value is kept");
    }
    // A lookup that found the old value while the new one arrived may renew it once more.
    assert!(api.count() <= 3, "the new value is fresh: {:?}", api.requests());
}

/// A key has one renewal at a time, and one buffer, however often it is asked for meanwhile.
#[test]
fn renewals_do_not_pile_up() {
    const LOOKUPS: usize = 5000;
    let api = Backend::constant(r#"{"value": "old"}"#);
    let setup = Setup::start(|config| {
        config.map("m", &api.url("/"), &["cache: {fresh: 100ms, stale_while_revalidate: 1h}"])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK old");
    api.answer_with(|_| held(r#"{"value": "new"}"#));
    pause(A_WHILE);
    assert_eq!(peer.look_up("m", "k"), "OK old");
    let before = setup.broker.resident_kib();
    for _ in 0..LOOKUPS {
        assert_eq!(peer.look_up("m", "k"), "OK old");
    }
    let grown = setup.broker.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{LOOKUPS} stale answers took {grown} KiB");
    assert_eq!(api.count(), 2, "one renewal");
    api.release();
}

#[test]
fn a_renewal_that_fails_changes_nothing() {
    let mut api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        config.map("m", &api.url("/"), &["cache: {fresh: 1s, stale_while_revalidate: 1h}"])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    api.answer_with(|_| Reply::status(503));
    pause(Duration::from_millis(1200));
    for _ in 0..5 {
        assert_eq!(peer.look_up("m", "k"), "OK v");
        pause(Duration::from_millis(50));
    }
    api.answer_with(|_| Reply::json("{}"));
    assert!(wait_until(PATIENCE, || peer.look_up("m", "k") == "NOTFOUND "), "an absence is an answer");
    api.down();
    assert_eq!(peer.look_up("m", "k"), TEMP, "the old value is not used again");
}

/// Sends this lookup on `count` connections.
fn ask_all(setup: &Setup, count: usize, lookup: &str) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(|_| setup.map()).collect();
    for peer in &mut peers {
        peer.send(netstring(lookup));
    }
    peers
}

#[test]
fn the_same_lookup_in_flight_is_one_request() {
    let api = Backend::start(|_| held(r#"{"value": "v"}"#));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peers = ask_all(&setup, 64, "m k");
    let mut others = ask_all(&setup, 1, "m another");
    assert!(api.wait_for(2, PATIENCE), "both keys are asked for");
    assert!(!api.wait_for(3, A_WHILE), "one request for each key: {:?}", api.requests());
    api.release();
    for peer in peers.iter_mut().chain(&mut others) {
        assert_eq!(peer.reply(), "OK v");
    }
    assert_eq!(api.count(), 2);
    api.answer_with(|_| Reply::json(r#"{"value": "w"}"#));
    assert_eq!(peers[0].look_up("m", "k"), "OK w", "a request that was answered is not shared");
}

#[test]
fn a_failure_is_shared_and_then_forgotten() {
    let api = Backend::start(|_| Reply::Hold(Box::new(Reply::status(503))));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peers = ask_all(&setup, 8, "m k");
    assert!(api.wait_for(1, PATIENCE) && !api.wait_for(2, A_WHILE), "one request");
    api.release();
    for peer in &mut peers {
        assert_eq!(peer.reply(), TEMP);
    }
    api.answer_with(|_| Reply::json(r#"{"value": "v"}"#));
    assert_eq!(peers[0].look_up("m", "k"), "OK v");
}

#[test]
fn the_first_of_the_sharing_lookups_may_hang_up() {
    let api = Backend::start(|_| held(r#"{"value": "v"}"#));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let first = ask_all(&setup, 1, "m k");
    assert!(api.wait_for(1, PATIENCE), "the first asks");
    let mut others = ask_all(&setup, 3, "m k");
    assert!(!api.wait_for(2, A_WHILE), "the others wait for the same request");
    drop(first);
    assert!(!api.wait_for(2, A_WHILE), "the request goes on without the first peer");
    api.release();
    for peer in &mut others {
        assert_eq!(peer.reply(), "OK v");
    }
    assert_eq!(api.count(), 1);
}

#[test]
fn a_request_without_waiting_lookups_is_cancelled() {
    let api = Backend::start(|_| held(r#"{"value": "v"}"#));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let peers = ask_all(&setup, 3, "m k");
    assert!(api.wait_for(1, PATIENCE), "the API is asked");
    drop(peers);
    assert!(wait_until(PATIENCE, || api.open() == 0), "its connection ends");
    api.answer_with(|_| Reply::json(r#"{"value": "w"}"#));
    assert_eq!(setup.map().look_up("m", "k"), "OK w");
}

/// An API may answer the same policy request differently each time, as greylisting does.
#[test]
fn policy_requests_share_only_where_answers_are_kept() {
    let judge = |_: &Request| held(r#"{"action": "OK"}"#);
    let api = Backend::start(judge);
    let setup = Setup::start(|config| {
        let config = config.policy("each", &api.url("/"), &[]);
        config.policy("shared", &api.url("/"), &["cache: {fresh: 1h}"])
    });
    for (name, calls) in [("each", 3), ("shared", 1)] {
        let before = api.count();
        let mut peers = [(); 3].map(|()| setup.policy(name));
        for peer in &mut peers {
            peer.send(policy_request(&[("sender", "a@example.com")]));
        }
        assert!(api.wait_for(before + calls, PATIENCE), "{name}");
        assert!(!api.wait_for(before + calls + 1, A_WHILE), "{name}");
        api.release();
        for peer in &mut peers {
            assert_eq!(peer.action(), "action=OK\n\n", "{name}");
        }
    }
}
