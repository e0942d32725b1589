//! Rows 32 to 37, 40 and 41: signals, reloads, the log and the clock. `panics` and `limits` have the other rows of the
//! process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::driver::Lane;
use crate::ledger::Rules;
use crate::rig::{ALL, Rig, entries};
use crate::rows::row;
use crate::support::site::{Way, open_directory};
use crate::support::{PATIENCE, pause};

const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Lookups through clients that hand over and through ones that forward, and logins through clients.
pub(crate) fn by_clients(rig: &Rig) -> Vec<Lane> {
    let lookups = |way| [rig.map(way, "m"), rig.policy(way)];
    let mut lanes = [lookups(Way::Forwarding), lookups(Way::Client)].concat();
    lanes.push(rig.login(Way::Client));
    lanes.push(rig.login(Way::Forwarding));
    lanes
}

#[test]
fn row_32_kill() {
    const KILLS: usize = 3;
    let row = row("32");
    let mut rig = Rig::start(&["timeout: 6s"]);
    // An smtpd that gets no handshake ends its session, so there are no logins through Postfix.
    let (_postfix, [rcpt, _]) = rig.postfix();
    let mut traffic = rig.traffic(&[by_clients(&rig), vec![rcpt]].concat());
    traffic.more(10);
    traffic.fault(&["users"]);
    for _ in 0..KILLS {
        rig.setup.broker.kill();
        pause(Duration::from_millis(300));
        rig.setup.broker.start_again();
        traffic.more(10);
    }
    traffic.mended();
    traffic.more(20);
    // A lookup that was under way at a kill is asked again.
    let rules = Rules { repetitions: KILLS, budget: Duration::from_secs(8), ..Rules::default() };
    row.counted(traffic.end(rules));
}

#[test]
#[ignore = "long: make faults"]
fn row_33_the_broker_stands() {
    let row = row("33");
    let rig = Rig::start(&["timeout: 4s"]);
    let mut traffic = rig.traffic(&rig.lanes(Way::Forwarding));
    traffic.more(20);
    traffic.fault(&ALL);
    kill_process(rig.setup.broker.pid(), Signal::STOP).expect("a child can be signalled");
    pause(Duration::from_secs(15));
    kill_process(rig.setup.broker.pid(), Signal::CONT).expect("a child can be signalled");
    traffic.mended();
    traffic.more(40);
    let outcome = row.counted(traffic.end(Rules { budget: Duration::from_secs(10), ..Rules::default() }));
    assert!(ALL.iter().all(|lane| outcome.temporary_of(lane) > 0), "{:?}", outcome.temporary);
}

#[test]
fn row_35_sigterm_under_load() {
    let row = row("35");
    let mut rig = Rig::start(&["timeout: 6s"]);
    let mut traffic = rig.traffic(&by_clients(&rig));
    traffic.more(10);
    traffic.fault(&["users"]);
    for _ in 0..3 {
        rig.setup.broker.terminate();
        let status = rig.setup.broker.wait(PATIENCE);
        assert_eq!(status.and_then(|status| status.code()), Some(0), "the exit code");
        rig.setup.broker.start_again();
        traffic.more(10);
    }
    traffic.mended();
    traffic.more(20);
    let rules = Rules { repetitions: 1, budget: Duration::from_secs(8), ..Rules::default() };
    row.counted(traffic.end(rules));
}

/// Configurations that cannot be read: each line with an open bracket, with NUL, before a
/// bracket, and behind an unknown key.
fn broken(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let with = |place: usize, line: &[String]| {
        let before = lines[..place].iter().map(|line| (*line).to_owned());
        let after = lines[place + 1..].iter().map(|line| (*line).to_owned());
        before.chain(line.iter().cloned()).chain(after).collect::<Vec<String>>().join("\n")
    };
    let mut texts = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        texts.push(with(place, &[format!("{indentation}[ {}", line.trim_start())]));
        texts.push(with(place, &[format!("{line}\0")]));
        texts.push(with(place, &[(*line).to_owned(), format!("{indentation}]")]));
        if !line.trim_start().starts_with('-') {
            texts.push(with(place, &[format!("{indentation}no_such_key: 1"), (*line).to_owned()]));
        }
    }
    texts
}

#[test]
fn row_36_broken_configurations() {
    let row = row("36");
    let rig = Rig::start(&[]);
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(10);
    let file = rig.setup.broker.config();
    let good = fs::read_to_string(file).expect("the configuration");
    let texts = broken(&good);
    assert!(texts.len() >= 100, "{}", texts.len());
    for text in &texts {
        fs::write(file, text).expect("the configuration");
        assert!(!rig.setup.broker.reload(), "it was accepted:\n{text}");
    }
    traffic.more(20);
    row.counted(traffic.end(Rules::default()));
}

#[test]
fn row_37_a_storm_of_reloads() {
    let row = row("37");
    let rig = Rig::start(&["timeout: 6s"]);
    let lanes = [rig.lanes(Way::Unix), by_clients(&rig)].concat();
    let traffic = rig.traffic(&lanes);
    traffic.more(10);
    let file = rig.setup.broker.config();
    let good = fs::read_to_string(file).expect("the configuration");
    for round in 0..30 {
        let text = good.replace("timeout: 6s", if round % 2 == 0 { "timeout: 5s" } else { "timeout: 6s" });
        fs::write(file, text).expect("the configuration");
        kill_process(rig.setup.broker.pid(), Signal::HUP).expect("a child can be signalled");
        pause(Duration::from_millis(100));
    }
    traffic.more(20);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary.is_empty());
    assert!(rig.setup.broker.logged(&["configuration reloaded"]));
}

/// Kills the reader of a log when the row ends.
struct Reader(PathBuf);

impl Reader {
    fn signal(&self, signal: Signal) {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
            let _gone_already = kill_process(pid, signal);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[test]
fn row_40_the_log_cannot_be_written() {
    let row = row("40");
    let directory = open_directory();
    let at = directory.path().display();
    let stuck = format!("mkfifo {at}/pipe; cat {at}/pipe & echo $! >{at}/reader; exec >{at}/pipe 2>&1");
    let inner = format!(
        "mount -t tmpfs -o size=64k tmpfs {at}/full && : >{at}/full/log && \
         {{ tail -n +1 -f --pid=$$ {at}/full/log & }} && exec \"$@\" >{at}/full/log 2>&1"
    );
    fs::create_dir(directory.path().join("full")).expect("a directory");
    let full = format!("exec unshare --mount sh -c '{inner}' sh \"$@\"");
    for (script, is_stuck) in [(stuck, true), (full, false)] {
        let reader = Reader(directory.path().join("reader"));
        let rig = Rig::start_after(&script, |config, api| {
            entries(config, api, &[]).server("logging: {json: false, level: debug}")
        });
        if is_stuck {
            reader.signal(Signal::STOP);
        }
        let quick = |lane: Lane| Lane { threads: 3, pace: Duration::ZERO, ..lane };
        let traffic = rig.traffic(&rig.lanes(Way::Unix).into_iter().map(quick).collect::<Vec<_>>());
        // More lines than the log's queue takes.
        traffic.more(if is_stuck { 2500 } else { 250 });
        let outcome = row.counted(traffic.end(Rules { budget: Duration::from_secs(2), ..Rules::default() }));
        assert!(outcome.temporary.is_empty());
        if is_stuck {
            reader.signal(Signal::CONT);
            assert!(rig.setup.broker.logged(&["lines of the log were lost"]), "the queue was never full");
        }
    }
}

#[test]
#[ignore = "long: make faults"]
fn row_41_the_clock_jumps() {
    let row = row("41");
    assert!(Path::new(LIBFAKETIME).is_file(), "it needs {LIBFAKETIME} (package faketime)");
    let directory = open_directory();
    let clock = directory.path().join("clock");
    fs::write(&clock, "+0").expect("a file");
    let script = format!(
        "exec env LD_PRELOAD={LIBFAKETIME} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 \"$@\"",
        clock.display()
    );
    let rig = Rig::start_after(&script, |config, api| {
        entries(config, api, &[]).server("logging: {json: false, level: debug}")
    });
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(30);
    let year = |log: &str| log.lines().last().and_then(|line| line.get(..4)?.parse::<i32>().ok());
    let now = year(&rig.setup.broker.log()).expect("a year");
    for (jump, years) in [("+1y", 1), ("-1y", -1), ("+0", 0)] {
        fs::write(&clock, jump).expect("a file");
        pause(Duration::from_millis(500));
        traffic.more(60);
        pause(Duration::from_millis(300));
        assert_eq!(year(&rig.setup.broker.log()), Some(now + years), "the fault is played");
    }
    row.counted(traffic.end(Rules::default()));
}
