//! How problems are shown: in the order of the file, with their places, and without secrets.

use super::*;

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

/// One run tells all that is wrong, each with its place and most with what helps.
#[test]
fn all_mistakes_of_a_file_are_told_in_one_run() {
    let text = r#"sever: {}
server:
  listen:
    - {kind: socket_mapp, type: tcp, address: 127.0.0.1}
    - {kind: policy_service, name: Recipients, type: unix, address: run/x}
    - {kind: socket_map, type: tcp, address: localhost.example}
  ipc: {mode: 0660}
  logging: {level: Debug, jsn: true}
  http_client: {timeout: 30}
  timeout: 5s
  max_connections: -1
socket_maps:
  m:
    target: ftp://h/
    payload: '{"k": {{ .Kye }}}'
    value_feld: v
    status_code: 999
    custom_headers: {A: b}
policy_services:
  recipients: {target: http://localhost/, payload: '{{ .Key }}', value_field: v, on_failure: "450"}
"#;
    let told = told(text);
    for (expected, hint) in [
        ("1:1 sever: unknown key", "`server`"),
        ("4:14 server.listen[0].kind: must be one of", "`socket_map`"),
        ("5:36 server.listen[1].name: there is no entry", "\"recipients\""),
        ("5:69 server.listen[1].address: must be an absolute path", ""),
        ("6:46 server.listen[2].address: numeric addresses only", "127.0.0.1"),
        ("7:15 server.ipc.mode: a mode must stand in quotes", "0660"),
        ("8:20 server.logging.level: must be one of", "`debug`"),
        ("8:27 server.logging.jsn: unknown key", "`json`"),
        ("9:26 server.http_client.timeout: a duration needs a unit", "30s"),
        ("10:3 server.timeout: unknown key", "server.http_client.timeout"),
        ("11:20 server.max_connections: expected a whole number", ""),
        ("14:13 socket_maps.m.target: a URL begins with", ""),
        ("15:21 socket_maps.m.payload: a map has no `.Kye`", "`.Key`"),
        ("16:5 socket_maps.m.value_feld: unknown key", "`value_field`"),
        ("17:18 socket_maps.m.status_code: must be from 100 to 599", ""),
        ("18:21 socket_maps.m.custom_headers: expected a list", "`- `"),
        ("20:94 policy_services.recipients.on_failure: a code needs a text", "access(5)"),
    ] {
        let found = told.iter().any(|told| told.starts_with(expected) && told.contains(hint));
        assert!(found, "{expected} ({hint}) is not told:\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), 17, "{told:#?}");
}

#[test]
fn a_problem_is_printed_with_its_place_and_without_its_line() {
    let text = map("    custom_headers: []\n    status_code: 99  # odd\n");
    assert_eq!(
        shown(&check(&text).expect_err("wrong")),
        "pfxhttp.yml:7:18: error: socket_maps.m.status_code: must be from 100 to 599\n"
    );
    let unknown = shown(&check("sever: x\n").expect_err("wrong"));
    assert_eq!(unknown, "pfxhttp.yml:1:1: error: sever: unknown key\nhint: did you mean `server`?\n");
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
        map("").replace("http://localhost/", "https://joe:s3cret@h/"),
        map("").replace("http://localhost/", "https://joe:s3c/s3cret@h/"),
    ] {
        let problems = check(&text).expect_err("wrong");
        assert!(!problems.is_empty());
        assert!(!shown(&problems).contains("s3cret"), "{text}\n{}", shown(&problems));
        assert!(!format!("{problems:?}").contains("s3cret"), "{text}");
    }
}

/// `config dump` hides secrets: a configuration made of a copy would send the sign for them.
#[test]
fn a_copy_of_what_a_dump_hides_is_refused() {
    let otlp = "otel_enabled: true, otel_traces_enabled: true, otel_exporter_otlp_endpoint: 'h:1'";
    for (text, place) in [
        (map("    http_auth_basic: …\n"), "6:22 socket_maps.m.http_auth_basic"),
        (map("").replace("'{{ .Key | json }}'", "…"), "4:14 socket_maps.m.payload"),
        (map("    custom_headers: ['A: …']\n"), "6:22 socket_maps.m.custom_headers[0]"),
        (map("").replace("localhost/", "localhost/?…"), "3:13 socket_maps.m.target"),
        (
            map(
                "    backend_oidc_auth: {enabled: true, configuration_uri: 'https://h/', client_id: a, client_secret: …}\n",
            ),
            "6:102 socket_maps.m.backend_oidc_auth.client_secret",
        ),
        (
            format!("server: {{observability: {{{otlp}, otel_exporter_otlp_headers: {{a: …}}}}}}\n"),
            "1:141 server.observability.otel_exporter_otlp_headers.a",
        ),
    ] {
        assert_eq!(told(&text), [format!("{place}: {}", crate::document::DUMPED)], "{text}");
    }
}

#[test]
fn a_word_of_a_name_is_enough_for_a_hint() {
    for (kind, hint) in [
        ("policy", "policy_service"),
        ("map", "socket_map"),
        ("sasl", "dovecot_sasl"),
        ("dovecot", "dovecot_sasl"),
    ] {
        let text = format!("server: {{listen: [{{kind: {kind}, type: tcp, address: '127.0.0.1'}}]}}\n");
        let told = told(&text);
        assert!(told.len() == 1 && told[0].ends_with(&format!("(did you mean `{hint}`?)")), "{told:?}");
    }
}
