//! Programs on a terminal: script(1) makes a pseudoterminal, and passes on what a test types and what is
//! shown there.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{PATIENCE, wait_for_exit, wait_until};

/// A shell command on a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs `line` on a terminal of this width and height.
    pub(crate) fn run((width, height): (u16, u16), line: &str) -> Self {
        // With noflsh, a signal from the keyboard does not discard what the program writes at that moment.
        let line = format!("stty cols {width} rows {height} noflsh; {line}");
        let mut command = Command::new("/usr/bin/script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        // script(1) runs the shell that SHELL names. Unlike dash, bash goes on after a program that a signal from the
        // keyboard has ended in good order.
        command
            .env("SHELL", "/bin/bash")
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env_remove("COLUMNS")
            .env_remove("LINES");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script can be started: package bsdutils");
        let keyboard = child.stdin.take().expect("a pipe");
        let (mut output, screen) = (child.stdout.take().expect("a pipe"), Arc::<Mutex<Vec<u8>>>::default());
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("the screen").extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, keyboard, screen }
    }

    /// Types `keys`.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal reads");
    }

    /// Everything that was shown, with plain line ends.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("the screen")).replace("\r\n", "\n")
    }

    /// Waits until `is_due` is true of what was shown.
    pub(crate) fn wait_for(&self, is_due: impl Fn(&str) -> bool) {
        assert!(wait_until(PATIENCE, || is_due(&self.shown())), "{:?}", self.shown());
    }

    /// The exit status, and everything that was shown.
    pub(crate) fn end(mut self, within: Duration) -> (ExitStatus, String) {
        let status = wait_for_exit(&mut self.child, within);
        let status = status.unwrap_or_else(|| panic!("it does not end: {:?}", self.shown()));
        // The reader may be a little behind.
        wait_until(PATIENCE, || Arc::strong_count(&self.screen) == 1);
        (status, self.shown())
    }
}

/// The last whole frame that `status --watch` has drawn. A frame may arrive in parts, and Ctrl-C discards what has
/// not arrived.
pub(crate) fn last_frame(shown: &str) -> &str {
    let whole = shown.rsplit_once("\x1b[J").map_or("", |(whole, _)| whole);
    whole.rsplit("\x1b[H").next().unwrap_or_default()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _ = self.child.wait();
    }
}
