//! Metrics at one moment: families of samples, whoever reads them.

use super::histogram::Reading;

/// Samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
}

/// What the numbers of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

pub(super) type Labels = Vec<(&'static str, String)>;

/// What a series says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    Histogram(Reading),
}

/// Families in the making.
#[derive(Debug, Default)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    /// A family, unless it has no series.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Value)>,
    ) {
        let samples = samples.into_iter().map(|(labels, value)| Sample { labels, value });
        let samples: Vec<_> = samples.collect();
        if !samples.is_empty() {
            self.0.push(Family { name, help, kind, samples });
        }
    }

    /// A family of one number.
    pub(super) fn one(&mut self, kind: Kind, name: &'static str, help: &'static str, value: Value) {
        self.add(kind, name, help, [(Vec::new(), value)]);
    }
}
