//! The ledgers of a run, and their reconciliation. Entries are only appended. Nothing here knows which fault was
//! played, only when one was declared.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long temporary replies may go on after the end of a fault.
const GRACE: Duration = Duration::from_secs(1);

/// What Postfix, or its SMTP client, was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// An answer that decides something.
    Definitive(String),
    /// Come again: TEMP, PERM (451 in Postfix), DEFER, a closed connection, 4xx.
    Temporary(String),
}

/// The driver sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    /// The lane of the request, for the windows.
    pub(crate) lane: &'static str,
    pub(crate) key: String,
    /// f(key): the only definitive answer that is right.
    pub(crate) due: String,
    pub(crate) at: Instant,
}

/// The driver got a reply.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) id: u64,
    pub(crate) said: Said,
    pub(crate) at: Instant,
}

/// The API saw a request.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) is_password: bool,
}

/// Entries of one kind, in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Ledger<T>(Mutex<Vec<T>>);

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Ledger<T> {
    /// Writes one entry.
    pub(crate) fn append(&self, entry: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// All entries so far.
    pub(crate) fn entries(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin_again(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The ledgers of one run: the driver has two, the API one, and the SMTP client one.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    pub(crate) asked: Ledger<Asked>,
    pub(crate) heard: Ledger<Heard>,
    pub(crate) called: Ledger<Called>,
    /// Replies of Postfix, where it is in the path.
    pub(crate) smtp: Ledger<Heard>,
}

impl Ledgers {
    /// Begins new ledgers, after a run that was reconciled.
    pub(crate) fn begin_again(&self) {
        self.asked.begin_again();
        self.heard.begin_again();
        self.called.begin_again();
        self.smtp.begin_again();
    }
}

/// A declared fault.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// The lanes that may get temporary replies.
    pub(crate) lanes: Vec<&'static str>,
    pub(crate) from: Instant,
    /// `None`: until the end of the run.
    pub(crate) to: Option<Instant>,
}

/// What a row allows.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) windows: Vec<Window>,
    /// How often the API may see a lookup again.
    pub(crate) repetitions: usize,
    /// How often it may see a password.
    pub(crate) passwords: usize,
    /// The longest time from a request to its reply.
    pub(crate) budget: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { windows: Vec::new(), repetitions: 1, passwords: 1, budget: Duration::from_secs(3) }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A definitive answer other than f(key).
    Wrong { id: u64, said: String, due: String },
    /// No reply.
    Lost { id: u64 },
    /// More than one reply.
    Doubled { id: u64, replies: usize },
    /// A reply to what was not asked.
    Unasked { id: u64 },
    /// A temporary reply, and no fault was declared.
    Temporary { id: u64, said: String },
    /// A reply after its budget.
    Late { id: u64, after: Duration },
    /// The API saw a request too often.
    Repeated { id: u64, times: usize },
    /// The API saw a password too often.
    Password { id: u64, times: usize },
    /// The API saw another key than the one that was sent, or a request that was never sent.
    Altered { id: u64, key: String },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { id, said, due } => write!(f, "request {id}: wrong: {said:?}, not {due:?}"),
            Self::Lost { id } => write!(f, "request {id}: lost"),
            Self::Doubled { id, replies } => write!(f, "request {id}: {replies} replies"),
            Self::Unasked { id } => write!(f, "request {id}: a reply, but it was not asked"),
            Self::Temporary { id, said } => write!(f, "request {id}: {said:?} outside of a fault"),
            Self::Late { id, after } => write!(f, "request {id}: the reply came after {after:.1?}"),
            Self::Repeated { id, times } => write!(f, "request {id}: the API saw it {times} times"),
            Self::Password { id, times } => write!(f, "request {id}: the API saw its password {times} times"),
            Self::Altered { id, key } => write!(f, "request {id}: the API saw the key {key:?}"),
        }
    }
}

/// Compares the ledgers; the result is empty if the run was right.
pub(crate) fn reconcile(ledgers: &Ledgers, rules: &Rules) -> Vec<Finding> {
    let asked = ledgers.asked.entries();
    let mut replies: HashMap<u64, Vec<Heard>> = HashMap::new();
    for heard in ledgers.heard.entries().into_iter().chain(ledgers.smtp.entries()) {
        replies.entry(heard.id).or_default().push(heard);
    }
    let mut findings = Vec::new();
    for request in &asked {
        match replies.remove(&request.id).unwrap_or_default().as_slice() {
            [] => findings.push(Finding::Lost { id: request.id }),
            [one] => findings.extend(judge(request, one, rules)),
            more => findings.push(Finding::Doubled { id: request.id, replies: more.len() }),
        }
    }
    findings.extend(replies.into_keys().map(|id| Finding::Unasked { id }));
    findings.extend(sightings(&asked, &ledgers.called.entries(), rules));
    findings
}

/// One reply to one request.
fn judge(request: &Asked, heard: &Heard, rules: &Rules) -> Vec<Finding> {
    let (id, mut findings) = (request.id, Vec::new());
    match &heard.said {
        Said::Definitive(said) if *said != request.due => {
            findings.push(Finding::Wrong { id, said: said.clone(), due: request.due.clone() });
        }
        Said::Temporary(said) if !rules.windows.iter().any(|window| covers(window, request, heard)) => {
            findings.push(Finding::Temporary { id, said: said.clone() });
        }
        _ => {}
    }
    let after = heard.at - request.at;
    if after > rules.budget {
        findings.push(Finding::Late { id, after });
    }
    findings
}

/// Whether the request was under way within the window, or up to a second behind it.
fn covers(window: &Window, request: &Asked, heard: &Heard) -> bool {
    let is_over = window.to.is_some_and(|to| request.at > to + GRACE);
    window.lanes.contains(&request.lane) && heard.at >= window.from && !is_over
}

/// What the API saw.
fn sightings(asked: &[Asked], called: &[Called], rules: &Rules) -> Vec<Finding> {
    let sent: HashMap<u64, &Asked> = asked.iter().map(|request| (request.id, request)).collect();
    let mut times: HashMap<(u64, bool), usize> = HashMap::new();
    let mut findings = Vec::new();
    for call in called {
        match sent.get(&call.id) {
            Some(request) if request.key == call.key => {
                *times.entry((call.id, call.is_password)).or_default() += 1;
            }
            _ => findings.push(Finding::Altered { id: call.id, key: call.key.clone() }),
        }
    }
    findings.extend(times.into_iter().filter_map(|((id, is_password), times)| match is_password {
        true => (times > rules.passwords).then_some(Finding::Password { id, times }),
        false => (times > 1 + rules.repetitions).then_some(Finding::Repeated { id, times }),
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of a hundred requests without a fault: the API saw each one once.
    fn run() -> Ledgers {
        let ledgers = Ledgers::default();
        for id in 0..100 {
            let (key, at) = (format!("k{id}"), Instant::now());
            let due = format!("OK {key}");
            let (lane, is_password) = ("m", id % 2 == 1);
            ledgers.asked.append(Asked { id, lane, key: key.clone(), due: due.clone(), at });
            ledgers.called.append(Called { id, key, is_password });
            if id != 20 {
                let due = if id == 10 { "NOTFOUND ".to_owned() } else { due };
                ledgers.heard.append(heard(id, Said::Definitive(due)));
            }
        }
        ledgers
    }

    fn heard(id: u64, said: Said) -> Heard {
        Heard { id, said, at: Instant::now() }
    }

    fn temporary(id: u64) -> Heard {
        heard(id, Said::Temporary("TEMP".to_owned()))
    }

    fn definitive(id: u64) -> Heard {
        heard(id, Said::Definitive(format!("OK k{id}")))
    }

    #[test]
    fn one_wrong_one_lost_and_one_doubled_reply_are_found_and_nothing_else() {
        let ledgers = run();
        ledgers.smtp.append(definitive(30));
        let due = vec![
            Finding::Wrong { id: 10, said: "NOTFOUND ".to_owned(), due: "OK k10".to_owned() },
            Finding::Lost { id: 20 },
            Finding::Doubled { id: 30, replies: 2 },
        ];
        assert_eq!(reconcile(&ledgers, &Rules::default()), due);
    }

    /// `run` has one wrong and one lost reply of its own.
    fn others(ledgers: &Ledgers, rules: &Rules) -> Vec<Finding> {
        let mut findings = reconcile(ledgers, rules);
        findings.retain(|finding| !matches!(finding, Finding::Wrong { .. } | Finding::Lost { .. }));
        findings
    }

    #[test]
    fn what_the_api_sees_is_counted() {
        let ledgers = run();
        let call = |id, key: &str, is_password| Called { id, key: key.to_owned(), is_password };
        ledgers.called.append(call(40, "k40", false));
        ledgers.called.append(call(41, "k41", true));
        ledgers.called.append(call(42, "k4", false));
        ledgers.called.append(call(777, "k777", false));
        let altered = |id, key: &str| Finding::Altered { id, key: key.to_owned() };
        let due = vec![altered(42, "k4"), altered(777, "k777"), Finding::Password { id: 41, times: 2 }];
        assert_eq!(others(&ledgers, &Rules::default()), due);
        let strict = Rules { repetitions: 0, passwords: 2, ..Rules::default() };
        let due = vec![altered(42, "k4"), altered(777, "k777"), Finding::Repeated { id: 40, times: 2 }];
        assert_eq!(others(&ledgers, &strict), due);
    }

    #[test]
    fn a_temporary_reply_needs_a_declared_fault_of_its_lane_and_time() {
        let ledgers = Ledgers::default();
        let from = Instant::now();
        let ask = |id, lane, at| Asked { id, lane, key: String::new(), due: String::new(), at };
        let after = |seconds: u64| from + Duration::from_secs(seconds);
        for (id, lane, at) in [(1, "m", from), (2, "p", from), (3, "m", after(1)), (4, "m", after(3))] {
            ledgers.asked.append(ask(id, lane, at));
            ledgers.heard.append(Heard { at, ..temporary(id) });
        }
        let window = |to| Window { lanes: vec!["m"], from, to };
        let rules = |window| Rules { windows: vec![window], ..Rules::default() };
        let outside = |id| Finding::Temporary { id, said: "TEMP".to_owned() };
        assert_eq!(reconcile(&ledgers, &rules(window(Some(after(1))))), [outside(2), outside(4)]);
        assert_eq!(reconcile(&ledgers, &rules(window(None))), [outside(2)]);
        assert_eq!(reconcile(&ledgers, &Rules::default()).len(), 4);
    }

    #[test]
    fn late_and_unasked_replies_are_found() {
        let ledgers = run();
        ledgers.heard.append(definitive(1000));
        let (id, at) = (100, Instant::now());
        ledgers.asked.append(Asked { id, lane: "m", key: "k".into(), due: "OK k100".to_owned(), at });
        ledgers.heard.append(Heard { at: at + Duration::from_secs(4), ..definitive(id) });
        let due = vec![Finding::Late { id, after: Duration::from_secs(4) }, Finding::Unasked { id: 1000 }];
        assert_eq!(others(&ledgers, &Rules::default()), due);
    }
}
