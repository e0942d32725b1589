//! The keys of entries: requests, answers, logins, and secrets in files.

use std::collections::HashSet;

use super::*;
use crate::lookup::{Absent, Method};

#[test]
fn a_map_says_how_it_asks_and_what_answers_mean() {
    let config = good(&map(r#"    http_auth_basic: 'joe:p:w'
    http_request_compression: true
    http_response_compression: true
    not_found_status: [404, "410"]
    empty_value: not_found
    false_is_not_found: true
    absent_value: error
    domains: [Example.COM, ä.example]
    cache: {outage: false, fresh: 10s, negative: 5s, stale_while_revalidate: 1m}
"#));
    let map = &config.maps[0];
    assert_eq!(map.request.headers["authorization"], "Basic am9lOnA6dw==");
    assert!(map.request.headers["authorization"].is_sensitive());
    assert!(map.request.compress_request && map.request.compress_response);
    assert_eq!((map.method, map.absent_value), (Method::Post, Absent::Failure));
    assert_eq!(map.cache.stale_while_revalidate, Duration::from_secs(60));
    let Kind::Map(own) = &map.kind else { panic!("a map") };
    assert!(own.empty_is_not_found && own.false_is_not_found);
    assert!(!own.failure_is_not_found && !own.perm_as_temp);
    assert_eq!(own.not_found_status, [404, 410]);
    let domains = ["example.com", "xn--4ca.example"].map(str::to_owned);
    assert_eq!(own.domains, Some(HashSet::from(domains)));
}

#[test]
fn an_entry_that_asks_the_same_of_every_lookup_is_warned_of() {
    const MAP: &str = "neither the URL nor the payload holds the key: all lookups get the same answer";
    const POLICY: &str =
        "neither the URL nor the payload holds an attribute: all requests get the same answer";
    let entry = |section: &str, target: &str, how: &str| {
        format!("{section}:\n  e: {{target: '{target}', {how}, value_field: v}}\n")
    };
    let cases = [
        ("socket_maps", "http://h/", "payload: '{\"a\": 1}'", "payload", MAP),
        ("socket_maps", "http://h/", "payload: '{\"map\": {{ .Name }}}'", "payload", MAP),
        ("socket_maps", "http://h/u?k=1", "method: GET", "target", "the URL does not hold the key"),
        ("socket_maps", "http://h/{{ .Name | urlencode }}", "method: GET", "target", "the URL does not"),
        ("policy_services", "http://h/", "payload: '{}'", "payload", POLICY),
        ("policy_services", "http://h/", "method: GET", "target", "the URL holds no attribute"),
    ];
    for (section, target, how, key, expected) in cases {
        one(&entry(section, target, how), &format!("warning {section}.e.{key}: {expected}"));
    }
    for (section, target, how) in [
        ("socket_maps", "http://h/", "payload: '{\"k\": \"{{ .Key | domain }}\"}'"),
        ("socket_maps", "http://h/{{ .Key | urlencode }}", "payload: '{}'"),
        ("socket_maps", "http://h/?k={{ .Key | urlencode }}", "method: GET"),
        ("policy_services", "http://h/", "payload: '{{ .Key }}'"),
        ("policy_services", "http://h/", "payload: '{\"s\": {{ .Sender }}}'"),
        ("policy_services", "http://h/{{ .ClientAddress | urlencode }}", "method: GET"),
    ] {
        good(&entry(section, target, how));
    }
    let told = told(&map("    method: GET\n"));
    let due = [
        "3:5 warning socket_maps.m.target: the URL does",
        "4:5 warning socket_maps.m.payload: has no effect",
    ];
    assert!(told.len() == 2 && told.iter().zip(due).all(|(told, due)| told.starts_with(due)), "{told:#?}");
    let targets = "targets: ['http://a/', 'http://b/'], method: GET, value_field: v";
    one(
        &format!("socket_maps: {{m: {{{targets}}}}}\n"),
        "warning socket_maps.m.targets[0]: the URL does not",
    );
}

#[test]
fn a_target_may_hold_insertions_in_path_and_query() {
    let get = |target: &str| {
        format!(
            r"socket_maps:
  m:
    target: {target}
    method: GET
    value_field: v
"
        )
    };
    for target in ["http://h/u/{{ .Key | urlencode }}", "http://h:81?k={{ .Key | urlencode }}&x=%20"] {
        let config = good(&get(target));
        let map = &config.maps[0];
        let url = map.upstream.url();
        assert_eq!((url.host_str(), url.path(), url.query()), (Some("h"), "/", None), "{target}");
        assert!(map.path.is_some() && map.payload.is_none());
    }
    for (target, expected) in [
        (
            "http://{{ .Key | urlencode }}/",
            "3:20 socket_maps.m.target: scheme, host and port hold no insertion",
        ),
        ("http://h:{{ .Key | raw }}", "3:22 socket_maps.m.target: scheme, host"),
        ("'{{ .Key | raw }}://h/'", "3:14 socket_maps.m.target: scheme, host"),
        ("http://h/{{ .Key }}", "3:22 socket_maps.m.target: this is not JSON"),
        ("http://h/a/./{{ .Key | raw }}", "no segment `.` or `..`"),
        ("http://h/a/%2e./{{ .Key | raw }}", "no segment `.` or `..`"),
        ("http://h/ü{{ .Key | raw }}", "holds no 'ü'"),
        ("\"http://h/ {{ .Key | raw }}\"", "holds no ' '"),
        ("'http://h/{{ .Key | raw }}#a'", "must not hold a fragment"),
        ("http://u:s3cret@h/{{ .Key | raw }}", "must not hold a user name"),
        ("http://h?k={{ .Kye | raw }}", "3:24 socket_maps.m.target: a map has no `.Kye`"),
        ("http://h?k={{ .Key | json }}", "3:24 socket_maps.m.target: `json` does not escape for a URL"),
        ("http://h/a/..%2fb/{{ .Key | raw }}", "no segment `.` or `..`"),
        ("http://h/{{ .Key | strip_extension | raw }}", "3:13 socket_maps.m.target: `strip_extension` needs"),
        ("'http://h/{{ .Key'", "3:23 socket_maps.m.target: `{{` without"),
    ] {
        one(&get(target), expected);
    }
}

#[test]
fn each_mistake_in_the_keys_of_an_entry_is_told() {
    for (lines, expected) in [
        ("    method: PUT\n", "6:13 socket_maps.m.method: must be one of: POST, GET"),
        ("    http_auth_basic: joe\n", "6:22 socket_maps.m.http_auth_basic: must be `user:password`"),
        ("    http_auth_basic: ':pw'\n", "must be `user:password`"),
        ("    http_auth_basic: \"a:b\\n\"\n", "must be `user:password`"),
        (
            "    http_auth_basic: a:b\n    custom_headers: ['authorization: x']\n",
            "6:5 socket_maps.m.http_auth_basic: `custom_headers` hold an `Authorization` as well",
        ),
        ("    not_found_status: [200]\n", "6:24 socket_maps.m.not_found_status[0]: is `status_code`"),
        ("    not_found_status: 404\n", "expected a list, found a number"),
        ("    empty_value: x\n", "must be one of: error, not_found"),
        ("    absent_value: x\n", "must be one of: not_found, error"),
        ("    domains: ['a@b']\n", "6:15 socket_maps.m.domains[0]: a domain is not empty"),
        ("    domains: [xn--0.example]\n", "6:15 socket_maps.m.domains[0]: this cannot be a domain"),
        ("    error_field: ''\n", "6:18 socket_maps.m.error_field: must name a field"),
        ("    error_field: /\n", "6:18 socket_maps.m.error_field: must name a field"),
        ("    recipient_delimiter: '+'\n", "6:5 warning socket_maps.m.recipient_delimiter: has no effect"),
        ("    recipient_delimiter: '+ '\n", "6:26 socket_maps.m.recipient_delimiter: holds the characters"),
        ("    on_failure: not_found\n", "6:5 warning socket_maps.m.on_failure: while the API is down"),
        ("    on_failure: DEFER\n", "must be one of: temp, not_found"),
        ("    perm_as_temp: maybe\n", "6:19 socket_maps.m.perm_as_temp: expected true or false"),
        (
            "    default_local_port: 587\n",
            "6:5 warning socket_maps.m.default_local_port: has no effect outside",
        ),
        ("    transport: grpc\n", "6:5 warning socket_maps.m.transport: has no effect outside"),
        ("    sasl_oidc_auth: {a: 5}\n", "6:22 socket_maps.m.sasl_oidc_auth.a: unknown key"),
        ("    cache: {fresh: 200h}\n", "6:20 socket_maps.m.cache.fresh: must be from 0s to 7days"),
        ("    cache: {outage: true}\n", "6:13 warning socket_maps.m.cache.outage: has no effect without"),
        ("    cache: {stale_while_revalidate: 5s}\n", "has no effect without `fresh`"),
        ("    denied_status: [401]\n", "unknown key (it belongs in an entry of dovecot_sasl)"),
    ] {
        let told: Vec<_> = told(&map(lines))
            .into_iter()
            .filter(|told| !lines.contains(": {a: 5}") || !told.contains("warning"))
            .collect();
        assert!(told.len() == 1 && told[0].contains(expected), "{lines}{told:#?}");
    }
    let policy = |lines: &str| map(lines).replace("socket_maps", "policy_services");
    good(&policy("    transport: json\n"));
    one(
        &policy("    cache: {negative: 5s}\n"),
        "6:13 warning policy_services.m.cache.negative: has no effect",
    );
    one(&policy("    domains: [a]\n"), "unknown key (it belongs in an entry of socket_maps)");
    one(
        &policy("    cache_key: [sender, recipent]\n"),
        "6:25 policy_services.m.cache_key[1]: no Postfix sends an attribute of this name (did you mean `recipient`?)",
    );
    let config = good(&policy("    cache_key: [sender, client_address]\n    absent_value: error\n"));
    let Kind::Policy(own) = &config.policies[0].kind else { panic!("a policy") };
    assert_eq!(own.cache_key.as_deref(), Some(&["sender".to_owned(), "client_address".to_owned()][..]));
}

#[test]
fn a_map_may_be_sendmails() {
    for (lines, due) in
        [("    perm_as_temp: true\n    on_failure: temp\n", true), ("    perm_as_temp: false\n", false)]
    {
        let Kind::Map(own) = good(&map(lines)).maps.remove(0).kind else { panic!("a map") };
        assert_eq!(own.perm_as_temp, due, "{lines}");
    }
    let both = map("    perm_as_temp: true\n    on_failure: not_found\n");
    let told = told(&both);
    assert!(
        told.iter().any(|told| told
            == "6:5 warning socket_maps.m.perm_as_temp: has no effect with `on_failure: not_found`"),
        "{told:#?}"
    );
    one(
        &map("    perm_as_temp: true\n").replace("socket_maps", "policy_services"),
        "it belongs in an entry of socket_maps",
    );
}

#[test]
fn a_value_may_be_the_whole_document() {
    use crate::lookup::value::Field;
    for text in ["''", "/"] {
        let config = good(&map("").replace("value_field: v", &format!("value_field: {text}")));
        assert_eq!(config.maps[0].value_field, Field::Whole, "{text}");
    }
}

#[test]
fn a_forms_insertions_are_escaped_for_a_form() {
    let at = |payload: &str, lines: &str| map(lines).replace("'{{ .Key | json }}'", payload);
    let form = "    custom_headers: ['Content-Type: Application/x-www-form-urlencoded; charset=utf-8']\n";
    let inherited = |payload: &str| {
        let defaults = "socket_maps:\n  defaults: {custom_headers: ['Content-Type: application/x-www-form-urlencoded']}\n";
        at(payload, "").replace("socket_maps:\n", defaults)
    };
    let expected = "`json` does not escape for a form";
    one(&at("key={{ .Key | json }}", ""), &format!("4:18 socket_maps.m.payload: {expected}"));
    one(&at("a=1&key={{ json .Key }}", form), expected);
    one(&at("'{{ .Key | json }}'", form), expected);
    one(&inherited("'{{ .Key | json }}'"), expected);
    one(&at("'{{ .Key }}'", form), "must name its escaping: urlencode or raw");
    good(&at("'{{ .Key | json }}'", ""));
    good(&at("'key={{ .Key | json | urlencode }}'", form));
    good(&at("'{\"key\": \"{{ .Key }}\"}'", form));
    one(&at("'{\"key\": \"{{ .Key | urlencode | json }}\"}'", ""), "JSON does not undo `urlencode`");
}

#[test]
fn an_extension_is_cut_where_the_entry_says_what_begins_one() {
    let at = |lines: &str| map(lines).replace("'{{ .Key | json }}'", "'{{ .Key | strip_extension }}'");
    assert_eq!(good(&at("    recipient_delimiter: +-\n")).maps[0].recipient_delimiter, "+-");
    for lines in ["", "    recipient_delimiter: ''\n"] {
        one(
            &at(lines),
            "4:14 socket_maps.m.payload: `strip_extension` needs the entry's `recipient_delimiter`",
        );
    }
    let defaults = "socket_maps:\n  defaults: {recipient_delimiter: '+'}\n";
    good(&map("").replace("socket_maps:\n", defaults));
    assert_eq!(good(&at("").replace("socket_maps:\n", defaults)).maps[0].recipient_delimiter, "+");
}

#[test]
fn credentials_without_tls_are_warned_of() {
    let at = |target: &str, lines: &str| map(lines).replace("http://localhost/", target);
    let bearer = "    backend_oidc_auth: {enabled: true, configuration_uri: 'https://i/', client_id: x, client_secret: s}\n";
    for lines in ["    http_auth_basic: a:b\n", "    custom_headers: ['Authorization: x']\n", bearer] {
        one(&at("http://h/", lines), "3:5 warning socket_maps.m.target: credentials go over the network");
        good(&at("https://h/", lines));
        good(&at("http://127.0.0.1/", lines));
    }
    good(&at("http://h/", "    custom_headers: ['X: y']\n"));
}

#[test]
fn secrets_may_stand_in_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    let at =
        |name: &str| map(&format!("    http_auth_basic_file: {}\n", directory.path().join(name).display()));
    private(&file, "joe:s3cret\r\n\n");
    let config = good(&at("secret"));
    assert_eq!(config.maps[0].request.headers["authorization"], "Basic am9lOnMzY3JldA==");
    assert!(!format!("{config:?}").contains("czNjcmV0"));
    one(&at("other"), "6:27 socket_maps.m.http_auth_basic_file: the file cannot be read");
    one(&(at("secret") + "    http_auth_basic: a:b\n"), "`http_auth_basic` is given as well");
    private(&file, b"\xff");
    one(&at("secret"), "the file is not UTF-8");
    private(&file, "\n");
    one(&at("secret"), "the file is empty");
    private(&file, "s3cret");
    let told = told(&at("secret"));
    assert!(told[0].contains("must be `user:password`") && !told[0].contains("s3cret"), "{told:?}");
    private(&file, vec![b'x'; 70_000]);
    one(&at("secret"), "larger than 64 KiB");
}
