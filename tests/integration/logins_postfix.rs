//! Logins with passwords through a real Postfix: what each outcome is in SMTP, over unix, TCP and spawned
//! clients, with swaks, curl and the test's own sessions.

use std::time::{Duration, Instant};

use crate::support::alone;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::blackhole::Blackhole;
use crate::support::config::{backend_oidc, sasl_oidc};
use crate::support::mail_clients::swaks;
use crate::support::peer::Peer;
use crate::support::postfix::Postfix;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::smtp::Smtp;

/// Postfix' default filter of mechanisms.
const ANY: &str = "!external, static:rest";
pub(crate) const LATER: &str = "454 4.7.0";
pub(crate) const WRONG: &str = "535 5.7.8";
pub(crate) const RIGHT: &str = "235 2.7.0";

fn reply(status: u16, headers: &[(&str, &str)]) -> Reply {
    Reply::with_headers(status, headers, "<html>welcome</html>")
}

pub(crate) fn users(request: &Request) -> Reply {
    match request.text("password").as_str() {
        "secret" => reply(200, &[("Auth-Status", "OK")]),
        _ => reply(200, &[("Auth-Status", "Invalid login or password")]),
    }
}

/// A running Postfix whose smtpds ask `users`, and the port for each way.
pub(crate) fn postfix(setup: &Setup, name: &str) -> (Postfix, Vec<(Way, u16)>) {
    let (postfix, ports) = postfix_for(setup, name, &[ANY]);
    (postfix, ports.into_iter().map(|(way, _, port)| (way, port)).collect())
}

/// The same with an smtpd for each filter of mechanisms: where several are offered, curl chooses by
/// itself.
pub(crate) fn postfix_for<'f>(
    setup: &Setup,
    name: &str,
    filters: &[&'f str],
) -> (Postfix, Vec<(Way, &'f str, u16)>) {
    let mut postfix = Postfix::prepare();
    let offers = "--mechanisms PLAIN,LOGIN,OAUTHBEARER,XOAUTH2";
    postfix.spawn("pfx-sasl", &setup.ipc(), &format!("{offers} sasl {name}"));
    let forwarding = format!("--no-hand-over {offers} sasl {name}");
    postfix.spawn("pfx-sasl-forwarding", &setup.ipc(), &forwarding);
    let mut ports = Vec::new();
    for way in Way::ALL {
        for filter in filters {
            let errors = [("smtpd_hard_error_limit", "1000"), ("smtpd_soft_error_limit", "999")];
            let settings =
                [&errors[..], &[("line_length_limit", "12288"), ("smtpd_sasl_mechanism_filter", filter)]]
                    .concat();
            ports.push((way, *filter, postfix.sasl_smtpd(&setup.sasl_path(way, name), &settings)));
        }
    }
    postfix.start();
    (postfix, ports)
}

/// Logs in, in a session that goes on; returns the reply's codes, or how it failed within 9 s.
fn log_in(smtp: &mut Smtp, password: &str, what: &str) -> String {
    let started = Instant::now();
    let reply = smtp.auth_plain("u@example.com", password);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(9), "{what}: {took:?} for {reply:?}");
    reply.chars().take(9).collect()
}

#[test]
fn each_answer_has_its_smtp_reply() {
    let mut api = Backend::start(users);
    let setup = Setup::start(|config| {
        config.login("users", &api.url("/auth"), &[]).login(
            "denied",
            &api.url("/auth"),
            &["denied_status: [401]"],
        )
    });
    let (_postfix, ports) = postfix(&setup, "users");
    let wrong = "Invalid login or password";
    let cases = [
        ("wrong", WRONG, reply(200, &[("Auth-Status", wrong)])),
        ("401 that says so", WRONG, reply(401, &[("Auth-Status", "FAIL")])),
        ("401", LATER, reply(401, &[])),
        ("503", LATER, reply(503, &[])),
        ("404", LATER, reply(404, &[])),
        ("302", LATER, reply(302, &[("Location", "/login")])),
        ("429", LATER, reply(429, &[("Retry-After", "1")])),
        ("not HTTP", LATER, Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("a head cut off", LATER, Reply::Raw(b"HTTP/1.1 200 OK\r\nAuth-Status: OK\r\n".to_vec())),
        ("200 with HTML", LATER, reply(200, &[])),
        ("slow", LATER, Reply::stall()),
    ];
    for (way, port) in &ports {
        let (mut smtp, offer) = Smtp::greet(*port);
        assert!(offer.contains("AUTH PLAIN LOGIN"), "{way:?}: {offer}");
        for (what, due, answer) in &cases {
            let answer = answer.clone();
            api.answer_with(move |_| answer.clone());
            assert_eq!(log_in(&mut smtp, "secret", what), *due, "{way:?}: {what}");
            api.answer_with(users);
            // The next login of the same session works.
            let (mut next, _) = Smtp::greet(*port);
            if *due == LATER {
                assert_eq!(log_in(&mut smtp, "wrong", what), WRONG, "{way:?}: after {what}");
            }
            assert_eq!(log_in(&mut next, "secret", what), RIGHT, "{way:?}: another, after {what}");
        }
        api.down();
        assert_eq!(log_in(&mut smtp, "secret", "down"), LATER, "{way:?}: no API");
        api.up();
        assert_eq!(log_in(&mut smtp, "secret", "up"), RIGHT, "{way:?}: after the outage");
        for mechanism in ["PLAIN", "LOGIN"] {
            assert_eq!(swaks(*port, mechanism, "u@example.com", "secret").code, 235, "{way:?} {mechanism}");
            assert_eq!(swaks(*port, mechanism, "u@example.com", "wrong").code, 535, "{way:?} {mechanism}");
        }
    }
    let (_postfix, ports) = postfix(&setup, "denied");
    api.answer_with(|_| reply(401, &[]));
    for (way, port) in ports {
        let (mut smtp, _) = Smtp::greet(port);
        assert_eq!(log_in(&mut smtp, "secret", "denied_status"), WRONG, "{way:?}");
    }
}

#[test]
fn a_broker_restart_causes_one_454_at_most() {
    let api = Backend::start(users);
    let mut setup = Setup::start(|config| config.login("users", &api.url("/auth"), &[]));
    let (_postfix, ports) = postfix(&setup, "users");
    for (way, port) in ports {
        let (mut smtp, _) = Smtp::greet(port);
        assert_eq!(log_in(&mut smtp, "wrong", "before"), WRONG, "{way:?}");
        setup.broker.kill();
        if !way.is_spawned() {
            assert_eq!(log_in(&mut smtp, "secret", "away"), LATER, "{way:?}");
        }
        setup.broker.start_again();
        assert_eq!(log_in(&mut smtp, "secret", "back"), RIGHT, "{way:?}");
    }
}

#[test]
fn a_users_text_breaks_no_protocol_line() {
    let api = Backend::start(users);
    let setup = Setup::start(|config| config.login("users", &api.url("/auth"), &[]));
    let (_postfix, ports) = postfix(&setup, "users");
    for (way, port) in ports {
        let (mut smtp, _) = Smtp::greet(port);
        let before = api.count();
        for user in ["a\nOK\t1\tuser=ceo", "a\tuser=ceo", "a\u{1}t", "a\r\nb", "\u{1b}[2J"] {
            let reply = smtp.auth_plain(user, "secret");
            assert!(reply.starts_with(WRONG) && !reply.contains("ceo"), "{way:?} {user:?}: {reply}");
        }
        for bytes in [&b"\0u\xff\0secret"[..], b"\0u\0se\xe9cret", b"\0u\0\0"] {
            let reply = smtp.auth("PLAIN", bytes);
            assert!(reply.starts_with(WRONG), "{way:?} {bytes:?}: {reply}");
        }
        assert_eq!(api.count(), before, "{way:?}: no request was sent");
        assert_eq!(log_in(&mut smtp, "secret", "then"), RIGHT, "{way:?}");
    }
}

#[test]
fn an_smtpd_starts_without_delay() {
    let _alone = alone();
    let (hole, slow) = (Blackhole::open(), Backend::start(|_| Reply::stall()));
    let provider = hole.url("/.well-known/openid-configuration");
    let tokens = sasl_oidc(&provider, "client_id: c, validation: jwks");
    let bearer = backend_oidc(&provider, "client_id: c");
    let setup = Setup::start(|config| {
        config.login("users", &hole.url("/"), &[&tokens, &bearer]).login("slow", &slow.url("/"), &[])
    });
    let mut busy = Vec::new();
    for _ in 0..8 {
        let mut sasl = setup.login(Way::Tcp, "users");
        sasl.plain(1, "u", "secret");
        sasl.oauthbearer(2, "", "a.b.c");
        busy.push(sasl);
        let mut sasl = setup.login(Way::Unix, "slow");
        sasl.plain(1, "u", "secret");
        busy.push(sasl);
    }
    let started = Instant::now();
    let connected: Vec<Sasl> = (0..200)
        .map(|number| match number % 2 {
            0 => Sasl::listen(Peer::unix(&setup.socket("users"))),
            _ => Sasl::listen(Peer::tcp(setup.login_port("slow").address())),
        })
        .collect();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "200 handshakes in {took:?}");
    assert_eq!(connected[0].mechanisms(), ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]);
    drop((connected, busy));
}

#[test]
fn a_client_without_a_broker_greets_within_a_second() {
    let directory = crate::support::site::open_directory();
    let nobody = directory.path().join("nobody.sock");
    for arguments in [&["sasl", "users"][..], &["--mechanisms", "PLAIN,LOGIN", "sasl", "users"]] {
        let started = Instant::now();
        let mut sasl = Sasl::begin(Peer::asking(&nobody, arguments));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(sasl.mechanisms(), ["PLAIN", "LOGIN"]);
        sasl.plain(1, "u", "secret");
        assert_eq!(sasl.next(Duration::from_secs(9)), Heard::Closed(Vec::new()));
        assert!(started.elapsed() > Duration::from_secs(6), "it waits for a broker that restarts");
    }
    // The same through Postfix.
    let mut postfix = Postfix::prepare();
    postfix.spawn("pfx-sasl", &nobody, "--timeout 2 sasl users");
    let port = postfix.sasl_smtpd("private/pfx-sasl", &[]);
    postfix.start();
    let (mut smtp, offer) = Smtp::greet(port);
    assert!(offer.contains("AUTH PLAIN LOGIN"), "{offer}");
    assert_eq!(log_in(&mut smtp, "secret", "no broker"), LATER);
}

#[test]
fn connections_for_lookups_leave_room_for_logins() {
    let api = Backend::start(users);
    let setup = Setup::start(|config| {
        let config = config.server("max_connections: 40").map("m", &api.url("/m"), &[]);
        config.login("users", &api.url("/auth"), &[])
    });
    let mut idle: Vec<Peer> = (0..30).map(|_| Peer::unix(&setup.socket("maps"))).collect();
    for peer in &mut idle {
        // A connection that has asked is not closed for another one.
        peer.look_up("m", "k");
    }
    // The others wait in the listen queue.
    idle.extend((0..10).map(|_| Peer::unix(&setup.socket("maps"))));
    idle.push(Peer::unix(&setup.socket("maps")));
    for way in [Way::Unix, Way::Tcp] {
        let mut sasl = setup.login(way, "users");
        sasl.plain(1, "u", "secret");
        assert_eq!(sasl.line(), "OK\t1\tuser=u", "{way:?}");
    }
}
