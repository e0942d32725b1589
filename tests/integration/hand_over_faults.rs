//! The broker dies at each step of a hand-over, is away, or is older: the request is answered once, by the
//! client that forwards it or by the next client. Fake brokers play the steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pfxhttp::model::{Answer, Mechanism};
use pfxhttp::wire::ipc::{Service, VERSION, Verdict};
use tempfile::TempDir;

use crate::support::backend::Backend;
use crate::support::broker::Broker;
use crate::support::config::Config;
use crate::support::frames::{FakeBroker, Frames, map_question};
use crate::support::peer::{Peer, netstring};
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_until};

const SECOND: Duration = Duration::from_secs(1);
const TEMP: &str = "TEMP Temporary server problem";

fn place() -> (TempDir, PathBuf) {
    let directory = open_directory();
    let socket = Config::ipc(directory.path());
    (directory, socket)
}

fn real(directory: &Path, api: &Backend) -> Broker {
    Broker::start(&Config::new(directory).map("m", &api.url("/"), &[]).write())
}

/// How far a fake broker comes before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connected,
    Greeted,
    Taken,
    GivenUp,
}

#[test]
fn a_broker_that_ends_at_any_step_loses_no_request() {
    for step in [Step::Connected, Step::Greeted, Step::Taken, Step::GivenUp] {
        let (directory, socket) = place();
        let api = Backend::constant(r#"{"value": "v"}"#);
        let reached = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&reached);
        let broker = FakeBroker::start(&socket, move |_, frames| {
            if step != Step::Connected {
                let hello = frames.hello();
                assert!(hello.is_some_and(|hello| hello.offer.is_some()), "a connection is offered");
            }
            if matches!(step, Step::Taken | Step::GivenUp) {
                frames.greet_as(VERSION, Verdict::Taken);
            }
            if step == Step::GivenUp {
                assert!(frames.is_given_up());
            }
            seen.fetch_add(1, Ordering::SeqCst);
        });
        let mut peer = Peer::asking(&socket, &["socketmap"]);
        peer.send(netstring("m k"));
        assert!(wait_until(PATIENCE, || reached.load(Ordering::SeqCst) > 0), "{step:?}");
        drop(broker);
        let _broker = real(directory.path(), &api);
        // A client that gave its byte to a dying broker has ended: Postfix asks again on a new connection.
        let reply = peer.up_to(netstring("OK v").len());
        if reply.is_empty() {
            assert!(matches!(step, Step::Taken | Step::GivenUp), "{step:?}: the client had to ask");
            assert_eq!(peer.exit_code(), Some(0), "{step:?}");
            assert_eq!(api.count(), 0, "{step:?}: nobody has read the request");
            assert_eq!(Peer::asking(&socket, &["socketmap"]).look_up("m", "k"), "OK v");
        } else {
            assert_eq!(reply, netstring("OK v"), "{step:?}");
        }
        assert_eq!(api.count(), 1, "{step:?}: asked once");
    }
}

/// A client that is stopped between "taken" and its byte finds the broker gone.
#[test]
fn a_byte_that_nobody_reads_ends_no_client() {
    let (directory, socket) = place();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let broker = FakeBroker::start(&socket, |nth, frames| {
        if frames.hello().is_some() {
            match nth {
                // Its end reaches the client together with the verdict.
                1 => frames.close_after(VERSION, Verdict::Taken),
                _ => frames.greet_as(VERSION, Verdict::TooNew),
            }
        }
    });
    let mut peer = Peer::asking(&socket, &["socketmap"]);
    peer.send(netstring("m k"));
    assert!(wait_until(PATIENCE, || broker.connects() >= 2), "it goes on, with the request unread");
    drop(broker);
    let _broker = real(directory.path(), &api);
    assert_eq!(peer.reply(), "OK v");
    assert_eq!(api.count(), 1);
}

#[test]
fn without_a_broker_the_request_waits_unread_and_is_handed_over() {
    let (directory, socket) = place();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let mut peer = Peer::asking(&socket, &["socketmap"]);
    peer.send(netstring("m k"));
    let mut broker = real(directory.path(), &api);
    assert_eq!(peer.reply(), "OK v");
    assert_eq!(peer.exit_code(), Some(0), "it was handed over");
    broker.kill();
    assert_eq!(peer.rest(), b"", "Postfix connects again");

    let mut peer = Peer::asking(&socket, &["--timeout", "1", "socketmap"]);
    let start = Instant::now();
    assert_eq!(peer.look_up("m", "k"), TEMP);
    assert!((SECOND..3 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    broker.start_again();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!(peer.exit_code(), Some(0), "it was handed over at the next request");
}

#[test]
fn an_older_broker_is_asked_in_its_version() {
    let (_directory, socket) = place();
    let old = FakeBroker::start(&socket, |_, frames| {
        let Some(hello) = frames.hello() else { return };
        if hello.version > 1 {
            return frames.greet_as(1, Verdict::TooNew);
        }
        frames.greet_as(
            1,
            Verdict::Served { budget_ms: 30_000, on_failure: None, mechanisms: vec![Mechanism::Plain] },
        );
        frames.echo();
    });
    for arguments in [&["socketmap"][..], &["--no-hand-over", "socketmap"]] {
        let mut peer = Peer::asking(&socket, arguments);
        for key in ["a", "b"] {
            assert_eq!(peer.look_up("m", key), format!("OK for {key}"));
        }
    }
    assert_eq!(old.connects(), 4, "two for each client: of its own version, and of the broker's");
    let mut sasl = Sasl::begin(Peer::asking(&socket, &["sasl", "users"]));
    assert_eq!(sasl.mechanisms(), ["PLAIN"]);
    sasl.plain(1, "u", "secret");
    assert!(sasl.line().starts_with("OK\t1\t"));
}

#[test]
fn an_older_client_is_served_in_its_version() {
    let (directory, socket) = place();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let _broker = real(directory.path(), &api);
    let mut frames = Frames::connect(&socket);
    frames.say_hello_as(1, &Service::Socketmap);
    assert!(matches!(frames.welcome().expect("a greeting").verdict, Verdict::Served { .. }));
    frames.ask(7, Duration::ZERO, &map_question("m", "k"));
    assert_eq!(frames.told().expect("an answer").answer, Answer::Value("v".to_owned()));
}

/// An smtpd whose handshake is late exits.
#[test]
fn the_handshake_of_logins_does_not_wait_for_the_hand_over() {
    let (_directory, socket) = place();
    for (arguments, within) in
        [(&["sasl", "users"][..], SECOND), (&["--mechanisms", "PLAIN", "sasl", "users"], SECOND)]
    {
        // A broker that accepts and says nothing, and one that is away.
        let silent = FakeBroker::start(&socket, |_, frames| frames.swallow());
        let start = Instant::now();
        let sasl = Sasl::begin(Peer::asking(&socket, arguments));
        assert!(start.elapsed() < within + SECOND / 2, "{arguments:?}: {:?}", start.elapsed());
        assert!(sasl.mechanisms().contains(&"PLAIN"));
        drop((silent, sasl));
        let _gone = std::fs::remove_file(&socket);
        let start = Instant::now();
        let sasl = Sasl::begin(Peer::asking(&socket, arguments));
        assert!(start.elapsed() < within + SECOND / 2, "{arguments:?}: {:?}", start.elapsed());
        assert!(sasl.mechanisms().contains(&"PLAIN"));
    }
}

#[test]
fn a_malformed_request_takes_no_time_of_the_next_one() {
    let (directory, socket) = place();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let mut peer = Peer::asking(&socket, &["--timeout", "1", "socketmap"]);
    peer.send(netstring("nospace"));
    assert_eq!(peer.reply(), "PERM malformed request");
    let _broker = real(directory.path(), &api);
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!(peer.exit_code(), Some(0), "it was handed over");
}

/// The broker accepts and says nothing. The time of a request begins when it comes.
#[test]
fn a_late_request_has_its_whole_time() {
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |_, frames| frames.swallow());
    let mut peer = Peer::asking(&socket, &["--timeout", "2", "socketmap"]);
    assert!(wait_until(PATIENCE, || broker.connects() == 1));
    crate::support::pause(Duration::from_millis(1500));
    let start = Instant::now();
    assert_eq!(peer.look_up("m", "k"), TEMP);
    assert!((2 * SECOND..3 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_forwards_tries_again_after_its_broker_is_lost() {
    let (directory, socket) = place();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let config = |hand_over: bool| {
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
        config.ipc_field(&format!("hand_over: {hand_over}")).write()
    };
    let mut broker = Broker::start(&config(false));
    let mut peer = Peer::asking(&socket, &["socketmap"]);
    assert_eq!(peer.look_up("m", "k"), "OK v");
    broker.kill();
    config(true);
    broker.start_again();
    // The first one is forwarded: the client was reading it when the broker ended.
    for _ in 0..2 {
        assert_eq!(peer.look_up("m", "k"), "OK v");
    }
    assert_eq!(peer.exit_code(), Some(0), "it was handed over");
}
