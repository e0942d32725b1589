//! Rows 47 to 55: what Postfix, or a program in its place, may send.

use std::time::{Duration, Instant};

use crate::answers::due;
use crate::driver::{Lane, Talk, key, next_id, once};
use crate::ledger::{Asked, Heard, Rules};
use crate::protocol::{map_reply, policy_reply};
use crate::rig::{Rig, entries, play};
use crate::rows::row;
use crate::support::backend::{Backend, Reply};
use crate::support::config::Kind;
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::sasl::{Heard as Event, Sasl};
use crate::support::site::Way;
use crate::support::{pause, shown};

/// What the broker may gain in memory while hostile requests come in.
const GROWTH_KIB: u64 = 8 * 1024;

/// Sends input that need not be read to its end, and expects the end of the connection without a reply.
fn expect_close(mut peer: Peer, input: &[u8], what: &str) {
    let _closed_meanwhile = peer.try_send(input);
    let rest = peer.try_rest().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(rest.is_empty(), "{what}: got {}", shown(&rest));
}

/// Plays hostile input beside the usual traffic, which notices nothing.
fn beside_traffic(id: &'static str, hostile: impl FnOnce(&Rig)) {
    let row = row(id);
    let rig = Rig::start(&[]);
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(20);
    let before = rig.setup.broker.resident_kib();
    hostile(&rig);
    traffic.more(20);
    let grown = rig.setup.broker.resident_kib().saturating_sub(before);
    row.counted(traffic.end(Rules::default()));
    assert!(grown < GROWTH_KIB, "the broker grew by {grown} KiB");
}

/// 50 requests in one write; each reply belongs to its request.
fn pipelined(rig: &Rig, kind: Kind, peer: &mut Peer) {
    let ids: Vec<u64> = (0..50).map(|_| next_id()).collect();
    let mut bytes = Vec::new();
    for id in &ids {
        let (lane, due, at) = (if kind == Kind::Map { "m" } else { "p" }, due(kind, *id), Instant::now());
        rig.ledgers.asked.append(Asked { id: *id, lane, key: key(*id), due, at });
        bytes.extend(match kind {
            Kind::Map => netstring(format!("m {}", key(*id))),
            _ => policy_request(&[("recipient", &key(*id))]),
        });
    }
    peer.send(bytes);
    for id in ids {
        let reply = if kind == Kind::Map { map_reply(peer) } else { policy_reply(peer) };
        let said = reply.expect("a reply for each request");
        rig.ledgers.heard.append(Heard { id, said, at: Instant::now() });
    }
}

#[test]
fn row_47_single_bytes_and_pipelines() {
    let row = row("47");
    let rig = Rig::start(&[]);
    let in_bytes = |lane: Lane| Lane { is_in_bytes: true, ..lane };
    let ways = [Way::Unix, Way::Client, Way::Forwarding];
    let lanes: Vec<Lane> = ways.iter().flat_map(|way| rig.lanes(*way)).map(in_bytes).collect();
    let traffic = rig.traffic(&lanes);
    for _ in 0..4 {
        pipelined(&rig, Kind::Map, &mut rig.setup.map());
        pipelined(&rig, Kind::Policy, &mut rig.setup.policy("p"));
        pipelined(&rig, Kind::Map, &mut rig.setup.client(&["--no-hand-over", "socketmap"]));
        pipelined(&rig, Kind::Policy, &mut rig.setup.client(&["policy", "p"]));
    }
    traffic.more(40);
    row.counted(traffic.end(Rules::default()));
}

#[test]
fn row_48_half_a_request() {
    beside_traffic("48", |rig| {
        let map = netstring("m kept-for-ever");
        let policy = policy_request(&[("recipient", "half")]);
        for cut in 0..map.len() {
            let mut peer = rig.setup.map();
            peer.send(&map[..cut]);
            peer.half_close();
            assert!(peer.rest().is_empty(), "{cut} bytes of a lookup");
        }
        for cut in (0..policy.len()).step_by(5).chain([policy.len() - 1]) {
            let mut peer = rig.setup.policy("p");
            peer.send(&policy[..cut]);
            peer.half_close();
            assert!(peer.rest().is_empty(), "{cut} bytes of a policy request");
        }
        for line in ["AUTH\t1\tPLAIN\tresp=AGsxAHNlY3JldA==", "AUTH\t1\tPLAIN\tresp=AGsx"] {
            let mut sasl = rig.setup.login(Way::Unix, "users");
            sasl.peer().send(line);
            sasl.peer().half_close();
            let end = sasl.next(Duration::from_secs(5));
            assert!(matches!(end, Event::Closed(_) | Event::Reset), "{end:?}");
        }
    });
}

#[test]
#[ignore = "long: make faults"]
fn row_49_replies_are_not_read() {
    const VALUE: usize = 90_000;
    let row = row("49");
    let value = format!(r#"{{"value": "{}"}}"#, "v".repeat(VALUE));
    let large = Backend::start(move |_| Reply::json(&value));
    let rig = Rig::start_with(|config, api| entries(config, api, &[]).map("large", &large.url("/"), &[]));
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(20);
    let before = rig.setup.broker.resident_kib();
    let mut peers: Vec<Peer> = (0..20).map(|_| rig.setup.map()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        let requests = (0..40).map(|nth| netstring(format!("large {number}-{nth}")));
        peer.send(requests.flatten().collect::<Vec<u8>>());
    }
    // 30 s since the first reply that found no room, on a busy machine.
    pause(Duration::from_secs(38));
    let grown = rig.setup.broker.resident_kib().saturating_sub(before);
    for mut peer in peers {
        let got = peer.try_rest().unwrap_or_else(|error| panic!("it is not closed: {error}"));
        assert!(got.len() < 40 * VALUE, "it was closed before all replies");
    }
    traffic.more(20);
    row.counted(traffic.end(Rules::default()));
    assert!(grown < 32 * 1024, "the broker grew by {grown} KiB");
}

#[test]
fn row_50_netstrings_that_are_none() {
    beside_traffic("50", |rig| {
        for way in [Way::Unix, Way::Client] {
            for text in [
                "-1:",
                "99999999999:",
                "99999999999999999999999:m k1,",
                "10000000:m k1",
                "005:m k1,",
                ":,",
                " 4:m k1,",
                "x:m k1,",
                "4:m k1;",
                "4m k1,",
                "111111111111111111111111111111111111111111111111",
                "GET / HTTP/1.1\r\n\r\n",
            ] {
                let peer = match way {
                    Way::Unix => rig.setup.map(),
                    _ => rig.setup.client(&["socketmap"]),
                };
                expect_close(peer, text.as_bytes(), &format!("{text:?} by {way:?}"));
            }
        }
    });
}

#[test]
fn row_51_keys_that_are_no_text() {
    beside_traffic("51", |rig| {
        let bytes = |key: &[u8]| netstring([b"m ".as_slice(), key].concat());
        for key in [&b"\xff\xfek1"[..], b"k\xc3", b"\xed\xa0\x80k1", b"\xc0\xafk1", b""] {
            let mut peer = rig.setup.map();
            once(&rig.ledgers, "m", "of no request", "NOTFOUND ", || {
                peer.send(bytes(key));
                map_reply(&mut peer).ok()
            });
        }
        expect_close(rig.setup.map(), &bytes(b"a\0k1"), "NUL in a key");
        let nul = b"request=smtpd_access_policy\nrecipient=a\0b\n\n";
        expect_close(rig.setup.policy("p"), nul, "NUL in a policy request");
    });
}

/// What JSON, templates and protocols give a meaning, before the number of the request.
fn hostile_key(id: u64) -> String {
    format!("a\", \"key\": \"b\n{{{{ .Key }}}} {{% x %}} \\u0041\\ \r\n\t;,:'\u{e9}\u{2028}k{id}")
}

#[test]
fn row_52_keys_with_syntax() {
    let row = row("52");
    let rig = Rig::start(&[]);
    let lane = |way| Lane { talk: Talk::Map("m", hostile_key), ..rig.map(way, "m") };
    let traffic = rig.traffic(&[lane(Way::Unix), lane(Way::Client), lane(Way::Forwarding)]);
    traffic.more(100);
    row.counted(traffic.end(Rules::default()));
}

#[test]
fn row_53_policy_requests_without_end() {
    beside_traffic("53", |rig| {
        let open = b"request=smtpd_access_policy\n".to_vec();
        let many = "name=value\n".repeat(10_000).into_bytes();
        let short: String = (0..300).map(|number| format!("n{number}=\n")).collect();
        for way in [Way::Unix, Way::Client] {
            for (what, input) in [
                ("a line of 10 MB", [open.clone(), b"recipient=".to_vec(), vec![b'a'; 10 << 20]].concat()),
                ("10 MB without =", vec![b'a'; 10 << 20]),
                ("10,000 attributes", [open.clone(), many.clone()].concat()),
                ("300 attributes", [open.clone(), short.clone().into_bytes(), b"\n".to_vec()].concat()),
                ("a line without =", [open.clone(), b"recipient\n\n".to_vec()].concat()),
                ("an empty line", b"\n".to_vec()),
            ] {
                let peer = match way {
                    Way::Unix => rig.setup.policy("p"),
                    _ => rig.setup.client(&["policy", "p"]),
                };
                expect_close(peer, &input, &format!("{what} by {way:?}"));
            }
        }
    });
}

#[test]
fn row_54_a_line_end_in_the_action() {
    let row = row("54");
    let rig = Rig::start(&[]);
    play(&row, &rig, 40, Rules::default(), |request| {
        let text = "WARN one\\n\\naction=OK\\n\\n";
        let answer = Reply::json(&format!(r#"{{"value": "{text}", "action": "{text}"}}"#));
        let headers = [("Auth-Status", "OK"), ("Auth-User", "a\tb")];
        Some(if request.path == "/login" { Reply::with_headers(200, &headers, "") } else { answer })
    });
}

#[test]
fn row_55_dialogues_without_end() {
    beside_traffic("55", |rig| {
        let mut sasl = rig.setup.login(Way::Unix, "users");
        for block in 0..600_u32 {
            let ids = || (1..=100).map(|nth| block * 100 + nth);
            ids().for_each(|id| sasl.auth(id, "LOGIN", None));
            for id in ids() {
                assert_eq!(sasl.line(), format!("CONT\t{id}\tVXNlcm5hbWU6"));
            }
        }
        sasl.say("CONT\t99999999\tYQ==");
        assert!(sasl.line().starts_with("FAIL\t99999999\t"), "a number that was never used");
        sasl.auth(70_000, "LOGIN", None);
        assert!(sasl.line().starts_with("CONT\t70000\t"));
        sasl.say("CONT\t70000\t%%%");
        assert!(sasl.line().starts_with("FAIL\t70000\t"), "no base64");
        sasl.say("CONT\t70000\tYQ==");
        assert!(sasl.line().starts_with("FAIL\t70000\t"), "it has ended");
        used_number(rig);
    });
}

/// A number that is in use gets no second dialogue.
fn used_number(rig: &Rig) {
    let mut sasl: Sasl = rig.setup.login(Way::Unix, "users");
    sasl.auth(7, "LOGIN", None);
    assert!(sasl.line().starts_with("CONT\t7\t"));
    sasl.auth(7, "LOGIN", None);
    match sasl.next(Duration::from_secs(5)) {
        Event::Line(line) => {
            assert!(line.starts_with("CONT\t7\t") || line.starts_with("FAIL\t7\t"), "{line}")
        }
        Event::Closed(_) | Event::Reset => {}
        Event::Nothing => panic!("a number that is in use gets no reply"),
    }
}
