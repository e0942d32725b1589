//! The load: a closed loop over connections, one request at a time on each, in one thread. They are kept, or
//! each request gets a new one.
//!
//! It shares the machine's cores with what it measures, so it does little: buffers are made
//! before, a request differs from the last one in eight digits, one system call writes and one
//! reads. Of one connection it reads blocking; of several it waits with epoll. Every reply is
//! compared; what is wrong, closed or late ends the run.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, read, write};

use super::process::PATIENCE;
use super::script::{Due, FIRST, Numbered, Script, Verdict};
use super::{Outcome, interrupt};

/// Longer than any reply.
const REPLY: usize = 4096;

/// Opens a connection.
type Open<'o> = Box<dyn Fn() -> Outcome<OwnedFd> + 'o>;

/// The connections of one cell.
pub(crate) struct Load<'o> {
    links: Vec<Link>,
    /// A connection for each request, if they are not kept.
    open: Option<Open<'o>>,
    ready: OwnedFd,
    events: Vec<epoll::Event>,
    /// The requests so far; another number for each.
    asked: u32,
    /// How many different ones there are.
    numbers: u32,
}

struct Link {
    socket: OwnedFd,
    request: Numbered,
    due: Due,
    received: Box<[u8; REPLY]>,
    filled: usize,
    asked_at: Instant,
}

/// What came of one stretch of load.
pub(crate) struct Run {
    /// From the first request to the last reply.
    pub(crate) elapsed: Duration,
    /// Of each request, in nanoseconds, in no order.
    pub(crate) latencies: Vec<u32>,
}

impl<'o> Load<'o> {
    /// Speaks `script` on these connections; the numbers come round after `numbers` of them.
    pub(crate) fn new(sockets: Vec<OwnedFd>, script: &Script, from: u32, numbers: u32) -> Outcome<Self> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let mut links = Vec::with_capacity(sockets.len());
        for socket in sockets {
            watch(&ready, &socket, links.len())?;
            let (request, due) = (script.request.clone(), script.due.clone());
            let received = Box::new([0; REPLY]);
            links.push(Link { socket, request, due, received, filled: 0, asked_at: Instant::now() });
        }
        let events = Vec::with_capacity(links.len());
        Ok(Self { links, open: None, ready, events, asked: from, numbers })
    }

    /// From now on each request has a connection of its own, and its latency has the time to connect.
    pub(crate) fn reopening(self, open: impl Fn() -> Outcome<OwnedFd> + 'o) -> Self {
        Self { open: Some(Box::new(open)), ..self }
    }

    /// Asks for this long, and hears every reply.
    pub(crate) fn run(&mut self, length: Duration) -> Outcome<Run> {
        let mut latencies = Vec::with_capacity(1 << 18);
        let start = Instant::now();
        let end = start + length;
        let mut now = start;
        for place in 0..self.links.len() {
            self.ask(place, Instant::now())?;
        }
        let mut open = self.links.len();
        let mut ready = Vec::with_capacity(open);
        while open > 0 {
            self.wait(&mut ready)?;
            for place in ready.drain(..) {
                let link = &mut self.links[place];
                if !link.hear()? {
                    continue;
                }
                now = Instant::now();
                let nanoseconds = now.duration_since(link.asked_at).as_nanos();
                latencies.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
                if now < end {
                    self.ask(place, now)?;
                } else {
                    open -= 1;
                }
            }
        }
        Ok(Run { elapsed: now.duration_since(start), latencies })
    }

    /// Asks this many times, one after the other, on each connection in turn.
    pub(crate) fn in_turn(&mut self, times: usize) -> Outcome<()> {
        for turn in 0..times {
            let place = turn % self.links.len();
            self.ask(place, Instant::now())?;
            while !self.links[place].hear()? {}
        }
        Ok(())
    }

    /// The number that comes next.
    pub(crate) fn asked(&self) -> u32 {
        self.asked
    }

    fn ask(&mut self, place: usize, now: Instant) -> Outcome<()> {
        let number = FIRST + self.asked % self.numbers;
        self.asked = self.asked.wrapping_add(1);
        let link = &mut self.links[place];
        if let Some(open) = &self.open {
            // The last one is closed by this.
            link.socket = open()?;
            watch(&self.ready, &link.socket, place)?;
        }
        link.ask(number, now)
    }

    /// Which connections have something to read. Of one alone that need not be asked.
    fn wait(&mut self, ready: &mut Vec<usize>) -> Outcome<()> {
        interrupt::check()?;
        if self.links.len() == 1 {
            ready.push(0);
            return Ok(());
        }
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        match epoll::wait(&self.ready, spare_capacity(&mut self.events), Some(&patience)) {
            Ok(0) => return Err("no reply came in time".to_owned()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("epoll: {error}")),
        }
        ready.extend(self.events.drain(..).map(|event| event.data.u64() as usize));
        Ok(())
    }
}

impl Run {
    /// Replies in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Has epoll tell of what can be read.
fn watch(ready: &OwnedFd, socket: &OwnedFd, place: usize) -> Outcome<()> {
    let place = epoll::EventData::new_u64(place as u64);
    epoll::add(ready, socket, place, epoll::EventFlags::IN).map_err(|error| format!("epoll: {error}"))
}

impl Link {
    fn ask(&mut self, number: u32, now: Instant) -> Outcome<()> {
        self.request.set(number);
        if let Due::Exactly(due) = &mut self.due {
            due.set(number);
        }
        self.filled = 0;
        self.asked_at = now;
        match write(&self.socket, &self.request.bytes) {
            Ok(written) if written == self.request.bytes.len() => Ok(()),
            Ok(written) => Err(format!("only {written} bytes of a request were taken")),
            Err(error) => Err(format!("a request could not be sent: {error}")),
        }
    }

    /// Reads what there is; whether the reply is complete.
    fn hear(&mut self) -> Outcome<bool> {
        let read = match read(&self.socket, &mut self.received[self.filled..]) {
            Ok(0) => return Err(format!("closed, behind {}", shown(&self.received[..self.filled]))),
            Ok(read) => read,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(format!("no reply: {error}")),
        };
        self.filled += read;
        let got = &self.received[..self.filled];
        match self.due.judge(got) {
            Verdict::Complete => Ok(true),
            Verdict::More if self.filled < REPLY => Ok(false),
            Verdict::More | Verdict::Wrong => {
                let asked = shown(&self.request.bytes);
                Err(format!("a wrong answer: {} to {asked}", shown(got)))
            }
        }
    }
}

/// Bytes as a message shows them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes[..bytes.len().min(600)].escape_ascii())
}
