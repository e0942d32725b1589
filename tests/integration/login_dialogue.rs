//! The dialogue of logins: handshake, several logins on a connection, cancels, protocol errors and the
//! end of a connection.

use std::time::{Duration, Instant};

use crate::logins::{api, reply, setup};
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::peer::Peer;
use crate::support::sasl::{Heard, Sasl};
use crate::support::site::Way;

const SHORT: Duration = Duration::from_millis(200);

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
    assert_eq!(sasl.line(), "OK\t2\tuser=quick");
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
    assert_eq!(api.count(), Way::ALL.len());
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
