//! `server.observability`: what the endpoint for Prometheus says, and who may read it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::backend::{Backend, Reply};
use crate::support::broker::{Broker, refused_start};
use crate::support::certificates::{Authority, Flaw};
use crate::support::config::{Config, Kind, backend_oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::metrics::{Scrape, ask, promtool};
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};
use crate::support::sources;
use crate::support::{PATIENCE, pause, wait_until};
use crate::targets::targets;

const REQUESTS: &str = "pfxhttp_application_requests_total";
const TOOK: &str = "pfxhttp_application_request_duration_seconds";
const CALLS: &str = "pfxhttp_backend_http_requests_total";

#[test]
fn all_metrics_pass_promtool() {
    let port = Port::reserve();
    let api = Backend::start(|request| match request.path.as_str() {
        "/map" if request.text("key") == "none" => Reply::json(r#"{"error": "none"}"#),
        "/map" => Reply::json(r#"{"value": "v", "error": "none"}"#),
        "/login" if request.text("password") == "good" => {
            Reply::with_header("Auth-User", &request.text("username"), "")
        }
        "/login" => Reply::with_header("Auth-Status", "no", ""),
        "/down" => Reply::status(503),
        _ => Reply::json(r#"{"action": "550 5.7.1 no", "error": "none"}"#),
    });
    let several = targets(&[api.url("/down"), api.url("/down").replace("127.0.0.1", "localhost")]);
    let setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &["prometheus_runtime_metrics: true"]);
        config
            .map("users", &api.url("/map"), &["cache: {fresh: 1m}"])
            .map("lost", &api.url("/down"), &[])
            .map_of("several", &[&several, "method: GET", "value_field: value"])
            .policy("checks", &api.url("/policy"), &[])
            .login("smtp", &api.url("/login"), &[])
    });
    let mut map = setup.map();
    for (name, key) in [("users", "a"), ("users", "a"), ("users", "none"), ("lost", "a"), ("other", "a")] {
        map.look_up(name, key);
    }
    map.look_up("several", "a");
    setup.policy("checks").ask(&[("request", "smtpd_access_policy")]);
    setup.client(&["policy", "checks"]).ask(&[("request", "smtpd_access_policy")]);
    let mut login = setup.login(Way::Unix, "smtp");
    for (id, password) in [(1, "good"), (2, "bad")] {
        login.plain(id, "u", password);
        login.line();
    }
    let scrape = Scrape::of(port.address());
    promtool(&["check", "metrics"], &scrape.text);
    let is = |name: &str, labels: &[(&str, &str)], due: f64| {
        assert_eq!(scrape.sum(name, labels), due, "{name} {labels:?} in\n{}", scrape.text);
    };
    let listener = ("listener", "maps");
    is(REQUESTS, &[("component", "socket_map"), ("name", "users"), ("outcome", "ok"), listener], 2.0);
    is(REQUESTS, &[("name", "users"), ("outcome", "not_found")], 1.0);
    is(REQUESTS, &[("name", "lost"), ("outcome", "tempfail")], 1.0);
    is(REQUESTS, &[("name", "unknown"), ("outcome", "fail"), listener], 1.0);
    is(REQUESTS, &[("component", "policy_service"), ("listener", "checks"), ("outcome", "reject")], 1.0);
    is(REQUESTS, &[("component", "policy_service"), ("listener", "ipc"), ("outcome", "reject")], 1.0);
    is(REQUESTS, &[("component", "dovecot_sasl"), ("outcome", "ok")], 1.0);
    is(REQUESTS, &[("component", "dovecot_sasl"), ("outcome", "fail")], 1.0);
    is(&format!("{TOOK}_count"), &[("component", "socket_map")], 6.0);
    for bound in ["0.0005", "0.001", "0.0025", "0.005", "10"] {
        let series = format!("{TOOK}_bucket{{component=\"socket_map\",name=\"users\"");
        let is_there = |line: &str| line.starts_with(&series) && line.contains(&format!("le=\"{bound}\""));
        assert!(scrape.text.lines().any(is_there), "{bound}: {}", scrape.text);
    }
    is(CALLS, &[("name", "lost"), ("status_class", "5xx"), ("result", "status_code")], 1.0);
    is(CALLS, &[("name", "users"), ("method", "POST"), ("status_class", "2xx"), ("result", "ok")], 2.0);
    is("pfxhttp_cache_lookups_total", &[("name", "users"), ("result", "hit")], 1.0);
    is("pfxhttp_cache_lookups_total", &[("name", "users"), ("result", "miss")], 2.0);
    is("pfxhttp_listener_active_connections", &[("component", "socket_map")], 1.0);
    is("pfxhttp_listener_connections_total", &[("component", "local"), ("event", "accept")], 1.0);
    is("pfxhttp_target_workers", &[("name", "users")], 256.0);
    is("pfxhttp_target_up", &[("name", "several")], 2.0);
    is("pfxhttp_target_up", &[], 2.0);
    is(
        "pfxhttp_target_requests_total",
        &[("name", "several"), ("code", "5xx"), ("target", &api.url(""))],
        1.0,
    );
    is("pfxhttp_target_requests_total", &[], 2.0);
    is("pfxhttp_target_moves_total", &[("name", "several"), ("result", "retried")], 1.0);
    is("pfxhttp_observability_startups_total", &[("result", "ok")], 1.0);
    is("pfxhttp_config_last_reload_successful", &[], 1.0);
    assert!(scrape.sum("pfxhttp_backend_connections", &[("state", "idle")]) >= 1.0, "{}", scrape.text);
    assert!(scrape.sum("process_resident_memory_bytes", &[]) > 1e6);
    drop(map);
    let closed = || {
        let labels = [("component", "socket_map"), ("event", "close"), ("result", "ok")];
        Scrape::of(port.address()).sum("pfxhttp_listener_connections_total", &labels) == 1.0
    };
    assert!(wait_until(PATIENCE, closed), "{}", Scrape::of(port.address()).text);
}

#[test]
fn invented_names_add_no_series() {
    let (port, api) = (Port::reserve(), Backend::constant(r#"{"value": "v"}"#));
    let setup = Setup::start(|config| config.prometheus(port.number(), &[]).map("m", &api.url("/"), &[]));
    let mut map = setup.map();
    map.look_up("m", "k");
    map.look_up("invented", "k");
    let before = Scrape::of(port.address()).count();
    for number in 0..10_000 {
        assert_eq!(map.look_up(&format!("invented-{number}"), "k"), "PERM unknown map");
    }
    let after = Scrape::of(port.address());
    assert_eq!(after.count(), before, "{}", after.text);
    assert_eq!(after.sum(REQUESTS, &[("name", "unknown")]), 10_001.0);
}

#[test]
fn the_callers_pauses_do_not_count_as_service_time() {
    let (port, api) = (Port::reserve(), Backend::constant(r#"{"value": "v", "action": "DUNNO"}"#));
    let setup = Setup::start(|config| {
        config.prometheus(port.number(), &[]).map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[])
    });
    let (mut map, mut policy) = (setup.map(), setup.policy("p"));
    map.look_up("m", "k");
    // The caller pauses between two requests, and within one.
    policy.send(b"request=smtpd_access_policy\n");
    pause(Duration::from_secs(5));
    policy.send(b"\n");
    policy.action();
    map.look_up("m", "k");
    let scrape = Scrape::of(port.address());
    for (component, count) in [("socket_map", 2.0), ("policy_service", 1.0)] {
        let labels = [("component", component), ("le", "1")];
        assert_eq!(scrape.sum(&format!("{TOOK}_bucket"), &labels), count, "{component}: {}", scrape.text);
    }
}

#[test]
fn a_reload_keeps_counters_and_drops_those_of_removed_entries() {
    let (port, api) = (Port::reserve(), Backend::constant(r#"{"value": "v"}"#));
    let directory = open_directory();
    let maps = directory.path().join("maps.sock");
    let config = |steady: &str| {
        Config::new(directory.path())
            .prometheus(port.number(), &[])
            .listen_unix(Kind::Map, "maps", &maps)
            .map("steady", &api.url(steady), &[])
    };
    let broker = Broker::start(&config("/one").map("gone", &api.url("/"), &[]).write());
    Peer::unix(&maps).look_up("steady", "k");
    Peer::unix(&maps).look_up("gone", "k");
    let seen = |name| Scrape::of(port.address()).sum(REQUESTS, &[("name", name)]);
    assert_eq!((seen("steady"), seen("gone")), (1.0, 1.0));
    config("/two").write();
    assert!(broker.reload());
    Peer::unix(&maps).look_up("steady", "k");
    assert_eq!(seen("steady"), 2.0);
    assert!(wait_until(PATIENCE, || seen("gone") == 0.0), "{}", Scrape::of(port.address()).text);
    let file = directory.path().join("pfxhttp.yml");
    std::fs::write(&file, "nonsense: 1\n").expect("the configuration can be written");
    assert!(!broker.reload());
    let scrape = Scrape::of(port.address());
    assert_eq!(scrape.sum("pfxhttp_config_last_reload_successful", &[]), 0.0);
    assert_eq!(scrape.sum("pfxhttp_config_reloads_total", &[("result", "ok")]), 1.0);
    assert_eq!(scrape.sum("pfxhttp_config_reloads_total", &[("result", "error")]), 1.0);
}

#[test]
fn an_endpoint_that_cannot_be_bound_prevents_the_start() {
    let directory = open_directory();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let number = taken.local_addr().expect("an address").port();
    let (code, text) = refused_start(&Config::new(directory.path()).prometheus(number, &[]).write());
    assert_eq!(code, Some(71), "{text}");
    assert!(text.contains("cannot listen for Prometheus on 127.0.0.1:"), "{text}");
    assert!(!text.contains(" ready "), "{text}");
}

#[test]
fn only_get_and_head_of_one_path_are_served() {
    let port = Port::reserve();
    let _setup = Setup::start(|config| config.prometheus(port.number(), &["prometheus_path: numbers"]));
    let status = |head: &str| ask(port.address(), head).split(' ').nth(1).map(str::to_owned);
    let due = |code: &str| Some(code.to_owned());
    assert_eq!(status("GET /numbers HTTP/1.0"), due("200"));
    assert_eq!(status("GET /numbers?x=1 HTTP/1.0"), due("200"));
    for path in ["/", "/metrics", "/numbers/", "//numbers"] {
        assert_eq!(status(&format!("GET {path} HTTP/1.0")), due("404"), "{path}");
    }
    assert_eq!(status("DELETE /numbers HTTP/1.0"), due("405"));
    let head = ask(port.address(), "HEAD /numbers HTTP/1.0");
    assert!(head.starts_with("HTTP/1.0 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    // A client that does not finish its request is disconnected.
    let mut stream = TcpStream::connect(port.address()).expect("the endpoint listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    stream.write_all(b"GET /numbers HTTP/1.1\r\nX: 1").expect("the endpoint reads");
    stream.read_to_end(&mut Vec::new()).expect("the endpoint closes in time");
}

#[test]
fn idle_connections_delay_no_scrape() {
    let port = Port::reserve();
    let _setup = Setup::start(|config| config.prometheus(port.number(), &[]));
    // These clients sent nothing, sent a part, or sent a request and keep the connection.
    let begun: [&[u8]; 3] = [b"", b"GET /metrics HTTP/1.1\r\nX: 1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"];
    let idle: Vec<TcpStream> = (0..300)
        .map(|nth| {
            let mut stream = TcpStream::connect(port.address()).expect("the endpoint listens");
            // The endpoint may have closed it already.
            let _ = stream.write_all(begun[nth % begun.len()]);
            stream
        })
        .collect();
    for _ in 0..20 {
        let start = Instant::now();
        assert!(Scrape::of(port.address()).count() > 0);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "a scrape took {took:?}");
    }
    drop(idle);
}

/// Runs curl; returns its exit code and output. Credentials and the like are among `arguments`.
fn curl(port: &Port, scheme: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("{scheme}://{}/metrics", port.address());
    let output =
        Command::new("curl").args(["-sS", "-i", "--max-time", "10"]).args(arguments).arg(url).output();
    let output = output.unwrap_or_else(|error| panic!("curl cannot be run ({error}): see `make packages`"));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_endpoint_requires_the_password_and_uses_tls() {
    let directory = open_directory();
    let authority = Authority::new("metrics");
    let root = authority.write(directory.path(), "root.crt").display().to_string();
    let (cert, key) = authority.server(Flaw::None).write(directory.path(), "endpoint");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "scraper:s3cr:et\n").expect("a file");
    let port = Port::reserve();
    let write = |version: &str| {
        let more = format!(
            r#"
            prometheus_http_auth_basic_file: "{}"
            prometheus_tls:
              enabled: true
              cert: "{}"
              key: "{}"
              min_tls_version: "{version}"
            "#,
            secret.display(),
            cert.display(),
            key.display(),
        );
        Config::new(directory.path()).prometheus(port.number(), &[&more]).write()
    };
    let broker = Broker::start(&write("1.2"));
    let trusting = ["--cacert", root.as_str()];
    let with = |more: &[&str]| curl(&port, "https", &[&trusting[..], more].concat());
    let (_, answer) = with(&[]);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("www-authenticate: Basic realm=\"pfxhttp metrics\""), "{answer}");
    assert!(!answer.contains("pfxhttp_build_info"), "{answer}");
    assert!(with(&["--user", "scraper:s3cr"]).1.starts_with("HTTP/1.1 401 "));
    let user = ["--user", "scraper:s3cr:et"];
    for versions in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let (_, answer) = with(&[&user[..], versions].concat());
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("pfxhttp_build_info"), "{answer}");
    }
    assert_eq!(curl(&port, "https", &user).0, Some(60), "the configured certificate is used");
    assert!(!curl(&port, "http", &user).1.contains("pfxhttp_"), "without TLS there is no answer");
    write("1.3");
    assert!(broker.reload());
    assert_eq!(with(&[&user[..], &["--tls-max", "1.2"]].concat()).0, Some(35), "{}", broker.log());
    std::fs::write(&secret, "scraper:other\n").expect("a file");
    assert!(broker.reload());
    assert!(with(&user).1.starts_with("HTTP/1.1 401 "));
    assert!(with(&["--user", "scraper:other"]).1.starts_with("HTTP/1.1 200 "));
    assert!(!broker.log().contains("s3cr"), "{}", broker.log());
}

#[test]
fn tokens_are_counted() {
    let (port, provider) = (Port::reserve(), FakeProvider::start());
    let api = Backend::start(|request| match request.nth {
        1 => Reply::status(401),
        _ => Reply::json(r#"{"value": "v"}"#),
    });
    let oidc = backend_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let setup =
        Setup::start(|config| config.prometheus(port.number(), &[]).map("m", &api.url("/"), &[&oidc]));
    setup.map().look_up("m", "k");
    let scrape = Scrape::of(port.address());
    let asked = provider.count(Endpoint::Token) as f64;
    assert_eq!(scrape.sum("pfxhttp_oidc_token_fetches_total", &[("result", "ok")]), asked, "{}", scrape.text);
    assert_eq!(scrape.sum("pfxhttp_oidc_token_refusals_total", &[("token", "backend")]), 1.0);
    assert_eq!(scrape.sum(CALLS, &[("component", "oidc"), ("name", "token")]), asked);
    assert_eq!(scrape.sum(CALLS, &[("component", "oidc"), ("name", "discovery")]), 1.0);
    assert!(!scrape.text.contains("s3cret"));
}

const RULES: &str = "prometheus/pfxhttp.rules.yml";
const DASHBOARD: &str = "grafana/pfxhttp.json";

/// A file in `contrib`.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

fn contributed(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of `text` that name a metric.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pfxhttp_") || word.starts_with("process_")).collect()
}

#[test]
fn alerts_and_dashboard_use_existing_metrics() {
    let known = sources::words("observe/metrics", |word| {
        word.starts_with("pfxhttp_") || word.starts_with("process_")
    });
    for name in [RULES, DASHBOARD] {
        let text = contributed(name);
        for metric in named(&text) {
            let family = metric.trim_end_matches("_bucket").trim_end_matches("_count");
            assert!(known.contains(family), "{name}: {metric} is not exported");
        }
    }
}

#[test]
fn the_expressions_of_alerts_and_dashboard_are_legal() {
    promtool(&["check", "rules", &path(RULES).display().to_string()], "");
    let dashboard: Value = serde_json::from_str(&contributed(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let expressions = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let rules = expressions.map(|target| {
        let expression = target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m");
        json!({ "record": "x", "expr": expression })
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() > 30, "{rules:?}");
    // Equal rules are an error, and one legal rule is not like another.
    let groups =
        rules.iter().enumerate().map(|(nth, rule)| json!({ "name": nth.to_string(), "rules": [rule] }));
    let directory = open_directory();
    let file = directory.path().join("dashboard.yml");
    std::fs::write(&file, json!({ "groups": groups.collect::<Vec<_>>() }).to_string()).expect("a file");
    promtool(&["check", "rules", &file.display().to_string()], "");
}

#[test]
fn an_alert_tells_of_a_target_that_stays_out_and_of_one_that_flaps() {
    let target = |name: &str, of: &str| {
        format!(r#"{name}{{component="socket_map",instance="h",name="m",target="http://{of}"}}"#)
    };
    let firing = |minute: u64, alert: &str, of: &[&str]| {
        let samples =
            of.iter().map(|of| json!({ "labels": format!(r#"{{target="http://{of}"}}"#), "value": 1 }));
        json!({
            "expr": format!(r#"sum by (target) (ALERTS{{alertname="{alert}",alertstate="firing"}})"#),
            "eval_time": format!("{minute}m"),
            "exp_samples": samples.collect::<Vec<_>>(),
        })
    };
    let tests = json!({
        "rule_files": [path(RULES)],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                { "series": target("pfxhttp_target_up", "a"), "values": "1x4 0x30 1x30" },
                { "series": target("pfxhttp_target_up", "b"), "values": "1x70" },
                { "series": target("pfxhttp_target_outages_total", "a"), "values": "0x4 1x60" },
                { "series": target("pfxhttp_target_outages_total", "c"), "values": "0+1x10 10x130" },
            ],
            "promql_expr_test": [
                firing(14, "PfxhttpTargetOut", &[]),
                firing(16, "PfxhttpTargetOut", &["a"]),
                firing(40, "PfxhttpTargetOut", &[]),
                firing(3, "PfxhttpTargetFlaps", &[]),
                firing(20, "PfxhttpTargetFlaps", &["c"]),
                firing(100, "PfxhttpTargetFlaps", &[]),
            ],
        }],
    });
    let directory = open_directory();
    let file = directory.path().join("tests.yml");
    std::fs::write(&file, tests.to_string()).expect("a file");
    promtool(&["test", "rules", &file.display().to_string()], "");
}
