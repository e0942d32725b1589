//! The broker's program with one of its commands, run to its end.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use super::broker::command;

/// Runs the program with these words after `--config` and this standard input.
pub(crate) fn run(config: &Path, words: &[impl AsRef<OsStr>], input: &str) -> Output {
    let mut child = command(config).args(words).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let _it_may_not_read = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// What it wrote to standard output and then to standard error.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Runs `check` with these arguments; returns its exit code and all its output.
pub(crate) fn check(config: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(config, &[&["check"], arguments].concat(), "");
    (output.status.code(), text(&output))
}
