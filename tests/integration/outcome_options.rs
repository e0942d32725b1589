//! Keys of an entry that change the reply to an answer: `not_found_status`, `empty_value`,
//! `absent_value`, `on_failure`, `domains`, `error_field` and `no_error_value`, `status_code`.

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Config;
use crate::support::setup::Setup;

const TEMP: &str = "TEMP Temporary server problem";
const FAILED: &str = "action=DEFER Temporary server problem\n\n";
const ABSENT: &str = "NOTFOUND ";

/// One lookup: the map, the API's answer, and the reply.
type Row = (&'static str, Reply, &'static str);

fn json(body: &str) -> Reply {
    Reply::json(body)
}

fn status(code: u16) -> Reply {
    Reply::status_json(code, r#"{"value": "wrong"}"#)
}

fn html(code: u16) -> Reply {
    Reply::status_json(code, "<html>Not Found</html>")
}

/// Asks row by row, with its number as the key, and compares all replies at once.
fn play(configure: impl FnOnce(Config, &Backend) -> Config, rows: Vec<Row>) {
    let replies: Vec<Reply> = rows.iter().map(|(_, reply, _)| reply.clone()).collect();
    let api = Backend::start(move |request: &Request| {
        let number: usize = request.text("key").parse().expect("the key is a number");
        replies[number].clone()
    });
    let setup = Setup::start(|config| configure(config, &api));
    let mut peer = setup.map();
    let (mut got, mut due) = (Vec::new(), Vec::new());
    for (number, (map, sent, reply)) in rows.into_iter().enumerate() {
        got.push(format!("{map} {sent:?}: {}", peer.look_up(map, &number.to_string())));
        due.push(format!("{map} {sent:?}: {reply}"));
    }
    assert_eq!(got, due);
}

#[test]
fn a_status_may_mean_not_found() {
    let cut = || Reply::Raw(b"HTTP/1.1 404 Status\r\nContent-Length: 10\r\n\r\n{}".to_vec());
    play(
        |config, api| {
            let config = config.map("plain", &api.url("/"), &[]);
            let config = config.map("mapped", &api.url("/"), &["not_found_status: [404]"]);
            config.map("both", &api.url("/"), &["not_found_status: [404, 410]"])
        },
        vec![
            ("plain", status(404), "PERM unexpected status code received: 404"),
            ("mapped", status(404), ABSENT),
            ("mapped", json(r#"{"value": "v"}"#), "OK v"),
            ("mapped", html(404), ABSENT),
            ("mapped", Reply::status_json(404, ""), ABSENT),
            ("mapped", cut(), TEMP),
            ("mapped", status(410), "PERM unexpected status code received: 410"),
            ("mapped", status(500), TEMP),
            ("mapped", status(403), TEMP),
            ("mapped", json("{}"), ABSENT),
            ("both", status(404), ABSENT),
            ("both", status(410), ABSENT),
            ("both", status(405), "PERM unexpected status code received: 405"),
        ],
    );
}

#[test]
fn an_empty_value_may_mean_not_found() {
    play(
        |config, api| config.map("m", &api.url("/"), &["empty_value: not_found"]),
        vec![
            ("m", json(r#"{"value": ""}"#), ABSENT),
            ("m", json(r#"{"value": null}"#), ABSENT),
            ("m", json(r#"{"value": " "}"#), "OK  "),
            ("m", json(r#"{"value": 0}"#), "OK 0"),
            ("m", json(r#"{"value": {}}"#), "PERM unexpected value"),
            ("m", json(r#"{"value": []}"#), ABSENT),
            ("m", json(r#"{"value": [null, ["", []]]}"#), ABSENT),
            ("m", json(r#"{"value": [{}]}"#), "PERM unexpected value"),
            ("m", json("{}"), ABSENT),
        ],
    );
}

#[test]
fn an_absent_value_may_be_an_error() {
    play(
        |config, api| {
            let config = config.map("strict", &api.url("/"), &["absent_value: error"]);
            let both = ["absent_value: error", "not_found_status: [404]"];
            config.map("mapped", &api.url("/"), &both)
        },
        vec![
            ("strict", json("{}"), TEMP),
            ("strict", json(r#"{"other": "v"}"#), TEMP),
            ("strict", json(r#"{"value": "v"}"#), "OK v"),
            ("strict", json(r#"{"value": ""}"#), "PERM empty value"),
            ("strict", json(r#"{"error": "none"}"#), ABSENT),
            ("strict", json(r#"{"error": "some"}"#), "PERM unexpected error received: some"),
            ("strict", status(404), "PERM unexpected status code received: 404"),
            ("mapped", json("{}"), TEMP),
            ("mapped", status(404), ABSENT),
            ("mapped", json(r#"{"error": "none"}"#), ABSENT),
        ],
    );
}

#[test]
fn an_outage_may_mean_not_found() {
    play(
        |config, api| config.map("lenient", &api.url("/"), &["on_failure: not_found", "timeout: 1s"]),
        vec![
            ("lenient", json(r#"{"value": "v"}"#), "OK v"),
            ("lenient", status(500), ABSENT),
            ("lenient", status(503), ABSENT),
            ("lenient", status(429), ABSENT),
            ("lenient", html(200), ABSENT),
            ("lenient", Reply::Reset, ABSENT),
            ("lenient", Reply::Truncated(br#"{"value": "v"}"#.to_vec()), ABSENT),
            ("lenient", Reply::stall(), ABSENT),
        ],
    );
    let mut api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("lenient", &api.url("/"), &["on_failure: not_found"]));
    api.down();
    assert_eq!(setup.map().look_up("lenient", "k"), ABSENT);
    assert_eq!(setup.map().look_up("nosuch", "k"), "PERM unknown map", "an unknown map has no on_failure");
}

#[test]
fn perm_as_temp_replaces_perm() {
    let illegal = ["method: GET", "value_field: value", "perm_as_temp: true"];
    play(
        |config, api| {
            let config = config.map("sendmails", &api.url("/"), &["perm_as_temp: true"]);
            let target = format!("target: \"{}\"", api.url("/{{ .Key | raw }}"));
            let config = config.map_of("raw", &[&[target.as_str()], &illegal[..]].concat());
            config.map("postfix", &api.url("/"), &[])
        },
        vec![
            ("sendmails", json(r#"{"value": "v"}"#), "OK v"),
            ("sendmails", json("{}"), ABSENT),
            ("sendmails", status(503), TEMP),
            ("sendmails", status(404), TEMP),
            ("sendmails", json(r#"{"value": ""}"#), TEMP),
            ("sendmails", json(r#"{"value": {}}"#), TEMP),
            ("sendmails", json(r#"{"error": "some"}"#), TEMP),
            ("sendmails", json(&format!(r#"{{"value": "{}"}}"#, "x".repeat(100_000))), TEMP),
            ("postfix", status(404), "PERM unexpected status code received: 404"),
            ("nosuch", json("{}"), TEMP),
        ],
    );
    let api = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let target = format!("target: \"{}\"", api.url("/{{ .Key | raw }}"));
        config.map_of("raw", &[&[target.as_str()], &illegal[..]].concat())
    });
    assert_eq!(setup.map().look_up("raw", "a b"), TEMP, "a template that cannot send it");
    assert_eq!(api.count(), 0);
    // A spawned client gives the same reply.
    let mut client = setup.client(&["socketmap"]);
    assert_eq!(client.look_up("raw", "a b"), TEMP);
    assert_eq!(client.look_up("nosuch", "k"), TEMP);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    assert_eq!(setup.map().look_up("nosuch", "k"), "PERM unknown map", "no map has perm_as_temp");
}

#[test]
fn the_error_field_is_compared_as_text() {
    play(
        |config, api| {
            let target = format!("target: \"{}\"", api.url("/"));
            let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
            let of = |config: Config, name: &str, more: &[&str]| {
                let common = [target.as_str(), payload, "value_field: value"];
                config.map_of(name, &[common.as_slice(), more].concat())
            };
            let config = of(config, "unset", &[]);
            let config = of(config, "any", &["error_field: error"]);
            let config = of(config, "says_false", &["error_field: error", "no_error_value: \"false\""]);
            let config = of(config, "bare", &["error_field: error", "no_error_value: false"]);
            let config = of(config, "zero", &["error_field: error", "no_error_value: 0"]);
            of(config, "deep", &["error_field: state.error", "no_error_value: OK"])
        },
        error_rows(),
    );
}

fn error_rows() -> Vec<Row> {
    vec![
        ("unset", json(r#"{"error": "x", "value": "v"}"#), "OK v"),
        ("any", json(r#"{"error": "x", "value": "v"}"#), "PERM unexpected error received: x"),
        ("any", json(r#"{"error": "", "value": "v"}"#), "OK v"),
        ("any", json(r#"{"error": null, "value": "v"}"#), "OK v"),
        ("any", json(r#"{"value": "v"}"#), "OK v"),
        ("any", json(r#"{"error": "x"}"#), "PERM unexpected error received: x"),
        ("says_false", json(r#"{"error": false, "value": "v"}"#), "OK v"),
        ("says_false", json(r#"{"error": "false", "value": "v"}"#), "OK v"),
        ("says_false", json(r#"{"error": true, "value": "v"}"#), "PERM unexpected error received: true"),
        ("says_false", json(r#"{"error": "False", "value": "v"}"#), "PERM unexpected error received: False"),
        ("bare", json(r#"{"error": false, "value": "v"}"#), "OK v"),
        ("zero", json(r#"{"error": 0, "value": "v"}"#), "OK v"),
        ("zero", json(r#"{"error": "0", "value": "v"}"#), "OK v"),
        ("zero", json(r#"{"error": 1, "value": "v"}"#), "PERM unexpected error received: 1"),
        ("deep", json(r#"{"state": {"error": "OK"}, "value": "v"}"#), "OK v"),
        ("deep", json(r#"{"state": {"error": "bad"}, "value": "v"}"#), "PERM unexpected error received: bad"),
        ("any", Reply::status_json(500, r#"{"error": "x"}"#), TEMP),
        ("any", Reply::status_json(404, r#"{"error": "x"}"#), "PERM unexpected status code received: 404"),
    ]
}

#[test]
fn keys_of_other_domains_are_not_found_without_a_request() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let domains = ["domains: [example.com, Other.Example]"];
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &domains));
    let mut peer = setup.map();
    let ours = [
        "user@example.com",
        "user@EXAMPLE.Com",
        "@example.com",
        "example.com",
        "Example.COM",
        "user@other.example",
        "\"a@b\"@example.com",
    ];
    let others = [
        "user@sub.example.com",
        "user@xexample.com",
        "user@example.com.evil.example",
        "user@",
        "user",
        "*",
        "@",
        "example.com@evil.example",
        "user@example.com ",
    ];
    for key in others {
        assert_eq!(peer.look_up("m", key), ABSENT, "{key:?}");
    }
    assert_eq!(api.count(), 0, "no request was made: {:?}", api.requests());
    for key in ours {
        assert_eq!(peer.look_up("m", key), "OK v", "{key:?}");
        assert_eq!(api.last().text("key"), key, "the key is sent as it came");
    }
    assert_eq!(api.count(), ours.len());
}

const STATUSES: [u16; 47] = [
    200, 201, 202, 203, 205, 206, 204, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405,
    406, 408, 409, 410, 413, 415, 418, 422, 423, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504,
    505, 507, 511, 520, 599,
];

/// Statuses of temporary failures; all others need an administrator.
fn is_temporary(status: u16) -> bool {
    status >= 500 || matches!(status, 401 | 403 | 408 | 425 | 429)
}

#[test]
fn every_status_has_its_class() {
    let api = Backend::start(|request| {
        let key = String::from_utf8_lossy(&request.body).into_owned();
        let code = STATUSES.into_iter().find(|code| key.contains(&format!("{code}-"))).expect("a status");
        Reply::status_json(code, r#"{"value": "v", "action": "OK"}"#)
    });
    let setup = Setup::start(|config| {
        let config = config.map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[]);
        let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
        let target = format!("target: \"{}\"", api.url("/"));
        config.map_of("created", &[&target, payload, "value_field: value", "status_code: 201"])
    });
    let (mut map, mut policy) = (setup.map(), setup.policy("p"));
    for code in STATUSES {
        let key = format!("{code}-");
        let due = |accepted: u16| match code {
            _ if code == accepted => "OK v".to_owned(),
            _ if is_temporary(code) => TEMP.to_owned(),
            _ => format!("PERM unexpected status code received: {code}"),
        };
        assert_eq!(map.look_up("m", &key), due(200), "{code}");
        assert_eq!(map.look_up("created", &key), due(201), "{code} where 201 is expected");
        let action = if code == 200 { "action=OK\n\n" } else { FAILED };
        assert_eq!(policy.ask(&[("sender", &key)]), action, "{code} to a policy");
    }
}

#[test]
fn an_absent_action_may_be_an_error() {
    let api = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let config = config.policy("strict", &api.url("/"), &["absent_value: error"]);
        config.policy("usual", &api.url("/"), &[])
    });
    assert_eq!(setup.policy("strict").ask(&[("sender", "a@example.com")]), FAILED);
    assert_eq!(setup.policy("usual").ask(&[("sender", "a@example.com")]), "action=DUNNO\n\n");
    api.answer_with(|_| Reply::json(r#"{"action": "REJECT no"}"#));
    assert_eq!(setup.policy("strict").ask(&[("sender", "a@example.com")]), "action=REJECT no\n\n");
}
