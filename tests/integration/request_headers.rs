//! The headers of a request: those that an entry sets, and those that every request has.

use std::fs;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::setup::Setup;

const USER_AGENT: &str = concat!("PostfixToHTTP/", env!("CARGO_PKG_VERSION"));

/// All values of a header.
fn values<'r>(request: &'r Request, name: &str) -> Vec<&'r str> {
    let headers = request.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    headers.map(|(_, value)| value.as_str()).collect()
}

fn api() -> Backend {
    Backend::constant(r#"{"value": "v", "action": "DUNNO"}"#)
}

/// The request that a map with these lines causes.
fn request_of(lines: &[&str]) -> Request {
    let api = api();
    let setup = Setup::start(|config| config.map("m", &api.url("/"), lines));
    assert_eq!(setup.map().look_up("m", "k"), "OK v", "{lines:?}");
    api.last()
}

#[test]
fn a_request_has_user_agent_and_content_headers() {
    let request = request_of(&[]);
    assert_eq!(values(&request, "user-agent"), [USER_AGENT]);
    assert_eq!(values(&request, "content-type"), ["application/json"]);
    assert_eq!(values(&request, "content-length"), [request.body.len().to_string()]);
    for absent in ["accept-encoding", "content-encoding", "authorization", "cookie", "transfer-encoding"] {
        assert_eq!(values(&request, absent), Vec::<&str>::new(), "{absent}");
    }
}

#[test]
fn custom_headers_replace_the_default_ones() {
    let lines =
        ["custom_headers: [\"User-Agent: test/1\", \"Content-Type: text/plain\", \"X-Api-Key: a:b c\"]"];
    let request = request_of(&lines);
    assert_eq!(values(&request, "user-agent"), ["test/1"]);
    assert_eq!(values(&request, "content-type"), ["text/plain"]);
    assert_eq!(values(&request, "x-api-key"), ["a:b c"]);
}

#[test]
fn the_host_header_may_differ_from_the_url() {
    let request = request_of(&["custom_headers: [\"Host: api.test.example\"]"]);
    assert_eq!(values(&request, "host"), ["api.test.example"]);
    assert_eq!(request.path, "/", "the request line is that of an origin server");
}

#[test]
fn a_name_and_a_password_are_basic_authentication() {
    let request = request_of(&["http_auth_basic: \"user:secret\""]);
    assert_eq!(values(&request, "authorization"), ["Basic dXNlcjpzZWNyZXQ="]);
    let request = request_of(&["http_auth_basic: \"us:er:sec ret\""]);
    assert_eq!(values(&request, "authorization"), ["Basic dXM6ZXI6c2VjIHJldA=="]);
}

#[test]
fn the_password_may_be_in_a_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("secret");
    fs::write(&file, "user:secret\n").expect("a file can be written");
    let request = request_of(&[&format!("http_auth_basic_file: \"{}\"", file.display())]);
    assert_eq!(values(&request, "authorization"), ["Basic dXNlcjpzZWNyZXQ="]);
}

/// The idempotency keys of these policy requests, asked one after the other on one connection.
fn keys(api: &Backend, setup: &Setup, name: &str, requests: &[&[(&str, &str)]]) -> Vec<String> {
    let mut peer = setup.policy(name);
    let mut keys = Vec::new();
    for attributes in requests {
        assert_eq!(peer.ask(attributes), "action=DUNNO\n\n", "{attributes:?}");
        let request = api.last();
        let sent = values(&request, "idempotency-key");
        assert_eq!(sent.len(), 1, "one Idempotency-Key in {request:?}");
        keys.push(sent[0].to_owned());
    }
    keys
}

#[test]
fn a_policy_request_has_a_key_of_its_own() {
    let api = api();
    let setup =
        Setup::start(|config| config.policy("p", &api.url("/"), &[]).policy("other", &api.url("/"), &[]));
    let one = [("protocol_state", "RCPT"), ("sender", "a@example.com"), ("instance", "12.34.5")];
    let two = [("protocol_state", "RCPT"), ("sender", "b@example.com"), ("instance", "12.34.5")];
    let three = [("protocol_state", "RCPT"), ("sender", "a@example.com"), ("instance", "12.34.6")];
    let empty = [("protocol_state", "RCPT"), ("sender", "a@example.com"), ("instance", "")];
    let none = [("protocol_state", "RCPT"), ("sender", "a@example.com")];
    let got = keys(&api, &setup, "p", &[&one, &one, &two, &three, &empty, &empty, &none, &none]);
    assert_eq!(got[0], got[1], "the same request has the same key");
    let mut different = [&got[1..], &keys(&api, &setup, "other", &[&one])].concat();
    different.sort();
    let count = different.len();
    different.dedup();
    assert_eq!(different.len(), count, "other requests have other keys: {got:?}");
    assert!(got.iter().all(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())));
    assert!(got.iter().all(|key| !key.contains("example")), "a key reveals no attribute: {got:?}");
}

#[test]
fn the_key_is_the_same_by_each_way() {
    let api = api();
    let setup = Setup::start(|config| config.policy("p", &api.url("/"), &[]));
    let one = [("protocol_state", "RCPT"), ("sender", "a@example.com"), ("instance", "12.34.5")];
    let key = keys(&api, &setup, "p", &[&one]);
    assert_eq!(setup.client(&["policy", "p"]).ask(&one), "action=DUNNO\n\n");
    assert_eq!(values(&api.last(), "idempotency-key"), [key[0].as_str()]);
}

#[test]
fn the_key_is_the_same_when_a_request_is_sent_again() {
    let api =
        Backend::start(
            |request| {
                if request.nth > 1 { Reply::Reset } else { Reply::json(r#"{"action": "DUNNO"}"#) }
            },
        );
    let setup = Setup::start(|config| config.policy("p", &api.url("/"), &[]));
    let mut peer = setup.policy("p");
    for instance in ["", "12.34.5"] {
        peer.ask(&[("sender", "first"), ("instance", "1")]);
        let before = api.count();
        let asked = [("sender", "a@example.com"), ("instance", instance)];
        assert_eq!(peer.ask(&asked), "action=DUNNO\n\n", "the reset of a kept connection is no failure");
        let seen = api.requests().split_off(before);
        assert_eq!(seen.len(), 2, "one request on the kept connection, one on a new one");
        let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key")).collect();
        assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?} with instance {instance:?}");
        assert_eq!(seen[0].body, seen[1].body, "the same request");
    }
}
