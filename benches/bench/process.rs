//! Programs that are started here, what /proc says of them, and the directory they live in.
//!
//! Each ends with its value; setpriv(1) has the kernel end it where this program is killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::{Outcome, interrupt};

/// How long a program may take to start, and an answer to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a program may take to end.
const END: Duration = Duration::from_secs(2);

/// Descriptors beside the connections that are counted: those to the backend, listeners, logs, and what the
/// broker keeps free.
pub(crate) const OTHERS: u64 = 512;

/// A running program.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it writes goes to the file `log`.
    pub(crate) fn start(program: &Path, arguments: &[&OsStr], log: &Path) -> Outcome<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        // What the machine says about proxies or the broker is no part of the measurement.
        for (name, _) in std::env::vars_os() {
            let name_is = name.to_string_lossy().to_ascii_lowercase();
            if name_is.starts_with("pfxhttp_") || name_is.ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        let both = File::create(log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = both.map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| format!("setpriv (package util-linux): {error}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until it is ready.
    pub(crate) fn wait_until(&mut self, what: &str, ready: impl Fn() -> bool) -> Outcome<()> {
        let end = Instant::now() + PATIENCE;
        while !ready() {
            interrupt::check()?;
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > end {
                return Err(format!("{what} did not start; it wrote:\n{}", self.log()));
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it holds so many descriptors.
    pub(crate) fn wait_for_connections(&self, connections: usize) -> Outcome<()> {
        let path = format!("/proc/{}/fd", self.id());
        let end = Instant::now() + PATIENCE;
        loop {
            let open = fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?.count();
            if open >= connections {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("a process has {open} descriptors for {connections} connections"));
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Its RSS in kB, when that stays what it is.
    pub(crate) fn settled_memory(&self) -> Outcome<f64> {
        let mut last = memory(self.id(), "VmRSS")?;
        for _ in 0..20 {
            pause(Duration::from_millis(100));
            let now = memory(self.id(), "VmRSS")?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(last as f64)
    }
}

impl Drop for Process {
    /// Asks it to end, so that a program with a profile (`contrib/pgo`) writes it; what has not ended then is
    /// killed.
    fn drop(&mut self) {
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), i32::try_from(self.id())) {
            let _gone_meanwhile = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let end = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            pause(Duration::from_millis(5));
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A child that was started some other way, and ends with this value.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The CPU time of a process, user and system, of all threads it has or had, to the nanosecond.
pub(crate) fn cpu(process: u32) -> Outcome<Duration> {
    let pid = i32::try_from(process).map(Pid::from_raw).map_err(|error| error.to_string())?;
    let clock = ClockId::pid_cpu_clock_id(pid).map_err(|error| format!("process {process}: {error}"))?;
    clock_gettime(clock).map(Duration::from).map_err(|error| format!("process {process}: {error}"))
}

/// The CPU time of this thread.
pub(crate) fn own_cpu() -> Outcome<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_err(|error| error.to_string())?;
    Ok(Duration::from(time))
}

/// A field of /proc/PID/status, in kB.
pub(crate) fn memory(process: u32, field: &str) -> Outcome<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut values = status.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = values.next().and_then(|value| value.trim().trim_end_matches("kB").trim().parse().ok());
    value.ok_or_else(|| format!("{path} has no {field}"))
}

/// Takes all descriptors that this user may have, for itself and for what it starts; how many.
pub(crate) fn raise_descriptor_limit() -> Outcome<u64> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let raised = limits.and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most).map(|()| most));
    raised.map_err(|error| format!("the descriptor limit: {error}"))
}

/// Where a program is; that of root too, which is not on everybody's path.
pub(crate) fn find(program: &str, package: &str) -> Outcome<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places =
        path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]).map(|place| Path::new(place).join(program));
    let found = places.find(|place| place.is_file());
    found.ok_or_else(|| {
        format!("there is no {program}: `make bench`, as root, installs the package {package}")
    })
}

/// Lets a little time pass where there is no event to wait for.
#[allow(clippy::disallowed_methods, reason = "the state of another process sends no event")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A directory for sockets, configurations and logs; it goes with this value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn make() -> Outcome<Self> {
        let made = nix::unistd::mkdtemp(&std::env::temp_dir().join("pfx-bench-XXXXXX"));
        made.map(Self).map_err(|error| format!("a temporary directory: {error}"))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}
