//! The epoch of an entry: a number that is part of the names of its records, and what a number that comes from elsewhere
//! means for a host. No I/O.
//!
//! A first number is made from the time, and later ones are less: it was not used before, and a host that knows the number
//! of before has the greater one. A purge makes a number greater by one. A purge with a number that is far too small
//! shows that the server had lost the number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::task;

/// A greater number is none.
pub(super) const GREATEST: u64 = 100_000_000_000_000_000;
/// First numbers count the milliseconds down to this one, in the year 2286.
const END: u64 = 10_000_000_000_000;
/// First numbers of two milliseconds differ by this: more than there are purges in one.
const APART: u64 = 1000;

/// Drops what a host has of an entry itself: all, or the answer to a key.
pub(crate) type Forget = Box<dyn Fn(Option<&[u8]>) + Send + Sync>;

/// Whether a number that was read without a message purges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It does: an answer too few is a request more.
    Numbers,
    /// Messages alone do, which only hosts with the secret can make.
    Messages,
}

/// The epoch of an entry.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    /// The number, plus 1; 0: not known yet.
    number: AtomicU64,
    /// Purges that the server does not know yet.
    pending: AtomicU64,
}

impl Epoch {
    /// Notes a purge that the server is to be told of.
    pub(super) fn purge(&self) {
        self.pending.fetch_add(1, SeqCst);
    }

    /// How many purges the server does not know yet.
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(SeqCst)
    }

    /// The server knows this many purges now.
    pub(super) fn told(&self, purges: u64) {
        self.pending.fetch_sub(purges, SeqCst);
    }

    /// The number for names of records. `None`: it is not known, or about to change.
    pub(super) fn number(&self) -> Option<u64> {
        let is_settled = self.pending() == 0;
        self.known().filter(|_| is_settled)
    }

    /// Sets the number unless it is greater; returns what it was before.
    pub(super) fn raise(&self, number: u64) -> Option<u64> {
        self.number.fetch_max(number.saturating_add(1), SeqCst).checked_sub(1)
    }

    pub(super) fn known(&self) -> Option<u64> {
        self.number.load(SeqCst).checked_sub(1)
    }

    /// The number, or a first one.
    pub(super) fn known_or_first(&self) -> u64 {
        self.known().unwrap_or_else(|| first_number(task::now()))
    }
}

/// A number that was not used before this time (milliseconds since 1970).
fn first_number(now: u64) -> u64 {
    END.saturating_sub(now) * APART
}

/// An entry, as purges see it.
#[derive(Clone)]
pub(super) struct Part {
    /// The key of the number.
    pub(super) name: String,
    pub(super) epoch: Arc<Epoch>,
    pub(super) trust: Trust,
    pub(super) forget: Arc<Forget>,
}

impl Part {
    /// Takes a number that was read.
    pub(super) fn learn(&self, number: u64) {
        let is_purged = self.epoch.raise(number).is_some_and(|before| before < number);
        if is_purged && self.trust == Trust::Numbers {
            (self.forget)(None);
        }
    }

    /// Takes the number of another host's purge. True: the server had lost the number before.
    pub(super) fn hear(&self, number: u64) -> bool {
        let known = self.epoch.known();
        let is_lost = known.is_some_and(|known| number.saturating_add(APART) <= known);
        // Messages may overtake each other: a smaller number is of an older purge.
        if is_lost || known.is_none_or(|known| known < number) {
            self.epoch.raise(number);
            (self.forget)(None);
        }
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn part(trust: Trust) -> (Part, Arc<Mutex<usize>>) {
        let count = Arc::<Mutex<usize>>::default();
        let counted = Arc::clone(&count);
        let forget = move |_: Option<&[u8]>| *counted.lock().expect("a number") += 1;
        let forget: Forget = Box::new(forget);
        let (name, epoch) = (String::new(), Arc::default());
        (Part { name, epoch, trust, forget: Arc::new(forget) }, count)
    }

    #[test]
    fn a_number_is_used_if_it_is_known_and_no_purge_is_pending() {
        let epoch = Epoch::default();
        assert_eq!(epoch.number(), None);
        epoch.raise(0);
        assert_eq!(epoch.number(), Some(0));
        epoch.purge();
        assert_eq!((epoch.number(), epoch.known()), (None, Some(0)));
        epoch.told(1);
        epoch.raise(7);
        epoch.raise(5);
        assert_eq!(epoch.number(), Some(7));
    }

    #[test]
    fn a_later_first_number_is_less_and_was_not_used() {
        let now = task::now();
        let (before, after) = (first_number(now), first_number(now + 1));
        assert!(after + APART <= before && before < GREATEST, "{before} {after}");
        assert_eq!(first_number(u64::MAX), 0);
        assert!(first_number(0) < GREATEST);
    }

    #[test]
    fn what_a_number_means_depends_on_how_it_came() {
        let (of_answers, forgotten) = part(Trust::Numbers);
        let (of_denials, kept) = part(Trust::Messages);
        for part in [&of_answers, &of_denials] {
            part.learn(5_000);
            part.learn(5_000);
        }
        assert_eq!((*forgotten.lock().expect("a number"), *kept.lock().expect("a number")), (0, 0));
        for part in [&of_answers, &of_denials] {
            part.learn(5_001);
            part.learn(4_000);
            assert_eq!(part.epoch.number(), Some(5_001));
        }
        assert_eq!((*forgotten.lock().expect("a number"), *kept.lock().expect("a number")), (1, 0));
        for (number, is_lost, due) in
            [(5_002, false, 1), (5_002, false, 1), (5_001, false, 1), (4_003, false, 1), (4_002, true, 2)]
        {
            assert_eq!(of_denials.hear(number), is_lost, "{number}");
            assert_eq!(*kept.lock().expect("a number"), due, "{number}");
            assert_eq!(of_denials.epoch.number(), Some(5_002));
        }
        let (unknown, forgotten) = part(Trust::Messages);
        assert!(!unknown.hear(3) && unknown.epoch.number() == Some(3));
        assert_eq!(*forgotten.lock().expect("a number"), 1, "it may have answers of before");
    }
}
