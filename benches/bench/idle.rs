//! The table of idle connections: what a broker takes that has just been started, and what each idle connection
//! adds to it.
//!
//! Each round starts a broker for each number of connections. They come to a unix listener for
//! maps. What they add is counted from where the broker was after a first lookup through one
//! connection, so that what any first lookup makes (the connection to the backend, buffers of a
//! thread) counts for none of them; once before any of them has asked, and once after each has
//! asked once and is idle again.

use serde_json::{Value, json};

use super::configuration::{self, Backend};
use super::contestant::unix;
use super::load::Load;
use super::nginx::nginx;
use super::options::Options;
use super::process::{Directory, OTHERS};
use super::script;
use super::site::{broker, reserve};
use super::spread::Spread;
use super::{Outcome, interrupt};

/// One broker.
pub(crate) struct Reading {
    pub(crate) connections: usize,
    round: usize,
    /// In kB.
    pub(crate) started: f64,
    first_lookup: f64,
    opened: f64,
    asked: f64,
}

impl Reading {
    /// What one connection added that has never asked, in kB.
    pub(crate) fn for_each_opened(&self) -> f64 {
        (self.opened - self.first_lookup) / self.connections as f64
    }

    /// What one added that has asked.
    pub(crate) fn for_each_asked(&self) -> f64 {
        (self.asked - self.first_lookup) / self.connections as f64
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "round": self.round,
            "rss_kb": {
                "started": self.started,
                "first_lookup": self.first_lookup,
                "opened": self.opened,
                "asked": self.asked,
            },
        })
    }
}

/// A figure of all readings at this number of connections.
pub(crate) fn spread(
    readings: &[Reading],
    connections: usize,
    figure: fn(&Reading) -> f64,
) -> Option<Spread> {
    Spread::of(readings.iter().filter(|reading| reading.connections == connections).map(figure))
}

pub(crate) fn measure(options: &Options, descriptors: u64) -> Outcome<Vec<Reading>> {
    let mut readings = Vec::new();
    for round in 0..options.rounds {
        for connections in &options.idle {
            interrupt::check()?;
            if *connections as u64 + OTHERS > descriptors {
                println!(
                    "{connections} idle connections: not measured, the descriptor limit is {descriptors}"
                );
                continue;
            }
            readings.push(read(options, *connections, round)?);
        }
    }
    Ok(readings)
}

fn read(options: &Options, connections: usize, round: usize) -> Outcome<Reading> {
    let directory = Directory::make()?;
    let mut held = Vec::new();
    let backend_port = reserve(&mut held)?;
    let _backend = nginx(&directory, &Backend { ports: &[backend_port], secure: None, echo: None })?;
    let text = configuration::idle_broker(&directory.join(""), backend_port);
    let broker = broker(&options.broker, &directory, &text)?;
    let started = broker.settled_memory()?;
    let listener = directory.join("maps.sock");
    let script = script::lookup("asked");
    let load = |sockets| Load::new(sockets, &script, 0, 80_000_000);
    load(vec![unix(&listener)?.into()])?.in_turn(1)?;
    let first_lookup = broker.settled_memory()?;
    let sockets: Outcome<Vec<_>> = (0..connections).map(|_| unix(&listener).map(Into::into)).collect();
    let mut load = load(sockets?)?;
    broker.wait_for_connections(connections)?;
    let opened = broker.settled_memory()?;
    load.in_turn(connections)?;
    let asked = broker.settled_memory()?;
    Ok(Reading { connections, round, started, first_lookup, opened, asked })
}
