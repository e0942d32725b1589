//! The targets of entries: which ones are up, their requests, how often they went out, and the requests that went
//! on to another one.
//!
//! Only for targets that may be left alone. What an entry with one target asks is in the counters of the entry.

use super::failures::CLASSES;
use super::family::{Families, Labels, MetricKind, SampleValue};
use super::gather::{Load, labels, with};
use super::series::Counter;
use super::{Component, Metrics, Name};

/// The label `code` of complete answers.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What can take a target out. All of them are exported from the start: a series that begins with 1 has no
/// increase.
const OUT: [&str; 6] = ["connect", "timeout", "tls", "protocol", "status", HEALTH];

/// The class of a target whose health checks fail.
pub const HEALTH: &str = "health";

/// One target of an entry.
#[derive(Debug, Default)]
pub struct TargetCounters {
    answers: [Counter; STATUS_CLASSES.len()],
    /// In the order of [`CLASSES`].
    failures: [Counter; CLASSES.len()],
    outages: [Counter; OUT.len()],
}

impl TargetCounters {
    /// Counts a request by the status of its answer, or by the class of its failure.
    pub fn request(&self, outcome: Result<u16, &str>) {
        match outcome {
            Ok(status) => self.answers[usize::from(status / 100).clamp(1, STATUS_CLASSES.len()) - 1].add(),
            Err(class) => add(&CLASSES, &self.failures, class),
        }
    }

    /// Counts that the target went out, for a failure of this class.
    pub fn out(&self, class: &str) {
        add(&OUT, &self.outages, class);
    }

    /// The requests by `code`, without those that there were none of.
    fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let answers = STATUS_CLASSES.into_iter().zip(&self.answers);
        let all = answers.chain(CLASSES.into_iter().zip(&self.failures));
        all.map(|(code, count)| (code, count.read())).filter(|(_, count)| *count > 0)
    }
}

fn add(words: &[&str], counters: &[Counter], word: &str) {
    if let Some((_, counter)) = words.iter().zip(counters).find(|(known, _)| **known == word) {
        counter.add();
    }
}

/// The requests of one entry that went on to another target.
#[derive(Debug, Default)]
pub struct Moves {
    /// No API had seen them.
    pub unsent: Counter,
    /// One may have seen them.
    pub retried: Counter,
    /// They would have been of the latter, and the retry budget was used up.
    pub denied: Counter,
}

impl Metrics {
    /// The targets of `load`.
    pub(super) fn targets(&self, families: &mut Families, load: &Load) {
        let (mut up, mut requests, mut outages) = (Vec::new(), Vec::new(), Vec::new());
        for (component, name, target, is_up) in &load.targets {
            let base = with(&labels(*component, name), &[("target", target)]);
            let counters = self.target(*component, name, target);
            let each = counters.requests();
            requests.extend(
                each.map(|(code, count)| (with(&base, &[("code", code)]), SampleValue::Whole(count))),
            );
            let each = OUT.iter().zip(&counters.outages);
            outages.extend(
                each.map(|(class, count)| {
                    (with(&base, &[("class", class)]), SampleValue::Whole(count.read()))
                }),
            );
            up.push((base, SampleValue::Whole(u64::from(*is_up))));
        }
        let (name, help) = ("pfxhttp_target_up", "Whether a target is up.");
        families.add(MetricKind::Gauge, name, help, up);
        let name = "pfxhttp_target_requests_total";
        let help = "Requests to each target of an entry with several.";
        families.add(MetricKind::Counter, name, help, requests);
        let (name, help) = ("pfxhttp_target_outages_total", "Times a target went out.");
        families.add(MetricKind::Counter, name, help, outages);
        let name = "pfxhttp_target_moves_total";
        let help =
            "Requests that went on to another target: unsent, sent once more, or denied by the budget.";
        families.add(MetricKind::Counter, name, help, self.moves_of(load));
    }

    fn moves_of(&self, load: &Load) -> Vec<(Labels, SampleValue)> {
        let is_several = |(kind, entry): &Name| {
            let of_it = |(component, name, ..): &&(Component, String, String, bool)| {
                component == kind && name == entry
            };
            load.targets.iter().filter(of_it).count() > 1
        };
        let moves = self.moves.all().into_iter().filter(|(name, _)| is_several(name));
        let moves = moves.flat_map(|((component, name), moves)| {
            let counts = [("unsent", &moves.unsent), ("retried", &moves.retried), ("denied", &moves.denied)];
            counts.map(|(result, count)| {
                (with(&labels(component, &name), &[("result", result)]), SampleValue::Whole(count.read()))
            })
        });
        moves.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;

    #[test]
    fn a_request_has_the_class_of_its_status_or_of_its_failure() {
        let counters = TargetCounters::default();
        for status in [101, 200, 204, 404, 500, 503, 999] {
            counters.request(Ok(status));
        }
        for failure in
            [Failure::Connect, Failure::Timeout, Failure::Timeout, Failure::Body, Failure::Malformed]
        {
            counters.request(Err(failure.class()));
        }
        let due = [
            ("1xx", 1),
            ("2xx", 2),
            ("4xx", 1),
            ("5xx", 3),
            ("connect", 1),
            ("timeout", 2),
            ("body", 1),
            ("malformed", 1),
        ];
        assert_eq!(counters.requests().collect::<Vec<_>>(), due);
    }

    #[test]
    fn every_class_that_takes_a_target_out_is_counted() {
        let counters = TargetCounters::default();
        let failures =
            [Failure::Connect, Failure::Timeout, Failure::Tls, Failure::Protocol, Failure::Status(503)];
        failures.iter().map(Failure::class).chain([HEALTH]).for_each(|class| counters.out(class));
        assert_eq!(counters.outages.each_ref().map(Counter::read), [1; OUT.len()]);
    }

    #[test]
    fn an_entry_with_one_target_has_no_requests_and_moves_of_its_own() {
        let metrics = Metrics::default();
        let target = |entry: &str, number: u8| {
            (Component::Map, entry.to_owned(), format!("http://{number}"), number != 2)
        };
        let kept = ["one", "two"].map(|entry| metrics.moves(Component::Map, entry));
        let counters = metrics.target(Component::Map, "two", "http://2");
        counters.request(Ok(200));
        counters.out("connect");
        let load =
            Load { targets: vec![target("one", 1), target("two", 1), target("two", 2)], ..Load::default() };
        let seen = |name: &str| {
            let families = metrics.families(&load, false);
            let family = families.into_iter().find(|family| family.name == name).expect("a family");
            let samples = family.samples.into_iter();
            let samples = samples.map(|sample| {
                let labels: Vec<_> = sample.labels.into_iter().skip(1).map(|(_, value)| value).collect();
                (labels.join(" "), sample.value)
            });
            samples.collect::<Vec<_>>()
        };
        let whole = |labels: &str, count| (labels.to_owned(), SampleValue::Whole(count));
        let up = [whole("one http://1", 1), whole("two http://1", 1), whole("two http://2", 0)];
        assert_eq!(seen("pfxhttp_target_up"), up);
        assert_eq!(seen("pfxhttp_target_requests_total"), [whole("two http://2 2xx", 1)]);
        assert_eq!(seen("pfxhttp_target_outages_total").len(), 3 * OUT.len());
        assert!(seen("pfxhttp_target_outages_total").contains(&whole("two http://2 connect", 1)));
        let moves = ["two unsent", "two retried", "two denied"].map(|labels| whole(labels, 0));
        assert_eq!(seen("pfxhttp_target_moves_total"), moves);
        drop(kept);
    }
}
