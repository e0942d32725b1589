//! What the log says and how often; a slow reader of it delays no request.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply};
use crate::support::broker;
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};
use crate::support::{PATIENCE, wait_until};

fn lines(setup: &Setup, word: &str) -> Vec<String> {
    setup.broker.log().lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

#[test]
fn an_outage_and_its_end_are_logged_once() {
    let mut api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]).login("users", &api.url("/"), &[]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    api.down();
    for number in 0..50 {
        assert!(peer.look_up("m", &number.to_string()).starts_with("TEMP"));
        let mut sasl = setup.login(Way::Unix, "users");
        sasl.plain(1, "u@example.com", "secret");
        sasl.next(PATIENCE);
    }
    api.up();
    api.answer_with(|_| Reply::with_header("Auth-User", "u", r#"{"value": "v"}"#));
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert!(
        setup.broker.logged(&["API answers again", "name=\"m\"", "failures=50"]),
        "{}",
        setup.broker.log()
    );
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u@example.com", "secret");
    assert_eq!(sasl.line(), "OK\t1\tuser=u");
    assert!(setup.broker.logged(&["API answers again", "name=\"users\"", "failures=50"]));
    let (lookups, logins) = (lines(&setup, "lookup failed"), lines(&setup, "login failed"));
    assert_eq!((lookups.len(), logins.len()), (1, 1), "{lookups:#?} {logins:#?}");
    let target = format!("target=\"{}\"", api.url(""));
    for word in ["name=\"m\"", &*target, "class=\"connect\"", "duration_ms=", "session=", "request="] {
        assert!(lookups[0].contains(word), "{word}: {}", lookups[0]);
    }
    for word in ["user=\"u@example.com\"", "remote=\"192.0.2.7\"", "mechanism=\"PLAIN\"", "class=\"connect\""]
    {
        assert!(logins[0].contains(word), "{word}: {}", logins[0]);
    }
}

#[test]
fn an_api_that_answers_every_other_request_has_one_line_a_minute() {
    const LOOKUPS: usize = 100;
    let nth = AtomicUsize::new(0);
    let api = Backend::start(move |_| match nth.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Reply::status(500),
        _ => Reply::json(r#"{"value": "v"}"#),
    });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let (mut peer, began) = (setup.map(), Instant::now());
    for number in 0..LOOKUPS {
        let reply = peer.look_up("m", &number.to_string());
        assert_eq!(reply.starts_with("TEMP"), number % 2 == 0, "{number}: {reply}");
    }
    // The log is written in order: all lines before this one are there.
    peer.look_up("nobody", "k");
    assert!(setup.broker.logged(&["there is no such entry"]));
    let most = 1 + usize::try_from(began.elapsed().as_secs() / 60).expect("minutes");
    for message in ["lookup failed", "API answers again"] {
        let lines = lines(&setup, message);
        assert!((1..=most).contains(&lines.len()), "{lines:#?}");
    }
}

#[test]
fn a_request_has_the_same_id_in_log_and_header() {
    let api = Backend::start(|_| Reply::json("[]"));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[]));
    let attributes = [("request", "smtpd_access_policy"), ("queue_id", "4XyZ"), ("instance", "a.b.c")];
    let ids = |line: &str| {
        let id = |name: &str| {
            let value = line.split(name).nth(1).and_then(|rest| rest.split('"').nth(1));
            value.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
        };
        format!("{}-{}", id(" session="), id(" request="))
    };
    setup.map().look_up("m", "secret.key@example.com");
    assert!(setup.broker.logged(&["lookup failed", "name=\"m\""]));
    assert_eq!(api.last().header("x-request-id"), Some(ids(&lines(&setup, "name=\"m\"")[0]).as_str()));
    setup.policy("p").ask(&attributes);
    assert!(setup.broker.logged(&["lookup failed", "name=\"p\"", "queue_id=\"4XyZ\"", "instance=\"a.b.c\""]));
    assert_eq!(api.last().header("x-request-id"), Some(ids(&lines(&setup, "name=\"p\"")[0]).as_str()));
    assert!(!setup.broker.log().contains("secret.key"), "keys are personal data");
}

#[test]
fn keys_are_logged_if_the_configuration_says_so() {
    let api = Backend::start(|request| match request.text("key").as_str() {
        "bad" => Reply::json("[]"),
        _ => Reply::json(r#"{"value": "v"}"#),
    });
    for (when, good, bad) in [("never", false, false), ("failures", false, true), ("always", true, true)] {
        let level = [("PFXHTTP_SERVER_LOGGING_LEVEL", "debug"), ("PFXHTTP_SERVER_LOGGING_LOG_KEYS", when)];
        let setup = Setup::start_with(&level, |config| config.map("m", &api.url("/"), &[]));
        setup.map().look_up("m", "fine");
        setup.map().look_up("m", "bad");
        assert!(setup.broker.logged(&["lookup failed"]), "{when}");
        let log = setup.broker.log();
        assert_eq!((log.contains("key=\"fine\""), log.contains("key=\"bad\"")), (good, bad), "{when}: {log}");
    }
}

#[test]
fn lines_for_the_journal_have_priorities() {
    let api = Backend::start(|_| Reply::json("[]"));
    let systemd = [("PFXHTTP_SERVER_LOGGING_USE_SYSTEMD", "true")];
    let setup = Setup::start_with(&systemd, |config| config.map("m", &api.url("/"), &[]));
    setup.map().look_up("m", "k");
    assert!(setup.broker.logged(&["<6>", "lookup failed"]), "{}", setup.broker.log());
    setup.map().look_up("nobody", "k");
    assert!(setup.broker.logged(&["<4>", "no such entry"]), "{}", setup.broker.log());
    for line in setup.broker.log().lines() {
        assert!(line.starts_with('<') && line[3..].starts_with(|c: char| !c.is_ascii_digit()), "{line}");
    }
}

/// Standard error may be the socket of the journal, to which the log's thread writes, too.
#[test]
fn the_reason_for_a_failed_start_is_one_write() {
    let (reader, writer) = UnixDatagram::pair().expect("a pair of sockets");
    let mut broker = Command::new(env!("CARGO_BIN_EXE_pfxhttp-broker"));
    broker.args(["--config", "/nonexistent/pfxhttp.yml"]).stderr(OwnedFd::from(writer));
    assert!(!broker.status().expect("the broker can be started").success());
    reader.set_nonblocking(true).expect("it can be");
    let mut bytes = [0; 4096];
    let count = reader.recv(&mut bytes).expect("a reason");
    let said = String::from_utf8_lossy(&bytes[..count]);
    assert!(said.contains("/nonexistent/pfxhttp.yml") && said.ends_with('\n'), "{said:?}");
}

#[test]
fn a_log_that_is_not_read_delays_no_request() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let socket = directory.path().join("maps.sock");
    let config = Config::new(directory.path()).map("m", &api.url("/"), &["timeout: 5s"]);
    let file = config.listen_unix(Kind::Map, "maps", &socket).write();
    let mut command = broker::command(&file);
    command.env("PFXHTTP_SERVER_LOGGING_LEVEL", "debug");
    // Both pipes stay open, and nothing reads from them.
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the broker starts");
    assert!(wait_until(PATIENCE, || socket.exists()));
    let mut peer = Peer::unix(&socket);
    let started = Instant::now();
    for number in 0..3000 {
        assert_eq!(peer.look_up("m", &number.to_string()), "OK v");
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("a child can be signalled");
    let ended = crate::support::wait_for_exit(&mut child, PATIENCE);
    let _gone_already = child.kill();
    assert!(ended.is_some_and(|status| status.success()), "the broker ends: {ended:?}");
}

#[test]
fn a_denial_matches_the_fail2ban_filter() {
    let filter =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fail2ban/pfxhttp.conf"));
    let filter = filter.expect("the filter");
    let api = Backend::start(|_| Reply::with_header("Auth-Status", "no", ""));
    for (json, due) in [
        ("false", "login denied name=\"users\" remote=\"192.0.2.7\" user=\""),
        ("true", "\"message\":\"login denied\",\"name\":\"users\",\"remote\":\"192.0.2.7\",\"user\":\""),
    ] {
        let expected = due.replace("\"users\"", "\"[^\"]*\"").replace("192.0.2.7", "<HOST>");
        let expected = expected.replace("login denied", "login (?:denied|refused without asking)");
        assert!(filter.contains(&expected), "json: {json}: {expected}");
        let setup = Setup::start_with(&[("PFXHTTP_SERVER_LOGGING_JSON", json)], |config| {
            config.login("users", &api.url("/"), &[])
        });
        let mut sasl = setup.login(Way::Unix, "users");
        // Texts of the user stand behind the address.
        sasl.plain(1, "u\" remote=\"198.51.100.1", "secret");
        sasl.line();
        assert!(setup.broker.logged(&[due]), "json: {json}: {}", setup.broker.log());
    }
}
