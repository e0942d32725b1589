//! The sample APIs of the book run, and the configuration of their page asks them.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::book::{Page, root};
use crate::support::broker::command;
use crate::support::port::Port;
use crate::support::wait_until;

/// `query`, the password on its standard input, and its output.
const QUERIES: [(&[&str], &str, &str); 10] = [
    (&["map", "mailboxes", "bob@example.org"], "", "18:OK bob@example.org,"),
    (&["map", "mailboxes", "nobody@example.org"], "", "9:NOTFOUND ,"),
    (&["map", "mailboxes", "\"a \\ ü\"@example.org"], "", "9:NOTFOUND ,"),
    (&["map", "rest", "bob@example.org"], "", "18:OK bob@example.org,"),
    (&["map", "rest", "a/b c@example.org"], "", "9:NOTFOUND ,"),
    (&["policy", "recipients", "request=smtpd_access_policy"], "", "action=DUNNO\n\n"),
    (
        &["policy", "recipients", "request=smtpd_access_policy", "sender=spammer@example.net"],
        "",
        "action=REJECT you are blocked\n\n",
    ),
    (&["sasl", "users", "bob@example.org"], "secret", "OK\t1\tuser=bob@example.org\n"),
    (
        &["sasl", "users", "bob@example.org"],
        "swordfish",
        "FAIL\t1\treason=wrong password\tuser=bob@example.org\n",
    ),
    (&["sasl", "fields", "bob@example.org"], "secret", "OK\t1\tuser=bob@example.org\n"),
];

/// A sample API, in a process group of its own: `go run` starts another process.
struct Sample(Child);

impl Sample {
    fn start(program: &mut Command, port: u16, patience: Duration) -> Self {
        let quiet =
            program.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("{program:?}: {error}: make packages installs it"));
        let mut sample = Self(child);
        let mut ended = None;
        let is_up = wait_until(patience, || {
            ended = sample.0.try_wait().expect("a child");
            ended.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(is_up && ended.is_none(), "{program:?} does not accept at {port}: {ended:?}");
        sample
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.0.id().cast_signed());
        let _gone_already = kill_process_group(group.expect("a process has a number"), Signal::KILL);
        let _status = self.0.wait();
    }
}

/// What the broker replies with this configuration.
fn reply(config: &Path, query: &[&str], password: &str) -> String {
    let mut asked = command(config);
    let asked = asked.arg("query").args(query).stdin(Stdio::piped());
    let mut child = asked.spawn().expect("the broker's program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A map's query does not read it.
    let _closed = stdin.write_all(password.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn assert_answers(name: &str, arguments: impl Fn(u16) -> Vec<String>, patience: Duration) {
    let port = Port::reserve();
    let mut program = Command::new(name);
    let _sample = Sample::start(program.args(arguments(port.number())), port.number(), patience);
    let blocks = Page::read("docs/src/api/samples.md").blocks();
    let block = blocks.iter().find(|block| block.language() == "yaml").expect("a configuration");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("pfxhttp.yml");
    let text = block.text.replace("127.0.0.1:8080", &port.address().to_string());
    assert_ne!(text, block.text, "the page names the port of the samples");
    std::fs::write(&config, text).expect("a configuration");
    for (query, password, due) in QUERIES {
        let told = reply(&config, query, password);
        let (told, note) = told.split_at(due.len().min(told.len()));
        assert_eq!(told, due, "{name}: {query:?}");
        assert!(note.starts_with("pfxhttp-broker: no broker runs at "), "{note}");
    }
}

#[test]
fn the_sample_in_python_answers() {
    let arguments = |port: u16| vec!["docs/samples/api.py".to_owned(), port.to_string()];
    assert_answers("python3", arguments, Duration::from_secs(15));
}

#[test]
fn the_sample_in_php_answers() {
    let arguments =
        |port: u16| vec!["-S".to_owned(), format!("127.0.0.1:{port}"), "docs/samples/api.php".to_owned()];
    assert_answers("php", arguments, Duration::from_secs(15));
}

#[test]
#[ignore = "Go is large: make test-docs installs it and runs this test"]
fn the_sample_in_go_answers() {
    let arguments = |port: u16| vec!["run".to_owned(), "docs/samples/api.go".to_owned(), port.to_string()];
    assert_answers("go", arguments, Duration::from_secs(180));
}
