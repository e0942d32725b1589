//! Policy actions that Postfix would misread are not sent. Postfix 3.7.11 reads digits alone and an
//! empty action as *permit*, so everything that is not clearly an action is a failure.

use crate::support::backend::Reply;
use crate::support::peer::policy_request;
use crate::support::shown;
use crate::support::site::{Site, Way};

const FAILED: &str = "action=DEFER Temporary server problem\n\n";
const NEUTRAL: &str = "action=DUNNO\n\n";

/// JSON bodies, and the reply to each.
const BODIES: [(&str, &str); 35] = [
    (r#"{"action": 550}"#, FAILED),
    (r#"{"action": "550"}"#, FAILED),
    (r#"{"action": "550 "}"#, FAILED),
    (r#"{"action": " 554\t"}"#, FAILED),
    (r#"{"action": "0"}"#, FAILED),
    (r#"{"action": 0}"#, FAILED),
    (r#"{"action": 5.5}"#, FAILED),
    (r#"{"action": true}"#, FAILED),
    (r#"{"action": false}"#, FAILED),
    (r#"{"action": ["REJECT"]}"#, FAILED),
    (r#"{"action": []}"#, FAILED),
    (r#"{"action": {}}"#, FAILED),
    (r#"{"action": {"action": "OK"}}"#, FAILED),
    (r#"{"action": "a\nb"}"#, FAILED),
    (r#"{"action": "DUNNO\n\naction=OK"}"#, FAILED),
    (r#"{"action": "OK\r"}"#, "action=OK\n\n"),
    (r#"{"action": "a\rb"}"#, FAILED),
    (r#"{"action": "a\u0000b"}"#, FAILED),
    (r#"{"action": "OK", "error": "no luck"}"#, FAILED),
    (r#"<html>"#, FAILED),
    (r#"{"action": "action=DUNNO"}"#, FAILED),
    (r#"{"action": " Action = OK"}"#, FAILED),
    (r#"{"action": "action="}"#, FAILED),
    (r#"{"action": "REJECT action=OK"}"#, "action=REJECT action=OK\n\n"),
    (r#"{"action": ""}"#, NEUTRAL),
    (r#"{"action": "  "}"#, NEUTRAL),
    (r#"{"action": null}"#, NEUTRAL),
    (r#"{}"#, NEUTRAL),
    (r#"{"other": "REJECT"}"#, NEUTRAL),
    (r#"{"action": "DUNNO"}"#, NEUTRAL),
    (r#"{"action": "  REJECT no\n"}"#, "action=REJECT no\n\n"),
    (r#"{"action": "550 5.1.1 nobody here"}"#, "action=550 5.1.1 nobody here\n\n"),
    (r#"{"action": "reject_unauth_destination"}"#, "action=reject_unauth_destination\n\n"),
    (r#"{"action": "PREPEND X-A: José"}"#, "action=PREPEND X-A: José\n\n"),
    (r#"{"action": "OK", "error": "none"}"#, "action=OK\n\n"),
];

#[test]
fn only_clear_actions_are_sent() {
    let site = Site::constant("{}");
    for way in Way::ALL {
        let mut peer = site.policy(way, "checks");
        let (mut got, mut due) = (Vec::new(), Vec::new());
        for (body, reply) in BODIES {
            site.policies.answer_with(move |_| Reply::json(body));
            got.push(format!("{body}: {:?}", peer.ask(&[("recipient", "a@example.com")])));
            due.push(format!("{body}: {reply:?}"));
        }
        assert_eq!(got, due, "by {way:?}");
    }
}

#[test]
fn a_value_that_begins_with_action_is_explained_in_the_log() {
    let site = Site::constant(r#"{"action": "action=DUNNO"}"#);
    assert_eq!(site.policy(Way::Unix, "checks").ask(&[("recipient", "a@example.com")]), FAILED);
    let log = site.broker.log();
    assert!(
        site.broker.logged(&["lookup failed", "class=\"value\"", "an action must not begin with `action=`"]),
        "{log}"
    );
}

#[test]
fn a_failed_request_gives_the_on_failure_action() {
    let mut site = Site::constant(r#"{"action": "OK"}"#);
    for status in [500, 503, 429, 401, 403, 404, 302, 204, 201] {
        site.policies.answer_with(move |_| Reply::status(status));
        let reply = site.policy(Way::Tcp, "checks").ask(&[("recipient", "a@example.com")]);
        assert_eq!(reply, FAILED, "status {status}");
    }
    site.policies.down();
    site.policies.answer_with(|_| Reply::json(r#"{"action": "OK"}"#));
    for way in Way::ALL {
        let mut peer = site.policy(way, "checks");
        assert_eq!(peer.ask(&[("recipient", "a@example.com")]), FAILED, "by {way:?}");
        site.policies.up();
        assert_eq!(peer.ask(&[("recipient", "a@example.com")]), "action=OK\n\n", "by {way:?}");
        site.policies.down();
    }
}

#[test]
fn on_failure_disconnect_closes_the_connection() {
    let mut site = Site::constant("{}");
    site.policies.down();
    for way in Way::ALL {
        let mut peer = site.policy(way, "strict");
        peer.send(policy_request(&[("recipient", "a@example.com")]));
        let rest = peer.rest();
        assert!(rest.is_empty(), "by {way:?}: {}", shown(&rest));
    }
}

#[test]
fn a_client_reports_an_unknown_policy_as_its_own_failure() {
    let site = Site::constant(r#"{"action": "OK"}"#);
    let attributes = [("recipient", "a@example.com")];
    let mut default = site.client(&["policy", "nosuch"]);
    assert_eq!(default.ask(&attributes), FAILED);
    let mut told = site.client(&["--on-failure", "DEFER_IF_PERMIT later", "policy", "nosuch"]);
    assert_eq!(told.ask(&attributes), "action=DEFER_IF_PERMIT later\n\n");
    let mut closing = site.client(&["--on-failure", "disconnect", "policy", "nosuch"]);
    closing.send(policy_request(&attributes));
    assert_eq!(closing.rest(), b"", "it closes the connection");
    assert_eq!(site.policies.count(), 0, "no request was made");
}
