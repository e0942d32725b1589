//! The commands that talk to the running broker over its admin socket: `reload`, `cache purge` and `query`
//! here, `status` in its own directory. If no broker runs, a broker inside of this program answers `query`.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

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

pub(super) fn with_answer(
    cli: &Cli,
    what: &AdminRequest,
    then: impl FnOnce(AdminReply) -> ExitCode,
) -> ExitCode {
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

pub(super) fn refused(reply: &AdminReply) -> ExitCode {
    match reply {
        AdminReply::Refused { why } => complain(TEMPORARY, why),
        _ => complain(TEMPORARY, "unexpected reply of the broker"),
    }
}

pub(super) fn complain(code: u8, message: &str) -> ExitCode {
    say(&[format!("pfxhttp-broker: {message}")]);
    ExitCode::from(code)
}

pub(super) fn print(bytes: &[u8]) -> ExitCode {
    // The reader may have closed the stream.
    let _ = io::stdout().write_all(bytes);
    ExitCode::SUCCESS
}
