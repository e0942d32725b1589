//! A target that hangs affects no other target, and a listener reads only as many requests as it can
//! work on.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply};
use crate::support::config::{Config, Kind};
use crate::support::peer::{Peer, netstring};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, alone, pause};

const TEMP: &str = "TEMP Temporary server problem";
const HANGING: usize = 500;
const CLIENTS: usize = 20;
const LOOKUPS: usize = 2000;
const ATTEMPTS: usize = 3;
/// Other load on the machine may add this much.
const SLACK: Duration = Duration::from_millis(5);

/// The time within which 99 of 100 lookups are answered.
fn p99(peer: &mut Peer) -> Duration {
    let mut times: Vec<Duration> = (0..LOOKUPS)
        .map(|number| {
            let start = Instant::now();
            let reply = peer.look_up("quick", &number.to_string());
            assert_eq!(reply, "OK v");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[LOOKUPS * 99 / 100]
}

/// Asks `slow` on so many connections in parallel, some of them through clients, and reads no answer.
fn hang(setup: &Setup, api: &Backend, workers: usize) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..HANGING).map(|_| setup.map()).collect();
    peers.extend((0..CLIENTS).map(|_| setup.client(&["socketmap"])));
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.send(netstring(format!("slow {number}")));
    }
    let asked = api.wait_for(workers, PATIENCE);
    assert!(asked, "{} of {workers} lookups are in progress", api.count());
    peers
}

/// The quick target next to the hanging one, before and meanwhile: on the same listener, on another one
/// and on the local socket, each time on a new connection.
fn compare(pool: &str, workers: usize) -> Vec<(Duration, Duration)> {
    let (slow, quick) = (Backend::start(|_| Reply::stall()), Backend::constant(r#"{"value": "v"}"#));
    let setup = Setup::start(|config| {
        let other = config.directory().join("other.sock");
        let config = if pool.is_empty() { config } else { config.server(pool) };
        let config = config.map("slow", &slow.url("/"), &[]).map("quick", &quick.url("/"), &[]);
        config.listen_unix(Kind::Map, "other", &other)
    });
    let peers = || [setup.map(), Peer::unix(&setup.socket("other")), setup.client(&["socketmap"])];
    let alone = peers().map(|mut peer| p99(&mut peer));
    let hanging = hang(&setup, &slow, workers);
    let meanwhile = peers().map(|mut peer| p99(&mut peer));
    assert!(slow.count() <= workers, "{} lookups of {workers} are in progress", slow.count());
    drop(hanging);
    std::iter::zip(alone, meanwhile).collect()
}

/// Other load on the machine can only add a difference, so the best of a few attempts counts.
fn assert_unaffected(pool: &str, workers: usize) {
    let _alone = alone();
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let pairs = compare(pool, workers);
        if pairs.iter().all(|(alone, meanwhile)| *meanwhile <= *alone * 3 / 2 + SLACK) {
            return;
        }
        seen.push(pairs);
    }
    panic!("p99 alone and next to {HANGING} hanging lookups, by listener and local socket: {seen:?}");
}

#[test]
fn a_hanging_target_slows_no_other_down() {
    assert_unaffected("", 256);
}

#[test]
fn a_hanging_target_slows_no_other_down_with_a_small_pool() {
    assert_unaffected("worker_pool: {max_workers: 10}", 10);
}

/// Adds a listener `narrow` with one worker and a queue of one.
fn narrow(config: Config) -> Config {
    let socket = config.directory().join("narrow.sock");
    let pool = "worker_pool: {max_workers: 1, max_queue: 1}";
    let endpoint = format!("type: unix, address: \"{}\", mode: \"0666\", {pool}", socket.display());
    config.listen(Kind::Map, "narrow", &endpoint)
}

fn hold_first() -> Backend {
    Backend::start(|request| {
        let reply = Reply::json(r#"{"value": "v"}"#);
        if request.text("key") == "first" { Reply::Hold(Box::new(reply)) } else { reply }
    })
}

#[test]
fn a_listener_reads_as_many_requests_as_it_has_room_for() {
    let api = hold_first();
    let setup = Setup::start(|config| narrow(config.map("m", &api.url("/"), &[])));
    let mut peers = [(); 5].map(|()| Peer::unix(&setup.socket("narrow")));
    for (peer, key) in peers.iter_mut().zip(["first", "second", "third", "fourth", "fifth"]) {
        peer.send(netstring(format!("m {key}")));
        assert!(api.wait_for(1, PATIENCE), "the first is in progress");
    }
    let more = api.wait_for(2, Duration::from_millis(300));
    assert!(!more, "only one is in progress: {:?}", api.requests());
    assert_eq!(setup.map().look_up("m", "elsewhere"), "OK v", "another listener has room");
    assert_eq!(api.count(), 2);
    api.release();
    for peer in &mut peers {
        assert_eq!(peer.reply(), "OK v", "all are answered in the end");
    }
    assert_eq!(api.count(), 6);
    for peer in &mut peers {
        assert_eq!(peer.look_up("m", "again"), "OK v", "every connection is served");
    }
}

#[test]
fn a_lookup_whose_budget_ends_in_the_queue_fails_temporarily() {
    let api = hold_first();
    let setup = Setup::start(|config| {
        let config = config.map("m", &api.url("/"), &[]);
        narrow(config.map("hasty", &api.url("/"), &["timeout: 1s"]))
    });
    let mut first = Peer::unix(&setup.socket("narrow"));
    first.send(netstring("m first"));
    assert!(api.wait_for(1, PATIENCE), "the first is in progress");
    let (mut second, start) = (Peer::unix(&setup.socket("narrow")), Instant::now());
    assert_eq!(second.look_up("hasty", "second"), TEMP);
    let took = start.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_millis(1500)).contains(&took), "took {took:?}");
    assert_eq!(api.count(), 1, "the API was never asked: {:?}", api.requests());
    api.release();
    assert_eq!(first.reply(), "OK v");
    assert_eq!(second.look_up("hasty", "third"), "OK v", "the connection goes on");
}

#[test]
fn a_target_works_on_max_workers_lookups_at_a_time() {
    let held = || Reply::Hold(Box::new(Reply::json(r#"{"value": "v"}"#)));
    let (api, other) = (Backend::start(move |_| held()), Backend::constant(r#"{"value": "w"}"#));
    let setup = Setup::start(|config| {
        let config = config.server("worker_pool: {max_workers: 2, max_queue: 3}");
        config.map("m", &api.url("/"), &[]).map("other", &other.url("/"), &[])
    });
    let (mut quick, mut client) = (setup.map(), setup.client(&["socketmap"]));
    let mut peers: Vec<Peer> = (0..10).map(|_| setup.map()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.send(netstring(format!("m {number}")));
    }
    for round in 1..=5 {
        assert!(api.wait_for(2 * round, PATIENCE), "two are in progress, in round {round}");
        assert!(!api.wait_for(2 * round + 1, Duration::from_millis(100)), "no third, in round {round}");
        assert_eq!(
            quick.look_up("other", &round.to_string()),
            "OK w",
            "another target has workers of its own"
        );
        assert_eq!(client.look_up("other", &format!("c{round}")), "OK w", "by the local socket, too");
        api.release();
    }
    for peer in &mut peers {
        assert_eq!(peer.reply(), "OK v", "all are answered in the end");
    }
}

/// A peer that hangs up frees its worker or its place in the queue.
#[test]
fn a_peer_that_hangs_up_frees_its_place() {
    let api = hold_first();
    let setup = Setup::start(|config| narrow(config.map("m", &api.url("/"), &[])));
    let mut first = Peer::unix(&setup.socket("narrow"));
    first.send(netstring("m first"));
    assert!(api.wait_for(1, PATIENCE), "the first is in progress");
    let mut second = Peer::unix(&setup.socket("narrow"));
    second.send(netstring("m second"));
    pause(Duration::from_millis(100));
    drop(second);
    drop(first);
    assert_eq!(Peer::unix(&setup.socket("narrow")).look_up("m", "third"), "OK v");
}

/// The same lookup may come from another listener: it does not wait for the one in the narrow
/// listener's queue.
#[test]
fn a_narrow_listener_delays_no_other() {
    let api = hold_first();
    let setup = Setup::start(|config| narrow(config.map("m", &api.url("/"), &[])));
    let mut peers = [(); 2].map(|()| Peer::unix(&setup.socket("narrow")));
    peers[0].send(netstring("m first"));
    assert!(api.wait_for(1, PATIENCE), "the only worker of the narrow listener is busy");
    peers[1].send(netstring("m same"));
    let start = Instant::now();
    assert_eq!(setup.map().look_up("m", "same"), "OK v");
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    api.release();
    for peer in &mut peers {
        assert_eq!(peer.reply(), "OK v");
    }
}
