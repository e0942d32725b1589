//! Sockets that listen: made before the runtime starts (`bind`), served after.
//!
//! Every accepted connection is a task of its own and costs little; what is bounded is their
//! number (`server.max_connections`): at the bound each listener holds one more, which waits until
//! another ends, and accepts no further one; nor does it while a
//! lookup that came through the listener waits in a full queue (`target::limit`). A failing
//! accept (no descriptor left, say) is tried again after a pause, never in a spin.

pub mod bind;

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::Listener as LocalListener;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::warn;

use crate::broker::Broker;
use crate::session::{self, Draining, Wire};
use crate::target::limit::Door;
use crate::warned::Warned;
use bind::{Bound, Place};

const PAUSE: Duration = Duration::from_millis(100);

/// What every listener hands to its connections.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Answers.
    pub broker: Arc<Broker>,
    /// One permit a connection.
    pub connections: Arc<Semaphore>,
    /// Set once the broker stops.
    pub draining: Draining,
    /// Dropped with the connection: the last one gone closes the channel.
    pub alive: mpsc::Sender<()>,
}

/// Serves all of `bound`, each in a task. The tasks end when `shared.draining` turns true, and
/// with them the listening sockets; their connections go on until what was asked is answered.
///
/// # Errors
/// Where the runtime refuses a socket.
pub fn serve(bound: Vec<Bound>, shared: &Shared) -> io::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    for Bound { place, wire, door, allowed } in bound {
        let shared = shared.clone();
        match place {
            Place::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                let prepare = if matches!(wire, Wire::Login(_)) { prepare_tcp_login } else { prepare_tcp };
                tasks.spawn(async move {
                    let next = async || listener.accept().await.map(|(stream, _)| stream);
                    accept(next, wire, door, shared, prepare).await;
                });
            }
            Place::Unix(socket) if matches!(wire, Wire::Local(_)) => {
                let (listener, name) = socket.into_parts();
                let listener = LocalListener::try_from(std::os::fd::OwnedFd::from(listener))?;
                tasks.spawn(async move {
                    let _name = name;
                    let warned = Warned::default();
                    let next = async || admitted(&listener, &allowed, &warned).await;
                    accept(next, wire, door, shared, |_| {}).await;
                });
            }
            Place::Unix(socket) => {
                let (listener, name) = socket.into_parts();
                let listener = UnixListener::from_std(listener)?;
                tasks.spawn(async move {
                    let _name = name;
                    let next = async || listener.accept().await.map(|(stream, _)| stream);
                    accept(next, wire, door, shared, |_| {}).await;
                });
            }
        }
    }
    Ok(tasks)
}

/// Accepts until the broker stops; what has connected by then is served, too.
async fn accept<S, N, F>(mut next: N, wire: Wire, door: Door, shared: Shared, prepare: fn(&S))
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
    N: FnMut() -> F,
    F: Future<Output = io::Result<S>>,
{
    let mut draining = shared.draining.clone();
    let mut complaint = Complaint::default();
    loop {
        let accepted = tokio::select! {
            // A connection that waits in the kernel's queue may have asked already.
            biased;
            accepted = async { door.open().await; next().await } => accepted,
            _ = draining.begun() => return,
        };
        if draining.is_over() {
            return;
        }
        match accepted {
            Ok(stream) => {
                prepare(&stream);
                let Some(permit) = shared.permit(&mut complaint).await else { return };
                let session = session::serve(
                    stream,
                    wire.clone(),
                    door.clone(),
                    shared.broker.clone(),
                    shared.draining.clone(),
                );
                let alive = shared.alive.clone();
                tokio::spawn(async move {
                    session.await;
                    drop((permit, alive));
                });
            }
            // Gone again, or not admitted: neither costs anybody else a pause.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => {
                if complaint.is_due() {
                    warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Shared {
    /// Waits for one of `server.max_connections`; `None` where the broker stops first.
    async fn permit(&self, complaint: &mut Complaint) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Some(permit);
        }
        if complaint.is_due() {
            warn!("server.max_connections is reached: new connections wait");
        }
        let mut draining = self.draining.clone();
        tokio::select! {
            permit = Arc::clone(&self.connections).acquire_owned() => permit.ok(),
            _ = draining.begun() => None,
        }
    }
}

/// Says a thing that lasts once a minute.
#[derive(Debug, Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() > Duration::from_secs(60));
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// Replies are small and complete: they leave at once. A peer that is gone without a word is
/// found out, for an idle policy connection has no other limit.
fn prepare_tcp(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_keepalive(true);
}

/// Besides, every close is a reset: Postfix 3.7 sees that one before its next AUTH and reconnects;
/// after an ordinary close it loses that AUTH, too (measured).
fn prepare_tcp_login(stream: &TcpStream) {
    prepare_tcp(stream);
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Accepts on the local socket, from the users that may ask (unix(7), SO_PEERCRED).
async fn admitted(
    listener: &LocalListener,
    allowed: &HashSet<u32>,
    warned: &Warned,
) -> io::Result<UnixStream> {
    let stream = listener.accept().await?;
    if !allowed.is_empty() {
        let user = stream.peer_creds()?.euid();
        if !user.is_some_and(|user| allowed.contains(&user)) {
            let user = user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
            if warned.is_news(&user) {
                warn!(user, "a user that is not in server.ipc.allow_users wanted to ask");
            }
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(stream.into())
}
