//! What the command line orders of a broker that runs, over its admin socket: `status`, `reload`,
//! `cache purge`; and `query`, which a broker inside of this program answers where none runs.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::{CONFIG, OS, TEMPORARY, USAGE, configuration};
use crate::admin::{Order, Told};
use crate::broker::Broker;
use crate::cli::{Asked, Cache, Cli};
use crate::config::Config;
use crate::query::{self, Query, Said};

/// A policy may take 90 s.
const PATIENCE: Duration = Duration::from_secs(100);
/// More than a line of the protocol may have.
const LONGEST_PASSWORD: u64 = 32 * 1024;

pub(super) fn status(cli: &Cli, json: bool) -> ExitCode {
    with_answer(cli, &Order::Status, |told| match told {
        Told::Status { status } => {
            let text = if json { format!("{status:#}") } else { lines(&status) };
            print(text.as_bytes())
        }
        other => refused(&other),
    })
}

pub(super) fn reload(cli: &Cli) -> ExitCode {
    with_answer(cli, &Order::Reload, |told| done(&told))
}

pub(super) fn cache(cli: &Cli, cache: &Cache) -> ExitCode {
    let Cache::Purge { name, key } = cache;
    with_answer(cli, &Order::Purge { name: name.clone(), key: key.clone() }, |told| done(&told))
}

pub(super) fn query(cli: &Cli, asked: &Asked, trace: bool) -> ExitCode {
    let query = match parse(asked) {
        Ok(query) => query,
        Err(error) => return complain(USAGE, &error),
    };
    let Some(config) = read(cli) else { return ExitCode::from(CONFIG) };
    let said = match order(&config.server.admin.path, &Order::Query(query.clone())) {
        Ok(Told::Said(said)) => said,
        Ok(other) => return refused(&other),
        Err(error) if is_nobody(&error) => match here(&config, &query) {
            Ok(said) => said,
            Err(error) => return complain(OS, &error),
        },
        Err(error) => return complain(TEMPORARY, &error.to_string()),
    };
    show(&said, trace)
}

/// Asks in this process, without sockets.
fn here(config: &Config, query: &Query) -> Result<Said, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let broker = Arc::new(Broker::new(config).map_err(|error| error.to_string())?);
    let said = runtime.block_on(query::ask(&broker, query));
    runtime.shutdown_background();
    Ok(said)
}

fn parse(asked: &Asked) -> Result<Query, String> {
    Ok(match asked {
        Asked::Map { name, key } => Query::map(name, key.as_bytes()),
        Asked::Policy { name, attributes } => {
            let lines: Vec<&[u8]> = attributes.iter().map(|pair| pair.as_bytes()).collect();
            match attributes.iter().find(|pair| !pair.as_bytes().contains(&b'=')) {
                Some(pair) => return Err(format!("{pair:?} is no attribute=value")),
                None => Query::policy(name, &lines),
            }
        }
        Asked::Sasl { name, user } => {
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

fn show(said: &Said, trace: bool) -> ExitCode {
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
        // A netstring has no line end of its own; a terminal likes one.
        if io::stdout().is_terminal() && !said.bytes.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
    print(&out)
}

fn with_answer(cli: &Cli, what: &Order, then: impl FnOnce(Told) -> ExitCode) -> ExitCode {
    let Some(config) = read(cli) else { return ExitCode::from(CONFIG) };
    match order(&config.server.admin.path, what) {
        Ok(told) => then(told),
        Err(error) => {
            let path = config.server.admin.path.display();
            complain(TEMPORARY, &format!("no broker answers at {path}: {error}"))
        }
    }
}

/// The configuration says where the socket is. That of a broker that runs may be an older one.
fn read(cli: &Cli) -> Option<Config> {
    let (_, read) = configuration(cli);
    read.map(|(config, _)| config).map_err(|problems| super::say(&problems)).ok()
}

fn order(path: &Path, order: &Order) -> io::Result<Told> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn done(told: &Told) -> ExitCode {
    match told {
        Told::Done { what } => print(format!("{what}\n").as_bytes()),
        other => refused(other),
    }
}

fn refused(told: &Told) -> ExitCode {
    match told {
        Told::Refused { why } => complain(TEMPORARY, why),
        _ => complain(TEMPORARY, "the broker answered something else"),
    }
}

fn complain(code: u8, message: &str) -> ExitCode {
    super::say(&[format!("pfxhttp-broker: {message}")]);
    ExitCode::from(code)
}

fn print(bytes: &[u8]) -> ExitCode {
    // Whoever reads there may be gone.
    let _ = io::stdout().write_all(bytes);
    ExitCode::SUCCESS
}

/// A status for people: a line for each thing, lists one to a line.
fn lines(status: &Value) -> String {
    let mut text = String::new();
    for (name, value) in status.as_object().into_iter().flatten() {
        match value.as_array() {
            Some(items) => {
                for item in items {
                    let members = item.as_object().into_iter().flatten();
                    let members = members.filter(|(_, value)| !value.is_null());
                    let shown: Vec<_> =
                        members.map(|(name, value)| format!("{name}={}", word(value))).collect();
                    text.push_str(&format!("{name}: {}\n", shown.join(" ")));
                }
            }
            None => text.push_str(&format!("{name}: {}\n", word(value))),
        }
    }
    text
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
