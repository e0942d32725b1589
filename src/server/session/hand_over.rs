//! The greeting of a client, and the hand-over of Postfix' connection (`wire::ipc` describes the steps).
//!
//! A client passes the connection in the message of its hello, which recvmsg(2) alone receives: read(2) throws
//! descriptors away. At most two are received with a message, and one is kept. It is read only after the
//! client has given it up. If it is not taken, the client forwards requests.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType};
use tokio::io::{AsyncRead, AsyncReadExt, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::peer::{Waits, read, write};
use super::{HALF_READ, Session, SessionProtocol};
use crate::broker::Broker;
use crate::model::OnFailure;
use crate::observe::metrics::HandOver;
use crate::server::connection::{Connection, Registered, prepare_tcp};
use crate::wire::ipc::{self, Hello, Offer, Service, Verdict, Welcome, YOURS};

/// How long a client may take to give the connection up.
const GIVE_UP: Duration = Duration::from_secs(2);

/// What is to be served after a greeting.
pub(super) enum Greeted {
    /// Postfix' connection.
    Taken(Registered),
    /// The client, of which this was read.
    Client(Vec<u8>),
}

/// Reads the greeting on `stream`, and answers it. Then the protocol of `session` is that of the connection to
/// be served. `None`: the client is gone or is not served.
pub(super) async fn greet(stream: &mut UnixStream, session: &mut Session) -> Option<Greeted> {
    let mut waits = Waits::new(&session.draining);
    let mut received = Vec::new();
    let mut incoming = Incoming { stream, descriptors: Descriptors::default() };
    let hello = loop {
        match Hello::decode(&received) {
            Ok(Some((hello, consumed))) => {
                received.drain(..consumed);
                break hello;
            }
            // The whole greeting comes with the descriptor. One that waits for the rest would be kept for nothing.
            Ok(None) => incoming.descriptors.first = None,
            Err(_) => return closed("no greeting"),
        }
        // A client sends its greeting at once.
        if !matches!(read(&mut incoming, &mut received, Some(HALF_READ), None, &mut waits).await, Ok(1..)) {
            return None;
        }
    };
    let descriptors = incoming.descriptors;
    let broker = session.generation.current();
    let (Some(service), offer) = (hello.service, hello.offer) else {
        let verdict = if hello.version < ipc::OLDEST { Verdict::TooOld } else { Verdict::TooNew };
        let _ = say(stream, verdict, session).await;
        return closed("frame version not served");
    };
    if let Some(offer) = offer {
        let in_progress = session.listener.begin_hand_over();
        let judged = in_progress.as_ref().ok_or(HandOver::Busy);
        let taken = match judged.and_then(|_| judge(descriptors, &service, &broker, session, stream)) {
            Ok(connection) => take_over(stream, &received, connection, session).await,
            Err(refusal) => Err(refusal),
        };
        drop(in_progress);
        let result = taken.as_ref().err().copied().unwrap_or(HandOver::Taken);
        session.listener.counters.iter().for_each(|counters| counters.offered(result));
        match taken {
            Ok(connection) => {
                debug!(%service, "a connection was handed over");
                session.protocol = protocol(service, offer, &broker);
                return Some(Greeted::Taken(connection));
            }
            Err(HandOver::NotGivenUp) => return closed("the client did not give up the connection"),
            Err(refusal) => refused(&service, refusal, session),
        }
    }
    say(stream, served(&broker, &service), session).await?;
    session.protocol = SessionProtocol::Frames(service);
    Some(Greeted::Client(received))
}

fn closed(reason: &str) -> Option<Greeted> {
    debug!(reason, "connection closed");
    None
}

fn refused(service: &Service, refusal: HandOver, session: &Session) {
    let reason = refusal.label();
    // The first two are no fault of the client; of an unknown name another message warns.
    if matches!(refusal, HandOver::Off | HandOver::HungUp | HandOver::UnknownName) {
        debug!(reason, "a connection was not taken over: its client forwards the requests");
    } else if session.warnings.is_due(reason) {
        warn!(%service, reason, "a connection was not taken over: its client forwards the requests");
    }
}

/// Tells the client the verdict; `None` if it does not read it.
async fn say(stream: &mut UnixStream, verdict: Verdict, session: &mut Session) -> Option<()> {
    let mut out = Vec::new();
    Welcome { version: ipc::VERSION, verdict }.encode(&mut out).ok()?;
    write(stream, &out, &mut session.draining).await.ok()
}

fn served(broker: &Broker, service: &Service) -> Verdict {
    let terms = broker.terms(service);
    Verdict::Served {
        budget_ms: u32::try_from(terms.budget.as_millis()).unwrap_or(u32::MAX),
        on_failure: terms.on_failure,
        mechanisms: terms.mechanisms,
    }
}

/// How Postfix' connection is served in place of the client.
fn protocol(service: Service, offer: Offer, broker: &Broker) -> SessionProtocol {
    let Offer { on_failure, mechanisms } = offer;
    // A client that forwards knows that of the entry by now, too.
    let on_failure = broker.terms(&service).on_failure.unwrap_or(on_failure);
    match service {
        Service::Socketmap => SessionProtocol::Socketmap,
        Service::Policy { name } => {
            let fallback = (on_failure != OnFailure::default()).then(|| Arc::new(on_failure));
            SessionProtocol::Policy(name.into(), fallback)
        }
        Service::Login { name } => {
            SessionProtocol::Login(name.into(), mechanisms.filter(|offered| !offered.is_empty()))
        }
    }
}

/// Whether the broker takes what came with the greeting, before the client hears of it.
fn judge(
    mut descriptors: Descriptors,
    service: &Service,
    broker: &Broker,
    session: &Session,
    client: &UnixStream,
) -> Result<Registered, HandOver> {
    if !session.listener.takes_over() {
        return Err(HandOver::Off);
    }
    if !broker.knows(service) {
        return Err(HandOver::UnknownName);
    }
    match (descriptors.count, descriptors.first.take()) {
        (1, Some(descriptor)) => {
            let connection = connection_of(descriptor).ok_or(HandOver::NoConnection)?;
            if connection.is_hung_up() {
                return Err(HandOver::HungUp);
            }
            if is_of_the_same_user(&connection, client) {
                return Err(HandOver::NoConnection);
            }
            let is_login = matches!(service, Service::Login { .. });
            register(connection, is_login).map_err(|_| HandOver::NoConnection)
        }
        (0, _) | (_, None) => Err(HandOver::NoDescriptor),
        _ => Err(HandOver::SeveralDescriptors),
    }
}

/// A user who passes both ends of a connection would leave two sessions that nobody ends. Between Postfix and a
/// client the users differ. Tests and administrators may be root.
fn is_of_the_same_user(connection: &Connection, client: &UnixStream) -> bool {
    let Connection::Unix(connection) = connection else { return false };
    match (net::sockopt::socket_peercred(connection), client.peer_cred()) {
        (Ok(peer), Ok(client)) => client.uid() != 0 && peer.uid.as_raw() == client.uid(),
        _ => true,
    }
}

/// A connected stream socket.
fn connection_of(descriptor: OwnedFd) -> Option<Connection> {
    let is_stream = net::sockopt::socket_type(&descriptor) == Ok(SocketType::STREAM);
    let is_listening = net::sockopt::socket_acceptconn(&descriptor) != Ok(false);
    if !is_stream || is_listening || net::getpeername(&descriptor).is_err() {
        return None;
    }
    match net::sockopt::socket_domain(&descriptor).ok()? {
        AddressFamily::UNIX => Some(Connection::Unix(descriptor.into())),
        AddressFamily::INET | AddressFamily::INET6 => Some(Connection::Tcp(descriptor.into())),
        _ => None,
    }
}

/// Registered before the client gives it up, so that the runtime knows by then whether there is a request. A client
/// that keeps it can go on with a connection that does not block.
fn register(connection: Connection, is_login: bool) -> io::Result<Registered> {
    match &connection {
        Connection::Unix(stream) => stream.set_nonblocking(true)?,
        Connection::Tcp(stream) => {
            prepare_tcp(stream, is_login);
            stream.set_nonblocking(true)?;
        }
    }
    connection.register()
}

/// Tells the client that the connection is taken, and waits until it gives it up.
async fn take_over(
    stream: &mut UnixStream,
    received: &[u8],
    connection: Registered,
    session: &mut Session,
) -> Result<Registered, HandOver> {
    say(stream, Verdict::Taken, session).await.ok_or(HandOver::NotGivenUp)?;
    let mut byte = [0];
    let given_up = timeout(GIVE_UP, stream.read(&mut byte)).await;
    let is_given_up = received.is_empty() && matches!(given_up, Ok(Ok(1))) && byte == [YOURS];
    is_given_up.then_some(connection).ok_or(HandOver::NotGivenUp)
}

/// A local connection that is read together with the descriptors that it brings.
struct Incoming<'s> {
    stream: &'s mut UnixStream,
    descriptors: Descriptors,
}

#[derive(Default)]
struct Descriptors {
    /// The others are closed at once.
    first: Option<OwnedFd>,
    count: usize,
}

impl AsFd for Incoming<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsyncRead for Incoming<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, descriptors } = &mut *self;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let read = stream.try_io(Interest::READABLE, || descriptors.receive(stream, buffer));
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

impl Descriptors {
    fn receive(&mut self, stream: &UnixStream, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(buffer.initialize_unfilled())];
        let count = net::recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else { continue };
            for descriptor in descriptors {
                self.count += 1;
                self.first.get_or_insert(descriptor);
            }
        }
        buffer.advance(count);
        Ok(())
    }
}
