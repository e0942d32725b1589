//! Input that breaks a protocol closes its connection: there is no reply, no request to an API, no
//! memory for an announced length, and other connections are served as before.

use crate::support::backend::{Reply, Request};
use crate::support::client::Client;
use crate::support::peer::{Peer, netstring};
use crate::support::shown;
use crate::support::site::{Site, Way};

/// The most memory that a broker may have gained.
const GROWTH_KIB: u64 = 8 * 1024;

fn api(request: &Request) -> Reply {
    let healthy = request.text("key") == "healthy" || request.text("recipient") == "healthy";
    assert!(healthy, "the API got {}", shown(&request.body));
    Reply::json(r#"{"value": "yes", "action": "DUNNO"}"#)
}

fn socketmap_input() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("a negative length", text("-1:")),
        ("a huge length", text("99999999999:")),
        ("a length beyond 64 bits", text("99999999999999999999999:demo k,")),
        ("more than a key may have", text("10000000:demo k")),
        ("leading zeros", text("007:demo ab,")),
        ("no length", text(":,")),
        ("a blank before the length", text(" 6:demo k,")),
        ("no digits", text("x:demo k,")),
        ("a NUL in the key", text("8:demo k\0k,")),
        ("no comma", text("6:demo k;")),
        ("a line feed for a comma", text("6:demo k\n")),
        ("digits without end", vec![b'1'; 64]),
        ("http", text("GET / HTTP/1.1\r\n\r\n")),
        ("random bytes", garbage()),
    ]
}

fn policy_input() -> Vec<(&'static str, Vec<u8>)> {
    let open = b"request=smtpd_access_policy\n".to_vec();
    let many = "name=value\n".repeat(10_000).into_bytes();
    vec![
        ("a line of 10 MB", [open.clone(), b"recipient=".to_vec(), vec![b'a'; 10 << 20]].concat()),
        ("10 MB without an =", vec![b'a'; 10 << 20]),
        ("10000 attributes", [open.clone(), many].concat()),
        ("a line without =", [open.clone(), b"recipient\n\n".to_vec()].concat()),
        ("another request", b"request=something_else\nrecipient=healthy\n\n".to_vec()),
        ("no request", b"recipient=a@example.com\n\n".to_vec()),
        ("NUL in a value", [open, b"recipient=a\0b\n\n".to_vec()].concat()),
        ("an empty line", b"\n".to_vec()),
    ]
}

/// The same bytes on every run, which no protocol of ours allows.
fn garbage() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes = (0..512).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0] | 0x80
    });
    bytes.collect()
}

/// Sends input that may not be read to its end, and expects the connection to close without a reply.
fn expect_close(mut peer: Peer, input: &[u8], case: &str) {
    let _closed_in_between = peer.try_send(input);
    let rest = peer.try_rest().unwrap_or_else(|what| panic!("{case}: {what}"));
    assert!(rest.is_empty(), "{case}: got {}", shown(&rest));
}

/// Every way is served, and the broker's memory has not grown.
fn expect_health(site: &mut Site, before_kib: u64, requests: usize, case: &str) {
    assert!(site.broker.is_alive(), "{case}: the broker has ended");
    let grown = site.broker.resident_kib().saturating_sub(before_kib);
    assert!(grown <= GROWTH_KIB, "{case}: the broker grew by {grown} KiB");
    assert_eq!(site.maps.count() + site.policies.count(), requests, "{case}: requests to the API");
}

fn expect_service(site: &Site, case: &str) {
    for way in Way::ALL {
        assert_eq!(site.map(way).look_up("demo", "healthy"), "OK yes", "{case}, then by {way:?}");
        let reply = site.policy(way, "checks").ask(&[("recipient", "healthy")]);
        assert_eq!(reply, "action=DUNNO\n\n", "{case}, then by {way:?}");
    }
}

/// A site that has served each kind of request once, and the memory that it has then.
fn warm() -> (Site, u64) {
    let site = Site::start(api);
    expect_service(&site, "at first");
    let resident = site.broker.resident_kib();
    (site, resident)
}

#[test]
fn a_broken_netstring_closes_the_connection() {
    let (mut site, resident) = warm();
    let requests = site.maps.count() + site.policies.count();
    for way in Way::ALL {
        for (what, input) in socketmap_input() {
            let case = format!("{what} by {way:?}");
            expect_close(site.map(way), &input, &case);
            expect_health(&mut site, resident, requests, &case);
        }
    }
    expect_service(&site, "at last");
}

#[test]
fn a_broken_policy_request_closes_the_connection() {
    let (mut site, resident) = warm();
    let requests = site.maps.count() + site.policies.count();
    for way in Way::ALL {
        for (what, input) in policy_input() {
            let case = format!("{what} by {way:?}");
            expect_close(site.policy(way, "checks"), &input, &case);
            expect_health(&mut site, resident, requests, &case);
        }
    }
    expect_service(&site, "at last");
}

#[test]
fn the_end_of_the_stream_within_a_request_makes_no_request() {
    let (mut site, resident) = warm();
    let requests = site.maps.count() + site.policies.count();
    let map = netstring("demo user@example.com");
    let policy = b"request=smtpd_access_policy\nrecipient=a@example.com\n\n";
    for way in Way::ALL {
        for cut in 0..map.len() {
            let mut peer = site.map(way);
            peer.send(&map[..cut]);
            peer.half_close();
            let rest = peer.rest();
            assert!(rest.is_empty(), "{cut} bytes of a lookup by {way:?}: {}", shown(&rest));
        }
        for cut in (0..policy.len()).step_by(7).chain([policy.len() - 2, policy.len() - 1]) {
            let mut peer = site.policy(way, "checks");
            peer.send(&policy[..cut]);
            peer.half_close();
            let rest = peer.rest();
            assert!(rest.is_empty(), "{cut} bytes of a request by {way:?}: {}", shown(&rest));
        }
        expect_health(&mut site, resident, requests, &format!("by {way:?}"));
    }
    expect_service(&site, "at last");
}

#[test]
fn earlier_requests_are_answered_before_the_close() {
    let site = Site::start(api);
    for way in Way::ALL {
        let mut peer = site.map(way);
        peer.send([netstring("demo healthy"), b"-1:".to_vec()].concat());
        let rest = peer.rest();
        assert_eq!(shown(&rest), shown(b"6:OK yes,"), "by {way:?}");
    }
}

/// What a client sends to a broker before it gets an answer: its hello and one lookup.
fn hello_and_lookup(site: &Site) -> Vec<u8> {
    let path = site.directory().join("listening.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket for the client");
    let (_client, mut postfix) =
        Client::spawn(&["--socket".as_ref(), path.as_ref(), "--no-hand-over".as_ref(), "socketmap".as_ref()]);
    std::io::Write::write_all(&mut postfix, &netstring("demo healthy")).expect("the client reads");
    let (mut stream, _) = listener.accept().expect("the client comes");
    let mut said = vec![0; 4096];
    let read = std::io::Read::read(&mut stream, &mut said).expect("the client says hello");
    said.truncate(read);
    said
}

#[test]
fn garbage_on_the_local_socket_closes_the_connection() {
    let (mut site, resident) = warm();
    let requests = site.maps.count() + site.policies.count();
    let announced = b"\xff\xff\xff\xff".as_slice();
    for (what, input) in [
        ("a frame of 4 GB", announced.to_vec()),
        ("a frame of 4 GB, and its beginning", [announced, &[b'x'; 64]].concat()),
        ("a frame of 2 GB", b"\xff\xff\xff\x7f\xff\xff\xff\x7f".to_vec()),
        ("zeros", vec![0; 4096]),
        ("random bytes", garbage()),
        ("ten MB", vec![b'a'; 10 << 20]),
        ("a request of Postfix", netstring("demo healthy")),
    ] {
        expect_close(Peer::unix(&site.ipc()), &input, what);
        expect_health(&mut site, resident, requests, what);
    }
    let mut changed = hello_and_lookup(&site);
    changed[0] ^= 0x55;
    let mut peer = Peer::unix(&site.ipc());
    peer.send(&changed);
    peer.half_close();
    let rest = peer.rest();
    assert!(!contains(&rest, b"yes"), "a changed hello: got {}", shown(&rest));
    expect_health(&mut site, resident, requests, "a changed hello");
    expect_service(&site, "at last");
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn a_frame_of_4_gb_behind_a_good_one_closes_the_connection() {
    let (mut site, resident) = warm();
    let hello = hello_and_lookup(&site);
    let requests = site.maps.count() + site.policies.count();
    let mut peer = Peer::unix(&site.ipc());
    peer.send(&hello);
    assert!(site.maps.wait_for(requests - site.policies.count() + 1, crate::support::PATIENCE));
    peer.send(b"\xff\xff\xff\xff");
    let rest = peer.rest();
    assert!(contains(&rest, b"yes"), "the lookup was answered: {}", shown(&rest));
    expect_health(&mut site, resident, requests + 1, "a frame of 4 GB behind a lookup");
    expect_service(&site, "at last");
}
