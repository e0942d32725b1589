//! A ledger of lookups: three brokers share a cache whose server is paused, killed, cut off and emptied in turn, and
//! each broker is killed in turn. No answer is wrong, and none is a temporary failure because of the server.
//!
//! What an API knows of a key follows from the key, so each answer can be judged.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Config;
use crate::support::fleet::{Files, Member, has_records};
use crate::support::peer::netstring;
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::{PATIENCE, alone, pause, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
const BROKERS: usize = 3;
/// Connections to each broker.
const CONNECTIONS: usize = 2;
/// How long the server may stay away after a fault.
const BACK: Duration = Duration::from_secs(6);

/// What is wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Stopped,
    Hole,
    Killed,
    Flushed,
    Broker(usize),
}

const FAULTS: [Fault; 8] = [
    Fault::Nothing,
    Fault::Stopped,
    Fault::Hole,
    Fault::Broker(0),
    Fault::Broker(1),
    Fault::Broker(2),
    Fault::Killed,
    Fault::Flushed,
];

/// What is right for this key, while the API answers.
fn due(key: &str) -> String {
    if is_absent(key) { "NOTFOUND ".to_owned() } else { format!("OK v-{key}") }
}

fn is_absent(key: &str) -> bool {
    key.ends_with('7')
}

fn api() -> Backend {
    Backend::start(|request: &Request| match request.text("key") {
        key if is_absent(&key) => Reply::json("{}"),
        key => Reply::json(&format!(r#"{{"value": "v-{key}"}}"#)),
    })
}

/// A map whose answers are kept for outages, and one whose answers are fresh, so that a new key is read first.
fn maps(config: Config, api: &Backend) -> Config {
    let config = config.server("response_cache: {enabled: true, ttl: 1h}");
    let config = config.map("kept", &api.url("/"), &["cache: {shared: true}", "timeout: 2s"]);
    let fresh = "cache: {fresh: 1h, negative: 1h, shared: true}";
    config.map("fresh", &api.url("/"), &[fresh, "timeout: 2s"])
}

/// One lookup; an error if the broker is away.
fn look_up(stream: &mut UnixStream, map: &str, key: &str) -> io::Result<String> {
    stream.write_all(&netstring(format!("{map} {key}")))?;
    let (mut got, mut piece) = (Vec::new(), [0; 512]);
    loop {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => got.extend_from_slice(&piece[..read]),
        }
        let text = String::from_utf8_lossy(&got);
        if let Some((length, payload)) = text.split_once(':')
            && payload.len() == length.parse::<usize>().expect("a netstring") + 1
        {
            return Ok(payload.trim_end_matches(',').to_owned());
        }
    }
}

/// The lookups of all connections.
#[derive(Default)]
struct Ledger {
    made: AtomicUsize,
    /// Lookups that ended with their broker.
    broken: AtomicUsize,
    is_over: AtomicBool,
    faults: Mutex<Vec<String>>,
    /// What is wrong now.
    now: Mutex<Option<Fault>>,
    /// The microseconds of each lookup that went well, and what was wrong meanwhile.
    times: Mutex<Vec<(Fault, u128)>>,
}

impl Ledger {
    /// Looks up one key after another, the first half of them again and again.
    fn fill(&self, socket: &Path, connection: usize) {
        let (mut stream, mut number) = (None, 0);
        while !self.is_over.load(Ordering::Relaxed) {
            let (map, place) = match number % 4 {
                0 => ("kept", number),
                3 => ("fresh", number / 2),
                _ => ("fresh", number),
            };
            let key = format!("k{connection}-{place}");
            let (began, fault) = (Instant::now(), *self.now.lock().expect("no panic"));
            let Ok(answer) = asked(&mut stream, socket, map, &key) else {
                self.broken.fetch_add(1, Ordering::Relaxed);
                pause(Duration::from_millis(5));
                continue;
            };
            let took = began.elapsed().as_micros();
            if answer != due(&key) {
                self.faults.lock().expect("no panic").push(format!("{fault:?}: {map} {key}: {answer}"));
            }
            if let Some(fault) = fault.filter(|fault| *self.now.lock().expect("no panic") == Some(*fault)) {
                self.times.lock().expect("no panic").push((fault, took));
            }
            self.made.fetch_add(1, Ordering::Relaxed);
            number += 1;
        }
    }

    /// Waits for this many further lookups.
    fn wait_for(&self, count: usize) {
        let end = self.made.load(Ordering::Relaxed) + count;
        let all = wait_until(PATIENCE * 10, || self.made.load(Ordering::Relaxed) >= end);
        assert!(all, "the lookups go on: {:?}", self.faults.lock().expect("no panic"));
    }

    /// Says how long lookups took: the median, the 99th percentile, and the longest, in milliseconds.
    fn percentiles(&self, fault: Fault) -> [f64; 3] {
        let times = self.times.lock().expect("no panic");
        let mut times: Vec<u128> =
            times.iter().filter(|(known, _)| *known == fault).map(|(_, took)| *took).collect();
        times.sort_unstable();
        [50, 99, 100].map(|percent| times[(times.len() * percent).div_ceil(100) - 1] as f64 / 1000.0)
    }
}

fn asked(stream: &mut Option<UnixStream>, socket: &Path, map: &str, key: &str) -> io::Result<String> {
    let mut open = match stream.take() {
        Some(open) => open,
        None => UnixStream::connect(socket)?,
    };
    open.set_read_timeout(Some(PATIENCE))?;
    let answer = look_up(&mut open, map, key)?;
    *stream = Some(open);
    Ok(answer)
}

/// A server behind a relay, three brokers, and their API. The brokers end first.
struct Fleet {
    members: Vec<Member>,
    relay: Relay,
    redis: Redis,
    api: Backend,
    _files: Files,
}

impl Fleet {
    /// Starts all; a lookup waits this long for the server.
    fn start(wait: &str) -> Self {
        let (redis, files, api) = (Redis::on_tcp(), Files::new(), api());
        let relay = Relay::to(redis.address());
        let shared = files.shared(&format!("redis://{}", relay.address()), "").replace("50ms", wait);
        let members = (0..BROKERS).map(|_| Member::start(&shared, |config| maps(config, &api))).collect();
        Self { members, relay, redis, api, _files: files }
    }

    fn sockets(&self) -> Vec<PathBuf> {
        self.members.iter().map(|member| member.setup.socket("maps")).collect()
    }

    /// Lets this go wrong, does `meanwhile`, and mends it. All brokers are connected again at the end.
    fn with(&mut self, fault: Fault, meanwhile: impl FnOnce(&mut Self)) {
        match fault {
            Fault::Nothing => {}
            Fault::Stopped => self.redis.signal(Signal::STOP),
            Fault::Hole => self.relay.be_hole(true),
            Fault::Killed => self.redis.kill(),
            Fault::Flushed => drop(self.redis.ask(&["FLUSHALL"])),
            Fault::Broker(place) => self.members[place].setup.broker.kill(),
        }
        meanwhile(self);
        match fault {
            Fault::Nothing | Fault::Flushed => {}
            Fault::Stopped => self.redis.signal(Signal::CONT),
            Fault::Hole => self.relay.be_hole(false),
            Fault::Killed => self.redis.up(),
            Fault::Broker(place) => self.members[place].setup.broker.start_again(),
        }
        let began = Instant::now();
        for member in &self.members {
            assert!(member.is_up(), "after {fault:?}: {}", member.setup.broker.log());
        }
        assert!(began.elapsed() < BACK, "after {fault:?} it took {:?}", began.elapsed());
    }

    fn reads(&self, result: &str) -> u64 {
        self.members.iter().map(|member| member.reads(result)).sum()
    }
}

/// How reads of the server ended, while it was paused or cut off.
#[derive(Default)]
struct Reads {
    late: u64,
    down: u64,
    hits: u64,
}

/// Lets all faults happen in turn, each for this many lookups.
fn go_through(fleet: &mut Fleet, ledger: &Ledger, rounds: usize, each: usize) -> Reads {
    let mut reads = Reads::default();
    for fault in std::iter::repeat_n(FAULTS, rounds).flatten() {
        let (late, began) = (fleet.reads("late"), Instant::now());
        fleet.with(fault, |fleet| {
            *ledger.now.lock().expect("no panic") = Some(fault);
            ledger.wait_for(each);
            *ledger.now.lock().expect("no panic") = None;
            if matches!(fault, Fault::Stopped | Fault::Hole) {
                let waited = fleet.reads("late") - late;
                // Three for each broker and those at the same time, then one a second.
                let most = BROKERS as u64 * (3 + CONNECTIONS as u64 + began.elapsed().as_secs());
                assert!(waited <= most, "{fault:?}: {waited} have waited");
                reads.late += waited;
                reads.down += fleet.reads("down");
                reads.hits += fleet.reads("hit");
            }
        });
    }
    reads
}

/// The API answers: each lookup has its answer, whatever happens to the server.
fn assert_all_are_answered(lookups: usize, rounds: usize) {
    let _alone = alone();
    let (mut fleet, ledger) = (Fleet::start("5ms"), Ledger::default());
    let (sockets, each) = (fleet.sockets(), lookups / rounds / FAULTS.len());
    let reads = std::thread::scope(|scope| {
        for (connection, socket) in
            (0..CONNECTIONS).flat_map(|number| sockets.iter().map(move |it| (number, it)))
        {
            let ledger = &ledger;
            scope.spawn(move || ledger.fill(socket, connection));
        }
        let driven = catch_unwind(AssertUnwindSafe(|| go_through(&mut fleet, &ledger, rounds, each)));
        ledger.is_over.store(true, Ordering::Relaxed);
        driven.unwrap_or_else(|panic| resume_unwind(panic))
    });
    let [made, broken] = [&ledger.made, &ledger.broken].map(|count| count.load(Ordering::Relaxed));
    let faults = ledger.faults.lock().expect("no panic").clone();
    println!("{made} lookups, {broken} ended with a broker, {} wrong or temporary", faults.len());
    let Reads { late, down, hits } = reads;
    println!("{late} waited for a server that was paused or cut off; reads: {down} down, {hits} hits");
    for fault in FAULTS {
        let [half, most, longest] = ledger.percentiles(fault);
        println!("{fault:?}: p50 {half:.2} ms, p99 {most:.2} ms, longest {longest:.2} ms");
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(made >= lookups && down > 0 && hits > 0 && broken > 0, "the test tests something");
    let [usual, _, _] = ledger.percentiles(Fault::Nothing);
    for fault in [Fault::Stopped, Fault::Hole, Fault::Killed] {
        let [half, _, _] = ledger.percentiles(fault);
        assert!(half < usual * 3.0 + 2.0, "{fault:?}: {half} ms, else {usual} ms");
    }
}

#[test]
fn all_are_answered_whatever_happens_to_the_server() {
    assert_all_are_answered(4_000, 1);
}

#[test]
#[ignore = "by hand: cargo test --features client --test integration a_hundred_thousand_are -- --ignored --nocapture"]
fn a_hundred_thousand_are_answered() {
    assert_all_are_answered(100_000, 5);
}

/// The keys that the API knew before it was away, and what became of their lookups.
struct StandIns {
    known: Vec<String>,
    /// What each broker has itself.
    own: [HashSet<String>; BROKERS],
    /// Whether the server has all of them.
    has_all: bool,
    lookups: usize,
    temporary: usize,
    /// Temporary failures of keys that the server has.
    missed: usize,
}

impl StandIns {
    /// Asks this broker for all that it has itself, for a part of the others, and for what nobody has.
    fn ask(&mut self, place: usize, member: &Member, fault: Fault) {
        let mut peer = member.setup.map();
        let not_read = || member.reads("late") + member.reads("down");
        let is_served = self.has_all && matches!(fault, Fault::Nothing | Fault::Broker(_));
        // A server that was late is not waited for during a second.
        let is_read = || {
            let before = not_read();
            peer.look_up("kept", "nobody") == TEMP && not_read() == before
        };
        assert!(!is_served || wait_until(PATIENCE, is_read), "{fault:?}");
        let (before, mut without) = (not_read(), 0);
        let step = FAULTS.iter().position(|known| *known == fault).expect("it is one of them");
        for (at, key) in self.known.iter().enumerate().filter(|(_, key)| !is_absent(key)) {
            let is_own = self.own[place].contains(key);
            if !is_own && at % FAULTS.len() != step {
                continue;
            }
            let answer = peer.look_up("kept", key);
            self.lookups += 1;
            if answer == due(key) {
                self.own[place].insert(key.clone());
                continue;
            }
            assert_eq!(answer, TEMP, "{fault:?} {key}");
            assert!(!is_own, "{fault:?} {key}: the broker has it");
            without += 1;
        }
        if is_served {
            let late = not_read() - before;
            assert!(without as u64 <= late, "{fault:?}: {without} have no answer, {late} came late");
            self.missed += without;
        }
        for key in ["k7", &format!("x{step}")] {
            assert_eq!(peer.look_up("kept", key), TEMP, "{fault:?}: nobody has {key}");
        }
        (self.lookups, self.temporary) = (self.lookups + 2, self.temporary + 2 + without);
    }
}

/// The API is away: the answers are those that the server or the broker itself has, and a key that nobody knows is a
/// temporary failure.
fn assert_stand_ins_are_right(keys: usize) {
    let _alone = alone();
    let mut fleet = Fleet::start("50ms");
    let known: Vec<String> = (0..keys).map(|number| format!("k{number}")).collect();
    let mut first = fleet.members[0].setup.map();
    known.iter().for_each(|key| assert_eq!(first.look_up("kept", key), due(key)));
    assert!(has_records(&fleet.redis, keys), "{} of {keys}", fleet.redis.names().len());
    fleet.api.down();
    let mut own: [HashSet<String>; BROKERS] = Default::default();
    own[0].extend(known.iter().filter(|key| !is_absent(key)).cloned());
    let mut all = StandIns { known, own, has_all: true, lookups: 0, temporary: 0, missed: 0 };
    for fault in FAULTS {
        all.has_all &= !matches!(fault, Fault::Killed | Fault::Flushed);
        fleet.with(fault, |fleet| {
            for (place, member) in fleet.members.iter().enumerate() {
                match fault {
                    // A restart forgets all.
                    Fault::Broker(killed) if killed == place => all.own[place].clear(),
                    _ => all.ask(place, member, fault),
                }
            }
        });
    }
    let StandIns { lookups, temporary, missed, .. } = all;
    println!("{lookups} lookups while the API was away: {temporary} temporary, of these {missed} came late");
    assert!(fleet.reads("hit") as usize > keys / FAULTS.len(), "the test tests something");
    assert!(missed * 100 < lookups, "{missed} of {lookups} came late");
}

#[test]
fn stand_ins_are_right_whatever_happens_to_the_server() {
    assert_stand_ins_are_right(400);
}

#[test]
#[ignore = "by hand: cargo test --features client --test integration ten_thousand_stand_ins -- --ignored --nocapture"]
fn ten_thousand_stand_ins_are_right() {
    assert_stand_ins_are_right(2_000);
}
