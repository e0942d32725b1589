//! The client with brokers that start late, do not answer, end during a lookup or have another version.
//! A fake broker speaks in frames, because no real one would do this.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pfxhttp::model::{Answer, OnFailure};
use pfxhttp::wire::ipc::{VERSION, Verdict};
use tempfile::TempDir;

use crate::support::backend::Backend;
use crate::support::broker::Broker;
use crate::support::config::Config;
use crate::support::frames::{FakeBroker, echo};
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::sasl::{Heard, Sasl};
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
const SECOND: Duration = Duration::from_secs(1);
const BUDGET: Duration = Duration::from_secs(30);

/// A directory, and the path of a broker's socket in it.
fn place() -> (TempDir, PathBuf) {
    let directory = open_directory();
    let socket = Config::ipc(directory.path());
    (directory, socket)
}

/// Starts a real broker that replaces the fake one.
fn real(directory: &Path, api: &Backend) -> Broker {
    Broker::start(&Config::new(directory).map("m", &api.url("/"), &[]).write())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn assert_about(took: Duration, due: Duration, what: &str) {
    let around = due.mul_f64(0.9)..due + SECOND * 7 / 10;
    assert!(around.contains(&took), "{what} took {took:?}, not about {due:?}");
}

#[test]
fn the_answer_to_another_lookup_is_dropped() {
    let (_directory, socket) = place();
    let _broker = FakeBroker::start(&socket, |_, frames| {
        frames.greet(BUDGET, None);
        while let Some(ask) = frames.asked() {
            for foreign in [ask.id.wrapping_add(1), ask.id.wrapping_sub(1), 0] {
                frames.tell(foreign, Answer::Value("of another".to_owned()));
            }
            frames.tell(ask.id, echo(&ask.question));
        }
    });
    let mut peer = Peer::asking(&socket, &["socketmap"]);
    for key in ["a", "b", "c"] {
        assert_eq!(peer.look_up("m", key), format!("OK for {key}"));
    }
}

#[test]
fn a_broker_that_never_answers_is_waited_for_until_a_second_after_the_budget() {
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |nth, frames| {
        frames.greet(Duration::from_millis(500), None);
        match nth {
            1 => frames.swallow(),
            _ => frames.echo(),
        }
    });
    let mut peer = Peer::asking(&socket, &["--no-hand-over", "socketmap"]);
    let (reply, took) = timed(|| peer.look_up("m", "one"));
    assert_eq!(reply, TEMP);
    assert_about(took, Duration::from_millis(1500), "a lookup without an answer");
    assert_eq!(broker.connects(), 1, "it waits on its present connection");
    assert_eq!(peer.look_up("m", "two"), "OK for two");
    assert_eq!(broker.connects(), 2, "a connection on which an answer may still come is closed");
    assert_eq!(peer.look_up("m", "three"), "OK for three");
    assert_eq!(broker.connects(), 2, "the new connection is kept");
}

#[test]
fn a_lookup_that_ends_every_broker_fails() {
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |_, frames| {
        frames.greet(BUDGET, None);
        frames.asked();
    });
    let mut peer = Peer::asking(&socket, &["--no-hand-over", "socketmap"]);
    let (reply, took) = timed(|| peer.look_up("m", "fatal"));
    assert_eq!(reply, TEMP);
    assert!(took < 3 * SECOND, "it took {took:?}");
    let asks = broker.asks();
    assert!((2..=8).contains(&broker.connects()), "{} brokers were lost", broker.connects());
    assert_eq!(asks.len(), broker.connects(), "each broker got one request");
    assert!(asks.iter().all(|ask| ask.id == asks[0].id), "a lookup keeps its id: {asks:?}");
    let spent: Vec<u32> = asks.iter().map(|ask| ask.spent_ms).collect();
    assert!(spent.is_sorted() && spent.first() < spent.last(), "one budget is spent: {spent:?}");
}

#[test]
fn the_next_lookup_has_an_id_of_its_own() {
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |_, frames| {
        frames.greet(BUDGET, None);
        frames.echo();
    });
    for _ in 0..2 {
        let mut peer = Peer::asking(&socket, &["socketmap"]);
        for key in ["a", "a"] {
            assert_eq!(peer.look_up("m", key), "OK for a");
        }
    }
    let mut ids: Vec<u64> = broker.asks().iter().map(|ask| ask.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "ids differ within a client and between two clients");
}

#[test]
fn a_broker_that_is_too_old_is_waited_for_until_it_is_replaced() {
    let (directory, socket) = place();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let old = FakeBroker::start(&socket, |_, frames| {
        if frames.hello().is_some() {
            frames.greet_as(VERSION - 1, Verdict::TooNew);
        }
    });
    let mut peer = Peer::asking(&socket, &["socketmap"]);
    peer.send(netstring("m k"));
    assert!(wait_until(PATIENCE, || old.connects() >= 2), "it is asked again");
    drop(old);
    let _broker = real(directory.path(), &api);
    assert_eq!(peer.reply(), "OK v");
}

#[test]
fn a_broker_that_stays_too_old_is_treated_as_absent() {
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |_, frames| {
        if frames.hello().is_some() {
            frames.greet_as(VERSION - 1, Verdict::TooNew);
        }
    });
    let mut peer = Peer::asking(&socket, &["--timeout", "1", "socketmap"]);
    let (reply, took) = timed(|| peer.look_up("m", "k"));
    assert_eq!(reply, TEMP);
    assert_about(took, SECOND, "a lookup");
    let connects = broker.connects();
    assert!((3..=30).contains(&connects), "{connects} tries within a second");
}

#[test]
fn a_broker_that_does_not_greet_is_treated_as_absent() {
    let (_directory, socket) = place();
    let greets = Arc::new(AtomicBool::new(false));
    let is_due = Arc::clone(&greets);
    let _broker = FakeBroker::start(&socket, move |_, frames| {
        if !is_due.load(Ordering::SeqCst) {
            return frames.swallow();
        }
        frames.greet(BUDGET, None);
        frames.echo();
    });
    for arguments in
        [&["--timeout", "1", "socketmap"][..], &["--timeout", "1", "--no-hand-over", "socketmap"]]
    {
        greets.store(false, Ordering::SeqCst);
        let mut peer = Peer::asking(&socket, arguments);
        let (reply, took) = timed(|| peer.look_up("m", "k"));
        assert_eq!(reply, TEMP);
        assert_about(took, SECOND, "a lookup");
        greets.store(true, Ordering::SeqCst);
        // The client may have begun another try by then, which ends after a second.
        let reply = peer.look_up("m", "k");
        assert!(reply == "OK for k" || reply == TEMP, "{reply}");
        assert_eq!(peer.look_up("m", "k"), "OK for k");
    }
}

#[test]
fn a_client_that_lost_its_broker_applies_the_entrys_on_failure() {
    let (directory, socket) = place();
    let api = Backend::constant("{}");
    let broken = OnFailure::parse("REJECT broken").expect("an action");
    let broker = FakeBroker::start(&socket, move |_, frames| {
        frames.greet(BUDGET, Some(broken.clone()));
        frames.asked();
        frames.swallow();
    });
    let arguments = ["--timeout", "1", "--on-failure", "HOLD by the client", "policy", "p"];
    let mut peer = Peer::asking(&socket, &arguments);
    peer.send(policy_request(&[("sender", "a@example.com")]));
    assert!(wait_until(PATIENCE, || broker.asks().len() == 1), "the request is taken");
    drop(broker);
    let (reply, took) = timed(|| peer.action());
    assert_eq!(reply, "action=REJECT broken\n\n");
    assert_about(took, SECOND, "the wait for another broker");
    let _broker = real(directory.path(), &api);
    assert_eq!(peer.ask(&[("sender", "a@example.com")]), "action=HOLD by the client\n\n");
}

#[test]
fn before_the_first_hello_the_clients_on_failure_applies() {
    let (_directory, socket) = place();
    let mut peer = Peer::asking(&socket, &["--timeout", "1", "--on-failure", "HOLD", "policy", "p"]);
    assert_eq!(peer.ask(&[]), "action=HOLD\n\n");
    let mut peer = Peer::asking(&socket, &["--timeout", "1", "policy", "p"]);
    assert_eq!(peer.ask(&[]), "action=DEFER Temporary server problem\n\n");
    let mut peer = Peer::asking(&socket, &["--timeout=1", "--on-failure=disconnect", "policy", "p"]);
    peer.send(policy_request(&[]));
    assert_eq!(peer.rest(), b"");
    assert_eq!(peer.exit_code(), Some(0));
}

#[test]
fn only_the_first_lookup_waits_the_full_time() {
    let (_directory, socket) = place();
    let mut peer = Peer::asking(&socket, &["--timeout", "3", "socketmap"]);
    for (what, due) in [("the first", 3), ("the second", 1), ("the third", 1)] {
        let (reply, took) = timed(|| peer.look_up("m", "k"));
        assert_eq!(reply, TEMP, "{what}");
        assert_about(took, due * SECOND, what);
    }
    let broker = FakeBroker::start(&socket, |_, frames| {
        frames.greet(BUDGET, None);
        frames.echo();
    });
    assert_eq!(peer.look_up("m", "k"), "OK for k");
    drop(broker);
    let (reply, took) = timed(|| peer.look_up("m", "k"));
    assert_eq!(reply, TEMP);
    assert_about(took, 3 * SECOND, "the first behind an answer");
}

#[test]
fn a_login_is_sent_once_and_the_connection_closes_if_the_broker_is_lost() {
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |_, frames| {
        // `on_failure` of the entry is for failures that the broker reports. This failure is the
        // client's own.
        frames.greet(BUDGET, Some(OnFailure::Fail));
        frames.asked();
    });
    let mut sasl = Sasl::begin(Peer::asking(&socket, &["--mechanisms", "PLAIN", "sasl", "users"]));
    sasl.plain(1, "u", "secret");
    assert_eq!(
        sasl.next(Duration::from_secs(9)),
        Heard::Closed(Vec::new()),
        "the connection closes, which is a 454"
    );
    assert_eq!(broker.asks().len(), 1, "a password is not tried again");
    // A broker that ends before it has the login causes only a delay.
    let (_directory, socket) = place();
    let broker = FakeBroker::start(&socket, |nth, frames| {
        frames.greet(BUDGET, None);
        if nth > 2 {
            frames.echo();
        }
    });
    let mut sasl = Sasl::begin(Peer::asking(&socket, &["sasl", "users"]));
    sasl.plain(1, "u", "secret");
    let heard = sasl.next(Duration::from_secs(9));
    assert!(
        matches!(&heard, Heard::Line(line) if line == "OK\t1\tuser=u") || heard == Heard::Closed(Vec::new()),
        "{heard:?}"
    );
    assert!(broker.asks().len() <= 1, "{:?}", broker.asks());
}
