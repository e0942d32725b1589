//! What `PFXHTTP_…` variables change, and what is said of those that do not fit.

use super::*;

fn under(text: &str, variables: &[(&str, &str)]) -> Read {
    let pairs: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    parse_as(Path::new("pfxhttp.yml"), text, options(Syntax::Yaml, &pairs))
}

fn good_under(text: &str, variables: &[(&str, &str)]) -> Configuration {
    let (config, warnings) = under(text, variables).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert!(warnings.is_empty(), "{}", shown(&warnings));
    config
}

fn said(text: &str, variables: &[(&str, &str)]) -> String {
    let (Ok((_, problems)) | Err(problems)) = under(text, variables);
    shown(&problems)
}

#[test]
fn variables_override_keys_and_add_those_that_lack() {
    let text = listener(
        r"kind: socket_map
type: tcp
address: 127.0.0.1
port: 5",
    );
    let config = good_under(
        &text,
        &[
            ("PFXHTTP_SERVER_LISTEN_0_PORT", "25"),
            ("pfxhttp_server_logging_json", "true"),
            ("PFXHTTP_SERVER_IPC_MODE", "0600"),
            ("PFXHTTP_SERVER_IPC_ALLOW_USERS", "postfix, 107"),
            ("PFXHTTP_SERVER_HTTP_CLIENT_TIMEOUT", "7s"),
            ("PFXHTTP_SERVER_HTTP_CLIENT_PROXY", "http://127.0.0.1:3128"),
            ("PFXHTTP_POLICY_SERVICES_P_CUSTOM_HEADERS", "[\"A: b\", \"C: d,e\"]"),
            ("PFXHTTP_POLICY_SERVICES_P_PAYLOAD", "{\"a\": {{ .Key }}}"),
            ("PFXHTTP_POLICY_SERVICES_P_CACHE_FRESH", "5s"),
            ("PFXHTTP_POLICY_SERVICES_P_VALUE_FIELD", ""),
            ("OTHER", "x"),
        ],
    );
    let Endpoint::Tcp { port, .. } = &config.server.sockets.listen[0].endpoint else { panic!("tcp") };
    assert_eq!(*port, 25);
    assert!(config.server.logging.json);
    assert_eq!(config.server.sockets.ipc.socket.mode, 0o600);
    assert_eq!(config.server.sockets.ipc.allow_users, ["postfix", "107"]);
    assert_eq!(config.server.http.proxy.as_ref().map(url::Url::as_str), Some("http://127.0.0.1:3128/"));
    let policy = &config.policies[0];
    assert_eq!(policy.timeout, Duration::from_secs(7));
    assert_eq!(policy.request.headers["c"], "d,e");
    assert_eq!(policy.cache.fresh, Duration::from_secs(5));
    assert_eq!(policy.value_field, crate::lookup::value::Field::Name("v".to_owned()));
}

#[test]
fn opentelemetrys_variables_stand_in_for_keys() {
    let variables = [
        ("OTEL_SERVICE_NAME", "mx1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, X-Other=c=d,"),
    ];
    let text = |keys: &str| {
        let keys = format!("{{otel_enabled: true, otel_traces_enabled: true{keys}}}");
        listener(
            r"kind: socket_map
type: tcp
address: 127.0.0.1
port: 5",
        )
        .replace("server:\n", &format!("server:\n  observability: {keys}\n"))
    };
    let otlp = |keys, variables| good_under(&text(keys), variables).server.otlp.expect("a collector");
    let told = otlp("", &variables);
    assert_eq!((told.service_name.as_str(), told.endpoint.as_str()), ("mx1", "http://127.0.0.1:4318/"));
    assert_eq!(
        (told.headers["x-key"].as_bytes(), told.headers["x-other"].as_bytes()),
        (&b"a b"[..], &b"c=d"[..])
    );
    let told = otlp(", otel_service_name: mine, otel_exporter_otlp_headers: {}", &variables);
    assert_eq!((told.service_name.as_str(), told.headers.len()), ("mine", 0));
    let wrong = said(
        &text(""),
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://h"),
            ("PFXHTTP_SERVER_OBSERVABILITY_OTEL_SERVICE_NAME", "x"),
        ],
    );
    assert!(wrong.contains("OTEL_EXPORTER_OTLP_ENDPOINT: error: "), "{wrong}");
}

#[test]
fn a_list_item_is_named_by_its_index() {
    let text = map("    not_found_status: [404, 410]\n");
    let config = good_under(&text, &[("PFXHTTP_SOCKET_MAPS_M_NOT_FOUND_STATUS_1", "418")]);
    assert!(matches!(&config.maps[0].kind, Kind::Map(map) if map.not_found_status == [404, 418]));
    let beyond = said(&text, &[("PFXHTTP_SOCKET_MAPS_M_NOT_FOUND_STATUS_2", "418")]);
    assert!(beyond.contains("PFXHTTP_SOCKET_MAPS_M_NOT_FOUND_STATUS_2: warning: matches no key"), "{beyond}");
}

#[test]
fn a_name_must_fit_one_key() {
    let entries =
        "socket_maps:\n  a: {target: http://localhost/, payload: '{{ .Key | json }}', value_field: v}\n";
    for (name, expected) in [
        ("PFXHTTP_NOTHING", "PFXHTTP_NOTHING: warning: matches no key"),
        ("PFXHTTP_SOCKET_MAPS_B_TARGET", "PFXHTTP_SOCKET_MAPS_B_TARGET: warning: matches no key"),
        ("PFXHTTP_SERVER_LISTEN_0_PORT", "matches no key"),
        ("PFXHTTP_SERVER_LOGGING", "matches no key"),
    ] {
        assert!(said(entries, &[(name, "5")]).contains(expected), "{name}");
    }
    let both =
        said(entries, &[("PFXHTTP_SERVER_MAX_CONNECTIONS", "5"), ("pfxhttp_server_max_connections", "6")]);
    assert!(both.contains("sets the same key as PFXHTTP_SERVER_MAX_CONNECTIONS"), "{both}");
    let entry = "{target: http://localhost/, payload: '{{ .Key | json }}', value_field: v}";
    let two = format!(
        r"socket_maps:
  a-b: {entry}
  a.b: {entry}
"
    );
    let told = said(&two, &[("PFXHTTP_SOCKET_MAPS_A_B_TARGET", "http://i/")]);
    assert!(
        told.contains("error: matches two keys: socket_maps.a-b.target and socket_maps.\"a.b\".target"),
        "{told}"
    );
}

#[test]
fn the_longest_entry_name_is_meant() {
    let entry = "{target: http://localhost/, payload: '{{ .Key | json }}', value_field: v, cache: {}}";
    let text = format!(
        r"socket_maps:
  a: {entry}
  a_cache: {entry}
  A_b: {entry}
"
    );
    let warned = said(&text, &[("PFXHTTP_SOCKET_MAPS_A_CACHE_TIMEOUT", "5s")]);
    assert_eq!(warned, "");
    let config = good_under(&text, &[("PFXHTTP_SOCKET_MAPS_A_B_TARGET", "http://i/")]);
    let hosts: Vec<_> = config.maps.iter().filter_map(|map| map.upstream.url().host_str()).collect();
    assert_eq!(hosts, ["localhost", "localhost", "i"]);
}

#[test]
fn what_is_wrong_in_a_variable_names_it_and_not_its_value() {
    let text = map("    http_auth_basic: a:b\n");
    for (name, value, expected) in [
        ("PFXHTTP_SERVER_LOGGING_JSON", "s3cret", "server.logging.json: expected true or false"),
        ("PFXHTTP_SOCKET_MAPS_M_STATUS_CODE", "s3cret", "expected a whole number"),
        ("PFXHTTP_SOCKET_MAPS_M_STATUS_CODE", "99", "socket_maps.m.status_code: must be from 100 to 599"),
        ("PFXHTTP_SOCKET_MAPS_M_DOMAINS", "[s3cret", "expected a list"),
        ("PFXHTTP_SOCKET_MAPS_M_HTTP_AUTH_BASIC", "s3cret", "must be `user:password`"),
        ("PFXHTTP_SOCKET_MAPS_M_PAYLOAD", "{\"s3cret\": {{ .Kye }}}", "a map has no `.Kye`"),
        ("PFXHTTP_SOCKET_MAPS_M_HTTP_AUTH_BASIC_FILE", "/nowhere/x", "the file cannot be read"),
        ("PFXHTTP_SERVER_CHROOT", "/s3cret", "must be the absolute path of a directory"),
        ("PFXHTTP_SERVER_TLS_CERT", "/s3cret", "warning: server.tls.cert: has no effect"),
    ] {
        let told = said(&text, &[(name, value)]);
        assert!(told.starts_with(&format!("{name}: ")) && told.contains(expected), "{told}");
        assert!(!told.contains("s3cret") && told.lines().count() <= 2, "{told}");
    }
}

#[test]
fn a_variable_displaces_the_twin_of_its_secret() {
    let text = map("    http_auth_basic_file: /nowhere\n");
    let config = good_under(&text, &[("PFXHTTP_SOCKET_MAPS_M_HTTP_AUTH_BASIC", "joe:pw")]);
    assert_eq!(config.maps[0].request.headers["authorization"], "Basic am9lOnB3");
}

#[test]
fn an_old_name_in_the_file_takes_the_variable_of_the_new_one() {
    let text = map("    oidc_auth: {enabled: true}\n");
    let told = said(&text, &[("PFXHTTP_SOCKET_MAPS_M_BACKEND_OIDC_AUTH_ENABLED", "false")]);
    assert_eq!(told.matches("oidc_auth").count(), 2, "{told}");
    assert!(told.contains("is read as `backend_oidc_auth`"), "{told}");
    let told = said(&map(""), &[("PFXHTTP_SOCKET_MAPS_M_OIDC_AUTH_ENABLED", "false")]);
    assert!(told.contains("matches no key"), "{told}");
}

#[test]
fn defaults_take_variables_too() {
    let text = format!("{}  defaults: ~\n", map(""));
    let config = good_under(&text, &[("PFXHTTP_SOCKET_MAPS_DEFAULTS_STATUS_CODE", "204")]);
    assert_eq!(config.maps[0].status_code, 204);
}

proptest! {
    #[test]
    fn no_environment_makes_it_panic(
        names in prop::collection::vec("(SERVER|SOCKET_MAPS_DEMO_MAP|LISTEN|0|1|_|PORT|TLS|CACHE|CUSTOM_HEADERS|PAYLOAD){0,6}", 0..6),
        value in ".{0,20}",
    ) {
        let pairs: Vec<_> = names.iter().map(|name| (format!("PFXHTTP_{name}"), value.clone())).collect();
        let (Ok((_, problems)) | Err(problems)) = parse_as(Path::new("f"), SEED, options(Syntax::Yaml, &pairs));
        let _ = shown(&problems);
    }
}
