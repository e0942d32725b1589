//! The tables, as text on standard output and as JSON.

mod memory;

use serde_json::{Value, json};

use super::bars::Bar;
use super::lookups::Cell;
use super::machine::Taken;
use super::options::Options;
use super::pair::Side;
use super::pieces;
use super::sample::Sample;
use super::spread::Spread;
use super::starts::{Round, Starts};
pub(crate) use memory::{idle, maps, slow};

/// What is said before the first table.
pub(crate) const LEGEND: &str = "
benches/README.md says what is measured. A ratio (÷) is made within each round, and its median taken over
the rounds: it is not the quotient of the medians beside it. Below 1 the broker is better where time or
memory is measured, above 1 where requests/s are. A table is printed when all its rounds are over: all
take about twelve minutes.";

/// One figure of a cell.
type Figure = fn(&Cell) -> f64;

/// Those that have a ratio: their name in JSON, and where they are.
const RATIOS: [(&str, Figure); 4] = [
    ("requests_per_second", |cell| cell.rate),
    ("p50", |cell| cell.p50),
    ("p99", |cell| cell.p99),
    ("cpu", |cell| cell.cpu.proxy + cell.cpu.clients),
];

/// Lookups.
pub(crate) fn lookups(options: &Options, cells: &[Cell], all: &mut Value) {
    let (rounds, seconds) = (options.rounds, options.length.as_secs_f64());
    println!(
        "\nLookups: medians of {rounds} rounds of {seconds} s; ÷: to HAProxy of the same round (tls: to haproxy-tls),"
    );
    println!("median [lowest–highest]; CPU in µs for each request, of HAProxy or broker and clients, and");
    println!("of the clients, nginx and the load apart; new: connections made to nginx meanwhile.");
    let mut summary = Vec::new();
    for connections in &options.connections {
        println!("\n{connections} connection{}", if *connections == 1 { "" } else { "s" });
        println!(
            "  {:<12}{:>7} {:<19}{:>7} {:<19}{:>7} {:<19}{:>6} {:<19}{:>7}{:>6}{:>6}{:>7}{:>6}",
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
    let is_measure = sample.contestant == sample.contestant.reference();
    let ratio = |(_, figure): (&str, Figure)| match sample.ratio(figure) {
        Some(ratio) if !is_measure => ratio.ratio(),
        _ => "–".to_owned(),
    };
    let [rate, p50, p99, cpu] = RATIOS.map(ratio);
    println!(
        "  {:<12}{:>7.0} {:<19}{:>7.0} {:<19}{:>7.0} {:<19}{:>6.1} {:<19}{:>7.1}{:>6.1}{:>6.1}{:>7.1}{:>6.0}",
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

/// An API that sends an answer in two segments.
pub(crate) fn pieces(rounds: &[pieces::Round], all: &mut Value) {
    println!(
        "\nAn API that sends head and body in two segments, 1 connection: medians of {} rounds.",
        rounds.len()
    );
    for side in Side::ALL {
        let p50 = Spread::of(rounds.iter().map(|round| round.of(side).p50));
        println!("  {:<12} p50 {:>7.0} µs", side.name(), p50.map_or(f64::NAN, |p50| p50.median));
    }
    let ratio = pieces::p50(rounds);
    println!("  p50 ÷ HAProxy's: {}", ratio.map_or("–".to_owned(), |ratio| format!("{:.4}", ratio.median)));
    let each: Vec<Value> = rounds.iter().map(pieces::Round::json).collect();
    all["pieces"] = json!({ "summary": { "p50_to_haproxy": ratio.map(Spread::json) }, "rounds": each });
}

/// Starts of programs.
pub(crate) fn starts(options: &Options, starts: &Starts, all: &mut Value) {
    let (rounds, count) = (options.rounds, options.starts);
    println!(
        "\nStarts: medians of {rounds} rounds of {count} starts of each; ÷: to the relay of the same round."
    );
    println!(
        "  {:<17}{:>14} {:<19}{:>7} {:<19}{:>7}{:>11}{:>10}{:>13}{:>10}",
        "",
        "first reply µs",
        "÷",
        "CPU µs",
        "÷",
        "faults",
        "RssAnon kB",
        "VmHWM kB",
        "system calls",
        "binary kB"
    );
    for program in [&starts.relay, &starts.client, &starts.forwarding] {
        let of = |figure: fn(&Round) -> f64| program.spread(figure).map_or(f64::NAN, |spread| spread.median);
        let ratio = |figure: fn(&Round) -> f64| {
            program.ratio(&starts.relay, figure).map_or("–".to_owned(), Spread::ratio)
        };
        println!(
            "  {:<17}{:>14.0} {:<19}{:>7.0} {:<19}{:>7.0}{:>11}{:>10}{:>13}{:>10.0}",
            program.name,
            of(|round| round.first_reply),
            ratio(|round| round.first_reply),
            of(|round| round.cpu),
            ratio(|round| round.cpu),
            of(|round| round.faults),
            kilobytes(of(|round| round.private)),
            kilobytes(of(|round| round.peak)),
            program.calls.map_or("–".to_owned(), |calls| calls.to_string()),
            program.size as f64 / 1024.0,
        );
    }
    if starts.relay.calls.is_none() {
        println!("  System calls were not counted: strace is not installed, or may not trace.");
    }
    all["starts"] = json!([starts.relay.json(), starts.client.json(), starts.forwarding.json()]);
}

fn kilobytes(number: f64) -> String {
    if number.is_nan() { "–".to_owned() } else { format!("{number:.0}") }
}

/// Who else was at work.
pub(crate) fn busy(taken: &Taken, all: &mut Value) {
    let Taken { ours, others, stolen } = taken;
    println!(
        "\nOf the machine's time this took {ours:.0} %, others {others:.0} %; the host kept {stolen:.0} %."
    );
    all["machine_time_percent"] = json!({ "ours": ours, "others": others, "stolen": stolen });
}

/// What was to be reached.
pub(crate) fn bars(bars: &[Bar], all: &mut Value) {
    if bars.is_empty() {
        return;
    }
    println!(
        "\nBars: what the project wants to reach, by the medians above. A miss is no failure of the run;"
    );
    println!("within 5 % of a bar counts as reached. kB and MB of 1024.");
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
