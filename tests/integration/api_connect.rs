//! APIs that cannot be connected to: a connect is given up in time, and delays no other target.

use std::time::{Duration, Instant};

use crate::support::backend::Backend;
use crate::support::blackhole::Blackhole;
use crate::support::peer::Peer;
use crate::support::setup::Setup;

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &str = r#"{"value": "v"}"#;
/// The delay that is allowed on top of a time limit.
const GRACE: Duration = Duration::from_millis(500);

#[test]
fn connecting_is_given_up_after_two_seconds() {
    let (hole, mut refusing) = (Blackhole::open(), Backend::constant(VALUE));
    let setup = Setup::start(|config| {
        config.map("hole", &hole.url("/"), &["timeout: 10s"]).map("refusing", &refusing.url("/"), &[])
    });
    refusing.down();
    let (mut peer, start) = (setup.map(), Instant::now());
    assert_eq!(peer.look_up("refusing", "k"), TEMP);
    assert!(start.elapsed() < GRACE, "refused after {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(peer.look_up("hole", "k"), TEMP);
    let took = start.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_millis(2500)).contains(&took), "took {took:?}");
    refusing.up();
    assert_eq!(peer.look_up("refusing", "k"), "OK v", "the connection goes on");
}

/// A host that does not answer connects delays its own target alone.
#[test]
fn a_host_that_drops_packets_delays_no_other_target() {
    let (hole, api) = (Blackhole::open(), Backend::constant(VALUE));
    let setup = Setup::start(|config| config.map("hole", &hole.url("/"), &[]).map("m", &api.url("/"), &[]));
    let mut waiting: Vec<Peer> = (0..50).map(|_| setup.map()).collect();
    for (number, peer) in waiting.iter_mut().enumerate() {
        peer.send(crate::support::peer::netstring(format!("hole {number}")));
    }
    let mut peer = setup.map();
    for number in 0..50 {
        let start = Instant::now();
        assert_eq!(peer.look_up("m", &number.to_string()), "OK v");
        assert!(start.elapsed() < GRACE, "lookup {number} took {:?}", start.elapsed());
    }
    for peer in &mut waiting {
        assert_eq!(peer.reply(), TEMP);
    }
}
