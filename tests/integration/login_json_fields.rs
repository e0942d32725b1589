//! A login API that answers in JSON, without Nauthilus' headers: `accept_field`, `account_field`,
//! `reason_field`.

use crate::logins::each;
use crate::support::backend::{Backend, Reply};
use crate::support::config::backend_oidc;
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::gzip::gzip;
use crate::support::setup::Setup;
use crate::support::site::Way;

const FIELDS: [&str; 3] = ["accept_field: ok", "account_field: user.name", "reason_field: /why/0"];

/// One entry, `users`, with these lines.
fn setup(api: &Backend, lines: &[&str]) -> Setup {
    Setup::start(|config| config.login("users", &api.url("/login"), lines))
}

const OK: Option<&str> = Some("OK\t1\tuser=u");
const DENIED: Option<&str> = Some("FAIL\t1\treason=authentication failed\tuser=u");

#[test]
fn json_decides_who_logs_in() {
    let api = Backend::constant("{}");
    let setup = setup(&api, &FIELDS);
    let body = |body: &str| Reply::with_headers(200, &[], body);
    each(
        &api,
        &setup,
        &[
            (body(r#"{"ok": true}"#), OK),
            (body(r#"{"ok":true,"user":{"name":null}}"#), OK),
            (body(r#"{"ok": true, "user": {"name": "canon@x"}}"#), Some("OK\t1\tuser=canon@x")),
            (body(r#"{"ok": true, "user": {"name": "jos\u00e9@x"}}"#), Some("OK\t1\tuser=jos\u{e9}@x")),
            (body(r#"{"ok": false}"#), DENIED),
            // A key of that name elsewhere in the document does not count.
            (body(r#"{"error": "wrong password", "checks": {"ldap": {"ok": true}}}"#), None),
            (body(r#"{"ok": true, "audit": {"user": {"name": "admin"}}}"#), OK),
            (
                body(r#"{"ok": false, "why": ["Account\nis\u0000 locked"]}"#),
                Some("FAIL\t1\treason=Account is  locked\tuser=u"),
            ),
            (body(r#"{"ok": false, "why": ["hush-hush is wrong"]}"#), DENIED),
            (body(r#"{"ok": false, "why": []}"#), DENIED),
            (body(r#"{"ok": false, "why": [7]}"#), DENIED),
            (body(r#"{"ok": false, "user": {"name": 5}}"#), DENIED),
            // Answers that neither accept nor deny.
            (body("{}"), None),
            (body(r#"{"ok": null}"#), None),
            (body(r#"{"ok": "true"}"#), None),
            (body(r#"{"ok": 1}"#), None),
            (body(r#"{"ok": "ok"}"#), None),
            (body(r#"{"ok": [true]}"#), None),
            (body(r#"{"status": "maintenance"}"#), None),
            (body("true"), None),
            (body("[]"), None),
            (body("<html>welcome</html>"), None),
            (body(""), None),
            (body(r#"{"ok": true"#), None),
            (Reply::with_headers(200, &[("Content-Encoding", "gzip")], r#"{"ok": true}"#), None),
            // Names that cannot be sent.
            (body(r#"{"ok": true, "user": {"name": ""}}"#), None),
            (body(r#"{"ok": true, "user": {"name": " "}}"#), None),
            (body(r#"{"ok": true, "user": {"name": "a\tb"}}"#), None),
            (body(r#"{"ok": true, "user": {"name": "a\ud800"}}"#), None),
            (body(r#"{"ok": true, "user": {"name": 7}}"#), None),
            (body(&format!(r#"{{"ok": true, "user": {{"name": "{}"}}}}"#, "n".repeat(513))), None),
            // Any other status says nothing about the user.
            (Reply::with_headers(401, &[], r#"{"ok": false}"#), None),
            (Reply::with_headers(403, &[], r#"{"ok": false}"#), None),
            (Reply::with_headers(401, &[("Auth-Status", "no")], r#"{"ok": false}"#), None),
            (Reply::with_headers(201, &[], r#"{"ok": true}"#), None),
            (Reply::with_headers(302, &[("Location", "/login")], r#"{"ok": true}"#), None),
            (Reply::with_headers(404, &[], r#"{"ok": false}"#), None),
            (Reply::with_headers(500, &[], r#"{"ok": false}"#), None),
        ],
    );
    assert!(!setup.broker.log().contains("hush"), "{}", setup.broker.log());
}

#[test]
fn headers_that_contradict_the_body_are_a_failure() {
    let api = Backend::constant("{}");
    let setup = setup(&api, &FIELDS);
    let (good, bad) = (r#"{"ok": true, "user": {"name": "canon"}}"#, r#"{"ok": false}"#);
    each(
        &api,
        &setup,
        &[
            (Reply::with_headers(200, &[("Auth-Status", "OK")], r#"{"ok": true}"#), OK),
            (
                Reply::with_headers(200, &[("Auth-User", "canon")], r#"{"ok": true}"#),
                Some("OK\t1\tuser=canon"),
            ),
            (Reply::with_headers(200, &[("Auth-User", "canon")], good), Some("OK\t1\tuser=canon")),
            (
                Reply::with_headers(200, &[("Auth-Status", "locked")], bad),
                Some("FAIL\t1\treason=locked\tuser=u"),
            ),
            (Reply::with_headers(200, &[("Auth-Status", "OK")], "{}"), None),
            (Reply::with_headers(200, &[("Auth-Status", "FAIL")], r#"{"ok": true}"#), None),
            (Reply::with_headers(200, &[("Auth-Status", "OK")], bad), None),
            (Reply::with_headers(200, &[("Auth-User", "other")], good), None),
            (Reply::with_headers(200, &[("Auth-Error-Code", "451 4.3.0")], bad), None),
            (
                Reply::with_headers(
                    200,
                    &[("Auth-Status", "OK"), ("Auth-Status", "FAIL")],
                    r#"{"ok": true}"#,
                ),
                None,
            ),
        ],
    );
}

#[test]
fn a_status_of_denied_status_denies_unless_the_body_accepts() {
    let api = Backend::constant("{}");
    let lines = [&FIELDS[..], &["denied_status: [401, 403]"]].concat();
    let setup = setup(&api, &lines);
    each(
        &api,
        &setup,
        &[
            (Reply::with_headers(401, &[], "{}"), DENIED),
            (Reply::with_headers(401, &[], "<html>"), DENIED),
            (
                Reply::with_headers(403, &[], r#"{"ok": false, "why": ["disabled"]}"#),
                Some("FAIL\t1\treason=disabled\tuser=u"),
            ),
            (
                Reply::with_headers(401, &[], r#"{"why": ["no such user"]}"#),
                Some("FAIL\t1\treason=no such user\tuser=u"),
            ),
            (Reply::with_headers(401, &[], r#"{"ok": true}"#), None),
            (Reply::with_headers(401, &[("Auth-Status", "OK")], "{}"), None),
            (Reply::with_headers(404, &[], r#"{"ok": false}"#), None),
        ],
    );
}

#[test]
fn a_401_that_denies_in_its_body_is_not_about_the_brokers_token() {
    let (api, provider) =
        (Backend::start(|_| Reply::with_headers(401, &[], r#"{"ok": false}"#)), FakeProvider::start());
    let bearer = backend_oidc(&provider.configuration_uri(), "client_id: a, client_secret: b");
    let setup = setup(&api, &[&FIELDS[..], &["denied_status: [401]", &bearer]].concat());
    let mut sasl = setup.login(Way::Unix, "users");
    for id in 1..=3 {
        sasl.plain(id, "u", "hush-hush");
        assert_eq!(sasl.line(), format!("FAIL\t{id}\treason=authentication failed\tuser=u"));
    }
    assert_eq!(
        (api.count(), provider.count(Endpoint::Token)),
        (3, 1),
        "each password is sent once, with one token"
    );
    // An answer that says nothing may mean the broker's token.
    api.answer_with(|_| Reply::with_headers(401, &[], "{}"));
    sasl.plain(4, "u", "hush-hush");
    assert_eq!(sasl.line(), "FAIL\t4\treason=authentication failed\tuser=u");
    assert_eq!(provider.count(Endpoint::Token), 2);
}

#[test]
fn a_compressed_body_is_read() {
    let api = Backend::start(|request| {
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
        let body = match request.text("password").as_str() {
            "secret" => r#"{"ok": true}"#,
            _ => r#"{"ok": false, "why": ["no"]}"#,
        };
        Reply::Answer {
            status: 200,
            headers: vec![("Content-Encoding".to_owned(), "gzip".to_owned())],
            body: gzip(body.as_bytes()),
        }
    });
    let setup = setup(&api, &[&FIELDS[..], &["http_response_compression: true"]].concat());
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "secret");
    assert_eq!(sasl.line(), "OK\t1\tuser=u");
    sasl.plain(2, "u", "wrong");
    assert_eq!(sasl.line(), "FAIL\t2\treason=no\tuser=u");
}

#[test]
fn a_trace_names_the_field_that_decided() {
    use crate::support::broker;
    let api = Backend::constant(r#"{"ok": "true", "echo": "hush-hush"}"#);
    let setup = setup(&api, &FIELDS);
    let config = setup.socket("x").with_file_name("pfxhttp.yml");
    let mut command = broker::command(&config);
    command.args(["query", "--trace", "sasl", "users", "bob"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the broker's program");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), b"hush-hush\n").expect("a line");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("accept_field: neither true nor false"), "{said}");
    assert!(said.contains(r#""ok": "true""#) && !said.contains("hush"), "{said}");
}
