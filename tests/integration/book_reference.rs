//! The reference part of the book agrees with the manuals, the help, the metrics and the log lines.
//!
//! What a program can write is made here: `make reference` writes it (`UPDATE_BOOK`), and without that variable the
//! tests compare. The other texts of these pages are written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use pfxhttp::command::cli::Cli;

use crate::support::backend::{Backend, Reply};
use crate::support::client;
use crate::support::config::backend_oidc;
use crate::support::fake_provider::FakeProvider;
use crate::support::fleet::Files;
use crate::support::grpc_service::GrpcService;
use crate::support::markdown;
use crate::support::metrics::Scrape;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::sources;
use crate::support::{PATIENCE, wait_until};

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference").join(name)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The page must be `due`; with `UPDATE_BOOK` it becomes that.
fn assert_is(path: &Path, due: &str) {
    if std::env::var_os("UPDATE_BOOK").is_some() {
        std::fs::write(path, due).expect("the page can be written");
    }
    let is = text(path);
    let differs = is.lines().zip(due.lines()).find(|(is, due)| is != due);
    assert!(is == due, "{} is out of date: make reference\n{differs:#?}", path.display());
}

/// What stands between the marks `name` of the page must be `due`.
fn assert_part_is(path: &Path, name: &str, due: &str) {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let is = text(path);
    let (before, rest) = is.split_once(&begin).unwrap_or_else(|| panic!("{}: no {begin}", path.display()));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{}: no {end}", path.display()));
    assert_is(path, &format!("{before}{begin}\n{due}\n{end}{after}"));
}

#[test]
fn the_manual_of_the_configuration_is_in_the_book() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/pfxhttp.yml.5");
    let output = Command::new("mandoc").args(["-T", "markdown"]).arg(manual).output();
    let output = output.expect("mandoc: apt-get install mandoc, or make packages");
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    assert_is(&page("pfxhttp.yml.md"), &markdown::of_manual(&output));
}

#[test]
fn the_help_is_in_the_book() {
    let mut due = String::new();
    let mut add = |name: &str, help: &str| {
        let help = help.trim_end();
        writeln!(due, "### {name}\n\n```text\n{help}\n```\n").expect("text takes text");
    };
    let mut broker = Cli::command().term_width(0);
    broker.build();
    add("pfxhttp-broker", &broker.render_help().to_string());
    // Each command also has the options of the first page.
    let hidden = |command: &clap::Command| {
        let of_all = ["config", "format", "help"];
        let arguments = command.get_arguments().map(|argument| argument.get_id().to_string());
        let arguments: Vec<_> = arguments.filter(|id| of_all.contains(&id.as_str())).collect();
        arguments
            .iter()
            .fold(command.clone(), |command, id| command.mut_arg(id, |argument| argument.hide(true)))
    };
    for command in broker.get_subcommands() {
        let below: Vec<_> = command.get_subcommands().collect();
        for one in if below.is_empty() { vec![command] } else { below } {
            let name = one.get_bin_name().unwrap_or_else(|| one.get_name());
            add(name, &hidden(one).render_help().to_string());
        }
    }
    let output = Command::new(client::program()).arg("--help").output().expect("it starts");
    add("pfxhttp-client", &String::from_utf8(output.stdout).expect("UTF-8"));
    assert_part_is(&page("command-line.md"), "help", due.trim_end());
}

/// A broker with entries, providers and exporters of all kinds; the text of its metrics.
fn scrape() -> String {
    let (port, provider, collector) = (Port::reserve(), FakeProvider::start(), Backend::constant(""));
    let grpc = GrpcService::start();
    let api = Backend::start(|request| match request.path.as_str() {
        "/login" => Reply::with_header("Auth-User", "u", ""),
        _ => Reply::json(r#"{"value": "v", "action": "DUNNO"}"#),
    });
    let files = Files::new();
    let token = backend_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let endpoint = format!("otel_exporter_otlp_endpoint: \"{}\"", collector.url(""));
    let setup = Setup::start(|config| {
        let more = [
            "prometheus_runtime_metrics: true",
            "otel_enabled: true",
            "otel_traces_enabled: true",
            &endpoint,
        ];
        let config = config.prometheus(port.number(), &more);
        let config = config.server(&files.shared("unix:/nowhere", ""));
        let config = config.map("m", &api.url("/map"), &[&token, "cache: {fresh: 1m, shared: true}"]);
        let targets = format!("targets: [\"{}\", \"{}\"]", api.url("/map"), collector.url("/map"));
        let config = config.map_of("several", &[&targets, "method: GET", "value_field: value"]);
        let config = config.policy("p", &api.url("/policy"), &[]).login("l", &api.url("/login"), &[]);
        crate::login_grpc::entry(config, "grpc", &grpc, "", &[])
    });
    let mut map = setup.map();
    map.look_up("m", "k");
    map.look_up("several", "k");
    drop(map);
    setup.policy("p").ask(&[("request", "smtpd_access_policy")]);
    assert_eq!(crate::login_grpc::log_in(&setup, "grpc", "u", "secret"), "OK\t1\tuser=u");
    let mut login = setup.login(Way::Unix, "l");
    login.plain(1, "u", "good");
    login.line();
    let is_complete = || {
        let scrape = Scrape::of(port.address());
        // Spans are exported later, and the end of a connection is noted later.
        scrape.sum("pfxhttp_otlp_spans_total", &[("result", "ok")]) > 0.0
            && scrape.sum("pfxhttp_listener_connection_duration_seconds_count", &[]) > 0.0
    };
    assert!(wait_until(PATIENCE, is_complete), "{}", Scrape::of(port.address()).text);
    Scrape::of(port.address()).text
}

#[test]
fn the_metrics_are_in_the_book() {
    let text = scrape();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).expect("a sample");
        let names = rest.split_once('}').map_or("", |(labels, _)| labels).split("\",");
        let names = names.filter_map(|label| label.split_once('=')).map(|(name, _)| name);
        labels.entry(name).or_default().extend(names.filter(|name| *name != "le"));
    }
    let mut due = String::from("| metric | type | labels | |\n|---|---|---|---|\n");
    let mut named = BTreeSet::new();
    for (help, kind) in text.lines().zip(text.lines().skip(1)) {
        let Some((name, help)) = help.strip_prefix("# HELP ").and_then(|help| help.split_once(' ')) else {
            continue;
        };
        let kind = kind.rsplit(' ').next().expect("a word");
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let labels = labels.get(sample.as_str()).unwrap_or_else(|| panic!("{name} has no sample"));
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(due, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).expect("text takes text");
        named.insert(name.to_owned());
    }
    let all = sources::words("observe/metrics", |word| {
        word.starts_with("pfxhttp_") || word.starts_with("process_")
    });
    assert_eq!(named, all, "the broker of this test exports all metrics");
    assert_part_is(&page("metrics.md"), "metrics", due.trim_end());
}

#[test]
fn the_log_lines_are_in_the_book() {
    let lines = sources::log_lines();
    assert!(lines.len() > 40, "{lines:#?}");
    let mut due = String::from("| level | line | fields |\n|---|---|---|\n");
    for line in &lines {
        let fields: Vec<_> = line.fields.iter().map(|field| format!("`{field}`")).collect();
        writeln!(due, "| {} | `{}` | {} |", line.level, line.message, fields.join(", "))
            .expect("text takes text");
    }
    let path = page("log-fields.md");
    assert_part_is(&path, "lines", due.trim_end());
    let page = text(&path);
    for field in lines.iter().flat_map(|line| &line.fields) {
        assert!(page.contains(&format!("\n| `{field}` |")), "log-fields.md does not describe {field}");
    }
}

/// The first cells of the rows of a page's tables, if they are code.
fn rows(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(cell, _)| cell.to_owned()).collect()
}

#[test]
fn the_failure_classes_are_in_the_book() {
    let page = text(&page("../help/failure-classes.md"));
    let mut classes = sources::literals_of("model", "fn class(&self)");
    assert!(classes.remove("no_broker"), "only the client has this one, and logs none: {classes:?}");
    assert_eq!(rows(&page), classes);
}

#[test]
fn the_alerts_are_in_the_book() {
    let rules = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus/pfxhttp.rules.yml"));
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<String> = alerts.map(str::to_owned).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    assert_eq!(rows(&text(&page("../operation/alerts.md"))), alerts);
}

#[test]
fn the_exit_codes_are_in_the_book() {
    let manual = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man/pfxhttp-broker.8"));
    let (_, manual) = manual.split_once(".Sh EXIT STATUS").expect("a section");
    let codes = manual.lines().filter_map(|line| line.strip_prefix(".It ")?.parse::<u8>().ok());
    let codes: BTreeSet<u8> = codes.collect();
    let page = text(&page("exit-codes.md"));
    let (page, _) = page.split_once("## pfxhttp-client").expect("a heading");
    let listed =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u8>().ok());
    assert_eq!(listed.collect::<BTreeSet<u8>>(), codes);
    assert!(codes.len() > 5, "{codes:?}");
}
