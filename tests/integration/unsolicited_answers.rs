//! Answers that come late or without a request: the connection is not used for another request, and the
//! answer is not taken for another request's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, wait_until};

const GOOD: &str = "HTTP/1.1 200 OK\r\nAuth-Status: OK\r\nContent-Length: 18\r\n\r\n{\"value\": \"wrong\"}";

fn status(word: &str) -> Reply {
    let headers = vec![("Auth-Status".to_owned(), word.to_owned())];
    Reply::Answer { status: 200, headers, body: br#"{"value": "v"}"#.to_vec() }
}

fn login(sasl: &mut Sasl, number: u32, password: &str) -> String {
    sasl.plain(number, "u", password);
    sasl.line()
}

/// The numbers of the requests' connections, in order.
fn connections(api: &Backend) -> Vec<u64> {
    api.requests().iter().map(|request| request.connection).collect()
}

#[test]
fn an_answer_on_an_idle_connection_is_dropped() {
    let is_written = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_written);
    let api = Backend::start(move |request: &Request| {
        if request.connection > 1 {
            return status("wrong password");
        }
        let unasked = Box::new(Reply::Kept(GOOD.as_bytes().to_vec()));
        Reply::Unasked(Box::new(status("OK")), unasked, Arc::clone(&flag))
    });
    let setup = Setup::start(|config| config.login("users", &api.url("/"), &[]));
    let mut sasl = setup.login(Way::Unix, "users");
    assert_eq!(login(&mut sasl, 1, "right"), "OK\t1\tuser=u");
    api.release();
    assert!(wait_until(PATIENCE, || is_written.load(Ordering::SeqCst)));
    assert_eq!(login(&mut sasl, 2, "guess"), "FAIL\t2\treason=wrong password\tuser=u");
    assert_eq!(connections(&api), [1, 2], "the password was sent on another connection");
}

#[test]
fn an_answer_behind_another_is_dropped() {
    for tail in [GOOD, "HTTP/1.1 103 Early Hints\r\n\r\n", "x"] {
        let first = format!("{}{tail}", GOOD.replace("wrong", "right"));
        let api = Backend::start(move |request: &Request| match request.connection {
            1 => Reply::Kept(first.as_bytes().to_vec()),
            _ => status("wrong password"),
        });
        let setup = Setup::start(|config| config.login("users", &api.url("/"), &[]));
        let mut sasl = setup.login(Way::Unix, "users");
        assert_eq!(login(&mut sasl, 1, "right"), "OK\t1\tuser=u", "{tail:?}");
        assert_eq!(login(&mut sasl, 2, "guess"), "FAIL\t2\treason=wrong password\tuser=u", "{tail:?}");
        assert_eq!(connections(&api), [1, 2], "{tail:?}");
    }
}

#[test]
fn a_connection_with_an_abandoned_answer_is_not_used_again() {
    let api = Backend::start(|request: &Request| match request.text("password").as_str() {
        "right" => status("OK"),
        "slow" => Reply::Hold(Box::new(status("OK"))),
        _ => status("wrong password"),
    });
    let setup = Setup::start(|config| config.login("users", &api.url("/"), &["timeout: 1s"]));
    let mut sasl = setup.login(Way::Unix, "users");
    assert_eq!(login(&mut sasl, 1, "right"), "OK\t1\tuser=u");
    sasl.plain(2, "u", "slow");
    assert!(matches!(sasl.next(PATIENCE), Heard::Closed(_)), "no answer in time");
    api.release();
    let mut sasl = setup.login(Way::Unix, "users");
    assert_eq!(login(&mut sasl, 3, "guess"), "FAIL\t3\treason=wrong password\tuser=u");
    let used = connections(&api);
    assert_ne!(used[1], used[2], "{used:?}");
}
