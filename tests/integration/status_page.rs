//! The status page and the health check of the endpoint for Prometheus, without a browser: headers, escapes,
//! credentials, and what the page says.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind, backend_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::fleet::{Files, SECRET};
use crate::support::metrics::ask;
use crate::support::peer::{Peer, netstring};
use crate::support::port::Port;
use crate::support::redis::Redis;
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_until};

const ON: &str = "prometheus_status_page: true";

/// A status code, the headers, and the body.
fn get(port: &Port, request: &str) -> (u16, BTreeMap<String, String>, String) {
    let answer = ask(port.address(), request);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    (code, headers.collect(), body.to_owned())
}

fn code(port: &Port, request: &str) -> u16 {
    get(port, request).0
}

/// Every element that begins also ends, in order. Returns how many there are.
fn count_elements(html: &str) -> usize {
    let (mut open, mut count) = (Vec::new(), 0);
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag ends");
        let name = tag.split(' ').next().expect("a name");
        count += 1;
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "in {html}"),
            None if ["!DOCTYPE", "meta", "link"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    count
}

#[test]
fn the_page_is_html_without_scripts_under_a_strict_policy() {
    let (port, api) = (Port::reserve(), Backend::constant(r#"{"value": "v"}"#));
    let setup = Setup::start(|config| config.prometheus(port.number(), &[ON]).map("m", &api.url("/"), &[]));
    setup.map().look_up("m", "k");
    let (code, headers, body) = get(&port, "GET /status HTTP/1.0");
    assert_eq!((code, headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(!body.contains("Shared cache"), "there is none: {body}");
    assert!(body.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && count_elements(&body) > 100);
    for (name, due) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(headers.get(name).map(String::as_str), Some(due), "{name}");
    }
    let (_, style) = body.split_once("<style>").expect("a style sheet");
    let (style, _) = style.split_once("</style>").expect("its end");
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let policy = &headers["content-security-policy"];
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.contains(&format!("style-src 'sha256-{hash}'"))
    );
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for never in ["<script", " style=", " onload", "javascript:", "http://www.w3.org/1999"] {
        assert!(!body.contains(never), "{never}");
    }
    assert!(body.contains("<meta http-equiv=\"refresh\" content=\"5\">"), "{body}");
    let refresh = |query: &str| get(&port, &format!("GET /status?{query} HTTP/1.0")).2;
    assert!(refresh("refresh=1").contains("<meta http-equiv=\"refresh\" content=\"1\">"));
    assert!(!refresh("refresh=0").contains("http-equiv"));
    assert!(refresh("refresh=0;url=//example.org").contains("content=\"5\">"), "only known values");
    let head = get(&port, "HEAD /status HTTP/1.0");
    assert_eq!((head.0, head.2.as_str()), (200, ""));
    assert_eq!(self::code(&port, "POST /status HTTP/1.0"), 405);
    for path in ["/status/", "/", "//status", "/Status"] {
        assert_eq!(self::code(&port, &format!("GET {path} HTTP/1.0")), 404, "{path}");
    }
}

#[test]
fn the_page_is_off_by_default_and_follows_a_reload() {
    let (port, api, directory) = (Port::reserve(), Backend::constant("{}"), open_directory());
    let config = |more: &[&str]| {
        Config::new(directory.path()).prometheus(port.number(), more).map("m", &api.url("/"), &[]).write()
    };
    let broker = Broker::start(&config(&[]));
    assert_eq!((code(&port, "GET /status HTTP/1.0"), code(&port, "GET /healthz HTTP/1.0")), (404, 200));
    config(&[ON]);
    assert!(broker.reload());
    assert_eq!(code(&port, "GET /status HTTP/1.0"), 200);
    assert!(get(&port, "GET /status HTTP/1.0").2.contains("<dt>configuration</dt><dd>2</dd>"));
}

#[test]
fn every_value_is_shown_as_text() {
    let api = Backend::start(|request| match request.path.as_str() {
        "/down" => Reply::status(503),
        _ => Reply::json(r#"{"value": "v", "error": "<b>API</b>"}"#),
    });
    let names = ["<img/src=x/onerror=alert(1)>", "</td><script>alert(1)</script>", "a&b'c", "x\u{202e}y"];
    let (port, directory) = (Port::reserve(), open_directory());
    let socket = directory.path().join("<i>maps.sock");
    let quoted = |name: &str| serde_json::to_string(name).expect("JSON");
    let config = Config::new(directory.path()).prometheus(port.number(), &[ON]);
    let config = names.iter().fold(config, |config, name| config.map(&quoted(name), &api.url("/down"), &[]));
    let broker = Broker::start(&config.listen_unix(Kind::Map, "maps", &socket).write());
    names.iter().for_each(|name| drop(Peer::unix(&socket).look_up(name, "k")));
    let (_, _, body) = get(&port, "GET /status HTTP/1.0");
    count_elements(&body);
    for never in ["<img", "<script", "<i>", "<b>API", "alert(1)</script>"] {
        assert!(!body.contains(never), "{never} in {body}");
    }
    for due in [
        "<bdi class=\"name\">&lt;img/src=x/onerror=alert(1)&gt;</bdi>",
        "<bdi class=\"name\">&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;</bdi>",
        "<bdi class=\"name\">a&amp;b&#39;c</bdi>",
        "<bdi class=\"name\">x\u{202e}y</bdi>",
        "/&lt;i&gt;maps.sock</bdi>",
    ] {
        assert!(body.contains(due), "{due} in {body}");
    }
    assert!(!broker.log().contains("panicked"));
}

#[test]
fn the_page_says_what_fails_and_how_long_tokens_last() {
    let (port, provider) = (Port::reserve(), FakeProvider::start());
    let api = Backend::start(|request| match request.path.as_str() {
        "/down" => Reply::status(503),
        _ => Reply::json(r#"{"value": "v"}"#),
    });
    let oidc = backend_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &[ON]);
        let config = config.map("good", &api.url("/"), &[&oidc]).map("zbroken", &api.url("/down"), &[]);
        let other = backend_oidc(&provider.configuration_uri(), "client_id: other, client_secret: s3cret");
        config.policy("unasked", &api.url("/"), &[&other])
    });
    let mut map = setup.map();
    (0..3).for_each(|_| drop(map.look_up("zbroken", "k")));
    map.look_up("good", "k");
    let (_, _, body) = get(&port, "GET /status HTTP/1.0");
    assert!(body.contains("<title>(1) pfxhttp</title>"), "{body}");
    assert!(body.contains("<p class=\"state bad\">1 of 3 entries failing</p>"), "{body}");
    let place = |text: &str| body.find(text).unwrap_or_else(|| panic!("no {text} in {body}"));
    assert!(place(">zbroken<") < place(">good<"), "failing entries are first");
    assert!(body.contains("<b class=\"bad\" title=\"3 status\">3</b>"), "{body}");
    assert!(body.contains("unexpected status code 503"), "{body}");
    let tokens = &body[place("Tokens for APIs")..];
    assert!(tokens.contains(">good<") && tokens.contains("valid") && tokens.contains("none yet"), "{tokens}");
    assert!(!tokens.contains("zbroken") && !body.contains("s3cret"), "{body}");
}

#[test]
fn the_page_and_status_show_the_shared_cache() {
    let (redis, files, port) = (Redis::start(), Files::new(), Port::reserve());
    let api = Backend::constant(r#"{"value": "v"}"#);
    let start = |more: &str| {
        Setup::start(|config| {
            let config = config.server(more).prometheus(port.number(), &[ON]);
            config.map("m", &api.url("/"), &["cache: {fresh: 1h, shared: true}"])
        })
    };
    let setup = start(&files.shared(&redis.url(), ""));
    let json = |setup: &Setup| -> serde_json::Value {
        let output = run(setup.broker.config(), &["status", "--json"], "");
        serde_json::from_str(&text(&output)).expect("JSON")
    };
    assert!(wait_until(PATIENCE, || json(&setup)["shared"]["is_up"] == true), "{}", setup.broker.log());
    for key in ["k", "l", "k"] {
        assert_eq!(setup.map().look_up("m", key), "OK v");
    }
    assert!(wait_until(PATIENCE, || json(&setup)["shared"]["writes"]["ok"] == 2), "{}", json(&setup));
    let status = json(&setup)["shared"].clone();
    let reads = status["reads"].as_object().expect("reads");
    assert_eq!(reads.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 2, "{status}");
    assert_eq!((&status["waiting_writes"], &status["writes"]["dropped"]), (&0.into(), &0.into()), "{status}");
    let lines = text(&run(setup.broker.config(), &["status"], ""));
    assert!(lines.contains("waiting_writes=0") && lines.contains("writes.ok=2"), "{lines}");
    let (_, _, body) = get(&port, "GET /status HTTP/1.0");
    count_elements(&body);
    let part = |body: &str| body.split("<h2>Shared cache</h2>").nth(1).expect("a section").to_owned();
    let shown = part(&body);
    assert!(shown.contains("<span class=\"state good\">up</span>"), "{shown}");
    let since = status["since"].as_str().expect("a time");
    assert!(shown.contains(&format!("<time datetime=\"{since}\">")), "{shown}");
    assert!(shown.contains(">2 ok</td>") && shown.contains(">2 absent</td>"), "{shown}");
    assert!(shown.contains(&format!(">{}</bdi>", redis.url())), "{shown}");
    drop(redis);
    assert!(wait_until(PATIENCE, || json(&setup)["shared"]["is_up"] == false));
    let shown = part(&get(&port, "GET /status HTTP/1.0").2);
    assert!(shown.contains("<span class=\"state bad\">down</span>"), "{shown}");
    assert!(json(&setup)["shared"]["problem"].is_string(), "{}", json(&setup));
    assert!(shown.contains("</time></small><small class=\"bad\">"), "{shown}");
    setup.map().look_up("m", "unknown");
    let shown = part(&get(&port, "GET /status HTTP/1.0").2);
    assert!(shown.contains(">1 dropped, 2 ok</td>") && shown.contains("2 absent, 1 down"), "{shown}");
    drop(setup);
    let nobody = format!("redis://{}", Port::reserve().address());
    let sentinel = format!(", sentinel: {{master: \"<i>'&\\\"\", urls: [\"{nobody}\"]}}");
    let setup = start(&files.shared("redis://unused", &sentinel));
    assert!(setup.broker.logged(&["shared cache not reached"]));
    let (_, _, body) = get(&port, "GET /status HTTP/1.0");
    count_elements(&body);
    assert!(part(&body).contains(">&lt;i&gt;&#39;&amp;&quot; (by sentinel)</bdi>"), "{body}");
    assert!(part(&body).contains("connection refused</small>"), "{body}");
    assert!(!body.contains("<i>") && !body.contains(SECRET), "{body}");
}

#[test]
fn more_entries_than_a_page_holds_are_counted() {
    let (port, api) = (Port::reserve(), Backend::constant("{}"));
    let _setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &[ON]);
        (0..230).fold(config, |config, nth| config.map(&format!("m{nth}"), &api.url("/"), &[]))
    });
    let (_, _, body) = get(&port, "GET /status HTTP/1.0");
    assert_eq!(body.matches("<tr class=\"ok\">").count(), 200);
    assert!(body.contains("30 entries more: pfxhttp-broker status"), "{}", body.len());
    assert!(body.len() < 400_000, "{}", body.len());
}

#[test]
fn only_the_health_check_needs_no_credentials() {
    let (port, api) = (Port::reserve(), Backend::constant("{}"));
    let _setup = Setup::start(|config| {
        let credentials = "prometheus_http_auth_basic: 'u:s3cret'";
        config.prometheus(port.number(), &[ON, credentials]).map("m", &api.url("/"), &[])
    });
    let with =
        |path: &str| format!("GET {path} HTTP/1.0\r\nAuthorization: Basic {}", STANDARD.encode("u:s3cret"));
    for path in ["/status", "/metrics", "/nothing", "/healthz/", "/healthz%2f"] {
        let (code, headers, body) = get(&port, &format!("GET {path} HTTP/1.0"));
        assert_eq!((code, body.as_str()), (401, ""), "{path}");
        assert_eq!(headers["www-authenticate"], "Basic realm=\"pfxhttp metrics\"");
    }
    assert_eq!((code(&port, &with("/status")), code(&port, &with("/metrics"))), (200, 200));
    let (code, headers, body) = get(&port, "GET /healthz HTTP/1.0");
    assert_eq!((code, body.as_str(), headers["content-type"].as_str()), (200, "ok\n", "text/plain"));
    assert_eq!(self::code(&port, "DELETE /healthz HTTP/1.0"), 405);
}

#[test]
fn the_health_check_fails_while_the_broker_stops() {
    let (port, api) = (Port::reserve(), Backend::constant(r#"{"value": "v"}"#));
    let hanging = Backend::start(|_| Reply::stall());
    let setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &[ON]).map("m", &api.url("/"), &[]);
        config.map("slow", &hanging.url("/"), &["timeout: 10s"])
    });
    let mut map = setup.map();
    map.send(netstring("slow k"));
    assert!(wait_until(PATIENCE, || hanging.count() == 1));
    setup.broker.terminate();
    let health = || get(&port, "GET /healthz HTTP/1.0");
    assert!(wait_until(PATIENCE, || health().0 == 503), "{:?}", health());
    assert_eq!(health().2, "stopping\n");
    assert!(get(&port, "GET /status HTTP/1.0").2.contains("<p class=\"state bad\">stopping</p>"));
}
