//! The tables of memory: lookups in flight, many maps, idle connections.

use serde_json::{Value, json};

use super::super::idle::{self, Reading};
use super::super::options::Options;
use super::super::pair::Side;
use super::super::spread::Spread;
use super::super::{maps, slow};

fn shown(spread: Option<Spread>) -> String {
    spread.map_or("–".to_owned(), Spread::ratio)
}

fn median(spread: Option<Spread>) -> f64 {
    spread.map_or(f64::NAN, |spread| spread.median)
}

/// Lookups in flight.
pub(crate) fn slow(options: &Options, readings: &[slow::Reading], all: &mut Value) {
    if readings.is_empty() {
        return;
    }
    println!(
        "\nAn API that takes 1 s, {} lookups in flight: medians of {} rounds; each: kB of 1024 for each of them.",
        options.slow, options.rounds
    );
    println!(
        "  {:<12}{:>7} {:<19}{:>7} {:<19}{:>7} {:<19}{:>7}",
        "", "req/s", "÷", "p99 ms", "÷", "CPU µs", "÷", "each"
    );
    let mut summary = Vec::new();
    for side in Side::ALL {
        let of = |figure: fn(&slow::Reading) -> f64| median(slow::spread(readings, side, figure));
        let ratio = |figure: fn(&slow::Reading) -> f64| match side {
            Side::Haproxy => "–".to_owned(),
            Side::Broker => shown(slow::to_haproxy(readings, figure)),
        };
        println!(
            "  {:<12}{:>7.0} {:<19}{:>7.0} {:<19}{:>7.1} {:<19}{:>7.1}",
            side.name(),
            of(|reading| reading.stretch.rate),
            ratio(|reading| reading.stretch.rate),
            of(|reading| reading.stretch.p99 / 1000.0),
            ratio(|reading| reading.stretch.p99),
            of(|reading| reading.stretch.cpu),
            ratio(|reading| reading.stretch.cpu),
            of(slow::Reading::for_each),
        );
        let each = slow::spread(readings, side, slow::Reading::for_each).map(Spread::json);
        summary.push(json!({ "contestant": side.name(), "kb_for_each": each }));
    }
    let readings: Vec<Value> = readings.iter().map(slow::Reading::json).collect();
    all["slow"] = json!({ "summary": summary, "readings": readings });
}

/// Many maps.
pub(crate) fn maps(options: &Options, rounds: &[maps::Round], all: &mut Value) {
    let (count, turns) = (options.maps, options.rounds);
    println!("\n{count} maps in one configuration, beside a broker with one map: medians of {turns} rounds.");
    let started = maps::for_each(rounds, |reading| reading.started);
    let asked = maps::for_each(rounds, |reading| reading.asked);
    println!("  RSS for each map, in kB of 1024, just started {}, asked {}", shown(started), shown(asked));
    let [rate, cpu, p99] = [
        maps::to_one(rounds, |stretch| stretch.rate),
        maps::to_one(rounds, |stretch| stretch.cpu),
        maps::to_one(rounds, |stretch| stretch.p99),
    ];
    println!("  lookups spread over all ÷ those of one map, 64 connections:");
    println!("  requests/s {}, CPU {}, p99 {}", shown(rate), shown(cpu), shown(p99));
    let summary = json!({
        "kb_for_each": started.map(Spread::json),
        "kb_for_each_asked": asked.map(Spread::json),
        "requests_per_second_to_one": rate.map(Spread::json),
        "cpu_to_one": cpu.map(Spread::json),
    });
    let rounds: Vec<Value> = rounds.iter().map(maps::Round::json).collect();
    all["maps"] = json!({ "summary": summary, "rounds": rounds });
}

/// Idle connections.
pub(crate) fn idle(options: &Options, readings: &[Reading], all: &mut Value) {
    println!("\nIdle: the broker's RSS, medians of {} rounds, in kB.", options.rounds);
    println!(
        "  {:>11} {:>12} {:<24}{:<24}",
        "connections", "just started", "each, never asked", "each, asked once"
    );
    for connections in &options.idle {
        let of = |figure| idle::spread(readings, *connections, figure);
        if let (Some(started), Some(opened), Some(asked)) =
            (of(|reading| reading.started), of(Reading::for_each_opened), of(Reading::for_each_asked))
        {
            let started = started.median;
            println!("  {connections:>11} {started:>12.0} {:<24}{:<24}", opened.ratio(), asked.ratio());
        }
    }
    all["idle"] = readings.iter().map(Reading::json).collect();
}
