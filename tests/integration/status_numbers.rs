//! The numbers of `status --json`: what entries and listeners count, and the last failures.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::backend::{Backend, Reply};
use crate::support::command_line::{run, text};
use crate::support::config::backend_oidc;
use crate::support::fake_provider::FakeProvider;
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, wait_until};

/// What `status --json` says.
pub(crate) fn status(file: &Path) -> Value {
    let told = run(file, &["status", "--json"], "");
    serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&told)))
}

/// The entry of this kind and name.
pub(crate) fn entry<'s>(status: &'s Value, kind: &str, name: &str) -> &'s Value {
    let entries = status["target"].as_array().expect("a list");
    let found = entries.iter().find(|entry| entry["kind"] == kind && entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {status:#}"))
}

#[test]
fn entries_and_listeners_count_requests_and_failures() {
    let api = Backend::start(|request| match request.path.as_str() {
        "/down" => Reply::status(503),
        "/error" => Reply::json(r#"{"value": "v", "error": "s3cret text of the API"}"#),
        "/login" => Reply::with_header("Auth-Status", "no", ""),
        _ => Reply::json(r#"{"value": "v", "action": "DUNNO"}"#),
    });
    let setup = Setup::start(|config| {
        config
            .map("good", &api.url("/map"), &["cache: {fresh: 1h}"])
            .map("down", &api.url("/down"), &[])
            .map("error", &api.url("/error"), &[])
            .policy("good", &api.url("/policy"), &[])
            .login("users", &api.url("/login"), &[])
    });
    let file = setup.broker.config();
    let mut map = setup.map();
    for (name, count) in [("good", 4), ("down", 3), ("error", 1), ("invented", 2)] {
        (0..count).for_each(|_| drop(map.look_up(name, "k")));
    }
    setup.client(&["socketmap"]).look_up("good", "k");
    setup.policy("good").ask(&[("request", "smtpd_access_policy")]);
    let mut login = setup.login(Way::Unix, "users");
    login.plain(1, "u", "wrong");
    login.line();
    let seen = status(file);
    let is = |kind, name, due: Value| {
        let entry = entry(&seen, kind, name);
        for (key, due) in due.as_object().expect("an object") {
            assert_eq!(&entry[key], due, "{kind} {name}: {key} in {seen:#}");
        }
    };
    is("map", "good", json!({"requests": 5, "failures": 0, "state": "ok", "cache_hits_percent": 80.0}));
    is("map", "good", json!({"failing_s": null, "last_failure": null, "last_failure_class": null}));
    is("map", "down", json!({"requests": 3, "failures": 3, "state": "failing", "is_out_of_order": true}));
    is("map", "down", json!({"recent_failures": 3, "recent_failures_by_class": {"status": 3}}));
    is("map", "down", json!({"max_workers": 256, "working": 0, "last_failure_class": "status"}));
    is("map", "down", json!({"last_requests": 3, "last_requests_failed": 3}));
    is("map", "good", json!({"last_requests": 1, "last_requests_failed": 0}));
    is("map", "error", json!({"state": "failing", "is_out_of_order": false}));
    is("map", "error", json!({"recent_failures_by_class": {"error_field": 1}}));
    is("policy", "good", json!({"requests": 1, "failures": 0, "cache_hits_percent": null}));
    // The time of a denial is that of its delay.
    is("login", "users", json!({"requests": 1, "failures": 0, "p50_ms": null}));
    let good = entry(&seen, "map", "good");
    assert!(good["requests_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{seen:#}");
    let [p50, p95] = ["p50_ms", "p95_ms"].map(|key| good[key].as_f64().expect("it was asked"));
    assert!(0.0 < p50 && p50 <= p95, "{seen:#}");

    let listener = |kind: &str| {
        let listeners = seen["listener"].as_array().expect("a list");
        listeners.iter().find(|listener| listener["kind"] == kind).expect("a listener")
    };
    assert_eq!(
        (&listener("socket_map")["requests"], &listener("socket_map")["connections"]),
        (&json!(10), &json!(1))
    );
    assert_eq!((&listener("clients")["requests"], &listener("clients")["accepted"]), (&json!(1), &json!(1)));
    assert_eq!(listener("dovecot_sasl")["refused"], 0, "{seen:#}");
    let failures = seen["failure"].as_array().expect("a list");
    assert_eq!(failures.len(), 2, "{seen:#}");
    assert_eq!((&failures[0]["name"], &failures[0]["class"]), (&json!("error"), &json!("error_field")));
    assert_eq!((&failures[1]["kind"], &failures[1]["count"]), (&json!("map"), &json!(3)));
    assert_eq!(failures[1]["failure"], "unexpected status code 503");
    let time = failures[1]["time"].as_str().expect("a time");
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert!(!seen.to_string().contains("s3cret"), "{seen:#}");

    let lines = text(&run(file, &["status"], ""));
    assert!(lines.contains(" recent_failures_by_class.status=3 "), "{lines}");
    assert!(lines.contains("failure: name=error kind=map "), "{lines}");
}

#[test]
fn an_entry_is_failing_until_its_api_answers() {
    let api = Backend::start(|request| match request.nth {
        1 | 2 => Reply::status(500),
        _ => Reply::json(r#"{"value": "v"}"#),
    });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let (file, mut map) = (setup.broker.config(), setup.map());
    let now = || entry(&status(file), "map", "m").clone();
    assert_eq!((&now()["state"], &now()["requests"]), (&json!("ok"), &json!(0)));
    map.look_up("m", "k");
    map.look_up("m", "k");
    assert!(now()["state"] == "failing" && now()["failing_s"].is_u64(), "{:#}", now());
    map.look_up("m", "k");
    let after = now();
    assert_eq!((&after["state"], &after["failing_s"]), (&json!("ok"), &Value::Null));
    assert_eq!(
        (&after["last_failure"], &after["failures"]),
        (&json!("unexpected status code 500"), &json!(2))
    );
}

#[test]
fn a_token_says_how_long_it_is_used() {
    let (api, provider) = (Backend::constant(r#"{"value": "v"}"#), FakeProvider::start());
    let oidc = backend_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[&oidc]).map("n", &api.url("/"), &[]));
    let file = setup.broker.config();
    let before = status(file);
    assert_eq!(entry(&before, "map", "m")["has_token"], false);
    assert_eq!(entry(&before, "map", "n")["has_token"], Value::Null);
    setup.map().look_up("m", "k");
    let after = status(file);
    assert_eq!(entry(&after, "map", "m")["has_token"], true);
    let left = entry(&after, "map", "m")["token_expires_s"].as_u64().expect("a time");
    assert!(0 < left && left <= 3600, "{after:#}");
    assert!(!after.to_string().contains("s3cret"));
}

/// A sample ends after five seconds; what it counted stays in the numbers of the last minute.
#[test]
fn numbers_outlive_the_sample_in_which_they_were_counted() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut map = setup.map();
    (0..50).for_each(|_| drop(map.look_up("m", "k")));
    let rate =
        || entry(&status(setup.broker.config()), "map", "m")["requests_per_s"].as_f64().expect("a rate");
    let first = rate();
    // The rate falls while the time that it is about grows, up to a minute.
    assert!(wait_until(PATIENCE + Duration::from_secs(10), || rate() < 8.0), "{first} {}", rate());
    assert!(first > 8.0 && rate() > 1.0, "{first} {}", rate());
}
