//! The command `status`: a table on a terminal, lines of `name=value` elsewhere, or JSON.
//!
//! | file | does |
//! |---|---|
//! | `screen`, `table` | what a terminal shows, and how it fits |
//! | `watch` | shows it again and again |
//! | `lines` | `name=value` |
//!
//! Colours need a terminal, and neither `NO_COLOR` nor `TERM=dumb`.

mod lines;
mod screen;
mod table;
mod watch;

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use super::admin::{complain, print, refused, with_answer};
use super::cli::{Cli, StatusOptions};
use super::socket::AdminSocket;
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::exit::{OS, USAGE};
use crate::model::status::Status;
use screen::Area;
use table::Style;

/// A status, or the reason why there is none.
type Seen = Result<Status, String>;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Entries and listeners.
    Everything,
    /// The last failures.
    Failures,
}

pub(super) fn status(cli: &Cli, options: &StatusOptions) -> ExitCode {
    let is_terminal = io::stdout().is_terminal();
    let what = if options.failures { What::Failures } else { What::Everything };
    if let Some(seconds) = options.watch {
        return match is_terminal {
            true => watch(cli, what, Duration::from_secs(seconds)),
            false => complain(USAGE, "--watch needs a terminal"),
        };
    }
    with_answer(cli, &AdminRequest::Status, |reply| match reply {
        AdminReply::Status { status } => print(shown(status, what, options.json, is_terminal).as_bytes()),
        other => refused(&other),
    })
}

fn shown(status: Value, what: What, json: bool, is_terminal: bool) -> String {
    match (what, json, is_terminal) {
        (What::Everything, true, _) => format!("{status:#}\n"),
        (What::Failures, true, _) => format!("{:#}\n", status["failure"]),
        (_, false, true) => draw(&read(Ok(status)), what, terminal_size().0, None).join("\n") + "\n",
        (What::Everything, false, false) => lines::lines(&status),
        (What::Failures, false, false) => lines::lines(&json!({ "failure": status["failure"] })),
    }
}

fn watch(cli: &Cli, what: What, every: Duration) -> ExitCode {
    let socket = AdminSocket::of(cli);
    let first = match socket.order(&AdminRequest::Status) {
        Ok(AdminReply::Status { status }) => read(Ok(status)),
        Ok(other) => return refused(&other),
        Err(error) => return socket.complain(&error),
    };
    match watch::watch(socket.path(), what, every, first) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(OS, &error.to_string()),
    }
}

/// The status that a broker of any version sends.
fn read(status: Result<Value, String>) -> Seen {
    let unexpected = |error| format!("unexpected reply of the broker: {error}");
    status.and_then(|status| serde_json::from_value(status).map_err(unexpected))
}

/// The lines for a terminal.
fn draw(seen: &Seen, what: What, width: usize, height: Option<usize>) -> Vec<String> {
    let area = Area { width, height, colour: has_colour() };
    match (seen, what) {
        (Ok(status), What::Everything) => screen::status(status, area),
        (Ok(status), What::Failures) => screen::failures(status, area),
        (Err(why), _) => vec![Style::Bad.paint(&table::cut(why, width), area.colour)],
    }
}

fn has_colour() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Width and height of the terminal: what it says itself, `COLUMNS` and `LINES`, or 80 and 24.
fn terminal_size() -> (usize, usize) {
    let said = tcgetwinsize(io::stdout()).ok();
    let of = |said: Option<u16>, variable: &str, usual: usize| {
        let said = said.map(usize::from).filter(|size| *size > 0);
        let set = || env::var(variable).ok()?.parse().ok().filter(|size| *size > 0);
        said.or_else(set).unwrap_or(usual)
    };
    let (columns, rows) = (said.map(|size| size.ws_col), said.map(|size| size.ws_row));
    (of(columns, "COLUMNS", 80), of(rows, "LINES", 24))
}
