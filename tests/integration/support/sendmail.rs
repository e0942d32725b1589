//! A private Sendmail: Debian's sendmail-bin, unpacked but not installed, with its own configuration.
//! It asks socket maps by hand (`/map` of its address test mode) and for each recipient, and delivers
//! nothing.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::namespace::{self, Daemon, HOST, unpacked};
use super::port::Port;
use super::site::open_directory;

/// The broker's directory in the namespace: Sendmail uses no socket in a directory that others may
/// write to.
pub(crate) const BROKER: &str = "/mnt";

/// The K lines of the maps go between the two parts. A rule without `-T` treats a failure as if there
/// were no such key.
const HEAD: &str =
    "V10/Berkeley\nDnmailer-daemon\nO LogLevel=0\nO Timeout.ident=0\nO OperatorChars=.:%@!^/[]+\n";
const RULES: &str = "\
Troot
H?F?From: $g
Sparse=0
R$*\t$#local $: $1
Scheck_rcpt
R<$*>\t$: $1
R$*\t$: <$(mailboxes $1 $: NONE $)>
R<$*<TMPF>>\t$#error $@ 4.3.0 $: \"451 later\"
R<NONE>\t$#error $@ 5.1.1 $: \"550 no such mailbox\"
R<$*>\t$@ OK
Mlocal, P=/bin/false, F=lsDFMA5, A=false
Mprog, P=/bin/false, F=lsDFMeu, A=false
";

/// A Sendmail that is set up, and may run.
pub(crate) struct Sendmail {
    program: PathBuf,
    broker: PathBuf,
    port: Port,
    directory: TempDir,
}

impl Sendmail {
    /// With these maps: a name, and the address as its K line has it, `local:PATH` or
    /// `inet:PORT@HOST`. The map `mailboxes` is asked for recipients.
    pub(crate) fn prepare(broker: &Path, maps: &[(&str, &str)]) -> Self {
        let program = unpacked("sendmail-bin/usr/libexec/sendmail/sendmail");
        let (directory, port) = (open_directory(), Port::reserve());
        let queue = directory.path().join("queue");
        fs::create_dir(&queue).expect("a directory can be made");
        let maps: String =
            maps.iter().map(|(name, address)| format!("K{name} socket -T<TMPF> {address}\n")).collect();
        let own = format!(
            "Dj{HOST}\nO QueueDirectory={0}\nO PidFile={0}/pid\nO DaemonPortOptions=Name=MTA, Addr=127.0.0.1, Port={1}\n",
            queue.display(),
            port.number()
        );
        fs::write(directory.path().join("sendmail.cf"), format!("{HEAD}{own}{maps}{RULES}")).expect("a file");
        fs::write(directory.path().join("hosts"), format!("127.0.0.1 localhost {HOST}\n")).expect("a file");
        Self { program, broker: broker.to_owned(), port, directory }
    }

    fn command(&self, mode: &str) -> Command {
        let at = |name: &str| self.directory.path().join(name);
        let files = [(&*at("hosts"), "/etc/hosts"), (&*self.broker, BROKER)];
        let mut command = namespace::command(&files, &self.program);
        command.arg(format!("-C{}", at("sendmail.cf").display())).arg(mode);
        command
    }

    /// The result of `/map NAME KEY`: the value, and Sendmail's exit code (sysexits.h; 68: no such
    /// key).
    pub(crate) fn map(&self, name: &str, key: &str) -> (Option<String>, u8) {
        let mut command = self.command("-bt");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("Sendmail can be started");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(format!("/map {name} {key}\n/quit\n").as_bytes()).expect("Sendmail reads");
        drop(stdin);
        let output = child.wait_with_output().expect("Sendmail ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let told = said.split_once(&format!("map_lookup: {name} ({key}) ")).map(|(_, told)| told);
        let told =
            told.and_then(|told| told.lines().next()).unwrap_or_else(|| panic!("Sendmail said: {said}"));
        let (what, status) = told.rsplit_once(" (").expect("a status");
        let status = status.trim_end_matches(')').parse().expect("a number");
        (what.strip_prefix("returns ").map(str::to_owned), status)
    }

    /// Starts it as a mail server.
    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(self.command("-bD"), self.port.number())
    }

    /// The address at which it accepts mail.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }
}
