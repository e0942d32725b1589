//! `make bench`: what a lookup costs here and in HAProxy, what a start of the client costs, and the memory of
//! lookups, maps and idle connections; benches/README.md says what is measured and how.
//!
//! Everything runs on loopback and out of one temporary directory, and ends with this program,
//! however that ends. A wrong answer ends the run with a sentence: figures of a proxy that
//! answers wrongly are worth nothing. A bar that is missed is a line of the report, no failure.

mod bars;
mod certificate;
mod configuration;
mod contestant;
mod idle;
mod interrupt;
mod load;
mod lookups;
mod machine;
mod maps;
mod nginx;
mod options;
mod pair;
mod pieces;
mod process;
mod report;
mod sample;
mod script;
mod sharing;
mod shown;
mod site;
mod slow;
mod spread;
mod starts;
mod stretch;

use std::io::Write as _;
use std::process::ExitCode;

use bars::Bar;
use options::{Options, Table};
use serde_json::{Value, json};

/// What went wrong, as a sentence for whoever ran this.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    match interrupt::or_interrupted(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            let _nobody_reads_it = writeln!(std::io::stderr(), "bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let options = Options::read()?;
    interrupt::watch()?;
    let descriptors = process::raise_descriptor_limit()?;
    let busy = machine::Busy::begin()?;
    let machine = machine::describe(&options)?;
    println!("{}", machine.line);
    println!("{}", report::LEGEND);
    let mut all = json!({ "machine": machine.json, "options": options.json() });
    let mut bars = tables(&options, descriptors, &mut all)?;
    report::busy(&busy.end()?, &mut all);
    bars.retain(|bar| bar.figure.is_some());
    report::bars(&bars, &mut all);
    let text = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
    std::fs::write(&options.out, text).map_err(|error| format!("{}: {error}", options.out.display()))?;
    println!("\nAll figures, of each round: {}", options.out.display());
    Ok(())
}

/// Measures and prints each that is wanted; the bars of all.
fn tables(options: &Options, descriptors: u64, all: &mut Value) -> Outcome<Vec<Bar>> {
    let mut bars = Vec::new();
    if options.wants(Table::Lookups) {
        let cells = lookups::measure(options)?;
        report::lookups(options, &cells, all);
        bars.extend(bars::of_lookups(options, &cells));
    }
    if options.wants(Table::Pieces) {
        let rounds = pieces::measure(options)?;
        report::pieces(&rounds, all);
        bars.extend(bars::of_pieces(&rounds));
    }
    if options.wants(Table::Slow) {
        let readings = slow::measure(options, descriptors)?;
        report::slow(options, &readings, all);
        bars.extend(bars::of_slow(options, &readings));
    }
    if options.wants(Table::Maps) {
        let rounds = maps::measure(options)?;
        report::maps(options, &rounds, all);
        bars.extend(bars::of_maps(options, &rounds));
    }
    if options.wants(Table::Starts) {
        let starts = starts::measure(options)?;
        report::starts(options, &starts, all);
        bars.extend(bars::of_starts(&starts));
    }
    if options.wants(Table::Idle) {
        let readings = idle::measure(options, descriptors)?;
        report::idle(options, &readings, all);
        bars.extend(bars::of_idle(options, &readings));
    }
    Ok(bars)
}
