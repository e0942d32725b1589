//! The broker ends during sessions and starts again: its clients wait, and nothing else happens.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::postfix::{add_spawn_entries, api, started, table};
use crate::support::backend::{Reply, Request};
use crate::support::broker::Broker;
use crate::support::postfix::{Postfix, trouble};
use crate::support::site::{Site, Way};
use crate::support::smtp::Smtp;
use crate::support::{PATIENCE, client, pause};

/// How long there is no broker.
const AWAY: Duration = Duration::from_secs(2);

/// Kills the broker, does `work` while there is none, and starts it again.
pub(crate) fn during_an_outage<T: Send>(
    broker: &mut Broker,
    away: Duration,
    work: impl FnOnce() -> T + Send,
) -> T {
    broker.kill();
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        pause(away);
        broker.start_again();
        working.join().expect("the work does not panic")
    })
}

#[test]
fn a_broker_restart_delays_an_smtp_session() {
    let mut site = Site::start(api);
    let (postfix, port) = started(&site);
    let mark = postfix.mark();
    let mut smtp = Smtp::begin(port);
    let before = smtp.rcpt("known@example.com");
    assert!(before.starts_with("250 "), "{before}");
    let start = Instant::now();
    let reply = during_an_outage(&mut site.broker, AWAY, || smtp.rcpt("known2@example.com"));
    assert!(reply.starts_with("250 "), "after {:?}: {reply}", start.elapsed());
    assert!(start.elapsed() >= AWAY, "the reply must come after the restart");
    let after = smtp.rcpt("unknown@example.com");
    assert!(after.starts_with("550 "), "afterwards: {after}");
    drop(smtp);
    let log = postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log");
}

/// A session that begins while there is no broker.
#[test]
fn a_session_that_begins_without_a_broker_waits() {
    let mut site = Site::start(api);
    let (postfix, port) = started(&site);
    let mark = postfix.mark();
    let reply = during_an_outage(&mut site.broker, AWAY, || Smtp::begin(port).rcpt("known@example.com"));
    assert!(reply.starts_with("250 "), "{reply}");
    let log = postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log");
}

/// A value that depends on the key alone, after a delay that depends on the key.
fn by_key(request: &Request) -> Reply {
    let key = request.text("key");
    let wait = key.bytes().map(u64::from).sum::<u64>() % 5;
    pause(Duration::from_millis(wait));
    Reply::json(&json!({ "value": format!("<{key}>") }).to_string())
}

#[test]
fn no_lookup_gets_another_lookups_answer() {
    let mut site = Site::start(by_key);
    let mut peers: Vec<_> = (0..8).map(|_| site.map(Way::Forwarding)).collect();
    let started = site.maps.count();
    let workers: Vec<_> = peers
        .drain(..)
        .enumerate()
        .map(|(worker, mut peer)| {
            std::thread::spawn(move || {
                let keys = (0..200).map(|number| format!("w{worker}k{number}"));
                let asked = keys.map(|key| (peer.look_up("demo", &key), format!("OK <{key}>")));
                asked.filter(|(got, due)| got != due).collect::<Vec<_>>()
            })
        })
        .collect();
    for round in 1..=3 {
        let before = started.max(site.maps.count());
        assert!(site.maps.wait_for(before + 100, PATIENCE), "lookups go on in round {round}");
        during_an_outage(&mut site.broker, Duration::from_millis(300), || ());
    }
    let wrong: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect();
    assert!(wrong.is_empty(), "{} of 1600 replies differ from f(key): {wrong:?}", wrong.len());
    let keys: HashSet<String> = site.maps.requests().iter().map(|request| request.text("key")).collect();
    assert_eq!(keys.len(), 1600, "each key reached the API");
}

#[test]
fn postmap_prints_the_answer_to_each_key() {
    let mut site = Site::start(by_key);
    let mut postfix = Postfix::prepare();
    add_spawn_entries(&postfix, &site);
    postfix.start();
    let keys: Vec<String> = (0..300).map(|number| format!("key {number}")).collect();
    let table = table(&site, Way::Client);
    let output = during_an_outage(&mut site.broker, Duration::from_millis(500), || {
        postfix.postmap("-", &keys.join("\n"), &table)
    });
    let got = String::from_utf8_lossy(&output.stdout).into_owned();
    let due: String = keys.iter().map(|key| format!("{key}\t<{key}>\n")).collect();
    assert_eq!(got, due, "{}", String::from_utf8_lossy(&output.stderr));
}

/// The program is at a path of the test's own, which master.cf names, and is replaced there as a
/// package upgrade does it.
#[test]
fn a_replaced_client_program_serves_the_next_connection() {
    let site = Site::start(api);
    let (postfix, port) = started(&site);
    let mut smtp = Smtp::begin(port);
    let before = smtp.rcpt("known@example.com");
    postfix.replace_program(&client::program());
    let after = smtp.rcpt("known2@example.com");
    let fresh = Smtp::begin(port).rcpt("known3@example.com");
    for reply in [&before, &after, &fresh] {
        assert!(reply.starts_with("250 "), "{before}; {after}; {fresh}");
    }
}
