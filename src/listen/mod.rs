//! Sockets that listen: made before the runtime starts (`bind`), served after.
//!
//! Every accepted connection is a task of its own and costs little; what is bounded is their
//! number (`server.max_connections`): at the bound nothing is accepted until one ends, nor while a
//! lookup that came through the listener waits in a full queue (`target::limit`). A failing
//! accept (no descriptor left, say) is tried again after a pause, never in a spin.

pub mod bind;

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::Listener as LocalListener;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::broker::Broker;
use crate::session::{self, Wire};
use crate::target::limit::Door;
use bind::{Bound, Place};

const PAUSE: Duration = Duration::from_millis(100);

/// What every listener hands to its connections.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Answers.
    pub broker: Arc<Broker>,
    /// One permit a connection.
    pub connections: Arc<Semaphore>,
    /// True once the broker stops.
    pub draining: watch::Receiver<bool>,
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
                tasks.spawn(async move {
                    let next = async || listener.accept().await.map(|(stream, _)| stream);
                    accept(next, wire, door, shared, prepare_tcp).await;
                });
            }
            Place::Unix(socket) if matches!(wire, Wire::Local(_)) => {
                let (listener, name) = socket.into_parts();
                let listener = LocalListener::try_from(std::os::fd::OwnedFd::from(listener))?;
                tasks.spawn(async move {
                    let _name = name;
                    let next = async || admitted(&listener, &allowed).await;
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

/// Accepts until the broker stops.
async fn accept<S, N, F>(mut next: N, wire: Wire, door: Door, shared: Shared, prepare: fn(&S))
where
    S: AsyncRead + AsyncWrite + std::os::fd::AsFd + Unpin + Send + 'static,
    N: FnMut() -> F,
    F: Future<Output = io::Result<S>>,
{
    let mut draining = shared.draining.clone();
    loop {
        let accepted = async {
            door.open().await;
            let permit = shared.connections.clone().acquire_owned().await;
            (next().await, permit)
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        match stream {
            Ok(stream) => {
                prepare(&stream);
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
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => debug!(%error, "local socket"),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Replies are small and complete: they leave at once. A peer that is gone without a word is
/// found out, for an idle policy connection has no other limit.
fn prepare_tcp(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_keepalive(true);
}

/// Accepts on the local socket, from the users that may ask (unix(7), SO_PEERCRED).
async fn admitted(listener: &LocalListener, allowed: &HashSet<u32>) -> io::Result<UnixStream> {
    let stream = listener.accept().await?;
    if !allowed.is_empty() {
        let user = stream.peer_creds()?.euid();
        if !user.is_some_and(|user| allowed.contains(&user)) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("user {user:?} may not ask"),
            ));
        }
    }
    Ok(stream.into())
}
