//! The tables of the status page. On a narrow screen a row is a card, in which `data-label` names each value.

use super::chart::{bars, line, meter};
use super::html::Html;
use crate::model::amount::{age, count, lasted, millis, of, rate};
use crate::model::status::{EntryStatus, FailureStatus, ListenerStatus, Sample, SharedStatus};

fn table(html: &mut Html, class: &'static str, titles: &[&str], rows: impl FnOnce(&mut Html)) {
    html.element("table", &[("class", class)], |html| {
        html.element("thead", &[], |html| {
            html.element("tr", &[], |html| {
                titles.iter().for_each(|title| html.leaf("th", &[("scope", "col")], title))
            });
        });
        html.element("tbody", &[], rows);
    });
}

fn cell(html: &mut Html, label: &'static str, class: &'static str, content: impl FnOnce(&mut Html)) {
    html.element("td", &[("data-label", label), ("class", class)], content);
}

fn text(html: &mut Html, label: &'static str, class: &'static str, text: &str) {
    cell(html, label, class, |html| html.text(text));
}

/// A name of the configuration: its direction must not change that of its surroundings.
fn name(html: &mut Html, name: &str) {
    html.leaf("bdi", &[("class", "name")], name);
}

/// How many are not shown.
pub(super) fn more(html: &mut Html, missing: usize, one: &str, several: &str) {
    if missing > 0 {
        let text = format!("{} more: pfxhttp-broker status", of(missing as u64, one, several));
        html.leaf("p", &[("class", "note")], &text);
    }
}

/// Entries, with charts.
pub(super) fn entries(html: &mut Html, entries: &[&EntryStatus]) {
    if entries.is_empty() {
        html.leaf("p", &[("class", "note")], "The configuration has no entries.");
        return;
    }
    let titles = ["State", "Entry", "Requests/s", "Time", "Failures", "Workers", "Cache", "Last failure"];
    table(html, "entries", &titles, |html| {
        for entry in entries {
            let class = if entry.is_failing() { "failing" } else { "ok" };
            html.element("tr", &[("class", class)], |html| row(html, entry));
        }
    });
}

fn row(html: &mut Html, entry: &EntryStatus) {
    let EntryStatus { traffic, working, max_workers, waiting, .. } = entry;
    let samples = &traffic.samples;
    let (class, state) = match (entry.is_failing(), entry.failing_s) {
        (false, _) => ("state good", "ok".to_owned()),
        (true, Some(seconds)) => ("state bad", format!("failing {}", age(seconds))),
        (true, None) => ("state bad", "failing".to_owned()),
    };
    cell(html, "State", "of-state", |html| {
        html.leaf("span", &[("class", class)], &state);
        if entry.last_requests_failed > 0 {
            let failed = format!("{} of {} failed", entry.last_requests_failed, entry.last_requests);
            let about = "of the last requests to the API";
            html.leaf("small", &[("class", "bad"), ("title", about)], &failed);
        }
    });
    cell(html, "Entry", "of-entry", |html| {
        html.leaf("span", &[("class", "kind")], &entry.kind);
        name(html, &entry.name);
        html.leaf("small", &[], &entry.target);
        for target in entry.targets_out() {
            html.leaf("small", &[("class", "bad")], &format!("out: {target}"));
        }
    });
    cell(html, "Requests/s", "of-chart", |html| {
        html.leaf("b", &[], &rate(traffic.requests_per_s));
        let values: Vec<_> = samples.iter().map(|sample| Some(sample.requests_per_s)).collect();
        line(html, "spark requests", &values, &at_most("requests per second", &values, rate));
    });
    cell(html, "Time", "of-chart", |html| {
        html.element("b", &[], |html| {
            html.text(&traffic.p50_ms.map_or_else(|| "–".to_owned(), millis));
            if let Some(p95) = traffic.p95_ms {
                html.leaf("small", &[], &format!("p95 {}", millis(p95)));
            }
        });
        let values: Vec<_> = samples.iter().map(|sample| sample.p95_ms).collect();
        line(html, "spark time", &values, &at_most("95th percentile of the time", &values, millis));
    });
    cell(html, "Failures", "of-chart", |html| {
        let class = if traffic.recent_failures > 0 { "bad" } else { "none" };
        let by_class = traffic.recent_failures_by_class.iter();
        let by_class: Vec<_> = by_class.map(|(class, number)| format!("{number} {class}")).collect();
        html.leaf("b", &[("class", class), ("title", &by_class.join(", "))], &count(traffic.recent_failures));
        let counts: Vec<_> = samples.iter().map(|sample| sample.failures).collect();
        let label = format!("failures in the last ten minutes: {}", traffic.recent_failures);
        bars(html, "spark failures", &counts, &label);
    });
    cell(html, "Workers", "of-workers", |html| workers(html, *working, *max_workers, *waiting, samples));
    match traffic.cache_hits_percent {
        Some(hits) => text(html, "Cache", "of-number", &format!("{hits:.0} %")),
        None => text(html, "Cache", "of-number none empty", "–"),
    }
    let class = if entry.last_failure.is_some() { "of-failure" } else { "of-failure empty" };
    cell(html, "Last failure", class, |html| {
        if let Some(failure) = &entry.last_failure {
            let ago = entry.last_failure_s_ago.map(age).unwrap_or_default();
            html.leaf("span", &[("class", "kind")], entry.last_failure_class.as_deref().unwrap_or("failure"));
            html.leaf("small", &[], &format!("{ago} ago: {failure}"));
        } else {
            html.leaf("span", &[("class", "none")], "–");
        }
    });
}

fn workers(html: &mut Html, working: usize, max_workers: usize, waiting: usize, samples: &[Sample]) {
    let busiest = samples.iter().map(|sample| sample.busy).max().unwrap_or(0).max(working as u64);
    html.element("b", &[], |html| {
        html.text(&format!("{working}"));
        html.leaf("small", &[], &format!("of {max_workers}"));
        if waiting > 0 {
            html.leaf("small", &[("class", "bad")], &format!("{} in queue", count(waiting as u64)));
        }
    });
    let label = format!("{working} of {max_workers} workers busy; at most {busiest} in the last ten minutes");
    meter(html, working as u64, max_workers as u64, &label);
}

/// What a chart shows, with its highest value.
fn at_most(what: &str, values: &[Option<f64>], shown: fn(f64) -> String) -> String {
    match values.iter().flatten().copied().reduce(f64::max) {
        Some(most) => format!("{what} in the last ten minutes: at most {}", shown(most)),
        None => format!("{what} in the last ten minutes: none"),
    }
}

/// The last failures, the newest first.
pub(super) fn failures(html: &mut Html, failures: &[FailureStatus]) {
    if failures.is_empty() {
        html.leaf("p", &[("class", "note")], "No failure since the start.");
        return;
    }
    table(html, "failures", &["Time (UTC)", "Entry", "Count", "Class", "Failure"], |html| {
        for failure in failures {
            html.element("tr", &[], |html| {
                let time = failure.time.replace('T', " ").replace('Z', "");
                cell(html, "Time (UTC)", "of-time", |html| {
                    html.leaf("time", &[("datetime", &failure.time)], &time);
                    html.leaf("small", &[], &format!("{} ago", age(failure.s_ago)));
                });
                cell(html, "Entry", "of-entry", |html| {
                    html.leaf("span", &[("class", "kind")], &failure.kind);
                    name(html, &failure.name);
                });
                text(html, "Count", "of-number", &count(failure.count));
                cell(html, "Class", "of-class", |html| {
                    html.leaf("span", &[("class", "kind")], &failure.class);
                });
                text(html, "Failure", "of-failure", &failure.failure);
            });
        }
    });
}

/// Listeners and the local socket.
pub(super) fn listeners(html: &mut Html, listeners: &[ListenerStatus]) {
    let titles = ["Listener", "Protocol", "Entry", "Requests/s", "Requests", "Connections", "Refused"];
    table(html, "listeners", &titles, |html| {
        for listener in listeners {
            html.element("tr", &[], |html| {
                cell(html, "Listener", "of-entry", |html| name(html, &listener.endpoint));
                let protocol = match listener.kind.as_str() {
                    "clients" => "pfxhttp-client",
                    kind => kind,
                };
                text(html, "Protocol", "", protocol);
                match &listener.name {
                    Some(entry) => cell(html, "Entry", "", |html| name(html, entry)),
                    None => text(html, "Entry", "none", "all"),
                }
                cell(html, "Requests/s", "of-chart", |html| {
                    html.leaf("b", &[], &rate(listener.requests_per_s));
                    let values: Vec<_> = listener.samples.iter().copied().map(Some).collect();
                    line(html, "spark requests", &values, &at_most("requests per second", &values, rate));
                });
                text(html, "Requests", "of-number", &count(listener.requests));
                let connections = match listener.handed_over {
                    0 => count(listener.connections),
                    handed_over => {
                        format!("{} ({} handed over)", count(listener.connections), count(handed_over))
                    }
                };
                text(html, "Connections", "of-number", &connections);
                text(html, "Refused", "of-number", &count(listener.refused));
            });
        }
    });
}

/// The tokens that the broker sends to APIs.
pub(super) fn tokens(html: &mut Html, entries: &[&EntryStatus]) {
    table(html, "tokens", &["Entry", "Token", "Expires in"], |html| {
        for entry in entries {
            html.element("tr", &[], |html| {
                cell(html, "Entry", "of-entry", |html| {
                    html.leaf("span", &[("class", "kind")], &entry.kind);
                    name(html, &entry.name);
                });
                let has_token = entry.has_token == Some(true);
                let (class, state) =
                    if has_token { ("state good", "valid") } else { ("state warn", "none yet") };
                cell(html, "Token", "", |html| html.leaf("span", &[("class", class)], state));
                let left = entry.token_expires_s.map_or_else(|| "–".to_owned(), lasted);
                text(html, "Expires in", "of-number", &left);
            });
        }
    });
}

/// The shared cache.
pub(super) fn shared(html: &mut Html, shared: &SharedStatus) {
    let titles = ["Server", "State", "Reads", "Writes", "In the queue"];
    table(html, "shared", &titles, |html| {
        html.element("tr", &[("class", if shared.is_up { "ok" } else { "failing" })], |html| {
            cell(html, "Server", "of-entry", |html| name(html, &shared.server));
            cell(html, "State", "of-state", |html| shared_state(html, shared));
            text(html, "Reads", "", &shared.reads());
            text(html, "Writes", "", &shared.writes());
            text(html, "In the queue", "of-number", &count(shared.waiting_writes as u64));
        });
    });
}

fn shared_state(html: &mut Html, shared: &SharedStatus) {
    let (class, state) = if shared.is_up { ("state good", "up") } else { ("state bad", "down") };
    html.leaf("span", &[("class", class)], state);
    let since = shared.since.replace('T', " ").replace('Z', " UTC");
    html.element("small", &[], |html| {
        html.text("since ");
        html.leaf("time", &[("datetime", &shared.since)], &since);
    });
    if let Some(problem) = &shared.problem {
        html.leaf("small", &[("class", "bad")], problem);
    }
    if shared.is_up && shared.has_other_secret {
        html.leaf("small", &[("class", "bad")], "another host has another secret_file");
    }
}
