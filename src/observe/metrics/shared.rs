//! The shared cache: what became of reads and writes, and how long reads took.

use std::collections::BTreeMap;
use std::time::Duration;

use super::family::{Families, MetricKind, SampleValue};
use super::histogram::Histogram;
use super::series::Counter;

/// The shared cache of a broker.
#[derive(Debug, Default)]
pub struct SharedCounters {
    reads: [Counter; SharedRead::ALL.len()],
    writes: [Counter; SharedWrite::ALL.len()],
    took: Histogram,
}

/// What came of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedRead {
    /// An answer.
    Hit,
    /// There is none.
    Absent,
    /// No answer within `server.shared.wait`.
    Late,
    /// It was not asked: there is no connection, or answers were late just before.
    Down,
    /// The connection broke, or the server refused.
    Error,
    /// A record of another version.
    Version,
    /// A record that was changed or moved, or made with another secret.
    Tag,
    /// A record that is too old, or of the future.
    Age,
}

impl SharedRead {
    const ALL: [Self; 8] =
        [Self::Hit, Self::Absent, Self::Late, Self::Down, Self::Error, Self::Version, Self::Tag, Self::Age];

    fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Absent => "absent",
            Self::Late => "late",
            Self::Down => "down",
            Self::Error => "error",
            Self::Version => "version",
            Self::Tag => "tag",
            Self::Age => "age",
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedWrite {
    /// It was made.
    Ok,
    /// It was not tried: the queue was full, or there was no connection.
    Dropped,
    /// The server refused it, or the connection broke.
    Error,
}

impl SharedWrite {
    const ALL: [Self; 3] = [Self::Ok, Self::Dropped, Self::Error];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dropped => "dropped",
            Self::Error => "error",
        }
    }
}

impl SharedCounters {
    /// Counts a read.
    pub fn read(&self, result: SharedRead) {
        self.reads[result as usize].add();
    }

    /// Counts the time of a read that was answered.
    pub fn took(&self, time: Duration) {
        self.took.observe(time);
    }

    /// Counts `count` writes.
    pub fn wrote(&self, result: SharedWrite, count: usize) {
        (0..count).for_each(|_| self.writes[result as usize].add());
    }

    /// Reads, by result; results that never came are left out.
    pub(crate) fn reads(&self) -> BTreeMap<String, u64> {
        let reads = SharedRead::ALL.into_iter().zip(&self.reads);
        let reads = reads.map(|(result, count)| (result.label().to_owned(), count.read()));
        reads.filter(|(_, count)| *count > 0).collect()
    }

    /// Writes, by result.
    pub(crate) fn writes(&self) -> BTreeMap<String, u64> {
        let writes = SharedWrite::ALL.into_iter().zip(&self.writes);
        writes.map(|(result, count)| (result.label().to_owned(), count.read())).collect()
    }

    #[cfg(test)]
    pub(crate) fn written(&self, result: SharedWrite) -> u64 {
        self.writes[result as usize].read()
    }

    /// Its families; `is_up`: whether there is a connection.
    pub(super) fn families(&self, is_up: bool, families: &mut Families) {
        let labels = |label: &str| vec![("result", label.to_owned())];
        let up = SampleValue::Whole(u64::from(is_up));
        let help = "Whether there is a connection to the shared cache.";
        families.one(MetricKind::Gauge, "pfxhttp_shared_cache_up", help, up);
        let reads = SharedRead::ALL.into_iter().zip(&self.reads);
        let reads = reads.map(|(result, count)| (labels(result.label()), SampleValue::Whole(count.read())));
        let help = "Reads of the shared cache, by what came of them.";
        families.add(MetricKind::Counter, "pfxhttp_shared_cache_reads_total", help, reads);
        let writes = SharedWrite::ALL.into_iter().zip(&self.writes);
        let writes = writes.map(|(result, count)| (labels(result.label()), SampleValue::Whole(count.read())));
        let help = "Answers for the shared cache, by what became of them.";
        families.add(MetricKind::Counter, "pfxhttp_shared_cache_writes_total", help, writes);
        let name = "pfxhttp_shared_cache_read_duration_seconds";
        let help = "How long the shared cache took to answer reads.";
        families.one(MetricKind::Histogram, name, help, SampleValue::Histogram(self.took.read()));
    }
}
