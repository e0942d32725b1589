//! The command line of `pfxhttp-broker`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Lets Postfix ask HTTP APIs (socketmap, policy delegation, Dovecot SASL): the daemon.
#[derive(Debug, Parser)]
#[command(name = "pfxhttp-broker", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// The configuration [default: pfxhttp.yml, .yaml, .toml or .json in /usr/local/etc/pfxhttp,
    /// /etc/pfxhttp, ~/.pfxhttp or the current directory]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The syntax of FILE [default: by its extension, else yaml]
    #[arg(long, global = true)]
    pub format: Option<Format>,
    /// Without a command: run in the foreground
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The syntax of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// YAML.
    Yaml,
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// What to do instead of running.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Read and check the configuration as a start would: exit 0, or 78 with every error's place
    Check {
        /// Take warnings for errors
        #[arg(long)]
        strict: bool,
    },
    /// Show the main job on a sample API inside of this program; needs no configuration and no root
    Demo,
}
