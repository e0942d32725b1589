//! Help, manuals, completions, the schema and the parser name the same commands, flags and keys. The
//! parser's own tests compare it with the schema.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use clap_complete::Shell;
use pfxhttp::command::cli::Cli;
use pfxhttp::settings;
use serde_json::Value;

use crate::support::client;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A manual's items below each heading of second order: the name in `.It Cm`, and its text.
fn items(page: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let (mut section, mut item) = (String::new(), None);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix(".Ss ") {
            (section, item) = (title.to_owned(), None);
        } else if let Some(rest) = line.strip_prefix(".It Cm ") {
            let name = rest.split(' ').next().expect("a name").to_owned();
            let before = sections.entry(section.clone()).or_default().insert(name.clone(), rest.to_owned());
            assert!(before.is_none(), "{section}: {name} is described twice");
            item = Some(name);
        } else if let Some(item) = &item {
            let text = sections.get_mut(&section).and_then(|items| items.get_mut(item)).expect("begun");
            text.push('\n');
            text.push_str(line);
        }
    }
    sections
}

/// A block of the schema, and the headings of the manual that describe its keys.
const BLOCKS: [(&str, &[&str]); 27] = [
    ("", &["Top of the file"]),
    ("Server", &["server"]),
    ("Listener", &["server.listen"]),
    ("Ipc", &["server.ipc"]),
    ("Admin", &["server.admin"]),
    ("Logging", &["server.logging"]),
    ("HttpClient", &["server.http_client"]),
    ("Tls", &["server.tls"]),
    ("ResponseCache", &["server.response_cache"]),
    ("Shared", &["server.shared"]),
    ("Sentinel", &["server.shared.sentinel"]),
    ("WorkerPool", &["worker_pool"]),
    ("Observability", &["server.observability"]),
    ("PrometheusTls", &["server.observability.prometheus_tls"]),
    ("Map", &["Every entry", "Maps and policies", "Maps"]),
    ("Policy", &["Every entry", "Maps and policies", "Policies"]),
    ("Login", &["Every entry", "Logins"]),
    ("Target", &["targets"]),
    ("Breaker", &["breaker"]),
    ("Health", &["health"]),
    ("Retry", &["retry"]),
    ("EntryTls", &["tls"]),
    ("Cache", &["cache"]),
    ("BackendOidc", &["backend_oidc_auth and sasl_oidc_auth"]),
    ("SaslOidc", &["backend_oidc_auth and sasl_oidc_auth", "sasl_oidc_auth alone"]),
    ("Grpc", &["grpc"]),
    ("GrpcTls", &["grpc.tls"]),
];

fn schema() -> Value {
    serde_json::from_str(&text("pfxhttp.schema.json")).expect("JSON")
}

fn properties<'s>(schema: &'s Value, block: &str) -> &'s serde_json::Map<String, Value> {
    let block = if block.is_empty() { schema } else { &schema["$defs"][block] };
    block["properties"].as_object().expect("a block has properties")
}

#[test]
fn every_key_is_in_the_manual_and_no_other() {
    let (schema, manual) = (schema(), items(&text("man/pfxhttp.yml.5")));
    for (block, titles) in BLOCKS {
        let described: BTreeMap<&str, &str> = titles
            .iter()
            .flat_map(|title| manual.get(*title).unwrap_or_else(|| panic!("there is no heading {title:?}")))
            .map(|(key, text)| (key.as_str(), text.as_str()))
            .collect();
        let known = properties(&schema, block);
        let names: BTreeSet<&str> = known.keys().map(String::as_str).collect();
        assert_eq!(described.keys().copied().collect::<BTreeSet<_>>(), names, "{block}: {titles:?}");
        for (key, property) in known {
            for word in property["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let text = described[key.as_str()].replace("\\(dq", " ");
                let words = text.split(|c: char| !c.is_alphanumeric() && !"_.".contains(c));
                let mut words = words.map(|word| word.trim_end_matches('.'));
                assert!(words.any(|one| one == word), "{block}: {key} may be {word}");
            }
        }
    }
    let headings: BTreeSet<&str> = BLOCKS.iter().flat_map(|(_, titles)| titles.iter().copied()).collect();
    assert_eq!(manual.keys().map(String::as_str).collect::<BTreeSet<_>>(), headings);
    let blocks = schema["$defs"].as_object().expect("blocks").iter();
    let blocks = blocks.filter(|(_, block)| block["properties"].is_object()).count();
    assert_eq!(blocks + 1, BLOCKS.len(), "every block of the schema is compared");
}

/// The flags and commands of a program's help, including that of its commands.
fn help(program: &Path, command: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    let output = Command::new(program).args(command).arg("--help").output().expect("it starts");
    assert!(output.status.success(), "{}: {output:?}", program.display());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (mut flags, mut commands) = (BTreeSet::new(), BTreeSet::new());
    let mut heading = "";
    for line in text.lines() {
        let rest = line.trim_start();
        if !line.starts_with(' ') {
            heading = line;
        } else if heading.starts_with("Commands:") && line.starts_with("  ") && !line.starts_with("   ") {
            commands.insert(rest.split(' ').next().expect("a word").to_owned());
        } else if rest.starts_with('-') {
            let words = rest.split([' ', ',', '=', '[']).filter_map(|word| word.strip_prefix("--"));
            flags.extend(words.map(str::to_owned));
        }
    }
    (flags, commands)
}

/// The long flags and the commands of a manual's items.
fn described(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let page = text(page);
    let lines = page.lines().filter_map(|line| line.strip_prefix(".It "));
    let (mut flags, mut commands) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["Cm", command, ..] = words[..] {
            commands.insert(command.to_owned());
        }
        for pair in words.windows(2) {
            if let ["Fl", flag] = pair {
                flags.extend(flag.strip_prefix('-').map(str::to_owned));
            }
        }
    }
    (flags, commands)
}

#[test]
fn the_brokers_help_and_manual_agree() {
    let program = Path::new(env!("CARGO_BIN_EXE_pfxhttp-broker"));
    let (mut flags, commands) = help(program, &[]);
    assert!(flags.len() > 3 && commands.len() > 1, "{flags:?} {commands:?}");
    for command in &commands {
        let (own, below) = help(program, &[command]);
        flags.extend(own);
        for below in below {
            flags.extend(help(program, &[command, &below]).0);
        }
    }
    let (told_flags, told_commands) = described("man/pfxhttp-broker.8");
    assert_eq!(told_flags, flags);
    assert_eq!(told_commands, commands);
}

#[test]
fn the_clients_help_and_manual_agree() {
    let (flags, commands) = help(&client::program(), &[]);
    assert_eq!(commands.len(), 3, "{commands:?}");
    assert_eq!(described("man/pfxhttp-client.8"), (flags, commands));
}

#[test]
fn the_manuals_are_well_formed() {
    for page in ["pfxhttp.8", "pfxhttp-broker.8", "pfxhttp-client.8", "pfxhttp.yml.5"] {
        let page_file = file("man").join(page);
        let output = Command::new("mandoc").args(["-T", "lint", "-W", "style"]).arg(page_file).output();
        let output = output.expect("mandoc: apt-get install mandoc, or make packages");
        // The manuals of Postfix and pfxhttp need not be installed.
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = lines.lines().filter(|line| !line.contains("referenced manual not found"));
        assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new(), "{page}");
    }
}

#[test]
fn completions_are_current() {
    for (shell, name) in [
        (Shell::Bash, "pfxhttp-broker.bash"),
        (Shell::Zsh, "_pfxhttp-broker"),
        (Shell::Fish, "pfxhttp-broker.fish"),
    ] {
        let mut due = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "pfxhttp-broker", &mut due);
        let path = file("contrib/completions").join(name);
        if std::env::var_os("UPDATE_COMPLETIONS").is_some() {
            std::fs::write(&path, &due).expect("the completions can be written");
        }
        let is = std::fs::read(&path).unwrap_or_default();
        assert!(is == due, "{} is out of date: make completions", path.display());
    }
}

#[test]
fn the_example_names_every_key() {
    let example = text("contrib/pfxhttp.example.yml");
    match settings::parse(Path::new("pfxhttp.example.yml"), &example) {
        Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings:?}"),
        Err(problems) => panic!("{}", problems[0]),
    }
    let named: BTreeSet<&str> =
        example.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').collect();
    let schema = schema();
    for (block, _) in BLOCKS {
        for key in properties(&schema, block).keys() {
            let is_named = named.contains(format!("{key}:").as_str()) || named.contains(key.as_str());
            assert!(is_named, "{block}: {key}");
        }
    }
}
