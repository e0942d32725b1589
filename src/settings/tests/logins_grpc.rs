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

#[test]
fn the_go_programs_keys_of_grpc_load() {
    let text = r#"dovecot_sasl:
  defaults:
    default_local_port: "587"
    grpc:
      timeout: 5s
      tls: {enabled: true, min_tls_version: "1.2", skip_verify: false}
  login_submission:
    transport: grpc
    http_auth_basic: "pfxhttp:s3cret"
    grpc:
      address: nauthilus.example.com:9444
      metadata:
        x-tenant: ["mail"]
      tls:
        server_name: "nauthilus.example.com"
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
      tls: {enabled: false}
  login_json:
    transport: json
    target: https://nauthilus.example.com/api/v1/auth/json
"#;
    let config = good(text);
    let urls: Vec<_> = config.logins.iter().map(|login| login.upstream.url().as_str()).collect();
    let path = "/nauthilus.auth.v1.AuthService/Authenticate";
    assert_eq!(urls[0], format!("https://nauthilus.example.com:9444{path}"));
    assert_eq!(urls[1], format!("http://127.0.0.1:9444{path}"));
    assert_eq!(config.logins[2].transport, Transport::Json);
    assert!(config.logins[1].request.bearer.is_some());
    assert!(!format!("{config:?}").contains("s3cret"));
}
