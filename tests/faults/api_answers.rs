//! Rows 12 to 21: answers of the API that are complete, and say nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::answers::right;
use crate::api::{in_turn, ok, raw};
use crate::ledger::Rules;
use crate::rig::{ALL, CLIENT_SECRET, Rig, entries, play, play_through_postfix};
use crate::rows::row;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::backend_oidc;
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::site::Way;

#[test]
fn row_12_no_body() {
    let row = row("12");
    let replies = vec![Reply::status(204), Reply::json(""), raw(&ok("Content-Length: 0\r\n", ""))];
    play(&row, &Rig::start(&[]), 40, Rules::default(), in_turn(replies));
}

#[test]
fn row_13_redirects() {
    let row = row("13");
    let elsewhere = Backend::start(|_| Reply::with_header("Auth-Status", "OK", r#"{"value": "wrong"}"#));
    let place = elsewhere.url("/");
    let moved = |status| Reply::with_headers(status, &[("Location", &place)], "{}");
    let replies = [301, 302, 303, 307, 308].map(moved).to_vec();
    play(&row, &Rig::start(&[]), 40, Rules { repetitions: 0, ..Rules::default() }, in_turn(replies));
    assert_eq!(elsewhere.connections(), 0, "a redirect is never followed");
}

#[test]
fn row_14_the_api_refuses_the_brokers_token() {
    let row = row("14");
    let provider = FakeProvider::start();
    let token = backend_oidc(
        &provider.configuration_uri(),
        &format!("client_id: pfx, client_secret: {CLIENT_SECRET}"),
    );
    let rig = Rig::start(&[&token]);
    let replies = vec![Reply::status(401), Reply::status(403)];
    // The API may see a login again, with another token: it has refused the broker, not the user.
    let rules = Rules { passwords: 2, ..Rules::default() };
    play(&row, &rig, 40, rules, in_turn(replies));
    let tokens = provider.count(Endpoint::Token);
    assert!((2..=6).contains(&tokens), "{tokens} tokens for an API that refuses each");
    let log = rig.setup.broker.log();
    assert!(log.contains("lookup failed") && log.contains("login failed"), "{log}");
}

#[test]
fn row_15_too_many_requests() {
    let row = row("15");
    let busy = Backend::start(|_| Reply::with_headers(429, &[("Retry-After", "2")], "{}"));
    let rig = Rig::start_with(|config, api| {
        let targets = format!("targets: [\"{}\", \"{}\"]", busy.url("/two"), api.url("/two"));
        let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
        let map = [&*targets, payload, "value_field: value", "timeout: 1s"];
        entries(config, api, &[]).map_of("two", &map)
    });
    let mut lanes = rig.lanes(Way::Unix);
    lanes.push(rig.map(Way::Unix, "two"));
    let mut traffic = rig.traffic(&lanes);
    traffic.more(20);
    traffic.fault(&ALL);
    rig.api.fault(|request| {
        (request.path != "/two").then(|| Reply::with_headers(429, &[("Retry-After", "1")], "{}"))
    });
    traffic.more(60);
    rig.api.mend();
    traffic.mended();
    traffic.more(40);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(ALL.iter().all(|lane| outcome.temporary_of(lane) > 0), "{:?}", outcome.temporary);
    assert_eq!(outcome.temporary_of("two"), 0, "the second target answers");
    assert!((1..=8).contains(&busy.count()), "the first target was asked {} times", busy.count());
}

#[test]
fn row_16_server_errors() {
    let row = row("16");
    let replies = [500, 502, 503].map(Reply::status).to_vec();
    play_through_postfix(&row, &Rig::start(&[]), 40, in_turn(replies));
}

#[test]
fn row_17_no_json() {
    let row = row("17");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let replies = vec![
        Reply::with_header("Content-Type", "text/html", "<html>it works</html>"),
        Reply::json(r#"{"value": "v", "#),
        Reply::json(&format!(r#"{{"value": {deep}, "action": {deep}}}"#)),
        Reply::json(&format!(r#"{{"deep": {deep}, "value": "v", "action": "OK"}}"#)),
        Reply::json("OK"),
    ];
    play(&row, &Rig::start(&[]), 40, Rules::default(), in_turn(replies));
}

#[test]
fn row_18_the_field_is_absent_in_an_invalid_answer() {
    let row = row("18");
    let replies = vec![
        Reply::status_json(404, "{}"),
        Reply::status_json(500, "{}"),
        Reply::status_json(201, "{}"),
        Reply::json("[]"),
        Reply::json("null"),
        Reply::json(r#"{"error": "no database"}"#),
    ];
    play_through_postfix(&row, &Rig::start(&[]), 60, in_turn(replies));
    // A list, a text or other members where the path of the field goes on.
    let answers = [r#"{"data": [{"value": "v"}]}"#, r#"{"data": "text"}"#, r#"{"data": 1}"#];
    let rig = Rig::start_with(|config, api| {
        let asks = format!("target: \"{}\"", api.url("/map"));
        let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
        config.map_of("m", &[&asks, payload, "value_field: data.value", "timeout: 1s"])
    });
    rig.api.fault(in_turn(answers.map(Reply::json).to_vec()));
    for _ in 0..2 * answers.len() {
        let reply = rig.setup.map().look_up("m", "k");
        assert_eq!(reply, "TEMP Temporary server problem");
    }
}

#[test]
fn row_19_the_name_occurs_in_inner_objects() {
    let row = row("19");
    let rig = Rig::start_with(|config, api| {
        config.map("m", &api.url("/map"), &["timeout: 1s"]).policy("p", &api.url("/policy"), &["timeout: 1s"])
    });
    rig.api.fault(|request| {
        let Reply::Answer { body, .. } = right(request) else { return None };
        let mut answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
        // An absent field may be found in an inner object, as documented: these keys keep their answer.
        if answer.as_object()?.is_empty() {
            return None;
        }
        answer["a"] = json!({"value": "inner", "action": "REJECT inner"});
        answer["zz"] = json!([{"value": "listed", "action": "REJECT listed"}]);
        Some(Reply::json(&answer.to_string()))
    });
    let traffic = rig.traffic(&[rig.map(Way::Unix, "m"), rig.policy(Way::Unix)]);
    traffic.more(300);
    row.counted(traffic.end(Rules::default()));
}

#[test]
fn row_20_a_value_over_the_limit() {
    let row = row("20");
    let long = "v".repeat(200_000);
    let answer = Reply::with_headers(200, &[], &json!({"value": long, "action": long}).to_string());
    play(&row, &Rig::start(&[]), 20, Rules::default(), in_turn(vec![answer]));
}

#[test]
fn row_21_values_that_are_none() {
    let row = row("21");
    let rig = Rig::start_with(|config, api| {
        entries(config, api, &[]).map("big", &api.url("/big"), &["timeout: 1s"])
    });
    let started = Instant::now();
    let values = ["null", "[]", "{}", r#"{"a": 1}"#, "[[]]", r#""""#];
    let replies = values.map(|value| Reply::json(&format!(r#"{{"value": {value}}}"#)));
    let others = in_turn(replies.to_vec());
    // `null` and "" are DUNNO for a policy service, as documented.
    let fault = move |request: &Request| match request.path.as_str() {
        "/policy" => Some(Reply::json(r#"{"action": [1e400]}"#)),
        _ => others(request),
    };
    play(&row, &rig, 40, Rules::default(), fault);
    rig.api.fault(|_| Some(Reply::json(r#"{"value": 1e400}"#)));
    let reply = rig.setup.map().look_up("big", "key");
    assert!(reply == "OK 1e400" || reply.starts_with("TEMP ") || reply.starts_with("PERM "), "{reply}");
    assert!(started.elapsed() < Duration::from_secs(30));
}
