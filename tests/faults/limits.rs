//! Rows 38, 39 and 42: memory, descriptors, connections.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use crate::driver::Lane;
use crate::ledger::Rules;
use crate::rig::{ALL, Rig, entries, go_first, p99_beside};
use crate::rows::{Row, row};
use crate::support::backend::Reply;
use crate::support::peer::Peer;
use crate::support::site::Way;
use crate::support::{alone, pause};

/// A cgroup with a limit of memory, of the first or the second version.
struct Cgroup {
    path: PathBuf,
    is_second: bool,
}

impl Cgroup {
    /// `None` where the kernel or a container grants no such cgroup.
    fn new(bytes: u64) -> Option<Self> {
        let is_second = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = if is_second { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
        let path = Path::new(root).join(format!("pfxhttp-faults-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let name = if is_second { "memory.max" } else { "memory.limit_in_bytes" };
        let cgroup = Self { path, is_second };
        fs::write(cgroup.path.join(name), bytes.to_string()).ok()?;
        Some(cgroup)
    }

    /// How many processes were killed.
    fn kills(&self) -> u64 {
        let file = if self.is_second { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(file)).expect("counts");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no oom_kill in {text}"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _in_use = fs::remove_dir(&self.path);
    }
}

#[test]
fn row_38_a_memory_limit() {
    let row = row("38");
    let cgroup = Cgroup::new(96 << 20);
    let script = match &cgroup {
        Some(cgroup) => format!("echo $$ >{}/cgroup.procs", cgroup.path.display()),
        // Addresses are also used for what takes no memory: stacks, and what the allocator reserves.
        None => format!("ulimit -v {}", 384 << 10),
    };
    println!("limited by {}", if cgroup.is_some() { "a cgroup" } else { "RLIMIT_AS" });
    let mut rig = Rig::start_after(&script, |config, api| {
        let config = entries(config, api, &["timeout: 3s"]);
        config.map("hostile", &api.url("/hostile"), &["timeout: 3s"])
    });
    let piece = vec![b' '; 1 << 16];
    rig.api.fault(move |request| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{".to_vec();
        (request.path == "/hostile").then(|| Reply::Endless(head, piece.clone()))
    });
    let mut lanes = rig.lanes(Way::Unix);
    lanes.push(Lane { threads: 8, ..rig.map(Way::Unix, "hostile") });
    let mut traffic = rig.traffic(&lanes);
    traffic.fault(&["hostile"]);
    for _ in 0..10 {
        let mut policy = rig.setup.policy("p");
        let _closed_meanwhile = policy.try_send(&vec![b'a'; 4 << 20]);
        let mut local = Peer::unix(&rig.setup.ipc());
        let _closed_meanwhile = local.try_send(&[0xff; 1 << 16]);
    }
    traffic.more(40);
    row.counted(traffic.end(Rules { budget: Duration::from_secs(5), ..Rules::default() }));
    assert_eq!(cgroup.as_ref().map_or(0, Cgroup::kills), 0, "killed by the limit");
    assert!(rig.setup.broker.is_alive());
    drop(rig);
}

/// The processor time of a process, in hundredths of a second.
fn ticks(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

fn limit_descriptors(pid: Pid, count: usize) {
    let arguments = ["--pid", &pid.to_string(), &format!("--nofile={count}:20000")];
    let done = Command::new("prlimit").args(arguments).status().expect("it needs prlimit (util-linux)");
    assert!(done.success(), "prlimit {arguments:?}");
}

/// No descriptor is left, for a second: connections that are open are served, and others wait. Then there are some.
fn play_without_descriptors(row: &Row, rig: &Rig, is_limited_by_start: bool) {
    let pid = rig.setup.broker.pid();
    let slow = |lane: Lane| Lane { pace: Duration::from_millis(50), ..lane };
    let mut traffic = rig.traffic(&rig.lanes(Way::Unix).into_iter().map(slow).collect::<Vec<_>>());
    traffic.more(10);
    traffic.fault(&ALL);
    if !is_limited_by_start {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process").count();
        limit_descriptors(pid, open);
    }
    let mut waiting: Vec<Peer> = (0..60).map(|_| rig.setup.map()).collect();
    let (before, start) = (ticks(pid), Instant::now());
    // A login that fails closes its connection, as Postfix does, and its next one waits with the others.
    traffic.more_of(20, &["m", "p"]);
    pause(Duration::from_secs(1));
    let (spent, took) = (ticks(pid) - before, start.elapsed());
    if is_limited_by_start {
        waiting.drain(..50);
    } else {
        limit_descriptors(pid, 10_000);
    }
    traffic.mended();
    for mut peer in waiting.drain(..5) {
        let reply = peer.look_up("none", "k");
        assert!(reply.starts_with("PERM unknown map"), "a connection that waited is served: {reply}");
    }
    traffic.more(20);
    let outcome = row.counted(traffic.end(Rules { budget: Duration::from_secs(5), ..Rules::default() }));
    assert!(rig.setup.broker.logged(&["cannot accept a connection"]), "the fault was not played");
    let share = outcome.temporary.len() * 4;
    assert!(share < outcome.lookups, "kept connections are served: {:?}", outcome.temporary);
    let busy = spent as f64 / 100.0 / took.as_secs_f64();
    println!("the broker took {busy:.2} of a processor");
    assert!(busy < 0.25, "the broker took {busy:.2} of a processor");
}

#[test]
fn row_39_no_descriptors() {
    let row = row("39");
    play_without_descriptors(&row, &Rig::start(&[]), false);
    // Each thread needs some of the 64.
    let script = "ulimit -n 64; exec taskset --cpu-list 0,1 \"$@\"";
    let rig = Rig::start_after(script, |config, api| entries(config, api, &[]));
    play_without_descriptors(&row, &rig, true);
}

#[test]
#[ignore = "long: make faults"]
fn row_42_idle_connections() {
    const IDLE: usize = 10_000;
    let (row, _alone) = (row("42"), alone());
    go_first();
    let limit = getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|hard| hard >= 12_000), "it needs 12,000 descriptors (ulimit -Hn)");
    let raised = Rlimit { current: Some(12_000), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the limit can be raised up to the hard one");
    let rig = Rig::start(&["timeout: 4s"]);
    let before = rig.setup.broker.resident_kib();
    let idle = || {
        let mut idle: Vec<Peer> = (0..IDLE).map(|_| rig.setup.map()).collect();
        let last = idle.last_mut().expect("there are some").look_up("none", "k");
        assert!(last.starts_with("PERM unknown map"), "the last of them is served: {last}");
        idle
    };
    let (usual, p99) = p99_beside(&rig, idle);
    let idle = idle();
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(500);
    row.counted(traffic.end(Rules::default()));
    let resident = rig.setup.broker.resident_kib();
    println!("{before} KiB, with {IDLE} idle connections {resident} KiB; p99 {usual:.2?}, then {p99:.2?}");
    assert!(resident < 64 * 1024, "{resident} KiB");
    assert!(p99 < usual.mul_f64(1.2), "p99 {usual:.2?}, then {p99:.2?}");
    drop(idle);
}
