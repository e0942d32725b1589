//! The commands that talk to the running broker over its admin socket: `reload` and `cache purge`; and what
//! such commands share.

use std::io::{self, Write};
use std::process::ExitCode;

use super::socket::AdminSocket;
use super::stored;
use crate::command::cli::{CacheCommand, Cli};
use crate::daemon::admin::{AdminReply, AdminRequest};
use crate::daemon::exit::{TEMPORARY, say};

pub(super) fn reload(cli: &Cli) -> ExitCode {
    with_answer(cli, &AdminRequest::Reload, |reply| done(&reply))
}

pub(super) fn cache(cli: &Cli, cache: &CacheCommand) -> ExitCode {
    match cache {
        CacheCommand::Purge { name, key } => {
            let purge = AdminRequest::Purge { name: name.clone(), key: key.clone() };
            with_answer(cli, &purge, |reply| done(&reply))
        }
        CacheCommand::Show { name, key } => stored::show_cached(cli, name, key),
    }
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
