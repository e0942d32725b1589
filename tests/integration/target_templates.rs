//! Templates in a target: the key stays in the place that the template gives it.

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Config;
use crate::support::setup::Setup;

const ABSENT: &str = "NOTFOUND ";

/// A map with method GET.
fn get(config: Config, name: &str, url: &str) -> Config {
    let target = format!("target: \"{url}\"");
    config.map_of(name, &["method: GET", &target, "value_field: value"])
}

/// Texts that could end a segment, the path, the query or the request line.
const KEYS: [(&str, &str); 14] = [
    ("bob@example.com", "/users/bob%40example.com?d=example.com"),
    ("plain", "/users/plain?d="),
    ("a/b@example.com", "/users/a%2Fb%40example.com?d=example.com"),
    ("a?b=c@x", "/users/a%3Fb%3Dc%40x?d=x"),
    ("a#b", "/users/a%23b?d="),
    ("100%", "/users/100%25?d="),
    ("%2e%2e@x", "/users/%252e%252e%40x?d=x"),
    ("a b@c d", "/users/a%20b%40c%20d?d=c%20d"),
    ("a+b&c=d@e&f=g", "/users/a%2Bb%26c%3Dd%40e%26f%3Dg?d=e%26f%3Dg"),
    ("a\r\nX-Evil: 1", "/users/a%0D%0AX-Evil%3A%201?d="),
    ("a\tb", "/users/a%09b?d="),
    ("José", "/users/Jos%C3%A9?d="),
    ("...", "/users/...?d="),
    ("x HTTP/1.1\r\nHost: evil\r\n\r\n", "/users/x%20HTTP%2F1.1%0D%0AHost%3A%20evil%0D%0A%0D%0A?d="),
];

#[test]
fn a_key_stays_in_its_segment() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let url = api.url("/users/{{ .Key | urlencode }}?d={{ .Key | domain | urlencode }}");
    let setup = Setup::start(|config| get(config, "users", &url));
    let mut peer = setup.map();
    for (key, path) in KEYS {
        assert_eq!(peer.look_up("users", key), "OK v", "{key:?}");
        let request = api.last();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", path), "{key:?}");
        assert_eq!(request.body, b"", "{key:?}");
        assert_eq!(request.header("x-evil"), None, "{key:?}");
        assert_eq!(request.header("host"), Some(url_host(&api).as_str()), "{key:?}");
    }
    assert_eq!(api.count(), KEYS.len(), "each key made one request");
}

fn url_host(api: &Backend) -> String {
    api.url("").trim_start_matches("http://").to_owned()
}

#[test]
fn a_segment_of_dots_is_not_found_without_a_request() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        let config = get(config, "last", &api.url("/users/{{ .Key | urlencode }}"));
        let config = get(config, "inner", &api.url("/users/{{ .Key | urlencode }}/mail"));
        let config = get(config, "local", &api.url("/users/{{ .Key | localpart | urlencode }}/mail"));
        let config = get(config, "added", &api.url("/users/.{{ .Key | urlencode }}/mail"));
        get(config, "query", &api.url("/users?k={{ .Key | urlencode }}"))
    });
    let mut peer = setup.map();
    for (map, key) in [
        ("last", "."),
        ("last", ".."),
        ("inner", "."),
        ("inner", ".."),
        ("local", "..@example.com"),
        ("local", ".@example.com"),
        ("added", "."),
        ("last", ""),
    ] {
        assert_eq!(peer.look_up(map, key), ABSENT, "{map} {key:?}");
    }
    assert_eq!(api.count(), 0, "no request was made: {:?}", api.requests());
    assert_eq!(peer.look_up("query", ".."), "OK v", "dots are allowed in a query");
    assert_eq!(api.last().path, "/users?k=..");
    assert_eq!(peer.look_up("added", "x"), "OK v");
    assert_eq!(api.last().path, "/users/.x/mail");
}

/// Texts that a server on the way resolves as a path, as nginx does by default: it decodes first.
const ELSEWHERE: [&str; 13] = [
    "../other/x@example.org",
    "x/../../other@example.org",
    "./x@example.org",
    "x@example.org/..",
    "..\\other\\x@example.org",
    "%2e%2e/x@example.org",
    "..%2fx@example.org",
    "%252e%252e%252fx@example.org",
    "..;a=b/x@example.org",
    "/",
    "//",
    "%2F",
    "\\",
];

#[test]
fn a_key_that_would_be_another_path_is_not_found_without_a_request() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        let config = get(config, "last", &api.url("/users/{{ .Key | urlencode }}"));
        let config = get(config, "inner", &api.url("/users/{{ .Key | urlencode }}/mail?x=1"));
        let config = get(config, "local", &api.url("/users/{{ .Key | localpart | urlencode }}/mail"));
        get(config, "query", &api.url("/users?k={{ .Key | urlencode }}&d={{ .Key | domain | urlencode }}"))
    });
    let mut peer = setup.map();
    for key in ELSEWHERE {
        for map in ["last", "inner"] {
            assert_eq!(peer.look_up(map, key), ABSENT, "{map} {key:?}");
        }
    }
    for key in ["@example.org", "../@example.org", "a/..@example.org"] {
        assert_eq!(peer.look_up("local", key), ABSENT, "{key:?}");
    }
    assert_eq!(api.count(), 0, "no request was made: {:?}", api.requests());
    for key in ELSEWHERE {
        assert_eq!(peer.look_up("query", key), "OK v", "{key:?} is allowed in a query");
    }
    let calls = api.count();
    for key in ["a/b@example.org", "a..b@example.org", "..a@example.org", "a;b@example.org", "%@example.org"]
    {
        assert_eq!(peer.look_up("last", key), "OK v", "{key:?} is an address");
    }
    assert_eq!(api.count(), calls + 5);
}

#[test]
fn a_policys_attribute_cannot_change_the_path() {
    let api = Backend::constant(r#"{"action": "DUNNO"}"#);
    let setup = Setup::start(|config| {
        let policy = |config: Config, name: &str, path: &str| {
            let target = format!("target: \"{}\"", api.url(path));
            config.policy_of(name, &["method: GET", &target, "value_field: action"])
        };
        let config = policy(config, "plain", "/s/{{ .Sender | urlencode }}");
        policy(config, "filled", "/s/{{ .Sender | default(\\\"<>\\\") | urlencode }}")
    });
    let failed = "action=DEFER Temporary server problem\n\n";
    let (mut plain, mut filled) = (setup.policy("plain"), setup.policy("filled"));
    for sender in ["", "..", "../x@example.org"] {
        assert_eq!(plain.ask(&[("sender", sender)]), failed, "{sender:?}");
    }
    assert!(setup.broker.logged(&[
        "lookup failed: an insertion into the path",
        "class=\"value\"",
        "default("
    ]));
    assert_eq!(filled.ask(&[("sender", "../x@example.org")]), failed);
    assert_eq!(api.count(), 0, "no request was made: {:?}", api.requests());
    assert_eq!(filled.ask(&[("sender", "")]), "action=DUNNO\n\n");
    assert_eq!(api.last().path, "/s/%3C%3E");
    assert_eq!(filled.ask(&[("sender", "a@example.org")]), "action=DUNNO\n\n");
    assert_eq!(api.last().path, "/s/a%40example.org");
}

#[test]
fn a_status_may_answer_for_a_resource() {
    let api = Backend::start(|request: &Request| match request.path.as_str() {
        "/users/bob" => Reply::json(r#"{"value": "v"}"#),
        _ => Reply::status(404),
    });
    let target = format!("target: \"{}\"", api.url("/users/{{ .Key | urlencode }}"));
    let setup = Setup::start(|config| {
        let status = "not_found_status: [404]";
        config.map_of("users", &["method: GET", &target, "value_field: value", status])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("users", "bob"), "OK v");
    assert_eq!(peer.look_up("users", "eve"), ABSENT);
}

#[test]
fn a_raw_value_with_a_control_character_is_not_sent() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| get(config, "raw", &api.url("/{{ .Key | raw }}")));
    let mut peer = setup.map();
    for key in ["a\r\nX-Evil: 1", "a\nb", "a\tb", "a\u{7f}b"] {
        assert_eq!(peer.look_up("raw", key), "PERM malformed request", "{key:?}");
    }
    for key in ["jörg", "a b", "a\\b", "a#b"] {
        assert_eq!(peer.look_up("raw", key), "PERM malformed request", "{key:?} is not sent in a URL");
    }
    for key in ["..", "../b", "a/../b", "%2e%2E/b"] {
        assert_eq!(peer.look_up("raw", key), ABSENT, "{key:?} would be another path");
    }
    assert_eq!(api.count(), 0, "no request was made: {:?}", api.requests());
    assert_eq!(peer.look_up("raw", "a/b"), "OK v");
    assert_eq!(api.last().path, "/a/b");
}

#[test]
fn a_post_may_have_a_template_in_its_target_too() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let target = format!(
        "target: \"{}\"",
        api.url("/{{ .Name | urlencode }}/{{ .Key | domain | lower | urlencode }}")
    );
    let setup = Setup::start(|config| {
        let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
        config.map_of("users", &[&target, payload, "value_field: value"])
    });
    assert_eq!(setup.map().look_up("users", "Bob@Example.COM"), "OK v");
    let request = api.last();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/users/example.com"));
    assert_eq!(request.text("key"), "Bob@Example.COM");
}

#[test]
fn a_policys_attributes_go_into_a_query() {
    let api = Backend::constant(r#"{"action": "DUNNO"}"#);
    let query = "/?s={{ .Sender | urlencode }}&u={{ .SaslUsername | urlencode }}";
    let target = format!("target: \"{}\"", api.url(query));
    let setup =
        Setup::start(|config| config.policy_of("p", &["method: GET", &target, "value_field: action"]));
    let mut peer = setup.policy("p");
    assert_eq!(
        peer.ask(&[("sender", "a&u=root@example.com"), ("client_address", "192.0.2.1")]),
        "action=DUNNO\n\n"
    );
    assert_eq!(api.last().path, "/?s=a%26u%3Droot%40example.com&u=");
}
