//! A median and its spread.

use serde_json::{Value, json};

/// Of the figures of all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` where there is no figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, low, high })
    }

    /// `median [low–high]`.
    pub(crate) fn ratio(self) -> String {
        format!("{:.2} [{:.2}–{:.2}]", self.median, self.low, self.high)
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "low": self.low, "high": self.high })
    }
}
