//! One stretch of load on one process: how many requests, how fast, and the CPU time of each.

use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::load::Load;
use super::process::cpu;
use super::spread::Spread;

/// What came of it.
pub(crate) struct Stretch {
    pub(crate) requests: usize,
    pub(crate) rate: f64,
    /// In microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// User and system time of the process for each request, in microseconds.
    pub(crate) cpu: f64,
}

impl Stretch {
    /// Asks for this long, while the process does nothing else.
    pub(crate) fn measure(load: &mut Load<'_>, length: Duration, process: u32) -> Outcome<Self> {
        let before = cpu(process)?;
        let mut run = load.run(length)?;
        let used = cpu(process)?.saturating_sub(before);
        run.latencies.sort_unstable();
        let requests = run.latencies.len();
        Ok(Self {
            requests,
            rate: run.rate(),
            p50: percentile(&run.latencies, 50),
            p99: percentile(&run.latencies, 99),
            cpu: used.as_secs_f64() * 1e6 / requests as f64,
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.requests,
            "requests_per_second": self.rate,
            "p50_us": self.p50,
            "p99_us": self.p99,
            "cpu_us_per_request": self.cpu,
        })
    }
}

/// Two figures of each round, the one divided by the other.
pub(crate) fn ratio(rounds: impl Iterator<Item = (f64, f64)>) -> Option<Spread> {
    Spread::of(rounds.map(|(one, other)| one / other))
}

/// Of sorted nanoseconds, in microseconds.
pub(crate) fn percentile(sorted: &[u32], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).map_or(f64::NAN, |nanoseconds| f64::from(*nanoseconds) / 1000.0)
}
