//! A log that cannot be written delays no request, changes no answer and does not end the broker. It is
//! written again as soon as that is possible.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::backend::Backend;
use crate::support::broker;
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_for_exit, wait_until};

/// A broker with one map whose standard output and error the test chooses.
struct Logging {
    child: Child,
    socket: PathBuf,
}

impl Logging {
    /// Starts the broker at level debug; `command` may change how.
    fn start(directory: &Path, api: &Backend, command: impl FnOnce(Command) -> Command) -> Self {
        let socket = directory.join("maps.sock");
        let config = Config::new(directory).map("m", &api.url("/"), &["timeout: 5s"]);
        let mut command = command(broker::command(&config.listen_unix(Kind::Map, "maps", &socket).write()));
        command.env("PFXHTTP_SERVER_LOGGING_LEVEL", "debug");
        let child = command.spawn().expect("the broker starts");
        let mut logging = Self { child, socket };
        // The connection waits in the socket's queue until the broker accepts it.
        assert!(wait_until(PATIENCE, || logging.socket.exists()), "{:?}", logging.child.try_wait());
        logging
    }

    /// Asks on a kept connection and on new ones; each answer comes soon.
    fn serves(&mut self, what: &str) {
        let mut peer = Peer::unix(&self.socket);
        for number in 0..300 {
            let started = Instant::now();
            assert_eq!(peer.look_up("m", &number.to_string()), "OK v", "{what}");
            if number % 50 == 0 {
                assert_eq!(Peer::unix(&self.socket).look_up("m", "k"), "OK v", "{what}");
            }
            assert!(started.elapsed() < Duration::from_secs(2), "{what}: {:?}", started.elapsed());
        }
        assert!(self.child.try_wait().expect("a child can be waited for").is_none(), "{what}: it ended");
    }

    /// Sends SIGTERM, and expects exit code 0.
    fn stops(mut self, what: &str) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child can be signalled");
        let ended = wait_for_exit(&mut self.child, PATIENCE);
        assert!(ended.is_some_and(|status| status.success()), "{what}: {ended:?}");
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Values of `use_systemd`: the log goes to standard output, or to standard error for the journal.
const STREAMS: [&str; 2] = ["false", "true"];

#[test]
fn a_full_device_delays_no_request() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    for use_systemd in STREAMS {
        let directory = open_directory();
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let mut logging = Logging::start(directory.path(), &api, |mut command| {
            command.env("PFXHTTP_SERVER_LOGGING_USE_SYSTEMD", use_systemd);
            command.stdout(full()).stderr(full());
            command
        });
        logging.serves("/dev/full");
        logging.stops("/dev/full");
    }
}

#[test]
fn a_broken_pipe_delays_no_request() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    for use_systemd in STREAMS {
        let directory = open_directory();
        let mut logging = Logging::start(directory.path(), &api, |mut command| {
            command.env("PFXHTTP_SERVER_LOGGING_USE_SYSTEMD", use_systemd);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        });
        logging.serves("a pipe");
        drop((logging.child.stdout.take(), logging.child.stderr.take()));
        logging.serves("a broken pipe");
        logging.stops("a broken pipe");
    }
}

/// Runs the broker with its log in a file system of 64 KiB, in a mount namespace that ends with it.
fn in_a_small_file_system(inner: &Command, mount: &Path) -> Command {
    assert!(rustix::process::geteuid().is_root(), "only root can mount a file system");
    let script = r#"mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@" > "$0/log" 2>&1"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(mount).arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn a_full_file_system_delays_no_request_and_the_log_goes_on_later() {
    let (directory, api) = (open_directory(), Backend::constant(r#"{"value": "v"}"#));
    let mount = directory.path().join("log");
    fs::create_dir(&mount).expect("a directory");
    let mut logging = Logging::start(directory.path(), &api, |inner| in_a_small_file_system(&inner, &mount));
    let seen = PathBuf::from(format!("/proc/{}/root{}", logging.child.id(), mount.display()));
    let (file, filler) = (seen.join("log"), seen.join("filler"));
    let log = || fs::read_to_string(&file).expect("the log");
    assert!(wait_until(PATIENCE, || log().contains(" ready ")), "{}", log());
    let all = fs::write(&filler, vec![b'x'; 128 * 1024]);
    assert!(all.is_err(), "the file system is full");
    logging.serves("a full file system");
    logging.serves("a full file system");
    let before = log().len();
    fs::remove_file(&filler).expect("a file");
    Peer::unix(&logging.socket).look_up("m", "again");
    assert!(wait_until(PATIENCE, || log().len() > before), "{}", log());
    assert!(wait_until(PATIENCE, || log().contains("lines of the log were lost")), "{}", log());
    let text = log();
    let told = text.lines().find(|line| line.contains("lines of the log were lost")).expect("a line");
    let lost = told.rsplit("lines=").next().and_then(|count| count.trim().parse::<u32>().ok());
    assert!(lost.is_some_and(|lost| lost > 100), "{told}");
    // The line that was cut when the file system was full ends before the next one begins.
    let begins = |line: &&str| line.starts_with("20") && line.contains("Z ");
    assert!(text.lines().filter(|line| !begins(line)).count() <= 1, "{text}");
    let again = text.lines().rfind(|line| line.contains("target answered"));
    assert!(again.is_some_and(|line| begins(&line)), "{text}");
    logging.stops("a full file system");
}
