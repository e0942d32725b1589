//! The reason of a failure, in plain words: in the log, once a minute for each reason, and in a trace.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ServerConfig};

use crate::support::backend::{Backend, Reply};
use crate::support::blackhole::Blackhole;
use crate::support::broker::command;
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::config::{Config, trust};
use crate::support::peer::netstring;
use crate::support::port::Port;
use crate::support::sasl::Heard;
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};
use crate::support::{PATIENCE, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &str = r#"{"value": "v"}"#;

/// The output of `query --trace`.
fn trace(setup: &Setup, map: &str) -> String {
    let file = setup.ipc().with_file_name("pfxhttp.yml");
    let output = command(&file).args(["query", "map", "--trace", map, "k"]).output().expect("a program");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A lookup in map `m` fails with this class, and log and trace give the reason.
fn assert_reported(setup: &Setup, class: &str, reason: &str) {
    let mut peer = setup.map();
    for _ in 0..3 {
        assert_eq!(peer.look_up("m", "k"), TEMP, "{reason}");
    }
    let class = format!("class=\"{class}\"");
    let log = || setup.broker.log();
    assert!(setup.broker.logged(&["lookup failed", &class]), "{class} is not in {}", log());
    let line = ["trouble with a target", &class, reason];
    assert!(setup.broker.logged(&line), "{line:?} is not in {}", log());
    assert_eq!(log().matches("trouble with a target").count(), 1, "{}", log());
    let trace = trace(setup, "m");
    let is_told = trace.lines().any(|line| line.contains("no answer: ") && line.contains(reason));
    assert!(is_told, "{reason} is not in {trace}");
}

fn assert_handshake(tls: Arc<ServerConfig>, settings: &str, reason: &str) {
    let api = Backend::start_tls(tls, |_| Reply::json(VALUE));
    let setup =
        Setup::start(|config| config.server(&format!("tls: {{{settings}}}")).map("m", &api.url("/"), &[]));
    assert_reported(&setup, "tls", reason);
    assert_eq!(api.count(), 0, "{reason}");
}

#[test]
fn an_api_certificate_that_is_not_trusted() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trusted = trust(&authority.write(directory.path(), "ca.crt"));
    let openssls = Identity::openssls(Flaw::None);
    let pinned = trust(&openssls.write(directory.path(), "pinned").0);
    let other = Authority::new("other").server(Flaw::None);
    let by_itself = "signed by itself, and is not in root_ca";
    for (identity, settings, reason) in [
        (
            authority.server(Flaw::Expired),
            trusted.as_str(),
            "the certificate expired on 2020-01-01T00:00:00Z",
        ),
        (authority.server(Flaw::NotYetValid), &trusted, "the certificate is not valid before 2090-01-01"),
        (authority.server(Flaw::WrongHost), &trusted, "is for other.test.example, and not for 127.0.0.1"),
        (Identity::self_signed(), &trusted, by_itself),
        (Identity::openssls(Flaw::None), &trusted, by_itself),
        (Identity::openssls(Flaw::None), &pinned, by_itself),
        (Identity::self_signed(), "enabled: true", "signed by itself, and no root_ca names it"),
        (Identity::openssls(Flaw::None), "enabled: true", "signed by itself, and no root_ca names it"),
        (other, &trusted, "signed by an authority that is not in root_ca"),
        (authority.server(Flaw::None), "enabled: true", "by an authority that this system does not know"),
        (authority.client(), &trusted, "the certificate is not one of a server"),
    ] {
        assert_handshake(identity.serve(ALL_VERSIONS, None), settings, reason);
    }
    let thief = openssls.serve_with_key_of(&Identity::self_signed());
    assert_handshake(thief, &pinned, "does not hold its key");
}

/// With TLS 1.3 the server refuses the certificate after the handshake.
#[test]
fn a_broker_certificate_that_is_not_trusted() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trusted = trust(&authority.write(directory.path(), "ca.crt"));
    let (cert, key) = Authority::new("other").client().write(directory.path(), "foreign");
    let foreign = format!(r#"{trusted}, cert: "{}", key: "{}""#, cert.display(), key.display());
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let serve = || authority.server(Flaw::None).serve(versions, Some(&authority));
        assert_handshake(serve(), &trusted, "a certificate of ours (server.tls.cert)");
        assert_handshake(serve(), &foreign, "it does not trust our certificate (server.tls.cert)");
    }
}

#[test]
fn no_tls_and_no_connection() {
    let (plain, nobody) = (Backend::constant(VALUE), Port::reserve());
    let target = plain.url("/").replace("http:", "https:");
    let setup = Setup::start(|config| config.map("m", &target, &[]));
    assert!(setup.map().look_up("m", "k") == TEMP);
    assert!(setup.broker.logged(&["trouble with a target", "does that port speak TLS?"]));
    let setup = Setup::start(|config| config.map("m", &format!("http://{}/", nobody.address()), &[]));
    assert_reported(&setup, "connect", "connection refused");
    let setup = Setup::start(|config| config.map("m", "http://nobody.invalid/", &[]));
    assert_reported(&setup, "connect", "cannot resolve nobody.invalid");
}

#[test]
fn an_answer_that_is_not_http() {
    let mut many = String::from("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n");
    for number in 0..256 {
        let _ = write!(many, "X-{number}: y\r\n");
    }
    let answer = |head: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n{VALUE}");
    for (answer, reason) in [
        (format!("{many}\r\n{VALUE}"), "its head has more than 256 lines, or more than 64 KiB"),
        (answer(&format!("X: {}\r\n", "y".repeat(70_000))), "more than 64 KiB"),
        (answer("Transfer-Encoding: gzip, chunked\r\n"), "a transfer coding other than `chunked`"),
        (answer("no header\r\n"), "invalid HTTP header"),
        (answer("Content-Length: 100\r\n"), "the connection ended before the answer did"),
        ("220 mx.test.example ESMTP\r\n".to_owned(), "invalid HTTP version"),
    ] {
        for proxied in [false, true] {
            let reply = Reply::Raw(answer.clone().into_bytes());
            let api = Backend::start(move |_| reply.clone());
            let setup = Setup::start(|config| {
                let config = if proxied { config.proxy(&api.url("")) } else { config };
                let target = if proxied { "http://127.0.0.1:1/".to_owned() } else { api.url("/") };
                config.map("m", &target, &[])
            });
            assert_reported(&setup, "protocol", reason);
        }
    }
}

/// An API that accepts the connection and does not answer, as one whose host hangs.
#[test]
fn an_answer_that_does_not_come_in_time() {
    let api = Backend::start(|_| Reply::stall());
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &["timeout: 600ms"]));
    assert_reported(&setup, "timeout", "no complete answer within ");
    // One line for each target, also for another time limit.
    let other = |config: Config| {
        config.map("m", &api.url("/"), &["timeout: 300ms"]).map("n", &api.url("/"), &["timeout: 600ms"])
    };
    let setup = Setup::start(other);
    assert_reported(&setup, "timeout", "no complete answer within ");
    assert_eq!(setup.map().look_up("n", "k"), TEMP);
    let trace = trace(&setup, "n");
    assert!(trace.contains("no answer: no complete answer within "), "{trace}");
    assert_eq!(setup.broker.log().matches("trouble with a target").count(), 1, "{}", setup.broker.log());
}

#[test]
fn a_connection_that_does_not_come_about_in_time() {
    let hole = Blackhole::open();
    let setup = Setup::start(|config| config.map("m", &hole.url("/"), &["timeout: 600ms"]));
    assert_reported(&setup, "timeout", "no connection within ");
}

#[test]
fn no_free_connection_in_time() {
    let api = Backend::start(|_| Reply::stall());
    let setup = Setup::start(|config| {
        let config = config.server("http_client: {max_connections_per_host: 1}");
        config.map("slow", &api.url("/"), &["timeout: 60s"]).map("m", &api.url("/"), &["timeout: 600ms"])
    });
    let mut holding = setup.map();
    holding.send(netstring("slow k"));
    assert!(wait_until(PATIENCE, || api.count() == 1), "it holds the only connection");
    assert_reported(&setup, "timeout", "no free connection (max_connections_per_host) within ");
    assert_eq!(api.count(), 1);
}

#[test]
fn a_login_that_fails_is_explained_too() {
    let api = Backend::start_tls(Identity::openssls(Flaw::None).serve(ALL_VERSIONS, None), |_| Reply::Close);
    let setup = Setup::start(|config| config.login("users", &api.url("/"), &[]));
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "secret");
    assert!(matches!(sasl.next(PATIENCE), Heard::Closed(_)));
    let due = ["trouble with a target", "class=\"tls\"", "signed by itself, and no root_ca names it"];
    assert!(setup.broker.logged(&due), "{}", setup.broker.log());
    assert!(setup.broker.logged(&["login failed", "class=\"tls\""]), "{}", setup.broker.log());
}
