//! Where, when and with which versions this was measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

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
