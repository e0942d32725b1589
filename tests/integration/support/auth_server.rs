//! A server of Dovecot's authentication protocol in a thread, for tests of real clients: what they send
//! to it, and how they take its answers. A closure decides about each line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socket2::SockRef;
use tempfile::TempDir;

use super::port::Port;
use super::site::open_directory;

/// What it sends when a client has connected.
const HANDSHAKE: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n\
    MECH\tOAUTHBEARER\tplaintext\nMECH\tXOAUTH2\tplaintext\nSPID\t1\nCUID\t1\n\
    COOKIE\t0123456789abcdef0123456789abcdef\nDONE\n";

/// The answer to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Says {
    /// These lines, each with its LF.
    Lines(String),
    /// Closes the connection; over TCP with a reset, because Postfix 3.7.11 notices another close too
    /// late.
    Close,
}

type Decide = Arc<dyn Fn(&[&str]) -> Says + Send + Sync>;

/// A running server, on a unix socket and on a port.
pub(crate) struct AuthServer {
    heard: Arc<Mutex<Vec<String>>>,
    closing: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    port: Port,
    directory: TempDir,
}

/// One connection's two halves.
trait Wire: Read + Write + Send + Sized + 'static {
    fn twin(&self) -> Self;

    /// Makes the close of the connection a reset, if the socket is TCP.
    fn reset_at_close(&self) {}
}

impl Wire for TcpStream {
    fn twin(&self) -> Self {
        self.try_clone().expect("a descriptor")
    }

    fn reset_at_close(&self) {
        SockRef::from(self).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

impl Wire for UnixStream {
    fn twin(&self) -> Self {
        self.try_clone().expect("a descriptor")
    }
}

impl AuthServer {
    /// Starts one; `decide` gets the fields of each AUTH and CONT line.
    pub(crate) fn start(decide: impl Fn(&[&str]) -> Says + Send + Sync + 'static) -> Self {
        let (directory, port) = (open_directory(), Port::reserve());
        let (heard, closing) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let decide: Decide = Arc::new(decide);
        let path = directory.path().join("auth.sock");
        let unix = UnixListener::bind(&path).expect("a new socket");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("its mode can be set");
        let tcp = TcpListener::bind(port.address()).expect("a reserved port can be bound");
        let threads = {
            let accept_unix = move || unix.accept().map(|(stream, _)| stream);
            let accept_tcp = move || tcp.accept().map(|(stream, _)| stream);
            vec![
                serve(accept_unix, Arc::clone(&decide), Arc::clone(&heard), Arc::clone(&closing)),
                serve(accept_tcp, decide, Arc::clone(&heard), Arc::clone(&closing)),
            ]
        };
        Self { heard, closing, threads, port, directory }
    }

    /// A server that accepts the password "secret" and the token "good-token". For "broken" it closes
    /// the connection, and denies everything else, in the dialogue of each mechanism.
    pub(crate) fn usual() -> Self {
        Self::start(usual)
    }

    /// Its unix socket.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("auth.sock")
    }

    /// Its port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The lines that clients sent.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let _woken = (TcpStream::connect(self.address()), UnixStream::connect(self.path()));
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

fn serve<W: Wire>(
    accept: impl Fn() -> std::io::Result<W> + Send + 'static,
    decide: Decide,
    heard: Arc<Mutex<Vec<String>>>,
    closing: Arc<AtomicBool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while let Ok(stream) = accept() {
            if closing.load(Ordering::SeqCst) {
                return;
            }
            let (decide, heard) = (Arc::clone(&decide), Arc::clone(&heard));
            // Ends when the client hangs up.
            std::thread::spawn(move || talk(stream, &decide, &heard));
        }
    })
}

fn talk<W: Wire>(mut stream: W, decide: &Decide, heard: &Mutex<Vec<String>>) {
    stream.reset_at_close();
    if stream.write_all(HANDSHAKE.as_bytes()).is_err() {
        return;
    }
    for line in BufReader::new(stream.twin()).lines().map_while(Result::ok) {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        let fields: Vec<&str> = line.split('\t').collect();
        if !matches!(fields[0], "AUTH" | "CONT") {
            continue;
        }
        match decide(&fields) {
            Says::Lines(lines) if stream.write_all(lines.as_bytes()).is_ok() => {}
            Says::Lines(_) | Says::Close => return,
        }
    }
}

fn usual(fields: &[&str]) -> Says {
    let id = fields[1];
    let line = |line: String| Says::Lines(line + "\n");
    let challenge = |text: &str| line(format!("CONT\t{id}\t{}", STANDARD.encode(text)));
    let said = match fields[0] {
        "CONT" => Some(fields[2]),
        _ => fields.iter().find_map(|field| field.strip_prefix("resp=")),
    };
    let Some(said) = said.map(decoded) else {
        return challenge(if fields[2].eq_ignore_ascii_case("LOGIN") { "Username:" } else { "" });
    };
    let secret = said.trim_end_matches('\x01').rsplit(['\0', ' ']).next().unwrap_or_default();
    let by_token = said.contains("\x01auth=Bearer ");
    match secret {
        "broken" => Says::Close,
        "secret" if !by_token => line(format!("OK\t{id}\tuser=u@example.com")),
        "good-token" if by_token => line(format!("OK\t{id}\tuser=u@example.com")),
        // LOGIN sends the name first.
        "u@example.com" => challenge("Password:"),
        _ if by_token && said.starts_with("user=") => {
            challenge(r#"{"status":"401","schemes":"bearer","scope":"mail"}"#)
        }
        _ if by_token => challenge(r#"{"status":"invalid_token","scope":"mail"}"#),
        // Also the client's confirmation of a refused token.
        _ => line(format!("FAIL\t{id}\treason=no")),
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap_or_default()
}
