//! The commands that talk to the running broker over its admin socket: `status`, `reload`, `cache purge`,
//! `query`. If no broker runs, a broker inside of this program answers `query`.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

use super::socket::{AdminSocket, is_absent};
use super::terminal::visible;
use crate::broker::Broker;
use crate::command::cli::{CacheCommand, Cli, QueryCommand};
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::exit::{OS, TEMPORARY, USAGE, say};
use crate::daemon::query::{self, Query, QueryReply};
use crate::settings::Configuration;

/// More than a line of the protocol may have.
const LONGEST_PASSWORD: u64 = 32 * 1024;

pub(super) fn status(cli: &Cli, json: bool) -> ExitCode {
    with_answer(cli, &AdminRequest::Status, |reply| match reply {
        AdminReply::Status { status } => {
            let text = if json { format!("{status:#}") } else { lines(&status) };
            print(text.as_bytes())
        }
        other => refused(&other),
    })
}

pub(super) fn reload(cli: &Cli) -> ExitCode {
    with_answer(cli, &AdminRequest::Reload, |reply| done(&reply))
}

pub(super) fn cache(cli: &Cli, cache: &CacheCommand) -> ExitCode {
    let CacheCommand::Purge { name, key } = cache;
    with_answer(cli, &AdminRequest::Purge { name: name.clone(), key: key.clone() }, |reply| done(&reply))
}

pub(super) fn query(cli: &Cli, command: &QueryCommand, trace: bool) -> ExitCode {
    let query = match parse(command) {
        Ok(query) => query,
        Err(error) => return complain(USAGE, &error),
    };
    let socket = AdminSocket::of(cli);
    let said = match (socket.order(&AdminRequest::Query(query.clone())), &socket.config) {
        (Ok(AdminReply::Query(said)), _) => said,
        (Ok(other), _) => return refused(&other),
        (Err(error), Ok(config)) if is_absent(&error) => match here(config, &query) {
            Ok(said) => said,
            Err(error) => return complain(OS, &error),
        },
        (Err(error), _) => return socket.complain(&error),
    };
    show(&said, trace)
}

/// Answers in this process, without sockets.
fn here(config: &Configuration, query: &Query) -> Result<QueryReply, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let broker = Arc::new(Broker::new(&config.broker()));
    let said = runtime.block_on(query::ask(&broker, query));
    runtime.shutdown_background();
    Ok(said)
}

fn parse(command: &QueryCommand) -> Result<Query, String> {
    Ok(match command {
        QueryCommand::Map { name, key } => Query::map(name, key.as_bytes()),
        QueryCommand::Policy { name, attributes } => {
            let lines: Vec<&[u8]> = attributes.iter().map(|pair| pair.as_bytes()).collect();
            match attributes.iter().find(|pair| !pair.as_bytes().contains(&b'=')) {
                Some(pair) => return Err(format!("{pair:?} is no attribute=value")),
                None => Query::policy(name, &lines),
            }
        }
        QueryCommand::Sasl { name, user } => {
            let mut line = Zeroizing::new(Vec::new());
            let read = io::stdin().lock().take(LONGEST_PASSWORD).read_to_end(&mut line);
            if read.is_err() || line.is_empty() {
                return Err("the password is read from standard input".to_owned());
            }
            let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
            Query::sasl(name, user.as_bytes(), &line[..end])
        }
    })
}

fn show(said: &QueryReply, trace: bool) -> ExitCode {
    say(said.unknown.as_slice());
    let mut out = Vec::new();
    if trace {
        for note in &said.trace {
            out.extend_from_slice(format!("# {}\n", note.replace('\n', "\n# ")).as_bytes());
        }
    }
    if said.bytes.is_empty() {
        out.extend_from_slice(b"(connection closed)\n");
    } else {
        out.extend_from_slice(&said.bytes);
    }
    if !io::stdout().is_terminal() {
        return print(&out);
    }
    // A netstring has no line end of its own; a terminal likes one.
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    print(visible(&out).as_bytes())
}

fn with_answer(cli: &Cli, what: &AdminRequest, then: impl FnOnce(AdminReply) -> ExitCode) -> ExitCode {
    let socket = AdminSocket::of(cli);
    match socket.order(what) {
        Ok(reply) => then(reply),
        Err(error) => socket.complain(&error),
    }
}

fn done(reply: &AdminReply) -> ExitCode {
    match reply {
        AdminReply::Done { what } => print(format!("{what}\n").as_bytes()),
        other => refused(other),
    }
}

fn refused(reply: &AdminReply) -> ExitCode {
    match reply {
        AdminReply::Refused { why } => complain(TEMPORARY, why),
        _ => complain(TEMPORARY, "unexpected reply of the broker"),
    }
}

fn complain(code: u8, message: &str) -> ExitCode {
    say(&[format!("pfxhttp-broker: {message}")]);
    ExitCode::from(code)
}

fn print(bytes: &[u8]) -> ExitCode {
    // The reader may have closed the stream.
    let _ = io::stdout().write_all(bytes);
    ExitCode::SUCCESS
}

/// A status for people: a line for each thing, lists one to a line, names first.
fn lines(status: &Value) -> String {
    let mut text = String::new();
    for (name, value) in status.as_object().into_iter().flatten() {
        let items = match value {
            Value::Null => continue,
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            text.push_str(&format!("{name}: {}\n", members(item)));
        }
    }
    text
}

/// `name=value` of each member that has a value; a value without members by itself.
fn members(item: &Value) -> String {
    let Some(members) = item.as_object() else { return word(item) };
    let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
    let place = |name: &str| ["name", "kind", "endpoint", "target"].iter().position(|first| *first == name);
    members.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    let mut shown = Vec::new();
    for (name, value) in members {
        match value.as_object() {
            None => shown.push(format!("{name}={}", word(value))),
            Some(parts) => {
                shown.extend(parts.iter().map(|(part, value)| format!("{name}.{part}={}", word(value))));
            }
        }
    }
    shown.join(" ")
}

/// A text, in quotes if its end could not be seen otherwise.
fn word(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.is_empty() || text.contains([' ', '"', '=']) => format!("{text:?}"),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_words_and_no_json() {
        let status = json!({
            "reloaded": null,
            "version": "0.1.0",
            "cache": {"entries": 1, "bytes": 500},
            "target": [{"is_out_of_order": true, "kind": "map", "last_failure": "no connection",
                "has_token": null, "name": "m", "target": "http://h", "recent": {"connect": 2, "tls": 1}}],
        });
        let mut reply: Vec<_> = lines(&status).lines().map(str::to_owned).collect();
        reply.sort();
        assert_eq!(
            reply,
            [
                "cache: bytes=500 entries=1",
                "target: name=m kind=map target=http://h is_out_of_order=true last_failure=\"no connection\" recent.connect=2 recent.tls=1",
                "version: 0.1.0",
            ]
        );
    }
}
