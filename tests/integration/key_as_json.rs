//! A key or attribute of any text reaches the API as one JSON string.

use serde_json::json;

use crate::support::peer::netstring;
use crate::support::site::{Site, Way};

/// Texts that would break a template without escaping, or a parser.
const KEYS: [&str; 22] = [
    "user@example.com",
    "a b@example.com",
    "\"a b\"@example.com",
    " leading and trailing ",
    "two  blanks",
    "back\\slash",
    "\\",
    "\"",
    "'",
    "<>",
    "*",
    "@example.com",
    "José@example.com",
    "用户@例え.jp",
    "{{",
    "{{ .Key }}",
    "{{ .Name }}\"}}",
    "\",\"admin\":\"1",
    "</script>&amp;%22%00",
    "tab\there",
    "line\nfeed\r",
    "\u{7f}\u{85}\u{2028}\u{1}",
];

#[test]
fn a_key_is_exactly_one_json_string() {
    let site = Site::constant(r#"{"value": "v"}"#);
    for way in Way::ALL {
        let mut peer = site.map(way);
        for key in KEYS {
            assert_eq!(peer.look_up("demo", key), "OK v", "{key:?} by {way:?}");
            assert_eq!(site.maps.last().json(), json!({ "key": key }), "by {way:?}");
        }
        assert_eq!(site.maps.last().method, "POST");
    }
}

#[test]
fn a_long_key_is_a_key() {
    let site = Site::constant(r#"{"value": "v"}"#);
    let key = "ü\"".repeat(34_000); // 102000 bytes: header_size_limit and a little
    for way in Way::ALL {
        assert_eq!(site.map(way).look_up("demo", &key), "OK v", "by {way:?}");
        assert!(site.maps.last().json()["key"] == key.as_str(), "the key arrives whole, by {way:?}");
    }
}

#[test]
fn a_policy_attribute_is_exactly_one_json_string() {
    let site = Site::constant(r#"{"action": "DUNNO"}"#);
    for way in Way::ALL {
        let mut peer = site.policy(way, "checks");
        for value in KEYS.iter().filter(|key| !key.contains('\n')) {
            let attributes = [("protocol_state", "RCPT"), ("recipient", value), ("size", "0")];
            assert_eq!(peer.ask(&attributes), "action=DUNNO\n\n", "{value:?} by {way:?}");
            let body = site.policies.last().json();
            let members = body.as_object().expect("the body is an object");
            assert_eq!(body["recipient"], *value, "{body} by {way:?}");
            assert_eq!(body["protocol_state"], "RCPT", "{body} by {way:?}");
            let unknown: Vec<_> = members.keys().filter(|name| !known(name)).collect();
            assert!(unknown.is_empty(), "{unknown:?} of {body} by {way:?}");
        }
    }
}

fn known(name: &str) -> bool {
    ["request", "protocol_state", "recipient", "size"].contains(&name)
}

#[test]
fn keys_that_postfix_would_not_send_are_not_found_without_a_request() {
    let site = Site::constant(r#"{"value": "v"}"#);
    for way in Way::ALL {
        let mut peer = site.map(way);
        for key in [b"".as_slice(), b"\xff\xfe", b"Jos\xe9@example.com", b"\xed\xa0\x80", b"cut\xc3"] {
            peer.send(netstring([b"demo ", key].concat()));
            let got = peer.up_to(12);
            assert_eq!(got, b"9:NOTFOUND ,", "{:?} by {way:?}", key.escape_ascii().to_string());
        }
    }
    assert_eq!(site.maps.count(), 0, "no request was made: {:?}", site.maps.requests());
}
