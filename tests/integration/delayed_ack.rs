//! An API that writes its answer in several parts, with Nagle's algorithm: it sends a further part when
//! the first is acknowledged, which Linux would delay by 40 ms.

use std::time::{Duration, Instant};

use rustls::ALL_VERSIONS;

use crate::support::alone;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::certificates::{Authority, Flaw};
use crate::support::peer::Peer;
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};

const ROUNDS: usize = 30;
/// Far from the usual millisecond, and from 40.
const BOUND: Duration = Duration::from_millis(10);
const HEAD: &str = "HTTP/1.1 200 OK\r\nAuth-Status: OK\r\nContent-Length: 14\r\n\r\n";
const BODY: &str = r#"{"value": "v"}"#;

fn in_pieces(pieces: &[&str]) -> Reply {
    Reply::Pieces(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect())
}

/// The median time of so many rounds on kept connections.
fn median(mut round: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn assert_fast(peer: &mut Peer, map: &str, what: &str) {
    let took = median(|| assert_eq!(peer.look_up(map, "k"), "OK v", "{what}"));
    assert!(took < BOUND, "{what} took {took:?}");
}

#[test]
fn a_first_part_is_acknowledged_at_once() {
    let _alone = alone();
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = authority.write(directory.path(), "ca.crt");
    let api = |tls| {
        let reply = |_: &Request| in_pieces(&[HEAD, BODY]);
        if tls {
            Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, None), reply)
        } else {
            Backend::start(reply)
        }
    };
    let (plain, secure) = (api(false), api(true));
    let setup = Setup::start(|config| {
        let config = config.trust(&trust);
        let config = config.map("plain", &plain.url("/"), &[]).map("secure", &secure.url("/"), &[]);
        config.login("users", &plain.url("/"), &[])
    });
    let mut peer = setup.map();
    assert_fast(&mut peer, "plain", "head and body");
    assert_fast(&mut peer, "secure", "head and body behind TLS");
    assert!(plain.connections() <= 2 && secure.connections() <= 2, "they are kept");
    let mut sasl = setup.login(Way::Unix, "users");
    let mut number = 0;
    let took = median(|| {
        number += 1;
        sasl.plain(number, "u", "secret");
        assert_eq!(sasl.line(), format!("OK\t{number}\tuser=u"));
    });
    assert!(took < BOUND, "a login took {took:?}");
}

#[test]
fn the_number_of_parts_adds_no_delay() {
    let _alone = alone();
    let (status, rest) = HEAD.split_at(17);
    let (line, rest) = rest.split_at(17);
    let (one, other) = BODY.split_at(5);
    let pieces = [status, line, rest, one, other];
    let chunked =
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "e\r\n", BODY, "\r\n", "0\r\n\r\n"];
    for pieces in [pieces, chunked] {
        let reply = in_pieces(&pieces);
        let api = Backend::start(move |_| reply.clone());
        let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
        assert_fast(&mut setup.map(), "m", &format!("{pieces:?}"));
    }
}
