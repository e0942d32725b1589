//! `config dump`: the configuration that holds, in YAML. Each value has its origin as a comment: a line
//! of the file, an environment variable, or the default. Secrets are shown as `…`.

use std::io::Write;
use std::process::ExitCode;

use super::cli::Cli;
use crate::daemon::exit::{CONFIG, say};

/// What stands above the configuration.
const HEAD: &str =
    "# The configuration in effect. Do not install it: values that are not shown are replaced by \u{2026}\n";

/// Prints the configuration; with `changed` without what is set nowhere.
pub(super) fn dump(cli: &Cli, changed: bool) -> ExitCode {
    match cli.location().dump(changed) {
        Ok((text, warnings)) => {
            say(&warnings);
            // If the reader of the pipe is gone, nothing is printed.
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(HEAD.as_bytes()).and_then(|()| stdout.write_all(text.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            say(&problems);
            ExitCode::from(CONFIG)
        }
    }
}
