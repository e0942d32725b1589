//! Row 34: a panic in a session. Debug builds have a failpoint for it (`src/server/session/failpoint.rs`).

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Instant;

use crate::driver::{Lane, next_id, once};
use crate::ledger::{Asked, Heard, Rules, Said};
use crate::process::by_clients;
use crate::protocol::{Held, login_reply, map_reply, policy_reply};
use crate::rig::{PASSWORD, Rig, entries};
use crate::rows::row;
use crate::support::peer::{Peer, netstring, policy_request};
use crate::support::sasl::{Heard as Event, Sasl};
use crate::support::site::Way;
use crate::support::{PATIENCE, wait_until};

/// What names the key at which a session panics.
const VARIABLE: &str = "PFX_PANIC_AT_KEY";
/// That key. No log line may have it: the panic's message does.
const POISON: &str = "tell-no-one";
/// How often a client asks again if its connection to the broker is lost.
const ATTEMPTS: usize = 5;

/// Several connections of each kind, which are never opened again. There are at least two for each thread.
fn held(rig: &Rig) -> Vec<Held> {
    let threads = available_parallelism().map_or(1, usize::from);
    let lanes = [Way::Unix, Way::Client].iter().flat_map(|way| rig.lanes(*way));
    lanes.flat_map(|lane| (0..3.max(threads / 2)).map(move |_| Held::open(&lane))).collect()
}

/// A reply, or that the connection was closed instead.
fn said(reply: Result<Said, bool>) -> Option<Said> {
    match reply {
        Err(true) => Some(Said::Temporary("closed".to_owned())),
        other => other.ok(),
    }
}

/// Requests at which sessions panic, one of each protocol.
fn poison(rig: &Rig, way: Way) {
    let open = |lane: Lane| (lane.open)();
    let ask = |mut peer: Peer, bytes: &[u8], reply: fn(&mut Peer) -> Result<Said, bool>| {
        once(&rig.ledgers, "poison", POISON, "no answer", || {
            peer.send(bytes);
            said(reply(&mut peer))
        });
    };
    ask(open(rig.map(way, "m")), &netstring(format!("m {POISON}")), map_reply);
    ask(open(rig.policy(way)), &policy_request(&[("recipient", POISON)]), policy_reply);
    let mut sasl = Sasl::begin(open(rig.login(way)));
    once(&rig.ledgers, "poison", POISON, "no answer", || {
        sasl.plain(1, POISON, PASSWORD);
        said(login_reply(sasl.peer(), "1"))
    });
}

/// Two logins at a time on one connection: the second one has a task of its own, which panics. The connection ends,
/// and the first login may have been answered by then.
fn poison_beside_a_login(rig: &Rig) {
    let (id, at) = (next_id() * 4, Instant::now());
    let (key, due) = (format!("k{id}"), format!("OK k{id}"));
    rig.ledgers.asked.append(Asked { id, lane: "poison", key: key.clone(), due, at });
    let mut sasl = Sasl::begin((rig.login(Way::Unix).open)());
    sasl.plain(1, &key, PASSWORD);
    sasl.plain(2, POISON, PASSWORD);
    let mut first = Said::Temporary("closed".to_owned());
    loop {
        match sasl.next(PATIENCE) {
            Event::Line(line) if line.starts_with("OK\t1\t") => first = Said::Definitive(format!("OK {key}")),
            Event::Line(line) => panic!("{line}"),
            Event::Closed(_) | Event::Reset => break,
            Event::Nothing => panic!("the connection stays open, and the second login has no answer"),
        }
    }
    rig.ledgers.heard.append(Heard { id, said: first, at: Instant::now() });
}

fn descriptors(rig: &Rig) -> usize {
    fs::read_dir(format!("/proc/{}/fd", rig.setup.broker.pid())).expect("a living process").count()
}

#[test]
fn row_34_a_panic_in_a_session() {
    let row = row("34");
    let script = format!("export {VARIABLE}={POISON}");
    let mut rig = Rig::start_after(&script, |config, api| entries(config, api, &["timeout: 4s"]));
    let mut held = held(&rig);
    let mut traffic = rig.traffic(&[rig.lanes(Way::Unix), by_clients(&rig)].concat());
    traffic.more(10);
    held.iter_mut().for_each(|one| one.ask(&rig.ledgers));
    let before = descriptors(&rig);
    traffic.fault(&["poison"]);
    for way in [Way::Unix, Way::Client, Way::Forwarding] {
        poison(&rig, way);
        held.iter_mut().for_each(|one| one.ask(&rig.ledgers));
    }
    poison_beside_a_login(&rig);
    held.iter_mut().for_each(|one| one.ask(&rig.ledgers));
    traffic.more(20);
    let lines = || rig.setup.broker.log().lines().filter(|line| line.contains("panicked")).count();
    // By a listener, handed over, forwarded by clients, and beside another login.
    let due = 3 + 3 + (2 * ATTEMPTS + 1) + 1;
    assert!(wait_until(PATIENCE, || lines() >= due), "{} lines for {due} panics", lines());
    let left = descriptors(&rig).saturating_sub(before);
    let outcome = row.counted(traffic.end(Rules { budget: PATIENCE, ..Rules::default() }));
    assert_eq!(outcome.temporary.iter().filter(|(lane, _)| *lane != "poison").count(), 0);
    let log = rig.setup.broker.log();
    assert!(!log.contains(POISON), "the message of a panic is in the log");
    let told = |line: &&str| line.contains("ERROR a task has panicked place=\"src/server/session/");
    assert_eq!((lines(), log.lines().filter(told).count()), (due, due), "one line for each panic");
    assert!(left < due, "{left} more descriptors");
    assert!(rig.setup.broker.is_alive());
}

#[test]
fn a_release_build_has_no_failpoint() {
    let has = |path: &Path| {
        let program = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        memchr::memmem::find(&program, VARIABLE.as_bytes()).is_some()
    };
    assert!(has(Path::new(env!("CARGO_BIN_EXE_pfxhttp-broker"))), "the debug build has it");
    for program in ["pfxhttp-broker", "pfxhttp-client"] {
        assert!(
            !has(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release").join(program)),
            "{program}"
        );
    }
}
