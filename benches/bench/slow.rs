//! The table of an API that takes a second, with many lookups in flight: their rate, how long they take, and
//! the memory of each.
//!
//! Each round starts HAProxy and a broker, and asks one after the other. Memory is counted from before the
//! connections are opened until the peak (VmHWM), so that a lookup in flight includes its connection on both
//! sides. All lookups begin together, which is the hardest case.

use std::time::Duration;

use serde_json::{Value, json};
use socket2::Socket;

use super::configuration::Backend;
use super::load::Load;
use super::nginx::{asked, echo_module, nginx};
use super::options::Options;
use super::pair::{Api, Pair, Side};
use super::process::{Directory, OTHERS, Process, memory};
use super::site::reserve;
use super::spread::Spread;
use super::stretch::{Stretch, ratio};
use super::{Outcome, interrupt};

/// Two waves of lookups: the second begins before this has passed.
const LENGTH: Duration = Duration::from_millis(1100);

/// One of the two in one round.
pub(crate) struct Reading {
    pub(crate) side: Side,
    round: usize,
    in_flight: usize,
    pub(crate) stretch: Stretch,
    /// RSS in kB before the connections were opened, when they were, and the most that there was.
    before: f64,
    opened: f64,
    peak: f64,
}

impl Reading {
    /// What one lookup in flight added, in kB.
    pub(crate) fn for_each(&self) -> f64 {
        (self.peak - self.before) / self.in_flight as f64
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "contestant": self.side.name(),
            "round": self.round,
            "in_flight": self.in_flight,
            "requests": self.stretch.json(),
            "rss_kb": { "before": self.before, "opened": self.opened, "peak": self.peak },
        })
    }
}

/// A figure of all readings of one side.
pub(crate) fn spread(readings: &[Reading], side: Side, figure: fn(&Reading) -> f64) -> Option<Spread> {
    Spread::of(readings.iter().filter(|reading| reading.side == side).map(figure))
}

/// The broker's figure divided by HAProxy's, in each round.
pub(crate) fn to_haproxy(readings: &[Reading], figure: fn(&Reading) -> f64) -> Option<Spread> {
    let of = |side| readings.iter().filter(move |reading| reading.side == side);
    let both = of(Side::Broker).flat_map(|one| {
        of(Side::Haproxy)
            .filter(move |other| other.round == one.round)
            .map(move |other| (figure(one), figure(other)))
    });
    ratio(both)
}

/// Nothing, and a line of the report, if there are not enough descriptors.
pub(crate) fn measure(options: &Options, descriptors: u64) -> Outcome<Vec<Reading>> {
    let in_flight = options.slow;
    // Each process between load and API has two connections for each lookup.
    if 2 * in_flight as u64 + OTHERS > descriptors {
        println!("\n{in_flight} lookups in flight: not measured, the descriptor limit is {descriptors}");
        return Ok(Vec::new());
    }
    let backend = Slow::start()?;
    let mut readings = Vec::new();
    for round in 0..options.rounds {
        let api = Api { port: backend.port, path: "/slow", most: in_flight };
        let pair = Pair::start(options, api)?;
        let mut order = Side::ALL;
        order.rotate_left(round % 2);
        for side in order {
            interrupt::check()?;
            readings.push(read(&pair, &backend, side, round, in_flight)?);
        }
    }
    Ok(readings)
}

/// nginx, whose answers take a second.
struct Slow {
    port: u16,
    _nginx: Process,
    _directory: Directory,
    _held: Vec<Socket>,
}

impl Slow {
    fn start() -> Outcome<Self> {
        let directory = Directory::make()?;
        let mut held = Vec::new();
        let port = reserve(&mut held)?;
        let module = echo_module()?;
        let nginx = nginx(&directory, &Backend { ports: &[port], secure: None, echo: Some(&module) })?;
        Ok(Self { port, _nginx: nginx, _directory: directory, _held: held })
    }
}

fn read(pair: &Pair, backend: &Slow, side: Side, round: usize, in_flight: usize) -> Outcome<Reading> {
    let process = pair.process(side);
    let before = process.settled_memory()?;
    let sockets = pair.open(side, in_flight)?;
    let mut load = Load::new(sockets, &pair.script(side), 0, 80_000_000)?;
    process.wait_for_connections(in_flight)?;
    let opened = process.settled_memory()?;
    let stretch = load.run(Duration::ZERO).and_then(|_first_wave| {
        let (_, first) = asked(backend.port)?;
        let stretch = Stretch::measure(&mut load, LENGTH, process.id())?;
        let counted = asked(backend.port)?.1 - first - 1;
        match counted == stretch.requests as u64 {
            true => Ok(stretch),
            false => Err(format!("nginx was asked {counted} times for {} answers", stretch.requests)),
        }
    });
    let stretch = stretch.map_err(|error| {
        format!("{}, {in_flight} in flight: {error}\nit wrote:\n{}", side.name(), process.log())
    })?;
    let peak = memory(process.id(), "VmHWM")? as f64;
    Ok(Reading { side, round, in_flight, stretch, before, opened, peak })
}
