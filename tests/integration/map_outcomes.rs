//! Map lookups: the reply to each answer of an API.

use std::time::{Duration, Instant};

use crate::support::backend::{Reply, Request};
use crate::support::site::{HASTY, Site, Way};

/// The text of every temporary failure.
const TEMP: &str = "TEMP Temporary server problem";

fn json(body: &str) -> Reply {
    Reply::json(body)
}

/// Every row that needs no waiting: a name, which is the key, what the API sends, and the reply.
fn rows() -> Vec<(String, Reply, String)> {
    let bodies = bodies().into_iter().map(|(key, reply, due)| (key.to_owned(), reply, due.to_owned()));
    let temporary = [500, 502, 503, 429, 401, 403, 408, 425].map(|status| (status, TEMP.to_owned()));
    let unexpected = [404, 302, 301, 204, 201, 400, 410]
        .map(|status| (status, format!("PERM unexpected status code received: {status}")));
    let statuses = temporary.into_iter().chain(unexpected);
    let statuses = statuses.map(|(status, due)| (format!("status {status}"), with_status(status), due));
    bodies.chain(statuses).collect()
}

fn bodies() -> Vec<(&'static str, Reply, &'static str)> {
    vec![
        ("text", json(r#"{"value": "one two"}"#), "OK one two"),
        ("number", json(r#"{"value": 5}"#), "OK 5"),
        ("digits", json(r#"{"value": "0001"}"#), "OK 0001"),
        ("true", json(r#"{"value": true}"#), "OK true"),
        ("false", json(r#"{"value": false}"#), "OK false"),
        ("list", json(r#"{"value": ["a", "b"]}"#), "OK a,b"),
        ("nested list", json(r#"{"value": ["a", ["b", null, 3]]}"#), "OK a,b,3"),
        ("not ascii", json(r#"{"value": "Jos\u00e9"}"#), "OK José"),
        ("no error", json(r#"{"value": "v", "error": "none"}"#), "OK v"),
        ("absent", json(r#"{"other": "v"}"#), "NOTFOUND "),
        ("absent, no error", json(r#"{"error": "none"}"#), "NOTFOUND "),
        ("empty", json(r#"{"value": ""}"#), "PERM empty value"),
        ("null", json(r#"{"value": null}"#), "PERM empty value"),
        ("object", json(r#"{"value": {"a": "b"}}"#), "PERM unexpected value"),
        ("empty list", json(r#"{"value": []}"#), "PERM unexpected value"),
        ("list of null", json(r#"{"value": [null]}"#), "PERM unexpected value"),
        ("error", json(r#"{"value": "v", "error": "no luck"}"#), "PERM unexpected error received: no luck"),
        ("html", Reply::json("<html><body>It works!</body></html>"), TEMP),
        ("no object", json(r#"["value"]"#), TEMP),
        ("no body", json(""), TEMP),
        ("half a body", json(r#"{"value": "v""#), TEMP),
        ("two bodies", json(r#"{"value": "v"}{"value": "w"}"#), TEMP),
        ("deep", Reply::json(&"[".repeat(100_000)), TEMP),
        ("garbage", Reply::Raw(b"HTTP/1.1 banana\r\n\r\n{}".to_vec()), TEMP),
        ("a header of 1 MiB", with_header("x".repeat(1 << 20)), TEMP),
        ("a body of 2 MiB", json(&(" ".repeat(2 << 20) + r#"{"value": "v"}"#)), TEMP),
        ("reset", Reply::Reset, TEMP),
        ("closed", Reply::Close, TEMP),
        ("truncated", Reply::Truncated(br#"{"value": "v"}"#.to_vec()), TEMP),
        ("no http", Reply::Raw(b"220 mx ESMTP\r\n".to_vec()), TEMP),
    ]
}

/// A status with a body that would be a value, and a redirect to another place.
fn with_status(status: u16) -> Reply {
    let headers = vec![("Location".to_owned(), "/elsewhere".to_owned())];
    Reply::Answer { status, headers, body: br#"{"value": "wrong"}"#.to_vec() }
}

fn with_header(value: String) -> Reply {
    let headers = vec![("X-Long".to_owned(), value)];
    Reply::Answer { status: 200, headers, body: br#"{"value": "wrong"}"#.to_vec() }
}

fn by_row(request: &Request) -> Reply {
    let key = request.text("key");
    let row = rows().into_iter().find(|(name, _, _)| *name == key);
    row.map_or_else(|| Reply::status(501), |(_, reply, _)| reply)
}

#[test]
fn each_answer_has_its_reply() {
    let site = Site::start(by_row);
    for way in Way::ALL {
        let mut peer = site.map(way);
        let (mut got, mut due) = (Vec::new(), Vec::new());
        for (key, _, reply) in rows() {
            got.push(format!("{key}: {}", peer.look_up("demo", &key)));
            due.push(format!("{key}: {reply}"));
        }
        assert_eq!(got, due, "by {way:?}");
    }
    let paths: Vec<_> = site.maps.requests().into_iter().filter(|request| request.path != "/map").collect();
    assert!(paths.is_empty(), "no redirect is followed: {paths:?}");
}

/// CR, LF and NUL fit into a netstring, but Postfix would misread them.
#[test]
fn a_value_is_one_line() {
    let site = Site::start(|request| {
        let value = request.text("key");
        Reply::json(&format!(r#"{{"value": "a{value}b"}}"#))
    });
    let mut peer = site.map(Way::Tcp);
    for escape in ["\\n", "\\r", "\\u0000", "\\r\\nOK c"] {
        let reply = peer.look_up("demo", escape);
        let failed = reply.starts_with("PERM ") || reply.starts_with("TEMP ");
        assert!(failed && !reply.contains(['\n', '\r', '\0']), "{escape}: {reply:?}");
    }
    let reply = peer.look_up("demo", " and ");
    assert_eq!(reply, "OK a and b", "the connection goes on");
}

#[test]
fn an_error_text_is_one_line() {
    let site = Site::constant(r#"{"error": "first\nOK second\r\n\u0000third"}"#);
    let reply = site.map(Way::Tcp).look_up("demo", "k");
    assert!(reply.starts_with("PERM unexpected error received: first"), "{reply:?}");
    assert!(!reply.contains(['\n', '\r', '\0']), "{reply:?}");
}

#[test]
fn a_backend_that_refuses_is_temporary_and_comes_back() {
    let mut site = Site::constant(r#"{"value": "v"}"#);
    let mut peers = Way::ALL.map(|way| site.map(way));
    site.maps.down();
    for (peer, way) in peers.iter_mut().zip(Way::ALL) {
        assert_eq!(peer.look_up("demo", "k"), TEMP, "by {way:?}");
    }
    site.maps.up();
    for (peer, way) in peers.iter_mut().zip(Way::ALL) {
        assert_eq!(peer.look_up("demo", "k"), "OK v", "by {way:?}");
    }
}

#[test]
fn a_backend_that_stalls_fails_after_the_entrys_timeout() {
    let trickle = || Reply::Trickle(br#"{"value": "v"}"#.to_vec(), Duration::from_millis(200));
    let site = Site::start(move |request| match request.text("key").as_str() {
        "before the head" => Reply::stall(),
        "in the body" => Reply::StalledBody(br#"{"value": "v"}"#.to_vec()),
        _ => trickle(),
    });
    for way in Way::ALL {
        for key in ["before the head", "in the body", "byte by byte"] {
            let mut peer = site.map(way);
            let start = Instant::now();
            let reply = peer.look_up(HASTY, key);
            let took = start.elapsed().as_secs_f32();
            assert_eq!(reply, TEMP, "{key} by {way:?} after {took} s");
            assert!((0.9..2.5).contains(&took), "{key} by {way:?} took {took} s of 1 s");
        }
    }
}

#[test]
fn a_kept_connection_that_the_backend_closed_fails_no_lookup() {
    let mut site = Site::constant(r#"{"value": "v"}"#);
    let mut peer = site.map(Way::Unix);
    for round in 0..5 {
        assert_eq!(peer.look_up("demo", "k"), "OK v", "in round {round}");
        site.maps.down();
        site.maps.up();
    }
}

#[test]
fn a_request_without_map_or_key_is_never_not_found() {
    let site = Site::constant(r#"{"value": "v"}"#);
    for way in Way::ALL {
        let mut peer = site.map(way);
        assert_eq!(peer.look_up("nosuch", "k"), "PERM unknown map", "by {way:?}");
        assert_eq!(peer.look_up("Demo", "k"), "PERM unknown map", "names are case-sensitive, by {way:?}");
        peer.send("4:demo,");
        assert_eq!(peer.reply(), "PERM malformed request", "by {way:?}");
        assert_eq!(peer.look_up("demo", "k"), "OK v", "the connection stays, by {way:?}");
    }
    assert_eq!(site.maps.count(), Way::ALL.len(), "only good requests reach the API");
}

#[test]
fn a_reply_is_at_most_as_long_as_postfix_accepts() {
    let site = Site::start(|request| {
        let length = request.text("key").parse().expect("the key is a length");
        Reply::json(&format!(r#"{{"value": "{}"}}"#, "x".repeat(length)))
    });
    for way in Way::ALL {
        let mut peer = site.map(way);
        let longest = peer.look_up("demo", "99997");
        assert_eq!(longest.len(), 100_000, "by {way:?}");
        assert!(longest.starts_with("OK xxx"), "by {way:?}: {}", &longest[..60]);
        assert_eq!(peer.look_up("demo", "99998"), "PERM value too long: 100001", "by {way:?}");
        assert_eq!(peer.look_up("demo", "1"), "OK x", "the connection goes on, by {way:?}");
    }
}
