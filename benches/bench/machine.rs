//! Where, when and with which versions this was measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Value, json};

use super::Outcome;
use super::options::Options;
use super::process::find;

/// The same as a text and as JSON.
pub(crate) struct Machine {
    pub(crate) line: String,
    pub(crate) json: Value,
}

/// Fails where a program is missing.
pub(crate) fn describe(options: &Options) -> Outcome<Machine> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let information = read("/proc/cpuinfo");
    let mut models = information.lines().filter_map(|line| line.strip_prefix("model name"));
    let model =
        models.next().map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':'])).to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let haproxy = version(&find("haproxy", "haproxy")?, "-v")?;
    let nginx = version(&find("nginx", "nginx-light")?, "-v")?;
    let broker = version(&options.broker, "--version")?;
    let line = format!(
        "{date}, {cores} cores of {model}, Linux {kernel}, load {load}\n{haproxy}; {nginx}; {broker}"
    );
    let json = json!({
        "date": date, "cpu": model, "cores": cores, "kernel": kernel, "loadavg": load,
        "haproxy": haproxy, "nginx": nginx, "broker": broker,
    });
    Ok(Machine { line, json })
}

/// What a program says of itself, its first line.
fn version(program: &Path, option: &str) -> Outcome<String> {
    let said = Command::new(program).arg(option).output();
    let said = said.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    Ok(text.lines().next().unwrap_or("unknown").to_owned())
}

/// Whose time the machine's was while something was measured.
pub(crate) struct Busy {
    since: [u64; 8],
}

/// In percent of all cores' time.
pub(crate) struct Taken {
    /// By this program and all that it started.
    pub(crate) ours: f64,
    pub(crate) others: f64,
    /// What a virtual machine did not get of its host.
    pub(crate) stolen: f64,
}

impl Busy {
    pub(crate) fn begin() -> Outcome<Self> {
        Ok(Self { since: ticks()? })
    }

    /// To be called when all that was started has ended and was waited for.
    pub(crate) fn end(&self) -> Outcome<Taken> {
        let now = ticks()?;
        let passed: Vec<f64> = now.iter().zip(&self.since).map(|(now, then)| (now - then) as f64).collect();
        let [user, nice, system, idle, waiting, hard, soft, stolen] = passed[..] else {
            return Err("/proc/stat is not what it was".to_owned());
        };
        let all = user + nice + system + idle + waiting + hard + soft + stolen;
        let mut ours = 0.0;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who).map_err(|error| format!("getrusage: {error}"))?;
            ours += (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
        }
        let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let percent = |ticks: f64| 100.0 * ticks / all.max(1.0);
        let others = (user + nice + system + hard + soft - ours * second).max(0.0);
        Ok(Taken { ours: percent(ours * second), others: percent(others), stolen: percent(stolen) })
    }
}

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
fn ticks() -> Outcome<[u64; 8]> {
    let text = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let words = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    ticks
        .first_chunk()
        .copied()
        .ok_or_else(|| format!("/proc/stat begins with {words:?}", words = text.lines().next()))
}
