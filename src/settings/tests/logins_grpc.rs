//! `dovecot_sasl` with `transport: grpc`: what an entry becomes, and what it is told.

use super::logins::login;
use super::*;
use crate::login::Transport;
use crate::model::LOGIN_BUDGET;

/// A login over gRPC, whose keys begin in line 4, column 12, and these further lines.
fn over_grpc(keys: &str, lines: &str) -> String {
    format!("dovecot_sasl:\n  l:\n    transport: grpc\n    grpc: {{{keys}}}\n{lines}")
}

#[test]
fn a_login_over_grpc_needs_its_address_alone() {
    let [login] = &mut good(&over_grpc("address: '[::1]:9444'", "")).logins[..] else { panic!("one") };
    assert_eq!(login.upstream.url().as_str(), "http://[::1]:9444/nauthilus.auth.v1.AuthService/Authenticate");
    assert_eq!(login.transport, Transport::Grpc { timeout: Duration::from_secs(5) });
    assert_eq!(login.timeout, LOGIN_BUDGET);
    assert!(login.connection.tls.is_none() && login.request.headers.is_empty());
    assert_eq!(login.connection.protocol, crate::http::Protocol::Grpc);
    let keys = "address: 'localhost:443', timeout: 1ms, tls: {enabled: true, server_name: n.example, min_tls_version: '1.3'}";
    let config = good(&over_grpc(keys, ""));
    let login = &config.logins[0];
    assert_eq!(login.upstream.url().as_str(), "https://localhost/nauthilus.auth.v1.AuthService/Authenticate");
    assert_eq!(login.transport, Transport::Grpc { timeout: Duration::from_millis(1) });
    let tls = login.connection.tls.as_ref().expect("it is enabled");
    assert_eq!(tls.server_name.as_ref().map(|name| name.to_str().into_owned()).as_deref(), Some("n.example"));
    let json = good("dovecot_sasl: {l: {transport: json, target: 'http://127.9.9.9/'}}\n").logins.remove(0);
    assert_eq!(json.transport, Transport::Json);
}

#[test]
fn what_grpc_does_not_take_is_told() {
    for (keys, lines, expected) in [
        ("timeout: 1s", "", "4:5 dovecot_sasl.l.grpc: `address` is missing"),
        ("address: a", "", "4:21 dovecot_sasl.l.grpc.address: must be `host:port`"),
        ("address: 'a:0'", "", "must be `host:port`"),
        ("address: ':1'", "", "must be `host:port`"),
        ("address: 'http://a:1'", "", "must be `host:port`"),
        ("address: 'u@a:1'", "", "must be `host:port`"),
        ("address: '::1:1'", "", "must be `host:port`"),
        ("address: '127.1.1.1:1', timeout: 2h", "", "must be from 1ms to 1h"),
        ("address: '127.1.1.1:1', tls: {enabled: true, min_tls_version: '1.1'}", "", "one of: 1.2, 1.3"),
        ("address: '127.1.1.1:1', tls: {enabled: true, client_cert: /nowhere}", "", "client_key` is missing"),
        ("address: '127.1.1.1:1', tls: {enabled: true, root_ca: /nowhere}", "", "grpc.tls.root_ca: "),
        ("address: '127.1.1.1:1', adress: 'a:1'", "", "did you mean `address`?"),
        ("address: '127.1.1.1:1', tls: {enabled: true, cert: a}", "", "did you mean `client_cert`?"),
        ("address: '127.1.1.1:1', tls: {enabled: true, key: a}", "", "did you mean `client_key`?"),
        ("address: 'a:1'", "", "4:12 warning dovecot_sasl.l.grpc.address: passwords go over the network"),
        ("address: 'a:1', tls: {enabled: true, skip_verify: true}", "", "tls.skip_verify: any certificate"),
        ("address: '127.1.1.1:1', tls: {server_name: a}", "", "server_name: has no effect without `enabled"),
        (
            "address: '127.1.1.1:1'",
            "    custom_headers: ['X-A: b']\n",
            "custom_headers: cannot hold with `tra",
        ),
        (
            "address: '127.1.1.1:1'",
            "    tls: {root_ca: /x}\n",
            "tls: has no effect with `transport: grpc`, whi",
        ),
        (
            "address: '127.1.1.1:1'",
            "    proxy: 'http://p:1'\n",
            "proxy: gRPC through a proxy needs TLS (set `grpc",
        ),
        (
            "address: '127.1.1.1:1'",
            "    target: 'http://x/'\n",
            "target: has no effect with `transport: grpc`",
        ),
        (
            "address: '127.1.1.1:1'",
            "    accept_field: ok\n",
            "accept_field: has no effect with `transport: gr",
        ),
        ("address: '127.1.1.1:1'", "    http_request_compression: true\n", "compression: has no effect with"),
        ("address: '127.1.1.1:1'", "    denied_status: [401]\n", "denied_status: has no effect with"),
        ("address: '127.1.1.1:1'", "    breaker: {failures: 3}\n", "breaker: has no effect with"),
    ] {
        one(&over_grpc(keys, lines), expected);
    }
    let both = "    http_auth_basic: 'a:b'\n    backend_oidc_auth: {enabled: true, configuration_uri: 'https://i/', client_id: x, client_secret: s}\n";
    one(&over_grpc("address: '127.1.1.1:1'", both), "only one of them can hold");
    one(
        &login("    grpc: {address: 'a:1'}\n"),
        "4:5 warning dovecot_sasl.l.grpc: has no effect without `transport",
    );
    one(
        &login("    grpc: {metadata: {x: [a]}}\n"),
        "4:5 dovecot_sasl.l.grpc: `metadata` cannot hold without `tra",
    );
    one(
        &login("    transport: json\n    grpc: {metadata: {x: [a]}}\n"),
        "`metadata` cannot hold without `transp",
    );
}

#[test]
fn metadata_is_that_of_the_entry_over_that_of_defaults() {
    let text = r"dovecot_sasl:
  defaults:
    transport: grpc
    grpc:
      address: 127.0.0.1:1
      metadata: {' X-Tenant ': [of-defaults], x-kept: [a, 'b c']}
  l:
    http_auth_basic: joe:secret
    grpc: {metadata: {x-tenant: [own, 7]}}
";
    let config = good(text);
    let headers = &config.logins[0].request.headers;
    let values =
        |name| headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII")).collect::<Vec<_>>();
    assert_eq!(values("x-tenant"), ["own", "7"]);
    assert_eq!(values("x-kept"), ["a", "b c"]);
    assert_eq!(values("authorization"), ["Basic am9lOnNlY3JldA=="]);
    assert_eq!(headers.len(), 5);
    assert!(headers.values().all(|value| value.is_sensitive()));
    for (metadata, expected) in [
        ("authorization: [s3cret]", "authorization` is that of `http_auth_basic`"),
        ("' AUTHORIZATION': [s3cret]", "authorization` is that of `http_auth_basic`"),
        ("grpc-timeout: [s3cret]", "gRPC reserves it"),
        ("x-bin: [s3cret]", "gRPC reserves it"),
        ("content-type: [s3cret]", "gRPC reserves it"),
        ("te: [s3cret]", "gRPC reserves it"),
        ("Traceparent: [s3cret]", "`traceparent` is that of `server.observability`"),
        ("'x y': [s3cret]", "consists of letters, digits"),
        ("'': [s3cret]", "consists of letters, digits"),
        ("'x:y': [s3cret]", "consists of letters, digits"),
        ("x: [a], X: [s3cret]", "is there already, in other letters"),
        ("x: []", "at least one value"),
        ("x: ['']", "printable ASCII"),
        ("x: [' ']", "printable ASCII"),
        (r#"x: ["s3cret\n"]"#, "printable ASCII"),
        ("x: [s3cr\u{e9}t]", "printable ASCII"),
    ] {
        let text = over_grpc(&format!("address: '127.0.0.1:1', metadata: {{{metadata}}}"), "");
        one(&text, expected);
        assert!(!told(&text)[0].contains("s3cr"), "{metadata}");
    }
}

/// The warnings of a configuration that loads.
fn loaded(text: &str) -> (Configuration, Vec<String>) {
    let (config, warnings) = check(text).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    (config, warnings.iter().map(brief).collect())
}

#[test]
fn the_go_programs_keys_of_grpc_load() {
    let directory = tempfile::tempdir().expect("a directory");
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| directory.path().join(name));
    let pair =
        rcgen::generate_simple_self_signed(["nauthilus.example.com".to_owned()]).expect("a certificate");
    for file in [&ca, &cert] {
        std::fs::write(file, pair.cert.pem()).expect("a file");
    }
    private(&key, pair.signing_key.serialize_pem());
    let text = format!(
        r#"dovecot_sasl:
  defaults:
    default_local_port: "587"
    grpc:
      timeout: 5s
      metadata:
        x-kept:
          - "a"
        X-Tenant:
          - "of-defaults"
      tls:
        enabled: true
        min_tls_version: "1.2"
        skip_verify: false
  login_submission:
    transport: "grpc"
    http_auth_basic: "pfxhttp:s3cret"
    grpc:
      address: "nauthilus.example.com:9444"
      timeout: 1h
      metadata:
        x-tenant:
          - "mail"
          - "two words"
      tls:
        enabled: true
        root_ca: "{}"
        client_cert: "{}"
        client_key: "{}"
        server_name: "nauthilus.example.com"
        min_tls_version: "1.3"
        skip_verify: false
  login_plain:
    transport: grpc
    backend_oidc_auth:
      enabled: true
      configuration_uri: "https://id.example.com/.well-known/openid-configuration"
      client_id: pfxhttp
      client_secret: s3cret
      scopes: ["nauthilus:authenticate"]
    grpc:
      address: 127.0.0.1:9444
      timeout: 1ms
      metadata:
        user-agent: ["s3cret/1"]
      tls: {{enabled: false}}
  login_any_certificate:
    transport: grpc
    grpc:
      address: "[2001:db8::1]:443"
      tls: {{skip_verify: true}}
"#,
        ca.display(),
        cert.display(),
        key.display()
    );
    let (config, warnings) = loaded(&text);
    assert!(
        warnings.len() == 1 && warnings[0].contains("grpc.tls.skip_verify: any certificate is accepted"),
        "{warnings:#?}"
    );
    let [submission, plain, any] = &config.logins[..] else { panic!("three logins") };
    let path = "/nauthilus.auth.v1.AuthService/Authenticate";
    for (login, origin, timeout) in [
        (submission, "https://nauthilus.example.com:9444", Duration::from_hours(1)),
        (plain, "http://127.0.0.1:9444", Duration::from_millis(1)),
        (any, "https://[2001:db8::1]", Duration::from_secs(5)),
    ] {
        assert_eq!(login.upstream.url().as_str(), format!("{origin}{path}"));
        assert_eq!(login.transport, Transport::Grpc { timeout });
        assert_eq!(login.default_local_port, Some(587));
        assert_eq!(login.connection.tls.is_some(), origin.starts_with("https"));
    }
    let tls = |at: usize| config.logins[at].connection.tls.clone().expect("TLS");
    assert!(
        tls(0).client.client_auth_cert_resolver.has_certs()
            && !tls(2).client.client_auth_cert_resolver.has_certs()
    );
    assert_eq!(
        tls(0).server_name.map(|name| name.to_str().into_owned()).as_deref(),
        Some("nauthilus.example.com")
    );
    assert_eq!(tls(2).server_name, None);
    assert_ne!(tls(0), tls(2));
    let values = |at: usize, name: &str| {
        let values = config.logins[at].request.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("ASCII").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(0, "x-tenant"), ["mail", "two words"]);
    assert_eq!(
        (values(0, "x-kept"), values(1, "x-tenant")),
        (vec!["a".to_owned()], vec!["of-defaults".to_owned()])
    );
    assert_eq!((values(0, "authorization").len(), values(1, "authorization").len()), (1, 0));
    assert_eq!(values(1, "user-agent"), ["s3cret/1"]);
    assert!(plain.request.bearer.is_some() && submission.request.bearer.is_none());
    assert!(!format!("{config:?}").contains("s3cret"));
    // An entry with JSON may inherit all of it but metadata.
    let text = r"dovecot_sasl:
  defaults:
    grpc: {timeout: 5s, tls: {enabled: true}}
  login_json:
    transport: json
    target: https://nauthilus.example.com/api/v1/auth/json
";
    assert_eq!(good(text).logins[0].transport, Transport::Json);
    one(&text.replace("timeout: 5s", "metadata: {x: [a]}"), "`metadata` cannot hold without");
}

/// One run tells all of them: none hides another one.
#[test]
fn every_error_of_grpc_is_told_in_one_run() {
    let oidc =
        "backend_oidc_auth: {enabled: true, configuration_uri: 'https://i/', client_id: x, client_secret: s}";
    let at = "grpc: {address: '127.0.0.1:1'";
    let metadata = |metadata: &str| format!("transport: grpc, {at}, metadata: {{{metadata}}}}}");
    let cases = [
        ("transport: other, target: 'http://127.0.0.1/'".to_owned(), "transport: must be one of: json, grpc"),
        ("transport: grpc".to_owned(), "`address` is missing"),
        ("transport: grpc, grpc: {}".to_owned(), "`address` is missing"),
        ("transport: grpc, grpc: {address: host}".to_owned(), "address: must be `host:port`"),
        (format!("transport: grpc, {at}, timeout: 0s}}"), "grpc.timeout: must be from 1ms to 1h"),
        (format!("transport: grpc, {at}, timeout: 3601s}}"), "grpc.timeout: must be from 1ms to 1h"),
        (
            format!("transport: grpc, {at}, tls: {{enabled: true, min_tls_version: '1.1'}}}}"),
            "min_tls_version: ",
        ),
        (
            format!("transport: grpc, {at}, tls: {{enabled: true, client_cert: /nowhere}}}}"),
            "`client_key` is missing",
        ),
        (
            format!("transport: grpc, {at}, tls: {{enabled: true, client_key: /nowhere}}}}"),
            "`client_cert` is missing",
        ),
        (format!("transport: grpc, {at}, tls: {{enabled: true, root_ca: /nowhere}}}}"), "grpc.tls.root_ca: "),
        (format!("transport: grpc, {at}}}, http_auth_basic: 'a:b', {oidc}"), "only one of them can hold"),
        (format!("transport: grpc, {at}}}, custom_headers: ['A: b']"), "custom_headers: cannot hold with"),
        (
            "target: 'http://127.0.0.1/', grpc: {metadata: {x: [a]}}".to_owned(),
            "`metadata` cannot hold without",
        ),
        (metadata("'a b': [s3cret]"), "consists of letters, digits"),
        (metadata("'\u{e9}': [s3cret]"), "consists of letters, digits"),
        (metadata("'  ': [s3cret]"), "consists of letters, digits"),
        (metadata("Authorization: [s3cret]"), "`authorization` is that of"),
        (metadata("Grpc-Encoding: [s3cret]"), "gRPC reserves it"),
        (metadata("Key-Bin: [s3cret]"), "gRPC reserves it"),
        (metadata("x: [a], ' X ': [s3cret]"), "is there already, in other letters"),
        (metadata("x: []"), "needs a list of at least one value"),
        (metadata("x: [a, '']"), "printable ASCII, and not empty"),
        (metadata("x: [\"s3cret\\x7f\"]"), "printable ASCII, and not empty"),
        (metadata("User-Agent: [s3cret, s3cret]"), "`user-agent` has one value"),
    ];
    let mut text = "dovecot_sasl:\n".to_owned();
    for (nth, (keys, _)) in cases.iter().enumerate() {
        text.push_str(&format!("  l{nth}: {{{keys}}}\n"));
    }
    let told = told(&text);
    assert_eq!(told.len(), cases.len(), "{told:#?}");
    for (nth, (keys, expected)) in cases.iter().enumerate() {
        let of_it = format!(" dovecot_sasl.l{nth}");
        let is_told = told.iter().any(|line| {
            let rest = line.split_once(&of_it).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.starts_with([':', '.']) && rest.contains(expected))
        });
        assert!(is_told, "{keys}: {expected}\n{told:#?}");
    }
    assert!(!told.concat().contains("s3cret"), "{told:#?}");
}
