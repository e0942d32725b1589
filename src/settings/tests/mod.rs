//! Whole configurations: what loads, and what each broken one is told.

mod any_text;
mod connections;
mod defaults;
mod entries;
mod environment;
mod listeners;
mod logins;
mod logins_grpc;
mod oidc;
mod schema;
mod seed;
mod server;
mod shared_cache;
mod shown;
mod syntaxes;
mod targets;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::lookup::Kind;
use crate::lookup::LogKeys;
use crate::model::{OnFailure, Protocol};
use crate::server::settings::Endpoint;

fn check(text: &str) -> Read {
    parse(Path::new("pfxhttp.yml"), text)
}

fn options(syntax: Syntax, environment: &[(String, String)]) -> Options<'_> {
    Options { syntax: Some(syntax), environment, is_jailed: false }
}

fn good(text: &str) -> Configuration {
    let (config, warnings) = check(text).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert!(warnings.is_empty(), "{}", shown(&warnings));
    config
}

/// Writes a file that its owner alone may read.
fn private(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::write(path, content).expect("a file");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("its owner may");
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The problems of `text`, errors or warnings, as `line:column key: message (hint)`.
fn told(text: &str) -> Vec<String> {
    let problems = match check(text) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    problems.iter().map(brief).collect()
}

fn brief(problem: &Problem) -> String {
    let place = problem.place.map_or("-".to_owned(), |at| format!("{}:{}", at.line, at.column));
    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let severity = if problem.severity == Severity::Warning { "warning " } else { "" };
    format!("{place} {severity}{}: {}{hint}", problem.key, problem.message)
}

/// A map with everything that it needs, and more lines of its own.
fn map(lines: &str) -> String {
    format!(
        r"socket_maps:
  m:
    target: http://localhost/
    payload: '{{{{ .Key | json }}}}'
    value_field: v
{lines}"
    )
}

/// A policy service `p`, and a listener with these keys (from line 3, column 7).
fn listener(keys: &str) -> String {
    format!(
        r"server:
  listen:
    - {}
policy_services:
  p: {{target: http://localhost/, payload: '{{{{ .Key | json }}}}', value_field: v}}
",
        keys.replace('\n', "\n      ")
    )
}

const SEED: &str = r#"
server:
  listen:
    - kind: "socket_map"
      name: "demo_map"
      type: "tcp"
      address: "[::1]"
      port: 23450

    - kind: "policy_service"
      name: "example_policy"
      type: "unix"
      address: /run/pfxhttp/policy.sock
      mode: "0666"
      user: 1000
      group: postfix

  logging:
    json: true
    level: info

  http_client:
    timeout: 2m

  ipc:
    path: /tmp/b.sock
    mode: "0600"
    allow_users: [postfix, 99]

  max_connections: 100
  max_connections_per_address: 50
  socketmap_max_reply_size: 5000

socket_maps:
  demo_map:
    target: "https://127.0.0.1:9443/api/v1/custom/map"
    custom_headers:
      - "Authorization: Bearer <token>"
      - "Host: example.org"
    payload: >
      {
        "key": "{{ .Key }}"
      }
    status_code: 200
    value_field: "data.result"
    error_field: "error"
    no_error_value: "not-found"

policy_services:
  example_policy:
    target: "https://127.0.0.1:9443/api/v1/custom/policy"
    payload: "{{ .Key }}"
    value_field: "policy.result"
    error_field: "policy.error"
    no_error_value: "OK"
    timeout: 500ms
    on_failure: disconnect

dovecot_sasl:
  login:
    target: "https://127.0.0.1:9443/api/v1/auth/json"
    failure_delay: 3s
    penalty_exempt: [10.0.0.0/8, "::1"]
    sasl_oidc_auth:
      enabled: true
      configuration_uri: "https://127.0.0.1:9443/.well-known/openid-configuration"
      client_id: roundcube
      client_secret: hush-hush
      audiences: [mail]
"#;

#[test]
fn the_seeds_example_loads() {
    let (config, warnings) = check(SEED).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    let [warning] = &warnings[..] else { panic!("{}", shown(&warnings)) };
    assert_eq!(warning.key, "dovecot_sasl.login.sasl_oidc_auth.account_claim");
    let [map, policy] = &config.server.sockets.listen[..] else { panic!("two listeners") };
    assert_eq!(map.protocol, Protocol::Socketmap);
    let loopback = std::net::Ipv6Addr::LOCALHOST.into();
    assert_eq!(map.endpoint, Endpoint::Tcp { address: loopback, port: 23450, v6_only: false });
    assert_eq!(policy.name, "example_policy");
    let Endpoint::Unix(socket) = &policy.endpoint else { panic!("a unix socket") };
    assert_eq!((socket.mode, socket.user.as_deref()), (0o666, Some("1000")));
    let quiet = Logging { json: true, level: Level::Info, use_systemd: false, keys: LogKeys::Never };
    assert_eq!(config.server.logging, quiet);
    assert_eq!(config.server.sockets.ipc.socket.mode, 0o600);
    assert_eq!(config.server.sockets.ipc.allow_users, ["postfix", "99"]);
    assert_eq!(config.server.max_connections, Some(100));
    assert_eq!(config.server.max_connections_per_address, Some(50));

    let map = &config.maps[0];
    assert!(matches!(&map.kind, Kind::Map(map) if map.max_reply == 5000));
    assert_eq!(map.timeout, Duration::from_secs(90), "inherited and capped");
    assert!(map.request.headers["authorization"].is_sensitive());
    assert_eq!(map.request.headers["content-type"], "application/json");
    assert_eq!(map.request.headers["host"], "example.org");
    let policy = &config.policies[0];
    assert!(matches!(&policy.kind, Kind::Policy(policy) if policy.on_failure == OnFailure::Disconnect));
    assert_eq!((policy.timeout, policy.status_code), (Duration::from_millis(500), 200));
    assert_eq!(config.logins.len(), 1);
}

#[test]
fn anchors_aliases_and_merges_are_read() {
    let text = r"
x-api: &api
  target: http://localhost/
  payload: '{{ .Key | json }}'
  value_field: v
  timeout: 3s
socket_maps:
  one: *api
  two:
    <<: *api
    timeout: 5s
policy_services:
  p: {<<: [*api], on_failure: DUNNO}
";
    let config = good(text);
    let times = config.maps.iter().map(|map| (map.name.as_str(), map.timeout.as_secs()));
    assert_eq!(times.collect::<Vec<_>>(), [("one", 3), ("two", 5)]);
    assert_eq!(config.policies[0].timeout, Duration::from_secs(3));
    one(&text.replace("5s", "5"), "11:14 socket_maps.two.timeout: a duration needs a unit");
    let of_both = told(&text.replace("timeout: 3s", "timeout: 3"));
    assert!(of_both.len() == 2 && of_both.iter().all(|told| told.starts_with("6:12 ")), "{of_both:#?}");
}

#[test]
fn defaults_need_no_server() {
    let config = good(&map(""));
    assert!(config.server.sockets.listen.is_empty());
    assert_eq!(config.server.sockets.ipc.socket.path, Path::new("/run/pfxhttp/broker.sock"));
    assert_eq!(config.server.sockets.ipc.socket.mode, 0o660);
    assert_eq!((config.server.logging.json, config.server.logging.level), (false, Level::Info));
    assert_eq!(config.maps[0].timeout, Duration::from_secs(30));
    assert!(matches!(&config.maps[0].kind, Kind::Map(map) if map.max_reply == 100_000));
    good("server: ~\nsocket_maps: ~\n");
    good("{\"server\": {\"logging\": {\"level\": \"none\"}}}");
    good("\u{feff}server:\r\n  logging:\r\n    level: none\r\n");
}

#[test]
fn booleans_and_numbers_may_stand_in_quotes() {
    for (text, json) in
        [("\"true\"", true), ("'True'", true), ("\"1\"", true), ("\"FALSE\"", false), ("'f'", false)]
    {
        let server = format!(
            r#"server:
  logging: {{json: {text}}}
  max_connections: "587"
"#
        );
        let config = good(&server);
        assert_eq!((config.server.logging.json, config.server.max_connections), (json, Some(587)), "{text}");
    }
    let tls = good(
        r#"server: {tls: {enabled: "false"}}
x-own: {anything: [1, {deep: ~}]}
x-: 5
"#,
    );
    assert!(tls.maps.is_empty());
    let of = |ratio: &str| {
        let keys = format!("otel_enabled: true, otel_traces_enabled: true, otel_sample_ratio: {ratio}");
        let collector = "otel_exporter_otlp_endpoint: \"http://localhost:4318\"";
        format!("{:?}", good(&format!("server: {{observability: {{{keys}, {collector}}}}}\n")).server.otlp)
    };
    assert_eq!(of("\"0.25\""), of("0.25"));
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, nanos) in [
        ("1.5s", 1_500_000_000),
        ("30m0.5m", 1_830_000_000_000),
        (".5s1.s", 1_500_000_000),
        ("1.0000000019s", 1_000_000_001),
        ("1500ms", 1_500_000_000),
        ("1100000\u{b5}s", 1_100_000_000),
        ("1100000\u{3bc}s", 1_100_000_000),
        ("1m30s", 90_000_000_000),
    ] {
        let config = good(&format!("server: {{http_client: {{idle_connection_timeout: {text}}}}}\n"));
        assert_eq!(config.server.http.idle_connection_timeout, Duration::from_nanos(nanos), "{text}");
    }
}

/// Each text has exactly one problem, which is told so.
#[test]
fn each_mistake_is_told_at_its_place() {
    let cases: &[(&str, &str)] = &[
        ("", "the configuration is empty"),
        ("# nothing\n", "the configuration is empty"),
        ("- a\n", "1:1 : expected keys and values, found a list"),
        ("hello", "1:1 : expected keys and values, found a string"),
        ("server: 5\n", "1:9 server: expected keys and values, found a number"),
        ("server:\n  listen: 5\n", "2:11 server.listen: expected a list, found a number"),
        (
            r"server:
  listen:
    type: tcp
",
            "3:5 server.listen: expected a list, found keys and values (a single one is a list, too",
        ),
        ("socket_maps: []\n", "1:14 socket_maps: expected keys and values, found a list"),
        ("server:\n\tlogging: ~\n", "2:2 : this is not YAML"),
        ("server: {\n", "this is not YAML"),
        (
            r"server: ~
---
server: ~
",
            "2:1 : a second document",
        ),
        ("server: ~\nserver: ~\n", "2:1 server: duplicate key; first at line 1, column 1"),
        ("server: {logging: {level: info, \"level\": debug}}", "1:33 server.logging.level: duplicate key"),
        ("socket_maps:\n  12: {}\n", "2:3 socket_maps.12: a key must be a text (write it in quotes: \"12\")"),
        ("? [a]\n: b\n", "1:3 : a key must be a text"),
        ("x: {}\n", "1:1 x: unknown key"),
        ("server: {x-a: 1}\n", "1:10 server.x-a: unknown key"),
        ("server: !x ~\n", "1:9 server: a tag"),
        ("sever: ~\n", "1:1 sever: unknown key (did you mean `server`?)"),
        ("Server: ~\n", "1:1 Server: unknown key (did you mean `server`?)"),
        ("server:\n  socket-maps: ~\n", "2:3 server.socket-maps: unknown key"),
        (
            "server:\n  timeout: 5s\n",
            "2:3 server.timeout: unknown key (what entries inherit is `server.http_client.timeout`",
        ),
        ("level: info\n", "1:1 level: unknown key (it belongs in server.logging)"),
        (
            r"server:
  logging:
    level: info
    levle: x
",
            "4:5 server.logging.levle: unknown key (did you mean `level`?)",
        ),
        (
            r"server:
  logging:
    level: warn
",
            "3:12 server.logging.level: must be one of: none, error, info, debug",
        ),
        (
            r"server:
  logging:
    level: Debug
",
            "did you mean `debug`?",
        ),
        (
            r"server:
  logging:
    json: maybe
",
            "3:11 server.logging.json: expected true or false, found a string",
        ),
        (
            r#"server:
  logging:
    json: "yes"
"#,
            "expected true or false, found a string",
        ),
        ("server:\n  max_connections: 0\n", "2:20 server.max_connections: must be at least 1"),
        (
            "server:\n  max_connections_per_address: 0\n",
            "2:32 server.max_connections_per_address: must be at least 1",
        ),
        (
            "server:\n  max_connections: -5\n",
            "2:20 server.max_connections: expected a whole number, found a negative number",
        ),
        (
            "server:\n  socketmap_max_reply_size: 1048577\n",
            "2:29 server.socketmap_max_reply_size: must be from 1 to 1048576",
        ),
        (
            r"server:
  http_client:
    timeout: 30
",
            "3:14 server.http_client.timeout: a duration needs a unit (write 30s)",
        ),
        (
            r"server:
  http_client:
    timeout: 1.5h
",
            "must be from 1s to 1h",
        ),
        (
            r"server:
  http_client:
    timeout: 1.5.5s
",
            "not a duration (numbers with units, as 500ms, 1.5s",
        ),
        (
            r"server:
  http_client:
    timeout: .s
",
            "not a duration",
        ),
        (
            r"server:
  http_client:
    timeout: 1.5
",
            "expected a string, found a number that is not whole",
        ),
        (
            r"server:
  http_client:
    timeout: -5s
",
            "not a duration",
        ),
        (
            r"server:
  http_client:
    timeout: 5 s
",
            "not a duration",
        ),
        (
            r"server:
  http_client:
    timeout: 2h
",
            "must be from 1s to 1h",
        ),
        (
            r"server:
  http_client:
    timeout: 1M
",
            "not a duration",
        ),
        (
            r"server:
  http_client:
    timeout: 99999999999999999999h
",
            "not a duration",
        ),
        (
            r#"server:
  http_client:
    timeout: ""
"#,
            "3:14 server.http_client.timeout: not a duration",
        ),
        ("server:\n  ipc: {path: run/x}\n", "2:15 server.ipc.path: must be an absolute path"),
        (
            "server:\n  ipc: {allow_users: [a, [b]]}\n",
            "2:26 server.ipc.allow_users[1]: expected a string, found a list",
        ),
        (
            "server:\n  ipc: {allow_users: [a, 'b c']}\n",
            "2:26 server.ipc.allow_users[1]: must be a name or a number",
        ),
        ("server:\n  ipc: {mode: 0640}\n", "2:15 server.ipc.mode: a mode must stand in quotes (as \"0640\")"),
        (
            "server:\n  ipc: {mode: 0o640}\n",
            "2:15 server.ipc.mode: a mode must stand in quotes (as \"0660\")",
        ),
        ("server:\n  ipc: {mode: \"660\"}\n", "2:15 server.ipc.mode: a mode is octal and begins with 0"),
        ("server:\n  ipc: {mode: \"0888\"}\n", "a mode is octal"),
        ("server:\n  ipc: {mode: \"07777\"}\n", "a mode is octal"),
        ("server:\n  chroot: /x\n", "2:11 server.chroot: must be the absolute path"),
        (
            "server:\n  admin: {path: /run/pfxhttp/broker.sock}\n",
            "2:17 server.admin.path: this is the path of the socket of server.ipc",
        ),
        ("server:\n  logging: {log_keys: sometimes}\n", "2:23 server.logging.log_keys: "),
        (
            "server:\n  http_client: {proxy: x}\n",
            "2:24 server.http_client.proxy: a URL begins with http:// or https://",
        ),
        ("server:\n  http_client: {proxy: 'http://p/x'}\n", "a proxy's URL ends behind its host and port"),
        ("dovecot_sasl: []\n", "1:15 dovecot_sasl: expected keys and values, found a list"),
    ];
    for (text, expected) in cases {
        one(text, expected);
    }
}

fn one(text: &str, expected: &str) {
    let told = told(text);
    assert!(told.len() == 1 && told[0].contains(expected), "{text}\ngives {told:#?}\nand not {expected}");
}

#[test]
fn each_mistake_in_an_entry_is_told_at_its_place() {
    let long = "x".repeat(300);
    let cases: &[(&str, &str)] = &[
        ("    targett: x\n", "6:5 socket_maps.m.targett: unknown key (did you mean `target`?)"),
        (&format!("    {long}: x\n"), "6:5 socket_maps.m.xxx"),
        ("    port: 5\n", "6:5 socket_maps.m.port: unknown key (it belongs in an item of server.listen)"),
        ("    cache_key: [a]\n", "unknown key (it belongs in an entry of policy_services)"),
        (
            "    sasl_oidc_auth: {}\n",
            "6:5 warning socket_maps.m.sasl_oidc_auth: has no effect outside dovecot_sasl",
        ),
        ("    no_error_value: 0\n", "6:5 warning socket_maps.m.no_error_value: has no effect without"),
        ("    status_code: 99\n", "6:18 socket_maps.m.status_code: must be from 100 to 599"),
        ("    status_code: [200]\n", "6:18 socket_maps.m.status_code: expected a whole number, found a list"),
        ("    status_code: 200.5\n", "found a number that is not whole"),
        ("    error_field: \"\"\n", "6:18 socket_maps.m.error_field: must name a field"),
        ("    timeout: 91s\n", "6:14 socket_maps.m.timeout: must be from 1ms to 1m 30s"),
        ("    timeout: 0s\n", "6:14 socket_maps.m.timeout: must be from 1ms"),
        (
            "    custom_headers: \"A: b\"\n",
            "6:21 socket_maps.m.custom_headers: expected a list, found a string",
        ),
        (
            r#"    custom_headers:
      - "A: b"
      - nothing
"#,
            "8:9 socket_maps.m.custom_headers[1]: a header is written",
        ),
        (
            "    custom_headers: [\"Content-Length: 5\"]\n",
            "6:22 socket_maps.m.custom_headers[0]: `content-length` cannot be set",
        ),
        ("    custom_headers: [\"a b: c\"]\n", "not a header's name"),
        ("    custom_headers: [\"A: \"]\n", "`a` has no value"),
        ("    custom_headers: [\"A: b\\nC: d\"]\n", "the value of `a` must be printable ASCII"),
        (
            "    custom_headers: [\"Host: a\", \"host: b\"]\n",
            "6:33 socket_maps.m.custom_headers[1]: `host` is a duplicate",
        ),
    ];
    for (lines, expected) in cases {
        one(&map(lines), expected);
    }
}

#[test]
fn each_mistake_in_a_target_is_told() {
    for (target, expected) in [
        ("ftp://h/", "begins with http:// or https://"),
        ("example.org", "begins with http:// or https://"),
        ("http://", "not a URL"),
        ("http://h:0/", "needs a host, and a port"),
        ("http://h:99999/", "not a URL: invalid port number"),
        ("http://joe:pw@h/", "must not hold a user name"),
        ("\"http://localhost/#a\"", "fragment"),
        ("\"http://localhost/a b\"", "no blanks"),
    ] {
        let text = map("").replace("http://localhost/", target);
        one(&text, expected);
        assert!(told(&text)[0].starts_with("3:13 socket_maps.m.target: "), "{target}");
        assert!(!shown(&check(&text).expect_err("wrong")).contains("joe:pw"));
    }
}

#[test]
fn what_an_entry_must_have() {
    assert_eq!(
        told(
            r"policy_services:
  p:
    status_code: 200
socket_maps: {m: ~}
"
        ),
        [
            "2:3 policy_services.p: `target` is missing",
            "2:3 policy_services.p: `payload` is missing",
            "2:3 policy_services.p: `value_field` is missing",
            "4:15 socket_maps.m: `target` is missing",
            "4:15 socket_maps.m: `payload` is missing",
            "4:15 socket_maps.m: `value_field` is missing",
        ]
    );
    // A value that was found wrong is not missing as well.
    one(
        &map("").replace("http://localhost/", "[1]"),
        "3:13 socket_maps.m.target: expected a string, found a list",
    );
    for name in ["'a b'", "'a:b'", "\"a\\nb\"", "''"] {
        one(&map("").replace("  m:", &format!("  {name}:")), "a name holds no blanks");
    }
    good(&map("").replace("  m:", "  'a.b@c/ä':"));
}

#[test]
fn what_a_policy_says_on_failure() {
    let policy = |on_failure: &str| {
        format!(
            r"policy_services:
  p:
    target: http://localhost/
    payload: '{{{{ .Key }}}}'
    value_field: v
    on_failure: {on_failure}
"
        )
    };
    good(&policy("DUNNO"));
    one(&policy("450"), "6:17 policy_services.p.on_failure: a code needs a text behind it");
    one(&policy("''"), "6:17 policy_services.p.on_failure: an action must not be empty");
}
