//! Unary calls of gRPC to one origin, over HTTP/2 (RFC 9113), on one connection that all threads share.
//!
//! The message of a [`Request`] goes out as it is, and that of the answer becomes the body of a [`Reply`], whose
//! headers are the answer's metadata with `grpc-status`. Frames, limits and statuses are those of tonic. The
//! connections are our own: only so it is certain that a call was not sent, which is when hyper gives it back.
//! Then it goes out on a new connection. Nothing is sent before the peer has said SETTINGS, so that no password
//! goes to one that does not speak HTTP/2.
//!
//! A connection takes calls until 10 s after its last answer, and none after a call without an answer in time:
//! a peer that went without a word is not asked twice. Calls in progress go on. No PING is sent.

use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use http_body_util::combinators::MapFrame;
use hyper::body::{Buf, Bytes, Frame, Incoming};
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioExecutor;
use prost::bytes::BufMut;
use tokio::time::timeout_at;
use tonic::Status;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tower_service::Service;

use super::broken::{Broken, NoReply, Stage};
use super::connector::{Connector, Stream};
use super::reason::TlsKeys;
use super::{MAX_BODY, MAX_HEAD, Reply, Request, timely};
use crate::model::{Deadline, Failure, grpc};
use crate::observe::count_guard::CountGuard;
use crate::observe::metrics::{ConnectionCounts, Metrics};

/// How long after its last answer a connection takes calls. Whatever forgets connections in silence (a firewall, a
/// machine that starts anew) takes longer.
const KEPT: Duration = Duration::from_secs(10);
/// How often a call that was not sent is tried on a connection.
const TRIES: usize = 3;
/// The most bytes of an answer that are on their way, for one call and for all of a connection.
const CALL_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// tonic would panic if it held no Base64.
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The connections to one origin: the one that takes calls, and those whose calls go on.
#[derive(Debug)]
pub(super) struct GrpcConnections {
    pub(super) connector: Connector,
    current: Mutex<Option<GrpcConnection>>,
    /// Held by the call that connects; how that failed last. Calls that waited for it do not try once more.
    connecting: tokio::sync::Mutex<Option<(Instant, Broken)>>,
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Clone)]
struct GrpcConnection {
    sender: SendRequest<Body>,
    life: Arc<Life>,
}

/// How a connection fares.
#[derive(Debug)]
struct Life {
    /// When the peer was heard last; `None` if it did not answer in time.
    last: Mutex<Option<Instant>>,
    /// How it broke: h2 keeps no more of that than a text, or nothing.
    broken: OnceLock<Broken>,
}

impl Life {
    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) {
        if let Some(last) = self.last().as_mut() {
            *last = Instant::now();
        }
    }

    /// A call that began at `began` has no answer. If another one got one since, the peer is there.
    fn unanswered(&self, began: Instant) {
        self.last().take_if(|last| *last <= began);
    }

    /// When it takes no more calls.
    fn end(&self) -> Option<Instant> {
        self.last().map(|last| last + KEPT).filter(|end| *end > Instant::now())
    }

    /// How a call failed by `error`.
    fn failure(&self, error: &(dyn Error + 'static), keys: TlsKeys) -> Broken {
        let unsent = error.downcast_ref::<Unsent>();
        let told = unsent
            .map_or_else(|| Broken::in_exchange(error, keys), |Unsent(error)| Broken::unsent(error, keys));
        match self.broken.get() {
            Some(broken) if unsent.is_some() => Broken { stage: Stage::Unsent, ..broken.clone() },
            Some(broken) => broken.clone(),
            None => told,
        }
    }
}

/// The bytes of a connection, whose first error is kept.
struct Watched {
    stream: Stream,
    life: Arc<Life>,
    keys: TlsKeys,
}

impl Watched {
    fn keep<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.life.broken.get_or_init(|| Broken::in_exchange(error, self.keys));
        }
        polled
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.keep(polled)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.keep(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.keep(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl GrpcConnections {
    pub(super) fn new(connector: Connector, metrics: &Arc<Metrics>) -> Self {
        let (current, connecting, open) = Default::default();
        Self { connector: connector.for_http2(), current, connecting, open, metrics: Arc::clone(metrics) }
    }

    pub(super) fn counts(&self) -> ConnectionCounts {
        ConnectionCounts { idle: 0, open: self.open.load(Ordering::Relaxed) }
    }

    /// Calls on the connection that there is, else on a new one.
    pub(super) async fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Result<Reply, Broken> {
        let late = |_| Broken { stage: Stage::Unconnected, failure: Failure::Timeout, reason: "".into() };
        let mut tries = TRIES;
        loop {
            let connection = Box::pin(timely(deadline, self.connection())).await.map_err(late)??;
            tries -= 1;
            match self.call(connection, request, deadline).await {
                Err(Broken { stage: Stage::Unsent, .. }) if tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    /// The connection that takes calls. One call makes it, and those that wait for it share its failure.
    async fn connection(&self) -> Result<GrpcConnection, Broken> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let since = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        if let Some((_, broken)) = failed.as_ref().filter(|(at, _)| *at >= since) {
            return Err(broken.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                Ok(connection)
            }
            Err(broken) => {
                *failed = Some((Instant::now(), broken.clone()));
                Err(broken)
            }
        }
    }

    fn current(&self) -> Option<GrpcConnection> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |one: &GrpcConnection| !one.sender.is_closed() && one.life.end().is_some();
        if !current.as_ref().is_some_and(is_good) {
            *current = None;
        }
        current.clone()
    }

    async fn connect(&self) -> Result<GrpcConnection, Broken> {
        let opened = self.connector.open().await;
        let (stream, _) = opened.map_err(|error| Broken::unconnected(&*error, &self.connector))?;
        let life = Arc::new(Life { last: Mutex::new(Some(Instant::now())), broken: OnceLock::new() });
        let keys = self.connector.keys();
        let handshake = Builder::new(TokioExecutor::new())
            .initial_max_send_streams(0)
            .initial_stream_window_size(CALL_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .handshake(Watched { stream, life: Arc::clone(&life), keys })
            .await;
        let (sender, connection) = handshake.map_err(|error| Broken::unsent(&error, keys))?;
        self.metrics.connections.add();
        tokio::spawn(drive(connection, Arc::clone(&life), keys, CountGuard::new(&self.open)));
        Ok(GrpcConnection { sender, life })
    }

    async fn call(
        &self,
        connection: GrpcConnection,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Reply, Broken> {
        let began = Instant::now();
        let GrpcConnection { sender, life } = connection;
        let mut headers = request.all_headers();
        // The one is in the target (RFC 9113 8.3.1), the other one is not that of the message alone.
        for name in [HOST, CONTENT_LENGTH] {
            headers.remove(name);
        }
        let client = Grpc::with_origin(CallService { sender, headers }, self.connector.origin().clone());
        let mut client = client.max_decoding_message_size(MAX_BODY);
        let mut message = tonic::Request::new(request.body.clone());
        message.set_timeout(deadline.remaining());
        let outcome = timely(deadline, client.unary(message, request.path.clone(), MessageCodec)).await;
        let status = match outcome {
            Ok(Ok(response)) => {
                life.heard();
                let (metadata, body, _) = response.into_parts();
                return Ok(Reply { at: Instant::now(), status: 200, headers: metadata.into_headers(), body });
            }
            Ok(Err(status)) => status,
            Err(failure) => {
                life.unanswered(began);
                return Err(Broken::refused(failure, ""));
            }
        };
        match status.source() {
            None => {
                life.heard();
                Ok(reply_of(&status))
            }
            Some(error) => Err(life.failure(error, self.connector.keys())),
        }
    }
}

/// A call that ended with a status other than OK: the peer's, or what tonic makes of an answer that is none.
fn reply_of(status: &Status) -> Reply {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, (status.code() as u16).into());
    }
    Reply { at: Instant::now(), status: 200, headers, body: Vec::new() }
}

/// The status of a call for metrics, which the Go program's library also has for a call without an answer.
pub(super) fn status_of(outcome: &Result<Reply, NoReply>) -> u16 {
    match outcome {
        Ok(reply) => reply.grpc_status(),
        Err(NoReply { failure: Failure::Timeout, .. }) => grpc::DEADLINE_EXCEEDED,
        Err(_) => grpc::UNAVAILABLE,
    }
}

/// Moves the bytes of a connection until it ends, or takes no more calls. The executor goes on with its calls.
async fn drive(
    connection: Connection<Watched, Body, TokioExecutor>,
    life: Arc<Life>,
    keys: TlsKeys,
    _open: CountGuard,
) {
    let mut connection = pin!(connection);
    while let Some(end) = life.end() {
        if let Ok(ended) = timeout_at(end.into(), &mut connection).await {
            // Calls that wait fail when the connection is dropped, which is after this.
            if let Err(error) = ended {
                life.broken.get_or_init(|| Broken::in_exchange(&error, keys));
            }
            return;
        }
    }
}

/// Sends a call of tonic on a connection.
struct CallService {
    sender: SendRequest<Body>,
    headers: HeaderMap,
}

/// The call was not sent.
#[derive(Debug)]
struct Unsent(hyper::Error);

impl std::fmt::Display for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Unsent {}

type Answer = hyper::Response<MapFrame<Incoming, fn(Frame<Bytes>) -> Frame<Bytes>>>;

impl Service<hyper::Request<Body>> for CallService {
    type Response = Answer;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Self::Error>> + Send>>;

    /// Whether the connection takes calls shows when it gets one.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: hyper::Request<Body>) -> Self::Future {
        request.headers_mut().extend(std::mem::take(&mut self.headers));
        let sent = self.sender.try_send_request(request);
        Box::pin(async move {
            let mut answer = sent.await.map_err(|error| -> Self::Error {
                match error.message() {
                    Some(_) => Unsent(error.into_error()).into(),
                    None => error.into_error().into(),
                }
            })?;
            answer.headers_mut().remove(DETAILS);
            Ok(answer.map(|body| body.map_frame(without_details as fn(_) -> _)))
        })
    }
}

fn without_details(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.trailers_mut().and_then(|trailers| trailers.remove(DETAILS));
    frame
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct MessageCodec;

impl Codec for MessageCodec {
    type Encode = Bytes;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for MessageCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for MessageCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining()).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConnectionSettings, Http, HttpSettings, Protocol};
    use super::*;
    use http_body_util::Full;
    use hyper::header::HeaderValue;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::net::TcpListener;
    use url::Url;

    /// A service that answers each call with these bytes and trailers.
    async fn serve(body: Vec<u8>, trailers: &'static [(&'static str, &'static str)]) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let body = Bytes::from(body);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let body = body.clone();
                let answer = service_fn(move |_| {
                    let all = trailers.iter().map(|(name, value)| {
                        (HeaderName::from_static(name), HeaderValue::from_static(value))
                    });
                    let trailers = HeaderMap::from_iter(all);
                    let trailers = (!trailers.is_empty()).then_some(Ok(trailers));
                    let body = Full::new(body.clone()).with_trailers(std::future::ready(trailers));
                    std::future::ready(Ok::<_, Infallible>(hyper::Response::new(body)))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
            }
        });
        url.parse().expect("a URL")
    }

    /// The status of a call, and its message.
    async fn call(url: &Url) -> (u16, Vec<u8>) {
        let http = Http::new(HttpSettings::plain(1), &Arc::default());
        let settings = ConnectionSettings { protocol: Protocol::Grpc, ..ConnectionSettings::default() };
        let host = http.host_by(url, &settings);
        let headers = host.headers(&HeaderMap::new());
        let request = Request {
            method: hyper::Method::POST,
            path: "/s/m".parse().expect("a path"),
            headers: &headers,
            own: &[],
            authorization: None,
            body: Bytes::from_static(b"message"),
            repeatable: false,
        };
        let deadline = Deadline::after(Duration::from_secs(10));
        let reply = host.exchange(&request, &Default::default(), deadline).await.expect("an answer");
        (reply.grpc_status(), reply.body)
    }

    /// A frame with a message of so many bytes.
    fn frame(length: u32) -> Vec<u8> {
        let mut frame = vec![0];
        frame.extend(length.to_be_bytes());
        frame.resize(5 + length as usize, b'x');
        frame
    }

    #[tokio::test]
    async fn only_a_whole_answer_is_one() {
        const OK: (&str, &str) = ("grpc-status", "0");
        assert_eq!(call(&serve(frame(3), &[OK]).await).await, (0, b"xxx".to_vec()));
        assert_eq!(call(&serve(frame(0), &[OK]).await).await, (0, Vec::new()));
        assert_eq!(call(&serve(frame(MAX_BODY as u32), &[OK]).await).await.1.len(), MAX_BODY);
        for (what, body, trailers, status) in [
            ("too long", frame(MAX_BODY as u32 + 1), &[OK][..], 11),
            ("no message", Vec::new(), &[OK], 13),
            ("half a message", frame(9)[..7].to_vec(), &[OK], 13),
            ("compressed", [&[1], &frame(1)[1..]].concat(), &[OK], 13),
            ("not a frame", b"<html></html>".to_vec(), &[OK], 13),
            ("no status", frame(3), &[], grpc::UNKNOWN),
            ("no number", frame(3), &[("grpc-status", "x")], grpc::UNKNOWN),
            ("a status", frame(3), &[("grpc-status", "14")], 14),
            ("no Base64", Vec::new(), &[("grpc-status", "7"), ("grpc-status-details-bin", "%%")], 7),
        ] {
            assert_eq!(call(&serve(body, trailers).await).await, (status, Vec::new()), "{what}");
        }
    }

    #[test]
    fn a_connection_takes_calls_until_nobody_answers() {
        let now = Instant::now();
        let life = |last| Life { last: Mutex::new(last), broken: OnceLock::new() };
        let long_ago = now.checked_sub(KEPT + Duration::from_secs(1)).expect("a running machine");
        assert!(life(Some(now)).end().is_some());
        assert!(life(Some(long_ago)).end().is_none());
        let one = life(Some(now));
        one.unanswered(now.checked_sub(Duration::from_secs(1)).expect("a running machine"));
        assert!(one.end().is_some(), "another call was answered since");
        one.unanswered(now);
        assert!(one.end().is_none());
        one.heard();
        assert!(one.end().is_none(), "an answer that comes too late does not bring it back");
    }
}
