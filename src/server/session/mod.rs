//! One connection: decodes requests, asks the broker, and encodes the replies.
//!
//! One loop serves map and policy listeners and the local socket. Listeners for logins have another one
//! (`login`), because a connection has many concurrent logins. The loop reads no further request before the
//! reply. Meanwhile it watches whether the peer hangs up, and drops the lookup then. After a half-close the
//! request is still answered.
//!
//! Limits: the connection is closed if a request is incomplete and no byte arrives for 30 s, or if the peer
//! does not read a reply for 30 s. An idle map connection is closed after 300 s (Postfix closes its own after
//! 10 s), an idle policy connection never (Postfix would wait a second and retry).

#[cfg(debug_assertions)]
mod failpoint;
mod hand_over;
mod login;
mod peer;

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::backend::listener_context::ListenerContext;
use crate::broker::Generation;
use crate::lookup::RequestContext;
use crate::model::{Answer, Failure, Mechanism, OnFailure, Protocol, Question};
use crate::observe::warnings::RateLimitedWarnings;
use crate::server::connection::Registered;
use crate::server::connection_limits::ConnectionSlot;
use crate::server::threads;
use crate::wire::ipc::{self, AnswerFrame, MAX_FROM_BROKER, MAX_FROM_CLIENT, RequestFrame, Service};
use crate::wire::reply::{self, Next};
use crate::wire::{self, policy, sasl, socketmap};
use hand_over::Greeted;
pub(super) use peer::{Draining, has};
use peer::{Waits, give_back, hang_up, read, write};

const IDLE_MAP: Duration = Duration::from_secs(300);
const HALF_READ: Duration = Duration::from_secs(30);

/// The protocol of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SessionProtocol {
    Socketmap,
    /// To the entry of this name, and the answer if that is gone; `None`: the default. The name of a listener
    /// is never unknown.
    Policy(Arc<str>, Option<Arc<OnFailure>>),
    /// To the entry of this name, and the mechanisms that are offered; `None`: those of the entry.
    Login(Arc<str>, Option<Vec<Mechanism>>),
    /// Clients: each greets, and names its service.
    Local,
    /// The requests of a client that was greeted.
    Frames(Service),
}

/// What to do with the bytes read so far.
enum NextInput {
    Read,
    Ask {
        id: Option<u64>,
        question: Question,
        spent: Duration,
    },
    /// Reply without asking.
    Say(Answer),
    Close(&'static str),
}

/// What a connection is served by. Boxed on its way: each future that takes it would be larger by it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) protocol: SessionProtocol,
    pub(super) listener: ListenerContext,
    pub(super) generation: Arc<Generation>,
    pub(super) draining: Draining,
    /// Of connections that clients offer and the broker does not take.
    pub(super) warnings: Arc<RateLimitedWarnings>,
}

/// Serves a connection until its end.
pub(super) async fn serve_connection(
    mut stream: Registered,
    mut session: Box<Session>,
    slot: &ConnectionSlot,
) {
    let _handed_over;
    if session.protocol == SessionProtocol::Local {
        let Registered::Unix(mut local) = stream else { return };
        // Boxed: it would make every connection larger.
        match Box::pin(hand_over::greet(&mut local, &mut session)).await {
            Some(Greeted::Taken(taken)) => {
                _handed_over = session.listener.counters.as_ref().map(|counters| counters.hand_over());
                stream = taken;
            }
            Some(Greeted::Client(received)) => {
                slot.heard();
                return serve(local, session, received, None).await;
            }
            None => return,
        }
    }
    match stream {
        Registered::Tcp(stream) => serve(stream, session, Vec::new(), Some(slot)).await,
        Registered::Unix(stream) => serve(stream, session, Vec::new(), Some(slot)).await,
    }
}

/// Serves `stream`, of which `received` was read, until its end. When the broker stops, requests that have been
/// read are answered, except those after a request that takes longer than the grace period.
async fn serve<S>(
    mut stream: S,
    session: Box<Session>,
    mut received: Vec<u8>,
    mut slot: Option<&ConnectionSlot>,
) where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    if let SessionProtocol::Login(name, offered) = &session.protocol {
        let (name, offered) = (Arc::clone(name), offered.clone());
        // Boxed: connections for lookups would be larger by it.
        return Box::pin(login::serve(stream, &name, offered, *session, slot)).await;
    }
    let Session { protocol, listener, generation, mut draining, .. } = *session;
    let mut out = Vec::new();
    // Random for each connection. The ids of its requests follow it.
    let session = RandomState::new().hash_one(());
    let mut serial = session;
    let mut waits = Waits::new(&draining);
    // The time of the last answer, until something is read.
    let mut idle_since = None;
    loop {
        out.clear();
        let step = protocol.next(&mut received);
        // The peer has sent a request.
        if let Some(slot) = slot.take_if(|_| !matches!(step, NextInput::Read)) {
            slot.heard();
        }
        let next = match step {
            // A peer that sends without end must not keep the broker from stopping.
            NextInput::Ask { .. } if draining.is_over() => return,
            NextInput::Ask { id, question, spent } => {
                #[cfg(debug_assertions)]
                failpoint::panic_at(&question);
                give_back(&mut received);
                serial = serial.wrapping_add(1);
                let id = id.unwrap_or(serial);
                let now = Instant::now();
                let at = now.checked_sub(spent).unwrap_or(now);
                let context =
                    RequestContext { at, received: now, id, session: Some(session), listener: &listener };
                // The request keeps this generation until it is answered.
                let broker = generation.current();
                let (answer, answered) = tokio::select! {
                    biased;
                    answered = broker.ask(&question, &context) => answered,
                    () = hang_up(&mut stream, &mut received) => return,
                };
                idle_since = Some(answered);
                protocol.reply(id, &answer, &mut out)
            }
            NextInput::Say(answer) => protocol.reply(0, &answer, &mut out),
            NextInput::Read => {
                let patience = protocol.patience(!received.is_empty());
                let since = idle_since.take().filter(|_| received.is_empty());
                match read(&mut stream, &mut received, patience, since, &mut waits).await {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => return,
                }
            }
            NextInput::Close(reason) => {
                debug!(reason, "connection closed");
                return;
            }
        };
        threads::yield_to_others().await;
        if write(&mut stream, &out, &mut draining).await.is_err() || next == Next::Close {
            return;
        }
    }
}

impl SessionProtocol {
    /// The protocol of Postfix; `None` on the local socket.
    pub(super) fn of_postfix(&self) -> Option<Protocol> {
        match self {
            Self::Socketmap => Some(Protocol::Socketmap),
            Self::Policy(..) => Some(Protocol::Policy),
            Self::Login(..) => Some(Protocol::Sasl),
            Self::Local | Self::Frames(_) => None,
        }
    }

    /// Takes the next request out of what was read.
    fn next(&self, received: &mut Vec<u8>) -> NextInput {
        if received.is_empty() {
            return NextInput::Read;
        }
        let decoded = match self {
            Self::Socketmap => socketmap::decode(received),
            Self::Policy(name, _) => policy::decode(received, name),
            Self::Frames(service) => return frames(service, received),
            Self::Login(..) | Self::Local => return NextInput::Close("it is served by another loop"),
        };
        match decoded {
            Ok(Some((question, consumed))) => {
                received.drain(..consumed);
                NextInput::Ask { id: None, question, spent: Duration::ZERO }
            }
            Ok(None) => NextInput::Read,
            Err(wire::Error::Framing(reason)) => NextInput::Close(reason),
            Err(wire::Error::Malformed { consumed, .. }) => {
                received.drain(..consumed);
                NextInput::Say(Answer::Failed { failure: Failure::Malformed, on_failure: None })
            }
        }
    }

    fn reply(&self, id: u64, answer: &Answer, out: &mut Vec<u8>) -> Next {
        static FALLBACK: LazyLock<OnFailure> = LazyLock::new(OnFailure::default);
        let fallback = match self {
            Self::Policy(_, Some(fallback)) => fallback,
            _ => &*FALLBACK,
        };
        match self.of_postfix() {
            Some(protocol) => reply::encode(protocol, answer, fallback, out),
            None => match ipc::encode(&AnswerFrame { id, answer: answer.clone() }, MAX_FROM_BROKER, out) {
                Ok(()) => Next::Stay,
                Err(_) => Next::Close,
            },
        }
    }

    /// How long to wait for the next byte; `None`: for ever.
    fn patience(&self, begun: bool) -> Option<Duration> {
        match self {
            _ if begun => Some(HALF_READ),
            Self::Socketmap => Some(IDLE_MAP),
            Self::Policy(..) | Self::Login(..) | Self::Local | Self::Frames(_) => None,
        }
    }
}

/// A client's requests, in the service of its greeting.
fn frames(service: &Service, received: &mut Vec<u8>) -> NextInput {
    match ipc::decode::<RequestFrame>(received, MAX_FROM_CLIENT) {
        Ok(None) => NextInput::Read,
        Err(_) => NextInput::Close("no frame"),
        Ok(Some((mut ask, consumed))) => {
            received.drain(..consumed);
            let in_service = match (&ask.question, service) {
                (Question::Map { .. }, Service::Socketmap) => true,
                (Question::Policy { name, .. }, Service::Policy { name: served }) => name == served,
                (Question::Login(login), Service::Login { name }) => {
                    login.name == *name && sasl::is_legal(&login.credentials)
                }
                _ => false,
            };
            if !in_service {
                return NextInput::Close("a question of another service");
            }
            if let Question::Login(login) = &mut ask.question {
                login.peer.bound();
            }
            let spent = Duration::from_millis(ask.spent_ms.into());
            NextInput::Ask { id: Some(ask.id), question: ask.question, spent }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::server::connection_limits::ConnectionLimits;
    use crate::settings;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::sync::watch;
    use tokio::time::{Instant as Clock, sleep, timeout};

    const MARGIN: Duration = Duration::from_millis(10);

    /// A connection, the broker behind it, and what stops that.
    struct Served {
        peer: UnixStream,
        started: Clock,
        drain: watch::Sender<Option<Instant>>,
    }

    fn connect(wire: SessionProtocol) -> Served {
        let text = "policy_services:\n  p:\n    target: \"http://127.0.0.1:1/\"\n    payload: '{}'\n    value_field: action\n";
        let (config, _) = settings::parse(Path::new("pfxhttp.yml"), text).expect("a configuration");
        let broker = Arc::new(Broker::new(&config.broker()));
        let (drain, draining) = watch::channel(None);
        let (peer, stream) = UnixStream::pair().expect("a socket pair");
        let generation = Arc::new(Generation::new(broker));
        let (listener, draining) = (ListenerContext::default(), Draining::new(draining));
        let warnings = Arc::default();
        let session = Box::new(Session { protocol: wire, listener, generation, draining, warnings });
        tokio::spawn(async move {
            let slot = ConnectionLimits::new(8, 0, None).admit(None, false, false).expect("it has room");
            serve_connection(Registered::Unix(stream), session, &slot).await;
        });
        Served { peer, started: Clock::now(), drain }
    }

    impl Served {
        async fn send(&mut self, bytes: &[u8]) {
            self.peer.write_all(bytes).await.expect("the connection is there");
        }

        /// The next bytes; none at the end of the stream.
        async fn receive(&mut self) -> Vec<u8> {
            let mut bytes = vec![0; 256];
            let read = timeout(Duration::from_secs(7200), self.peer.read(&mut bytes));
            let count = read.await.expect("bytes, or the end").expect("no error");
            bytes.truncate(count);
            bytes
        }

        /// The connection ends this long after its beginning.
        async fn assert_ends_after(&mut self, due: Duration) {
            assert_eq!(self.receive().await, b"");
            let took = self.started.elapsed();
            assert!((due..due + MARGIN).contains(&took), "it ended after {took:?}, not {due:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_has_begun_is_given_up_after_30_seconds_without_a_byte() {
        let policy = || SessionProtocol::Policy("p".into(), None);
        for (wire, pieces) in
            [(SessionProtocol::Socketmap, [b"9:un", b"know"]), (policy(), [b"requ", b"est="])]
        {
            let mut served = connect(wire);
            for piece in pieces {
                served.send(piece).await;
                sleep(HALF_READ - 2 * MARGIN).await;
            }
            served.assert_ends_after(2 * HALF_READ - 2 * MARGIN).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_policy_connection_is_kept() {
        let mut served = connect(SessionProtocol::Policy("p".into(), None));
        for _ in 0..2 {
            sleep(Duration::from_secs(3600)).await;
            served.send(b"request=smtpd_access_policy\n\n").await;
            assert!(served.receive().await.starts_with(b"action="), "an answer after an hour");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_map_connection_ends_after_five_minutes() {
        let mut served = connect(SessionProtocol::Socketmap);
        served.assert_ends_after(IDLE_MAP).await;

        let mut served = connect(SessionProtocol::Socketmap);
        sleep(IDLE_MAP - MARGIN).await;
        served.send(b"9:unknown k,").await;
        assert_eq!(served.receive().await, b"16:PERM unknown map,");
        served.assert_ends_after(2 * IDLE_MAP - MARGIN).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_as_soon_as_the_broker_stops() {
        for requests in 0..3 {
            let mut served = connect(SessionProtocol::Socketmap);
            for _ in 0..requests {
                served.send(b"9:unknown k,").await;
                assert_eq!(served.receive().await, b"16:PERM unknown map,");
            }
            sleep(IDLE_MAP / 2).await;
            let stopped = Clock::now();
            served.drain.send_replace(Some(Instant::now()));
            assert_eq!(served.receive().await, b"");
            assert!(stopped.elapsed() < MARGIN, "after {requests} requests");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_greets_within_30_seconds_and_may_be_idle_then() {
        connect(SessionProtocol::Local).assert_ends_after(HALF_READ).await;

        let mut served = connect(SessionProtocol::Local);
        let mut bytes = Vec::new();
        ipc::Hello::encode(ipc::VERSION, &Service::Socketmap, None, &mut bytes).expect("short");
        served.send(&bytes).await;
        assert!(!served.receive().await.is_empty(), "a greeting");
        sleep(Duration::from_secs(3600)).await;
        bytes.clear();
        let question = Question::Map { name: "unknown".to_owned(), key: b"k".to_vec() };
        ipc::encode_request(7, 0, &question, &mut bytes).expect("short");
        served.send(&bytes).await;
        assert!(!served.receive().await.is_empty(), "an answer after an hour");
    }
}
