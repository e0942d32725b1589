//! The client's way to the broker: connect, greet, ask, wait, and ask again when it was away.
//!
//! Two clocks run for a lookup. `--timeout` bounds the time without a broker: connecting,
//! back-off, and a broker that takes the connection but does not greet. Once it has greeted, its
//! own word counts: the longest budget of what may be asked, plus a second for the way back, and
//! 95 s at most. A lookup keeps its id and spends one budget, however often it is sent.
//!
//! A login waits 9 s at most, and leaves once: on a connection where the broker has greeted, and
//! never again when that breaks, for a password must not be tried twice.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::ConnectWaitMode;
use interprocess::local_socket::{ConnectOptions, GenericFilePath, ToFsName};
use interprocess::os::unix::uds_local_socket::Stream;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::args::Args;
use super::{failed, syslog, timespec};
use crate::model::{Answer, Deadline, Failure, LOGIN_BUDGET, LONGEST_BUDGET, Mechanism, OnFailure, Question};
use crate::wire::ipc::{self, Hello, MAX_FROM_BROKER, Service, Verdict, Welcome};

/// Nothing is waited for longer than this: Postfix gives up after 100 s (dict_sockmap.c).
const LONGEST: Duration = Duration::from_secs(95);
/// For the way from the broker's failure answer to us.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a lookup waits for a broker after another one has waited in vain.
const IMPATIENT: Duration = Duration::from_secs(1);
/// How many brokers one lookup may lose.
const MAX_LOSSES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What became of a lookup.
pub(super) enum LookupResult {
    /// The answer, or our own failure answer.
    Answered(Answer),
    /// Nobody reads our replies any more.
    HungUp,
    /// The broker no longer serves this program's frame version.
    Replaced,
}

/// One try on one connection.
enum Attempt {
    Answered(Answer),
    /// The broker has greeted, which was all that was to happen.
    Greeted,
    HungUp,
    Replaced,
    /// The connection could not be made, broke, or its peer makes no sense.
    Lost,
    /// The time given to the attempt is over.
    TimedOut,
}

/// A connection, and what has been read of it.
struct Connection {
    stream: Stream,
    received: Vec<u8>,
    greeted: bool,
}

/// The way to the broker, over as many connections as it takes.
pub(super) struct BrokerLink {
    socket: PathBuf,
    timeout: Duration,
    version: u16,
    service: Service,
    connection: Option<Connection>,
    budget: Option<Duration>,
    on_failure: Option<OnFailure>,
    /// What the broker offers for logins.
    offered: Option<Vec<Mechanism>>,
    /// Whether a byte of the question has been written.
    has_left: bool,
    next_id: u64,
    waited_in_vain: bool,
    /// Why the last attempt came to nothing, for the log.
    trouble: String,
}

impl BrokerLink {
    pub(super) fn new(args: Args, version: u16) -> Self {
        Self {
            version,
            socket: args.socket,
            timeout: args.timeout,
            service: args.service,
            connection: None,
            budget: None,
            on_failure: None,
            offered: None,
            has_left: false,
            // Of this process alone: the API may be told it (`Idempotency-Key`).
            next_id: RandomState::new().hash_one(std::process::id()),
            waited_in_vain: false,
            trouble: "it does not greet".to_owned(),
        }
    }

    /// The entry's `on_failure`, once a broker has told it.
    pub(super) fn on_failure(&self) -> Option<&OnFailure> {
        self.on_failure.as_ref()
    }

    /// What the broker offers for logins, if it says so within `patience`.
    pub(super) fn mechanisms(&mut self, patience: Duration) -> Option<Vec<Mechanism>> {
        let give_up = Deadline::after(patience);
        let mut pause = FIRST_PAUSE;
        while !give_up.remaining().is_zero() {
            match self.greet(give_up) {
                Ok(None) => return self.offered.take().filter(|offered| !offered.is_empty()),
                Ok(Some(_)) => {
                    self.connection = None;
                    return None;
                }
                Err(error) => self.trouble = error.to_string(),
            }
            self.connection = None;
            if hung_up_within(pause.min(give_up.remaining())) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        None
    }

    /// Asks until there is an answer, or no time left for one.
    pub(super) fn ask(&mut self, question: &Question) -> LookupResult {
        let started = Instant::now();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.has_left = false;
        let mut alone_since = started;
        let mut pause = FIRST_PAUSE;
        let mut losses = 0;
        loop {
            let patience = if self.waited_in_vain { IMPATIENT } else { self.timeout };
            let give_up = Deadline::from(alone_since, patience);
            match self.attempt(question, id, started, give_up) {
                Attempt::Answered(answer) => {
                    self.waited_in_vain = false;
                    return LookupResult::Answered(answer);
                }
                Attempt::HungUp => return LookupResult::HungUp,
                Attempt::Replaced => return LookupResult::Replaced,
                Attempt::TimedOut => return self.no_answer(),
                // It may have been asked already.
                Attempt::Lost if self.has_left && self.is_login() => return self.no_answer(),
                Attempt::Lost if self.lose_connection() => {
                    losses += 1;
                    // It was there a moment ago: whoever waits from now on waits anew.
                    alone_since = Instant::now();
                    match losses {
                        1 => {
                            syslog::warn(&format!("lost the broker at {}", self.socket.display()));
                            continue;
                        }
                        // Perhaps it is this very lookup that ends it.
                        MAX_LOSSES.. => return self.no_answer(),
                        _ => {}
                    }
                }
                Attempt::Greeted | Attempt::Lost => {}
            }
            let left = give_up.min(self.deadline(started)).remaining();
            if left.is_zero() {
                return self.no_answer();
            }
            if hung_up_within(pause.min(left)) {
                return LookupResult::HungUp;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn is_login(&self) -> bool {
        matches!(self.service, Service::Login { .. })
    }

    /// When the lookup ends, whatever happens.
    fn deadline(&self, started: Instant) -> Deadline {
        let most = if self.is_login() { LOGIN_BUDGET } else { LONGEST_BUDGET };
        let budget = self.budget.unwrap_or(most).min(most);
        Deadline::from(started, (budget + MARGIN).min(LONGEST))
    }

    /// Drops the connection; true where a broker had greeted on it.
    fn lose_connection(&mut self) -> bool {
        self.connection.take().is_some_and(|connection| connection.greeted)
    }

    /// Our own failure answer. An answer that comes late must not meet the next lookup, so the
    /// connection goes; the broker drops the lookup when it sees that.
    fn no_answer(&mut self) -> LookupResult {
        let greeted = self.connection.take().is_some_and(|connection| connection.greeted);
        let failure = if greeted { Failure::Timeout } else { Failure::NoBroker };
        if !greeted && !self.waited_in_vain {
            let (service, socket) = (&self.service, self.socket.display());
            syslog::warn(&format!("no broker for {service} at {socket}: {}", self.trouble));
            self.waited_in_vain = true;
        }
        // Only a close says "later" to Postfix; a broker's own word would come with its answer.
        let close = self.is_login().then_some(&OnFailure::Disconnect);
        LookupResult::Answered(failed(failure, close.or(self.on_failure.as_ref())))
    }

    fn attempt(&mut self, question: &Question, id: u64, started: Instant, give_up: Deadline) -> Attempt {
        match self.try_to_ask(question, id, started, give_up) {
            Ok(attempt) => attempt,
            Err(error) if error.kind() == ErrorKind::TimedOut => Attempt::TimedOut,
            Err(error) => {
                self.trouble = match self.connection {
                    None => error.to_string(),
                    Some(_) => format!("the broker closed the connection ({error})"),
                };
                Attempt::Lost
            }
        }
    }

    fn try_to_ask(
        &mut self,
        question: &Question,
        id: u64,
        started: Instant,
        give_up: Deadline,
    ) -> io::Result<Attempt> {
        let mut out = Vec::with_capacity(256);
        if self.is_login() {
            if let Some(attempt) = self.greet(give_up.min(self.deadline(started)))? {
                return Ok(attempt);
            }
        } else {
            self.connect(&mut out)?;
        }
        let spent_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        if ipc::encode_request(id, spent_ms, question, &mut out).is_err() {
            return Ok(Attempt::Answered(failed(Failure::Malformed, self.on_failure.as_ref())));
        }
        self.converse(&out, Some((id, started)), give_up)
    }

    /// Connects, where there is no connection; the greeting to send is put into `out`.
    fn connect(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.connection.is_none() {
            let stream = connect(&self.socket)?;
            self.connection = Some(Connection { stream, received: Vec::new(), greeted: false });
            Hello::encode(self.version, &self.service, out).map_err(invalid)?;
        }
        Ok(())
    }

    /// Sees to a connection on which the broker has greeted; nothing where there is one.
    fn greet(&mut self, give_up: Deadline) -> io::Result<Option<Attempt>> {
        let mut out = Vec::new();
        self.connect(&mut out)?;
        if self.connection.as_ref().is_some_and(|connection| connection.greeted) {
            return Ok(None);
        }
        match self.converse(&out, None, give_up)? {
            Attempt::Greeted => Ok(None),
            other => Ok(Some(other)),
        }
    }

    /// Writes `out` and reads until the answer to `asked` is there, its id and when it began; or
    /// without one the greeting.
    fn converse(
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
            // The greeting may just have told the budget.
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
            if wait(&connection.stream, interest, until)? == Woken::HungUp {
                return Ok(Attempt::HungUp);
            }
            if out.is_empty() {
                connection.read()?;
            }
        }
    }

    /// Takes in what has been read: the greeting, then the answer; an answer to a lookup that
    /// was given up is dropped.
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
                Verdict::TooOld => return Ok(Some(Attempt::Replaced)),
                // An upgrade has brought this program, and will restart the broker next.
                Verdict::TooNew => {
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

impl Connection {
    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match (&self.stream).read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Connects without waiting: a broker that is there accepts at once, and one whose queue of
/// connections is full is as good as away.
fn connect(socket: &Path) -> io::Result<Stream> {
    ConnectOptions::new()
        .name(socket.to_fs_name::<GenericFilePath>()?)
        .wait_mode(ConnectWaitMode::Timeout(Duration::ZERO))
        .nonblocking_stream(true)
        .connect_sync_as::<Stream>()
}

fn invalid(error: ipc::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[derive(PartialEq)]
enum Woken {
    Ready,
    HungUp,
}

/// Waits for the broker, and for Postfix to hang up: nobody to read the answer, no answer.
fn wait(stream: &Stream, interest: PollFlags, until: Deadline) -> io::Result<Woken> {
    let stdout = rustix::stdio::stdout();
    let stream = stream.as_fd();
    loop {
        let left = until.remaining();
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut fds = [PollFd::new(&stream, interest), PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = !fds[0].revents().is_empty();
        return Ok(if ready { Woken::Ready } else { Woken::HungUp });
    }
}

/// Pauses; true where Postfix hung up meanwhile. A half-close does not count, nor does a pipe
/// on standard input that has ended: only that nobody reads standard output.
fn hung_up_within(pause: Duration) -> bool {
    let stdout = rustix::stdio::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    matches!(poll(&mut fds, Some(&timespec(pause))), Ok(1..))
}
