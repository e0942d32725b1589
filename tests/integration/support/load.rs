//! Many parallel lookups, each on a connection of its own. An open loop sends so many a second, whether
//! or not earlier ones have ended, as mail arrives from everywhere. In a closed loop each client sends
//! its next lookup after its answer, as Postfix' processes do.
//!
//! The API behind them answers each request after a fixed time, and counts them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pfxhttp::model::secret::Secret;
use pfxhttp::model::{Answer, Credentials, Login, Mechanism, Question};
use pfxhttp::wire::ipc::{self, AnswerFrame, Hello, MAX_FROM_BROKER, Service, VERSION, Welcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::config::Kind;
use super::frames::map_question;
use super::peer::{netstring, policy_request};

/// An API that takes this long for each request.
pub(crate) struct SlowApi {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    _runtime: Runtime,
}

/// The address of the broker.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A TCP listener.
    Listener(SocketAddr),
    /// The broker's local socket, in frames.
    Local(PathBuf),
}

/// How a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the API's answer.
    Answered,
    /// With the protocol's temporary failure.
    Temporary,
}

/// One lookup: when it was sent, when it ended, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    pub(crate) how: Ended,
}

impl SlowApi {
    /// Starts an API on a port of its own. Its answer accepts a login, too.
    pub(crate) fn start(time: Duration) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let calls = Arc::clone(&counted);
                let answer = service_fn(move |request| answer(request, time, Arc::clone(&calls)));
                tokio::spawn(async move {
                    let _hung_up = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { address, calls, _runtime: runtime }
    }

    /// The URL of this path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The number of requests so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn answer(
    request: Request<Incoming>,
    time: Duration,
    calls: Arc<AtomicUsize>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    calls.fetch_add(1, Ordering::Relaxed);
    let end = tokio::time::Instant::now() + time;
    let _body = request.into_body().collect().await;
    sleep_until(end).await;
    let response = Response::builder().header("Auth-Status", "OK");
    Ok(response
        .body(Full::from(r#"{"value": "REJECT no", "action": "REJECT no"}"#))
        .expect("a legal response"))
}

/// Sends `rate` lookups a second for as long as `lasts`, and waits for the end of each.
///
/// # Panics
/// Where one ends with anything but the API's answer or the protocol's temporary one.
pub(crate) fn open_loop(kind: Kind, name: &str, place: &Place, rate: u32, lasts: Duration) -> Vec<Lookup> {
    let runtime = Runtime::new().expect("a runtime");
    let done = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let (start, step) = (tokio::time::Instant::now(), Duration::from_secs(1) / rate);
        let mut under_way = JoinSet::new();
        for number in 0.. {
            let at = step * number;
            if at >= lasts {
                break;
            }
            sleep_until(start + at).await;
            let (name, place, done) = (name.to_owned(), place.clone(), Arc::clone(&done));
            under_way.spawn(async move {
                let sent = Instant::now();
                let how = one(kind, &name, &place, number).await;
                let lookup = Lookup { sent, ended: Instant::now(), how };
                done.lock().unwrap_or_else(PoisonError::into_inner).push(lookup);
            });
        }
        while let Some(ended) = under_way.join_next().await {
            ended.expect("a lookup ends as one may");
        }
    });
    std::mem::take(&mut done.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Each of `clients` sends one lookup after another for as long as `lasts`.
///
/// # Panics
/// As [`open_loop`].
pub(crate) fn closed_loop(
    kind: Kind,
    name: &str,
    place: &Place,
    clients: u32,
    lasts: Duration,
) -> Vec<Lookup> {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let end = Instant::now() + lasts;
        let mut under_way = JoinSet::new();
        for client in 0..clients {
            let (name, place) = (name.to_owned(), place.clone());
            under_way.spawn(async move {
                let mut lookups = Vec::new();
                while Instant::now() < end {
                    let sent = Instant::now();
                    let number = client * 10_000 + lookups.len() as u32;
                    let how = one(kind, &name, &place, number).await;
                    lookups.push(Lookup { sent, ended: Instant::now(), how });
                }
                lookups
            });
        }
        let mut all = Vec::new();
        while let Some(lookups) = under_way.join_next().await {
            all.extend(lookups.expect("a lookup ends as one may"));
        }
        all
    })
}

async fn one(kind: Kind, name: &str, place: &Place, number: u32) -> Ended {
    match place {
        Place::Listener(address) => {
            let mut stream = TcpStream::connect(address).await.expect("the listener accepts");
            match kind {
                Kind::Map => map(&mut stream, name, number).await,
                Kind::Policy => policy(&mut stream, number).await,
                Kind::Login => login(&mut stream, number).await,
            }
        }
        Place::Local(path) => {
            let stream = UnixStream::connect(path).await.expect("the local socket accepts");
            in_frames(stream, kind, name, number).await
        }
    }
}

async fn map<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, name: &str, number: u32) -> Ended {
    stream.write_all(&netstring(format!("{name} key{number}"))).await.expect("it is read");
    let reply = until(stream, b",").await;
    match String::from_utf8_lossy(&reply).split_once(':') {
        Some((_, "OK REJECT no,")) => Ended::Answered,
        Some((_, "TEMP Temporary server problem,")) => Ended::Temporary,
        _ => panic!("a map's reply: {reply:?}"),
    }
}

async fn policy<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, number: u32) -> Ended {
    let recipient = format!("{number}@example.org");
    stream.write_all(&policy_request(&[("recipient", &recipient)])).await.expect("it is read");
    match &*until(stream, b"\n\n").await {
        b"action=REJECT no\n\n" => Ended::Answered,
        b"action=DEFER Temporary server problem\n\n" => Ended::Temporary,
        other => panic!("a policy's reply: {other:?}"),
    }
}

async fn login<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, number: u32) -> Ended {
    until(stream, b"DONE\n").await;
    // Each login has another remote address: \0uNNNNNN\0p.
    let response =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("\0u{number}\0p"));
    let [_, b, c, d] = (0x0100_0000 + number).to_be_bytes();
    let line = format!("AUTH\t1\tPLAIN\tservice=smtp\trip=10.{b}.{c}.{d}\tresp={response}\n");
    stream.write_all(format!("VERSION\t1\t0\nCPID\t1\n{line}").as_bytes()).await.expect("it is read");
    match &*until(stream, b"\n").await {
        b"" => Ended::Temporary,
        line if line.starts_with(b"OK\t1\t") => Ended::Answered,
        other => panic!("a login's reply: {:?}", String::from_utf8_lossy(other)),
    }
}

/// Reads to `end`, or to the end of the stream.
async fn until<S: AsyncRead + Unpin>(stream: &mut S, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        match stream.read_buf(&mut got).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    got
}

async fn in_frames(mut stream: UnixStream, kind: Kind, name: &str, number: u32) -> Ended {
    let name = name.to_owned();
    let (service, question) = match kind {
        Kind::Map => (Service::Socketmap, map_question(&name, &format!("key{number}"))),
        Kind::Policy => {
            let mut attributes = pfxhttp::model::Attributes::default();
            attributes.push("request", b"smtpd_access_policy");
            attributes.push("recipient", format!("{number}@example.org").as_bytes());
            (Service::Policy { name: name.clone() }, Question::Policy { name, attributes })
        }
        Kind::Login => {
            let password = Secret::new("p".to_owned());
            let login = Login {
                name: name.clone(),
                mechanism: Mechanism::Plain,
                credentials: Credentials::Password { user: format!("u{number}"), password },
                peer: Default::default(),
            };
            (Service::Login { name }, Question::Login(Box::new(login)))
        }
    };
    let mut out = Vec::new();
    Hello::encode(VERSION, &service, None, &mut out).expect("short");
    ipc::encode_request(u64::from(number), 0, &question, &mut out).expect("short");
    stream.write_all(&out).await.expect("it is read");
    let mut got = Vec::new();
    loop {
        let read = stream.read_buf(&mut got).await.expect("the broker answers");
        assert!(read > 0, "the broker hung up");
        let Ok(Some((_, welcome))) = Welcome::decode(&got) else { continue };
        match ipc::decode::<AnswerFrame>(&got[welcome..], MAX_FROM_BROKER).expect("a frame") {
            None => {}
            Some((AnswerFrame { answer: Answer::Failed { .. }, .. }, _)) => return Ended::Temporary,
            Some((
                AnswerFrame {
                    answer: Answer::Value(_) | Answer::Action(_) | Answer::Accepted { .. }, ..
                },
                _,
            )) => {
                return Ended::Answered;
            }
            Some((told, _)) => panic!("an answer: {told:?}"),
        }
    }
}
