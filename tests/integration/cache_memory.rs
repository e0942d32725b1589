//! The cache's memory stays below its bound in bytes. `PFXHTTP_TEST_KEYS` says how many keys pass
//! through it (200,000 by default; a release is tested with 1,000,000).

use std::io::{BufWriter, Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::backend::Backend;
use crate::support::peer::netstring;
use crate::support::setup::Setup;
use crate::support::{PATIENCE, alone};

const CONNECTIONS: usize = 4;
const BOUND_KIB: u64 = 4 * 1024;
const SLACK_KIB: u64 = 10 * 1024;
const REPLY: &[u8] = b"4:OK v,";

fn keys() -> usize {
    let named = std::env::var("PFXHTTP_TEST_KEYS").ok();
    named.map_or(200_000, |text| text.parse().expect("PFXHTTP_TEST_KEYS is a number"))
}

/// Looks these keys up on one connection, as fast as the answers come.
fn pipeline(setup: &Setup, keys: std::ops::Range<usize>) {
    let stream = UnixStream::connect(setup.socket("maps")).expect("the listener accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let count = keys.len();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut out = BufWriter::with_capacity(4096, &stream);
            for key in keys {
                out.write_all(&netstring(format!("m user-{key}@example.com"))).expect("the broker reads");
            }
            out.flush().expect("the broker reads");
        });
        let mut replies = vec![0; REPLY.len() * count];
        (&stream).read_exact(&mut replies).expect("an answer to every lookup");
        assert!(replies.chunks(REPLY.len()).all(|reply| reply == REPLY), "every answer is the value");
    });
}

fn through(setup: &Setup, keys: std::ops::Range<usize>) {
    let each = keys.len() / CONNECTIONS;
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let begin = keys.start + number * each;
            scope.spawn(move || pipeline(setup, begin..begin + each));
        }
    });
}

#[test]
fn the_cache_takes_no_more_memory_than_its_bound() {
    let _alone = alone();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        let bytes = BOUND_KIB * 1024;
        let cache = format!("response_cache: {{enabled: true, ttl: 1h, max_bytes: {bytes}}}");
        config.server(&cache).map("m", &api.url("/"), &["cache: {fresh: 1h}"])
    });
    through(&setup, 0..1000);
    let before = setup.broker.resident_kib();
    through(&setup, 1000..keys());
    let growth = setup.broker.resident_kib().saturating_sub(before);
    assert!(growth <= BOUND_KIB + SLACK_KIB, "{} keys cost {growth} KiB", keys());
    let (mut peer, asked) = (setup.map(), api.count());
    assert_eq!(peer.look_up("m", "again"), "OK v");
    assert_eq!(peer.look_up("m", "again"), "OK v");
    assert_eq!(api.count(), asked + 1, "the cache still keeps new answers");
}
