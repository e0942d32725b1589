//! `config dump`: the configuration that holds, with the origin of each value and without secrets.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::broker::command;
use crate::support::certificates::Identity;
use crate::support::command_line::{run, text};
use crate::support::secret_site::Planted;
use crate::support::site::open_directory;

const YAML: &str = r#"server:
  logging: {level: debug}
socket_maps:
  defaults: {timeout: 5s, http_auth_basic: "joe:hush"}
  m:
    target: "http://localhost/?key=hush"
    payload: '{}'
    value_field: v
"#;
const TOML: &str = r#"[server]
logging.level = "debug"
[socket_maps]
defaults = {timeout = "5s", http_auth_basic = "joe:hush"}
[socket_maps.m]
target = "http://localhost/?key=hush"
payload = "{}"
value_field = "v"
"#;
const JSON: &str = r#"{"server": {
  "logging": {"level": "debug"}},
"socket_maps": {
  "defaults": {"timeout": "5s", "http_auth_basic": "joe:hush"},
  "m": {
    "target": "http://localhost/?key=hush",
    "payload": "{}",
    "value_field": "v"}}}
"#;

fn dump(config: &Path, arguments: &[&str]) -> Output {
    run(config, &[&["config", "dump"], arguments].concat(), "")
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// What a line says without its comment.
fn value(line: &str) -> &str {
    line.split("  # ").next().unwrap_or(line)
}

#[test]
fn each_syntax_is_dumped_alike() {
    let directory = open_directory();
    let mut dumped: Vec<Vec<String>> = Vec::new();
    for (name, content) in [("c.yml", YAML), ("c.toml", TOML), ("c.json", JSON)] {
        let config = directory.path().join(name);
        fs::write(&config, content).expect("a file");
        let output = dump(&config, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(!text(&output).contains("hush"), "{}", text(&output));
        let lines = lines(&output);
        for line in [
            "    level: debug  # line 2",
            "    timeout: 5s  # line 4, socket_maps.defaults.timeout",
            "    http_auth_basic: …  # line 4, socket_maps.defaults.http_auth_basic",
            "    value_field: v  # line 8",
            "    json: false  # default",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line} in {name}\n{lines:#?}");
        }
        dumped.push(lines.iter().map(|line| value(line).to_owned()).collect());
    }
    assert_eq!(dumped[0], dumped[1]);
    assert_eq!(dumped[0], dumped[2]);
}

#[test]
fn only_what_is_set_is_a_change() {
    let directory = open_directory();
    let config = directory.path().join("c.yml");
    fs::write(&config, YAML).expect("a file");
    let output = dump(&config, &["--changed"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let changed = lines(&output);
    assert!(changed.iter().all(|line| !line.ends_with("# default")), "{changed:#?}");
    assert!(changed.iter().any(|line| line == "    level: debug  # line 2"), "{changed:#?}");
    assert!(!changed.iter().any(|line| line.contains("json:")), "{changed:#?}");

    let mut program = command(&config);
    program.args(["config", "dump", "--changed"]).env("PFXHTTP_SERVER_LOGGING_JSON", "true");
    let output = program.output().expect("it runs");
    let with_variable = lines(&output);
    let json = "    json: true  # PFXHTTP_SERVER_LOGGING_JSON";
    assert!(with_variable.iter().any(|line| line == json), "{with_variable:#?}");
    assert_eq!(with_variable.len(), changed.len() + 1);
}

#[test]
fn a_dump_is_a_configuration_of_the_same_settings() {
    let directory = open_directory();
    let (config, again) = (directory.path().join("c.yml"), directory.path().join("again.yml"));
    fs::write(&config, YAML.replace(", http_auth_basic: \"joe:hush\"", "").replace("?key=hush", ""))
        .expect("a file");
    let first = dump(&config, &[]);
    // A payload is shown to none, and is the one value that has to be put in again.
    fs::write(&again, String::from_utf8_lossy(&first.stdout).replace("payload: …", "payload: '{}'"))
        .expect("a file");
    let second = dump(&again, &[]);
    assert_eq!(second.status.code(), Some(0), "{}", text(&second));
    let values =
        |output: &Output| lines(output).iter().map(|line| value(line).to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&first), values(&second));
}

/// What an entry has of `server.tls`, and what it takes back, is shown where it holds.
#[test]
fn tls_of_an_entry_is_shown_as_a_whole() {
    let directory = open_directory();
    let file = Identity::self_signed().write(directory.path(), "ours").0.display().to_string();
    let config = directory.path().join("c.yml");
    let server =
        format!("server:\n  tls: {{enabled: true, root_ca: \"{file}\", min_tls_version: \"1.3\"}}\n");
    let entry = |name: &str, more: &str| {
        format!("  {name}: {{target: \"https://h/\", payload: '{{}}', value_field: v, {more}}}\n")
    };
    let named = entry("named", "tls: {server_name: api.internal}, proxy: \"http://joe:hush@p:3128\"");
    let text_of = server
        + "socket_maps:\n"
        + &named
        + &entry("back", "tls: {root_ca: ~}, proxy: none")
        + &entry("plain", "timeout: 1s");
    fs::write(&config, text_of).expect("a file");
    let output = dump(&config, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let all = lines(&output);
    let of = |name: &str| {
        let lines = all.iter().skip_while(|line| **line != format!("  {name}:")).skip(1);
        lines.take_while(|line| line.starts_with("    ")).cloned().collect::<Vec<_>>().join("\n")
    };
    for (name, due) in [
        ("named", format!("      root_ca: {file}  # line 2, server.tls.root_ca")),
        ("named", "      min_tls_version: '1.3'  # line 2, server.tls.min_tls_version".to_owned()),
        ("named", "      server_name: api.internal  # line 4".to_owned()),
        ("named", "    proxy: http://p:3128/  # line 4".to_owned()),
        ("back", "      root_ca: null  # line 5".to_owned()),
        ("back", "    proxy: none  # line 5".to_owned()),
    ] {
        assert!(of(name).lines().any(|line| line == due), "{due} in {}", of(name));
    }
    assert!(!of("plain").contains("tls:") && !text(&output).contains("hush"), "{}", text(&output));
}

#[test]
fn a_configuration_with_errors_is_not_dumped() {
    let directory = open_directory();
    let config = directory.path().join("c.yml");
    for (content, expected) in [
        (YAML.replace("5s", "5"), "c.yml:4:23: error: socket_maps.defaults.timeout: a duration needs a unit"),
        (YAML.replace("debug}", "debug"), "this is not YAML"),
    ] {
        fs::write(&config, content).expect("a file");
        let output = dump(&config, &[]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(78), &b""[..]));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    assert_eq!(dump(&directory.path().join("none.yml"), &[]).status.code(), Some(78));
}

#[test]
fn no_secret_of_any_key_is_dumped() {
    let planted = Planted::new();
    let config = planted.path("pfxhttp.yml");
    for arguments in [&[][..], &["--changed"]] {
        let mut program = command(&config);
        program.args(["config", "dump"]).args(arguments);
        program.env("PFXHTTP_SOCKET_MAPS_VARIABLE_HTTP_AUTH_BASIC", format!("joe:{}", planted.variable.text));
        let output = program.output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let all = text(&output);
        assert!(all.contains("http_auth_basic: …  # PFXHTTP_SOCKET_MAPS_VARIABLE_HTTP_AUTH_BASIC"), "{all}");
        for marker in planted.markers.iter().chain([&planted.variable]) {
            assert!(marker.found(&all).is_none(), "{}: {all}", marker.key);
        }
    }
}
