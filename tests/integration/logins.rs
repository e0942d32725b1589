//! Logins with passwords: their outcome, what the API gets, and that a password is sent once; over unix
//! and TCP listeners and through a client. `login_dialogue` tests the protocol.

use std::time::Duration;

use serde_json::json;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::peer::Peer;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, doveadm};

/// A reply without a body, but with headers.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)]) -> Reply {
    Reply::with_headers(status, headers, "")
}

/// Accepts every user whose password is `secret`.
pub(crate) fn api(request: &Request) -> Reply {
    match request.text("password").as_str() {
        "secret" => reply(200, &[("Auth-Status", "OK"), ("Auth-User", &request.text("username"))]),
        _ => reply(200, &[("Auth-Status", "Invalid login or password")]),
    }
}

/// One entry, `users`, with these lines.
pub(crate) fn setup(api: &Backend, lines: &[&str]) -> Setup {
    Setup::start(|config| config.login("users", &api.url("/auth"), lines))
}

/// Logs in once for each answer of the API; compares what Postfix (minor version 0) gets. `None`: the
/// connection is closed.
pub(crate) fn each(api: &Backend, setup: &Setup, cases: &[(Reply, Option<&str>)]) {
    for (answer, due) in cases {
        let before = api.count();
        let reply = answer.clone();
        api.answer_with(move |_| reply.clone());
        for way in Way::ALL {
            let mut sasl = setup.login(way, "users");
            sasl.plain(1, "u", "hush-hush");
            match due {
                Some(line) => assert_eq!(sasl.line(), *line, "{way:?} {answer:?}"),
                None => {
                    let end = if way == Way::Tcp { Heard::Reset } else { Heard::Closed(Vec::new()) };
                    assert_eq!(sasl.next(PATIENCE), end, "{way:?} {answer:?}");
                }
            }
        }
        assert_eq!(api.count() - before, Way::ALL.len(), "a password is sent once: {answer:?}");
    }
}

#[test]
fn success_and_denial_by_each_way() {
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    for way in Way::ALL {
        let mut sasl = setup.login(way, "users");
        assert_eq!(sasl.mechanisms(), ["PLAIN", "LOGIN"], "{way:?}");
        sasl.plain(7, "u@example.com", "secret");
        assert_eq!(sasl.line(), "OK\t7\tuser=u@example.com", "{way:?}");
        sasl.plain(8, "u@example.com", "wrong");
        let denied = "FAIL\t8\treason=Invalid login or password\tuser=u@example.com";
        assert_eq!(sasl.line(), denied, "{way:?}");
        sasl.auth(9, "login", None);
        assert_eq!(sasl.line(), "CONT\t9\tVXNlcm5hbWU6");
        sasl.cont(9, "u@example.com");
        assert_eq!(sasl.line(), "CONT\t9\tUGFzc3dvcmQ6");
        sasl.cont(9, "secret");
        assert_eq!(sasl.line(), "OK\t9\tuser=u@example.com", "{way:?}");
        sasl.auth(10, "LOGIN", Some(b"u@example.com"));
        assert_eq!(sasl.line(), "CONT\t10\tUGFzc3dvcmQ6");
        sasl.cont(10, "secret");
        assert_eq!(sasl.line(), "OK\t10\tuser=u@example.com", "{way:?}");
        sasl.auth(11, "PLAIN", None);
        assert_eq!(sasl.line(), "CONT\t11\t");
        sasl.cont(11, "\0u@example.com\0secret");
        assert_eq!(sasl.line(), "OK\t11\tuser=u@example.com", "{way:?}");
    }
    assert_eq!(api.count(), 5 * Way::ALL.len(), "one request for each login");
}

#[test]
fn the_api_gets_all_known_fields() {
    let api = Backend::start(api);
    let lines =
        ["default_local_port: \"587\"", "http_auth_basic: \"pfx:hush\"", "custom_headers: [\"X-Site: a\"]"];
    let setup = setup(&api, &lines);
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u@example.com", "secret");
    assert_eq!(sasl.line(), "OK\t1\tuser=u@example.com");
    let request = api.last();
    let due = json!({
        "username": "u@example.com", "password": "secret", "protocol": "smtp", "method": "PLAIN",
        "client_ip": "192.0.2.7", "local_ip": "127.0.0.1", "local_port": "587", "ssl": "on",
    });
    assert_eq!(request.json(), due);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/auth"));
    for (name, value) in
        [("content-type", "application/json"), ("authorization", "Basic cGZ4Omh1c2g="), ("x-site", "a")]
    {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    // Dovecot's own clients send more fields. Escapes are decoded.
    let known = "service=submission\tsecured=tls\tlip=::1\trip=2001:db8::7\tlport=465\trport=4711\t\
                 client_id=\u{1}tname\u{1}t\tssl_protocol=TLSv1.3\tssl_cipher=X";
    sasl.say(format!("AUTH\t2\tPLAIN\t{known}\tresp=AHUAc2VjcmV0"));
    assert_eq!(sasl.line(), "OK\t2\tuser=u");
    let due = json!({
        "username": "u", "password": "secret", "protocol": "submission", "method": "PLAIN",
        "client_ip": "2001:db8::7", "client_port": "4711", "local_ip": "::1", "local_port": "465",
        "ssl": "on", "ssl_protocol": "TLSv1.3", "ssl_cipher": "X", "client_id": "\tname\t",
    });
    assert_eq!(api.last().json(), due);
}

#[test]
fn a_request_body_may_be_compressed() {
    let api = Backend::start(|request| {
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
        reply(200, &[("Auth-User", "u")])
    });
    let setup = setup(&api, &["http_request_compression: true", "http_response_compression: true"]);
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "secret");
    assert_eq!(sasl.line(), "OK\t1\tuser=u");
    let body = crate::support::gzip::gunzip(&api.last().body);
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["password"], "secret");
}

#[test]
fn an_unclear_answer_closes_the_connection() {
    // What the API says, and what Postfix (minor version 0) gets. `None`: the connection is closed.
    let cases: &[(Reply, Option<&str>)] = &[
        (reply(200, &[("Auth-User", "canon@example.com")]), Some("OK\t1\tuser=canon@example.com")),
        (reply(200, &[("Auth-Status", "OK")]), Some("OK\t1\tuser=u")),
        (reply(401, &[("Auth-Status", "FAIL")]), Some("FAIL\t1\treason=FAIL\tuser=u")),
        (reply(403, &[("Auth-Status", "disabled")]), Some("FAIL\t1\treason=disabled\tuser=u")),
        (reply(200, &[("Auth-Status", "later"), ("Auth-Error-Code", "451")]), None),
        (reply(200, &[("Auth-User", "a\tb")]), None),
        (reply(200, &[("Auth-Status", ""), ("Auth-User", "u")]), None),
        (reply(200, &[("Auth-Status", "OK"), ("Auth-User", "caf\u{e9}\u{1}")]), None),
        (Reply::with_header("Content-Type", "text/html", "<html>OK</html>"), None),
        (reply(401, &[]), None),
        (reply(302, &[("Location", "/auth")]), None),
        (reply(404, &[]), None),
        (reply(429, &[]), None),
        (reply(503, &[]), None),
        (reply(204, &[("Auth-User", "u")]), None),
        (Reply::Raw(b"220 not HTTP at all\r\n".to_vec()), None),
        (Reply::Raw(b"HTTP/1.1 200 OK\r\nAuth-Status: OK\r\nAuth-Us".to_vec()), None),
        (Reply::Raw(b"HTTP/1.1 200 OK\r\nAuth-Status: OK\r\nContent-Length: 9\r\n\r\n{}".to_vec()), None),
        (Reply::Close, None),
        (Reply::Reset, None),
    ];
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    each(&api, &setup, cases);
}

#[test]
fn denied_status_accept_bare_status_and_on_failure() {
    let api = Backend::start(|_| reply(401, &[]));
    let target = api.url("/auth");
    let setup = Setup::start(|config| {
        config
            .login("denied", &target, &["denied_status: [401, 404]"])
            .login_of(
                "bare",
                &[&format!("target: \"{target}\""), "accept_bare_status: true", "status_code: 401"],
            )
            .login("fails", &target, &["on_failure: fail"])
            .login("closes", &target, &["on_failure: disconnect"])
    });
    let first = |name: &str, minor| {
        let mut sasl = Sasl::begin_as(Peer::unix(&setup.socket(name)), minor);
        sasl.plain(1, "u", "secret");
        sasl.next(PATIENCE)
    };
    let line = |text: &str| Heard::Line(text.to_owned());
    let temporary = "FAIL\t1\treason=Temporary server problem\tcode=temp_fail\ttemp";
    assert_eq!(first("denied", 0), line("FAIL\t1\treason=authentication failed\tuser=u"));
    assert_eq!(first("bare", 0), line("OK\t1\tuser=u"));
    assert_eq!(first("fails", 0), line(temporary));
    assert_eq!(first("closes", 2), Heard::Closed(Vec::new()));
}

#[test]
fn a_login_is_not_sent_again_after_a_lost_connection() {
    // Closes each connection on its second request, without an answer.
    let api = Backend::start(|request| match request.nth {
        1 => reply(200, &[("Auth-User", "u")]),
        _ => Reply::Close,
    });
    let setup = setup(&api, &[]);
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "secret");
    assert_eq!(sasl.line(), "OK\t1\tuser=u");
    sasl.plain(2, "u", "secret");
    assert_eq!(sasl.next(PATIENCE), Heard::Closed(Vec::new()), "the login is not sent again");
    assert_eq!((api.count(), api.connections()), (2, 1), "within a second the connection is used again");
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(3, "u", "secret");
    assert_eq!(sasl.line(), "OK\t3\tuser=u");
    crate::support::pause(Duration::from_millis(1200));
    sasl.plain(4, "u", "secret");
    assert_eq!(sasl.line(), "OK\t4\tuser=u", "an older connection is not used for a password");
}

/// A login that was not sent before its connection closed may be sent on another one.
#[test]
fn a_kept_connection_that_was_closed_fails_no_login() {
    let api = Backend::start(|_| Reply::Last(Box::new(reply(200, &[("Auth-User", "u")]))));
    let setup = setup(&api, &[]);
    let mut sasl = setup.login(Way::Unix, "users");
    for id in 1..=5 {
        sasl.plain(id, "u", "secret");
        assert_eq!(sasl.line(), format!("OK\t{id}\tuser=u"));
        // Long enough for the close to arrive, and within the second in which the connection is used
        // again.
        crate::support::pause(Duration::from_millis(100));
    }
    assert_eq!((api.count(), api.connections()), (5, 5));
}

#[test]
fn doveadm_logs_in() {
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    let tested = doveadm::auth_test(&setup.socket("users"), "u@example.com", "secret");
    assert_eq!(tested.accepted, Some(true), "{}", tested.said);
    let tested = doveadm::auth_test(&setup.socket("users"), "u@example.com", "wrong");
    assert_eq!(tested.accepted, Some(false), "{}", tested.said);
    api.answer_with(|_| reply(503, &[]));
    let tested = doveadm::auth_test(&setup.socket("users"), "u@example.com", "secret");
    assert_eq!(tested.accepted, None, "{}", tested.said);
}

#[test]
fn a_password_in_the_apis_answer_is_not_shown() {
    let api = Backend::start(|request| {
        reply(200, &[("Auth-Status", &format!("bad password {}", request.text("password")))])
    });
    let setup = setup(&api, &[]);
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "hush-hush");
    assert_eq!(sasl.line(), "FAIL\t1\treason=authentication failed\tuser=u");
    assert!(setup.broker.logged(&["login denied"]));
    assert!(!setup.broker.log().contains("hush-hush"), "{}", setup.broker.log());
}

#[test]
fn through_a_proxy_a_password_is_sent_once() {
    let api = Backend::start(|request| match request.nth {
        1 => reply(200, &[("Auth-User", "u")]),
        _ => Reply::Close,
    });
    let proxy = crate::support::tinyproxy::Tinyproxy::start();
    let setup = Setup::start(|config| {
        let config = config.proxy(&proxy.url());
        config.login("users", &api.url("/auth"), &[])
    });
    let mut sasl = setup.login(Way::Unix, "users");
    for id in 1..=3 {
        sasl.plain(id, "u", "secret");
        assert_eq!(sasl.line(), format!("OK\t{id}\tuser=u"), "on a connection of its own");
    }
    assert_eq!(api.count(), 3);
}
