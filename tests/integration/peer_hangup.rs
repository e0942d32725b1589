//! A peer that hangs up during a lookup releases its worker, in whichever way it hangs up.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, pause};

const SOON: Duration = Duration::from_secs(2);

fn held() -> Backend {
    Backend::start(|request: &Request| {
        let answer = format!(r#"{{"value": "{0}", "action": "WARN {0}"}}"#, request.text("key"));
        Reply::Hold(Box::new(Reply::json(&answer)))
    })
}

/// A broker with one worker for each entry.
fn setup(api: &Backend) -> Setup {
    Setup::start(|config| {
        let config = config.server("worker_pool: {max_workers: 1}");
        config.map("m", &api.url("/map"), &[]).policy("p", &api.url("/policy"), &[])
    })
}

/// `peer` asks and occupies the worker. A second lookup waits, and gets the worker once `hang_up` was
/// called.
fn assert_releases(api: &Backend, setup: &Setup, mut peer: Peer, hang_up: impl FnOnce(Peer), what: &str) {
    let before = api.count();
    peer.send(netstring("m first"));
    assert!(api.wait_for(before + 1, PATIENCE), "{what}: the API is asked");
    let mut next = setup.map();
    next.send(netstring("m next"));
    assert!(!api.wait_for(before + 2, Duration::from_millis(300)), "{what}: there is one worker");
    hang_up(peer);
    assert!(api.wait_for(before + 2, SOON), "{what}: the worker is not free again");
    assert_eq!(api.last().text("key"), "next", "{what}");
    api.release();
    assert_eq!(next.reply(), "OK next", "{what}");
}

#[test]
fn a_peer_that_closes_releases_its_worker() {
    let api = held();
    let setup = setup(&api);
    assert_releases(&api, &setup, setup.map(), drop, "a listener");
    assert_releases(&api, &setup, setup.client(&["socketmap"]), drop, "a client that is killed");
}

#[test]
fn a_peer_that_half_closes_and_then_closes_releases_its_worker() {
    let api = held();
    let setup = setup(&api);
    let in_two_steps = |mut peer: Peer| {
        peer.half_close();
        pause(Duration::from_millis(400));
        drop(peer);
    };
    assert_releases(&api, &setup, setup.map(), in_two_steps, "a listener");
    assert_releases(&api, &setup, setup.client(&["socketmap"]), in_two_steps, "a client");
}

/// The peer sent more than is read ahead, so that reading cannot see the end of the stream.
#[test]
fn a_peer_that_sent_more_and_closes_releases_its_worker() {
    let api = held();
    let setup = setup(&api);
    for bytes in [4097, 5000, 60_000] {
        let talkative = |mut peer: Peer| {
            peer.send(vec![b'1'; bytes]);
            pause(Duration::from_millis(100));
            drop(peer);
        };
        assert_releases(&api, &setup, setup.map(), talkative, &format!("with {bytes} bytes more"));
    }
}

#[test]
fn a_half_close_alone_is_not_a_hang_up() {
    let api = held();
    let setup = setup(&api);
    for mut peer in [setup.map(), setup.client(&["socketmap"])] {
        let before = api.count();
        peer.send(netstring("m k"));
        assert!(api.wait_for(before + 1, PATIENCE), "the API is asked");
        peer.half_close();
        pause(Duration::from_millis(600));
        api.release();
        assert_eq!(peer.reply(), "OK k");
    }
}

/// Asks, hangs up, and checks how the client ends.
fn assert_ends(socket: &Path, arguments: &[&str], request: &[u8], wait: impl FnOnce(), what: &str) {
    let (mut client, mut stream) = Client::asking(socket, arguments);
    stream.write_all(request).expect("the client reads");
    wait();
    drop(stream);
    let start = Instant::now();
    assert_eq!(client.exit_code(), Some(0), "{what}: spawn(8) logs nothing");
    assert!(start.elapsed() < Duration::from_secs(1), "{what} ended after {:?}", start.elapsed());
}

#[test]
fn a_client_whose_postfix_hangs_up_over_a_lookup_ends() {
    let api = held();
    let setup = setup(&api);
    let asked = |due: usize| assert!(api.wait_for(due, PATIENCE), "the API is asked");
    assert_ends(&setup.ipc(), &["socketmap"], &netstring("m first"), || asked(1), "socketmap");
    let mut next = setup.map();
    next.send(netstring("m next"));
    assert!(api.wait_for(2, SOON), "the worker is free again");
    let request = policy_request(&[("sender", "a@example.com")]);
    assert_ends(&setup.ipc(), &["policy", "p"], &request, || asked(3), "policy");
}

#[test]
fn a_client_whose_postfix_hangs_up_while_there_is_no_broker_ends() {
    let directory = open_directory();
    let waits = || pause(Duration::from_millis(500));
    let socket = Config::ipc(directory.path());
    assert_ends(&socket, &["--timeout", "60", "socketmap"], &netstring("m k"), waits, "socketmap");
}
