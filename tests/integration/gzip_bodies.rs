//! gzip of requests and answers: only if the entry says so, and always bounded.

use crate::support::backend::{Backend, Reply};
use crate::support::gzip::{bomb, gunzip, gzip};
use crate::support::setup::Setup;

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &[u8] = br#"{"value": "v"}"#;
const ON: &[&str] = &["http_response_compression: true"];

fn gzipped(body: Vec<u8>) -> Reply {
    Reply::with_header("Content-Encoding", "gzip", body)
}

#[test]
fn a_request_is_compressed_if_the_entry_says_so() {
    let api = Backend::constant(r#"{"value": "v", "action": "DUNNO"}"#);
    let setup = Setup::start(|config| {
        let on = ["http_request_compression: true"];
        let config = config.map("on", &api.url("/"), &on).policy("p", &api.url("/"), &on);
        config.map("off", &api.url("/"), &["http_request_compression: false"])
    });
    let mut peer = setup.map();
    for key in ["k".to_owned(), "long ".repeat(10_000)] {
        assert_eq!(peer.look_up("on", &key), "OK v", "{key:.20}");
        let request = api.last();
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_slice(&gunzip(&request.body)).expect("JSON");
        assert_eq!(body, serde_json::json!({ "key": key }));
    }
    assert!(api.last().body.len() < 5_000, "50 kB of repetition become {}", api.last().body.len());
    assert_eq!(setup.policy("p").ask(&[("sender", "a@example.com")]), "action=DUNNO\n\n");
    let request = api.last();
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    let body: serde_json::Value = serde_json::from_slice(&gunzip(&request.body)).expect("JSON");
    assert_eq!(body["sender"], "a@example.com");
    assert_eq!(peer.look_up("off", "k"), "OK v");
    assert_eq!((api.last().header("content-encoding"), api.last().text("key")), (None, "k".to_owned()));
}

#[test]
fn accept_encoding_is_sent_if_the_entry_says_so() {
    let api = Backend::start(|_| gzipped(gzip(VALUE)));
    let setup = Setup::start(|config| config.map("on", &api.url("/"), ON).map("off", &api.url("/"), &[]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("on", "k"), "OK v");
    assert_eq!(api.last().header("accept-encoding"), Some("gzip"));
    assert_eq!(peer.look_up("off", "k"), TEMP, "compressed, although this was not accepted");
    assert_eq!(api.last().header("accept-encoding"), None);
}

/// What an API sends with `Content-Encoding: gzip`, and the reply.
fn rows() -> Vec<(&'static str, Reply, &'static str)> {
    let whole = gzip(VALUE);
    let mut checksum = whole.clone();
    let place = checksum.len() - 8;
    checksum[place] ^= 0x55;
    let mut length = whole.clone();
    *length.last_mut().expect("a trailer") ^= 0x55;
    let mut inside = whole.clone();
    inside[12] ^= 0x55;
    let encoded = |name: &str, body: &[u8]| Reply::with_header("Content-Encoding", name, body);
    vec![
        ("whole", gzipped(whole.clone()), "OK v"),
        ("in capitals", encoded("GZIP", &whole), "OK v"),
        ("plain", Reply::json(r#"{"value": "v"}"#), "OK v"),
        ("1 MiB", gzipped(bomb((1 << 20) - 65_536)), "OK v"),
        ("cut in the trailer", gzipped(whole[..whole.len() - 1].to_vec()), TEMP),
        ("cut before the trailer", gzipped(whole[..whole.len() - 8].to_vec()), TEMP),
        ("cut in the middle", gzipped(whole[..whole.len() / 2].to_vec()), TEMP),
        ("the header alone", gzipped(whole[..10].to_vec()), TEMP),
        ("nothing", gzipped(Vec::new()), TEMP),
        ("a bad checksum", gzipped(checksum), TEMP),
        ("a bad length", gzipped(length), TEMP),
        ("a changed byte", gzipped(inside), TEMP),
        ("not compressed at all", gzipped(VALUE.to_vec()), TEMP),
        ("twice", gzipped(gzip(&whole)), TEMP),
        ("another encoding", encoded("br", VALUE), TEMP),
        ("two encodings", encoded("gzip, br", &whole), TEMP),
        ("without a word", Reply::with_header("X-Nothing", "x", whole), TEMP),
        ("2 MiB", gzipped(bomb(2 << 20)), TEMP),
    ]
}

#[test]
fn an_incomplete_or_corrupt_body_is_a_failure() {
    let api = Backend::constant("{}");
    let setup = Setup::start(|config| config.map("on", &api.url("/"), ON));
    let mut peer = setup.map();
    let (mut got, mut due) = (Vec::new(), Vec::new());
    for (what, reply, text) in rows() {
        api.answer_with(move |_| reply.clone());
        got.push(format!("{what}: {}", peer.look_up("on", what)));
        due.push(format!("{what}: {text}"));
    }
    assert_eq!(got, due);
}

/// 100 kB that decompress to 100 MB, several at a time: refused at the limit, before memory is taken.
#[test]
fn a_decompression_bomb_takes_no_memory() {
    const LIMIT_KIB: u64 = 16 * 1024;
    let body = bomb(100_000_000);
    assert!(body.len() < 200_000, "the bomb is small: {}", body.len());
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("on", &api.url("/"), ON));
    let mut peers: Vec<_> = (0..8).map(|_| setup.map()).collect();
    for peer in &mut peers {
        assert_eq!(peer.look_up("on", "warm"), "OK v");
    }
    api.answer_with(move |_| gzipped(body.clone()));
    let before = setup.broker.resident_kib();
    setup.broker.forget_peak();
    std::thread::scope(|scope| {
        for (number, peer) in peers.iter_mut().enumerate() {
            scope.spawn(move || assert_eq!(peer.look_up("on", &format!("bomb {number}")), TEMP));
        }
    });
    let growth = setup.broker.peak_kib().saturating_sub(before);
    assert!(growth < LIMIT_KIB, "eight bombs cost {growth} KiB at the most");
}
