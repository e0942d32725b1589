//! The page of the matrix, docs/src/faults.md, made of the results that the rows have left.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rows::{ROWS, results};

const HEAD: &str = "\
# The fault matrix

What happens to requests while something is broken? Each row of the table plays one fault under traffic: maps, policy
services and logins, each request with a key of its own. The driver writes down what it sent and what it got, and the
API what it saw. After the run the two are compared:

* Each request has exactly one reply, within its time.
* No definitive reply is another one than the API gives for this key.
* A temporary reply (`TEMP`, `PERM`, `DEFER`, a closed connection; Postfix makes 450, 451 or 454 of them) is one to a request that
  was sent during the fault, or up to a second after it.
* The API saw a lookup at most twice, unless the row allows more, and a password once.

";

const HOW: &str = "
`make faults` plays all rows and writes this page. It needs root and takes some minutes; `make test` plays the rows
that take a few seconds. The rows are in `tests/faults/`. *Requests* are those of the driver, *temporary* is how many of
them got a temporary reply. Maps and policy services have `error_field` set: without it, or `absent_value: error`, an error that the API
reports with status 200 means \"not found\" ([Answers](api/answers.md#other-apis)).

`tests/faults/README.md` says how a row is written, and lists for each row a defence that was taken away from the programs,
and what the row then reported.
";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/faults.md")
}

/// The output of a program, on one line.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// When and where the rows were played.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let (date, kernel) = (said("date", &["-u", "+%Y-%m-%d"]), said("uname", &["-sr"]));
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("Played on {date}, {count} processors ({model}), {kernel}, a debug build.\n")
}

/// The table, and the rows that did not hold.
fn table(directory: &Path) -> (String, Vec<&'static str>) {
    let mut text = "\n| row | fault | required | result | requests | temporary | time |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|---|\n");
    let mut broken = Vec::new();
    for (id, fault, required) in ROWS {
        let left = fs::read_to_string(directory.join(id)).unwrap_or_else(|_| "not played\t\t\t".to_owned());
        let fields: Vec<&str> = left.split('\t').collect();
        let [result, lookups, temporary, time] = fields[..] else { panic!("{id}: {left}") };
        if result != "held" {
            broken.push(*id);
        }
        let result = if result == "held" { result.to_owned() } else { format!("**{result}**") };
        let line = format!("{id} | {fault} | {required} | {result} | {lookups} | {temporary} | {time} s");
        writeln!(text, "| {line} |").expect("text takes text");
    }
    (text, broken)
}

#[test]
fn the_page_has_each_row() {
    let text = fs::read_to_string(page()).expect("the page");
    for (id, fault, required) in ROWS {
        let line = format!("| {id} | {fault} | {required} | held |");
        assert!(text.contains(&line), "the page has no line {line:?}: make faults writes it");
    }
}

#[test]
#[ignore = "make faults, after the rows"]
fn the_page() {
    let directory = results().expect("PFXHTTP_TEST_FAULTS");
    let (table, broken) = table(&directory);
    println!("{table}");
    fs::write(page(), format!("{HEAD}{}{table}{HOW}", machine())).expect("the page");
    assert!(broken.is_empty(), "rows that do not hold: {}", broken.join(", "));
}
