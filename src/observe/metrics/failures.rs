//! Failures: counters by class for each entry, and the last ones of all entries with their messages. A
//! message is the broker's own text, never one of an API or a peer.
//!
//! Failures of one entry with the same class and message, each less than a minute after the one before, are
//! one [`FailureRecord`]. The last 20 records are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Component;
use super::series::Counter;
use crate::model::Failure;

/// All classes, as `Failure::class` names them.
pub(crate) const CLASSES: [&str; 13] = [
    "connect",
    "timeout",
    "tls",
    "protocol",
    "status",
    "body",
    "provider",
    "overload",
    "no_broker",
    "unknown_name",
    "malformed",
    "value",
    "error_field",
];

/// The number of records.
const RECORDS: usize = 20;
/// A longer pause begins a new record.
const PAUSE: Duration = Duration::from_mins(1);

/// The failures of one entry.
#[derive(Debug)]
pub struct Failures {
    component: Component,
    name: Arc<str>,
    by_class: [Counter; CLASSES.len()],
    last: Arc<LastFailures>,
}

/// The last failures of all entries.
#[derive(Debug, Default)]
pub(crate) struct LastFailures(Mutex<VecDeque<FailureRecord>>);

/// One failure, or several alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailureRecord {
    pub(crate) component: Component,
    pub(crate) name: Arc<str>,
    pub(crate) class: &'static str,
    pub(crate) message: String,
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
    /// How many failures.
    pub(crate) count: u64,
}

impl Failures {
    pub(super) fn new(component: Component, name: &str, last: &Arc<LastFailures>) -> Self {
        Self { component, name: name.into(), by_class: Default::default(), last: Arc::clone(last) }
    }

    /// Counts and records a failure.
    pub fn note(&self, failure: &Failure, message: &str) {
        let class = failure.class();
        let known = CLASSES.iter().zip(&self.by_class).find(|(known, _)| **known == class);
        if let Some((_, counter)) = known {
            counter.add();
        }
        self.last.add((self.component, &self.name), class, message, SystemTime::now());
    }

    /// The counts, in the order of [`CLASSES`].
    pub(super) fn read(&self) -> [u64; CLASSES.len()] {
        self.by_class.each_ref().map(Counter::read)
    }
}

impl LastFailures {
    fn add(
        &self,
        (component, name): (Component, &Arc<str>),
        class: &'static str,
        message: &str,
        now: SystemTime,
    ) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |record: &FailureRecord| {
            record.component == component
                && record.name == *name
                && record.class == class
                && record.message == message
                && now.duration_since(record.last).unwrap_or_default() < PAUSE
        };
        // The newest record is the last one.
        if let Some(place) = records.iter().rposition(is_it)
            && let Some(mut record) = records.remove(place)
        {
            (record.last, record.count) = (now, record.count + 1);
            records.push_back(record);
            return;
        }
        if records.len() >= RECORDS {
            records.pop_front();
        }
        let (name, message, first, last) = (Arc::clone(name), message.to_owned(), now, now);
        records.push_back(FailureRecord { component, name, class, message, first, last, count: 1 });
    }

    /// All records, the newest first.
    pub(crate) fn read(&self) -> Vec<FailureRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_counted() {
        let failures = Failures::new(Component::Map, "m", &Arc::default());
        let all = [
            Failure::Connect,
            Failure::Timeout,
            Failure::Tls,
            Failure::Protocol,
            Failure::Status(500),
            Failure::Body,
            Failure::Provider,
            Failure::Overload,
            Failure::NoBroker,
            Failure::UnknownName,
            Failure::Malformed,
            Failure::EmptyValue,
            Failure::ErrorField("text of the API".to_owned()),
        ];
        all.iter().for_each(|failure| failures.note(failure, &failure.to_string()));
        assert_eq!(failures.read(), [1; CLASSES.len()]);
        failures.note(&Failure::Overload, "another");
        let records = failures.last.read();
        assert_eq!((records[0].message.as_str(), records[0].class), ("another", "overload"));
        assert!(!format!("{records:?}").contains("text of the API"));
    }

    #[test]
    fn failures_alike_are_one_record_until_a_pause() {
        let (last, m, n) = (LastFailures::default(), Arc::<str>::from("m"), Arc::<str>::from("n"));
        let start = SystemTime::now();
        let add = |name, message: &str, second| {
            let at = start + Duration::from_secs(second);
            last.add((Component::Map, name), "status", message, at);
        };
        for (name, message, second) in
            [(&m, "a", 0), (&n, "a", 1), (&m, "a", 2), (&m, "b", 3), (&m, "a", 61), (&m, "a", 121)]
        {
            add(name, message, second);
        }
        let seen: Vec<_> = last.read().iter().map(|one| (one.message.clone(), one.count)).collect();
        let due = [("a", 1), ("a", 3), ("b", 1), ("a", 1)];
        assert_eq!(seen, due.map(|(message, count)| (message.to_owned(), count)));
        assert_eq!(last.read()[1].first, start);
        (0..30).for_each(|nth| add(&m, &nth.to_string(), 130));
        assert_eq!(last.read().len(), RECORDS);
        assert_eq!(last.read()[0].message, "29");
    }
}
