//! The client on a command line: what it prints there, and that it prints nothing to Postfix.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};

use crate::privileges::{core_limits, nobody_reads};
use crate::support::backend::Backend;
use crate::support::client::{self, Client};
use crate::support::copy_program;
use crate::support::peer::Peer;
use crate::support::setup::Setup;
use crate::support::{PATIENCE, shown};

const NOBODY: u32 = 65534;

/// Runs the client with pipes for output; returns its exit code and what it printed.
fn typed(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(client::program());
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the client can be started");
    assert_eq!(shown(&output.stderr), "\"\"", "standard error is never written to");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn help_and_version_are_printed() {
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
fn a_wrong_command_line_is_explained() {
    for (arguments, due) in WRONG {
        let (code, text) = typed(arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {text}");
        assert!(text.starts_with("pfxhttp-client: ") && text.contains(due), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    }
}

#[test]
fn a_wrong_command_line_sends_postfix_nothing() {
    for (arguments, _) in WRONG {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let mut peer = Peer::client(Client::spawn(&arguments));
        assert_eq!(shown(&peer.rest()), "\"\"", "{arguments:?}");
        assert_eq!(peer.exit_code(), Some(64), "{arguments:?}");
    }
}

/// spawn(8) and shells pass on environment, descriptors and a directory that the client does not need.
#[test]
fn it_drops_inherited_environment_descriptors_and_directory() {
    // Before it connects, and while it offers its connection.
    drops_what_it_inherits("hand_over: true", &["--socket", "broker.sock", "--no-hand-over", "socketmap"]);
    drops_what_it_inherits("hand_over: false", &["--socket", "broker.sock", "socketmap"]);
}

fn drops_what_it_inherits(ipc: &str, arguments: &[&str]) {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]).ipc_field(ipc));
    let directory = setup.ipc().parent().expect("a directory").to_owned();
    let copy = directory.join("pfxhttp-client");
    copy_program(client::program().as_ref(), &copy);
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    let mut command = Command::new(copy);
    // The socket's path is relative to a directory that the client leaves.
    command.args(arguments).current_dir(&directory).env("SECRET", "s3cret");
    let many = (0..300).map(|nth| FdMapping {
        parent_fd: theirs.try_clone().expect("a descriptor").into(),
        child_fd: 10 + 3 * nth,
    });
    command.fd_mappings(many.collect()).expect("descriptors do not collide");
    command.uid(NOBODY).gid(NOBODY);
    let (client, stream) = Client::launch(command);
    drop(theirs);
    let pid = client.pid();
    let mut peer = Peer::client((client, stream));
    assert_eq!(peer.look_up("m", "k"), "OK v");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").map_while(Result::ok);
    let mut open: Vec<_> = open.map(|entry| entry.file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2", "3"], "standard descriptors and the broker's socket");
    assert_eq!((&ours).read_to_end(&mut Vec::new()).expect("an end"), 0, "inherited descriptors are closed");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives"), Path::new("/"));
    assert_eq!(core_limits(pid), ["0", "0"]);
    for file in ["environ", "maps", "mem"] {
        assert!(!nobody_reads(pid, file), "{file}");
    }
    assert_eq!(peer.look_up("m", "k"), "OK v");
}
