//! Logins over gRPC, with a real service: what a call carries, what each answer means, what is shown of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::backend::{Backend, Reply};
use crate::support::command_line::run;
use crate::support::config::{Config, backend_oidc, sasl_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::grpc_service::{GrpcService, denied, status, users};
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;

/// A broker with the entry `users`, which logs in there.
pub(crate) fn setup(service: &GrpcService, grpc: &str, more: &[&str]) -> Setup {
    Setup::start(|config| entry(config, "users", service, grpc, more))
}

pub(crate) fn entry(config: Config, name: &str, service: &GrpcService, grpc: &str, more: &[&str]) -> Config {
    let lines = service.entry(grpc);
    config.login_of(name, &lines.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
}

/// The reply to a login; `closed` where the broker has closed the connection, which is a temporary failure.
pub(crate) fn log_in(setup: &Setup, name: &str, user: &str, password: &str) -> String {
    let mut sasl = setup.login(Way::Unix, name);
    sasl.plain(1, user, password);
    reply(&mut sasl)
}

fn reply(sasl: &mut Sasl) -> String {
    match sasl.next(Duration::from_secs(9)) {
        Heard::Line(line) => line,
        Heard::Closed(_) | Heard::Reset => "closed".to_owned(),
        Heard::Nothing => panic!("no reply within 9 s"),
    }
}

pub(crate) fn metadata<'c>(call: &'c Value, name: &str) -> Vec<&'c str> {
    let pairs = call["metadata"].as_array().expect("a list").iter();
    pairs.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().expect("a text")).collect()
}

#[test]
fn each_answer_has_its_meaning() {
    let mut service = GrpcService::start();
    let setup = setup(&service, "", &[]);
    let response = |response: Value| json!({"response": response});
    let attributes = json!({"mail": ["a@example.com", "b"], "Auth-User": ["c"]});
    for (answer, due) in [
        (response(json!({"decision": 1})), "OK\t1\tuser=typed"),
        (response(json!({"decision": 1, "attributes": attributes})), "OK\t1\tuser=c"),
        (
            response(json!({"decision": 1, "account_field": "mail", "attributes": attributes})),
            "OK\t1\tuser=a@example.com",
        ),
        (response(json!({"decision": 1, "account_field": "uid", "attributes": attributes})), "OK\t1\tuser=c"),
        (response(json!({"decision": 1, "attributes": {"Auth-User": ["a\tb"]}})), "closed"),
        (
            response(json!({"ok": true, "decision": 1, "session": "s", "backend": 3, "newer_text": "n",
                            "newer_number": 7, "backend_ref": {"name": "x", "opaque_token": "y"}})),
            "OK\t1\tuser=typed",
        ),
        (denied("no mailbox"), "FAIL\t1\treason=no mailbox\tuser=typed"),
        (response(json!({"decision": 2, "error": "gone"})), "FAIL\t1\treason=gone\tuser=typed"),
        (response(json!({"ok": true, "decision": 2})), "FAIL\t1\treason=authentication failed\tuser=typed"),
        (
            response(json!({"decision": 2, "status_message": "no secret here"})),
            "FAIL\t1\treason=authentication failed\tuser=typed",
        ),
        (response(json!({"decision": 3, "status_message": "later"})), "closed"),
        (response(json!({"ok": true})), "closed"),
        (response(json!({"ok": true, "decision": 0})), "closed"),
        (json!({"raw": "10"}), "closed"),
        (json!({"raw": "0801100f"}), "closed"),
        // An answer of more than 1 MiB.
        (response(json!({"decision": 1, "session": "x".repeat(1024 * 1024)})), "closed"),
    ] {
        service.answer_all(&answer);
        let answer: String = answer.to_string().chars().take(200).collect();
        assert_eq!(log_in(&setup, "users", "typed", "secret"), due, "{answer}");
    }
    for code in 1..=16 {
        service.answer_all(&status(code));
        assert_eq!(log_in(&setup, "users", "typed", "secret"), "closed", "status {code}");
    }
    service.answer(users());
    assert_eq!(log_in(&setup, "users", "typed", "secret"), "OK\t1\tuser=typed");
    for said in [
        "failure=\"the API says that it failed (TEMPFAIL)\"",
        "failure=\"gRPC status 3 (InvalidArgument)\"",
        "API answers again",
    ] {
        assert!(setup.broker.logged(&[said]), "{said}:\n{}", setup.broker.log());
    }
    let log = setup.broker.log();
    assert!(!log.contains("text of the service") && !log.contains("secret"), "{log}");
}

#[test]
fn a_call_carries_what_is_known() {
    let service = GrpcService::start();
    let setup = setup(
        &service,
        "metadata: {X-Tenant: [one, 'two 2'], x.y_z: [\"7\"]}, timeout: 3s",
        &["http_auth_basic: 'joe:s3cret'", "default_local_port: '587'"],
    );
    let mut sasl = setup.login(Way::Unix, "users");
    let peer =
        "service=smtp\tnologin\tlip=192.0.2.1\trip=192.0.2.7\trport=4711\tlocal_name=mx.example\tsecured";
    let tls = "ssl=TLSv1.3\tssl_cipher=TLS_AES_128_GCM_SHA256\tssl_protocol=TLSv1.3";
    // "\0u\0secret"
    sasl.say(format!("AUTH\t1\tPLAIN\t{peer}\t{tls}\tclient_id=mua\tresp=AHUAc2VjcmV0"));
    assert_eq!(sasl.line(), "OK\t1\tuser=u");
    sasl.auth(2, "LOGIN", None);
    sasl.line();
    sasl.cont(2, "u2");
    sasl.line();
    sasl.cont(2, "secret");
    assert_eq!(sasl.line(), "OK\t2\tuser=u2");
    let calls = service.calls();
    let mut request = calls[0]["request"].clone();
    let session = request["external_session_id"].take();
    assert_eq!(session.as_str().map(str::len), Some(16), "{session}");
    let due = json!({
        "username": "u", "password": "secret", "client_ip": "192.0.2.7", "client_port": "4711",
        "client_hostname": "mx.example", "client_id": "mua", "external_session_id": null,
        "local_ip": "192.0.2.1", "local_port": "587", "protocol": "smtp", "method": "PLAIN", "ssl": "on",
        "ssl_protocol": "TLSv1.3", "ssl_cipher": "TLS_AES_128_GCM_SHA256",
    });
    assert_eq!(request, due);
    assert_eq!(calls[1]["request"]["method"], "LOGIN");
    assert_eq!(calls[1]["request"]["external_session_id"], session, "the same connection");
    let call = &calls[0];
    assert_eq!(metadata(call, "authorization"), ["Basic am9lOnMzY3JldA=="]);
    assert_eq!(metadata(call, "x-tenant"), ["one", "two 2"]);
    assert_eq!(metadata(call, "x.y_z"), ["7"]);
    assert!(metadata(call, "user-agent")[0].starts_with("PostfixToHTTP/"), "{call}");
    assert!(metadata(call, "traceparent").is_empty());
    let seconds = call["seconds"].as_f64().expect("a time limit");
    assert!(seconds > 2.0 && seconds < 3.1, "{seconds}");
    assert_eq!(calls[0]["peer"], calls[1]["peer"], "one connection");
}

#[test]
fn one_connection_serves_all_and_none_is_made_without_a_login() {
    let service = GrpcService::start();
    let json = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let config = entry(config, "users", &service, "", &[]);
        entry(config, "others", &service, "", &[]).login("json", &json.url("/"), &[])
    });
    let sockets = || {
        let listed = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
        let port =
            service.address().rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
        // Of the connections to this port, those that are established.
        let remote = format!(":{port:04X} 01");
        listed.lines().filter(|line| line.contains(&remote)).count()
    };
    assert_eq!(sockets(), 0);
    let logins: Vec<_> = (0..40)
        .map(|number| {
            let name = if number % 2 == 0 { "users" } else { "others" };
            let mut sasl = setup.login([Way::Unix, Way::Tcp][number % 4 / 2], name);
            sasl.plain(1, &format!("u{number}"), "secret");
            sasl
        })
        .collect();
    for (number, mut sasl) in logins.into_iter().enumerate() {
        assert_eq!(sasl.line(), format!("OK\t1\tuser=u{number}"));
    }
    let calls = service.calls();
    let peers: std::collections::BTreeSet<_> = calls.iter().map(|call| call["peer"].as_str()).collect();
    assert_eq!((calls.len(), peers.len(), sockets()), (40, 1, 1));
}

#[test]
fn a_call_is_traced_and_counted() {
    let mut service = GrpcService::start();
    let port = crate::support::port::Port::reserve();
    let collector = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let lines = [
            "observability:",
            "  prometheus_enabled: true",
            &format!("  prometheus_port: {}", port.number()),
            "  otel_enabled: true",
            "  otel_traces_enabled: true",
            &format!("  otel_exporter_otlp_endpoint: \"{}\"", collector.url("")),
        ]
        .join("\n");
        entry(config.server(&lines), "users", &service, "timeout: 200ms", &[])
    });
    assert_eq!(log_in(&setup, "users", "u", "secret"), "OK\t1\tuser=u");
    assert_eq!(log_in(&setup, "users", "u", "wrong"), "FAIL\t1\treason=no such user\tuser=u");
    service.answer_all(&status(14));
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    service.answer_all(&json!({"hang": true}));
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    service.kill();
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    let calls = service.calls();
    let traceparent = metadata(&calls[0], "traceparent");
    assert!(traceparent.len() == 1 && traceparent[0].starts_with("00-"), "{traceparent:?}");
    // Of each login the request and the call.
    let spans = crate::otlp_export::wait_for_spans(&collector, 10);
    let calls = spans.iter().filter(|span| span.name == "HTTP POST");
    let errors: Vec<_> = calls.map(|span| crate::otlp_export::text(&span.attributes, "error.type")).collect();
    let count = |error: Option<&str>| errors.iter().filter(|one| one.as_deref() == error).count();
    assert_eq!((errors.len(), count(None), count(Some("status")), count(Some("timeout"))), (5, 2, 1, 1));
    let metrics = crate::support::metrics::Scrape::of(port.address()).text;
    let base = "component=\"dovecot_sasl\",name=\"users\",method=\"Authenticate\"";
    for (status, result, count) in
        [("OK", "ok", 2), ("Unavailable", "error", 2), ("DeadlineExceeded", "error", 1)]
    {
        let labels = format!("{{{base},status=\"{status}\",result=\"{result}\"}} {count}");
        for name in ["requests_total", "request_duration_seconds_count"] {
            let line = format!("pfxhttp_backend_grpc_{name}{labels}\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
    }
    assert!(!metrics.contains("pfxhttp_backend_http_requests_total{component=\"dovecot_sasl\""), "{metrics}");
}

#[test]
fn a_query_shows_the_call_and_no_secret() {
    let mut service = GrpcService::start();
    let setup = setup(&service, "metadata: {x-key: [s3cret-key]}", &["http_auth_basic: 'joe:s3cret-basic'"]);
    let query = |service: &mut GrpcService, answer: Value| {
        service.answer_all(&answer);
        let output = run(setup.broker.config(), &["query", "--trace", "sasl", "users", "u"], "hunter-two");
        crate::support::command_line::text(&output)
    };
    let response = json!({"decision": 1, "attributes": {"Auth-User": ["a@example.com"]}});
    let said = query(&mut service, json!({"response": response}));
    let request = format!("http://{}/nauthilus.auth.v1.AuthService/Authenticate", service.address());
    for due in [
        &*format!("# request: POST {request} ("),
        "x-key",
        "the login of \"u\" by gRPC",
        "# API: gRPC status 0 (OK), decision: OK, account: \"a@example.com\"",
        "user=a@example.com",
    ] {
        assert!(said.contains(due), "{due}: {said}");
    }
    let said = query(&mut service, denied("hunter-two of s3cret-key, joe:s3cret-basic"));
    assert!(said.contains("decision: FAIL, status_message: "), "{said}");
    assert!(!said.contains("hunter-two") && !said.contains("s3cret"), "{said}");
    let said = query(&mut service, status(7));
    assert!(
        said.contains(r#"# API: gRPC status 7 (PermissionDenied), message: "text of the service""#),
        "{said}"
    );
    assert!(said.contains("# hint: the service refuses the broker's own credentials"), "{said}");
    // What the service says makes no line of its own.
    let forged = "no\nanswer: accepted";
    for answer in [json!({"status": 7, "message": forged}), denied(forged)] {
        let said = query(&mut service, answer);
        assert!(said.contains("no\\nanswer: accepted"), "{said}");
        assert!(!said.lines().any(|line| line.starts_with("# answer: accepted")), "{said}");
    }
    let dumped = crate::support::command_line::text(&run(setup.broker.config(), &["config", "dump"], ""));
    assert!(dumped.contains("transport: grpc") && dumped.contains("x-key"), "{dumped}");
    assert!(!dumped.contains("s3cret") && !dumped.contains("status_code"), "{dumped}");
    let output = run(setup.broker.config(), &["status", "--json"], "");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let entry = &status["target"][0];
    assert_eq!(entry["target"], format!("http://{}", service.address()), "{status}");
    assert_eq!((&entry["state"], &entry["last_failure_class"]), (&json!("ok"), &json!("status")), "{status}");
}

#[test]
fn a_refused_token_is_replaced_once() {
    let mut service = GrpcService::start();
    let provider = FakeProvider::start();
    let bearer = backend_oidc(&provider.configuration_uri(), "client_id: a, client_secret: s");
    let setup = setup(&service, "", &[&bearer]);
    assert_eq!(log_in(&setup, "users", "u", "secret"), "OK\t1\tuser=u");
    let calls = service.calls();
    assert!(metadata(&calls[0], "authorization")[0].starts_with("Bearer "), "{}", calls[0]);
    service.answer_all(&status(16));
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    let calls = service.calls();
    assert_eq!(calls.len(), 3, "once more, with a fresh token");
    service.answer_all(&status(7));
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    assert_eq!(service.calls().len(), 4);
}

#[test]
fn tokens_of_mail_clients_do_not_go_there() {
    let (service, provider) = (GrpcService::start(), FakeProvider::start());
    provider.introspect_with(|_| Reply::json(r#"{"active": true, "username": "u@example.com"}"#));
    let tokens = sasl_oidc(&provider.configuration_uri(), "client_id: pfx, client_secret: s, scopes: [mail]");
    let setup = setup(&service, "", &[&tokens]);
    assert_eq!(crate::login_tokens::once(&setup, "u@example.com", "tok.en"), "OK u@example.com");
    assert_eq!(service.calls().len(), 0);
    assert_eq!(log_in(&setup, "users", "u", "secret"), "OK\t1\tuser=u");
    assert_eq!(service.calls().len(), 1);
}

#[test]
fn a_denial_is_delayed_and_a_failure_is_not() {
    let mut service = GrpcService::start();
    let lines = service.entry("");
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.contains("delay")).collect();
    let setup =
        Setup::start(|config| config.login_of("users", &[&lines[..], &["failure_delay: 1s"]].concat()));
    let started = Instant::now();
    assert!(log_in(&setup, "users", "u", "wrong").starts_with("FAIL"));
    assert!(started.elapsed() >= Duration::from_secs(1));
    service.answer_all(&status(14));
    let started = Instant::now();
    assert_eq!(log_in(&setup, "users", "u", "wrong"), "closed");
    assert!(started.elapsed() < Duration::from_secs(1));
}
