//! `query`: asks the running broker as Postfix would. If no broker runs, a broker inside of this program
//! answers. A terminal also gets what Postfix makes of the reply; a file or a pipe gets the bytes alone.

use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

use super::admin::{complain, print, refused};
use super::cli::{Cli, QueryCommand};
use super::socket::{AdminSocket, is_absent};
use super::terminal::visible;
use super::{meaning, password};
use crate::broker::Broker;
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::exit::{OS, USAGE, say};
use crate::daemon::query::{self, Query, QueryReply};
use crate::model::Protocol;
use crate::settings::Configuration;

pub(super) fn query(cli: &Cli, command: &QueryCommand, trace: bool) -> ExitCode {
    let query = match parse(command) {
        Ok(query) => query,
        Err(error) => return complain(USAGE, &error),
    };
    let socket = AdminSocket::of(cli);
    let said = match (socket.order(&AdminRequest::Query(query.clone())), &socket.config) {
        (Ok(AdminReply::Query(said)), config) => {
            if let Ok(config) = config
                && said.digest.is_some_and(|digest| digest != config.digest)
            {
                socket.warn_of_other_configuration();
            }
            said
        }
        (Ok(other), _) => return refused(&other),
        (Err(error), Ok(config)) if is_absent(&error) => {
            let path = socket.path().display();
            say(&[format!("pfxhttp-broker: no broker runs at {path}; this program asks the API itself")]);
            match here(config, &query) {
                Ok(said) => said,
                Err(error) => return complain(OS, &error),
            }
        }
        (Err(error), _) => return socket.complain(&error),
    };
    show(query.protocol(), &said, trace)
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
            for (pair, line) in attributes.iter().zip(&lines) {
                if !line.contains(&b'=') {
                    return Err(format!("{pair:?} is not attribute=value"));
                }
                // The end of a line is the end of an attribute.
                if line.iter().any(u8::is_ascii_control) {
                    return Err(format!(
                        "{pair:?} has a control character: an attribute is one line of text"
                    ));
                }
            }
            Query::policy(name, &lines)
        }
        QueryCommand::Sasl { mechanism, name, user } => {
            let what = if mechanism.is_oauth() { "token" } else { "password" };
            let secret = password::read(what).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => format!("no {what}: standard input ended before it"),
                _ => format!("the {what} cannot be read: {error}"),
            })?;
            Query::sasl(name, *mechanism, user.as_bytes(), &secret)
        }
    })
}

fn show(protocol: Protocol, said: &QueryReply, trace: bool) -> ExitCode {
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
    // A netstring has no line end of its own.
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("# Postfix: {}\n", meaning::of(protocol, &said.bytes)).as_bytes());
    print(visible(&out).as_bytes())
}
