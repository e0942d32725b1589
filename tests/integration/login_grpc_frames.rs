//! Logins over gRPC with a peer whose frames of HTTP/2 are legal, but are not what a service sends.

use crate::login_grpc::log_in;
use crate::support::http2_peer::{
    DATA, GOAWAY, HEAD, Heard, Http2Peer, OK, answer, answer_of, frame, message, no_settings, settings,
};
use crate::support::setup::Setup;

const PASSWORD: &str = "hunter-two";
const RIGHT: &str = "OK\t1\tuser=u";

/// What a service says that accepts every login.
fn accepts(heard: &Heard) -> Vec<u8> {
    match heard {
        heard if heard.is_settings() => no_settings(),
        heard if heard.is_end() => answer(heard.stream, &message(b"\x10\x01")),
        _ => Vec::new(),
    }
}

fn setup(peer: &Http2Peer, timeout: &str) -> Setup {
    let grpc = format!("grpc: {{address: \"{}\", timeout: {timeout}}}", peer.address());
    let lines = ["transport: grpc", "failure_delay: 0s", "sasl_penalty: false", "sasl_attempts: 0", &grpc];
    Setup::start(|config| config.login_of("users", &lines))
}

#[test]
fn what_a_goaway_holds_is_not_logged() {
    let peer = Http2Peer::start(|heard| {
        if heard.kind == DATA && !heard.payload.is_empty() {
            // The last stream is 0, the error is INTERNAL_ERROR; then a part of the request.
            let debug_data = [&[0, 0, 0, 0, 0, 0, 0, 2], &heard.payload[5..]].concat();
            return Some(frame(GOAWAY, 0, 0, &debug_data));
        }
        Some(if heard.is_settings() { no_settings() } else { Vec::new() })
    });
    let setup = setup(&peer, "5s");
    assert_eq!(log_in(&setup, "users", "u", PASSWORD), "closed");
    assert!(
        setup.broker.logged(&["trouble with a target", "GOAWAY of the peer: "]),
        "{}",
        setup.broker.log()
    );
    let log = setup.broker.log();
    assert!(!log.contains(PASSWORD), "{log}");
    assert!(peer.count(PASSWORD) > 0);
}

#[test]
fn the_password_of_a_login_that_is_over_is_not_sent() {
    // On its first connection it says nothing at first.
    let peer = Http2Peer::start(|heard| match heard.connection {
        0 => Some(Vec::new()),
        _ => Some(accepts(heard)),
    });
    let setup = setup(&peer, "1s");
    assert_eq!(log_in(&setup, "users", "u", PASSWORD), "closed");
    assert_eq!(log_in(&setup, "users", "u", "another"), RIGHT);
    peer.say(0, &no_settings());
    // No call of it is left.
    peer.wait_for_end(0);
    assert_eq!(peer.count(PASSWORD), 0, "{:?}", peer.heard());
    assert_eq!(peer.count("another"), 1);
}

#[test]
fn a_login_that_was_not_sent_goes_to_a_new_connection() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    // It takes no call and goes away, or closes the connection.
    for goes in [Some(frame(GOAWAY, 0, 0, &[0; 8])), None] {
        let peer = Http2Peer::start(move |heard| match (heard.connection, heard.is_settings()) {
            (0, true) => Some(settings(MAX_CONCURRENT_STREAMS, 0)),
            // Its SETTINGS are acknowledged.
            (0, false) => goes.clone(),
            _ => Some(accepts(heard)),
        });
        let setup = setup(&peer, "5s");
        assert_eq!(log_in(&setup, "users", "u", PASSWORD), RIGHT);
        assert_eq!(peer.count(PASSWORD), 1);
    }
}

#[test]
fn connections_without_an_end_that_take_no_call_are_a_failure() {
    let peer = Http2Peer::start(|heard| heard.is_settings().then(|| frame(GOAWAY, 0, 0, &[0; 8])));
    let setup = setup(&peer, "9s");
    assert_eq!(log_in(&setup, "users", "u", PASSWORD), "closed");
    let connections = peer.heard().iter().map(|heard| heard.connection).max();
    assert!(connections.is_some_and(|last| last < 3), "{connections:?}");
    assert_eq!(peer.count(PASSWORD), 0);
}

#[test]
fn an_answer_that_is_not_unary_is_none() {
    let accepted = message(b"\x10\x01");
    let both = [accepted.clone(), message(b"\x10\x02")].concat();
    // Of the static table: `:status: 500`.
    for (head, body, trailers, reason) in [
        (HEAD, &both, OK.to_vec(), "more follows its message"),
        (HEAD, &accepted, [OK, b"\x00\x0bgrpc-status\x017"].concat(), "it has more than one grpc-status"),
        (b"\x8e\x5f\x10application/grpc", &accepted, OK.to_vec(), "HTTP status 500"),
        (b"\x88\x5f\x09text/html", &accepted, OK.to_vec(), "its content-type is not application/grpc"),
        (b"\x88", &accepted, OK.to_vec(), "its content-type is not application/grpc"),
    ] {
        let body = body.clone();
        let peer = Http2Peer::start(move |heard| {
            let answer = || answer_of(heard.stream, head, &body, &trailers);
            Some(if heard.is_end() { answer() } else { accepts(heard) })
        });
        let setup = setup(&peer, "5s");
        assert_eq!(log_in(&setup, "users", "u", PASSWORD), "closed", "{reason}");
        let due = ["trouble with a target", "class=\"protocol\"", reason];
        assert!(setup.broker.logged(&due), "{reason}: {}", setup.broker.log());
        assert_eq!(peer.count(PASSWORD), 1, "{reason}");
    }
}
