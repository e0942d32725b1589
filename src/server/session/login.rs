//! A connection of a listener for logins: concurrent logins, answered as they end.
//!
//! The greeting is sent at once: an smtpd whose handshake fails exits, and accepts no mail
//! (xsasl_dovecot_server.c). There is no idle limit. At most [`MOST`] logins are concurrent; further ones fail
//! at once, so that they do not wait for delayed ones. After a failure that closes the connection no further
//! login is read, and the open ones are answered first. If the peer hangs up, all are dropped.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info};

use super::peer::{Waits, hung_up, read, write};
use super::{HALF_READ, Session};
use crate::backend::listener_context::ListenerContext;
use crate::broker::Generation;
use crate::lookup::RequestContext;
use crate::model::{Answer, Failure, Login, Mechanism, Question};
use crate::server::connection_limits::ConnectionSlot;
use crate::wire::dovecot;
use crate::wire::logins::{LoginConnection, LoginStep, Refused};
use crate::wire::reply::Next;

/// Concurrent logins of one connection. Postfix has one.
const MOST: usize = 256;

/// Numbers the connections, for their handshakes.
static CONNECTIONS: AtomicU32 = AtomicU32::new(1);

/// The open logins of one connection.
struct OpenLogins {
    name: Arc<str>,
    listener: Arc<ListenerContext>,
    generation: Arc<Generation>,
    /// Each gives its number, its id and its answer.
    tasks: JoinSet<(u64, u32, Answer)>,
    /// Number and task of the login with this id.
    known: BTreeMap<u32, (u64, AbortHandle)>,
    serial: u64,
    /// This connection, in the log.
    session: u64,
}

/// Serves `stream` until its end, by the entry `name`; it offers the mechanisms `offered`, or those of the entry.
pub(super) async fn serve<S>(
    mut stream: S,
    name: &Arc<str>,
    offered: Option<Vec<Mechanism>>,
    session: Session,
    mut slot: Option<&ConnectionSlot>,
) where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let Session { listener, generation, mut draining, .. } = session;
    let offered = offered.unwrap_or_else(|| generation.current().mechanisms(name));
    let mut logins = LoginConnection::new(name, offered.clone());
    let mut open = OpenLogins::new(name, listener, generation);
    let mut waits = Waits::new(&draining);
    let mut received = Vec::new();
    let mut out = Vec::new();
    dovecot::handshake(&offered, CONNECTIONS.fetch_add(1, Ordering::Relaxed), &mut out);
    // Whether no more is read: the peer has closed its side, or the connection is about to be closed.
    let mut is_last = false;
    // Whether there were concurrent logins, which Postfix never has.
    let mut is_shared = false;
    loop {
        if let Some(slot) = slot.take_if(|_| received.contains(&b'\n')) {
            slot.heard();
        }
        if !is_last {
            match open.handle_lines(&mut logins, &mut received, &mut out) {
                Ok(next) => is_last = next == Next::Close,
                Err(reason) => {
                    debug!(reason, "connection closed");
                    return;
                }
            }
        }
        if !out.is_empty() && write(&mut stream, &out, &mut draining).await.is_err() {
            return;
        }
        out.clear();
        if is_last && open.tasks.is_empty() {
            if is_shared {
                // A reset would discard replies to other logins that are still being sent.
                let _ = socket2::SockRef::from(&stream).set_linger(None);
            }
            return;
        }
        is_shared |= open.tasks.len() > 1;
        let patience = (!received.is_empty()).then_some(HALF_READ);
        let input = async {
            if is_last {
                hung_up(&mut stream).await;
                return None;
            }
            Some(read(&mut stream, &mut received, patience, None, &mut waits).await)
        };
        tokio::select! {
            answered = open.next() => {
                if let Some((id, answer)) = answered
                    && logins.answer(id, &answer, is_last, Instant::now(), &mut out) == Next::Close
                {
                    is_last = true;
                }
            }
            input = input => match input {
                // Open logins are answered, also when the broker stops.
                Some(count) => is_last = !matches!(count, Ok(1..)),
                None => return,
            },
        }
    }
}

impl OpenLogins {
    fn new(name: &Arc<str>, listener: ListenerContext, generation: Arc<Generation>) -> Self {
        let session = RandomState::new().hash_one(());
        Self {
            session,
            name: Arc::clone(name),
            listener: Arc::new(listener),
            generation,
            tasks: JoinSet::new(),
            known: BTreeMap::new(),
            serial: session,
        }
    }

    /// Handles the complete lines of `received`; `Close` if no more is to be read. After an error the connection
    /// is closed at once.
    fn handle_lines(
        &mut self,
        logins: &mut LoginConnection,
        received: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Next, &'static str> {
        loop {
            match logins.next(received, Instant::now(), out) {
                LoginStep::Read => return Ok(Next::Stay),
                LoginStep::Ask { id, login } if self.tasks.len() < MOST => self.begin(id, login),
                LoginStep::Ask { id, .. } => {
                    let on_failure = self.generation.current().on_login_failure(&self.name);
                    let answer = Answer::Failed { failure: Failure::Overload, on_failure };
                    if logins.answer(id, &answer, false, Instant::now(), out) == Next::Close {
                        return Ok(Next::Close);
                    }
                }
                LoginStep::Forget(id) => {
                    if let Some((_, task)) = self.known.remove(&id) {
                        task.abort();
                    }
                }
                LoginStep::Refused(refused) => log_refusal(&self.name, &refused),
                LoginStep::Close(reason) => return Err(reason),
            }
        }
    }

    fn begin(&mut self, id: u32, login: Box<Login>) {
        debug!(name = &*self.name, mechanism = login.mechanism.name(), "login");
        self.serial = self.serial.wrapping_add(1);
        let (at, serial, session) = (Instant::now(), self.serial, Some(self.session));
        let listener = Arc::clone(&self.listener);
        // The login keeps this generation.
        let broker = self.generation.current();
        let task = self.tasks.spawn(async move {
            let context = RequestContext { at, received: at, id: serial, session, listener: &listener };
            let (answer, _) = broker.ask(&Question::Login(login), &context).await;
            (serial, id, answer)
        });
        self.known.insert(id, (serial, task));
    }

    /// The next answer; `None` for a forgotten login. Pending if no login is open.
    async fn next(&mut self) -> Option<(u32, Answer)> {
        let Some(ended) = self.tasks.join_next().await else { return std::future::pending().await };
        // The error of a login that was aborted.
        let (serial, id, answer) = ended.ok()?;
        self.known.get(&id).filter(|(known, _)| *known == serial)?;
        self.known.remove(&id);
        Some((id, answer))
    }
}

/// Has the form of a denial, because fail2ban reads both.
fn log_refusal(name: &str, refused: &Refused) {
    let Refused { mechanism, reason, user, remote } = refused;
    let (remote, user, hint) = (remote.as_str(), user.as_str(), refused.hint());
    info!(name, remote, user, mechanism, reason, hint, "login refused without asking");
}
