//! The metrics of a broker: series by names and labels.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use super::{PATIENCE, shown};

/// All series of one scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    series: BTreeMap<String, f64>,
}

/// Sends one HTTP/1.0 request; returns the whole answer with its head.
pub(crate) fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the endpoint listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("the endpoint reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the endpoint answers");
    String::from_utf8(answer).unwrap_or_else(|error| panic!("{}", shown(error.as_bytes())))
}

impl Scrape {
    /// Reads `/metrics`.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let answer = ask(address, "GET /metrics HTTP/1.0");
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head ends");
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let read = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        let series = lines.map(|line| read(line).unwrap_or_else(|| panic!("no sample: {line}")));
        Self { series: series.collect(), text: text.to_owned() }
    }

    /// The sum of those series of `name` that have all of `labels`.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &str| {
            series.split('{').next() == Some(name)
                && labels.iter().all(|(name, value)| series.contains(&format!("{name}=\"{value}\"")))
        };
        self.series.iter().filter(|(series, _)| has(series)).map(|(_, value)| value).sum()
    }

    /// How many series there are.
    pub(crate) fn count(&self) -> usize {
        self.series.len()
    }
}

/// Gives `text` to `promtool`, which must report nothing.
pub(crate) fn promtool(arguments: &[&str], text: &str) {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("promtool cannot be run ({error}): `make packages` installs prometheus")
    });
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}\n{text}", String::from_utf8_lossy(&said));
}
