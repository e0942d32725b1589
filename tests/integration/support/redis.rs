//! A real redis-server in the foreground, with its own directory, on a unix socket, a TCP port or a TLS port.
//! It keeps its data through [`Redis::kill`] only if it was saved.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::certificates::Authority;
use super::certificates::Flaw;
use super::port::Port;
use super::site::open_directory;
use super::{PATIENCE, wait_until};

const PROGRAM: &str = "/usr/bin/redis-server";

/// A running server.
pub(crate) struct Redis {
    child: Option<Child>,
    arguments: Vec<String>,
    port: Port,
    directory: TempDir,
    password: Option<String>,
}

/// A reply of the protocol, as far as the tests read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Text(String),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Told>),
}

impl Told {
    /// The texts of a list.
    pub(crate) fn texts(self) -> Vec<String> {
        let Self::List(items) = self else { panic!("no list: {self:?}") };
        items.into_iter().map(Self::text).collect()
    }

    /// A text.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }
}

impl Redis {
    /// A server on a unix socket.
    pub(crate) fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// A server that wants this password.
    pub(crate) fn with_password(password: &str) -> Self {
        Self::start_with(&["--requirepass", password], Some(password))
    }

    /// A server that speaks TLS on a port, with a certificate of this authority, and asks for one of ours.
    pub(crate) fn with_tls(authority: &Authority) -> Self {
        let directory = open_directory();
        let root = authority.write(directory.path(), "root.crt");
        let (cert, key) = authority.server(Flaw::None).write(directory.path(), "server");
        let port = Port::reserve();
        let number = port.number().to_string();
        let [root, cert, key] = [root, cert, key].map(|path| path.display().to_string());
        let more = [
            "--tls-port",
            &number,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &root,
            "--tls-auth-clients",
            "yes",
        ];
        Self::launch(directory, port, &more, None)
    }

    /// A server on a TCP port without TLS, which is that of [`Self::address`].
    pub(crate) fn on_tcp() -> Self {
        let port = Port::reserve();
        let number = port.number().to_string();
        Self::launch(open_directory(), port, &["--port", &number], None)
    }

    /// A server with this configuration file, and a socket of its own.
    pub(crate) fn with_file(text: &str) -> Self {
        let directory = open_directory();
        let file = directory.path().join("redis.conf");
        fs::write(&file, text).expect("a file");
        Self::launch(directory, Port::reserve(), &["--file", &file.display().to_string()], None)
    }

    fn start_with(more: &[&str], password: Option<&str>) -> Self {
        Self::launch(open_directory(), Port::reserve(), more, password)
    }

    fn launch(directory: TempDir, port: Port, more: &[&str], password: Option<&str>) -> Self {
        assert!(Path::new(PROGRAM).is_file(), "there is no {PROGRAM}: apt-get install redis-server");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let (socket, data) = (at("redis.sock"), at(""));
        let usual = [
            "--unixsocket",
            &socket,
            "--unixsocketperm",
            "777",
            "--dir",
            &data,
            "--save",
            "",
            "--bind",
            "127.0.0.1",
            "--daemonize",
            "no",
        ];
        let none: &[&str] = if more.contains(&"--port") { &[] } else { &["--port", "0"] };
        // A configuration file is the first word, and what it says holds but for the usual options.
        let (file, usual, more) = match more {
            ["--file", file, "--sentinel"] => (&[*file, "--sentinel"][..], &usual[..6], &[][..]),
            ["--file", file] => (&[*file][..], &usual[..], &[][..]),
            more => (&[][..], &usual[..], more),
        };
        let none = if file.is_empty() { none } else { &[] };
        let words = file.iter().chain(usual).chain(none).chain(more);
        let arguments = words.map(|word| (*word).to_owned()).collect();
        let password = password.map(str::to_owned);
        let mut redis = Self { child: None, arguments, port, directory, password };
        redis.up();
        redis
    }

    /// Starts it (again) and waits until it answers.
    pub(crate) fn up(&mut self) {
        let log = fs::File::create(self.path("log")).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server can be started"));
        let answers = wait_until(PATIENCE, || self.try_ask(&["PING"]).is_some());
        assert!(
            answers,
            "redis-server does not answer: {}",
            fs::read_to_string(self.path("log")).unwrap_or_default()
        );
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its socket as a URL.
    pub(crate) fn url(&self) -> String {
        format!("unix:{}", self.path("redis.sock").display())
    }

    /// Its TCP port, with TLS or without.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// SIGKILL; connecting fails from now on.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill();
            child.wait().expect("a child can be waited for");
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
    }

    /// One command and its reply, on a connection of its own.
    pub(crate) fn ask(&self, words: &[&str]) -> Told {
        self.try_ask(words).expect("redis-server answers")
    }

    /// Sets `name` to these bytes.
    pub(crate) fn set(&self, name: &str, bytes: &[u8]) {
        let told = self.send(&[b"SET", name.as_bytes(), bytes, b"PX", b"600000"]);
        assert_eq!(told, Some(Told::Text("OK".to_owned())));
    }

    /// The bytes of `name`.
    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        match self.ask(&["GET", name]) {
            Told::Bytes(bytes) => bytes,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// The names of all records of answers.
    pub(crate) fn names(&self) -> Vec<String> {
        self.ask(&["KEYS", "pfxhttp:1:*:*:*"]).texts()
    }

    /// How often each command was called.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.ask(&["INFO", "commandstats"]).text();
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |rest| rest.split(',').next().unwrap_or_default().parse().expect("a number"))
    }

    fn try_ask(&self, words: &[&str]) -> Option<Told> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.send(&words)
    }

    fn send(&self, words: &[&[u8]]) -> Option<Told> {
        let mut stream = UnixStream::connect(self.path("redis.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        if let Some(password) = &self.password {
            stream.write_all(&command(&[b"AUTH", password.as_bytes()])).ok()?;
            reply(&mut reader)?;
        }
        stream.write_all(&command(words)).ok()?;
        reply(&mut reader)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads a reply, or a command, which is a list of texts.
pub(crate) fn reply(reader: &mut impl BufRead) -> Option<Told> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1)?;
    let length = || rest.parse::<usize>().ok();
    Some(match kind {
        "$" if rest == "-1" => Told::Nothing,
        "$" => {
            let mut bytes = vec![0; length()? + 2];
            reader.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            Told::Bytes(bytes)
        }
        "*" => Told::List((0..length()?).map(|_| reply(reader)).collect::<Option<_>>()?),
        _ => Told::Text(rest.to_owned()),
    })
}

/// A master, its replica, and a sentinel that watches them.
pub(crate) struct Watched {
    pub(crate) master: Redis,
    pub(crate) replica: Redis,
    pub(crate) sentinel: Redis,
}

impl Watched {
    /// Starts all of them. The name of the master is `mail`.
    pub(crate) fn start() -> Self {
        let master = Redis::on_tcp();
        let at = master.address().port().to_string();
        let port = Port::reserve();
        let number = port.number().to_string();
        let follow = ["--port", &number, "--replicaof", &format!("127.0.0.1 {at}")];
        let replica = Redis::launch(open_directory(), port, &follow, None);
        let synced = || replica.ask(&["INFO", "replication"]).text().contains("master_link_status:up");
        assert!(wait_until(PATIENCE, synced), "the replica follows");
        let (directory, port) = (open_directory(), Port::reserve());
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor mail 127.0.0.1 {at} 1\nsentinel down-after-milliseconds mail 500\n\
             sentinel failover-timeout mail 2000\n",
            port.number()
        );
        fs::write(&file, text).expect("a file");
        let words = ["--file", &file.display().to_string(), "--sentinel"];
        let sentinel = Redis::launch(directory, port, &words, None);
        let knows = || {
            let all = sentinel.ask(&["SENTINEL", "REPLICAS", "mail"]);
            matches!(all, Told::List(replicas) if replicas.len() == 1)
        };
        assert!(wait_until(PATIENCE, knows), "the sentinel knows both");
        Self { master, replica, sentinel }
    }
}
