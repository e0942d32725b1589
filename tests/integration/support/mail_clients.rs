//! Real programs that log in over SMTP: swaks by PLAIN and LOGIN, curl by XOAUTH2 and OAUTHBEARER.
//! Secrets reach them by the environment and by stdin, not as arguments.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The result of a login as a program saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The code of the last reply: 235, 535 or 454; 334 if the program hung up at a challenge; 0 if
    /// there was no reply.
    pub(crate) code: u16,
    /// That reply.
    pub(crate) reply: String,
    /// The whole dialogue.
    pub(crate) dialogue: String,
}

fn need(program: &str, package: &str) {
    assert!(Path::new(program).is_file(), "there is no {program}: apt-get install {package}");
}

/// swaks, by `PLAIN` or `LOGIN`.
pub(crate) fn swaks(port: u16, mechanism: &str, user: &str, password: &str) -> Login {
    const PROGRAM: &str = "/usr/bin/swaks";
    need(PROGRAM, "swaks");
    let mut command = Command::new(PROGRAM);
    command.args(["--server", &format!("127.0.0.1:{port}"), "--helo", "client.test.example"]);
    command.args(["--auth", mechanism, "--auth-user", user, "--quit-after", "AUTH", "--no-hints"]);
    command.args(["--from", "sender@test.example", "--to", "u@example.com", "--timeout", "30"]);
    command.env("SWAKS_OPT_auth_password", password).stdin(Stdio::null());
    let output = command.output().expect("swaks can be started");
    // With "--no-hints" the lines of client and server have no prefix.
    read(&text(&output), &format!("AUTH {mechanism}"), "")
}

/// Runs curl with `XOAUTH2` or `OAUTHBEARER`; with `at_once` the token is sent with AUTH itself. If
/// both are offered, curl 7.88 takes OAUTHBEARER whatever its options say, so
/// `smtpd_sasl_mechanism_filter` has to offer one. When XOAUTH2 refuses the token, curl hangs up: the
/// code is 334.
pub(crate) fn curl(port: u16, mechanism: &str, user: &str, token: &str, at_once: bool) -> Login {
    const PROGRAM: &str = "/usr/bin/curl";
    need(PROGRAM, "curl");
    let mut command = Command::new(PROGRAM);
    command.args(["--silent", "--show-error", "--verbose", "--max-time", "30", "--noproxy", "*"]);
    command.args(["--request", "NOOP"]);
    if at_once {
        command.arg("--sasl-ir");
    }
    command.args(["--config", "-", &format!("smtp://127.0.0.1:{port}/client.test.example")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("curl can be started");
    let options = format!("user = \"{user}:\"\noauth2-bearer = \"{token}\"\n");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(options.as_bytes()).expect("curl reads its options");
    drop(stdin);
    let output = child.wait_with_output().expect("curl ends");
    read(&text(&output), &format!("> AUTH {mechanism}"), "< ")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).replace('\r', "")
}

/// Finds the reply that ended the login: the first one after AUTH that is no 334, or the last one.
fn read(dialogue: &str, auth: &str, reply: &str) -> Login {
    assert!(dialogue.lines().any(|line| line.starts_with(auth)), "it never said {auth:?}: {dialogue}");
    let behind = dialogue.lines().skip_while(|line| !line.starts_with(auth)).skip(1);
    let replies = behind.filter_map(|line| {
        let line = line.strip_prefix(reply)?;
        let code: u16 = line.get(..3)?.parse().ok()?;
        matches!(line.as_bytes().get(3), Some(b' ')).then_some((code, line))
    });
    let mut end = (0, "");
    for (code, line) in replies {
        end = (code, line);
        if code != 334 {
            break;
        }
    }
    Login { code: end.0, reply: end.1.to_owned(), dialogue: dialogue.to_owned() }
}
