//! The rows of the matrix: what each fault is, and what is required. A row writes its result into the directory that
//! `PFXHTTP_TEST_FAULTS` names, for the page.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::driver::Outcome;

/// Number or name, fault, what is required.
pub(crate) const ROWS: &[(&str, &str, &str)] = &[
    ("01", "The API refuses connections", "temporary, at once"),
    ("02", "The API's SYN queue is full", "temporary within 2.5 s; other entries unaffected"),
    ("03", "The API hangs before its headers", "temporary at the time limit"),
    ("04", "The API hangs within a body", "temporary at the time limit"),
    ("05", "The API resets connections within an answer", "temporary; at most one repetition"),
    (
        "06",
        "The API closes each connection after its answer",
        "lookups: no temporary reply; logins: may be closed, never denied",
    ),
    ("07", "An answer that is not HTTP; heads of 100 kB and 1 MiB", "temporary; memory bounded"),
    ("08", "A body without end", "temporary; memory bounded"),
    ("09", "A gzip bomb, cut gzip, a wrong checksum", "temporary; memory bounded"),
    ("10", "An answer of one byte every 100 ms", "temporary at the time limit; other entries unaffected"),
    ("11", "A hundred interim answers", "temporary"),
    ("12", "204, or a 200 without a body", "temporary"),
    ("13", "Redirects", "temporary; never followed"),
    ("14", "401 and 403 with the broker's own token", "temporary, a log line; few new tokens"),
    ("15", "429 with Retry-After", "temporary, or the next target; the first is left alone"),
    ("16", "500, 502, 503", "temporary; at most one repetition"),
    ("17", "HTML, invalid JSON, JSON of 10,000 levels, with status 200", "temporary"),
    ("18", "The field is absent in an answer that is not valid", "temporary, never \"not found\""),
    ("19", "The field's name occurs in inner objects, too", "always the value at the place"),
    ("20", "A value of 200 kB", "temporary, never cut; the next reply is right"),
    ("21", "null (maps), a list without values, an object, a list of 1e400", "temporary"),
    ("22", "Certificates: expired, other host, self-signed, not yet valid", "temporary; no request is sent"),
    ("23", "The resolver: no such name, silence, another address", "temporary, within the limit; then right"),
    ("24", "The proxy is down, answers 407 or garbage", "temporary; never without the proxy"),
    ("25", "The identity provider is down, the token is valid", "no temporary reply"),
    ("26", "The identity provider hangs", "temporary for its entries only"),
    ("27", "A token is revoked", "one new token, sent once more; no temporary reply"),
    (
        "28",
        "Tokens with an unknown key, and the keys cannot be fetched",
        "closed, not denied; at most two fetches in 4 s; then accepted within 11 s",
    ),
    ("29", "Forged tokens: none, HS256 with the public key, wrong aud, iss, no exp", "all denied"),
    ("30", "A token without a name, or of another user", "all denied"),
    ("31", "The file of the client's key is broken", "the old key stays; no temporary reply"),
    ("32", "kill -9, and a start", "lookups: none lost; logins: may be closed, never denied"),
    ("33", "The broker is stopped (SIGSTOP) for 15 s", "temporary from the client, at the time limit"),
    ("34", "A panic in a session", "costs one connection, one log line without secrets"),
    ("35", "SIGTERM under load, and a start", "exit code 0; lookups: none lost"),
    ("36", "SIGHUP with more than 100 broken configurations", "all refused; no temporary reply"),
    ("37", "SIGHUP ten times a second", "none lost; no temporary reply"),
    ("38", "A memory limit of 96 MB under hostile answers and requests", "the broker lives"),
    ("39", "No descriptors are left", "kept connections are served; no busy loop"),
    ("40", "The log's reader is stuck, the log's disk is full", "no temporary reply, no delay"),
    ("41", "The clock jumps a year ahead and back", "no temporary reply"),
    ("42", "10,000 idle connections", "no temporary reply; memory below 64 MB; p99 at most 1.2 times"),
    ("43", "The broker is stopped (SIGSTOP), and its local socket is full", "temporary from the client"),
    ("44", "Garbage, 4 GiB lengths and old frames on the local socket", "closed; others unaffected"),
    ("45", "Another user at the local socket", "refused; the API is not asked"),
    ("46", "Answers with an unknown or used request id on the local socket", "dropped, never given"),
    ("47", "Requests in single bytes, and 50 in one write", "the same replies, in order"),
    ("48", "Half a request, and the end of the stream", "the API is not asked"),
    ("49", "Postfix does not read its replies", "closed after 30 s; others unaffected"),
    ("50", "Malformed netstrings", "closed, no memory; others unaffected"),
    ("51", "Keys that are not UTF-8, or with NUL", "not found, or closed; the API is not asked"),
    ("52", "Keys with quotes, line ends, braces and blanks", "one JSON string"),
    ("53", "Policy requests of 10 MB, and of 10,000 attributes", "closed; memory bounded"),
    ("54", "A line end in the API's action", "temporary, never two lines"),
    ("55", "60,000 unfinished dialogues, used ids, invalid base64", "FAIL with the same id; memory bounded"),
    ("56", "Line ends, tabs and NUL in a user's name, through Postfix", "never 235; the API is not asked"),
    ("57", "A login that acts for another user", "denied; the API is not asked"),
    (
        "chaos",
        "kill -9 every 3 s, with held sockets, 100,000 lookups",
        "lookups: none lost, none wrong; logins: may be closed, never denied; in all 0.1 %",
    ),
    (
        "recovery",
        "kill -9 and a start, 200 times, with held sockets",
        "ready within 50 ms (median), the first reply within 500 ms (p99)",
    ),
    ("overload", "Four times what the API can answer", "temporary within 50 ms (median); goodput 90 %"),
    ("bulkhead", "The API of one entry hangs", "p99 of the other at most 1.1 times"),
    (
        "amplification",
        "Requests without an end, and answers as long as they may be",
        "at most 10 times their memory",
    ),
    ("targets", "One of two targets hangs, resets, refuses", "no temporary reply for maps"),
    ("shared", "The shared cache is frozen, then killed", "no temporary reply"),
];

/// A row that is played.
pub(crate) struct Row {
    id: &'static str,
    started: Instant,
    lookups: Cell<usize>,
    temporary: Cell<usize>,
}

/// Begins the row of this number or name.
pub(crate) fn row(id: &'static str) -> Row {
    assert!(ROWS.iter().any(|(known, ..)| *known == id), "{id} is in the list");
    Row { id, started: Instant::now(), lookups: Cell::new(0), temporary: Cell::new(0) }
}

/// The directory of results.
pub(crate) fn results() -> Option<PathBuf> {
    std::env::var_os("PFXHTTP_TEST_FAULTS").map(PathBuf::from)
}

impl Row {
    /// Counts the requests of a run for the result.
    pub(crate) fn counted(&self, outcome: Outcome) -> Outcome {
        self.lookups.set(self.lookups.get() + outcome.lookups);
        self.temporary.set(self.temporary.get() + outcome.temporary.len());
        outcome
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let result = if std::thread::panicking() { "failed" } else { "held" };
        let (lookups, temporary, time) = (self.lookups.get(), self.temporary.get(), self.started.elapsed());
        let text = format!("{result}\t{lookups}\t{temporary}\t{:.1}", time.as_secs_f64());
        println!("{}\t{text}", self.id);
        if let Some(directory) = results() {
            fs::write(directory.join(self.id), text).expect("the directory of results can be written to");
        }
    }
}

/// Each row has exactly one test, and each test a row.
#[test]
fn each_row_has_a_test() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let files = fs::read_dir(directory).expect("the sources").flatten();
    let text: String = files.map(|file| fs::read_to_string(file.path()).expect("a source")).collect();
    let begun = |line: &str| line.trim().strip_prefix("fn row_").map(|rest| rest.to_owned());
    let tests: Vec<String> = text.lines().filter_map(begun).collect();
    for (id, ..) in ROWS {
        let count = tests.iter().filter(|test| test.starts_with(&format!("{id}_"))).count();
        assert_eq!(count, 1, "tests of row {id}");
    }
    assert_eq!(tests.len(), ROWS.len(), "{tests:?}");
}
