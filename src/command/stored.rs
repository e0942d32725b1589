//! `cache show`, `penalty list` and `penalty clear`: what the running broker remembers.

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::process::ExitCode;

use super::admin::{complain, print, refused, with_answer};
use super::cli::Cli;
use super::terminal::visible;
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::stored::{Cached, Delayed, StoredRequest};

/// There is no cached answer.
const NOTHING: u8 = 1;

/// Prints a cached answer.
pub(super) fn show_cached(cli: &Cli, name: &str, words: &[String]) -> ExitCode {
    let request = StoredRequest::Cached { name: name.to_owned(), words: words.to_vec() };
    with_answer(cli, &AdminRequest::Stored(request), |reply| match reply {
        AdminReply::Cached { cached: Some(cached) } => shown(&cached_lines(&cached)),
        AdminReply::Cached { cached: None } => complain(NOTHING, "there is no cached answer"),
        other => refused(&other),
    })
}

pub(super) fn list_penalties(cli: &Cli) -> ExitCode {
    with_answer(cli, &AdminRequest::Stored(StoredRequest::Penalties), |reply| match reply {
        AdminReply::Penalties { listed, omitted } => shown(&penalty_lines(&listed, omitted)),
        other => refused(&other),
    })
}

pub(super) fn clear_penalties(cli: &Cli, address: Option<IpAddr>) -> ExitCode {
    let request = AdminRequest::Stored(StoredRequest::ClearPenalties { address });
    with_answer(cli, &request, |reply| match reply {
        AdminReply::Done { what } => shown(&format!("{what}\n")),
        other => refused(&other),
    })
}

/// Reads an address as `penalty list` prints it.
pub(super) fn address(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    text.strip_suffix("/64").unwrap_or(text).parse()
}

fn shown(text: &str) -> ExitCode {
    if io::stdout().is_terminal() {
        print(visible(text.as_bytes()).as_bytes())
    } else {
        print(text.as_bytes())
    }
}

fn cached_lines(cached: &Cached) -> String {
    let rest = |seconds: u64| match seconds {
        0 => "no".to_owned(),
        seconds => format!("for {seconds} s"),
    };
    let Cached { answer, age_s, fresh_s, outage_s } = cached;
    format!(
        "answer: {answer}\nage: {age_s} s\nfresh: {}\nusable in an outage: {}\n",
        rest(*fresh_s),
        rest(*outage_s)
    )
}

fn penalty_lines(listed: &[Delayed], omitted: usize) -> String {
    let mut text = String::new();
    for Delayed { address, denials, forgotten_in_s } in listed {
        let network = if address.is_ipv6() { "/64" } else { "" };
        text.push_str(&format!("{address}{network} denials={denials} forgotten_in_s={forgotten_in_s}\n"));
    }
    if omitted > 0 {
        text.push_str(&format!("and {omitted} more\n"));
    }
    text
}
