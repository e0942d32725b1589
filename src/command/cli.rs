//! The command line of `pfxhttp-broker`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::Mechanism;
use crate::settings::{Location, Syntax};

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

impl Cli {
    /// The configuration that is meant.
    pub(crate) fn location(&self) -> Location {
        let syntax = self.format.map(|format| match format {
            Format::Yaml => Syntax::Yaml,
            Format::Toml => Syntax::Toml,
            Format::Json => Syntax::Json,
        });
        Location { file: self.config.clone(), syntax }
    }
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
        /// Treat warnings as errors
        #[arg(long)]
        strict: bool,
        /// If nothing is wrong, also reach every target and provider: exit 69 if one cannot be used
        #[arg(long)]
        online: bool,
    },
    /// The configuration in effect
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the lines of main.cf and master.cf that this configuration needs
    Postfix {
        /// Compare them with the installed Postfix: exit 78 if something does not work or is not safe
        #[arg(long)]
        check: bool,
        /// Postfix' configuration directory [default: that of postconf(1)]
        #[arg(long, value_name = "DIRECTORY")]
        postfix_config: Option<PathBuf>,
    },
    /// Ask as Postfix would: prints the bytes that it would get, or "(connection closed)"
    Query {
        /// Show the request, the API's answer and what decided, without secrets
        #[arg(long, global = true)]
        trace: bool,
        /// What is asked
        #[command(subcommand)]
        query: QueryCommand,
    },
    /// Show the state of the running broker
    Status(StatusOptions),
    /// Make the running broker read its configuration again: exit 75 if it rejects it
    Reload,
    /// The running broker's cache
    #[command(subcommand)]
    Cache(CacheCommand),
    /// The running broker's delays of denied logins (sasl_penalty)
    #[command(subcommand)]
    Penalty(PenaltyCommand),
    /// Show the main job on a sample API inside of this program; needs no configuration and no root
    Demo,
}

/// What is shown of the status, and how.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusOptions {
    /// As JSON
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,
    /// Show it again each second, or each SECONDS, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
    /// Show the last 20 failures instead
    #[arg(long)]
    pub failures: bool,
}

/// What is asked by hand.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum QueryCommand {
    /// A key of a map
    Map {
        /// The entry of `socket_maps`
        name: String,
        /// The key
        key: OsString,
    },
    /// A policy service
    Policy {
        /// The entry of `policy_services`
        name: String,
        /// As sender=a@example.org; request=smtpd_access_policy unless another one is given
        #[arg(value_name = "ATTRIBUTE=VALUE")]
        attributes: Vec<OsString>,
    },
    /// A login; its password or token is read from standard input, on a terminal without echo
    Sasl {
        /// How the mail client logs in; oauthbearer and xoauth2 take a token
        #[arg(long, default_value = "plain", ignore_case = true, value_parser = mechanisms())]
        mechanism: Mechanism,
        /// The entry of `dovecot_sasl`
        name: String,
        /// Who
        user: OsString,
    },
}

/// The names of the mechanisms.
fn mechanisms() -> impl TypedValueParser<Value = Mechanism> {
    let names = ["plain", "login", "oauthbearer", "xoauth2"];
    PossibleValuesParser::new(names).try_map(|name| Mechanism::of(&name).ok_or("no such mechanism"))
}

/// What is done with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print it as YAML, each value with its origin as a comment; secrets are shown as `…`
    Dump {
        /// Leave out what is set nowhere
        #[arg(long)]
        changed: bool,
    },
}

/// What is done with the delays of denied logins.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PenaltyCommand {
    /// List the addresses, their denials, and the seconds until these are forgotten
    List,
    /// Forget the denials of all addresses, or of one
    Clear {
        /// The address; of IPv6 its /64 is meant
        #[arg(value_parser = super::stored::address)]
        address: Option<IpAddr>,
    },
}

/// What is done with cached answers.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CacheCommand {
    /// Forget them: all, those of an entry, or that of a map's key
    Purge {
        /// The entry
        name: Option<String>,
        /// The key
        #[arg(requires = "name")]
        key: Option<String>,
    },
    /// Show an answer: exit 1 if there is none
    Show {
        /// The entry
        name: String,
        /// A map's key; of a policy service the attributes of the request, as in query
        #[arg(value_name = "KEY|ATTRIBUTE=VALUE", required = true)]
        key: Vec<String>,
    },
}
