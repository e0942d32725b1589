//! What the environment says: `BENCH_…`, each with a default that suits a whole run.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::contestant::Contestant;

const NAMES: [&str; 13] = [
    "BENCH_TABLES",
    "BENCH_ONLY",
    "BENCH_CONNECTIONS",
    "BENCH_ROUNDS",
    "BENCH_SECONDS",
    "BENCH_STARTS",
    "BENCH_IDLE",
    "BENCH_SLOW",
    "BENCH_MAPS",
    "BENCH_BROKER",
    "BENCH_CLIENT",
    "BENCH_RELAY",
    "BENCH_OUT",
];
const TABLES: &str = "lookups,pieces,slow,maps,starts,idle";
/// What a list of numbers is made of.
const COUNTS: &str = "the whole numbers from 1 on, with commas in between";

/// A table of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Lookups,
    Pieces,
    Slow,
    Maps,
    Starts,
    Idle,
}

/// How much is measured, of which programs.
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) connections: Vec<usize>,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) tables: Vec<Table>,
    pub(crate) starts: usize,
    pub(crate) idle: Vec<usize>,
    /// Lookups in flight.
    pub(crate) slow: usize,
    pub(crate) maps: usize,
    pub(crate) broker: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) relay: PathBuf,
    pub(crate) out: PathBuf,
}

impl Options {
    /// Reads them all.
    pub(crate) fn read() -> Outcome<Self> {
        refuse_unknown()?;
        let seconds: f64 = number("BENCH_SECONDS", 1.5)?;
        if !(0.05..=600.0).contains(&seconds) {
            return Err("BENCH_SECONDS is not within 0.05 and 600".to_owned());
        }
        let options = Self {
            rounds: whole("BENCH_ROUNDS", 7)?,
            length: Duration::from_secs_f64(seconds),
            connections: list("BENCH_CONNECTIONS", "1,8,64", COUNTS, count)?,
            contestants: list("BENCH_ONLY", &all_contestants(), &all_contestants(), Contestant::of)?,
            tables: list("BENCH_TABLES", TABLES, TABLES, table)?,
            starts: whole("BENCH_STARTS", 200)?,
            idle: list("BENCH_IDLE", "1000,10000", COUNTS, count)?,
            slow: whole("BENCH_SLOW", 5000)?,
            maps: maps()?,
            broker: program("BENCH_BROKER", "target/release/pfxhttp-broker")?,
            client: program("BENCH_CLIENT", "target/release/pfxhttp-client")?,
            relay: program("BENCH_RELAY", "target/bench-relay")?,
            out: path("BENCH_OUT", "target/bench.json"),
        };
        // Found out now rather than at the end.
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(&options.out);
        opened.map_err(|error| format!("BENCH_OUT={}: {error}", options.out.display()))?;
        Ok(options)
    }

    /// Whether this table is wanted.
    pub(crate) fn wants(&self, table: Table) -> bool {
        self.tables.contains(&table)
    }

    /// For the report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "rounds": self.rounds,
            "seconds": self.length.as_secs_f64(),
            "connections": self.connections,
            "only": self.contestants.iter().map(|contestant| contestant.name()).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(|table| format!("{table:?}").to_lowercase()).collect::<Vec<_>>(),
            "starts_a_round": self.starts,
            "in_flight": self.slow,
            "maps": self.maps,
            "broker": self.broker,
            "client": self.client,
        })
    }
}

fn all_contestants() -> String {
    Contestant::ALL.map(Contestant::name).join(",")
}

fn table(word: &str) -> Option<Table> {
    match word {
        "lookups" => Some(Table::Lookups),
        "pieces" => Some(Table::Pieces),
        "slow" => Some(Table::Slow),
        "maps" => Some(Table::Maps),
        "starts" => Some(Table::Starts),
        "idle" => Some(Table::Idle),
        _ => None,
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number<T: FromStr>(name: &str, default: T) -> Outcome<T> {
    text(name).map_or(Ok(default), |text| text.parse().map_err(|_| format!("{name}={text} is no number")))
}

fn whole(name: &str, default: usize) -> Outcome<usize> {
    match number(name, default)? {
        0 => Err(format!("{name} is 0")),
        count => Ok(count),
    }
}

/// A power of ten: the name of a map is the end of a number.
fn maps() -> Outcome<usize> {
    let count = whole("BENCH_MAPS", 1000)?;
    if [10, 100, 1000, 10_000].contains(&count) {
        return Ok(count);
    }
    Err(format!("BENCH_MAPS={count} is none of 10, 100, 1000, 10000"))
}

/// Words with commas in between, each of them one of `known`.
fn list<T>(name: &str, default: &str, known: &str, parse: impl Fn(&str) -> Option<T>) -> Outcome<Vec<T>> {
    let words = text(name).unwrap_or_else(|| default.to_owned());
    let parsed = words.split(',').map(|word| parse(word.trim()).ok_or(word));
    parsed.collect::<Result<_, _>>().map_err(|word| format!("{name}: {word:?} is none of {known}"))
}

fn count(word: &str) -> Option<usize> {
    word.parse().ok().filter(|count| *count > 0)
}

/// A misspelt name would measure something else than was meant.
fn refuse_unknown() -> Outcome<()> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    match names.into_iter().find(|name| name.starts_with("BENCH_") && !NAMES.contains(&name.as_str())) {
        Some(name) => Err(format!("{name} is unknown; there are {}", NAMES.join(", "))),
        None => Ok(()),
    }
}

/// A path below the package, unless another one is named.
fn path(name: &str, default: &str) -> PathBuf {
    text(name).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(default), PathBuf::from)
}

fn program(name: &str, default: &str) -> Outcome<PathBuf> {
    let path = path(name, default);
    let path = path.canonicalize().map_err(|error| {
        format!("{}: {error}; `make bench` builds it, {name} names another", path.display())
    })?;
    if path.is_file() { Ok(path) } else { Err(format!("{} is no program", path.display())) }
}
