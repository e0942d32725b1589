//! The test's HTTP API: a server with a thread per connection. A closure decides about each answer, and
//! may choose a fault. It keeps all requests, and can stop and start again on its port.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) use super::http::{Reply, Request};
use super::{http, port::Port};

type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A running HTTP API.
pub(crate) struct Backend {
    port: Port,
    shared: Arc<Shared>,
    listening: Option<Listening>,
}

struct Listening {
    closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Shared {
    handler: Mutex<Handler>,
    tls: Option<Arc<ServerConfig>>,
    connections: AtomicU64,
    most_open: AtomicU64,
    live: Mutex<Vec<Weak<TcpStream>>>,
    seen: Mutex<Vec<Request>>,
    arrived: Condvar,
    releases: Mutex<u64>,
    released: Condvar,
}

/// A handler that panicked must not hide the message of the test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend {
    /// Starts an API on a port of its own.
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_as(Port::reserve(), None, handler)
    }

    /// Starts an API behind TLS.
    pub(crate) fn start_tls(
        tls: Arc<ServerConfig>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_tls_at(Port::reserve(), tls, handler)
    }

    /// The same on this port.
    pub(crate) fn start_tls_at(
        port: Port,
        tls: Arc<ServerConfig>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_as(port, Some(tls), handler)
    }

    fn start_as(
        port: Port,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            handler: Mutex::new(Arc::new(handler)),
            tls,
            connections: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            live: Mutex::default(),
            seen: Mutex::default(),
            arrived: Condvar::new(),
            releases: Mutex::new(0),
            released: Condvar::new(),
        };
        let mut backend = Self { port, shared: Arc::new(shared), listening: None };
        backend.up();
        backend
    }

    /// An API that gives every request this JSON.
    pub(crate) fn constant(body: &'static str) -> Self {
        Self::start(move |_| Reply::json(body))
    }

    /// Replaces the handler.
    pub(crate) fn answer_with(&self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.handler) = Arc::new(handler);
    }

    /// The URL of this path on the backend.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.port.address())
    }

    /// The number of connections that neither side has closed.
    pub(crate) fn open(&self) -> usize {
        open(&lock(&self.shared.live))
    }

    /// The highest number of connections at a time.
    pub(crate) fn most_open(&self) -> u64 {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Listens (again).
    pub(crate) fn up(&mut self) {
        let listener = TcpListener::bind(self.port.address()).expect("a reserved port can be bound");
        let closing = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&closing));
        let thread = std::thread::spawn(move || accept(&listener, &shared, &stop));
        self.listening = Some(Listening { closing, thread });
    }

    /// Closes all connections and the listening socket: connecting is refused from now on.
    pub(crate) fn down(&mut self) {
        let Some(Listening { closing, thread }) = self.listening.take() else { return };
        closing.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.port.address());
        thread.join().expect("the accepting thread does not panic");
        self.release();
        for stream in lock(&self.shared.live).drain(..).filter_map(|weak| weak.upgrade()) {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends every answer that is held back at this moment.
    pub(crate) fn release(&self) {
        *lock(&self.shared.releases) += 1;
        self.shared.released.notify_all();
    }

    /// The requests so far, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests there were so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        lock(&self.shared.seen).clear();
    }

    /// The most recent request.
    pub(crate) fn last(&self) -> Request {
        lock(&self.shared.seen).last().expect("the API was asked").clone()
    }

    /// Waits until there were this many requests; `false` if they do not come in time.
    pub(crate) fn wait_for(&self, count: usize, within: Duration) -> bool {
        let seen = lock(&self.shared.seen);
        let waited = self.shared.arrived.wait_timeout_while(seen, within, |seen| seen.len() < count);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.down();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, closing: &AtomicBool) {
    while let Ok((stream, _)) = listener.accept() {
        if closing.load(Ordering::SeqCst) {
            return;
        }
        let stream = Arc::new(stream);
        let mut live = lock(&shared.live);
        live.retain(|weak| weak.strong_count() > 0);
        live.push(Arc::downgrade(&stream));
        shared.most_open.fetch_max(open(&live) as u64, Ordering::SeqCst);
        drop(live);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(&stream, &shared));
    }
}

/// The connections of these that are still served and that the peer has not closed.
fn open(live: &[Weak<TcpStream>]) -> usize {
    let open = |stream: &Arc<TcpStream>| {
        let mut states = [PollFd::new(&**stream, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut states, Some(&now)).expect("a socket can be polled");
        !states[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    };
    live.iter().filter_map(Weak::upgrade).filter(open).count()
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let _best_effort = stream.set_nodelay(true);
    let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
    match &shared.tls {
        None => talk(BufReader::new(stream), stream, shared, number, |_| false),
        Some(config) => {
            let session = ServerConnection::new(Arc::clone(config)).expect("the TLS configuration is sound");
            let reader = BufReader::new(StreamOwned::new(session, stream));
            let certified = |wire: &StreamOwned<ServerConnection, _>| wire.conn.peer_certificates().is_some();
            talk(reader, stream, shared, number, certified);
        }
    }
}

fn talk<W: Read + Write>(
    mut reader: BufReader<W>,
    stream: &TcpStream,
    shared: &Shared,
    connection: u64,
    certified: impl Fn(&W) -> bool,
) {
    for nth in 1.. {
        let Some(mut request) = http::read(&mut reader, connection) else { return };
        request.nth = nth;
        request.certified = certified(reader.get_ref());
        let handler = Arc::clone(&lock(&shared.handler));
        let before = *lock(&shared.releases);
        lock(&shared.seen).push(request.clone());
        shared.arrived.notify_all();
        let mut reply = handler(&request);
        if let Reply::Hold(then) = reply {
            shared.hold(before);
            reply = *then;
        }
        if !http::write(reader.get_mut(), stream, &reply).unwrap_or(false) {
            if matches!(reply, Reply::StalledBody(_) | Reply::Started(_)) {
                shared.hold(before);
            }
            return;
        }
        if let Reply::Unasked(_, other, is_written) = reply {
            shared.hold(before);
            if !http::write(reader.get_mut(), stream, &other).unwrap_or(false) {
                return;
            }
            is_written.store(true, Ordering::SeqCst);
        }
    }
}

impl Shared {
    /// Waits for the first release after the `before`th.
    fn hold(&self, before: u64) {
        let releases = lock(&self.releases);
        drop(self.released.wait_while(releases, |now| *now <= before));
    }
}
