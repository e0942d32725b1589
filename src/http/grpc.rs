//! Unary calls of gRPC to one origin, over HTTP/2 (RFC 9113), on one connection that all threads share.
//!
//! The message of a [`Request`] goes out as it is, and that of the answer becomes the body of a [`Reply`], whose
//! headers are the answer's metadata with `grpc-status`. Frames, limits and statuses are those of tonic. The
//! connections are our own: only so it is certain that a call was not sent, which is when hyper did not take its message.
//! Then it goes out on a new connection, and not at all if the call is over. Nothing is sent before the peer has said SETTINGS, so that no password
//! goes to one that does not speak HTTP/2.
//!
//! A connection takes calls until 10 s after its last answer, and none after a call without an answer in a second or more:
//! a peer that went without a word is not asked twice. Calls in progress go on. No PING is sent.

mod answer;
mod call;
mod life;

use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout_at;
use tonic::client::Grpc;

use super::broken::{Broken, NoReply, Stage};
use super::connector::Connector;
use super::reason::TlsKeys;
use super::{MAX_BODY, MAX_HEAD, Reply, Request, timely};
use crate::model::{Deadline, Failure, grpc};
use crate::observe::count_guard::CountGuard;
use crate::observe::metrics::{ConnectionCounts, Metrics};
use call::{CallService, ClosesGate, Gate, GatedBody, MessageCodec, reply_of};
use life::{Life, Watched};

/// How often a call that was not sent is tried on a connection.
const TRIES: usize = 3;
/// The most bytes of an answer that are on their way, for one call and for all of a connection.
const CALL_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

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
    sender: SendRequest<GatedBody>,
    life: Arc<Life>,
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
    pub(super) async fn exchange(
        self: &Arc<Self>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Reply, Broken> {
        let late = |_| Broken::not_connected_in_time();
        let mut tries = TRIES;
        loop {
            let connection = Box::pin(timely(deadline, self.connection())).await.map_err(late)??;
            tries -= 1;
            match self.call(connection, request, deadline).await {
                // An alert of TLS would be the same on another one.
                Err(Broken { stage: Stage::Unsent, failure, .. }) if tries > 0 && failure != Failure::Tls => {
                }
                outcome => return outcome,
            }
        }
    }

    /// The connection that takes calls. A new one is made by a task of its own: so it is there for the next call if
    /// this one has less time than connecting takes.
    async fn connection(self: &Arc<Self>) -> Result<GrpcConnection, Broken> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let (own, since) = (Arc::clone(self), Instant::now());
        let connecting = tokio::spawn(async move { own.connected(since).await });
        let ended = |_| {
            Err(Broken { stage: Stage::Unconnected, ..Broken::refused(Failure::Connect, "no connection") })
        };
        connecting.await.unwrap_or_else(ended)
    }

    /// Connects for all calls that wait since the last failure, and they share this one's.
    async fn connected(&self, since: Instant) -> Result<GrpcConnection, Broken> {
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
        let stream = opened.map_err(|error| Broken::unconnected(&*error, &self.connector))?;
        let life = Arc::new(Life::new());
        let keys = self.connector.keys();
        let handshake = Builder::new(TokioExecutor::new())
            .initial_max_send_streams(0)
            .initial_stream_window_size(CALL_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .handshake(Watched::new(stream, &life, keys))
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
        let gate = Gate::default();
        let _closes = ClosesGate(gate.clone());
        let service = CallService { sender, headers, gate: gate.clone() };
        let client = Grpc::with_origin(service, self.connector.origin().clone());
        let mut client = client.max_decoding_message_size(MAX_BODY);
        let mut message = tonic::Request::new(request.body.clone());
        message.set_timeout(deadline.remaining());
        let outcome = timely(deadline, client.unary(message, request.path.clone(), MessageCodec)).await;
        let status = match outcome {
            Ok(Ok(response)) => {
                life.heard();
                let (metadata, body, _) = response.into_parts();
                return Ok(Reply {
                    at: Instant::now(),
                    status: 200,
                    headers: (&metadata.into_headers()).into(),
                    body,
                });
            }
            Ok(Err(status)) => status,
            Err(_) => {
                life.unanswered(began);
                return Err(Broken::not_answered_in_time());
            }
        };
        match status.source() {
            None => {
                life.heard();
                Ok(reply_of(&status))
            }
            Some(error) => {
                let broken = life.failure(error, self.connector.keys());
                if !gate.close() {
                    return Err(broken);
                }
                self.forget(&life);
                Err(Broken { stage: Stage::Unsent, ..broken })
            }
        }
    }

    /// A connection that did not take a call takes no other one.
    fn forget(&self, life: &Arc<Life>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.take_if(|one| Arc::ptr_eq(&one.life, life));
    }
}

/// The status of a call for metrics, which the Go program's library also has for a call without an answer.
pub(super) fn status_of(outcome: &Result<Reply, NoReply>) -> u16 {
    match outcome {
        Ok(reply) => reply.grpc_status(),
        Err(NoReply { failure: Failure::Timeout, .. }) => grpc::DEADLINE_EXCEEDED,
        Err(_) => grpc::UNAVAILABLE,
    }
}

/// A call whose answer is a status other than OK, as a trace tells it: that of HTTP is 200 all the same.
pub(super) fn refused(outcome: &Result<Reply, NoReply>) -> Option<Failure> {
    let status = outcome.as_ref().ok().map(Reply::grpc_status);
    status.filter(|status| *status != grpc::OK).map(Failure::Status)
}

/// Moves the bytes of a connection until it ends, or takes no more calls. The executor goes on with its calls.
async fn drive(
    connection: Connection<Watched, GatedBody, TokioExecutor>,
    life: Arc<Life>,
    keys: TlsKeys,
    _open: CountGuard,
) {
    let mut connection = pin!(connection);
    while let Some(end) = life.end() {
        if let Ok(ended) = timeout_at(end.into(), &mut connection).await {
            // Calls that wait fail when the connection is dropped, which is after this.
            if let Err(error) = ended {
                life.broke(&error, keys);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConnectionSettings, Http, HttpSettings, Protocol, Transport};
    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
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
                    let answer = hyper::Response::builder().header("content-type", "application/grpc");
                    std::future::ready(answer.body(body))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
            }
        });
        url.parse().expect("a URL")
    }

    /// The status of a call, and its message.
    async fn call(url: &Url) -> (u16, Vec<u8>) {
        call_by(&Http::new(HttpSettings::plain(1), &Arc::default()), url).await
    }

    async fn call_by(http: &Http, url: &Url) -> (u16, Vec<u8>) {
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

    #[tokio::test]
    async fn a_call_that_has_less_time_than_connecting_takes_leaves_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}/", listener.local_addr().expect("an address"));
        let http = Http::new(HttpSettings::plain(1), &Arc::default());
        let settings = ConnectionSettings { protocol: Protocol::Grpc, ..ConnectionSettings::default() };
        let host = http.host_by(&url.parse().expect("a URL"), &settings);
        let Ok(Transport::Grpc(connections)) = &host.transport else { panic!("no gRPC") };
        let since = Instant::now();
        for _ in 0..3 {
            let soon = Deadline::after(Duration::from_millis(20));
            let late = timely(soon, connections.connection()).await;
            assert!(late.is_err());
        }
        let (first, _) = listener.accept().await.expect("a connection");
        // The end of its handshake is the end of all attempts.
        drop(first);
        let outcome = connections.connected(since).await;
        assert!(outcome.is_err());
        let second = timely(Deadline::after(Duration::from_millis(1)), listener.accept()).await;
        assert!(second.is_err(), "each call made a connection");
    }

    /// Listens, and takes no connection: the system drops what its queue has no place for.
    async fn hang(at: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(at).expect("a free port");
        let listener = socket.listen(0).expect("a bound socket can listen");
        let mut queued = Vec::new();
        let soon = Duration::from_millis(300);
        while let Ok(stream) = tokio::time::timeout(soon, TcpStream::connect(at)).await {
            queued.push(stream.expect("a connection"));
            assert!(queued.len() < 16, "the queue is never full");
        }
        (listener, queued)
    }

    #[tokio::test]
    async fn the_next_address_of_a_name_is_tried_within_the_time_to_connect() {
        for hangs in [false, true] {
            let url = serve(frame(3), &[("grpc-status", "0")]).await;
            let port = url.port().expect("a port");
            let at = |last: u8, port: u16| SocketAddr::from(([127, 0, 0, last], port));
            let _dead = if hangs { Some(hang(at(2, port)).await) } else { None };
            let http = Http::new(HttpSettings::plain(1), &Arc::default());
            http.resolver.know("api.invalid", &[at(2, 0), at(1, 0)]);
            let url = format!("http://api.invalid:{port}/").parse().expect("a URL");
            let began = Instant::now();
            assert_eq!(call_by(&http, &url).await, (0, b"xxx".to_vec()), "it hangs: {hangs}");
            let took = began.elapsed();
            assert!(took < super::super::CONNECT, "{took:?}");
            assert!(!hangs || took > Duration::from_millis(500), "{took:?}: the first address was not tried");
        }
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
}
