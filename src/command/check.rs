//! `check`: reads the configuration as a start would, and prints everything that is wrong with it; with
//! `--online` also which of its APIs and providers cannot be used.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use super::online;
use crate::command::cli::Cli;
use crate::daemon::exit::{CONFIG, OS, UNAVAILABLE, say};
use crate::lookup;
use crate::server::rights;
use crate::settings::{Configuration, Severity};

pub(super) fn check(cli: &Cli, strict: bool, online: bool) -> ExitCode {
    let (file, read) = cli.location().read(false);
    let (found, problems) = match read {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(problems) => (None, problems),
    };
    say(&problems);
    let mut missing =
        found.as_ref().map(|config| rights::missing(&file, &config.server.sockets)).unwrap_or_default();
    missing
        .warnings
        .extend(found.iter().flat_map(|config| rights::closed_to_postfix(&config.server.sockets)));
    let file = file.display();
    say(&missing.owners);
    say(&missing.warnings);
    match found {
        Some(config)
            if missing.owners.is_empty()
                && (!strict || (problems.is_empty() && missing.warnings.is_empty())) =>
        {
            if online {
                reached(&file, &config, strict)
            } else {
                good(&file, &config, "")
            }
        }
        _ => {
            let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
            let warnings = problems.len() - errors + missing.warnings.len();
            let errors = errors + missing.owners.len();
            say(&[format!("{file}: errors: {errors}, warnings: {warnings}")]);
            ExitCode::from(CONFIG)
        }
    }
}

fn reached(file: &impl Display, config: &Configuration, strict: bool) -> ExitCode {
    match online::check(config) {
        Ok(counts) if counts.bad == 0 && (!strict || counts.warnings == 0) => {
            good(file, config, &format!("; reached: {counts}"))
        }
        Ok(counts) if counts.bad == 0 => {
            say(&[format!("{file}: errors: 0, warnings: {}", counts.warnings)]);
            ExitCode::from(CONFIG)
        }
        Ok(counts) => {
            say(&[format!("{file}: OK; {} cannot be used", counts.bad)]);
            ExitCode::from(UNAVAILABLE)
        }
        Err(error) => {
            say(&[format!("pfxhttp-broker: {error}")]);
            ExitCode::from(OS)
        }
    }
}

fn good(file: &impl Display, config: &Configuration, more: &str) -> ExitCode {
    let names =
        |entries: &[lookup::LookupSettings]| names_of(entries.iter().map(|entry| entry.name.as_str()));
    let (maps, policies) = (names(&config.maps), names(&config.policies));
    let logins = names_of(config.logins.iter().map(|entry| entry.name.as_str()));
    let listeners = config.server.sockets.listen.len();
    // The reader may have closed the stream.
    let _ = writeln!(
        std::io::stdout(),
        "{file}: OK; maps: {maps}; policies: {policies}; logins: {logins}; listeners: {listeners}{more}"
    );
    ExitCode::SUCCESS
}

fn names_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
