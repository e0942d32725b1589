//! The tables, as text on standard output and as JSON.

use serde_json::{Value, json};

use super::bars::Bar;
use super::contestant::Contestant;
use super::lookups::Cell;
use super::options::Options;
use super::sample::Sample;
use super::spread::Spread;

/// One figure of a cell.
type Figure = fn(&Cell) -> f64;

/// Those that have a ratio: their name in JSON, and where they are.
const RATIOS: [(&str, Figure); 4] = [
    ("requests_per_second", |cell| cell.rate),
    ("p50", |cell| cell.p50),
    ("p99", |cell| cell.p99),
    ("cpu", |cell| cell.cpu.proxy + cell.cpu.clients),
];

/// The first table.
pub(crate) fn lookups(options: &Options, cells: &[Cell], all: &mut Value) {
    if cells.is_empty() {
        return;
    }
    let (rounds, seconds) = (options.rounds, options.length.as_secs_f64());
    println!("\nLookups: medians of {rounds} rounds of {seconds} s; ÷: to HAProxy of the same round,");
    println!("median [lowest–highest]; CPU in µs for each request, of HAProxy or broker and clients.");
    let mut summary = Vec::new();
    for connections in &options.connections {
        println!("\n{connections} connection{}", if *connections == 1 { "" } else { "s" });
        println!(
            "  {:<10}{:>7} {:<19}{:>7} {:<19}{:>7} {:<19}{:>6} {:<19}{:>7}{:>6}{:>6}{:>7}{:>6}",
            "",
            "req/s",
            "÷",
            "p50 µs",
            "÷",
            "p99 µs",
            "÷",
            "CPU",
            "÷",
            "clients",
            "nginx",
            "load",
            "RSS MB",
            "new"
        );
        for contestant in &options.contestants {
            let sample = Sample { cells, contestant: *contestant, connections: *connections };
            line(&sample);
            let mut entry = json!({ "contestant": contestant.name(), "connections": connections });
            for (name, figure) in RATIOS {
                let ratio = sample.ratio(figure).map(Spread::json);
                entry[name] =
                    json!({ "spread": sample.spread(figure).map(Spread::json), "to_haproxy": ratio });
            }
            summary.push(entry);
        }
    }
    let cells: Vec<Value> = cells.iter().map(Cell::json).collect();
    all["lookups"] = json!({ "summary": summary, "cells": cells });
}

fn line(sample: &Sample<'_>) {
    let of = |figure: Figure| sample.spread(figure).map_or(f64::NAN, |spread| spread.median);
    let is_measure = matches!(sample.contestant, Contestant::Haproxy);
    let ratio = |(_, figure): (&str, Figure)| match sample.ratio(figure) {
        Some(ratio) if !is_measure => ratio.ratio(),
        _ => "–".to_owned(),
    };
    let [rate, p50, p99, cpu] = RATIOS.map(ratio);
    println!(
        "  {:<10}{:>7.0} {:<19}{:>7.0} {:<19}{:>7.0} {:<19}{:>6.1} {:<19}{:>7.1}{:>6.1}{:>6.1}{:>7.1}{:>6.0}",
        sample.contestant.name(),
        of(|cell| cell.rate),
        rate,
        of(|cell| cell.p50),
        p50,
        of(|cell| cell.p99),
        p99,
        of(|cell| cell.cpu.proxy + cell.cpu.clients),
        cpu,
        of(|cell| cell.cpu.clients),
        of(|cell| cell.cpu.backend),
        of(|cell| cell.cpu.load),
        of(|cell| (cell.resident + cell.resident_clients) as f64 / 1024.0),
        of(|cell| cell.reconnects as f64),
    );
}

/// What was to be reached.
pub(crate) fn bars(bars: &[Bar], all: &mut Value) {
    if bars.is_empty() {
        return;
    }
    println!("\nBars (within 5 % counts as reached; kB and MB of 1024)");
    for bar in bars {
        println!(
            "  {:<62} {} {:<5} {:<24} {}",
            bar.measure,
            bar.sign(),
            bar.least_or_most,
            bar.shown(),
            bar.verdict()
        );
    }
    all["bars"] = bars.iter().map(Bar::json).collect();
}
