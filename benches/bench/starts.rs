//! The second table: a start of `pfxhttp-client`, which hands the connection over or forwards, and of the
//! relay in C, from just before the program is started until the last byte of the first reply is there.
//!
//! All get a unix stream socket as descriptors 0, 1 and 2, as spawn(8) hands it over, with the
//! first request in it already. All ask for what the broker's cache has, the client over the
//! local socket and the relay over a unix listener, so that starting is what differs. They take
//! turns. Memory and system calls are those of starts of their own: looking takes time.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

use super::contestant::{on_stdio, pair};
use super::options::Options;
use super::process::{Reaped, find, memory};
use super::script::{self, FIRST, Script, Verdict};
use super::site::Site;
use super::spread::Spread;
use super::{Outcome, interrupt, load};

/// What is started.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Round>,
    /// `None` where strace cannot tell.
    pub(crate) calls: Option<u64>,
    /// Of the file, in bytes.
    pub(crate) size: u64,
    path: PathBuf,
    arguments: Vec<PathBuf>,
}

/// Medians of one round, or means where a sum is what is known.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// In microseconds.
    pub(crate) first_reply: f64,
    pub(crate) cpu: f64,
    pub(crate) faults: f64,
    /// In kB, while it waits for the next request.
    pub(crate) private: f64,
    pub(crate) peak: f64,
}

/// All of them.
pub(crate) struct Starts {
    pub(crate) relay: Program,
    /// It hands the connection over.
    pub(crate) client: Program,
    /// It does not.
    pub(crate) forwarding: Program,
}

/// One start.
struct Started {
    first_reply: Duration,
    cpu_us: i64,
    faults: i64,
}

pub(crate) fn measure(options: &Options) -> Outcome<Starts> {
    let site = Site::start(options)?;
    let at = |name: &str| site.directory.join(name);
    let mut script = script::lookup("fresh");
    script.request.set(FIRST);
    let line = |more: &[&str]| {
        let words = ["--socket".into(), at("broker.sock")].into_iter();
        words.chain(more.iter().map(PathBuf::from)).collect()
    };
    let mut relay = Program::new("relay in C", &options.relay, vec![at("maps.sock")])?;
    let mut client = Program::new("client, handed", &options.client, line(&["socketmap"]))?;
    let forwarding = line(&["--no-hand-over", "socketmap"]);
    let mut forwarding = Program::new("client, forwards", &options.client, forwarding)?;
    for program in [&mut relay, &mut client, &mut forwarding] {
        program.start(&script)?;
        program.calls = program.traced(&script, &at("strace.out"))?;
    }
    for round in 0..options.rounds {
        let mut starts = [Vec::new(), Vec::new(), Vec::new()];
        for turn in 0..options.starts {
            interrupt::check()?;
            for turned in 0..3 {
                let place = (round + turn + turned) % 3;
                starts[place].push([&relay, &client, &forwarding][place].start(&script)?);
            }
        }
        for (program, starts) in [&mut relay, &mut client, &mut forwarding].into_iter().zip(&starts) {
            let (private, peak) = program.memory(&script)?;
            program.rounds.push(Round::of(starts, private, peak));
        }
    }
    Ok(Starts { relay, client, forwarding })
}

impl Round {
    fn of(starts: &[Started], private: f64, peak: f64) -> Self {
        let times = starts.iter().map(|start| start.first_reply.as_secs_f64() * 1e6);
        let count = starts.len() as f64;
        let mean = |of: fn(&Started) -> i64| starts.iter().map(of).sum::<i64>() as f64 / count;
        Self {
            first_reply: Spread::of(times).map_or(f64::NAN, |spread| spread.median),
            cpu: mean(|start| start.cpu_us),
            faults: mean(|start| start.faults),
            private,
            peak,
        }
    }
}

impl Program {
    fn new(name: &'static str, path: &PathBuf, arguments: Vec<PathBuf>) -> Outcome<Self> {
        let size = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        Ok(Self { name, rounds: Vec::new(), calls: None, size, path: path.clone(), arguments })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command
    }

    /// Starts it, hears its first reply, hangs up, and waits for its end.
    fn start(&self, script: &Script) -> Outcome<Started> {
        let before = usage()?;
        let mut command = self.command();
        let (mut ours, its) = pair()?;
        ask(&mut ours, script)?;
        let began = Instant::now();
        let child = on_stdio(&mut command, its)?;
        hear(&mut ours, script).map_err(|error| format!("{}: {error}", self.name))?;
        let first_reply = began.elapsed();
        self.hang_up(ours, child)?;
        let after = usage()?;
        let cpu = |usage: &Usage| (usage.user_time() + usage.system_time()).num_microseconds();
        let faults = |usage: &Usage| usage.minor_page_faults() + usage.major_page_faults();
        let (cpu_us, faults) = (cpu(&after) - cpu(&before), faults(&after) - faults(&before));
        Ok(Started { first_reply, cpu_us, faults })
    }

    /// RssAnon and VmHWM while it waits for a second request, in kB; not a number if it has ended by then.
    fn memory(&self, script: &Script) -> Outcome<(f64, f64)> {
        let (mut ours, its) = pair()?;
        ask(&mut ours, script)?;
        let child = on_stdio(&mut self.command(), its)?;
        hear(&mut ours, script)?;
        let of = |what| memory(child.0.id(), what).map_or(f64::NAN, |kilobytes| kilobytes as f64);
        let (private, peak) = (of("RssAnon"), of("VmHWM"));
        self.hang_up(ours, child)?;
        Ok((private, peak))
    }

    /// How many system calls such a start makes, its end included.
    fn traced(&self, script: &Script, out: &PathBuf) -> Outcome<Option<u64>> {
        let Ok(strace) = find("strace", "strace") else { return Ok(None) };
        let mut command = Command::new(strace);
        command.args(["-c", "-f", "-o"]).arg(out).arg(&self.path).args(&self.arguments);
        let (mut ours, its) = pair()?;
        ask(&mut ours, script)?;
        let mut child = on_stdio(&mut command, its)?;
        let heard = hear(&mut ours, script);
        drop(ours);
        let _ended = child.0.wait();
        // Where it may not trace, strace itself is what spoke.
        if heard.is_err() {
            return Ok(None);
        }
        let table = fs::read_to_string(out).map_err(|error| format!("{}: {error}", out.display()))?;
        let total = table.lines().find(|line| line.ends_with("total"));
        Ok(total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()))
    }

    fn hang_up(&self, ours: UnixStream, mut child: Reaped) -> Outcome<()> {
        drop(ours);
        let status = child.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.name)) }
    }

    /// A figure over all rounds.
    pub(crate) fn spread(&self, figure: fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure))
    }

    /// The same, each divided by that of `other` in its round.
    pub(crate) fn ratio(&self, other: &Self, figure: fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(one, two)| figure(one) / figure(two)))
    }

    pub(crate) fn json(&self) -> Value {
        let rounds: Vec<Value> = self.rounds.iter().map(Round::json).collect();
        json!({ "program": self.name, "bytes": self.size, "system_calls": self.calls, "rounds": rounds })
    }
}

impl Round {
    fn json(&self) -> Value {
        json!({
            "first_reply_us": self.first_reply,
            "cpu_us": self.cpu,
            "page_faults": self.faults,
            "rss_anon_kb": self.private,
            "vm_hwm_kb": self.peak,
        })
    }
}

/// What all children have used that were waited for.
fn usage() -> Outcome<Usage> {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("getrusage: {error}"))
}

fn ask(socket: &mut UnixStream, script: &Script) -> Outcome<()> {
    socket.write_all(&script.request.bytes).map_err(|error| format!("a request: {error}"))
}

fn hear(socket: &mut UnixStream, script: &Script) -> Outcome<()> {
    let (mut got, mut filled) = ([0; 1024], 0);
    loop {
        match socket.read(&mut got[filled..]) {
            Ok(0) => return Err("it closed the connection".to_owned()),
            Ok(read) => filled += read,
            Err(error) => return Err(format!("no reply: {error}")),
        }
        match script.due.judge(&got[..filled]) {
            Verdict::Complete => return Ok(()),
            Verdict::More => {}
            Verdict::Wrong => return Err(format!("a wrong answer: {}", load::shown(&got[..filled]))),
        }
    }
}
