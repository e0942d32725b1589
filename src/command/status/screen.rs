//! The status as people read it on a terminal: a line about the broker, a table of entries with the failing
//! ones first, and a table of listeners; or a table of the last failures.

use super::table::{Cell, Column, Style, columns_of, cut, table};
use crate::command::terminal::visible;
use crate::model::amount::{age, bytes, count, lasted, millis, of, rate};
use crate::model::status::{EntryStatus, FailureStatus, ListenerStatus, SharedStatus, Status};

/// Where it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) width: usize,
    /// The number of lines; `None`: as many as it takes.
    pub(super) height: Option<usize>,
    pub(super) colour: bool,
}

const ENTRIES: [Column; 11] = [
    Column { title: "STATE", right: false, cut: false, drop: 0 },
    Column { title: "KIND", right: false, cut: false, drop: 0 },
    Column { title: "NAME", right: false, cut: true, drop: 0 },
    Column { title: "REQ/S", right: true, cut: false, drop: 0 },
    Column { title: "FAILED", right: true, cut: false, drop: 0 },
    Column { title: "P50", right: true, cut: false, drop: 3 },
    Column { title: "P95", right: true, cut: false, drop: 1 },
    Column { title: "BUSY/MAX", right: true, cut: false, drop: 0 },
    Column { title: "QUEUE", right: true, cut: false, drop: 2 },
    Column { title: "CACHE", right: true, cut: false, drop: 4 },
    Column { title: "LAST FAILURE", right: false, cut: true, drop: 0 },
];

const LISTENERS: [Column; 6] = [
    Column { title: "LISTENER", right: false, cut: true, drop: 0 },
    Column { title: "KIND", right: false, cut: false, drop: 0 },
    Column { title: "ENTRY", right: false, cut: true, drop: 0 },
    Column { title: "REQ/S", right: true, cut: false, drop: 0 },
    Column { title: "CONNECTIONS", right: true, cut: false, drop: 0 },
    Column { title: "REFUSED", right: true, cut: false, drop: 1 },
];

const FAILURES: [Column; 6] = [
    Column { title: "TIME", right: false, cut: false, drop: 1 },
    Column { title: "AGE", right: true, cut: false, drop: 0 },
    Column { title: "ENTRY", right: false, cut: true, drop: 0 },
    Column { title: "COUNT", right: true, cut: false, drop: 0 },
    Column { title: "CLASS", right: false, cut: false, drop: 2 },
    Column { title: "FAILURE", right: false, cut: true, drop: 0 },
];

/// How many entries with targets that are out are named below the table.
const NAMED: usize = 5;
/// A terminal with fewer lines shows entries instead of an empty line and of explanations.
const LOW: usize = 8;

/// The lines of entries and listeners.
pub(super) fn status(status: &Status, area: Area) -> Vec<String> {
    let mut entries: Vec<&EntryStatus> = status.entries.iter().collect();
    // Stable: the others stay in the order of kind and name.
    entries.sort_by_key(|entry| (!entry.is_failing(), entry.waiting == 0));
    let (rows, hidden) = table(&ENTRIES, &rows(&entries, entry), area.width, area.colour);
    let mut lines = vec![title(status, area), summary(&entries, area)];
    let is_low = area.height.is_some_and(|height| height < LOW);
    if !is_low {
        lines.push(String::new());
    }
    let notes = if is_low { Vec::new() } else { notes(status, &entries, &hidden, area) };
    let listeners: Vec<&ListenerStatus> = status.listener.iter().collect();
    let (below, _) = table(&LISTENERS, &self::rows(&listeners, listener), area.width, area.colour);
    let Some(height) = area.height else {
        lines.extend(rows);
        lines.extend(notes);
        lines.push(String::new());
        lines.extend(below);
        return lines;
    };
    let room = height.saturating_sub(lines.len() + notes.len());
    let left = room.saturating_sub(rows.len() + 1);
    lines.extend(first(rows, room, "entries", area));
    lines.extend(notes);
    // Two lines and a title say something; fewer do not.
    if left > 2 {
        lines.push(String::new());
        lines.extend(first(below, left, "listeners", area));
    }
    lines.truncate(height);
    lines
}

/// The lines of the last failures, the newest first.
pub(super) fn failures(status: &Status, area: Area) -> Vec<String> {
    let mut lines = vec![title(status, area)];
    if status.failures.is_empty() {
        lines.push("No failure since the start.".to_owned());
        return lines;
    }
    lines.push(String::new());
    let shown: Vec<&FailureStatus> = status.failures.iter().collect();
    let (rows, _) = table(&FAILURES, &rows(&shown, failure), area.width, area.colour);
    let room = area.height.map_or(usize::MAX, |height| height.saturating_sub(lines.len()));
    lines.extend(first(rows, room, "failures", area));
    lines
}

/// As many lines of a table as there is room for; the last one says how many rows are missing. The titles
/// are not shown without a row.
fn first(mut lines: Vec<String>, room: usize, what: &str, area: Area) -> Vec<String> {
    if lines.len() > room {
        let shown = room.saturating_sub(2);
        let missing = lines.len() - 1 - shown;
        lines.truncate(if shown == 0 { 0 } else { shown + 1 });
        if room > 0 {
            lines.push(painted(&format!("… {missing} more {what}"), Style::Dim, area));
        }
    }
    lines
}

fn title(status: &Status, area: Area) -> String {
    let failed = status.reloaded == Some(false);
    let cache = &status.cache;
    let parts = [
        format!("pfxhttp-broker {}", visible(status.version.as_bytes())),
        format!("up {}", lasted(status.uptime_s)),
        format!(
            "configuration {}{}",
            status.generation,
            if failed { " (the last reload failed)" } else { "" }
        ),
        of(status.connections as u64, "connection", "connections"),
        format!("cache {}", bytes(cache.bytes)),
    ];
    let (text, limit) = (parts.join(" · "), format!(" of {}", bytes(cache.max_bytes)));
    let has_room = columns_of(&text) + columns_of(&limit) <= area.width;
    let text = if has_room { text + &limit } else { text };
    painted(&text, if failed { Style::Warning } else { Style::Bold }, area)
}

fn summary(entries: &[&EntryStatus], area: Area) -> String {
    let failing = entries.iter().filter(|entry| entry.is_failing()).count() as u64;
    let all = of(entries.len() as u64, "entry", "entries");
    match failing {
        0 => painted(&format!("{all}: ok"), Style::Good, area),
        failing => painted(&format!("{all}: {failing} failing"), Style::Bad, area),
    }
}

fn notes(status: &Status, entries: &[&EntryStatus], hidden: &[&str], area: Area) -> Vec<String> {
    let about = "Rates, times and cache hits: last minute. Failed: last ten minutes.";
    let mut notes = vec![painted(about, Style::Dim, area)];
    if entries.iter().any(|entry| entry.last_requests_failed > 0) {
        let about = "In parentheses: how many of the last requests to the API failed.";
        notes.push(painted(about, Style::Dim, area));
    }
    let out = entries.iter().filter_map(|entry| {
        let out: Vec<_> = entry.targets_out().map(|target| told(&target)).collect();
        (!out.is_empty()).then(|| (told(&entry.kind), told(&entry.name), out.join(", ")))
    });
    let out: Vec<_> = out.collect();
    for (kind, name, targets) in out.iter().take(NAMED) {
        notes.push(painted(&format!("{kind} {name}: out: {targets}"), Style::Warning, area));
    }
    if out.len() > NAMED {
        let more = of((out.len() - NAMED) as u64, "more entry", "more entries");
        notes.push(painted(&format!("… {more} with targets that are out"), Style::Warning, area));
    }
    notes.extend(status.shared.iter().flat_map(|shared| shared_cache(shared, area)));
    if !hidden.is_empty() {
        let hidden = format!("No room for {}: use a wider terminal, or --json.", hidden.join(", "));
        notes.push(painted(&hidden, Style::Dim, area));
    }
    notes
}

fn shared_cache(shared: &SharedStatus, area: Area) -> [String; 2] {
    let (server, since) = (told(&shared.server), told(&shared.since));
    let (text, style) = match (&shared.problem, shared.is_up) {
        (_, true) if shared.has_other_secret => {
            (format!("up since {since}; another host has another secret_file"), Style::Warning)
        }
        (_, true) => (format!("up since {since}"), Style::Dim),
        (Some(problem), false) => (format!("down since {since}: {}", told(problem)), Style::Warning),
        (None, false) => (format!("down since {since}"), Style::Warning),
    };
    let [reads, writes] = [shared.reads(), shared.writes()].map(|counts| told(&counts));
    let counts = format!("  reads: {reads} · writes: {writes} · in the queue: {}", shared.waiting_writes);
    [painted(&format!("shared cache {server}: {text}"), style, area), painted(&counts, Style::Dim, area)]
}

fn painted(text: &str, style: Style, area: Area) -> String {
    style.paint(&cut(text, area.width), area.colour)
}

fn rows<T, const N: usize>(things: &[&T], row: fn(&T) -> [Cell; N]) -> Vec<Vec<Cell>> {
    things.iter().map(|thing| row(thing).to_vec()).collect()
}

fn plain(text: String) -> Cell {
    (text, Style::Plain)
}

/// A text of the configuration or of a failure, on one line.
fn told(text: &str) -> String {
    visible(text.as_bytes()).replace('\n', "\\n")
}

fn entry(entry: &EntryStatus) -> [Cell; 11] {
    let EntryStatus { traffic, working, max_workers, waiting, .. } = entry;
    let is_failing = entry.is_failing();
    let failed = match entry.last_requests_failed {
        0 => String::new(),
        failed => format!(" ({failed}/{})", entry.last_requests),
    };
    let state = match (is_failing, entry.failing_s) {
        (true, Some(seconds)) => (format!("failing {}{failed}", age(seconds)), Style::Bad),
        (true, None) => (format!("failing{failed}"), Style::Bad),
        (false, _) if failed.is_empty() => ("ok".to_owned(), Style::Good),
        (false, _) => (format!("ok{failed}"), Style::Warning),
    };
    let at_most = |condition: bool, style| if condition { style } else { Style::Plain };
    let time = |ms: Option<f64>| plain(ms.map_or_else(|| "-".to_owned(), millis));
    let class = entry.last_failure_class.as_deref().or(entry.last_failure.as_deref());
    let ago = entry.last_failure_s_ago.map(|seconds| format!(" {}", age(seconds))).unwrap_or_default();
    let last = class.map(|class| told(class) + &ago).unwrap_or_default();
    let hits = traffic.cache_hits_percent.map_or_else(|| "-".to_owned(), |hits| format!("{hits:.0}%"));
    [
        state,
        plain(told(&entry.kind)),
        (told(&entry.name), at_most(is_failing, Style::Bold)),
        plain(rate(traffic.requests_per_s)),
        (count(traffic.recent_failures), at_most(traffic.recent_failures > 0, Style::Warning)),
        time(traffic.p50_ms),
        time(traffic.p95_ms),
        (format!("{working}/{max_workers}"), at_most(working >= max_workers, Style::Warning)),
        (count(*waiting as u64), at_most(*waiting > 0, Style::Warning)),
        plain(hits),
        (last, if is_failing { Style::Plain } else { Style::Dim }),
    ]
}

fn listener(listener: &ListenerStatus) -> [Cell; 6] {
    let refused = if listener.refused > 0 { Style::Warning } else { Style::Plain };
    [
        plain(told(&listener.endpoint)),
        plain(told(&listener.kind)),
        plain(listener.name.as_deref().map(told).unwrap_or_default()),
        plain(rate(listener.requests_per_s)),
        plain(match listener.handed_over {
            0 => count(listener.connections),
            handed_over => format!("{} ({} handed over)", count(listener.connections), count(handed_over)),
        }),
        (count(listener.refused), refused),
    ]
}

fn failure(failure: &FailureStatus) -> [Cell; 6] {
    [
        plain(told(&failure.time)),
        plain(age(failure.s_ago)),
        plain(format!("{} {}", told(&failure.kind), told(&failure.name))),
        plain(count(failure.count)),
        (told(&failure.class), Style::Warning),
        plain(told(&failure.failure)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::{CheckState, State, TargetState, Traffic};

    fn area(width: usize, height: Option<usize>) -> Area {
        Area { width, height, colour: false }
    }

    #[test]
    fn targets_that_are_out_are_named_below_the_table() {
        let entry = |nth: usize| EntryStatus {
            kind: "map".to_owned(),
            name: format!("m{nth}"),
            targets: [
                ("http://a", TargetState::Out),
                ("http://b", TargetState::Up),
                ("http://c", TargetState::Out),
            ]
            .map(|(target, state)| (target.to_owned(), state))
            .into(),
            health_checks: [("http://a", CheckState::Good), ("http://c", CheckState::Failing)]
                .map(|(target, state)| (target.to_owned(), state))
                .into(),
            ..EntryStatus::default()
        };
        let seen = |entries: usize| {
            let shown = Status { entries: (0..entries).map(entry).collect(), ..Status::default() };
            status(&shown, area(80, None)).join("\n")
        };
        assert!(seen(1).contains("\nmap m0: out: http://a, http://c (health check)\n"), "{}", seen(1));
        let many = seen(8);
        assert!(many.contains("\nmap m4: out: ") && !many.contains("map m5: out"), "{many}");
        assert!(many.contains("\n… 3 more entries with targets that are out\n"), "{many}");
    }

    #[test]
    fn the_shared_cache_has_a_line() {
        let seen = |shared: SharedStatus| {
            let shown = Status { shared: Some(shared), ..Status::default() };
            status(&shown, area(100, None)).join("\n")
        };
        let shared = SharedStatus {
            server: "redis://h:6379".to_owned(),
            is_up: true,
            since: "2026-11-29T17:24:14Z".to_owned(),
            reads: [("absent".to_owned(), 0), ("hit".to_owned(), 7), ("late".to_owned(), 1)].into(),
            waiting_writes: 3,
            ..SharedStatus::default()
        };
        let counts = "\n  reads: 7 hit, 1 late · writes: none · in the queue: 3\n";
        assert!(seen(shared.clone()).contains(counts), "{}", seen(shared.clone()));
        assert!(
            seen(shared.clone()).contains("\nshared cache redis://h:6379: up since 2026-11-29T17:24:14Z\n")
        );
        let other = SharedStatus { has_other_secret: true, ..shared.clone() };
        assert!(seen(other).contains("14Z; another host has another secret_file\n"));
        let lost = SharedStatus { is_up: false, problem: Some("no answer\nfor 2 s".to_owned()), ..shared };
        assert!(seen(lost).contains(": down since 2026-11-29T17:24:14Z: no answer\\nfor 2 s\n"));
    }

    fn many(entries: usize) -> Status {
        let entry = |nth: usize| EntryStatus {
            kind: "map".to_owned(),
            name: format!("map-with-a-rather-long-name-{nth}"),
            state: if nth % 10 == 7 { State::Failing } else { State::Ok },
            failing_s: (nth % 10 == 7).then_some(185),
            working: 3,
            max_workers: 256,
            last_failure_class: (nth % 10 == 7).then(|| "connect".to_owned()),
            last_failure_s_ago: (nth % 10 == 7).then_some(2),
            traffic: Traffic { requests_per_s: 12.4, p95_ms: Some(15.0), ..Traffic::default() },
            ..EntryStatus::default()
        };
        let listener =
            |nth| ListenerStatus { endpoint: format!("127.0.0.1:{nth}"), ..ListenerStatus::default() };
        Status {
            entries: (0..entries).map(entry).collect(),
            listener: (1000..1003).map(listener).collect(),
            ..Status::default()
        }
    }

    #[test]
    fn failing_entries_are_first_and_no_line_is_too_long() {
        for width in [20, 60, 80, 100, 140] {
            let lines = status(&many(30), area(width, None));
            let too_long = lines.iter().find(|line| columns_of(line) > width);
            assert_eq!(too_long, None, "{width}");
            let first: Vec<_> = lines[4..8].iter().map(|line| line.starts_with("failing 3m")).collect();
            assert_eq!(first, [true, true, true, false], "{width}: {lines:#?}");
        }
        let lines = status(&many(30), area(140, None));
        assert_eq!(lines[1], "30 entries: 3 failing");
        let due = "failing 3m  map   map-with-a-rather-long-name-7      12       0    -  15ms     3/256      0      -  connect 2s";
        assert_eq!(lines[4], due);
        assert_eq!(lines.iter().filter(|line| line.starts_with("127.0.0.1:")).count(), 3);
        let narrow = status(&many(30), area(80, None)).join("\n");
        assert!(narrow.contains("No room for CACHE: use a wider terminal, or --json."), "{narrow}");
    }

    #[test]
    fn a_broker_of_another_version_is_understood() {
        let entry = serde_json::json!({"name": "m", "kind": "map", "is_out_of_order": true, "news": [1],
            "last_failure": "no connection", "last_failure_s_ago": 70});
        let old = serde_json::json!({"version": "0.0.1", "connections": 2, "target": [entry], "news": {}});
        let lines = status(&serde_json::from_value(old).expect("a status"), area(100, None));
        assert_eq!(lines[1], "1 entry: 1 failing");
        assert!(
            lines[4].starts_with("failing  map   m") && lines[4].ends_with("no connection 1m"),
            "{lines:#?}"
        );
    }

    #[test]
    fn what_has_no_room_is_counted() {
        for (height, due) in [
            (1, None),
            (2, Some("30 entries: 3 failing")),
            (3, Some("… 30 more entries")),
            (4, Some("… 30 more entries")),
            (5, Some("… 29 more entries")),
            (7, Some("… 27 more entries")),
            (8, Some("… 28 more entries")),
            (10, Some("… 26 more entries")),
            (40, Some("127.0.0.1:1002")),
        ] {
            let lines = status(&many(30), area(100, Some(height)));
            assert!(lines.len() <= height, "{height}: {lines:#?}");
            let is_there = |due| lines.iter().any(|line| line.starts_with(due));
            assert!(due.is_none_or(is_there), "{height}: {lines:#?}");
        }
        let lines = status(&many(30), area(100, Some(39)));
        assert_eq!(lines[38], "… 2 more listeners", "{lines:#?}");
        for height in 0..12 {
            for entries in 0..12 {
                let lines = status(&many(entries), area(140, Some(height)));
                let is_row = |line: &&String| line.contains(" map-with-a-rather-long-name-");
                let shown = lines.iter().filter(is_row).count();
                let told =
                    lines.iter().find_map(|line| line.strip_prefix("… ")?.strip_suffix(" more entries"));
                let told: Option<usize> = told.map(|count| count.parse().expect("a number"));
                assert!(lines.len() <= height, "{height}: {lines:#?}");
                assert_eq!(
                    shown + told.unwrap_or(0),
                    if height > 2 { entries } else { 0 },
                    "{height}: {lines:#?}"
                );
            }
        }
        let mut failed = many(1);
        failed.failures = vec![FailureStatus::default(); 5];
        for (height, due) in [(3, 5), (4, 5), (5, 4), (6, 3)] {
            let lines = failures(&failed, area(100, Some(height)));
            assert_eq!(lines.last(), Some(&format!("… {due} more failures")), "{height}: {lines:#?}");
        }
    }

    #[test]
    fn failed_requests_stand_beside_the_state() {
        let mut status = many(2);
        let entry = &mut status.entries[0];
        (entry.state, entry.failing_s) = (State::Failing, Some(29));
        (entry.last_requests, entry.last_requests_failed) = (10, 10);
        (status.entries[1].last_requests, status.entries[1].last_requests_failed) = (10, 2);
        let lines = super::status(&status, area(140, None));
        assert!(lines[4].starts_with("failing 29s (10/10)  map "), "{lines:#?}");
        assert!(lines[5].starts_with("ok (2/10)            map "), "{lines:#?}");
        let about = "In parentheses: how many of the last requests to the API failed.";
        assert!(lines.iter().any(|line| line == about), "{lines:#?}");
    }

    #[test]
    fn texts_of_others_cannot_move_the_cursor() {
        let mut hostile = many(1);
        hostile.entries[0].name = "a\x1b[2J\nb".to_owned();
        hostile.failures =
            vec![FailureStatus { failure: "x\u{202e}\x07".to_owned(), ..FailureStatus::default() }];
        let lines = [status(&hostile, area(120, None)), failures(&hostile, area(120, None))].concat();
        assert!(lines.iter().all(|line| !line.contains(['\x1b', '\n', '\x07', '\u{202e}'])), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("a\\x1b[2J\\nb")), "{lines:#?}");
        assert_eq!(failures(&many(1), area(80, None))[1], "No failure since the start.");
    }
}
