//! Idle connections hold no worker: with 2,000 of them a lookup takes as long as with none.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::alone;
use crate::support::peer::Peer;
use crate::support::site::{Site, Way};

const IDLE: usize = 2000;
const LOOKUPS: usize = 500;
const ATTEMPTS: usize = 3;

/// The connections need descriptors in the test and in the brokers, which inherit its limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let enough = 3 * IDLE as u64;
    assert!(limit.maximum.is_none_or(|hard| hard >= enough), "ulimit -Hn is {:?}", limit.maximum);
    if limit.current.is_some_and(|soft| soft < enough) {
        let raised = Rlimit { current: Some(enough), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the limit can be raised up to the hard one");
    }
}

fn fill(site: &Site) -> Vec<Peer> {
    let mut idle: Vec<Peer> = (0..IDLE).map(|_| site.map(Way::Unix)).collect();
    let last = idle.last_mut().expect("there are some");
    assert_eq!(last.look_up("demo", "k"), "OK v", "the last of {IDLE} connections is served");
    idle
}

fn timed(peer: &mut Peer) -> Duration {
    let start = Instant::now();
    let reply = peer.look_up("demo", "k");
    let took = start.elapsed();
    assert_eq!(reply, "OK v");
    took
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Two brokers that differ only in their idle connections, asked in turn.
fn compare(busy: &Site, free: &Site, lookups: usize) -> (Vec<Duration>, Vec<Duration>) {
    let idle = fill(busy);
    let (mut with, mut without) = (busy.map(Way::Unix), free.map(Way::Unix));
    for peer in [&mut with, &mut without] {
        for _ in 0..20 {
            timed(peer);
        }
    }
    let times = (0..lookups).map(|_| (timed(&mut with), timed(&mut without))).unzip();
    drop(idle);
    times
}

/// Other load on the machine can only add a difference, so the best of a few attempts counts. Half of
/// the rounds of an attempt swap the two brokers.
#[test]
fn two_thousand_idle_connections_slow_no_lookup() {
    raise_descriptor_limit();
    let _alone = alone();
    let [one, other] = [(); 2].map(|()| Site::constant(r#"{"value": "v"}"#));
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (mut with, mut without) = compare(&one, &other, LOOKUPS / 2);
        let (more_with, more_without) = compare(&other, &one, LOOKUPS / 2);
        with.extend(more_with);
        without.extend(more_without);
        let (with, without) = (median(&mut with), median(&mut without));
        if with <= without * 6 / 5 {
            return;
        }
        seen.push((with, without));
    }
    panic!("medians with {IDLE} idle connections, and without: {seen:?}");
}
