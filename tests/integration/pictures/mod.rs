//! The pictures of the documentation: `make pictures` makes all of them, from what the programs print and serve.
//!
//! | file | makes |
//! |---|---|
//! | `plot` | the ratios of `target/bench.json` as a chart |
//! | `memory` | the part of that chart with the memory of each |
//! | `terminal` | what a program shows on a terminal |
//! | `site` | a broker with work, its status on a terminal and in a browser |
//! | `svg` | the parts of an SVG |
//!
//! Nobody compares pictures by a test: look at them, in light and dark.

mod memory;
mod plot;
mod site;
mod svg;
mod terminal;

use std::fs;
use std::path::PathBuf;

use crate::support::PATIENCE;
use crate::support::book::root;
use crate::support::terminal::Terminal;

/// A picture of the book.
fn file(name: &str) -> PathBuf {
    root().join("docs/src/pictures").join(name)
}

fn write(name: &str, picture: &str) {
    let file = file(name);
    fs::write(&file, picture).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

#[test]
#[ignore = "draws: make pictures"]
fn the_bench_is_drawn() {
    let results = root().join("target/bench.json");
    let results = fs::read_to_string(&results)
        .unwrap_or_else(|error| panic!("{}: {error}: run make bench", results.display()));
    let results = serde_json::from_str(&results).expect("the results are JSON");
    write("speed.svg", &plot::draw(&results).expect("the results have ratios to HAProxy"));
}

#[test]
#[ignore = "draws: make pictures"]
fn the_demonstration_is_drawn() {
    let size = (104, 100);
    let line = format!("{} demo", env!("CARGO_BIN_EXE_pfxhttp-broker"));
    let (status, shown) = Terminal::run(size, &line).end(PATIENCE);
    assert!(status.success(), "{shown}");
    write("demo.svg", &terminal::draw("pfxhttp-broker demo", size.0, &shown));
}
