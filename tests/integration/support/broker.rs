//! `pfxhttp-broker` as a process of the test: it can be started, signalled, killed and started again.
//! Its log is printed if the test fails.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for_exit, wait_until};

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    config: PathBuf,
    environment: Vec<(String, String)>,
    /// Sockets that are passed at each start, by name.
    handed: Vec<(String, OwnedFd)>,
    log: Arc<Log>,
}

/// What a process wrote, line by line.
#[derive(Default)]
struct Log {
    state: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    open_streams: usize,
}

impl Log {
    fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        self.state.lock().expect("the log").open_streams += 1;
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                log.state.lock().expect("the log").lines.push(line);
                log.changed.notify_all();
            }
            log.state.lock().expect("the log").open_streams -= 1;
            log.changed.notify_all();
        });
    }

    /// Waits for a line with `word` from the `from`th on, or for the end of both streams.
    fn wait_for(&self, word: &str, from: usize) -> bool {
        let said = |written: &Written| written.lines[from..].iter().any(|line| has_word(line, word));
        let state = self.state.lock().expect("the log");
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |written| !said(written) && written.open_streams > 0);
        said(&waited.expect("the log").0)
    }

    fn length(&self) -> usize {
        self.state.lock().expect("the log").lines.len()
    }

    fn text(&self) -> String {
        self.state.lock().expect("the log").lines.join("\n")
    }
}

/// Whether a line has this message; `ready` is not in "Address already in use".
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    // The journal's priority stands directly before the first word.
    let is_said = text.split_whitespace().any(|said| said.rsplit('>').next() == Some(word));
    is_said || text.contains(&format!("\"message\":\"{word}\""))
}

/// The program under test: `PFXHTTP_BROKER`, else that of the same build.
pub(crate) fn command(config: &Path) -> Command {
    let named = std::env::var_os("PFXHTTP_BROKER").map(PathBuf::from);
    program(&named.unwrap_or_else(|| env!("CARGO_BIN_EXE_pfxhttp-broker").into()), config)
}

/// A copy of it.
pub(crate) fn program(path: &Path, config: &Path) -> Command {
    let mut command = Command::new(path);
    command.arg("--config").arg(config).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // Variables for proxies and for the tests themselves do not reach the broker.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PFXHTTP_"))
    {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

/// A shell knows its process id before it executes the broker.
fn handing_over(config: &Path, handed: &[(String, OwnedFd)]) -> Command {
    let mut command = through_shell(r#"LISTEN_PID=$$ exec "$@""#, &command(config));
    let names: Vec<&str> = handed.iter().map(|(name, _)| name.as_str()).collect();
    command.env("LISTEN_FDS", handed.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let mappings = handed.iter().enumerate().map(|(place, (_, socket))| FdMapping {
        parent_fd: socket.try_clone().expect("a descriptor"),
        child_fd: 3 + i32::try_from(place).expect("few sockets"),
    });
    command.fd_mappings(mappings.collect()).expect("descriptors do not collide");
    command
}

/// The same command, executed by this script as `"$@"`.
fn through_shell(script: &str, inner: &Command) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A start that has to fail: its exit code, and all its output.
pub(crate) fn refused_start(config: &Path) -> (Option<i32>, String) {
    refused(command(config))
}

/// The same with these variables in its environment.
pub(crate) fn refused_start_with(config: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = command(config);
    command.envs(environment.iter().copied());
    refused(command)
}

/// The same with these sockets.
pub(crate) fn refused_start_with_sockets(
    config: &Path,
    handed: Vec<(String, OwnedFd)>,
) -> (Option<i32>, String) {
    let refused = refused(handing_over(config, &handed));
    drop(handed);
    refused
}

fn refused(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("the broker's program can be started");
    let status = wait_for_exit(&mut child, PATIENCE);
    if status.is_none() {
        child.kill().expect("a child can be killed");
    }
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = [output.stdout, output.stderr].concat();
    assert!(status.is_some(), "the broker did not exit; it wrote: {}", super::shown(&text));
    (status.and_then(|status| status.code()), String::from_utf8_lossy(&text).into_owned())
}

impl Broker {
    /// Starts the broker and waits until it says that it is ready.
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let log = Arc::new(Log::default());
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        let child = Self::launch(command(config), &environment, &log);
        let (config, handed) = (config.to_owned(), Vec::new());
        Self { child, config, environment, handed, log }
    }

    /// Starts the broker by a shell that runs `script` before, as `ulimit -n 64`. It cannot be started again.
    #[allow(dead_code, reason = "for tests of faults")]
    pub(crate) fn start_after(script: &str, config: &Path) -> Self {
        let log = Arc::new(Log::default());
        let script = format!("{script}\nexec \"$@\"");
        let child = Self::launch(through_shell(&script, &command(config)), &[], &log);
        let (config, environment, handed) = (config.to_owned(), Vec::new(), Vec::new());
        Self { child, config, environment, handed, log }
    }

    /// The same as another user, who may run this copy of the program.
    pub(crate) fn start_as(config: &Path, copy: &Path, user: u32) -> Self {
        let log = Arc::new(Log::default());
        let mut command = program(copy, config);
        command.uid(user).gid(user);
        let child = Self::launch(command, &[], &log);
        let (config, environment, handed) = (config.to_owned(), Vec::new(), Vec::new());
        Self { child, config, environment, handed, log }
    }

    /// Starts the broker with these sockets, as a service manager does (sd_listen_fds(3)).
    pub(crate) fn start_with_sockets(config: &Path, handed: Vec<(String, OwnedFd)>) -> Self {
        let log = Arc::new(Log::default());
        let child = Self::launch(handing_over(config, &handed), &[], &log);
        Self { child, config: config.to_owned(), environment: Vec::new(), handed, log }
    }

    fn launch(mut command: Command, environment: &[(String, String)], log: &Arc<Log>) -> Child {
        let variables = environment.iter().map(|(name, value)| (name, value));
        let mut child = command.envs(variables).spawn().expect("the broker's program can be started");
        let from = log.length();
        log.follow(child.stdout.take().expect("stdout is a pipe"));
        log.follow(child.stderr.take().expect("stderr is a pipe"));
        if !log.wait_for("ready", from) {
            let _gone_already = child.kill();
            let status = child.wait();
            panic!("the broker did not become ready: {status:?}, its log:\n{}", log.text());
        }
        child
    }

    /// Waits for a line of its log that holds each of these; `false` if none came in time.
    pub(crate) fn logged(&self, texts: &[&str]) -> bool {
        let holds = |line: &str| texts.iter().all(|text| line.contains(text));
        wait_until(PATIENCE, || self.log.text().lines().any(holds))
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _gone_already = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Starts it again, with the same configuration.
    pub(crate) fn start_again(&mut self) {
        assert!(!self.is_alive(), "only a broker that has ended is started again");
        let command = match self.handed.is_empty() {
            true => command(&self.config),
            false => handing_over(&self.config, &self.handed),
        };
        self.child = Self::launch(command, &self.environment, &self.log);
    }

    /// Sends SIGHUP and waits for the result: true if the configuration was accepted.
    pub(crate) fn reload(&self) -> bool {
        let count = |text: &str| self.log.text().matches(text).count();
        let outcomes = || (count(" configuration reloaded"), count("not reloaded; "));
        let before = outcomes();
        kill_process(self.pid(), Signal::HUP).expect("a child can be signalled");
        let ended = wait_until(PATIENCE, || outcomes() != before);
        assert!(ended, "the reload had no result; the log:\n{}", self.log());
        outcomes().0 > before.0
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("a child can be signalled");
    }

    /// Its exit status, if it ends in time.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        wait_for_exit(&mut self.child, within)
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Its resident memory.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory it had since [`Self::forget_peak`].
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Starts the measurement of its peak again (proc(5), clear_refs).
    pub(crate) fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(path, "5").expect("the peak of a child can be reset");
    }

    fn memory(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("a living process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.map(|line| line.trim().trim_end_matches(" kB").trim());
        number.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {field} in {status}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("the broker's log:\n{}", self.log.text());
        }
    }
}
