//! The commands of `pfxhttp-broker`. Exit codes are those of sysexits(3).

mod admin;
mod check;
pub mod cli;
mod demo;
mod dump;
mod meaning;
mod online;
mod password;
mod postfix;
mod query;
mod sample_api;
mod socket;
mod status;
mod stored;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::daemon::exit::USAGE;
use crate::daemon::run;
use crate::server::privilege;
use cli::{Cli, Command, ConfigCommand, PenaltyCommand};

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // Every command reads secrets.
    privilege::keep_to_itself();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match &cli.command {
        None => run::run(&cli.location()),
        Some(Command::Check { strict, online }) => check::check(&cli, *strict, *online),
        Some(Command::Config(ConfigCommand::Dump { changed })) => dump::dump(&cli, *changed),
        Some(Command::Demo) => demo::demo(),
        Some(Command::Postfix { check, postfix_config }) => {
            postfix::postfix(&cli, *check, postfix_config.as_deref())
        }
        Some(Command::Query { query, trace }) => query::query(&cli, query, *trace),
        Some(Command::Status(options)) => status::status(&cli, options),
        Some(Command::Reload) => admin::reload(&cli),
        Some(Command::Cache(cache)) => admin::cache(&cli, cache),
        Some(Command::Penalty(PenaltyCommand::List)) => stored::list_penalties(&cli),
        Some(Command::Penalty(PenaltyCommand::Clear { address })) => stored::clear_penalties(&cli, *address),
    }
}
