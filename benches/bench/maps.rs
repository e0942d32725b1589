//! The table of many maps in one configuration: the memory of each, and lookups spread over all of them.
//!
//! Each round starts a broker with one map and one with many, which are asked in turn. What a map adds is the
//! difference between the two.

use serde_json::{Value, json};
use socket2::Socket;

use super::configuration::{self, Backend};
use super::contestant::tcp;
use super::load::Load;
use super::nginx::{asked, nginx};
use super::options::Options;
use super::process::{Directory, Process};
use super::script::{self, Script};
use super::site::{broker, reserve};
use super::spread::Spread;
use super::stretch::{Stretch, ratio};
use super::{Outcome, interrupt};

const CONNECTIONS: usize = 64;

/// One broker in one round.
pub(crate) struct Reading {
    /// RSS in kB.
    pub(crate) started: f64,
    pub(crate) asked: f64,
    pub(crate) stretch: Stretch,
}

/// Both brokers in one round.
pub(crate) struct Round {
    maps: usize,
    pub(crate) one: Reading,
    pub(crate) many: Reading,
}

impl Reading {
    fn json(&self) -> Value {
        json!({
            "rss_kb": { "started": self.started, "asked": self.asked },
            "lookups": self.stretch.json(),
        })
    }
}

impl Round {
    /// What one map added, in kB.
    fn for_each(&self, figure: fn(&Reading) -> f64) -> f64 {
        (figure(&self.many) - figure(&self.one)) / (self.maps - 1) as f64
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "maps": self.maps, "one": self.one.json(), "many": self.many.json() })
    }
}

/// What one map adds to a broker of which this is a figure, in kB.
pub(crate) fn for_each(rounds: &[Round], figure: fn(&Reading) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().map(|round| round.for_each(figure)))
}

/// The figure with many maps, divided by that with one.
pub(crate) fn to_one(rounds: &[Round], figure: fn(&Stretch) -> f64) -> Option<Spread> {
    ratio(rounds.iter().map(|round| (figure(&round.many.stretch), figure(&round.one.stretch))))
}

pub(crate) fn measure(options: &Options) -> Outcome<Vec<Round>> {
    let directory = Directory::make()?;
    let mut held = Vec::new();
    let backend = reserve(&mut held)?;
    let _nginx = nginx(&directory, &Backend { ports: &[backend], secure: None, echo: None })?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        interrupt::check()?;
        let (one, many) = (Asked::start(options, backend, 1)?, Asked::start(options, backend, options.maps)?);
        let (one, many) = if round % 2 == 0 {
            let one = one.read(options)?;
            (one, many.read(options)?)
        } else {
            let many = many.read(options)?;
            (one.read(options)?, many)
        };
        rounds.push(Round { maps: options.maps, one, many });
    }
    Ok(rounds)
}

/// A broker with so many maps.
struct Asked {
    broker: Process,
    port: u16,
    backend: u16,
    maps: usize,
    started: f64,
    _directory: Directory,
    _held: Vec<Socket>,
}

impl Asked {
    fn start(options: &Options, backend: u16, maps: usize) -> Outcome<Self> {
        let directory = Directory::make()?;
        let mut held = Vec::new();
        let port = reserve(&mut held)?;
        let text = configuration::broker_of_maps(&directory.join(""), port, backend, maps);
        let broker = broker(&options.broker, &directory, &text)?;
        let started = broker.settled_memory()?;
        Ok(Self { broker, port, backend, maps, started, _directory: directory, _held: held })
    }

    /// Asks each map once, and then all in turn over many connections.
    fn read(&self, options: &Options) -> Outcome<Reading> {
        let sockets: Outcome<Vec<_>> = (0..CONNECTIONS).map(|_| tcp(self.port).map(Into::into)).collect();
        let mut load = Load::new(sockets?, &self.script(), 0, 80_000_000)?;
        load.in_turn(self.maps.max(CONNECTIONS))?;
        let (_, first) = asked(self.backend)?;
        let stretch = Stretch::measure(&mut load, options.length, self.broker.id());
        let stretch = stretch.map_err(|error| format!("{} maps: {error}", self.maps))?;
        let counted = asked(self.backend)?.1 - first - 1;
        if counted < stretch.requests as u64 {
            return Err(format!("nginx was asked {counted} times for {} answers", stretch.requests));
        }
        Ok(Reading { started: self.started, asked: self.broker.settled_memory()?, stretch })
    }

    /// A lookup whose map has the last digits of the number of its key.
    fn script(&self) -> Script {
        script::lookup(&format!("m{}", "#".repeat(configuration::digits(self.maps))))
    }
}
