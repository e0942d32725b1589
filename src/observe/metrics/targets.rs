//! The targets of entries: which ones are up, and the requests that went on to another one.

use super::family::{Families, MetricKind, SampleValue};
use super::gather::{Load, labels, with};
use super::series::Counter;
use super::{Metrics, Name};

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
    /// Entries with several targets.
    pub(super) fn targets(&self, families: &mut Families, load: &Load) {
        let targets = load.targets.iter().map(|(component, name, target, is_up)| {
            let labels = with(&labels(*component, name), &[("target", target)]);
            (labels, SampleValue::Whole(u64::from(*is_up)))
        });
        let name = "pfxhttp_target_up";
        families.add(MetricKind::Gauge, name, "Whether a target is up, of an entry with several.", targets);
        let is_several = |name: &Name| {
            load.targets.iter().any(|(component, entry, ..)| (*component, entry) == (name.0, &name.1))
        };
        let moves = self.moves.all().into_iter().filter(|(name, _)| is_several(name));
        let moves = moves.flat_map(|((component, name), moves)| {
            let counts = [("unsent", &moves.unsent), ("retried", &moves.retried), ("denied", &moves.denied)];
            counts.map(|(result, count)| {
                (with(&labels(component, &name), &[("result", result)]), SampleValue::Whole(count.read()))
            })
        });
        let name = "pfxhttp_target_moves_total";
        let help =
            "Requests that went on to another target: unsent, sent once more, or denied by the budget.";
        families.add(MetricKind::Counter, name, help, moves);
    }
}
