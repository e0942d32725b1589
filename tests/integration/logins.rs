//! Logins with passwords: the dialogue, its outcome, and what the API gets; over unix and TCP listeners
//! and through a client.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::peer::Peer;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, doveadm};

const SHORT: Duration = Duration::from_millis(200);

/// A reply without a body, but with headers.
fn reply(status: u16, headers: &[(&str, &str)]) -> Reply {
    Reply::with_headers(status, headers, "")
}

/// Accepts every user whose password is `secret`.
fn api(request: &Request) -> Reply {
    match request.text("password").as_str() {
        "secret" => reply(200, &[("Auth-Status", "OK"), ("Auth-User", &request.text("username"))]),
        _ => reply(200, &[("Auth-Status", "Invalid login or password")]),
    }
}

/// One entry, `users`, with these lines.
fn setup(api: &Backend, lines: &[&str]) -> Setup {
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
        assert_eq!(api.count() - before, 3, "a password is sent once: {answer:?}");
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
    assert_eq!(api.count(), 15, "one request for each login");
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
fn the_handshake_does_not_wait_for_the_client() {
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    let started = Instant::now();
    for (way, peer) in [
        (Way::Unix, Peer::unix(&setup.socket("users"))),
        (Way::Tcp, Peer::tcp(setup.login_port("users").address())),
        (Way::Client, setup.client(&["sasl", "users"])),
        (Way::Client, setup.client(&["--mechanisms", "PLAIN,login", "sasl", "users"])),
    ] {
        let sasl = Sasl::listen(peer);
        let handshake = sasl.handshake();
        assert_eq!(handshake[0], "VERSION\t1\t2", "{way:?}");
        assert_eq!(handshake[1..3], ["MECH\tPLAIN\tplaintext", "MECH\tLOGIN\tplaintext"], "{way:?}");
        assert!(handshake[3].strip_prefix("SPID\t").is_some_and(|pid| pid.parse::<u32>().is_ok()), "{way:?}");
        assert!(
            handshake[4].strip_prefix("CUID\t").is_some_and(|number| number.parse::<u32>().is_ok()),
            "{way:?}"
        );
        let cookie = handshake[5].strip_prefix("COOKIE\t").expect("a cookie");
        assert!(cookie.len() == 32 && cookie.bytes().all(|b| b.is_ascii_hexdigit()), "{way:?}: {cookie}");
        assert_eq!(handshake.len(), 6, "{way:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
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
fn clients_with_a_temporary_failure_get_it() {
    let api = Backend::start(|_| reply(503, &[]));
    let setup = setup(&api, &[]);
    for minor in [1, 2] {
        let mut sasl = Sasl::begin_as(Peer::unix(&setup.socket("users")), minor);
        for id in [1, 2] {
            sasl.plain(id, "u", "secret");
            let due = format!("FAIL\t{id}\treason=Temporary server problem\tcode=temp_fail\ttemp");
            assert_eq!(sasl.line(), due, "minor version {minor}");
        }
    }
}

#[test]
fn several_logins_at_a_time_in_any_order() {
    let api = Backend::start(|request| match request.text("username").as_str() {
        "slow" => Reply::Hold(Box::new(reply(200, &[("Auth-User", "slow")]))),
        user => reply(200, &[("Auth-User", user)]),
    });
    let setup = setup(&api, &[]);
    let mut sasl = setup.login(Way::Tcp, "users");
    sasl.plain(1, "slow", "secret");
    assert!(api.wait_for(1, PATIENCE));
    sasl.plain(2, "quick", "secret");
    assert_eq!(sasl.line(), "OK\t2\tuser=quick"); // DV-21
    sasl.auth(3, "LOGIN", None);
    assert_eq!(sasl.line(), "CONT\t3\tVXNlcm5hbWU6");
    sasl.cont(3, "third");
    assert_eq!(sasl.line(), "CONT\t3\tUGFzc3dvcmQ6");
    api.release();
    assert_eq!(sasl.line(), "OK\t1\tuser=slow");
    sasl.cont(3, "secret");
    assert_eq!(sasl.line(), "OK\t3\tuser=third");
}

#[test]
fn other_logins_are_answered_before_a_close() {
    let api = Backend::start(|request| match request.text("username").as_str() {
        "slow" => Reply::Hold(Box::new(reply(200, &[("Auth-User", "slow")]))),
        _ => reply(503, &[]),
    });
    let setup = setup(&api, &[]);
    for way in [Way::Unix, Way::Tcp] {
        let mut sasl = setup.login(way, "users");
        let before = api.count();
        sasl.plain(1, "slow", "secret");
        assert!(api.wait_for(before + 1, PATIENCE), "{way:?}");
        sasl.plain(2, "lost", "secret");
        assert!(api.wait_for(before + 2, PATIENCE), "{way:?}");
        assert_eq!(sasl.next(SHORT), Heard::Nothing, "{way:?}: the connection waits for the first");
        sasl.plain(3, "late", "secret");
        assert_eq!(sasl.next(SHORT), Heard::Nothing, "{way:?}");
        api.release();
        assert_eq!(sasl.line(), "OK\t1\tuser=slow", "{way:?}");
        let end = sasl.next(PATIENCE);
        assert!(matches!(end, Heard::Reset | Heard::Closed(_)), "{way:?}: {end:?}");
        assert_eq!(api.count(), before + 2, "{way:?}: no new login is read");
    }
}

#[test]
fn a_cancel_or_hang_up_ends_the_request() {
    let api = Backend::start(|_| Reply::stall());
    let setup = setup(&api, &[]);
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "secret");
    assert!(api.wait_for(1, PATIENCE));
    // Much sooner than the login's budget ends.
    let soon = Duration::from_secs(3);
    sasl.cancel(1);
    assert!(crate::support::wait_until(soon, || api.open() == 0), "the request is given up");
    sasl.plain(1, "u", "secret");
    assert!(api.wait_for(2, PATIENCE));
    drop(sasl);
    assert!(crate::support::wait_until(soon, || api.open() == 0), "the request is cancelled");
}

#[test]
fn illegal_requests_do_not_reach_the_api() {
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    let long = [b"\0u\0".as_slice(), &[b'x'; 8193]].concat();
    for way in Way::ALL {
        let mut sasl = setup.login(way, "users");
        let mut id = 0;
        for response in [
            &b"\0a\tb\0secret"[..],
            b"\0a\nb\0secret",
            b"\0a\rb\0secret",
            b"\0a\x01b\0secret",
            b"\0a\x7fb\0secret",
            b"\0a\xc2\x85b\0secret",
            b"\0a\xffb\0secret",
            b"\0u\0\xff",
            b"\0u\0",
            b"\0\0secret",
            b"other\0u\0secret",
            b"\0u\0secret\0",
            b"u",
            b"",
            &long,
        ] {
            id += 1;
            sasl.auth(id, "PLAIN", Some(response));
            // Postfix sends an empty response for none.
            let due =
                if response.is_empty() { format!("CONT\t{id}\t") } else { format!("FAIL\t{id}\treason=") };
            let line = sasl.line();
            assert!(line.starts_with(&due), "{way:?} {:?}: {line}", response.escape_ascii().to_string());
            assert!(
                !line.contains("user=") && !line.contains('\u{1}'),
                "the user's text is not repeated: {line}"
            );
        }
        sasl.auth(90, "LOGIN", Some(b"a\tb"));
        assert!(sasl.line().starts_with("FAIL\t90\t"), "{way:?}");
        sasl.say("AUTH\t91\tPLAIN\tservice=smtp\tresp==");
        assert!(sasl.line().starts_with("FAIL\t91\t"), "{way:?}: present, and empty");
        sasl.say("AUTH\t92\tPLAIN\tservice=smtp\tresp=A");
        assert!(sasl.line().starts_with("FAIL\t92\t"), "{way:?}: no base64");
        sasl.say("AUTH\t93\tCRAM-MD5\tservice=smtp");
        assert_eq!(sasl.line(), "FAIL\t93\treason=unsupported mechanism", "{way:?}");
        sasl.say("AUTH\t94\tXOAUTH2\tservice=smtp\tresp=YQ==");
        assert_eq!(sasl.line(), "FAIL\t94\treason=unsupported mechanism", "{way:?}: not offered");
        sasl.say("CONT\t95\tYQ==");
        assert_eq!(sasl.line(), "FAIL\t95\treason=Authentication request timed out", "{way:?}");
        sasl.say("FUTURE\tx\ty");
        sasl.plain(96, "u", "secret");
        assert_eq!(sasl.line(), "OK\t96\tuser=u", "{way:?}: the connection goes on");
    }
    assert_eq!(api.count(), 3);
}

#[test]
fn endless_lines_and_protocol_errors_close_the_connection() {
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    for way in Way::ALL {
        for bytes in [
            vec![b'x'; 100_000],
            b"AUTH\t0\tPLAIN\n".to_vec(),
            b"AUTH\tx\tPLAIN\n".to_vec(),
            b"VERSION\t2\t0\n".to_vec(),
            b"AUTH\t1\tPLAIN\tresp=AHUAc2VjcmV0\tnologin\n".to_vec(),
            b"CONT\t1\n".to_vec(),
            [b"AUTH\t1\tPLAIN\tresp=".to_vec(), vec![b'A'; 100_000], b"\n".to_vec()].concat(),
        ] {
            let mut sasl = setup.login(way, "users");
            let _may_be_closed_meanwhile = sasl.peer().try_send(&bytes);
            let end = sasl.next(PATIENCE);
            assert!(matches!(end, Heard::Reset | Heard::Closed(_)), "{way:?}: {end:?}");
        }
    }
    assert_eq!(api.count(), 0);
}

#[test]
fn abandoned_dialogues_take_no_memory() {
    let api = Backend::start(api);
    let setup = setup(&api, &[]);
    let before = setup.broker.resident_kib();
    let mut sasl = setup.login(Way::Unix, "users");
    for id in 1..=20_000 {
        sasl.auth(id, "LOGIN", None);
        assert_eq!(sasl.line(), format!("CONT\t{id}\tVXNlcm5hbWU6"));
    }
    sasl.plain(20_001, "u", "secret");
    assert_eq!(sasl.line(), "OK\t20001\tuser=u");
    let grown = setup.broker.resident_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB for abandoned dialogues");
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
fn a_slow_reader_gets_every_answer_before_a_close() {
    let api = Backend::start(|request| match request.text("username").as_str() {
        "last" => Reply::Hold(Box::new(reply(500, &[]))),
        user => reply(200, &[("Auth-User", user)]),
    });
    let setup = setup(&api, &[]);
    let mut sasl = setup.login(Way::Tcp, "users");
    sasl.plain(1000, "last", "secret");
    assert!(api.wait_for(1, PATIENCE));
    for id in 1..=100 {
        sasl.plain(id, &"u".repeat(200), "secret");
    }
    assert!(api.wait_for(101, PATIENCE));
    api.release();
    crate::support::pause(Duration::from_millis(500));
    for _ in 1..=100 {
        let line = sasl.line();
        assert!(line.starts_with("OK\t"), "{line}");
    }
    assert_eq!(sasl.next(PATIENCE), Heard::Closed(Vec::new()));
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
