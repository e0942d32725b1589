//! What is to be reached, and whether it is.

use serde_json::{Value, json};

use super::contestant::Contestant;
use super::lookups::Cell;
use super::sample::Sample;
use super::spread::Spread;

/// How far beside a bar still counts.
const MARGIN: f64 = 0.05;

/// One figure and its bar.
pub(crate) struct Bar {
    pub(crate) measure: String,
    /// Which of the two is a matter of `is_least`.
    pub(crate) least_or_most: f64,
    pub(crate) is_least: bool,
    /// Behind the number.
    pub(crate) unit: &'static str,
    /// `None` where it was not measured.
    pub(crate) figure: Option<Spread>,
}

impl Bar {
    /// At most this.
    pub(crate) fn most(measure: String, most: f64, unit: &'static str, figure: Option<Spread>) -> Self {
        Self { measure, least_or_most: most, is_least: false, unit, figure }
    }

    fn least(measure: String, least: f64, figure: Option<Spread>) -> Self {
        Self { measure, least_or_most: least, is_least: true, unit: "", figure }
    }

    fn is_reached(&self) -> Option<bool> {
        let median = self.figure?.median;
        Some(match self.is_least {
            true => median >= self.least_or_most * (1.0 - MARGIN),
            false => median <= self.least_or_most * (1.0 + MARGIN),
        })
    }

    pub(crate) fn sign(&self) -> &'static str {
        if self.is_least { "≥" } else { "≤" }
    }

    pub(crate) fn shown(&self) -> String {
        self.figure.map_or_else(|| "–".to_owned(), |figure| format!("{} {}", figure.ratio(), self.unit))
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.is_reached() {
            Some(true) => "reached",
            Some(false) => "NOT reached",
            None => "not measured",
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "measure": self.measure,
            "sign": self.sign(),
            "bar": self.least_or_most,
            "unit": self.unit,
            "figure": self.figure.map(Spread::json),
            "verdict": self.verdict(),
        })
    }
}

/// Those of the first table, for each protocol.
pub(crate) fn of_lookups(cells: &[Cell]) -> Vec<Bar> {
    if cells.is_empty() {
        return Vec::new();
    }
    let mut bars = Vec::new();
    for contestant in [Contestant::Socketmap, Contestant::Policy, Contestant::Sasl] {
        let name = contestant.name();
        let ratio = |connections, figure| Sample { cells, contestant, connections }.ratio(figure);
        for connections in [8, 64] {
            let cpu = ratio(connections, |cell| cell.cpu.proxy);
            let at = format!("÷ HAProxy's, {connections} connections");
            bars.push(Bar::most(format!("{name}: CPU per lookup {at}"), 1.0, "", cpu));
            let rate = ratio(connections, |cell| cell.rate);
            bars.push(Bar::least(format!("{name}: requests/s {at}"), 1.0, rate));
        }
        let p50 = ratio(1, |cell| cell.p50);
        bars.push(Bar::most(format!("{name}: p50 ÷ HAProxy's, 1 connection"), 1.05, "", p50));
        let p99 = ratio(64, |cell| cell.p99);
        bars.push(Bar::most(format!("{name}: p99 ÷ HAProxy's, 64 connections"), 1.2, "", p99));
    }
    for connections in [8, 64] {
        let fresh = Sample { cells, contestant: Contestant::Fresh, connections };
        let measure = format!("fresh: CPU per hit ÷ HAProxy's per request, {connections} connections");
        bars.push(Bar::most(measure, 0.4, "", fresh.ratio(|cell| cell.cpu.proxy)));
    }
    bars
}
