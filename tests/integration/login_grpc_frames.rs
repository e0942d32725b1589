//! Logins over gRPC with a peer whose frames of HTTP/2 are legal, but are not what a service sends.

use crate::login_grpc::log_in;
use crate::support::http2_peer::{DATA, GOAWAY, Http2Peer, frame, no_settings};
use crate::support::setup::Setup;

const PASSWORD: &str = "hunter-two";

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
