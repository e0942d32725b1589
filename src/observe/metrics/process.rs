//! Metrics of the process (proc(5), `/proc/self`), with the names of Prometheus' client libraries. Values
//! that cannot be read, as in a chroot without /proc, are left out.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use super::family::{Families, MetricKind, SampleValue};

/// Adds the families.
pub(super) fn add(families: &mut Families) {
    if let Some(fds) = fs::read_dir("/proc/self/fd").ok().map(Iterator::count) {
        let name = "process_open_fds";
        // Without the descriptor of the directory.
        let fds = fds.saturating_sub(1) as u64;
        families.one(MetricKind::Gauge, name, "Number of open file descriptors.", SampleValue::Whole(fds));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let name = "process_max_fds";
        families.one(
            MetricKind::Gauge,
            name,
            "Maximum number of open file descriptors.",
            SampleValue::Whole(soft),
        );
    }
    let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::read(&text)) else {
        return;
    };
    let of_system = |name, usual: u64| {
        let value = sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
        value.filter(|value| *value > 0).unwrap_or(usual)
    };
    let second = of_system(SysconfVar::CLK_TCK, 100) as f64;
    let page = of_system(SysconfVar::PAGE_SIZE, 4096);
    families.one(
        MetricKind::Counter,
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        SampleValue::Real(stat.ticks as f64 / second),
    );
    let name = "process_virtual_memory_bytes";
    families.one(
        MetricKind::Gauge,
        name,
        "Virtual memory size in bytes.",
        SampleValue::Whole(stat.virtual_bytes),
    );
    let resident = SampleValue::Whole(stat.resident_pages * page);
    families.one(
        MetricKind::Gauge,
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        resident,
    );
    let name = "process_threads";
    families.one(MetricKind::Gauge, name, "Number of threads.", SampleValue::Whole(stat.threads));
    if let Some(boot) = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)) {
        families.one(
            MetricKind::Gauge,
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            SampleValue::Real(boot as f64 + stat.started as f64 / second),
        );
    }
}

/// Fields of `/proc/self/stat`; times in ticks.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ticks: u64,
    threads: u64,
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The program's name, in parentheses, may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // Numbered from 1 in proc(5); the first one here is 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_moves_nothing() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 11 22 0 0 20 0 5 0 33 4096 44 0 0";
        let due = Stat { ticks: 33, threads: 5, started: 33, virtual_bytes: 4096, resident_pages: 44 };
        assert_eq!(Stat::read(text), Some(due));
        assert_eq!(Stat::read("7 (a) S"), None);
        assert_eq!(boot_time("cpu 1\nbtime 99\n"), Some(99));
    }

    #[test]
    fn this_process_has_all_of_it() {
        let mut families = Families::default();
        add(&mut families);
        let names: Vec<_> = families.0.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }
}
