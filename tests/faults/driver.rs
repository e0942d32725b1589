//! The driver: threads that ask as Postfix does, each request with a key of its own, and write down what they sent
//! and what they got. A request on a connection that ends is repeated once, as Postfix repeats it; a login is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ledger::{Asked, Finding, Heard, Ledgers, Rules, Said, Window, reconcile};
use crate::protocol::{auth, exchange, rcpt, request};
use crate::support::peer::Peer;
use crate::support::{pause, wait_until};

/// How long a thread waits between two requests.
const PACE: Duration = Duration::from_millis(4);
/// How long a row waits for its traffic.
const LONGEST: Duration = Duration::from_secs(60);

/// Opens a connection as Postfix does.
pub(crate) type Open = Arc<dyn Fn() -> Peer + Send + Sync>;
/// The user name, the token and f of a login with a token.
pub(crate) type Token = Arc<dyn Fn(u64) -> (String, String, String) + Send + Sync>;

/// The protocol of a lane.
#[derive(Clone)]
pub(crate) enum Talk {
    /// Lookups in this map, of this key.
    Map(&'static str, fn(u64) -> String),
    Policy,
    /// Passwords, by PLAIN.
    Password,
    Token(Token),
    /// `RCPT TO` of a Postfix at this port: 250, 550 if there is no such recipient, or 4xx.
    Rcpt(u16),
    /// `AUTH PLAIN` of a Postfix at this port: 235, 535 or 454.
    Auth(u16),
}

/// Requests of one kind, which take one way.
#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) talk: Talk,
    pub(crate) open: Open,
    pub(crate) threads: usize,
    /// Every byte is sent alone.
    pub(crate) is_in_bytes: bool,
    pub(crate) pace: Duration,
}

/// The key of a request, usually.
pub(crate) fn key(id: u64) -> String {
    format!("k{id}")
}

impl Lane {
    /// Two threads that ask in this way.
    pub(crate) fn new(name: &'static str, talk: Talk, open: Open) -> Self {
        Self { name, talk, open, threads: 2, is_in_bytes: false, pace: PACE }
    }
}

/// The threads of a run.
pub(crate) struct Traffic {
    ledgers: Arc<Ledgers>,
    lanes: Vec<(&'static str, Arc<AtomicUsize>)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    windows: Vec<Window>,
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) lookups: usize,
    /// Temporary replies, with their lanes and the time that they took.
    pub(crate) temporary: Vec<(&'static str, Duration)>,
    /// Times of the definitive replies.
    pub(crate) definitive: Vec<(&'static str, Duration)>,
}

/// Numbers of requests are unique in the process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of the next request.
pub(crate) fn next_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One request of a row's own, which the ledgers keep as they keep the others. An API that sees it although its
/// `key` is none of a request is found.
pub(crate) fn once(
    ledgers: &Ledgers,
    lane: &'static str,
    key: &str,
    due: &str,
    ask: impl FnOnce() -> Option<Said>,
) {
    let (id, at) = (next_id(), Instant::now());
    ledgers.asked.append(Asked { id, lane, key: key.to_owned(), due: due.to_owned(), at });
    if let Some(said) = ask() {
        ledgers.heard.append(Heard { id, said, at: Instant::now() });
    }
}

impl Traffic {
    /// Starts the threads of all lanes.
    pub(crate) fn start(ledgers: &Arc<Ledgers>, lanes: &[Lane]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut counts, mut threads) = (Vec::new(), Vec::new());
        for lane in lanes {
            let count = Arc::new(AtomicUsize::new(0));
            counts.push((lane.name, Arc::clone(&count)));
            for _ in 0..lane.threads {
                let (lane, ledgers) = (lane.clone(), Arc::clone(ledgers));
                let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
                threads.push(std::thread::spawn(move || work(&lane, &ledgers, &stop, &count)));
            }
        }
        let ledgers = Arc::clone(ledgers);
        Self { ledgers, lanes: counts, stop, threads, windows: Vec::new() }
    }

    /// Waits until each of these lanes, or of all if there are none, has so many more replies.
    pub(crate) fn more_of(&self, count: usize, lanes: &[&str]) {
        let counted = |(name, _): &&(&'static str, _)| lanes.is_empty() || lanes.contains(name);
        let counts: Vec<_> = self.lanes.iter().filter(counted).collect();
        let due: Vec<_> = counts.iter().map(|(_, done)| done.load(Ordering::SeqCst) + count).collect();
        let came = wait_until(LONGEST, || {
            counts.iter().zip(&due).all(|((_, done), due)| done.load(Ordering::SeqCst) >= *due)
        });
        assert!(came, "{count} replies do not come within {LONGEST:?}: {:?}", self.lanes);
    }

    /// The same for all lanes.
    pub(crate) fn more(&self, count: usize) {
        self.more_of(count, &[]);
    }

    /// How many replies there are so far.
    pub(crate) fn count(&self) -> usize {
        self.lanes.iter().map(|(_, done)| done.load(Ordering::SeqCst)).sum()
    }

    /// Waits until all lanes together have so many replies.
    pub(crate) fn total(&self, count: usize) {
        let came = wait_until(LONGEST, || self.count() >= count);
        assert!(came, "{count} replies do not come: {:?}", self.lanes);
    }

    /// Declares a fault of these lanes, from now on.
    pub(crate) fn fault(&mut self, lanes: &[&'static str]) {
        self.windows.push(Window { lanes: lanes.to_vec(), from: Instant::now(), to: None });
    }

    /// Declares the end of the last fault.
    pub(crate) fn mended(&mut self) {
        self.windows.last_mut().expect("a fault").to = Some(Instant::now());
    }

    /// Ends the threads after their replies, and reconciles the ledgers.
    ///
    /// # Panics
    /// If the ledgers do not agree.
    pub(crate) fn end(mut self, mut rules: Rules) -> Outcome {
        self.join();
        rules.windows.append(&mut self.windows);
        judged(&self.ledgers, &rules)
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a thread of the driver panicked");
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.join();
    }
}

/// Reconciles the ledgers of a run that has ended.
///
/// # Panics
/// If they do not agree.
pub(crate) fn judged(ledgers: &Ledgers, rules: &Rules) -> Outcome {
    let findings = reconcile(ledgers, rules);
    let shown: Vec<String> = findings.iter().take(8).map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), shown.join("\n"));
    let asked = ledgers.asked.entries();
    let mut outcome = Outcome { lookups: asked.len(), temporary: Vec::new(), definitive: Vec::new() };
    let sent: std::collections::HashMap<_, _> = asked.iter().map(|request| (request.id, request)).collect();
    for heard in ledgers.heard.entries().iter().chain(&ledgers.smtp.entries()) {
        let request = sent[&heard.id];
        let entry = (request.lane, heard.at - request.at);
        match heard.said {
            Said::Temporary(_) => outcome.temporary.push(entry),
            Said::Definitive(_) => outcome.definitive.push(entry),
        }
    }
    outcome
}

impl Outcome {
    /// Temporary replies of a lane.
    pub(crate) fn temporary_of(&self, lane: &str) -> usize {
        self.temporary.iter().filter(|(name, _)| *name == lane).count()
    }

    /// Definitive replies of a lane.
    pub(crate) fn definitive_of(&self, lane: &str) -> usize {
        self.definitive.iter().filter(|(name, _)| *name == lane).count()
    }

    /// The time within which 99 % of the definitive replies of a lane came.
    pub(crate) fn p99_of(&self, lane: &str) -> Duration {
        let mut times: Vec<Duration> =
            self.definitive.iter().filter(|(name, _)| *name == lane).map(|(_, time)| *time).collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// One thread: requests one after another.
fn work(lane: &Lane, ledgers: &Ledgers, stop: &AtomicBool, count: &AtomicUsize) {
    let mut connection = None;
    while !stop.load(Ordering::SeqCst) {
        let id = next_id();
        let (key, due, request) = request(lane, id);
        let (address, at) = (key.clone(), Instant::now());
        ledgers.asked.append(Asked { id, lane: lane.name, key, due, at });
        let said = match &lane.talk {
            Talk::Rcpt(port) => Some(rcpt(*port, &address)),
            Talk::Auth(port) => Some(auth(*port, &address)),
            _ => exchange(lane, &mut connection, &request),
        };
        if let Some(said) = said {
            let heard = Heard { id, said, at: Instant::now() };
            match &lane.talk {
                Talk::Rcpt(_) | Talk::Auth(_) => ledgers.smtp.append(heard),
                _ => ledgers.heard.append(heard),
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
        pause(lane.pace);
    }
}
