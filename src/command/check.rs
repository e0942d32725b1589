//! `check`: reads the configuration as a start would, and says everything that is wrong with it.

use std::process::ExitCode;

use super::{CONFIG, configuration};
use crate::cli::Cli;
use crate::listen::bind;

pub(super) fn check(cli: &Cli, strict: bool) -> ExitCode {
    let (found, problems) = match configuration(cli) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(problems) => (None, problems),
    };
    super::say(&problems);
    let missing = found.as_ref().map(bind::missing).unwrap_or_default();
    super::say(&missing);
    match found {
        Some(config) if missing.is_empty() && (!strict || problems.is_empty()) => {
            let (maps, policies) = (config.maps.len(), config.policies.len());
            let listeners = config.server.listen.len();
            println!("configuration is good: {maps} maps, {policies} policies, {listeners} listeners");
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(CONFIG),
    }
}
