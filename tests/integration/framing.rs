//! Requests may arrive together, in single bytes, or with a half-close behind them: the replies are the
//! same, in the order of the requests.

use serde_json::json;

use crate::support::backend::{Reply, Request};
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::shown;
use crate::support::site::{Site, Way};

/// One of the two protocols. A request names the reply that it gets.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Socketmap,
    Policy,
}

const BOTH: [Protocol; 2] = [Protocol::Socketmap, Protocol::Policy];

impl Protocol {
    fn connect(self, site: &Site, way: Way) -> Peer {
        match self {
            Self::Socketmap => site.map(way),
            Self::Policy => site.policy(way, "checks"),
        }
    }

    fn request(self, key: &str) -> Vec<u8> {
        match self {
            Self::Socketmap => netstring(format!("demo {key}")),
            Self::Policy => policy_request(&[("sender", ""), ("recipient", key), ("size", "0")]),
        }
    }

    fn reply(self, key: &str) -> Vec<u8> {
        match self {
            Self::Socketmap => netstring(format!("OK for {key}")),
            Self::Policy => format!("action=WARN for {key}\n\n").into_bytes(),
        }
    }
}

fn echo(request: &Request) -> Reply {
    let body = match request.path.as_str() {
        "/map" => json!({ "value": format!("for {}", request.text("key")) }),
        _ => json!({ "action": format!("WARN for {}", request.text("recipient")) }),
    };
    Reply::json(&body.to_string())
}

fn for_each(check: impl Fn(Protocol, &mut Peer, &str)) {
    let site = Site::start(echo);
    for way in Way::ALL {
        for protocol in BOTH {
            let mut peer = protocol.connect(&site, way);
            check(protocol, &mut peer, &format!("{protocol:?} by {way:?}"));
        }
    }
}

/// Reads the replies to these keys, and the end of the stream behind them.
fn expect_replies_and_end(protocol: Protocol, peer: &mut Peer, keys: &[&str], case: &str) {
    let due: Vec<u8> = keys.iter().flat_map(|key| protocol.reply(key)).collect();
    let got = peer.up_to(due.len());
    assert_eq!(shown(&got), shown(&due), "{case}");
    peer.half_close();
    let rest = peer.rest();
    assert!(rest.is_empty(), "{case}: {} came in addition", shown(&rest));
}

#[test]
fn requests_in_one_segment_are_answered_in_order() {
    for_each(|protocol, peer, case| {
        let keys = ["one", "two", "three"];
        peer.send(keys.map(|key| protocol.request(key)).concat());
        expect_replies_and_end(protocol, peer, &keys, case);
    });
}

#[test]
fn many_requests_in_one_segment_are_answered_in_order() {
    for_each(|protocol, peer, case| {
        let names: Vec<String> = (0..100).map(|number| format!("key{number}")).collect();
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        peer.send(keys.iter().flat_map(|key| protocol.request(key)).collect::<Vec<u8>>());
        expect_replies_and_end(protocol, peer, &keys, case);
    });
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    for_each(|protocol, peer, case| {
        for byte in protocol.request("slowly") {
            peer.send([byte]);
        }
        expect_replies_and_end(protocol, peer, &["slowly"], case);
    });
}

#[test]
fn a_request_with_a_part_of_the_next_one_is_answered_at_once() {
    for_each(|protocol, peer, case| {
        let second = protocol.request("second");
        for cut in 1..second.len() {
            let (head, tail) = second.split_at(cut);
            peer.send([&protocol.request("first"), head].concat());
            let due = protocol.reply("first");
            assert_eq!(shown(&peer.up_to(due.len())), shown(&due), "{case}, cut at {cut}");
            peer.send(tail);
            let due = protocol.reply("second");
            assert_eq!(shown(&peer.up_to(due.len())), shown(&due), "{case}, cut at {cut}");
        }
    });
}

#[test]
fn a_request_before_a_half_close_is_answered() {
    for_each(|protocol, peer, case| {
        peer.send(protocol.request("last"));
        peer.half_close();
        let got = peer.rest();
        assert_eq!(shown(&got), shown(&protocol.reply("last")), "{case}");
    });
}

#[test]
fn several_requests_before_a_half_close_are_answered() {
    for_each(|protocol, peer, case| {
        peer.send(["a", "b", "c"].map(|key| protocol.request(key)).concat());
        peer.half_close();
        let due: Vec<u8> = ["a", "b", "c"].iter().flat_map(|key| protocol.reply(key)).collect();
        let got = peer.rest();
        assert_eq!(shown(&got), shown(&due), "{case}");
    });
}

/// Postfix hangs up when it is done; spawn(8) logs a warning for an exit code other than 0.
#[test]
fn a_client_whose_postfix_hung_up_exits_with_0() {
    let site = Site::start(echo);
    for protocol in BOTH {
        let mut peer = protocol.connect(&site, Way::Client);
        peer.send(protocol.request("k"));
        peer.half_close();
        let got = peer.rest();
        assert_eq!(shown(&got), shown(&protocol.reply("k")));
        assert_eq!(peer.exit_code(), Some(0), "{protocol:?}");
    }
}
