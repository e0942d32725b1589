//! Metrics at one moment: families of samples, whoever reads them.

use super::histogram::Reading;

/// Samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: MetricKind,
    pub(crate) samples: Vec<Sample>,
}

/// What the numbers of a family are.
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

/// What a series says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SampleValue {
    Whole(u64),
    Real(f64),
    Histogram(Reading),
}

/// Families in the making.
#[derive(Debug, Default)]
pub(crate) struct Families(pub(crate) Vec<Family>);

impl Families {
    /// A family, unless it has no series.
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

    /// A family of one number.
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
