//! The local socket in frames: a fake broker, which a script controls, for the real client; and a
//! client for the real broker that sends what no real one would.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pfxhttp::model::{Answer, OnFailure, Question};
use pfxhttp::wire::Error;
use pfxhttp::wire::ipc::{
    self, AnswerFrame, Hello, MAX_FROM_BROKER, MAX_FROM_CLIENT, Offer, RequestFrame, Service, VERSION,
    Verdict, Welcome, YOURS,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::PATIENCE;

/// One connection of the local socket, on either side.
pub(crate) struct Frames {
    stream: UnixStream,
    received: Vec<u8>,
    state: Arc<State>,
}

/// A fake broker.
pub(crate) struct FakeBroker {
    path: PathBuf,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    connects: AtomicUsize,
    asks: Mutex<Vec<RequestFrame>>,
    connections: Mutex<Vec<UnixStream>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeBroker {
    /// Listens on `path`, which every user may open. `script` serves each connection in a thread of its
    /// own, and gets its number, from 1. The connection ends when the script returns.
    pub(crate) fn start(path: &Path, script: impl Fn(usize, &mut Frames) + Send + Sync + 'static) -> Self {
        let _no_longer_there = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("a socket");
        let everybody = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, everybody).expect("its mode can be set");
        let state = Arc::new(State::default());
        let (serving, script) = (Arc::clone(&state), Arc::new(script));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let nth = serving.connects.fetch_add(1, Ordering::SeqCst) + 1;
                lock(&serving.connections).push(stream.try_clone().expect("a descriptor"));
                let (state, script) = (Arc::clone(&serving), Arc::clone(&script));
                std::thread::spawn(move || {
                    let mut frames = Frames { stream, received: Vec::new(), state };
                    script(nth, &mut frames);
                });
            }
        });
        Self { path: path.to_owned(), state, accepting: Some(accepting) }
    }

    /// How many connections there have been.
    pub(crate) fn connects(&self) -> usize {
        self.state.connects.load(Ordering::SeqCst)
    }

    /// All requests, in the order of their arrival.
    pub(crate) fn asks(&self) -> Vec<RequestFrame> {
        lock(&self.state.asks).clone()
    }
}

impl Drop for FakeBroker {
    /// The listening socket is removed for good before the connections end.
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        let _wakes_the_listener = UnixStream::connect(&self.path);
        self.accepting.take().expect("a thread").join().expect("it does not panic");
        for connection in lock(&self.state.connections).drain(..) {
            let _gone_already = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let _gone_already = self.stream.shutdown(Shutdown::Both);
    }
}

/// An answer whose value is the requested key.
pub(crate) fn echo(question: &Question) -> Answer {
    match question {
        Question::Map { key, .. } => Answer::Value(format!("for {}", String::from_utf8_lossy(key))),
        Question::Policy { .. } => Answer::NotFound,
        Question::Login(login) => Answer::Accepted { user: login.credentials.user().to_owned() },
    }
}

/// A lookup in a map.
pub(crate) fn map_question(name: &str, key: &str) -> Question {
    Question::Map { name: name.to_owned(), key: key.into() }
}

/// A request to a policy service.
pub(crate) fn policy_question(name: &str) -> Question {
    Question::Policy { name: name.to_owned(), attributes: Default::default() }
}

impl Frames {
    /// Connects to a broker.
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        Self { stream, received: Vec::new(), state: Arc::default() }
    }

    /// Writes these bytes. The other side may have closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _gone_already = self.stream.write_all(bytes);
    }

    /// The next frame; `None` at the end of the stream.
    fn next<T>(&mut self, decode: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Error>) -> Option<T> {
        let mut chunk = [0; 4096];
        loop {
            if let Some((frame, consumed)) = decode(&self.received).expect("a frame that makes sense") {
                self.received.drain(..consumed);
                return Some(frame);
            }
            match self.stream.read(&mut chunk) {
                Ok(count @ 1..) => self.received.extend_from_slice(&chunk[..count]),
                Ok(_) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error} in place of a frame, or of the end"),
            }
        }
    }

    /// As a broker: reads a client's greeting.
    pub(crate) fn hello(&mut self) -> Option<Hello> {
        self.next(Hello::decode)
    }

    /// As a broker: reads everything and answers nothing, until the client hangs up.
    pub(crate) fn swallow(&mut self) {
        let mut chunk = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut chunk) {}
    }

    /// As a broker: reads a client's request, and keeps it for [`FakeBroker::asks`].
    pub(crate) fn asked(&mut self) -> Option<RequestFrame> {
        let ask: RequestFrame = self.next(|bytes| ipc::decode(bytes, MAX_FROM_CLIENT))?;
        lock(&self.state.asks).push(ask.clone());
        Some(ask)
    }

    /// As a broker: sends a hello of `version`.
    pub(crate) fn greet_as(&mut self, version: u16, verdict: Verdict) {
        let mut out = Vec::new();
        Welcome { version, verdict }.encode(&mut out).expect("short");
        self.send(&out);
    }

    /// As a broker: sends a hello of `version`, and closes the connection in both directions.
    pub(crate) fn close_after(&mut self, version: u16, verdict: Verdict) {
        let _gone_already = self.stream.shutdown(Shutdown::Read);
        self.greet_as(version, verdict);
        let _gone_already = self.stream.shutdown(Shutdown::Both);
    }

    /// As a broker: reads a client's greeting and serves it.
    pub(crate) fn greet(&mut self, budget: Duration, on_failure: Option<OnFailure>) {
        let budget_ms = u32::try_from(budget.as_millis()).expect("a short budget");
        if self.hello().is_some() {
            self.greet_as(VERSION, Verdict::Served { budget_ms, on_failure, mechanisms: Vec::new() });
        }
    }

    /// As a broker: answers.
    pub(crate) fn tell(&mut self, id: u64, answer: Answer) {
        let mut out = Vec::new();
        ipc::encode(&AnswerFrame { id, answer }, MAX_FROM_BROKER, &mut out).expect("short");
        self.send(&out);
    }

    /// As a broker: answers each request with its key until the client hangs up.
    pub(crate) fn echo(&mut self) {
        while let Some(ask) = self.asked() {
            self.tell(ask.id, echo(&ask.question));
        }
    }

    /// As a client: greets.
    pub(crate) fn say_hello(&mut self, service: &Service) {
        self.say_hello_as(VERSION, service);
    }

    /// As a client of this frame version: greets.
    pub(crate) fn say_hello_as(&mut self, version: u16, service: &Service) {
        let mut out = Vec::new();
        Hello::encode(version, service, None, &mut out).expect("short");
        self.send(&out);
    }

    /// As a client: offers a connection with these descriptors.
    pub(crate) fn offer(&mut self, service: &Service, descriptors: &[BorrowedFd<'_>]) {
        let mut out = Vec::new();
        Hello::encode(VERSION, service, Some(&Offer::default()), &mut out).expect("short");
        self.send_with(&out, descriptors);
    }

    /// Writes these bytes together with descriptors.
    pub(crate) fn send_with(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent.expect("the broker listens"), bytes.len());
    }

    /// As a client: gives up the connection that it has offered.
    pub(crate) fn give_up(&mut self) {
        self.send(&[YOURS]);
    }

    /// As a broker: whether the client gives up the connection that it has offered.
    pub(crate) fn is_given_up(&mut self) -> bool {
        self.next(|bytes| Ok((!bytes.is_empty()).then(|| (bytes[0], 1)))) == Some(YOURS)
    }

    /// As a client: the broker's greeting.
    pub(crate) fn welcome(&mut self) -> Option<Welcome> {
        self.next(Welcome::decode)
    }

    /// As a client: asks.
    pub(crate) fn ask(&mut self, id: u64, spent: Duration, question: &Question) {
        let spent_ms = u32::try_from(spent.as_millis()).expect("a short time");
        let mut out = Vec::new();
        ipc::encode_request(id, spent_ms, question, &mut out).expect("short");
        self.send(&out);
    }

    /// As a client: the broker's answer; `None` if it closes the connection instead.
    pub(crate) fn told(&mut self) -> Option<AnswerFrame> {
        self.next(|bytes| ipc::decode(bytes, MAX_FROM_BROKER))
    }
}
