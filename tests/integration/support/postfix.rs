//! A private Postfix: the Debian package's programs with a configuration and a queue of their own in a
//! temporary directory. It changes nothing below /etc, and sends no mail to other hosts.
//!
//! It is set up with postconf on the package's own master.cf, as an administrator would do it. `start`
//! returns when master(8) is ready. It needs root, as Postfix does.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::port::Port;
use super::site::open_directory;
use super::{PATIENCE, client, wait_until};

/// The file that the package ships.
const MASTER_CF: &str = "/usr/share/postfix/master.cf.dist";

/// The fixed part of main.cf. Every domain but example.com is foreign, and no name is looked up in DNS.
const MAIN_CF: &str = "\
compatibility_level = 3.6
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.test.example
mynetworks =
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = example.com
virtual_transport = discard:
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
disable_dns_lookups = yes
";

/// A Postfix that is set up, and may run.
pub(crate) struct Postfix {
    directory: TempDir,
    running: bool,
    ports: Vec<Port>,
}

/// A position in the mail log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogMark(usize);

fn need(what: &str) {
    let package = "package postfix is needed: apt-get install postfix";
    assert!(Path::new(what).exists(), "there is no {what}: {package}");
}

impl Postfix {
    /// Makes the directories, main.cf and master.cf, without any smtpd.
    pub(crate) fn prepare() -> Self {
        for what in [MASTER_CF, "/usr/sbin/postfix", "/usr/sbin/postconf", "/usr/sbin/postmap"] {
            need(what);
        }
        assert!(rustix::process::geteuid().is_root(), "only root can start a private Postfix");
        let postfix = Self { directory: open_directory(), running: false, ports: Vec::new() };
        let at = |name: &str| postfix.path(name);
        for name in ["etc", "spool", "data", "bin"] {
            fs::create_dir(at(name)).expect("a directory can be made");
        }
        let owner = Command::new("id").args(["-u", "postfix"]).output().expect("id runs");
        let owner: Option<u32> = String::from_utf8_lossy(&owner.stdout).trim().parse().ok();
        assert!(owner.is_some(), "there is no user postfix: apt-get install postfix");
        chown(at("data"), owner, None).expect("the data directory can be given to postfix");
        fs::copy(MASTER_CF, at("etc/master.cf")).expect("master.cf can be copied");
        super::copy_program(client::program().as_ref(), &postfix.program());
        let mut main = MAIN_CF.to_owned();
        let (spool, data, log) = (at("spool"), at("data"), at("mail.log"));
        for (name, value) in [("queue_directory", &spool), ("data_directory", &data), ("maillog_file", &log)]
        {
            writeln!(main, "{name} = {}", value.display()).expect("text takes text");
        }
        let place = postfix.directory.path().display();
        writeln!(main, "maillog_file_prefixes = /var, /dev/stdout, {place}").expect("text takes text");
        fs::write(at("etc/main.cf"), main).expect("main.cf can be written");
        postfix.postconf(&["-MX", "smtp/inet"]);
        postfix.postconf(&["-F", "*/*/chroot=n"]);
        postfix
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The client program in this Postfix' own directory, where a test may replace it.
    pub(crate) fn program(&self) -> PathBuf {
        self.path("bin/pfxhttp-client")
    }

    /// Replaces the client program in one step.
    pub(crate) fn replace_program(&self, with: &Path) {
        let beside = self.path("bin/new");
        super::copy_program(with, &beside);
        fs::rename(&beside, self.program()).expect("a program can be replaced");
    }

    /// The configuration directory.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("etc")
    }

    /// Runs postconf on this configuration; returns its output.
    pub(crate) fn postconf(&self, arguments: &[&str]) -> String {
        let output = self.run("/usr/sbin/postconf", arguments);
        assert!(output.status.success(), "postconf {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.configuration()).args(arguments).current_dir(self.path("spool"));
        command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Sets a parameter of main.cf: `name = value`.
    pub(crate) fn main_cf(&self, setting: &str) {
        self.postconf(&["-e", setting]);
    }

    /// Adds text to master.cf.
    pub(crate) fn master_cf(&self, text: &str) {
        let file = self.path("etc/master.cf");
        let whole = fs::read_to_string(&file).expect("master.cf");
        fs::write(file, whole + text).expect("master.cf can be written");
    }

    /// Adds a spawn entry for a client with these arguments, with user nobody.
    pub(crate) fn spawn(&self, service: &str, ipc: &Path, arguments: &str) {
        let (program, ipc) = (self.program(), ipc.display());
        let argv = format!("user=nobody argv={} --socket {ipc} {arguments}", program.display());
        let line = format!("{service}/unix={service} unix - n n - 0 spawn {argv}");
        self.postconf(&["-M", &line]);
        self.main_cf(&format!("{service}_time_limit = 3600"));
    }

    /// Adds an smtpd on a port of its own, with its own main.cf settings.
    pub(crate) fn smtpd(&mut self, settings: &[(&str, &str)]) -> u16 {
        let port = Port::reserve();
        let address = port.address();
        let mut line = format!("{address}/inet={address} inet n - n - - smtpd");
        for (name, value) in settings {
            write!(line, " -o {{ {name} = {value} }}").expect("text takes text");
        }
        self.postconf(&["-M", &line]);
        self.ports.push(port);
        self.ports.last().expect("the one just added").number()
    }

    /// Adds an smtpd that offers AUTH, and asks at `path`: `inet:HOST:PORT`, a path, or one below
    /// the queue directory.
    pub(crate) fn sasl_smtpd(&mut self, path: &str, settings: &[(&str, &str)]) -> u16 {
        let common = [
            ("smtpd_sasl_auth_enable", "yes"),
            ("smtpd_sasl_type", "dovecot"),
            ("smtpd_sasl_path", path),
            ("virtual_mailbox_maps", "static:all"),
        ];
        self.smtpd(&[&common, settings].concat())
    }

    /// Runs `postfix check`; returns its output.
    pub(crate) fn check(&self) -> String {
        said(&self.run("/usr/sbin/postfix", &["check"]))
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let output = self.run("/usr/sbin/postfix", &["start"]);
        self.running = output.status.success();
        assert!(self.running, "Postfix does not start: {}{}", said(&output), self.mail_log());
    }

    /// `postmap -q KEY TABLE`; with `-` as key the keys come from `input`, one a line.
    pub(crate) fn postmap(&self, key: &str, input: &str, table: &str) -> Output {
        let keys = self.path("keys");
        fs::write(&keys, input).expect("a file of keys can be written");
        let mut command = Command::new("/usr/sbin/postmap");
        command.arg("-c").arg(self.configuration()).args(["-q", key, table]);
        command.current_dir(self.path("spool")).stdin(fs::File::open(keys).expect("the file of keys"));
        command.output().expect("postmap runs")
    }

    /// The mail log so far.
    pub(crate) fn mail_log(&self) -> String {
        fs::read_to_string(self.path("mail.log")).unwrap_or_default()
    }

    /// The present end of the mail log.
    pub(crate) fn mark(&self) -> LogMark {
        LogMark(self.mail_log().len())
    }

    /// What was logged since `mark`, once a line with `word` is there.
    pub(crate) fn logged_since(&self, mark: LogMark, word: &str) -> String {
        let mut log = String::new();
        let there = wait_until(PATIENCE, || {
            log = self.mail_log().split_off(mark.0);
            log.contains(word)
        });
        assert!(there, "the mail log never said {word:?}, but: {log}");
        log
    }

    fn stop(&mut self) {
        self.running = false;
        let pid_file = self.path("spool/pid/master.pid");
        let text = fs::read_to_string(&pid_file).unwrap_or_default();
        let Some(master) = text.trim().parse().ok().and_then(Pid::from_raw) else { return };
        let _gone_already = kill_process(master, Signal::TERM);
        let ended =
            wait_until(PATIENCE, || fs::File::open(&pid_file).is_ok_and(|file| file.try_lock().is_ok()));
        if !ended {
            let _gone_already = kill_process(master, Signal::KILL);
        }
        wait_until(PATIENCE, || !self.has_processes());
    }

    /// Whether a process still has its working directory in the queue directory, as all of Postfix'
    /// have.
    fn has_processes(&self) -> bool {
        let processes = fs::read_dir("/proc").expect("/proc can be read").flatten();
        let mut places = processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
        places.any(|place| place.starts_with(self.directory.path()))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The lines of a mail log that report trouble.
pub(crate) fn trouble(log: &str) -> Vec<&str> {
    let alarming = ["warning", "error", "fatal", "panic"];
    log.lines().filter(|line| alarming.iter().any(|word| line.contains(word))).collect()
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the mail log:\n{}", self.mail_log());
        }
        if self.running {
            self.stop();
        }
    }
}
