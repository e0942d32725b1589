//! A connection of a listener for logins: concurrent logins, answered as they end.
//!
//! One of them, which is the only one of Postfix, is polled by the connection itself: that costs less than a task.
//! Each further one has a task.
//!
//! The greeting is sent at once: an smtpd whose handshake fails exits, and accepts no mail
//! (xsasl_dovecot_server.c). There is no idle limit. At most [`MOST`] logins are concurrent; further ones fail
//! at once, so that they do not wait for delayed ones. After a failure that closes the connection no further
//! login is read, and the open ones are answered first. If the peer hangs up, all are dropped.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::future::BoxFuture;
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
use crate::server::threads;
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
    /// The one without a task, and its id.
    inline: Option<(u32, InlineLogin)>,
    /// The others. Each gives its number, its id and its answer.
    tasks: JoinSet<(u64, u32, Answer)>,
    /// Number and task of the login with this id.
    known: BTreeMap<u32, (u64, AbortHandle)>,
    serial: u64,
    /// This connection, in the log.
    session: u64,
}

/// A login without a task.
enum InlineLogin {
    Runs(BoxFuture<'static, Answer>),
    Ended(Answer),
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
        if !out.is_empty() {
            threads::yield_to_others().await;
            if open.meanwhile(write(&mut stream, &out, &mut draining)).await.is_err() {
                return;
            }
            out.clear();
        }
        if is_last && open.count() == 0 {
            if is_shared {
                // A reset would discard replies to other logins that are still being sent.
                let _ = socket2::SockRef::from(&stream).set_linger(None);
            }
            return;
        }
        is_shared |= open.count() > 1;
        let patience = (!received.is_empty()).then_some(HALF_READ);
        let input = async {
            if is_last {
                hung_up(&mut stream).await;
                return None;
            }
            Some(read(&mut stream, &mut received, patience, None, &mut waits).await)
        };
        tokio::select! {
            biased;
            answered = poll_fn(|cx| open.poll_next(cx)) => {
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
            inline: None,
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
                LoginStep::Ask { id, login } if self.count() < MOST => self.begin(id, login),
                LoginStep::Ask { id, .. } => {
                    let on_failure = self.generation.current().on_login_failure(&self.name);
                    let answer = Answer::Failed { failure: Failure::Overload, on_failure };
                    if logins.answer(id, &answer, false, Instant::now(), out) == Next::Close {
                        return Ok(Next::Close);
                    }
                }
                LoginStep::Forget(id) => self.forget(id),
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
        let login = async move {
            let context = RequestContext { at, received: at, id: serial, session, listener: &listener };
            let question = Question::Login(login);
            #[cfg(debug_assertions)]
            super::failpoint::panic_at(&question);
            broker.ask(&question, &context).await.0
        };
        if self.inline.is_none() {
            self.inline = Some((id, InlineLogin::Runs(Box::pin(login))));
            return;
        }
        let task = self.tasks.spawn(async move { (serial, id, login.await) });
        self.known.insert(id, (serial, task));
    }

    /// Ends the login `id` without an answer.
    fn forget(&mut self, id: u32) {
        self.inline.take_if(|(inline, _)| *inline == id);
        if let Some((_, task)) = self.known.remove(&id) {
            task.abort();
        }
    }

    fn count(&self) -> usize {
        usize::from(self.inline.is_some()) + self.tasks.len()
    }

    /// The next answer; `None` for a forgotten login. Pending if no login is open.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(u32, Answer)>> {
        self.poll_inline(cx);
        if let Some((id, InlineLogin::Ended(answer))) =
            self.inline.take_if(|(_, state)| matches!(state, InlineLogin::Ended(_)))
        {
            return Poll::Ready(Some((id, answer)));
        }
        let Some(ended) = ready!(self.tasks.poll_join_next(cx)) else { return Poll::Pending };
        let ended = match ended {
            Ok(ended) => Some(ended),
            // It would never be answered. The connection ends as if it had polled the login itself.
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // It was aborted.
            Err(_) => None,
        };
        let ended =
            ended.filter(|(serial, id, _)| self.known.get(id).is_some_and(|(known, _)| known == serial));
        Poll::Ready(ended.map(|(_, id, answer)| {
            self.known.remove(&id);
            (id, answer)
        }))
    }

    fn poll_inline(&mut self, cx: &mut Context<'_>) {
        if let Some((_, state)) = &mut self.inline
            && let InlineLogin::Runs(login) = state
            && let Poll::Ready(answer) = login.as_mut().poll(cx)
        {
            *state = InlineLogin::Ended(answer);
        }
    }

    /// Does `work`. The login without a task goes on meanwhile.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                self.poll_inline(cx);
            }
            done
        })
        .await
    }
}

/// Has the form of a denial, because fail2ban reads both.
fn log_refusal(name: &str, refused: &Refused) {
    let Refused { mechanism, reason, user, remote } = refused;
    let (remote, user, hint) = (remote.as_str(), user.as_str(), refused.hint());
    info!(name, remote, user, mechanism, reason, hint, "login refused without asking");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::settings;
    use futures_util::future::FutureExt;
    use std::path::Path;
    use tokio::sync::oneshot;

    /// The open logins of a connection to a broker without entries.
    fn open_logins() -> OpenLogins {
        let (config, _) = settings::parse(Path::new("pfxhttp.yml"), "{}").expect("a configuration");
        let generation = Arc::new(Generation::new(Arc::new(Broker::new(&config.broker()))));
        OpenLogins::new(&"smtp".into(), ListenerContext::default(), generation)
    }

    fn login(id: u32) -> Vec<u8> {
        format!("AUTH\t{id}\tPLAIN\tservice=smtp\tresp=AHUAcA==\n").into_bytes()
    }

    async fn next(open: &mut OpenLogins) -> Option<(u32, Answer)> {
        poll_fn(|cx| open.poll_next(cx)).await
    }

    #[tokio::test]
    async fn a_login_without_a_task_goes_on_while_a_reply_is_written() {
        let mut open = open_logins();
        let (ask, asked) = oneshot::channel::<()>();
        let (answer, answered) = oneshot::channel::<()>();
        let login = async {
            asked.await.expect("the reply is being written");
            let _ = answer.send(());
            Answer::NotFound
        };
        open.inline = Some((7, InlineLogin::Runs(Box::pin(login))));
        let write = async {
            let _ = ask.send(());
            answered.await.expect("the login goes on");
        };
        open.meanwhile(write).await;
        assert_eq!(next(&mut open).now_or_never(), Some(Some((7, Answer::NotFound))));
        assert_eq!(open.count(), 0);
    }

    #[tokio::test]
    async fn each_login_is_answered_or_forgotten() {
        let mut open = open_logins();
        let mut logins = LoginConnection::new("smtp", Mechanism::ALL.to_vec());
        let mut out = Vec::new();
        let mut lines = [1, 2, 3].map(login).concat();
        assert_eq!(open.handle_lines(&mut logins, &mut lines, &mut out), Ok(Next::Stay));
        assert_eq!((open.count(), open.tasks.len(), out.len()), (3, 2, 0));
        let mut cancelled = b"CANCEL\t1\nCANCEL\t3\n".to_vec();
        assert_eq!(open.handle_lines(&mut logins, &mut cancelled, &mut out), Ok(Next::Stay));
        assert!(open.inline.is_none());
        let mut fourth = login(4);
        assert_eq!(open.handle_lines(&mut logins, &mut fourth, &mut out), Ok(Next::Stay));
        let mut answered = Vec::new();
        while open.count() > 0 {
            answered.extend(next(&mut open).await.map(|(id, _)| id));
        }
        answered.sort_unstable();
        assert_eq!(answered, [2, 4]);
        assert!(next(&mut open).now_or_never().is_none(), "none is open");
    }
}
