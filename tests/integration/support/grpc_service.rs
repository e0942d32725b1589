//! A real gRPC service: Nauthilus' `AuthService` by Python's grpcio, started for a test.
//!
//! tests/peers/grpc/server.py describes what it takes on its pipes; it ends when they close. `make grpc-peer`
//! installs what it needs. What it was asked is in a file, also what a service was asked that was killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Identity;
use super::port::Port;
use super::site::open_directory;
use super::{PATIENCE, wait_until};

/// A service, running or killed.
pub(crate) struct GrpcService {
    port: Port,
    settings: Value,
    /// The answers by password.
    answers: Value,
    directory: TempDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Accepts the password `secret`, and denies all others.
pub(crate) fn users() -> Value {
    json!({"secret": {"response": {"ok": true, "decision": 1}}, "*": denied("no such user")})
}

/// The answer FAIL.
pub(crate) fn denied(reason: &str) -> Value {
    json!({"response": {"decision": 2, "status_message": reason}})
}

/// A status, and no message.
pub(crate) fn status(status: u16) -> Value {
    json!({"status": status, "message": "text of the service"})
}

impl GrpcService {
    /// Starts one without TLS, which answers as [`users`].
    pub(crate) fn start() -> Self {
        Self::start_as(json!({}))
    }

    /// Starts a service with this certificate; with `clients` it wants one of theirs, which this authority signed.
    pub(crate) fn start_tls(identity: &Identity, clients: Option<&Path>) -> Self {
        let (cert, key) = identity.pem();
        let mut settings = json!({"cert": cert, "key": key});
        if let Some(file) = clients {
            settings["authority"] = fs::read_to_string(file).expect("an authority").into();
        }
        Self::start_as(settings)
    }

    fn start_as(mut settings: Value) -> Self {
        let (port, directory) = (Port::reserve(), open_directory());
        settings["port"] = port.number().into();
        settings["ledger"] = directory.path().join("ledger").display().to_string().into();
        let mut service = Self { port, settings, answers: users(), directory, running: None };
        service.up();
        service
    }

    /// Starts it (again).
    pub(crate) fn up(&mut self) {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/grpc");
        let python = home.join("venv/bin/python");
        assert!(
            home.join("venv/installed").is_file(),
            "there is no {}: run make grpc-peer",
            python.display()
        );
        let log = fs::File::create(self.directory.path().join("log")).expect("a log can be written");
        let mut command = Command::new(python);
        command
            .arg("-B")
            .arg(home.join("server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("the service can be started");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        self.running = Some(Running { child, commands, answers });
        for line in [self.settings.clone(), self.answers.clone()] {
            self.tell(&line);
        }
    }

    /// Kills it (SIGKILL): connecting is refused from now on.
    pub(crate) fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let _gone_already = running.child.kill();
        running.child.wait().expect("a child can be waited for");
    }

    /// Stops it as it is (SIGSTOP): the system still accepts connections for it.
    pub(crate) fn freeze(&self) {
        let running = self.running.as_ref().expect("the service runs");
        let pid = Pid::from_child(&running.child);
        kill_process(pid, Signal::STOP).expect("a child can be signalled");
        // It may answer until all of its threads have stopped.
        waitpid(Some(pid), WaitOptions::UNTRACED).expect("a child can be waited for");
    }

    fn tell(&mut self, line: &Value) {
        let running = self.running.as_mut().expect("the service runs");
        let sent = writeln!(running.commands, "{line}");
        let mut said = String::new();
        let read = running.answers.read_line(&mut said);
        assert!(said == "ok\n", "the service ended ({sent:?}, {read:?}); its log: {}", self.log());
    }

    /// Answers so from now on, by password.
    pub(crate) fn answer(&mut self, answers: Value) {
        self.tell(&answers);
        self.answers = answers;
    }

    /// Answers every call so from now on.
    pub(crate) fn answer_all(&mut self, answer: &Value) {
        self.answer(json!({"*": answer}));
    }

    /// The value of `grpc.address`.
    pub(crate) fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// The lines of an entry that logs in here, with these further keys of `grpc`. Denials are not delayed.
    pub(crate) fn entry(&self, more: &str) -> Vec<String> {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        let grpc = format!("grpc: {{address: \"{}\"{more}}}", self.address());
        let fixed = ["transport: grpc", "failure_delay: 0s", "sasl_penalty: false", "sasl_attempts: 0"];
        fixed.into_iter().map(str::to_owned).chain([grpc]).collect()
    }

    /// Every call that it got, in their order: `request`, `metadata`, `seconds`, `peer`, `client`.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let ledger = fs::read_to_string(self.ledger()).unwrap_or_default();
        ledger.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Waits until it has got so many calls.
    pub(crate) fn wait_for(&self, calls: usize) {
        assert!(wait_until(PATIENCE, || self.calls().len() >= calls), "{} calls", self.calls().len());
    }

    fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for GrpcService {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("the log of the gRPC service:\n{}", self.log());
        }
    }
}
