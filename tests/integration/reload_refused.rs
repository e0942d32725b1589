//! A reload that is refused changes nothing: the log says why and where, the generation stays, and
//! every protocol is answered as before, on old and new connections.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Flaw};
use crate::support::fake_provider::FakeProvider;
use crate::support::jwt::{Key, KeyKind};
use crate::support::mutants::{FILES, GOOD, TEXTS};
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;

/// One connection for each protocol.
struct Peers {
    map: Peer,
    policy: Peer,
    login: Sasl,
    id: u32,
}

impl Peers {
    fn connect(directory: &Path) -> Self {
        let at = |name: &str| Peer::unix(&directory.join(name));
        let login = Sasl::begin(at("users.sock"));
        Self { map: at("maps.sock"), policy: at("checks.sock"), login, id: 0 }
    }

    /// The answers are those of the first generation.
    fn ask(&mut self, what: &str) {
        self.id += 1;
        assert_eq!(self.map.look_up("steady", "k"), "OK v", "{what}");
        assert_eq!(self.policy.ask(&[("sender", "a@example.com")]), "action=REJECT v\n\n", "{what}");
        self.login.plain(self.id, "u", "secret");
        assert_eq!(self.login.line(), format!("OK\t{}\tuser=u", self.id), "{what}");
    }
}

/// A broker whose configuration gets one fault after another.
struct Victim {
    broker: Broker,
    directory: std::path::PathBuf,
    kept: Peers,
    refused: usize,
    /// All failed expectations, which are reported at the end.
    wrong: Vec<String>,
}

impl Victim {
    /// Reloads. The reload must be refused with a message that contains `due`.
    fn refuses(&mut self, what: &str, due: &str) {
        let before = self.broker.log().len();
        let taken = self.broker.reload();
        let log = self.broker.log();
        let new = &log[before..];
        let causes = new.lines().filter(|line| line.contains(" ERROR ") && !line.contains("not reloaded;"));
        if taken || !causes.into_iter().any(|cause| cause.contains(due)) {
            self.wrong.push(format!("{what}: not refused for {due}, but:\n{new}"));
        }
        if taken {
            return;
        }
        let status = self.status();
        let now = (&status["generation"], &status["reloaded"], status["listener"].as_array().map(Vec::len));
        if now != (&1.into(), &false.into(), Some(4))
            || !new.contains("the running configuration stays generation=1")
        {
            self.wrong.push(format!("{what}: the status is {now:?}\n{new}"));
        }
        self.kept.ask(what);
        Peers::connect(&self.directory).ask(what);
        self.refused += 1;
    }

    fn status(&self) -> Value {
        let mut stream = UnixStream::connect(self.directory.join("admin.sock")).expect("it listens");
        stream.write_all(b"{\"order\":\"status\"}\n").expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        serde_json::from_str::<Value>(&line).expect("JSON")["status"].clone()
    }
}

fn write_files(directory: &Path) {
    let authority = Authority::new("good");
    authority.write(directory, "root");
    fs::rename(directory.join("root"), directory.join("root.crt")).expect("a file");
    authority.client().write(directory, "client");
    authority.server(Flaw::None).write(directory, "endpoint");
    fs::write(directory.join("basic"), "joe:s3cret\n").expect("a file");
    fs::write(directory.join("sasl.key"), Key::new(KeyKind::P256, "ours").pem()).expect("a file");
    fs::create_dir(directory.join("directory")).expect("a directory");
}

#[test]
fn none_of_a_hundred_faults_changes_anything() {
    let started = Instant::now();
    let (directory, provider, prometheus) = (open_directory(), FakeProvider::start(), Port::reserve());
    let directory = directory.path();
    let api =
        Backend::start(|_| Reply::with_header("Auth-User", "u", r#"{"value": "v", "action": "REJECT v"}"#));
    let _taken = UnixListener::bind(directory.join("taken.sock")).expect("a socket");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();
    write_files(directory);
    let fill = |text: &str| {
        let text = text.replace("DIR", &directory.display().to_string()).replace("API", &api.url(""));
        let text = text.replace("ISSUER", &provider.configuration_uri()).replace("TAKEN", &taken);
        text.replace("PORT", &prometheus.number().to_string())
    };
    let (file, good) = (directory.join("pfxhttp.yml"), fill(GOOD));
    fs::write(&file, &good).expect("a file");
    let broker = Broker::start(&file);
    let kept = Peers::connect(directory);
    let mut victim = Victim { broker, directory: directory.to_owned(), kept, refused: 0, wrong: Vec::new() };
    victim.kept.ask("before");
    for (from, to, due) in TEXTS {
        let (from, to, due) = (fill(from), fill(to), fill(due));
        assert!(good.contains(&from), "{from}");
        fs::write(&file, good.replacen(&from, &to, 1)).expect("a file");
        victim.refuses(&format!("{from:?} replaced by {to:?}"), &due);
    }
    for text in ["", "\u{feff}", "5", "[]"] {
        fs::write(&file, text).expect("a file");
        victim.refuses(&format!("a file of {text:?}"), "pfxhttp.yml");
    }
    fs::remove_file(&file).expect("a file");
    victim.refuses("no file", "pfxhttp.yml");
    fs::write(&file, &good).expect("a file");
    for (name, content, due) in FILES {
        let path = directory.join(name);
        let whole = fs::read(&path).expect("a file");
        match content {
            None => fs::remove_file(&path).expect("a file"),
            Some(text) => fs::write(&path, changed(directory, text)).expect("a file"),
        }
        victim.refuses(&format!("{name} is {content:?}"), due);
        fs::write(&path, whole).expect("a file");
    }
    // Opening a FIFO waits for its writer.
    for (name, _, due) in FILES.iter().filter(|(_, content, _)| content.is_none()) {
        let (path, aside) = (directory.join(name), directory.join("aside"));
        fs::rename(&path, &aside).expect("a file");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo can be run");
        assert!(made.success(), "{}", path.display());
        victim.refuses(&format!("{name} is a FIFO"), due);
        fs::rename(&aside, &path).expect("a file");
    }
    assert!(victim.wrong.is_empty(), "{}", victim.wrong.join("\n"));
    assert!(victim.refused >= 120, "{}", victim.refused);
    // An expired certificate is a valid file; the peers decide about it.
    Authority::new("other").server(Flaw::Expired).write(directory, "endpoint");
    assert!(victim.broker.reload(), "{}", victim.broker.log());
    assert_eq!(victim.status()["generation"], 2);
    victim.kept.ask("after");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// A text, `=` and a file whose content is used, or `~` and a file of which half is used.
fn changed(directory: &Path, text: &str) -> Vec<u8> {
    let read = |name: &str| fs::read(directory.join(name)).expect("a file");
    if let Some(other) = text.strip_prefix('=') {
        return read(other);
    }
    match text.strip_prefix('~') {
        Some(name) => read(name)[..read(name).len() / 2].to_vec(),
        None => text.as_bytes().to_vec(),
    }
}
