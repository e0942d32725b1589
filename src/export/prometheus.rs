//! The server for Prometheus: HTTP/1.1, plain or over TLS, GET and HEAD of the paths that `reply` knows.
//!
//! At most 64 connections, each for at most 30 s; each head and each TLS handshake within 5 s. A further
//! connection replaces the one that was idle longest. Credentials (RFC 7617) are compared in constant time. A reload changes everything but the address.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::Current;
use super::reply::reply;
use super::settings::Prometheus;

const HEAD: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 64;
/// After an accept that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds the address.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(settings: &Prometheus) -> io::Result<StdListener> {
    let said = |error: io::Error| {
        let address = settings.address;
        io::Error::new(error.kind(), format!("cannot listen for Prometheus on {address}: {error}"))
    };
    let listener = StdListener::bind(settings.address).map_err(said)?;
    listener.set_nonblocking(true).map_err(said)?;
    Ok(listener)
}

/// The server.
#[derive(Debug)]
pub struct PrometheusServer {
    served: Arc<ArcSwap<PreparedSettings>>,
}

/// The settings, with the credentials hashed.
#[derive(Debug)]
pub(super) struct PreparedSettings {
    pub(super) settings: Prometheus,
    /// A hash of the credentials in Base64, for a comparison in constant time.
    credentials: Option<[u8; 32]>,
}

impl PreparedSettings {
    fn new(settings: Prometheus) -> Self {
        let pair = settings.credentials.as_ref();
        let credentials = pair.map(|pair| hash(STANDARD.encode(pair.expose()).as_bytes()));
        Self { settings, credentials }
    }

    /// Whether the value of `Authorization` has the credentials, or none are needed.
    pub(super) fn admits(&self, header: Option<&HeaderValue>) -> bool {
        let Some(due) = &self.credentials else { return true };
        let given = header.and_then(|header| header.to_str().ok()?.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        given.is_some_and(|(_, given)| verify_slices_are_equal(due, &hash(given.trim().as_bytes())).is_ok())
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

impl PrometheusServer {
    /// Serves `current` on `listener`.
    ///
    /// # Errors
    /// The runtime refuses the socket.
    pub fn start(listener: StdListener, settings: Prometheus, current: &Arc<Current>) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let served = Arc::new(ArcSwap::from_pointee(PreparedSettings::new(settings)));
        tokio::spawn(accept(listener, Arc::clone(&served), Arc::clone(current)));
        Ok(Self { served })
    }

    /// Uses `settings` for new connections, but for the address.
    pub fn follow(&self, settings: Prometheus) {
        self.served.store(Arc::new(PreparedSettings::new(settings)));
    }
}

/// Numbers the events of all connections, to find the one that was idle longest.
type Clock = Arc<AtomicU64>;

/// A connection, open or ended.
struct ScrapeConnection {
    task: AbortHandle,
    /// The number of its last event: accepted, or a request.
    active: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, served: Arc<ArcSwap<PreparedSettings>>, current: Arc<Current>) {
    let clock = Clock::default();
    let mut connections: Vec<ScrapeConnection> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        make_room(&mut connections);
        let active = Arc::new(AtomicU64::new(clock.fetch_add(1, Ordering::Relaxed)));
        let context = ConnectionContext {
            served: served.load_full(),
            current: Arc::clone(&current),
            clock: Arc::clone(&clock),
            active: Arc::clone(&active),
        };
        let task = tokio::spawn(async move {
            if timeout(CONNECTION, serve(stream, context)).await.is_err() {
                debug!("a connection of Prometheus was closed after {CONNECTION:?}");
            }
        });
        connections.push(ScrapeConnection { task: task.abort_handle(), active });
    }
}

/// Makes room for one more.
fn make_room(connections: &mut Vec<ScrapeConnection>) {
    connections.retain(|open| !open.task.is_finished());
    if connections.len() < CONNECTIONS {
        return;
    }
    let active = |(_, open): &(usize, &ScrapeConnection)| open.active.load(Ordering::Relaxed);
    if let Some((place, _)) = connections.iter().enumerate().min_by_key(active) {
        connections.swap_remove(place).task.abort();
        debug!("a connection of Prometheus that was idle has made room");
    }
}

/// The context of a connection.
struct ConnectionContext {
    served: Arc<PreparedSettings>,
    current: Arc<Current>,
    clock: Clock,
    active: Arc<AtomicU64>,
}

async fn serve(stream: TcpStream, context: ConnectionContext) {
    let Some(tls) = context.served.settings.tls.clone() else { return exchange(stream, context).await };
    match timeout(HEAD, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => exchange(stream, context).await,
        Ok(Err(error)) => debug!(%error, "no TLS with Prometheus"),
        Err(_) => debug!("no TLS with Prometheus in time"),
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, context: ConnectionContext) {
    let service = service_fn(move |request| {
        context.active.store(context.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let reply = reply(&request, &context.served, &context.current);
        async move { Ok::<_, Infallible>(reply) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection of Prometheus broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    #[test]
    fn whoever_knows_the_password_is_admitted() {
        let settings = Prometheus {
            address: ([127, 0, 0, 1], 0).into(),
            path: "/metrics".to_owned(),
            runtime: false,
            status_page: false,
            credentials: Some(Secret::new("user:pass:word".to_owned())),
            tls: None,
        };
        assert!(!format!("{settings:?}").contains("pass"));
        let served = PreparedSettings::new(settings.clone());
        let admits = |header: &'static str| served.admits(Some(&HeaderValue::from_static(header)));
        assert!(admits("Basic dXNlcjpwYXNzOndvcmQ=") && admits("basic  dXNlcjpwYXNzOndvcmQ="));
        for header in ["Basic dXNlcjpwYXNz", "Basic", "Bearer dXNlcjpwYXNzOndvcmQ=", "", "Basic "] {
            assert!(!admits(header), "{header}");
        }
        assert!(!served.admits(None));
        assert!(PreparedSettings::new(Prometheus { credentials: None, ..settings }).admits(None));
    }
}
