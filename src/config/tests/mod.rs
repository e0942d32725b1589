//! Whole configurations: what loads, and what each broken one is told.

mod defaults;
mod entries;
mod environment;
mod logins;
mod oidc;
mod schema;
mod seed;
mod server;
mod syntaxes;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ask::OnFailure;
use crate::target::Kind;

fn check(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    parse(Path::new("pfxhttp.yml"), text)
}

fn good(text: &str) -> Config {
    let (config, warnings) = check(text).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert!(warnings.is_empty(), "{}", shown(&warnings));
    config
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
    format!("socket_maps:\n  m:\n    target: http://h/\n    payload: '{{}}'\n    value_field: v\n{lines}")
}

/// A policy service `p`, and a listener with these keys (from line 3, column 7).
fn listener(keys: &str) -> String {
    format!(
        "server:\n  listen:\n    - {}\npolicy_services:\n  p: {{target: http://h/, payload: '{{}}', value_field: v}}\n",
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
"#;

#[test]
fn the_seeds_example_loads() {
    let config = good(SEED);
    let [map, policy] = &config.server.listen[..] else { panic!("two listeners") };
    assert_eq!(map.speaks, Speaks::Socketmap);
    let loopback = std::net::Ipv6Addr::LOCALHOST.into();
    assert_eq!(map.endpoint, Endpoint::Tcp { address: loopback, port: 23450, v6_only: false });
    assert_eq!(policy.name, "example_policy");
    let Endpoint::Unix(socket) = &policy.endpoint else { panic!("a unix socket") };
    assert_eq!((socket.mode, socket.user.as_deref()), (0o666, Some("1000")));
    assert_eq!(config.server.logging, Logging { json: true, level: Level::Info });
    assert_eq!(config.server.ipc.socket.mode, 0o600);
    assert_eq!(config.server.ipc.allow_users, ["postfix", "99"]);
    assert_eq!(config.server.max_connections, Some(100));

    let map = &config.maps[0];
    assert!(matches!(&map.kind, Kind::Map(map) if map.max_reply == 5000));
    assert_eq!(map.timeout, Duration::from_secs(90), "inherited and capped");
    assert!(map.headers["authorization"].is_sensitive());
    assert_eq!(map.headers["content-type"], "application/json");
    assert_eq!(map.headers["host"], "example.org");
    let policy = &config.policies[0];
    assert!(matches!(&policy.kind, Kind::Policy(policy) if policy.on_failure == OnFailure::Disconnect));
    assert_eq!((policy.timeout, policy.status_code), (Duration::from_millis(500), 200));
}

#[test]
fn defaults_need_no_server() {
    let config = good(&map(""));
    assert!(config.server.listen.is_empty());
    assert_eq!(config.server.ipc.socket.path, Path::new("/run/pfxhttp/broker.sock"));
    assert_eq!(config.server.ipc.socket.mode, 0o660);
    assert_eq!(config.server.logging, Logging { json: false, level: Level::Info });
    assert_eq!(config.maps[0].timeout, Duration::from_secs(30));
    assert!(matches!(&config.maps[0].kind, Kind::Map(map) if map.max_reply == 100_000));
    good("server: ~\nsocket_maps: ~\n");
    good("{\"server\": {\"logging\": {\"level\": \"none\"}}}");
    good("\u{feff}server:\r\n  logging:\r\n    level: none\r\n");
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
        ("server:\n  listen: {}\n", "2:11 server.listen: expected a list, found keys and values"),
        ("socket_maps: []\n", "1:14 socket_maps: expected keys and values, found a list"),
        ("server:\n\tlogging: ~\n", "2:2 : this is not YAML"),
        ("server: {\n", "this is not YAML"),
        ("server: ~\n---\nserver: ~\n", "2:1 : a second document"),
        ("server: ~\nserver: ~\n", "2:1 server: given twice; first at line 1, column 1"),
        ("server: {logging: {level: info, \"level\": debug}}", "1:33 server.logging.level: given twice"),
        ("socket_maps:\n  12: {}\n", "2:3 socket_maps.12: a key must be a text (write it in quotes: \"12\")"),
        ("? [a]\n: b\n", "1:3 : a key must be a text"),
        ("server: &a ~\nsocket_maps: *a\n", "2:14 : an alias is not accepted"),
        ("server: !x ~\n", "1:9 : a tag"),
        ("sever: ~\n", "1:1 sever: unknown key (did you mean `server`?)"),
        ("Server: ~\n", "1:1 Server: unknown key (did you mean `server`?)"),
        ("server:\n  socket-maps: ~\n", "2:3 server.socket-maps: unknown key"),
        ("server:\n  timeout: 5s\n", "2:3 server.timeout: unknown key (it belongs in"),
        ("level: info\n", "1:1 level: unknown key (it belongs in server.logging)"),
        (
            "server:\n  logging:\n    level: info\n    levle: x\n",
            "4:5 server.logging.levle: unknown key (did you mean `level`?)",
        ),
        (
            "server:\n  logging:\n    level: warn\n",
            "3:12 server.logging.level: must be one of: none, error, info, debug",
        ),
        ("server:\n  logging:\n    level: Debug\n", "did you mean `debug`?"),
        (
            "server:\n  logging:\n    json: maybe\n",
            "3:11 server.logging.json: expected true or false, found a string",
        ),
        ("server:\n  max_connections: 0\n", "2:20 server.max_connections: must be at least 1"),
        (
            "server:\n  max_connections: -5\n",
            "2:20 server.max_connections: expected a whole number, found a negative number",
        ),
        (
            "server:\n  socketmap_max_reply_size: 1048577\n",
            "2:29 server.socketmap_max_reply_size: must be from 1 to 1048576",
        ),
        (
            "server:\n  http_client:\n    timeout: 30\n",
            "3:14 server.http_client.timeout: a duration needs a unit (write 30s)",
        ),
        ("server:\n  http_client:\n    timeout: 1.5h\n", "not a duration (whole numbers with units"),
        ("server:\n  http_client:\n    timeout: 2h\n", "must be from 1s to 1h"),
        ("server:\n  http_client:\n    timeout: 1M\n", "not a duration"),
        ("server:\n  http_client:\n    timeout: 99999999999999999999h\n", "not a duration"),
        ("server:\n  http_client:\n    timeout: \"\"\n", "3:14 server.http_client.timeout: not a duration"),
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
        ("server:\n  chroot: /x\n", "2:3 server.chroot: not built yet"),
        ("server:\n  admin: {path: /run/x}\n", "2:3 server.admin: not built yet"),
        ("server:\n  logging: {use_systemd: true}\n", "2:13 server.logging.use_systemd: not built yet"),
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
            "    custom_headers:\n      - \"A: b\"\n      - nothing\n",
            "8:9 socket_maps.m.custom_headers[1]: a header is written",
        ),
        (
            "    custom_headers: [\"Content-Length: 5\"]\n",
            "6:22 socket_maps.m.custom_headers[0]: `content-length` cannot be set",
        ),
        ("    custom_headers: [\"a b: c\"]\n", "no header's name"),
        ("    custom_headers: [\"A: \"]\n", "`a` has no value"),
        ("    custom_headers: [\"A: b\\nC: d\"]\n", "the value of `a` must be printable ASCII"),
        (
            "    custom_headers: [\"Host: a\", \"host: b\"]\n",
            "6:33 socket_maps.m.custom_headers[1]: `host` is given twice",
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
        ("\"http://h/#a\"", "fragment"),
        ("\"http://h/a b\"", "no blanks"),
    ] {
        let text = map("").replace("http://h/", target);
        one(&text, expected);
        assert!(told(&text)[0].starts_with("3:13 socket_maps.m.target: "), "{target}");
        assert!(!shown(&check(&text).expect_err("wrong")).contains("joe:pw"));
    }
}

#[test]
fn what_an_entry_must_have() {
    assert_eq!(
        told("policy_services:\n  p:\n    status_code: 200\nsocket_maps: {m: ~}\n"),
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
    one(&map("").replace("http://h/", "[1]"), "3:13 socket_maps.m.target: expected a string, found a list");
    for name in ["'a b'", "'a:b'", "\"a\\nb\"", "''"] {
        one(&map("").replace("  m:", &format!("  {name}:")), "a name holds no blanks");
    }
    good(&map("").replace("  m:", "  'a.b@c/ä':"));
}

#[test]
fn what_a_policy_says_on_failure() {
    let policy = |on_failure: &str| {
        format!(
            "policy_services:\n  p:\n    target: http://h/\n    payload: x\n    value_field: v\n    on_failure: {on_failure}\n"
        )
    };
    good(&policy("DUNNO"));
    one(&policy("450"), "6:17 policy_services.p.on_failure: a code needs a text behind it");
    one(&policy("''"), "6:17 policy_services.p.on_failure: an action must not be empty");
}

#[test]
fn each_mistake_in_a_listener_is_told_at_its_place() {
    let tcp = "kind: socket_map\ntype: tcp\naddress: 127.0.0.1\n";
    let unix = "kind: socket_map\ntype: unix\naddress: /a\n";
    let long = format!("kind: socket_map\ntype: unix\naddress: /{}\n", "a".repeat(99));
    let item = "server.listen[0]";
    let cases: &[(&str, &str)] = &[
        ("~", "3:7 server.listen[0]: this listener is empty"),
        ("5", "3:7 server.listen[0]: expected keys and values, found a number"),
        ("type: tcp\naddress: 127.0.0.1", "3:7 server.listen[0]: `kind` is missing (one of: socket_map"),
        ("kind: socket_map\naddress: 127.0.0.1", "3:7 server.listen[0]: `type` is missing"),
        ("kind: socket_map\ntype: tcp", "3:7 server.listen[0]: `address` is missing"),
        ("kind: 5\ntype: tcp\naddress: ::1", "3:13 server.listen[0].kind: expected a string, found a number"),
        (
            "kind: socketmap\ntype: tcp\naddress: ::1",
            "3:13 server.listen[0].kind: must be one of: socket_map, policy_service, dovecot_sasl (did you mean `socket_map`?)",
        ),
        (
            "kind: socket_map\ntype: udp\naddress: ::1",
            "4:13 server.listen[0].type: must be one of: tcp, tcp6, unix",
        ),
        ("kind: policy_service\ntype: tcp\naddress: ::1", "3:7 server.listen[0]: `name` is missing"),
        (
            "kind: policy_service\nname: q1234\ntype: tcp\naddress: ::1",
            "4:13 server.listen[0].name: there is no entry \"q1234\" in policy_services",
        ),
        (
            "kind: policy_service\nname: P\ntype: tcp\naddress: ::1",
            "(there is \"p\": names are case-sensitive)",
        ),
        (
            "kind: socket_map\nname: a b\ntype: tcp\naddress: ::1",
            "4:13 server.listen[0].name: a name holds letters",
        ),
        (
            "kind: socket_map\ntype: tcp\naddress: example.org",
            "5:16 server.listen[0].address: numeric addresses only",
        ),
        ("kind: socket_map\ntype: tcp\naddress: '[127.0.0.1]'", "numeric addresses only"),
        (
            "kind: socket_map\ntype: tcp6\naddress: 127.0.0.1",
            "5:16 server.listen[0].address: tcp6 needs an IPv6 address",
        ),
        (
            "kind: socket_map\ntype: tcp\naddress: '[::]'",
            "5:7 warning server.listen[0].address: listens beyond loopback",
        ),
        (&format!("{tcp}port: 0"), "6:13 server.listen[0].port: must be from 1 to 65535"),
        (&format!("{tcp}port: 65536"), "6:13 server.listen[0].port: must be from 1 to 65535"),
        (&format!("{tcp}port: x"), "6:13 server.listen[0].port: expected a whole number, found a string"),
        (&format!("{tcp}mode: '0600'"), "6:7 warning server.listen[0].mode: has no effect"),
        (
            &format!("{tcp}worker_pool: {{max_workers: 0}}"),
            "6:34 server.listen[0].worker_pool.max_workers: must be from 1 to 1048576",
        ),
        (
            &format!("{tcp}worker_pool: {{max_queue: 5}}"),
            "6:21 warning server.listen[0].worker_pool.max_queue",
        ),
        (&format!("{tcp}systemd_socket_name: a"), "6:7 server.listen[0].systemd_socket_name: not built yet"),
        (&format!("{unix}port: 5"), "6:7 warning server.listen[0].port: has no effect"),
        (
            &format!("{unix}mode: 660"),
            "6:13 server.listen[0].mode: a mode must stand in quotes (as \"0660\")",
        ),
        (&format!("{unix}user: 'a:b'"), "6:13 server.listen[0].user: must be a name or a number"),
        (&long, "5:16 server.listen[0].address: a socket's path has at most 99 bytes"),
        (
            "kind: socket_map\ntype: unix\naddress: a",
            "5:16 server.listen[0].address: must be an absolute path",
        ),
        ("kind: socket_map\ntype: unix\naddress: /a/", "must name a socket"),
        (
            "kind: socket_map\ntype: unix\naddress: /run//pfxhttp/broker.sock",
            "the path of the socket of server.ipc",
        ),
    ];
    for (keys, expected) in cases {
        assert!(!expected.contains("[0]") || expected.contains(item));
        one(&listener(keys), expected);
    }
}

#[test]
fn two_listeners_need_two_endpoints() {
    let two = |one: &str, other: &str| {
        told(&format!(
            "server:\n  listen:\n    - {{kind: socket_map, {one}}}\n    - {{kind: socket_map, {other}}}\n"
        ))
        .into_iter()
        .filter(|told| !told.contains("warning"))
        .collect::<Vec<_>>()
    };
    let same = "type: tcp, address: 127.0.0.1, port: 5";
    assert_eq!(
        two(same, same),
        ["4:46 server.listen[1].address: the same endpoint as server.listen[0] at line 3, column 46"]
    );
    let any = "type: tcp, address: '::', port: 5";
    assert_eq!(two(same, any).len(), 1, "dual-stack");
    assert_eq!(two(same, "type: tcp6, address: '::', port: 5").len(), 0);
    assert_eq!(two(same, "type: tcp, address: 127.0.0.2, port: 5").len(), 0);
    assert_eq!(two("type: tcp, address: '::1'", "type: tcp, address: '::1'"), [""; 0], "the system chooses");
    assert_eq!(two("type: unix, address: /a/b", "type: unix, address: /a/./b").len(), 1);
}

#[test]
fn all_blocks_are_told_in_one_run_in_order() {
    let text = "server:\n  listen:\n    - {kind: x, type: y}\n    - {port: []}\n  logging: 5\n  bad: 1\nsocket_maps:\n  a: 5\n  b: {target: 5}\n";
    let told = told(text);
    for part in ["3:14 ", "3:23 ", "4:14 ", "5:12 ", "6:3 ", "8:6 ", "9:15 "] {
        assert!(told.iter().any(|told| told.starts_with(part)), "{part}: {told:#?}");
    }
    let lines: Vec<usize> = check(text)
        .expect_err("wrong")
        .iter()
        .filter_map(|problem| problem.place.map(|at| at.line))
        .collect();
    assert!(lines.is_sorted());
}

#[test]
fn a_problem_is_printed_with_its_line() {
    let text = map("    custom_headers: []\n    status_code: 99  # \x07 odd\n");
    assert_eq!(
        shown(&check(&text.replace('\x07', "")).expect_err("wrong")),
        "pfxhttp.yml:7:18: error: socket_maps.m.status_code: must be from 100 to 599\n\
         7 |     status_code: 99  #  odd\n\
         \x20 |                  ^\n"
    );
    let unknown = shown(&check("sever: x\n").expect_err("wrong"));
    assert_eq!(
        unknown,
        "pfxhttp.yml:1:1: error: sever: unknown key\n1 | sever: …\n  | ^\nhint: did you mean `server`?\n"
    );
}

#[test]
fn a_long_line_is_cut_around_the_caret() {
    let text = format!(
        "{{socket_maps: {{a: {{payload: \"{}\", status_code: 5, error_field: {}}}}}}}",
        "x".repeat(500),
        "y".repeat(500)
    );
    let problems = check(&text).expect_err("wrong");
    let problem = problems.iter().find(|problem| problem.key.ends_with("status_code")).expect("the status");
    let printed = problem.to_string();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[1].chars().count() < 170, "{printed}");
    let caret = lines[2].chars().count() - 1;
    assert_eq!(lines[1].chars().nth(caret), Some('5'), "{printed}");
}

#[test]
fn no_problem_shows_a_secret() {
    for text in [
        map("    custom_headers: s3cret\n"),
        map("    custom_headers: [s3cret]\n"),
        map("    custom_headers: [\"s3cret s3cret: s3cret\"]\n"),
        map("    custom_headers:\n      - \"A: s3cret\\n\"\n      - s3cret\n      - 5: s3cret\n"),
        map("    custom_headers:\n    - s3cret: s3cret\n"),
        map("    custom_headers: {A: s3cret}\n"),
        map("    \"custom\\u005fheaders\":\n      - s3cret\n      - [s3cret]\n"),
        map("    client_secert: s3cret\n"),
        map("    cache: {fresh: 5, client_secert: s3cret}\n"),
        map("    http_auth_basic: [joe:s3cret]\n"),
        map("    http_auth_basic: s3cret\n"),
        map("    http_auth_basic: joe:s3cret\n    http_auth_basic_file: /dev/null\n"),
        map("    http_auth_basic: joe:s3cret\n    status_code: 99\n"),
        map("    backend_oidc_auth: {enabled: true, client_secret: s3cret}\n"),
        map("    client_secret: \"s3cret\n   s3cret\n"),
        map("    client_secret: \"s3cret\" s3cret\n"),
        map("    client_secret: [s3cret\n    s3cret: s3cret: s3cret\n"),
        map("    client_secret: s3cret: s3cret\n"),
        map("    client_secret: @s3cret\n"),
        map("    client_secret: *s3cret\n"),
        map("    client_secret: !!int s3cret\n"),
        map("    client_secret: {s3cret: a, s3cret: b}\n"),
        map("    client_secret: a\n    client_secret: s3cret\n"),
        map("").replace("http://h/", "https://joe:s3cret@h/"),
        map("").replace("http://h/", "https://joe:s3c/s3cret@h/"),
    ] {
        let problems = check(&text).expect_err("wrong");
        assert!(!problems.is_empty());
        assert!(!shown(&problems).contains("s3cret"), "{text}\n{}", shown(&problems));
        assert!(!format!("{problems:?}").contains("s3cret"), "{text}");
    }
}

#[test]
fn what_follows_a_secret_is_shown() {
    for secret in [
        "\n      - \"A: b\"\n      - C\n",
        "\n    - A\n",
        " [A,\n      B]\n",
        " |\n      x\n      y\n",
        " >-\n      x\n\n",
        " 'x\n      y'\n",
    ] {
        let text = map(&format!("    custom_headers:{secret}    status_code: 99\n"));
        let printed = shown(&check(&text).expect_err("wrong"));
        assert!(printed.contains(" |     status_code: 99\n"), "{text}\n{printed}");
    }
}

#[test]
fn many_problems_are_cut() {
    let text: String = (0..500).map(|number| format!("key_{number}: x\n")).collect();
    assert_eq!(check(&text).expect_err("wrong").len(), 100);
}

#[test]
fn deep_and_large_texts_are_refused_in_time() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        assert!(check(&text).is_err());
    }
}

/// Lines that a careless editor might leave behind.
fn fragments() -> impl Strategy<Value = String> {
    let words = SEED.lines().chain([
        "&a",
        "*a",
        "!!int x",
        "? x",
        ": y",
        "- -",
        "\"",
        "'",
        "|",
        ">",
        "{",
        "}",
        "[",
        "]",
        "---",
        "...",
        "%YAML 9",
        "\t",
        "client_secret: \"x",
        "mode: 0660",
        "<<: *a",
        "\u{feff}",
        "\u{85}",
        "\0",
        "#",
        "~",
    ]);
    let words: Vec<String> = words.map(str::to_owned).collect();
    prop::collection::vec(prop::sample::select(words), 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = told(&text);
    }

    #[test]
    fn no_mixture_makes_it_panic(text in fragments()) {
        if let Err(problems) = check(&text) {
            prop_assert!(!problems.is_empty());
            let _ = shown(&problems);
        }
    }

    #[test]
    fn no_cut_makes_it_panic(from in 0..SEED.len(), length in 0..80_usize, put in ".{0,4}") {
        let end = (from + length).min(SEED.len());
        let text = format!("{}{put}{}", &SEED[..from], &SEED[end..]);
        let problems = match check(&text) { Ok((_, warnings)) => warnings, Err(problems) => problems };
        if text.contains("custom_headers:\n") || text.contains("Authorization:") {
            prop_assert!(!shown(&problems).contains("Bearer <token>"), "{}", shown(&problems));
        }
    }
}
