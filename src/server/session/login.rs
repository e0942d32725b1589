//! A connection of a listener for logins: many at a time, answered as they end.
//!
//! The greeting is static and leaves at once: an smtpd whose handshake fails exits, and takes no
//! mail (xsasl_dovecot_server.c). The connection is kept for ever. At most [`MOST`] logins run at
//! a time; further ones fail at once, so that nobody waits for those who are held back. After a failure that closes the connection no further login is read, and
//! those that run get their answers first. The peer hanging up drops them all.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info};

use super::HALF_READ;
use super::peer::{Draining, LOOK, Waits, is_hung_up, read, write};
use crate::backend::door::Door;
use crate::broker::Generation;
use crate::lookup::RequestContext;
use crate::model::{Answer, Failure, Login, Mechanism, Question};
use crate::server::connection_limits::SilentGuard;
use crate::wire::dovecot::Greeting;
use crate::wire::logins::{LoginConnection, LoginStep, Refused};
use crate::wire::reply::Next;

/// LoginConnection that run at a time on one connection. Postfix has one.
const MOST: usize = 256;

/// What runs on one connection.
struct OpenLogins {
    name: Arc<str>,
    door: Door,
    generation: Arc<Generation>,
    /// Each gives its number, its id and its answer.
    tasks: JoinSet<(u64, u32, Answer)>,
    /// The number of the login that has this id, and the way to end it.
    known: HashMap<u32, (u64, AbortHandle)>,
    serial: u64,
    /// This connection, in the log.
    session: u64,
}

/// Serves `stream` until its end, by the entry `name`.
pub(super) async fn serve<S>(
    mut stream: S,
    name: &Arc<str>,
    door: &Door,
    generation: &Arc<Generation>,
    mut draining: Draining,
    mut silent_guard: Option<SilentGuard>,
) where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let offered = generation.current().mechanisms(name);
    let mut logins = LoginConnection::new(name, offered.clone());
    let mut open = OpenLogins::new(name, door, generation);
    let mut waits = Waits::new(&draining);
    let mut received = Vec::new();
    let mut out = Vec::new();
    greet(&offered, &mut out);
    // Whether nothing more is read: the peer has sent its last, or is about to be left.
    let mut is_last = false;
    // Whether several were under way at a time, which Postfix never does.
    let mut is_shared = false;
    loop {
        silent_guard.take_if(|_| received.contains(&b'\n'));
        while !is_last {
            match logins.next(&mut received, Instant::now(), &mut out) {
                LoginStep::Read => break,
                LoginStep::Ask { id, login } if open.tasks.len() < MOST => open.begin(id, login),
                LoginStep::Ask { id, .. } => {
                    let on_failure = generation.current().on_login_failure(name);
                    let answer = Answer::Failed { failure: Failure::Overload, on_failure };
                    is_last |= logins.answer(id, &answer, false, Instant::now(), &mut out) == Next::Close;
                }
                LoginStep::Forget(id) => open.forget(id),
                LoginStep::Refused(refused) => log_refusal(name, &refused),
                LoginStep::Close(reason) => {
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
                // A reset would take away the answers to others that are still on their way.
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
            Some(read(&mut stream, &mut received, patience, &mut waits).await)
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
                // What runs is answered, also when the broker stops.
                Some(count) => is_last = !matches!(count, Ok(1..)),
                None => return,
            },
        }
    }
}

/// Returns when nobody is left to read an answer. Where nothing is read, nothing else shows it.
async fn hung_up<S: AsFd>(stream: &mut S) {
    while !is_hung_up(stream) {
        tokio::time::sleep(LOOK).await;
    }
}

/// The handshake. Its cookie and its number are no secrets, and only have to differ.
fn greet(mechanisms: &[Mechanism], out: &mut Vec<u8>) {
    static CONNECTIONS: AtomicU32 = AtomicU32::new(1);
    let names: Vec<_> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    Greeting { mechanisms: &names, pid: std::process::id(), connection, cookie: cookie() }.encode(out);
}

fn cookie() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(()));
    (half() << 64) | half()
}

impl OpenLogins {
    fn new(name: &Arc<str>, door: &Door, generation: &Arc<Generation>) -> Self {
        let session = RandomState::new().hash_one(());
        Self {
            session,
            name: Arc::clone(name),
            door: door.clone(),
            generation: Arc::clone(generation),
            tasks: JoinSet::new(),
            known: HashMap::new(),
            serial: session,
        }
    }

    fn begin(&mut self, id: u32, login: Box<Login>) {
        debug!(name = &*self.name, mechanism = login.mechanism.name(), "login");
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let context =
            RequestContext { at: Instant::now(), id: serial, session: self.session, door: self.door.clone() };
        // The whole login lives on one generation.
        let broker = self.generation.current();
        let task = self.tasks.spawn(async move {
            let answer = broker.ask(&Question::Login(login), &context).await;
            (serial, id, answer)
        });
        self.known.insert(id, (serial, task));
    }

    fn forget(&mut self, id: u32) {
        if let Some((_, task)) = self.known.remove(&id) {
            task.abort();
        }
    }

    /// The next answer; none for a login that was forgotten meanwhile. Pending where nothing runs.
    async fn next(&mut self) -> Option<(u32, Answer)> {
        let Some(ended) = self.tasks.join_next().await else { return std::future::pending().await };
        match ended {
            Ok((serial, id, answer)) => {
                let is_known = self.known.get(&id).is_some_and(|(known, _)| *known == serial);
                is_known.then(|| {
                    self.known.remove(&id);
                    (id, answer)
                })
            }
            Err(_aborted) => None,
        }
    }
}

/// As a denial is logged: fail2ban reads both.
fn log_refusal(name: &str, refused: &Refused) {
    let Refused { mechanism, reason, user, remote } = refused;
    let (remote, user, hint) = (remote.as_str(), user.as_str(), refused.hint());
    info!(name, remote, user, mechanism, reason, hint, "login refused without asking");
}
