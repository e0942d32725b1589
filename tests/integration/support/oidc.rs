//! A real identity provider: `oidc-provider` (OpenID Certified) under node, started for a test.
//!
//! tests/peers/oidc/provider.mjs describes the commands that it takes on its pipes; it ends when they
//! close. `make provider` installs its modules. It introspects only opaque tokens: for a JWT its
//! introspection endpoint answers 400 `unsupported_token_type`. It gives `client_credentials` only to
//! clients that prove who they are.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Identity;
use super::jwt::{Key, KeyKind};
use super::port::Port;
use super::site::open_directory;
use super::{PATIENCE, wait_for_exit};

/// A client of the provider, and its secret. Both hold characters that a form has to encode.
pub(crate) struct Registered {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
}

/// The client that authenticates by `client_secret_basic`.
pub(crate) const BASIC: Registered = Registered { id: "basic:client+1", secret: "s3cr t:+%&=/?~" };
/// The client that authenticates by `client_secret_post`.
pub(crate) const POST: Registered = Registered { id: "post-client", secret: "s3cr t:+%&=/?~" };
/// The `client_id` that authenticates by `private_key_jwt`, with any of [`Provider::key_file`].
pub(crate) const ASSERTION: &str = "assertion-client";
/// The `client_id` of issued tokens: a public client, which does not authenticate.
pub(crate) const MAIL_PROGRAM: &str = "mail-program";

/// A provider, running or stopped.
pub(crate) struct Provider {
    port: Port,
    /// The settings of its next start, and its signing keys, if it has some.
    settings: Mutex<Value>,
    /// The directory of its client's keys.
    directory: TempDir,
    running: Option<Mutex<Running>>,
    frozen: AtomicBool,
}

struct Running {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A panic elsewhere must not hide the message of the test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/oidc")
}

/// The node that was installed with the provider, else the machine's.
fn node() -> PathBuf {
    let modules = home().join("node_modules");
    let installed = modules.join("oidc-provider/package.json");
    assert!(installed.is_file(), "there is no {}: run make provider (it needs npm)", installed.display());
    let beside = ["x64", "arm64"].map(|machine| modules.join(format!("node-linux-{machine}/bin/node")));
    beside.into_iter().find(|node| node.is_file()).unwrap_or_else(|| "node".into())
}

impl Provider {
    /// Starts one over plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_as(&json!(null))
    }

    /// Starts a provider with this certificate.
    pub(crate) fn start_tls(identity: &Identity) -> Self {
        let (cert, key) = identity.pem();
        Self::start_as(&json!({"cert": cert, "key": key}))
    }

    fn start_as(tls: &Value) -> Self {
        let (port, directory) = (Port::reserve(), open_directory());
        let mut public = Vec::new();
        for kind in KeyKind::ALL {
            let key = Key::unnamed(kind);
            fs::write(key_file(directory.path(), kind), key.pem()).expect("a key can be written");
            public.push(key.jwk());
        }
        let mut settings = json!({"port": port.number(), "jwks": {"keys": public}});
        if !tls.is_null() {
            settings["tls"] = tls.clone();
        }
        let (settings, frozen) = (Mutex::new(settings), AtomicBool::new(false));
        let mut provider = Self { port, settings, directory, running: None, frozen };
        provider.up();
        provider
    }

    /// Starts it (again), with the signing keys that it had. It forgets opaque tokens.
    pub(crate) fn up(&mut self) {
        let node = node();
        let mut command = Command::new(&node);
        command.arg(home().join("provider.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Its output is needed if a test fails; cargo does not show a child's output.
        let log = fs::File::create(self.directory.path().join("log")).expect("a log can be written");
        command.stderr(log);
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!(
                "{} cannot be started, {error}: Node 20.20 or newer is needed (make provider)",
                node.display()
            )
        });
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        self.running = Some(Mutex::new(Running { child, commands, answers }));
        let settings = lock(&self.settings).clone();
        let ready = self.tell(&settings);
        lock(&self.settings)["keys"] = ready["keys"].clone();
    }

    /// Stops it: connecting is refused from now on.
    pub(crate) fn down(&mut self) {
        self.thaw();
        let Some(running) = self.running.take() else { return };
        let mut running = running.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(running.commands.take());
        if wait_for_exit(&mut running.child, PATIENCE).is_none() {
            let _gone_already = running.child.kill();
            let _reaped = running.child.wait();
        }
    }

    /// Stops answering: it accepts connections and sends nothing from now on.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Answers again, also requests that arrived meanwhile.
    pub(crate) fn thaw(&self) {
        if self.frozen.swap(false, Ordering::SeqCst) {
            self.signal(Signal::CONT);
        }
    }

    fn signal(&self, signal: Signal) {
        let running = lock(self.running.as_ref().expect("the provider runs"));
        kill_process(Pid::from_child(&running.child), signal).expect("a child can be signalled");
    }

    fn tell(&self, command: &Value) -> Value {
        let mut running = lock(self.running.as_ref().expect("the provider runs"));
        let commands = running.commands.as_mut().expect("a pipe");
        let sent = writeln!(commands, "{command}");
        let mut line = String::new();
        let read = running.answers.read_line(&mut line);
        let answer = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the provider ended ({sent:?}, {read:?}); its log: {}", self.log()));
        match &answer {
            Value::Object(members) if members.contains_key("error") => {
                panic!("the provider refused: {answer}; its log: {}", self.log())
            }
            _ => answer,
        }
    }

    /// Its log since its last start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// `iss` of its tokens.
    pub(crate) fn issuer(&self) -> String {
        let scheme = if lock(&self.settings).get("tls").is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.port.address())
    }

    /// What `configuration_uri` says.
    pub(crate) fn configuration_uri(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer())
    }

    /// A private key of the client [`ASSERTION`], in PEM. It is registered under its thumbprint.
    pub(crate) fn key_file(&self, kind: KeyKind) -> PathBuf {
        key_file(self.directory.path(), kind)
    }

    /// Issues an access token of a user. Members of `what`, all but `sub` optional: `sub`,
    /// `audience`, `format` (`opaque`, `jwt`), `alg` (of a JWT), `scope`, `ttl` (in seconds),
    /// `claims` (an object). A JWT needs an audience.
    pub(crate) fn mint(&self, what: &Value) -> String {
        let answer = self.tell(&json!({"mint": what}));
        answer["token"].as_str().expect("a token is a text").to_owned()
    }

    /// Gives it new signing keys; with `keep` the old ones stay in its JWKS, behind the new ones.
    /// Returns the new `kid`s.
    pub(crate) fn rotate(&self, keep: bool) -> Vec<String> {
        let keys = self.tell(&json!({"rotate": {"keep": keep}}))["keys"].take();
        let keys_in_order = keys.as_array().expect("a list").iter();
        let kids = keys_in_order.map(|key| key["kid"].as_str().expect("a kid").to_owned());
        let kids = kids.take(KeyKind::ALL.len()).collect();
        lock(&self.settings)["keys"] = keys;
        kids
    }

    /// Sets how long tokens last that are issued from now on without a time of their own.
    pub(crate) fn set_ttl(&self, seconds: u32) {
        self.tell(&json!({"ttl": seconds}));
        lock(&self.settings)["ttl"] = json!(seconds);
    }

    /// The number of requests for this path since its last start: `/token`, `/token/introspection`,
    /// `/jwks`, `/.well-known/openid-configuration`.
    pub(crate) fn hits(&self, path: &str) -> u64 {
        self.tell(&json!({"hits": true}))["hits"][path].as_u64().unwrap_or_default()
    }
}

fn key_file(directory: &Path, kind: KeyKind) -> PathBuf {
    directory.join(format!("{}.pem", kind.algorithm()))
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.down();
        if std::thread::panicking() {
            println!("the provider's log:\n{}", self.log());
        }
    }
}
