//! Cached policy actions: which ones are kept, and which requests get them. One user's `OK` is never
//! given to another.

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Config;
use crate::support::setup::Setup;

const FAILED: &str = "action=DEFER Temporary server problem\n\n";
const OK: &str = "action=OK\n\n";

/// Attributes that are part of the cache key whatever `cache_key` says. (`request` has one value only.)
const ALWAYS: [&str; 6] = [
    "protocol_state",
    "sasl_username",
    "sasl_method",
    "ccert_fingerprint",
    "ccert_pubkey_fingerprint",
    "server_port",
];
/// Attributes that are part of it only if `cache_key` names them.
const VOLATILE: [&str; 11] = [
    "instance",
    "queue_id",
    "client_port",
    "size",
    "stress",
    "recipient_count",
    "encryption_protocol",
    "encryption_cipher",
    "encryption_keysize",
    "ccert_subject",
    "ccert_issuer",
];
/// Some of the attributes that are part of it by default.
const USUAL: [&str; 9] = [
    "sender",
    "recipient",
    "client_address",
    "client_name",
    "helo_name",
    "protocol_name",
    "sasl_sender",
    "policy_context",
    "etrn_domain",
];

/// Settings with which a request may be answered without the API.
const MODES: [&[&str]; 6] = [
    &[],
    &["cache_key: [recipient]"],
    &["cache: {fresh: 1h}"],
    &["cache: {fresh: 1h}", "cache_key: [recipient]"],
    &["cache: {fresh: 1h, negative: 1h, stale_while_revalidate: 1h}"],
    &["cache: {fresh: 1h, negative: 1h, stale_while_revalidate: 1h}", "cache_key: [recipient]"],
];

fn cached(config: Config) -> Config {
    config.server("response_cache: {enabled: true, ttl: 1h}")
}

/// A request in which every attribute of the tables has the value `one`, except for `changed`.
fn request<'a>(changed: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let usual = USUAL.iter().chain(&ALWAYS).chain(&VOLATILE).map(|name| (*name, "one"));
    usual
        .filter_map(|(name, value)| match changed.iter().find(|(other, _)| *other == name) {
            Some((_, other)) => other.map(|other| (name, other)),
            None => Some((name, value)),
        })
        .collect()
}

/// Answers `OK` if ALWAYS and USUAL have the value `one`, else `REJECT`.
fn judge(request: &Request) -> Reply {
    let json = request.json();
    let strange = |name: &&&str| json.get(**name).is_none_or(|value| value != "one");
    let changed: Vec<_> = ALWAYS.iter().chain(&USUAL).filter(strange).collect();
    Reply::json(if changed.is_empty() { r#"{"action": "OK"}"# } else { r#"{"action": "REJECT no"}"# })
}

#[test]
fn an_ok_is_never_served_to_another() {
    for mode in MODES {
        let mut api = Backend::start(judge);
        let setup = Setup::start(|config| cached(config).policy("p", &api.url("/"), mode));
        let mut peer = setup.policy("p");
        assert_eq!(peer.ask(&request(&[])), OK, "{mode:?}");
        let others =
            || ALWAYS.iter().flat_map(|name| [None, Some(""), Some("ONE"), Some("two")].map(|v| (*name, v)));
        for other in others() {
            assert_eq!(peer.ask(&request(&[other])), "action=REJECT no\n\n", "{other:?} with {mode:?}");
        }
        assert_eq!(peer.ask(&request(&[])), OK, "{mode:?}");
        api.down();
        assert_eq!(peer.ask(&request(&[])), OK, "the outage, {mode:?}");
        for other in others() {
            let reply = peer.ask(&request(&[other]));
            assert!(reply != OK, "{other:?} with {mode:?} in the outage");
        }
    }
}

/// Asks only in an outage: the cache holds nothing but the `OK` of the first request.
#[test]
fn in_an_outage_only_the_same_request_is_answered() {
    for mode in MODES {
        let mut api = Backend::start(judge);
        let setup = Setup::start(|config| cached(config).policy("p", &api.url("/"), mode));
        let mut peer = setup.policy("p");
        assert_eq!(peer.ask(&request(&[])), OK, "{mode:?}");
        api.down();
        for name in ALWAYS {
            for value in [None, Some(""), Some("ONE"), Some("two"), Some("one ")] {
                assert_eq!(peer.ask(&request(&[(name, value)])), FAILED, "{name} {value:?} with {mode:?}");
            }
        }
        let swapped = [("sasl_username", Some("one\tone")), ("sasl_method", None)];
        assert_eq!(peer.ask(&request(&swapped)), FAILED, "{mode:?}");
        assert_eq!(peer.ask(&request(&[])), OK, "{mode:?}");
    }
}

#[test]
fn volatile_attributes_are_not_part_of_the_default_key() {
    let mut api = Backend::start(judge);
    let setup = Setup::start(|config| cached(config).policy("p", &api.url("/"), &[]));
    let mut peer = setup.policy("p");
    assert_eq!(peer.ask(&request(&[])), OK);
    api.down();
    for name in VOLATILE {
        for value in [None, Some("two")] {
            assert_eq!(peer.ask(&request(&[(name, value)])), OK, "{name} {value:?}");
        }
    }
    for name in USUAL {
        for value in [None, Some("two")] {
            assert_eq!(peer.ask(&request(&[(name, value)])), FAILED, "{name} {value:?}");
        }
    }
}

#[test]
fn cache_key_names_the_attributes_of_the_key() {
    let mut api = Backend::start(judge);
    let key = ["cache_key: [sender, size]"];
    let setup = Setup::start(|config| cached(config).policy("p", &api.url("/"), &key));
    let mut peer = setup.policy("p");
    assert_eq!(peer.ask(&request(&[])), OK);
    api.down();
    for name in ["sender", "size"] {
        assert_eq!(peer.ask(&request(&[(name, Some("two"))])), FAILED, "{name}");
    }
    for name in USUAL.iter().filter(|name| **name != "sender").chain(["instance", "queue_id"].iter()) {
        assert_eq!(peer.ask(&request(&[(name, Some("two"))])), OK, "{name}");
    }
}

#[test]
fn only_definite_actions_are_kept() {
    let rows = [
        (r#"{"action": "OK"}"#, true),
        (r#"{"action": "REJECT no"}"#, true),
        (r#"{"action": "DUNNO"}"#, true),
        (r#"{"action": "550 5.1.1 nobody"}"#, true),
        (r#"{"action": "PREPEND X-A: b"}"#, true),
        (r#"{"action": "DEFER later"}"#, false),
        (r#"{"action": "defer later"}"#, false),
        (r#"{"action": "DEFER_IF_PERMIT later"}"#, false),
        (r#"{"action": "DEFER_IF_REJECT later"}"#, false),
        (r#"{"action": "450 4.7.1 later"}"#, false),
        (r#"{"action": "421 4.7.1 later"}"#, false),
        (r#"{"action": ""}"#, false),
        ("{}", false),
    ];
    let mut api = Backend::constant("{}");
    let setup = Setup::start(|config| cached(config).policy("p", &api.url("/"), &[]));
    let mut peer = setup.policy("p");
    let mut good = Vec::new();
    for (body, _) in rows {
        api.answer_with(move |_| Reply::json(body));
        good.push(peer.ask(&[("sender", body)]));
    }
    api.down();
    for ((body, kept), good) in rows.into_iter().zip(good) {
        let due = if kept { good } else { FAILED.to_owned() };
        assert_eq!(peer.ask(&[("sender", body)]), due, "{body}");
    }
}

/// With `fresh`, too, an action that is not kept is asked for again.
#[test]
fn a_deferral_is_asked_for_again() {
    let api = Backend::constant("{}");
    let fresh = ["cache: {fresh: 1h}"];
    let setup = Setup::start(|config| config.policy("p", &api.url("/"), &fresh));
    let mut peer = setup.policy("p");
    for (body, calls) in [
        (r#"{"action": "OK"}"#, 1),
        (r#"{"action": "DEFER later"}"#, 2),
        (r#"{"action": "450 4.7.1 later"}"#, 2),
        ("{}", 2),
    ] {
        api.answer_with(move |_| Reply::json(body));
        api.forget();
        let replies = [(); 2].map(|()| peer.ask(&[("sender", body)]));
        assert_eq!(replies[0], replies[1]);
        assert_eq!(api.count(), calls, "{body}");
    }
}
