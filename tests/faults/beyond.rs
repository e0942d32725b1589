//! Rows without a number: load, chaos, several targets, the shared cache.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::answers::{Api, right};
use crate::driver::{Lane, Talk, Traffic, judged, key};
use crate::ledger::{Ledgers, Rules, Window};
use crate::rig::{Rig, entries, go_first, no_secret, p99_beside};
use crate::rows::row;
use crate::support::backend::Reply;
use crate::support::broker::Broker;
use crate::support::config::{Config, Kind};
use crate::support::fleet::Files;
use crate::support::peer::Peer;
use crate::support::redis::Redis;
use crate::support::site::{Way, open_directory};
use crate::support::{PATIENCE, alone, pause, wait_until};

fn listening(path: &Path) -> OwnedFd {
    let socket = UnixListener::bind(path).expect("a socket");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).expect("its mode");
    socket.into()
}

/// Lanes to the sockets in this directory: listeners, and clients.
fn lanes(directory: &Path) -> Vec<Lane> {
    let listener = |name: &'static str, talk: Talk| {
        let path = directory.join(format!("{name}.sock"));
        Lane::new(name, talk, Arc::new(move || Peer::unix(&path)))
    };
    let client = |name: &'static str, talk: Talk, arguments: &'static [&'static str]| {
        let ipc = Config::ipc(directory);
        Lane::new(name, talk, Arc::new(move || Peer::asking(&ipc, arguments)))
    };
    let map = || Talk::Map("m", key);
    vec![
        listener("m", map()),
        listener("p", Talk::Policy),
        listener("users", Talk::Password),
        client("m", map(), &["socketmap"]),
        client("m", map(), &["--no-hand-over", "socketmap"]),
        client("p", Talk::Policy, &["--no-hand-over", "policy", "p"]),
        client("users", Talk::Password, &["sasl", "users"]),
    ]
}

/// Starts a broker whose sockets in this directory are held, as by systemd.
fn start_with_held_sockets(directory: &Path, api: &Api) -> Broker {
    let at = |name: &str| directory.join(format!("{name}.sock"));
    let unix =
        |name: &str| format!("type: unix, address: \"{}\", systemd_socket_name: {name}", at(name).display());
    let config = entries(Config::new(directory), api, &["timeout: 6s"])
        .listen(Kind::Map, "maps", &unix("m"))
        .listen(Kind::Policy, "p", &unix("p"))
        .listen(Kind::Login, "users", &unix("users"));
    let mut held = vec![("ipc".to_owned(), listening(&Config::ipc(directory)))];
    held.extend(["m", "p", "users"].map(|name| (name.to_owned(), listening(&at(name)))));
    Broker::start_with_sockets(&config.write(), held)
}

#[test]
#[ignore = "long: make faults"]
fn row_chaos_kills_with_held_sockets() {
    const LOOKUPS: usize = 100_000;
    let row = row("chaos");
    let (directory, ledgers) = (open_directory(), Arc::<Ledgers>::default());
    let api = Api::start(&ledgers);
    let mut broker = start_with_held_sockets(directory.path(), &api);
    let quick = |lane| Lane { pace: Duration::from_millis(1), ..lane };
    let lanes: Vec<Lane> = lanes(directory.path()).into_iter().map(quick).collect();
    let mut traffic = Traffic::start(&ledgers, &lanes);
    traffic.more(20);
    traffic.fault(&["users"]);
    let mut kills = 0;
    while traffic.count() < LOOKUPS || kills < 6 {
        kills += 1;
        broker.kill();
        pause(Duration::from_millis(200));
        broker.start_again();
        pause(Duration::from_millis(2800));
    }
    traffic.mended();
    traffic.more(20);
    let rules = Rules { repetitions: 2, budget: Duration::from_secs(8), ..Rules::default() };
    let outcome = row.counted(traffic.end(rules));
    println!("{kills} kills, {} lookups, {} temporary", outcome.lookups, outcome.temporary.len());
    no_secret(&broker.log());
    assert!(outcome.temporary.len() * 1000 <= outcome.lookups, "more than 0.1 %");
}

#[test]
#[ignore = "long: make faults"]
fn row_recovery_after_a_kill() {
    const KILLS: usize = 200;
    let (row, _alone) = (row("recovery"), alone());
    go_first();
    let (directory, ledgers) = (open_directory(), Arc::<Ledgers>::default());
    let api = Api::start(&ledgers);
    let mut broker = start_with_held_sockets(directory.path(), &api);
    let lane = lanes(directory.path()).swap_remove(0);
    let (mut ready, mut first) = (Vec::new(), Vec::new());
    for _ in 0..KILLS {
        broker.kill();
        // The first lookup waits in the queue of the held socket.
        let traffic = Traffic::start(&ledgers, &[Lane { threads: 1, ..lane.clone() }]);
        let start = Instant::now();
        broker.start_again();
        ready.push(start.elapsed());
        traffic.more(1);
        drop(traffic);
        let heard = ledgers.heard.entries();
        first.push(
            heard.iter().filter(|one| one.at > start).map(|one| one.at - start).min().expect("a reply"),
        );
        row.counted(judged(&ledgers, &Rules { budget: Duration::from_secs(2), ..Rules::default() }));
        ledgers.begin_again();
    }
    no_secret(&broker.log());
    ready.sort_unstable();
    first.sort_unstable();
    let of = |times: &[Duration]| (times[KILLS / 2], times[KILLS * 99 / 100]);
    println!("median and p99 after the start: ready {:.1?}, the first reply {:.1?}", of(&ready), of(&first));
    assert!(of(&ready).0 < Duration::from_millis(50), "ready {ready:.1?}");
    assert!(of(&first).1 < Duration::from_millis(500), "the first reply {first:.1?}");
}

#[test]
#[ignore = "long: make faults"]
fn row_overload_four_times() {
    const WORKERS: usize = 8;
    const TIME: Duration = Duration::from_millis(50);
    const MEASURED: Duration = Duration::from_secs(4);
    let (row, _alone) = (row("overload"), alone());
    go_first();
    let rig = Rig::start_with(|config, api| {
        let config = config.server(&format!("worker_pool: {{max_workers: {WORKERS}}}"));
        // An entry with workers of its own for the comparison; so the listener goes on accepting, too.
        let config = config.map("m", &api.url("/map"), &["timeout: 300ms"]);
        config.map("usual", &api.url("/usual"), &["timeout: 2s"])
    });
    rig.api.fault(|request| {
        pause(TIME);
        Some(right(request))
    });
    let lane = |name, threads, pace| Lane { threads, pace, ..rig.map(Way::Unix, name) };
    // As many at a time as there are workers: what the API can answer.
    let usual = rig.traffic(&[lane("usual", WORKERS, Duration::ZERO)]);
    let (before, start) = (rig.ledgers.heard.entries().len(), Instant::now());
    pause(Duration::from_secs(2));
    let capacity = (rig.ledgers.heard.entries().len() - before) as f64 / start.elapsed().as_secs_f64();
    drop(usual);
    let mut traffic = rig.traffic(&[lane("m", 128, Duration::from_millis(100))]);
    traffic.fault(&["m"]);
    pause(Duration::from_secs(1));
    let (before, start) = (rig.ledgers.heard.entries().len(), Instant::now());
    pause(MEASURED);
    let heard = rig.ledgers.heard.entries().split_off(before);
    let took = start.elapsed().as_secs_f64();
    let answered = heard.iter().filter(|one| matches!(one.said, crate::ledger::Said::Definitive(_))).count();
    let outcome = row.counted(traffic.end(Rules::default()));
    let mut times: Vec<Duration> = outcome.temporary.iter().map(|(_, took)| *took).collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    let (goodput, offered) = (answered as f64 / took / capacity, heard.len() as f64 / took / capacity);
    println!("offered {offered:.1} times the capacity: goodput {goodput:.2}, told after {median:.1?}");
    assert!(offered > 3.0 && goodput > 0.9 && median < Duration::from_millis(50));
}

#[test]
#[ignore = "long: make faults"]
fn row_bulkhead_one_api_hangs() {
    let (row, _alone) = (row("bulkhead"), alone());
    go_first();
    let rig = Rig::start_with(|config, api| {
        let config = entries(config, api, &["timeout: 5s"]);
        config.map("hangs", &api.url("/hangs"), &["timeout: 5s"])
    });
    let began = Instant::now();
    let hanging = || {
        rig.api.fault(|request| (request.path == "/hangs").then(Reply::stall));
        let lane = Lane { threads: 300, ..rig.map(Way::Unix, "hangs") };
        let hanging = Hanging { rig: &rig, _traffic: rig.traffic(&[lane]) };
        assert!(wait_until(PATIENCE, || rig.api.backend.open() >= 32), "the API hangs");
        hanging
    };
    let (usual, p99) = p99_beside(&rig, hanging);
    let hangs = Window { lanes: vec!["hangs"], from: began, to: None };
    let rules = Rules { windows: vec![hangs], budget: Duration::from_secs(7), ..Rules::default() };
    row.counted(judged(&rig.ledgers, &rules));
    println!("p99 {usual:.2?}, beside the entry that hangs {p99:.2?}");
    assert!(p99 < usual.mul_f64(1.1), "p99 {usual:.2?}, beside the entry that hangs {p99:.2?}");
}

/// Lookups that wait for an API that hangs. It answers again before they end.
struct Hanging<'r> {
    rig: &'r Rig,
    _traffic: Traffic,
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.rig.api.mend();
    }
}

#[test]
fn row_targets_of_which_one_fails() {
    let row = row("targets");
    let ledgers = Arc::<Ledgers>::default();
    let (mut first, api) = (Api::start(&ledgers), Api::start(&ledgers));
    let rig = Rig::start_before(api, ledgers, "", |config, api| {
        let targets = format!("targets: [\"{}\", \"{}\"]", first.url("/map"), api.url("/map"));
        let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
        config
            .map_of("m", &[&targets, payload, "value_field: value", "timeout: 2s", "breaker: {pause: 100ms}"])
    });
    let traffic = rig.traffic(&[Lane { threads: 4, ..rig.map(Way::Unix, "m") }]);
    traffic.more(50);
    first.fault(|_| Some(Reply::stall()));
    traffic.more(50);
    first.backend.release();
    first.fault(|_| Some(Reply::Reset));
    traffic.more(50);
    first.backend.down();
    traffic.more(50);
    first.backend.up();
    first.mend();
    traffic.more(50);
    // A kept connection that is reset is repeated, and then the other target is asked.
    let outcome = row.counted(traffic.end(Rules { repetitions: 2, ..Rules::default() }));
    assert!(outcome.temporary.is_empty());
    assert!(rig.api.backend.count() > 50, "the second target answered");
}

#[test]
fn row_shared_cache_in_trouble() {
    let row = row("shared");
    let (mut redis, files) = (Redis::start(), Files::new());
    let rig = Rig::start_with(|config, api| {
        let config = config.server(&files.shared(&redis.url(), ""));
        let config = config.server("response_cache: {enabled: true, ttl: 1h}");
        let shared = ["cache: {shared: true, fresh: 10s}", "timeout: 2s"];
        config.map("m", &api.url("/map"), &shared).policy("p", &api.url("/policy"), &shared)
    });
    let traffic = rig.traffic(&[rig.map(Way::Unix, "m"), rig.policy(Way::Unix)]);
    traffic.more(50);
    redis.signal(Signal::STOP);
    traffic.more(50);
    redis.signal(Signal::CONT);
    traffic.more(50);
    redis.kill();
    traffic.more(50);
    redis.up();
    traffic.more(50);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary.is_empty());
}
