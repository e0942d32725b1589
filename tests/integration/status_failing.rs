//! The state `failing` of an entry whose requests all fail for a reason that is no outage: in the table, on the
//! page, in JSON and in lines.

use serde_json::json;

use crate::status_numbers::{entry, status};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::command_line::{run, text};
use crate::support::metrics::ask;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::terminal::Terminal;

/// What `status` shows on a terminal, without colours.
fn table(setup: &Setup) -> Vec<String> {
    let (broker, file) = (env!("CARGO_BIN_EXE_pfxhttp-broker"), setup.broker.config().display().to_string());
    let terminal = Terminal::run((160, 40), &format!("NO_COLOR=1 {broker} --config {file} status"));
    let (code, shown) = terminal.end(PATIENCE);
    assert!(code.success(), "{shown}");
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn an_entry_whose_requests_all_fail_is_failing_whatever_the_reason() {
    let api = Backend::start(|request| match request.path.as_str() {
        "/401" => Reply::status(401),
        "/403" => Reply::status(403),
        "/404" => Reply::status(404),
        "/body" => Reply::json("<html>It works!</html>"),
        "/value" => Reply::json(r#"{"value": {"a": 1}}"#),
        _ => Reply::json(r#"{"value": "v"}"#),
    });
    let (port, failing) = (Port::reserve(), ["m401", "m403", "m404", "mbody", "mvalue"]);
    let setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &["prometheus_status_page: true"]);
        let config = config.map("a-good", &api.url("/good"), &[]);
        let config = config.map("a-rest", &api.url("/404"), &["not_found_status: [404]"]);
        let add = |config: crate::support::config::Config, name: &&str| {
            config.map(name, &api.url(&format!("/{}", &name[1..])), &[])
        };
        failing.iter().fold(config, add).login("users", &api.url("/403"), &[])
    });
    let page = || ask(port.address(), "GET /status HTTP/1.0");
    let look_up = |count: usize| {
        let mut map = setup.map();
        for name in failing.iter().chain(&["a-good", "a-rest"]) {
            (0..count).for_each(|nth| drop(map.look_up(name, &format!("k{nth}"))));
        }
    };
    look_up(3);
    let seen = status(setup.broker.config());
    for name in failing {
        let entry = entry(&seen, "map", name);
        assert_eq!(
            (&entry["state"], &entry["is_out_of_order"]),
            (&json!("failing"), &json!(false)),
            "{name}"
        );
        assert_eq!(
            (&entry["last_requests_failed"], &entry["last_requests"]),
            (&json!(3), &json!(3)),
            "{name}"
        );
        assert!(entry["failing_s"].is_u64(), "{entry:#}");
    }
    for name in ["a-good", "a-rest"] {
        let entry = entry(&seen, "map", name);
        assert_eq!((&entry["state"], &entry["last_requests_failed"]), (&json!("ok"), &json!(0)), "{name}");
    }
    let lines = table(&setup);
    assert_eq!(lines[1], "8 entries: 5 failing", "{lines:#?}");
    for (line, name) in lines[4..].iter().zip(failing) {
        let is_due = line.starts_with("failing ") && line.contains(&format!("s (3/3)  map    {name} "));
        assert!(is_due, "{name}: {lines:#?}");
    }
    assert!(lines[9].starts_with("ok "), "{lines:#?}");
    let html = page();
    assert!(html.contains("<p class=\"state bad\">5 of 8 entries failing</p>"), "{html}");
    assert_eq!(html.matches(">3 of 3 failed</small>").count(), 5, "{html}");
    assert!(html.find("m401") < html.find("a-good"), "{html}");
    let piped = text(&run(setup.broker.config(), &["status"], ""));
    assert_eq!(piped.matches(" state=failing ").count(), 5, "{piped}");

    api.answer_with(|_| Reply::json(r#"{"value": "v"}"#));
    look_up(1);
    let seen = status(setup.broker.config());
    for name in failing {
        let entry = entry(&seen, "map", name);
        assert_eq!((&entry["state"], &entry["failing_s"]), (&json!("ok"), &json!(null)), "{name}");
        assert_eq!(
            (&entry["last_requests_failed"], &entry["last_requests"]),
            (&json!(3), &json!(4)),
            "{name}"
        );
    }
    let lines = table(&setup);
    assert_eq!(lines[1], "8 entries: ok", "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("ok (3/4)  map    m401 ")), "{lines:#?}");
    assert!(page().contains("<p class=\"state good\">8 entries ok</p>"), "{}", page());
    // Ten answers later nothing is left of it.
    look_up(10);
    assert!(!table(&setup).iter().any(|line| line.contains("In parentheses") || line.contains("/10)")));
}
