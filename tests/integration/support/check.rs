//! `pfxhttp-broker check` and its output.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::broker::{command, program};
use super::config::Config;

const NOBODY: u32 = 65534;

/// The result of a check.
pub(crate) struct Checked {
    pub(crate) code: Option<i32>,
    /// Lines of standard output.
    pub(crate) good: Vec<String>,
    /// Lines of standard error.
    pub(crate) bad: Vec<String>,
}

/// `check --online`.
pub(crate) fn online(config: &Config) -> Checked {
    online_with(config, &[])
}

/// The same with more arguments.
pub(crate) fn online_with(config: &Config, more: &[&str]) -> Checked {
    run(command(&config.write()).args(["check", "--online"]).args(more))
}

/// Runs it as a user without rights; only root can do so.
pub(crate) fn online_as_nobody(config: &Config) -> Checked {
    let copy = config.directory().join("pfxhttp-broker");
    super::copy_program(env!("CARGO_BIN_EXE_pfxhttp-broker").as_ref(), &copy);
    // A start by that user would make its sockets there.
    std::os::unix::fs::chown(config.directory(), Some(NOBODY), None).expect("its owner");
    run(program(&copy, &config.write()).args(["check", "--online"]).uid(NOBODY).gid(NOBODY))
}

fn run(command: &mut Command) -> Checked {
    let output = command.output().expect("the broker's program can be started");
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    Checked { code: output.status.code(), good: lines(&output.stdout), bad: lines(&output.stderr) }
}

impl Checked {
    /// All its output in one text.
    pub(crate) fn text(&self) -> String {
        format!("exit {:?}\n{}\n--\n{}", self.code, self.good.join("\n"), self.bad.join("\n"))
    }
}
