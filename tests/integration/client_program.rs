//! The client in the hands of somebody who types: what it prints, and where it must not.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::support::client::{self, Client};
use crate::support::peer::Peer;
use crate::support::shown;

/// Runs it with pipes for output; its exit code, and what it wrote.
fn typed(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(client::program());
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the client can be started");
    assert_eq!(shown(&output.stderr), "\"\"", "standard error is never written to");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn it_says_what_it_can_do() {
    for option in ["-h", "--help"] {
        let (code, text) = typed(&[option]);
        assert_eq!(code, Some(0), "{option}: {text}");
        for due in
            ["Usage:", "socketmap", "policy NAME", "--socket PATH", "--timeout SECONDS", "--on-failure"]
        {
            assert!(text.contains(due), "{option}: no {due} in {text}");
        }
    }
    for option in ["-V", "--version"] {
        let version = concat!("pfxhttp-client ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(typed(&[option]), (Some(0), version.to_owned()), "{option}");
    }
}

const WRONG: [(&[&str], &str); 4] = [
    (&[], "no command"),
    (&["lookup"], "unknown command"),
    (&["--colour", "socketmap"], "unknown option --colour"),
    (&["--timeout", "0", "socketmap"], "1 to 90"),
];

#[test]
fn a_wrong_command_line_is_explained_to_whoever_typed_it() {
    for (arguments, due) in WRONG {
        let (code, text) = typed(arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {text}");
        assert!(text.starts_with("pfxhttp-client: ") && text.contains(due), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    }
}

#[test]
fn a_wrong_command_line_says_nothing_to_postfix() {
    for (arguments, _) in WRONG {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let mut peer = Peer::client(Client::spawn(&arguments));
        assert_eq!(shown(&peer.rest()), "\"\"", "{arguments:?}");
        assert_eq!(peer.exit_code(), Some(64), "{arguments:?}");
    }
}
