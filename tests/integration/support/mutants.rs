//! A configuration that uses every section, and faults to put into it.

/// The valid configuration; `DIR`, `API`, `ISSUER` and `PORT` are replaced.
pub(crate) const GOOD: &str = r#"server:
  listen:
    - {kind: socket_map, name: maps, type: unix, address: "DIR/maps.sock", mode: "0666"}
    - {kind: policy_service, name: checks, type: unix, address: "DIR/checks.sock", mode: "0666"}
    - {kind: dovecot_sasl, name: users, type: unix, address: "DIR/users.sock", mode: "0666"}
  ipc: {path: "DIR/broker.sock", mode: "0666"}
  admin: {path: "DIR/admin.sock"}
  logging: {json: false, level: info, log_keys: never}
  http_client: {timeout: 5s, max_connections_per_host: 0, idle_connection_timeout: 90s, proxy: ""}
  tls: {enabled: true, root_ca: "DIR/root.crt", cert: "DIR/client.crt", key: "DIR/client.key"}
  response_cache: {enabled: true, ttl: 5m, max_bytes: 33554432}
  worker_pool: {max_workers: 64, max_queue: 640}
  observability:
    prometheus_enabled: true
    prometheus_address: 127.0.0.1
    prometheus_port: PORT
    prometheus_path: /metrics
    prometheus_http_auth_basic_file: "DIR/basic"
    prometheus_tls: {enabled: true, cert: "DIR/endpoint.crt", key: "DIR/endpoint.key", min_tls_version: "1.2"}
    otel_enabled: false
    otel_exporter_otlp_endpoint: "http://127.0.0.1:4318"
    otel_sample_ratio: 1.0
  max_connections: 500
  socketmap_max_reply_size: 100000
socket_maps:
  steady:
    target: "API/map"
    method: POST
    payload: '{"key": "{{ .Key }}"}'
    value_field: value
    status_code: 200
    timeout: 2s
    custom_headers: ["X-A: b"]
    cache: {fresh: 0s, negative: 0s}
    not_found_status: [404]
    empty_value: error
    backend_oidc_auth: {enabled: true, configuration_uri: "ISSUER", client_id: a, client_secret: s3cret, auth_method: auto}
policy_services:
  checks:
    target: "API/policy"
    payload: "{{ .Key }}"
    value_field: action
    on_failure: DEFER later
    cache_key: [sender]
    http_auth_basic: "joe:s3cret"
dovecot_sasl:
  users:
    target: "API/login"
    on_failure: auto
    denied_status: [403]
    failure_delay: 0s
    sasl_penalty: true
    penalty_exempt: ["10.0.0.0/8"]
    sasl_oidc_auth: {enabled: true, configuration_uri: "ISSUER", client_id: b, private_key_file: "DIR/sasl.key", jwks_cache_ttl: 5m}
"#;

/// A text, its replacement, and what the log must name.
pub(crate) const TEXTS: [(&str, &str, &str); 97] = [
    // Syntax.
    ("server:\n", "server: [\n", "not YAML"),
    ("  listen:\n", "\tlisten:\n", "not YAML"),
    ("DIR/broker.sock\"", "DIR/broker.sock", "not YAML"),
    ("level: info,", "level: info level: info,", "not YAML"),
    ("level: info,", "level: *info,", "anchor"),
    ("level: info,", "level: !!str info,", "server.logging"),
    ("socket_maps:\n", "---\nsocket_maps:\n", "second document"),
    ("socket_maps:\n", "]\nsocket_maps:\n", "not YAML"),
    ("max_connections: 500", "\u{0}", "pfxhttp.yml"),
    // Keys.
    ("socket_maps:", "socket_map:", "socket_map: unknown key"),
    ("payload: '", "payloads: '", "steady.payloads"),
    ("  logging:", "  loging:", "server.loging"),
    ("proxy: \"\"", "proxies: []", "http_client.proxies"),
    ("root_ca:", "ca:", "server.tls.ca"),
    ("negative: 0s", "negatives: 0s", "cache.negatives"),
    ("client_id: a", "id: a", "backend_oidc_auth.id"),
    ("empty_value: error", "cache_key: [sender]", "steady.cache_key"),
    ("cache_key: [sender]", "domains: [a]", "checks.domains"),
    ("denied_status:", "not_found_status:", "users.not_found_status"),
    ("  steady:\n", "  5:\n", "a key must be a text"),
    ("status_code: 200", "timeout: 3s", "duplicate key"),
    ("level: info", "json: true", "duplicate key"),
    ("value_field: value", "grpc: {address: x}", "value_field"),
    // Kinds of values.
    ("json: false", "json: perhaps", "server.logging.json"),
    ("level: info", "level: [info]", "server.logging.level"),
    ("max_connections: 500", "max_connections: many", "server.max_connections"),
    ("max_connections: 500", "max_connections: -1", "server.max_connections"),
    ("max_workers: 64", "max_workers: 6.4", "worker_pool.max_workers"),
    ("custom_headers: [\"X-A: b\"]", "custom_headers: {X-A: b}", "steady.custom_headers"),
    ("cache: {fresh: 0s, negative: 0s}", "cache: [fresh]", "steady.cache"),
    ("{enabled: true, ttl: 5m, max_bytes: 33554432}", "true", "server.response_cache"),
    ("  steady:\n    target", "  steady: x\n  other:\n    target", "socket_maps.steady"),
    ("{json: false, level: info, log_keys: never}", "loud", "server.logging"),
    ("sasl_penalty: true", "sasl_penalty: 3", "users.sasl_penalty"),
    // Words.
    ("level: info", "level: loud", "server.logging.level"),
    ("log_keys: never", "log_keys: sometimes", "server.logging.log_keys"),
    ("method: POST", "method: PUT", "steady.method"),
    ("empty_value: error", "empty_value: fine", "steady.empty_value"),
    ("empty_value: error", "absent_value: fine", "steady.absent_value"),
    ("on_failure: auto", "on_failure: accept", "users.on_failure"),
    ("on_failure: DEFER later", "on_failure: \"550\"", "checks.on_failure"),
    ("on_failure: DEFER later", "on_failure: \"\"", "checks.on_failure"),
    ("auth_method: auto", "auth_method: basic", "auth_method"),
    ("min_tls_version: \"1.2\"", "min_tls_version: \"1.1\"", "min_tls_version"),
    // Durations, sizes, counts.
    ("timeout: 5s", "timeout: 5", "http_client.timeout"),
    ("timeout: 5s", "timeout: 2h", "http_client.timeout"),
    ("timeout: 5s", "timeout: 5 s", "http_client.timeout"),
    ("timeout: 2s", "timeout: 0s", "steady.timeout"),
    ("timeout: 2s", "timeout: 91s", "steady.timeout"),
    ("ttl: 5m", "ttl: 0s", "response_cache.ttl"),
    ("max_bytes: 33554432", "max_bytes: 1", "response_cache.max_bytes"),
    ("max_workers: 64", "max_workers: 0", "worker_pool.max_workers"),
    ("max_queue: 640", "max_queue: 99999999", "worker_pool.max_queue"),
    ("max_connections: 500", "max_connections: 0", "server.max_connections"),
    ("socketmap_max_reply_size: 100000", "socketmap_max_reply_size: 2000000", "socketmap_max_reply_size"),
    ("fresh: 0s", "fresh: 169h", "cache.fresh"),
    ("status_code: 200", "status_code: 99", "steady.status_code"),
    ("[404]", "[4040]", "not_found_status"),
    ("[403]", "[0]", "denied_status"),
    ("failure_delay: 0s", "failure_delay: 7s", "failure_delay"),
    ("jwks_cache_ttl: 5m", "jwks_cache_ttl: 1s", "jwks_cache_ttl"),
    ("\"10.0.0.0/8\"", "\"10.0.0.1/8\"", "penalty_exempt"),
    ("otel_sample_ratio: 1.0", "otel_sample_ratio: 1.5", "otel_sample_ratio"),
    // Listeners.
    ("type: unix, address: \"DIR/maps", "type: pipe, address: \"DIR/maps", "listen[0].type"),
    ("kind: socket_map,", "kind: map,", "listen[0].kind"),
    ("kind: policy_service, ", "", "listen[1]"),
    ("name: checks, type", "name: nobody, type", "nobody"),
    ("name: users, type", "name: \"a b\", type", "listen[2].name"),
    ("DIR/maps.sock", "DIR/taken.sock", "taken.sock"),
    ("DIR/maps.sock", "DIR/checks.sock", "listen[1].address"),
    ("DIR/maps.sock", "DIR/none/maps.sock", "none/maps.sock"),
    ("DIR/maps.sock", "DIR/directory", "directory"),
    ("DIR/maps.sock", "maps.sock", "listen[0].address"),
    (
        "DIR/maps.sock",
        "DIR/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "listen[0].address",
    ),
    ("maps.sock\", mode: \"0666\"", "maps.sock\", mode: 0666", "listen[0].mode"),
    ("maps.sock\", mode: \"0666\"", "maps.sock\", mode: \"0999\"", "listen[0].mode"),
    (
        "type: unix, address: \"DIR/maps.sock\", mode: \"0666\"",
        "type: tcp, address: mail.test.example, port: 1",
        "listen[0].address",
    ),
    (
        "type: unix, address: \"DIR/maps.sock\", mode: \"0666\"",
        "type: tcp, address: 127.0.0.1, port: 70000",
        "listen[0].port",
    ),
    (
        "type: unix, address: \"DIR/maps.sock\", mode: \"0666\"",
        "type: tcp, address: 127.0.0.1, port: TAKEN",
        "TAKEN",
    ),
    // Targets, templates, headers.
    ("API/map", "ftp://127.0.0.1/map", "steady.target"),
    ("API/map", "http://joe:s3cret@127.0.0.1/", "steady.target"),
    ("API/map", "http://:80/", "steady.target"),
    ("API/map", "http://{{ .Key }}/", "steady.target"),
    ("API/map", "API/{{ .Key }}", "steady.target"),
    ("{{ .Key }}\"}'", "{{ .Nothing }}\"}'", "steady.payload"),
    ("{{ .Key }}\"}'", "{{ .Key }\"}'", "steady.payload"),
    ("{{ .Key }}\"}'", "{{ .Key }}\"'", "steady.payload"),
    ("value_field: value", "value_field: [value]", "steady.value_field"),
    ("[\"X-A: b\"]", "[\"X-A\"]", "custom_headers[0]"),
    ("[\"X-A: b\"]", "[\"Content-Length: 5\"]", "custom_headers[0]"),
    ("\"joe:s3cret\"", "joe", "checks.http_auth_basic"),
    ("proxy: \"\"", "proxy: \"socks://127.0.0.1:1\"", "http_client.proxy"),
    ("proxy: \"\"", "proxy: \"http://127.0.0.1:1/path\"", "http_client.proxy"),
    // Providers, metrics, spans.
    ("configuration_uri: \"ISSUER\", client_id: a, ", "client_id: a, ", "configuration_uri"),
    ("client_secret: s3cret, auth_method: auto", "auth_method: client_secret_post", "client_secret"),
    ("otel_enabled: false", "otel_enabled: true", "otel_enabled"),
    ("prometheus_path: /metrics", "prometheus_path: \"/a?b\"", "prometheus_path"),
];

/// A new content for a file, or `None` to remove it; the log names its key.
pub(crate) const FILES: [(&str, Option<&str>, &str); 22] = [
    ("root.crt", None, "server.tls.root_ca"),
    ("root.crt", Some(""), "server.tls.root_ca"),
    ("root.crt", Some("nonsense"), "server.tls.root_ca"),
    ("root.crt", Some("=client.key"), "server.tls.root_ca"),
    ("root.crt", Some("~root.crt"), "server.tls.root_ca"),
    ("client.crt", None, "server.tls.cert"),
    ("client.crt", Some(""), "server.tls.cert"),
    ("client.crt", Some("=client.key"), "server.tls.cert"),
    ("client.crt", Some("~client.crt"), "server.tls.cert"),
    ("client.key", None, "server.tls.key"),
    ("client.key", Some("=client.crt"), "server.tls.key"),
    ("client.key", Some("=endpoint.key"), "server.tls.key"),
    ("client.key", Some("~client.key"), "server.tls.key"),
    ("endpoint.crt", None, "prometheus_tls.cert"),
    ("endpoint.crt", Some("nonsense"), "prometheus_tls.cert"),
    ("endpoint.key", Some("=client.key"), "prometheus_tls.key"),
    ("endpoint.key", Some("~endpoint.key"), "prometheus_tls.key"),
    ("basic", None, "prometheus_http_auth_basic_file"),
    ("basic", Some(""), "prometheus_http_auth_basic_file"),
    ("basic", Some("joe"), "prometheus_http_auth_basic_file"),
    ("sasl.key", None, "sasl_oidc_auth.private_key_file"),
    ("sasl.key", Some("~sasl.key"), "sasl_oidc_auth.private_key_file"),
];
