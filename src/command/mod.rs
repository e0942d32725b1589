//! What `pfxhttp-broker` can be told to do. Exit codes are those of sysexits(3).

mod check;
mod demo;
mod run;
mod sample_api;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Format};
use crate::config::{self, Config, Problem, Syntax};

/// EX_USAGE: the command line is wrong.
const USAGE: u8 = 64;
/// EX_SOFTWARE: a part of the broker ended that never should.
const SOFTWARE: u8 = 70;
/// EX_OSERR: the system refused something.
const OS: u8 = 71;
/// EX_CONFIG: the configuration is wrong.
const CONFIG: u8 = 78;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match &cli.command {
        None => run::run(&cli),
        Some(Command::Check { strict }) => check::check(&cli, *strict),
        Some(Command::Demo) => demo::demo(),
    }
}

/// Prints to standard error. Whoever reads there may be gone, which is no reason to panic.
fn say(lines: &[impl std::fmt::Display]) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        let _ = writeln!(stderr, "{line}");
    }
}

/// Reads the configuration that `cli` names, or the first one where configurations are looked for.
/// Warnings come with it; errors are the end.
fn configuration(cli: &Cli) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let syntax = cli.format.map(|format| match format {
        Format::Yaml => Syntax::Yaml,
        Format::Toml => Syntax::Toml,
        Format::Json => Syntax::Json,
    });
    let environment = config::environment();
    let Some(path) = &cli.config else {
        let (path, beside) = config::search()?;
        let (config, mut warnings) = config::load(&path, syntax, &environment)?;
        warnings.splice(..0, beside);
        return Ok((config, warnings));
    };
    config::load(path, syntax, &environment)
}
