//! What `pfxhttp-broker` can be told to do. Exit codes are those of sysexits(3).

mod check;
mod demo;
mod online;
mod orders;
mod reload;
mod run;
mod sample_api;
mod service;
mod socket;
mod terminal;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Format};
use crate::config::{self, Config, Problem, Syntax};
use crate::privilege;

/// EX_USAGE: the command line is wrong.
const USAGE: u8 = 64;
/// EX_UNAVAILABLE: what the configuration names is not there.
const UNAVAILABLE: u8 = 69;
/// EX_SOFTWARE: a part of the broker ended that never should.
const SOFTWARE: u8 = 70;
/// EX_OSERR: the system refused something.
const OS: u8 = 71;
/// EX_TEMPFAIL: the running broker cannot be asked, or refused.
const TEMPORARY: u8 = 75;
/// EX_CONFIG: the configuration is wrong.
const CONFIG: u8 = 78;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // Whatever is asked for reads secrets.
    privilege::keep_to_itself();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match &cli.command {
        None => run::run(&cli),
        Some(Command::Check { strict, online }) => check::check(&cli, *strict, *online),
        Some(Command::Demo) => demo::demo(),
        Some(Command::Query { asked, trace }) => orders::query(&cli, asked, *trace),
        Some(Command::Status { json }) => orders::status(&cli, *json),
        Some(Command::Reload) => orders::reload(&cli),
        Some(Command::Cache(cache)) => orders::cache(&cli, cache),
    }
}

/// Prints to standard error. Whoever reads there may be gone, which is no reason to panic.
fn say(lines: &[impl std::fmt::Display]) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        let _ = writeln!(stderr, "{line}");
    }
}

/// A configuration and its warnings, or everything that is wrong with it.
type Read = Result<(Config, Vec<Problem>), Vec<Problem>>;

/// Reads the configuration that `cli` names, or the first one where configurations are looked for.
fn configuration(cli: &Cli) -> (PathBuf, Read) {
    read(cli, false)
}

/// The same by a broker that may be in its jail.
fn read(cli: &Cli, is_jailed: bool) -> (PathBuf, Read) {
    let (path, beside) = match &cli.config {
        Some(path) => (path.clone(), None),
        None => match config::search() {
            Ok(found) => found,
            Err(problems) => return (PathBuf::from("configuration"), Err(problems)),
        },
    };
    let load = if is_jailed { config::load_in_jail } else { config::load };
    let read = load(&path, syntax(cli), &config::environment());
    let read = read.map(|(config, warnings)| (config, beside.into_iter().chain(warnings).collect()));
    (path, read)
}

/// The syntax that `cli` names.
fn syntax(cli: &Cli) -> Option<Syntax> {
    cli.format.map(|format| match format {
        Format::Yaml => Syntax::Yaml,
        Format::Toml => Syntax::Toml,
        Format::Json => Syntax::Json,
    })
}
