//! The client's connection to the broker: connect, greet, ask, and ask again if the connection is lost.
//!
//! A lookup has two time limits. `--timeout` limits the time without a broker: connecting, back-off, and a
//! broker that accepts but does not greet. After the greeting the broker's time limit counts: the longest of
//! this service, plus a second for the reply, at most 95 s. A lookup that is sent again keeps its id and its
//! time limit.
//!
//! A login waits at most 9 s, and is sent once, after the greeting. It is not sent again if the connection is
//! lost, because a password must not be tried twice.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::args::Args;
use super::connection::{Connection, Pauses, connect, wait};
use super::{hand_over, syslog};
use crate::model::{Answer, Deadline, Failure, LOGIN_BUDGET, LONGEST_BUDGET, Mechanism, OnFailure, Question};
use crate::wire::Error;
use crate::wire::ipc::{self, Hello, MAX_FROM_BROKER, Offer, Service, Verdict, Welcome};

/// The longest wait: Postfix gives up after 100 s (dict_sockmap.c).
const LONGEST: Duration = Duration::from_secs(95);
/// The time for the broker's failure answer to arrive.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a lookup waits for a broker after another lookup timed out.
pub(super) const IMPATIENT: Duration = Duration::from_secs(1);
/// How many lost connections a lookup survives.
const MAX_LOSSES: u32 = 5;

/// The result of an attempt on one connection.
pub(super) enum Attempt {
    Answered(Answer),
    /// The broker has greeted, and no request was to be sent.
    Greeted,
    /// The broker will serve Postfix' connection.
    Taken,
    /// Postfix has hung up, or the broker no longer serves this program's frame version.
    End,
    /// The connection is lost, or the broker is older.
    Lost,
}

/// The link to the broker. It connects again as needed.
pub(super) struct BrokerLink {
    pub(super) socket: PathBuf,
    pub(super) timeout: Duration,
    pub(super) version: u16,
    pub(super) service: Service,
    pub(super) connection: Option<Connection>,
    budget: Option<Duration>,
    on_failure: Option<OnFailure>,
    /// The mechanisms that the broker offers.
    offered: Option<Vec<Mechanism>>,
    /// Whether a byte of the request has been written.
    has_left: bool,
    next_id: Option<u64>,
    pub(super) waited_in_vain: bool,
    /// The frame version that is spoken: that of the broker, if it is older.
    pub(super) spoken: u16,
    /// Whether a broker was lost during the last request.
    pub(super) has_lost: bool,
    /// What the broker gets with Postfix' connection; `None` if that is not to be handed over.
    pub(super) offer: Option<Offer>,
    /// Whether it still has what it inherited.
    pub(super) holds_inherited: bool,
    /// Since when a request waits that has not been read.
    pub(super) unread_since: Option<Instant>,
    /// Why the last attempt failed, for the log.
    pub(super) trouble: String,
}

impl BrokerLink {
    pub(super) fn new(args: Args, version: u16) -> Self {
        Self {
            version,
            spoken: version,
            offer: hand_over::offer(&args),
            holds_inherited: true,
            unread_since: None,
            has_lost: false,
            socket: args.socket,
            timeout: args.timeout,
            service: args.service,
            connection: None,
            budget: None,
            on_failure: None,
            offered: None,
            has_left: false,
            next_id: None,
            waited_in_vain: false,
            trouble: "no greeting".to_owned(),
        }
    }

    /// The entry's `on_failure`, after a broker has sent it.
    pub(super) fn on_failure(&self) -> Option<&OnFailure> {
        self.on_failure.as_ref()
    }

    /// The mechanisms that the broker offers, after it has greeted; `None` if it offers none.
    pub(super) fn offered(&mut self) -> Option<Vec<Mechanism>> {
        self.offered.take().filter(|offered| !offered.is_empty())
    }

    /// Asks until there is an answer or the time limit ends. `None`: Postfix has hung up, or the broker no
    /// longer serves this program's frame version.
    pub(super) fn ask(&mut self, question: &Question) -> Option<Answer> {
        let started = self.unread_since.take().unwrap_or_else(Instant::now);
        // Unique to this process: the API may get it (`Idempotency-Key`).
        let first = || RandomState::new().hash_one(std::process::id());
        let id = self.next_id.unwrap_or_else(first);
        self.next_id = Some(id.wrapping_add(1));
        self.has_left = false;
        let mut alone_since = started;
        let mut pauses = Pauses::new();
        let mut losses = 0;
        loop {
            let patience = if self.waited_in_vain { IMPATIENT } else { self.timeout };
            let give_up = Deadline::from(alone_since, patience);
            if self.connection.is_none() && give_up.remaining().is_zero() {
                return Some(self.no_answer());
            }
            match self.attempt(question, id, started, give_up) {
                Ok(Attempt::Answered(answer)) => {
                    self.waited_in_vain = false;
                    return Some(answer);
                }
                Ok(Attempt::End) => return None,
                Ok(Attempt::Greeted | Attempt::Taken | Attempt::Lost) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Some(self.no_answer()),
                Err(error) => {
                    self.trouble = match self.connection {
                        None => error.to_string(),
                        Some(_) => format!("the broker closed the connection ({error})"),
                    };
                }
            }
            // It may have been asked already.
            if self.has_left && self.is_login() {
                return Some(self.no_answer());
            }
            if self.lose_connection() {
                self.has_lost = true;
                losses += 1;
                // A broker ran a moment ago, so `--timeout` starts again.
                alone_since = Instant::now();
                match losses {
                    1 => {
                        syslog::warn(&format!("lost the broker at {}", self.socket.display()));
                        continue;
                    }
                    // This lookup may be the cause.
                    MAX_LOSSES.. => return Some(self.no_answer()),
                    _ => {}
                }
            }
            let left = give_up.min(self.deadline(started)).remaining();
            if left.is_zero() {
                return Some(self.no_answer());
            }
            if pauses.hung_up(left) {
                return None;
            }
        }
    }

    fn is_login(&self) -> bool {
        matches!(self.service, Service::Login { .. })
    }

    /// The end of the time limit of the lookup.
    fn deadline(&self, started: Instant) -> Deadline {
        let most = if self.is_login() { LOGIN_BUDGET } else { LONGEST_BUDGET };
        let budget = self.budget.unwrap_or(most).min(most);
        Deadline::from(started, (budget + MARGIN).min(LONGEST))
    }

    /// Drops the connection; true if a broker had greeted on it.
    pub(super) fn lose_connection(&mut self) -> bool {
        let greeted = self.connection.take().is_some_and(|connection| connection.greeted);
        if greeted {
            // The next broker may be newer.
            self.spoken = self.version;
        }
        greeted
    }

    /// Our own failure answer. The connection is closed, so that a late answer cannot be taken for that of the
    /// next lookup; the broker then drops the lookup.
    fn no_answer(&mut self) -> Answer {
        let greeted = self.lose_connection();
        let failure = if greeted { Failure::Timeout } else { Failure::NoBroker };
        if !greeted && !self.waited_in_vain {
            let (service, socket) = (&self.service, self.socket.display());
            syslog::warn(&format!("no broker for {service} at {socket}: {}", self.trouble));
            self.waited_in_vain = true;
        }
        // To Postfix only a closed connection is temporary. `on_failure` comes with an answer of the broker.
        let close = self.is_login().then_some(OnFailure::Disconnect);
        Answer::Failed { failure, on_failure: close.or_else(|| self.on_failure.clone()) }
    }

    fn attempt(
        &mut self,
        question: &Question,
        id: u64,
        started: Instant,
        give_up: Deadline,
    ) -> io::Result<Attempt> {
        let mut out = Vec::with_capacity(256);
        if self.is_login() {
            match self.greet(give_up.min(self.deadline(started)))? {
                Attempt::Greeted => {}
                other => return Ok(other),
            }
        } else {
            self.connect(&mut out)?;
        }
        let spent_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        if ipc::encode_request(id, spent_ms, question, &mut out).is_err() {
            let on_failure = self.on_failure.clone();
            return Ok(Attempt::Answered(Answer::Failed { failure: Failure::Malformed, on_failure }));
        }
        self.converse(&out, Some((id, started)), give_up)
    }

    /// Connects if there is no connection, and appends the greeting to `out`.
    fn connect(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.connection.is_none() {
            let stream = connect(&self.socket)?;
            self.connection = Some(Connection { stream, received: Vec::new(), greeted: false });
            Hello::encode(self.spoken, &self.service, None, out).map_err(invalid)?;
        }
        Ok(())
    }

    /// Makes a connection on which the broker has greeted, if there is none.
    pub(super) fn greet(&mut self, give_up: Deadline) -> io::Result<Attempt> {
        let mut out = Vec::new();
        self.connect(&mut out)?;
        if self.connection.as_ref().is_some_and(|connection| connection.greeted) {
            return Ok(Attempt::Greeted);
        }
        self.converse(&out, None, give_up)
    }

    /// Writes `out` and reads until the answer to `asked` (its id and its start) has arrived; without `asked`
    /// until the greeting.
    pub(super) fn converse(
        &mut self,
        mut out: &[u8],
        asked: Option<(u64, Instant)>,
        give_up: Deadline,
    ) -> io::Result<Attempt> {
        loop {
            if out.is_empty()
                && let Some(attempt) = self.take_frames(asked.map(|(id, _)| id))?
            {
                return Ok(attempt);
            }
            // The greeting may have brought the time limit.
            let overall = asked.map_or(give_up, |(_, started)| self.deadline(started));
            let Some(connection) = self.connection.as_mut() else { return Ok(Attempt::Lost) };
            let until = if connection.greeted { overall } else { overall.min(give_up) };
            if !out.is_empty() {
                match (&connection.stream).write(out) {
                    Ok(count) => {
                        out = &out[count..];
                        self.has_left |= asked.is_some();
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            }
            let interest = if out.is_empty() { PollFlags::IN } else { PollFlags::OUT };
            let is_lookup = !matches!(self.service, Service::Login { .. });
            let unread_since = (asked.is_none() && is_lookup).then_some(&mut self.unread_since);
            if !wait(&connection.stream, interest, until, unread_since)? {
                return Ok(Attempt::End);
            }
            if out.is_empty() {
                connection.read()?;
            }
        }
    }

    /// Decodes the greeting, then the answer. Answers to other lookups are dropped.
    fn take_frames(&mut self, id: Option<u64>) -> io::Result<Option<Attempt>> {
        let Some(connection) = self.connection.as_mut() else { return Ok(Some(Attempt::Lost)) };
        if !connection.greeted {
            let Some((welcome, consumed)) = Welcome::decode(&connection.received).map_err(invalid)? else {
                return Ok(None);
            };
            connection.received.drain(..consumed);
            match welcome.verdict {
                Verdict::Served { budget_ms, on_failure, mechanisms } => {
                    self.budget = Some(Duration::from_millis(budget_ms.into()));
                    self.on_failure = on_failure;
                    self.offered = Some(mechanisms);
                    connection.greeted = true;
                }
                Verdict::Taken if self.offer.is_some() => return Ok(Some(Attempt::Taken)),
                Verdict::Taken => return Ok(Some(Attempt::Lost)),
                Verdict::TooOld => return Ok(Some(Attempt::End)),
                // During an upgrade this program is new and the broker will be restarted.
                Verdict::TooNew => {
                    if (ipc::OLDEST..self.spoken).contains(&welcome.version) {
                        self.spoken = welcome.version;
                    }
                    self.trouble = "the broker is older than this program".to_owned();
                    return Ok(Some(Attempt::Lost));
                }
            }
        }
        let Some(id) = id else { return Ok(Some(Attempt::Greeted)) };
        while let Some((told, consumed)) =
            ipc::decode::<ipc::AnswerFrame>(&connection.received, MAX_FROM_BROKER).map_err(invalid)?
        {
            connection.received.drain(..consumed);
            if told.id == id {
                return Ok(Some(Attempt::Answered(told.answer)));
            }
        }
        Ok(None)
    }
}

pub(super) fn invalid(error: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
