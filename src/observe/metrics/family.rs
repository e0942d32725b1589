//! Metrics at one moment: families of samples, for all exporters.

use super::histogram::Reading;

/// Samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: MetricKind,
    pub(crate) samples: Vec<Sample>,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    pub(crate) value: SampleValue,
}

pub(crate) type Labels = Vec<(&'static str, String)>;

/// The value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SampleValue {
    Whole(u64),
    Real(f64),
    Histogram(Reading),
}

/// A list of families.
#[derive(Debug, Default)]
pub(crate) struct Families(pub(crate) Vec<Family>);

impl Families {
    /// Adds a family, unless it has no series.
    pub(crate) fn add(
        &mut self,
        kind: MetricKind,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, SampleValue)>,
    ) {
        let samples = samples.into_iter().map(|(labels, value)| Sample { labels, value });
        let samples: Vec<_> = samples.collect();
        if !samples.is_empty() {
            self.0.push(Family { name, help, kind, samples });
        }
    }

    /// Adds a family of one series without labels.
    pub(crate) fn one(
        &mut self,
        kind: MetricKind,
        name: &'static str,
        help: &'static str,
        value: SampleValue,
    ) {
        self.add(kind, name, help, [(Vec::new(), value)]);
    }
}
