//! Arbitrary bytes in keys, attributes and answers add no structure: each request has the shape that
//! the configuration gives it, each reply is one line.

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};
use serde_json::Value;

use crate::support::backend::{Backend, Reply};
use crate::support::config::Config;
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::setup::Setup;
use crate::support::shown;

const CASES: u32 = 200;
const VALUE: &str = r#"{"value": "v", "action": "DUNNO"}"#;

fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Cases { cases: CASES, failure_persistence: None, ..Cases::default() };
    TestRunner::new(config).run(&strategy, test).unwrap_or_else(|error| panic!("{error}"));
}

/// Characters that have a meaning in one of the formats on the way.
const SPECIAL: [&str; 26] = [
    "\"", "\\", "\n", "\r\n", "\t", " ", "/", "?", "#", "&", "=", "%", "%00", "..", "{{", "}}", ":", ",",
    "\u{2028}", "\u{7f}", "é", "\u{feff}", "@", ".", "%2e", ";",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(&SPECIAL[..]).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
        1 => any::<char>().prop_map(String::from),
    ];
    // A NUL ends the connection (see `malformed_input`), so it is left out here.
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat().replace('\0', "+"))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![text().prop_map(String::into_bytes), prop::collection::vec(1u8.., 0..60)]
}

/// Reads one whole netstring that holds one line, and checks that nothing follows it.
fn one_reply(peer: &mut Peer) -> Result<String, TestCaseError> {
    let reply = peer.reply();
    prop_assert!(!reply.contains(['\n', '\r', '\0']), "{reply:?}");
    prop_assert!(
        ["OK ", "NOTFOUND ", "TEMP ", "PERM "].iter().any(|word| reply.starts_with(word)),
        "{reply:?}"
    );
    peer.send(netstring("sentinel x"));
    prop_assert_eq!(peer.reply(), "OK sentinel", "one reply for one request");
    Ok(reply)
}

/// The map with which [`one_reply`] checks that request and reply still belong together.
fn sentinel(config: Config, api: &Backend) -> Config {
    config.map("sentinel", &api.url("/"), &[])
}

fn sentinel_api() -> Backend {
    Backend::constant(r#"{"value": "sentinel"}"#)
}

#[test]
fn a_key_becomes_one_json_string() {
    let (api, calm) = (Backend::constant(VALUE), sentinel_api());
    let setup = Setup::start(|config| {
        let payload =
            r#"payload: '{"a": "x-{{ .Key }}-y", "b": {{ .Key }}, "d": ["{{ .Key | domain }}", {}]}'"#;
        let target = format!("target: \"{}\"", api.url("/"));
        sentinel(config, &calm).map_of("m", &[&target, payload, "value_field: value"])
    });
    let peer = std::cell::RefCell::new(setup.map());
    check(bytes(), |key| {
        let (mut peer, before) = (peer.borrow_mut(), api.count());
        peer.send(netstring([b"m ", key.as_slice()].concat()));
        let reply = one_reply(&mut peer)?;
        match String::from_utf8(key) {
            Ok(key) if !key.is_empty() => {
                let domain = key.rsplit_once('@').map_or("", |(_, domain)| domain);
                let due = serde_json::json!({ "a": format!("x-{key}-y"), "b": key, "d": [domain, {}] });
                prop_assert_eq!(reply, "OK v");
                prop_assert_eq!(api.count(), before + 1);
                prop_assert_eq!(api.last().json(), due);
            }
            _ => {
                prop_assert_eq!(reply, "NOTFOUND ");
                prop_assert_eq!(api.count(), before, "no request is made");
            }
        }
        Ok(())
    });
}

/// Decodes `%XX`.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex: Vec<u8> = if byte == b'%' { rest.by_ref().take(2).collect() } else { Vec::new() };
        let escaped = std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
    }
    bytes
}

/// Whether some server may resolve a segment to another place: it is empty, or it is dots between
/// slashes of any kind, escaped any number of times, before any parameters.
fn leads_elsewhere(key: &str) -> bool {
    let mut text = key.as_bytes().to_vec();
    let escape = |three: &[u8]| match three {
        [b'%', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => {
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }
        _ => None,
    };
    while let Some((at, byte)) =
        text.windows(3).enumerate().find_map(|(at, three)| Some((at, escape(three)?)))
    {
        text.splice(at..at + 3, [byte]);
    }
    let mut parts = text.split(|byte| b"/\\".contains(byte));
    let is_dots = |part: &[u8]| matches!(part.split(|byte| *byte == b';').next(), Some(b"." | b".."));
    parts.clone().any(is_dots) || parts.all(<[u8]>::is_empty)
}

#[test]
fn a_key_becomes_one_path_segment_and_one_query_parameter() {
    let (api, calm) = (Backend::constant(VALUE), sentinel_api());
    let setup = Setup::start(|config| {
        let url = api.url("/a/{{ .Key | urlencode }}/z?k={{ .Key | urlencode }}&l=1");
        let target = format!("target: \"{url}\"");
        sentinel(config, &calm).map_of("m", &["method: GET", &target, "value_field: value"])
    });
    let peer = std::cell::RefCell::new(setup.map());
    peer.borrow_mut().look_up("m", "plain");
    let names = |api: &Backend| api.last().headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let usual = names(&api);
    check(text(), |key| {
        let (mut peer, before) = (peer.borrow_mut(), api.count());
        peer.send(netstring(format!("m {key}")));
        let reply = one_reply(&mut peer)?;
        if api.count() == before {
            prop_assert_eq!(reply, "NOTFOUND ");
            let is_left_out = leads_elsewhere(&key);
            prop_assert!(is_left_out, "{key:?} makes no request");
            return Ok(());
        }
        prop_assert!(!leads_elsewhere(&key), "{key:?} is sent");
        let request = api.last();
        prop_assert_eq!((reply.as_str(), api.count(), request.body.len()), ("OK v", before + 1, 0));
        prop_assert_eq!(names(&api), usual.clone());
        prop_assert!(request.path.bytes().all(|byte| byte.is_ascii_graphic()), "{}", request.path);
        let inner = request.path.strip_prefix("/a/").and_then(|path| path.strip_suffix("&l=1"));
        let parts = inner.and_then(|inner| inner.split_once("/z?k="));
        let parts = parts.ok_or_else(|| TestCaseError::fail(format!("the path is {}", request.path)))?;
        for part in [parts.0, parts.1] {
            prop_assert!(!part.contains(['/', '?', '#', '&', '=']), "{}", request.path);
            prop_assert_eq!(decoded(part), key.as_bytes());
        }
        Ok(())
    });
}

#[test]
fn an_attribute_becomes_one_json_string() {
    let api = Backend::constant(VALUE);
    let setup = Setup::start(|config| {
        let payload = r#"payload: '{"request": {{ .Key }}, "who": "{{ .Sender }}", "to": {{ .Recipient }}}'"#;
        let target = format!("target: \"{}\"", api.url("/"));
        config.policy_of("p", &[&target, payload, "value_field: action"])
    });
    let peer = std::cell::RefCell::new(setup.policy("p"));
    let value = || text().prop_map(|text| text.replace(['\n', '\0'], "+"));
    check((value(), value()), |(sender, recipient)| {
        let (mut peer, before) = (peer.borrow_mut(), api.count());
        let asked = [("sender", sender.as_str()), ("recipient", &recipient), ("instance", "1")];
        peer.send(policy_request(&asked));
        prop_assert_eq!(peer.action(), "action=DUNNO\n\n");
        prop_assert_eq!(api.count(), before + 1);
        let inner = serde_json::json!({
            "request": "smtpd_access_policy", "sender": sender, "recipient": recipient, "instance": "1",
        });
        let due = serde_json::json!({ "request": inner, "who": sender, "to": recipient });
        prop_assert_eq!(api.last().json(), due);
        Ok(())
    });
}

/// What an API may send: a value of any characters, a body of any bytes, or any bytes instead of HTTP.
fn answer() -> impl Strategy<Value = Reply> {
    let told = |text: String| {
        let text = Value::String(text);
        Reply::json(&format!(r#"{{"value": {text}, "action": {text}}}"#))
    };
    let failed = |text: String| Reply::json(&format!(r#"{{"error": {}}}"#, Value::String(text)));
    let body = |body: Vec<u8>| Reply::Answer { status: 200, headers: Vec::new(), body };
    let behind = |bytes: Vec<u8>| Reply::Raw([b"HTTP/1.1 200 OK\r\n".as_slice(), &bytes].concat());
    prop_oneof![
        3 => text().prop_map(told),
        1 => text().prop_map(failed),
        1 => bytes().prop_map(body),
        1 => bytes().prop_map(behind),
        1 => bytes().prop_map(Reply::Raw),
    ]
}

#[test]
fn an_answer_becomes_one_line() {
    let (api, calm) = (Backend::constant(VALUE), sentinel_api());
    let setup = Setup::start(|config| {
        let config = config.map("m", &api.url("/"), &["timeout: 2s"]);
        sentinel(config, &calm).policy("p", &api.url("/"), &["timeout: 2s"])
    });
    let (map, policy) = (std::cell::RefCell::new(setup.map()), std::cell::RefCell::new(setup.policy("p")));
    check(answer(), |reply| {
        api.answer_with(move |_| reply.clone());
        let mut map = map.borrow_mut();
        map.send(netstring("m k"));
        one_reply(&mut map)?;
        let mut policy = policy.borrow_mut();
        policy.send(policy_request(&[("sender", "a@example.com")]));
        let action = policy.action();
        let line = action.strip_prefix("action=").and_then(|rest| rest.strip_suffix("\n\n"));
        let is_line = |line: &str| !line.is_empty() && !line.contains(['\n', '\r', '\0']);
        prop_assert!(line.is_some_and(is_line), "{}", shown(action.as_bytes()));
        api.answer_with(|_| Reply::json(r#"{"action": "HOLD in step"}"#));
        policy.send(policy_request(&[("sender", "a@example.com")]));
        prop_assert_eq!(policy.action(), "action=HOLD in step\n\n", "one reply for one request");
        Ok(())
    });
}
