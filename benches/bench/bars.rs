//! What is to be reached, and whether it is.

use serde_json::{Value, json};

use super::contestant::Contestant;
use super::idle::{self, Reading};
use super::lookups::Cell;
use super::maps;
use super::options::Options;
use super::pair::Side;
use super::pieces;
use super::sample::Sample;
use super::slow;
use super::spread::Spread;
use super::starts::Starts;

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

    /// Whether the median is at most so far beside the bar.
    fn is_within(&self, margin: f64) -> Option<bool> {
        let median = self.figure?.median;
        Some(match self.is_least {
            true => median >= self.least_or_most * (1.0 - margin),
            false => median <= self.least_or_most * (1.0 + margin),
        })
    }

    pub(crate) fn sign(&self) -> &'static str {
        if self.is_least { "≥" } else { "≤" }
    }

    pub(crate) fn shown(&self) -> String {
        self.figure.map_or_else(|| "–".to_owned(), |figure| format!("{} {}", figure.ratio(), self.unit))
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match (self.is_within(0.0), self.is_within(MARGIN)) {
            (Some(true), _) => "reached",
            (_, Some(true)) => "reached within 5 %",
            (_, Some(false)) => "NOT reached",
            _ => "not measured",
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

/// The bars of a contestant: CPU time and rate at 8 and 64 connections, p50 at 1 and p99 at 64.
struct Goal {
    contestant: Contestant,
    cpu: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

const GOALS: [Goal; 3] = [
    Goal { contestant: Contestant::Socketmap, cpu: 0.9, rate: 1.05, p50: 1.0, p99: 1.0 },
    Goal { contestant: Contestant::Policy, cpu: 1.05, rate: 1.0, p50: 1.05, p99: 1.2 },
    Goal { contestant: Contestant::Sasl, cpu: 1.05, rate: 1.0, p50: 1.05, p99: 1.2 },
];

/// Those of lookups.
pub(crate) fn of_lookups(options: &Options, cells: &[Cell]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for goal in GOALS.iter().filter(|goal| options.contestants.contains(&goal.contestant)) {
        let contestant = goal.contestant;
        let name = contestant.name();
        let ratio = |connections, figure| Sample { cells, contestant, connections }.ratio(figure);
        for connections in [8, 64] {
            let cpu = ratio(connections, |cell| cell.cpu.proxy);
            let at = format!("÷ HAProxy's, {connections} connections");
            bars.push(Bar::most(format!("{name}: CPU per lookup {at}"), goal.cpu, "", cpu));
            let rate = ratio(connections, |cell| cell.rate);
            bars.push(Bar::least(format!("{name}: requests/s {at}"), goal.rate, rate));
        }
        let p50 = ratio(1, |cell| cell.p50);
        bars.push(Bar::most(format!("{name}: p50 ÷ HAProxy's, 1 connection"), goal.p50, "", p50));
        let p99 = ratio(64, |cell| cell.p99);
        bars.push(Bar::most(format!("{name}: p99 ÷ HAProxy's, 64 connections"), goal.p99, "", p99));
    }
    for connections in [8, 64].into_iter().filter(|_| options.contestants.contains(&Contestant::Tls)) {
        let tls = Sample { cells, contestant: Contestant::Tls, connections };
        let measure = format!("tls: CPU per lookup ÷ haproxy-tls's, {connections} connections");
        bars.push(Bar::most(measure, 0.9, "", tls.ratio(|cell| cell.cpu.proxy)));
    }
    for connections in [8, 64].into_iter().filter(|_| options.contestants.contains(&Contestant::Once)) {
        let once = Sample { cells, contestant: Contestant::Once, connections };
        let measure = format!("once: requests/s ÷ that of socketmap, {connections} connections");
        bars.push(Bar::least(measure, 0.5, once.ratio_to(Contestant::Socketmap, |cell| cell.rate)));
    }
    for connections in [8, 64].into_iter().filter(|_| options.contestants.contains(&Contestant::HandedOver)) {
        let handed = Sample { cells, contestant: Contestant::HandedOver, connections };
        let at = format!("÷ the unix listener's, {connections} connections");
        let cpu = handed.ratio_to(Contestant::Unix, |cell| cell.cpu.proxy + cell.cpu.clients);
        bars.push(Bar::most(format!("handed: CPU per lookup {at}"), 1.1, "", cpu));
        let rate = handed.ratio_to(Contestant::Unix, |cell| cell.rate);
        bars.push(Bar::least(format!("handed: requests/s {at}"), 0.95, rate));
    }
    for connections in [8, 64].into_iter().filter(|_| options.contestants.contains(&Contestant::Targets)) {
        let several = Sample { cells, contestant: Contestant::Targets, connections };
        let measure = format!("targets: CPU per lookup ÷ that with one target, {connections} connections");
        let cpu = several.ratio_to(Contestant::Socketmap, |cell| cell.cpu.proxy);
        bars.push(Bar::most(measure, 1.02, "", cpu));
    }
    bars.extend(of_sharing(options, cells));
    let counts = if options.contestants.contains(&Contestant::Fresh) { [8, 64].as_slice() } else { &[] };
    for connections in counts.iter().copied() {
        let fresh = Sample { cells, contestant: Contestant::Fresh, connections };
        let measure = format!("fresh: CPU per hit ÷ HAProxy's per request, {connections} connections");
        bars.push(Bar::most(measure, 0.33, "", fresh.ratio(|cell| cell.cpu.proxy)));
    }
    bars
}

/// An entry that shares its answers beside the same one without that: while the API answers, and for hits.
fn of_sharing(options: &Options, cells: &[Cell]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for connections in [8, 64] {
        for (contestant, other) in
            [(Contestant::Shared, Contestant::Kept), (Contestant::SharedHit, Contestant::Fresh)]
        {
            if options.contestants.contains(&contestant) {
                let sample = Sample { cells, contestant, connections };
                let (name, at) = (contestant.name(), format!("÷ that of {}", other.name()));
                let bar = |what: &str, figure| {
                    let measure = format!("{name}: {what} {at}, {connections} connections");
                    Bar::most(measure, 1.03, "", sample.ratio_to(other, figure))
                };
                bars.push(bar("CPU per lookup", |cell| cell.cpu.proxy));
                bars.push(bar("p99", |cell| cell.p99));
            }
        }
    }
    bars
}

/// Those of an API that sends in two segments.
pub(crate) fn of_pieces(rounds: &[pieces::Round]) -> Vec<Bar> {
    let measure = "pieces: p50 ÷ HAProxy's, 1 connection".to_owned();
    vec![Bar::most(measure, 0.05, "", pieces::p50(rounds))]
}

/// Those of lookups in flight.
pub(crate) fn of_slow(options: &Options, readings: &[slow::Reading]) -> Vec<Bar> {
    let measure = format!("broker: RSS for each of {} lookups in flight", options.slow);
    vec![Bar::most(measure, 12.0, "kB", slow::spread(readings, Side::Broker, slow::Reading::for_each))]
}

/// Those of many maps.
pub(crate) fn of_maps(options: &Options, rounds: &[maps::Round]) -> Vec<Bar> {
    let measure = |what: &str| format!("broker: RSS for each of {} maps, {what}", options.maps);
    let bar = |what, figure| Bar::most(measure(what), 6.0, "kB", maps::for_each(rounds, figure));
    vec![bar("just started", |reading| reading.started), bar("asked", |reading| reading.asked)]
}

/// Those of starts.
pub(crate) fn of_starts(starts: &Starts) -> Vec<Bar> {
    const KB_IN_MB: f64 = 1024.0;
    let Starts { relay, client, forwarding } = starts;
    let most = |measure: &str, most, unit, figure| Bar::most(measure.to_owned(), most, unit, figure);
    let megabytes = client.size as f64 / 1024.0 / KB_IN_MB;
    vec![
        most(
            "client: start to first reply ÷ relay's",
            1.25,
            "",
            client.ratio(relay, |round| round.first_reply),
        ),
        most("client: RssAnon while it forwards", 128.0, "kB", forwarding.spread(|round| round.private)),
        most("client: VmHWM", 1.5, "MB", forwarding.spread(|round| round.peak / KB_IN_MB)),
        most("client: binary", 1.5, "MB", Spread::of([megabytes])),
    ]
}

/// Those of idle connections.
pub(crate) fn of_idle(options: &Options, readings: &[Reading]) -> Vec<Bar> {
    let started = Spread::of(readings.iter().map(|reading| reading.started / 1024.0));
    let mut bars = vec![Bar::most("broker: RSS, just started".to_owned(), 10.0, "MB", started)];
    for connections in &options.idle {
        let mut bar = |what: &str, figure| {
            let measure = format!("broker: RSS for each of {connections} connections, {what}");
            bars.push(Bar::most(measure, 3.0, "kB", idle::spread(readings, *connections, figure)));
        };
        bar("never asked", Reading::for_each_opened);
        bar("idle again", Reading::for_each_asked);
    }
    bars
}
