//! An upgrade under a running SMTP session: the client of before is no longer served, and makes
//! way for the one that has taken its place.
//!
//! The broker of before is played here, in frames of its version; what comes after is real.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use pfxhttp::ask::{Answer, Question};
use pfxhttp::ipc::{self, Ask, Hello, MAX_FROM_BROKER, MAX_FROM_CLIENT, Told, Verdict, Welcome};

use crate::postfix::{add_smtpd, add_spawn_entries, api};
use crate::support::client;
use crate::support::postfix::Postfix;
use crate::support::site::{Site, Way};
use crate::support::smtp::Smtp;

/// The frame version of before.
const OLD: u16 = ipc::OLDEST - 1;

/// A broker that speaks the old version and knows every key.
struct OldBroker {
    path: PathBuf,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    answered: AtomicUsize,
    connections: Mutex<Vec<UnixStream>>,
}

impl OldBroker {
    fn start(path: &Path) -> Self {
        let _no_longer_there = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("the socket of the broker that was");
        let everybody = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, everybody).expect("its mode can be set");
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stopping.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.lock().expect("connections").push(stream.try_clone().expect("a copy"));
                let state = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { path: path.to_owned(), state, accepting: Some(accepting) }
    }

    fn answered(&self) -> usize {
        self.state.answered.load(Ordering::SeqCst)
    }
}

impl Drop for OldBroker {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        let _wakes_the_listener = UnixStream::connect(&self.path);
        for connection in self.state.connections.lock().expect("connections").drain(..) {
            let _gone_already = connection.shutdown(Shutdown::Both);
        }
        self.accepting.take().expect("a thread").join().expect("it does not panic");
    }
}

/// Answers until the peer hangs up.
fn serve(mut stream: UnixStream, state: &State) {
    let (mut received, mut greeted) = (Vec::new(), false);
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        received.extend_from_slice(&chunk[..count]);
        let mut out = Vec::new();
        if !greeted && let Some((hello, consumed)) = Hello::decode(&received).expect("a greeting") {
            assert_eq!(hello.version, OLD, "the old client says which version it speaks");
            received.drain(..consumed);
            let verdict = Verdict::Served { budget_ms: 30_000, on_failure: None };
            Welcome { version: OLD, verdict }.encode(&mut out).expect("short");
            greeted = true;
        }
        while greeted
            && let Some((ask, consumed)) = ipc::decode::<Ask>(&received, MAX_FROM_CLIENT).expect("a frame")
        {
            received.drain(..consumed);
            let answer = match ask.question {
                Question::Map { .. } => Answer::Value("known".to_owned()),
                Question::Policy { .. } => Answer::NotFound,
            };
            ipc::encode(&Told { id: ask.id, answer }, MAX_FROM_BROKER, &mut out).expect("short");
            state.answered.fetch_add(1, Ordering::SeqCst);
        }
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

/// The program of before, which cargo builds for this test.
fn old_client() -> PathBuf {
    let program = option_env!("CARGO_BIN_EXE_old-client");
    PathBuf::from(program.expect("the old client is built with --features client, as `make test` does"))
}

#[test]
fn a_client_that_is_no_longer_served_makes_way_in_mid_session() {
    let mut site = Site::start(api);
    site.broker.kill();
    let old_broker = OldBroker::start(&site.ipc());
    let mut postfix = Postfix::prepare();
    postfix.replace_program(&old_client());
    add_spawn_entries(&postfix, &site);
    let port = add_smtpd(&mut postfix, &site, Way::Client, "checks");
    postfix.start();

    let mut smtp = Smtp::begin(port);
    let before = smtp.rcpt("known@example.com");
    assert!(before.starts_with("250 "), "{before}");
    assert!(old_broker.answered() >= 2, "map and policy were answered in the old version");

    postfix.replace_program(&client::program());
    drop(old_broker);
    site.broker.start_again();
    assert_eq!(site.maps.count(), 0, "nothing has reached the new broker's API yet");
    let after = smtp.rcpt("known2@example.com");
    assert!(after.starts_with("250 "), "{after}");
    assert!(site.maps.count() > 0, "the new broker asked its API");
    let unknown = smtp.rcpt("unknown@example.com");
    assert!(unknown.starts_with("550 "), "{unknown}");
}

#[test]
fn a_client_that_is_no_longer_served_ends_without_an_answer() {
    let site = Site::start(api);
    let (ours, its) = UnixStream::pair().expect("a socket pair");
    let end = || std::process::Stdio::from(std::os::fd::OwnedFd::from(its.try_clone().expect("a copy")));
    let mut child = std::process::Command::new(old_client())
        .arg("--socket")
        .arg(site.ipc())
        .arg("socketmap")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("the old client starts");
    drop(its);
    (&ours).write_all(b"22:demo known@example.com,").expect("written");
    let mut answer = Vec::new();
    (&ours).read_to_end(&mut answer).expect("the connection ends");
    assert_eq!(answer, b"", "no answer: Postfix asks again");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "spawn(8) logs nothing");
    assert_eq!(site.maps.count(), 0);
}
