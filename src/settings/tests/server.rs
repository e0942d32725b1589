//! `server`: TLS, the HTTP client, the cache's bounds and the worker pools.

use super::*;
use crate::lookup::PoolSettings;

fn server(lines: &str) -> String {
    format!("server:\n  {}\n", lines.replace('\n', "\n  "))
}

#[test]
fn the_http_client_is_told_its_bounds() {
    let http = good(&map("")).server.http;
    assert_eq!((http.max_connections_per_host, http.max_idle_connections), (None, None));
    assert_eq!(http.max_idle_connections_per_host, 256);
    assert_eq!(http.idle_connection_timeout, Duration::from_secs(90));
    let http = good(&server(
        r"http_client:
  max_connections_per_host: 2
  max_idle_connections: 3
  max_idle_connections_per_host: 4
  idle_connection_timeout: 5s
  proxy: http://joe:pw@p:3128",
    ))
    .server
    .http;
    assert_eq!((http.max_connections_per_host, http.max_idle_connections), (Some(2), Some(3)));
    assert_eq!(http.max_idle_connections_per_host, 4);
    assert_eq!(http.idle_connection_timeout, Duration::from_secs(5));
    assert_eq!(http.proxy.as_ref().and_then(url::Url::password), Some("pw"));
    let http = good(&server("http_client: {max_connections_per_host: 0, proxy: ''}")).server.http;
    assert_eq!((http.max_connections_per_host, http.proxy), (None, None));
    for (lines, expected) in [
        ("http_client: {max_connections_per_host: 16385}", "must be from 0 to 16384"),
        ("http_client: {idle_connection_timeout: 0s}", "must be from 1ms to 1h"),
        ("http_client: {proxy: 'socks5://p'}", "begins with http:// or https://"),
    ] {
        one(&server(lines), expected);
    }
}

#[test]
fn caches_and_pools_have_bounds() {
    let config = good(&map(""));
    assert_eq!(config.server.cache_bytes, 32 << 20);
    assert_eq!(config.maps[0].pool, PoolSettings { workers: 256, queue: 2560 });
    assert_eq!(config.maps[0].cache.outage, Duration::ZERO);
    let config = good(
        &(map("")
            + &server("response_cache: {enabled: true, max_bytes: 1048576}\nworker_pool: {max_workers: 10}")),
    );
    assert_eq!(config.server.cache_bytes, 1 << 20);
    assert_eq!(config.maps[0].pool, PoolSettings { workers: 10, queue: 100 });
    assert_eq!(config.maps[0].cache.outage, Duration::from_secs(300));
    let text = listener(
        r"kind: socket_map
type: tcp
address: ::1
worker_pool: {max_workers: 5, max_queue: 20}",
    );
    assert_eq!(good(&text).server.sockets.listen[0].pool, Some(PoolSettings { workers: 5, queue: 20 }));
    for (lines, expected) in [
        (
            "response_cache: {enabled: true, ttl: 169h}",
            "2:40 server.response_cache.ttl: must be from 1s to 7days",
        ),
        ("response_cache: {enabled: true, ttl: 500ms}", "server.response_cache.ttl: must be from 1s"),
        ("response_cache: {ttl: 5m}", "2:20 warning server.response_cache.ttl: has no effect without"),
        ("response_cache: {max_bytes: 1000}", "server.response_cache.max_bytes: must be from 1048576"),
        ("worker_pool: {max_queue: 0}", "server.worker_pool.max_queue: must be from 1"),
    ] {
        one(&server(lines), expected);
    }
}

#[test]
fn tls_files_are_read_and_told_where_they_are_named() {
    for (lines, expected) in [
        ("tls: {enabled: true, cert: /nowhere}", "2:3 server.tls: `key` is missing"),
        ("tls: {enabled: true, key: /nowhere}", "2:3 server.tls: `cert` is missing"),
        ("tls: {enabled: true, root_ca: /nowhere}", "2:33 server.tls.root_ca: "),
        (
            "tls: {enabled: true, root_ca: /dev/null}",
            "2:33 server.tls.root_ca: the file cannot be read: it is not a regular file",
        ),
        ("tls: {enabled: true, cert: /nowhere, key: /nowhere}", "2:30 server.tls.cert: "),
        ("tls: {enabled: true, skip_verify: true}", "2:24 warning server.tls.skip_verify: "),
        (
            "tls: {skip_verify: true}",
            "2:9 warning server.tls.skip_verify: has no effect without `enabled: true`",
        ),
        ("tls: {enabled: false, cert: /x}", "2:25 warning server.tls.cert: has no effect without"),
    ] {
        one(&server(lines), expected);
    }
    good(&server("tls: {enabled: true}"));
}

#[test]
fn blocks_that_are_not_built_are_checked_all_the_same() {
    assert_eq!(
        told(&server("admin: {path: x}\nobservability: {prometheus_enabled: 5, bad: true}")),
        [
            "2:17 server.admin.path: must be an absolute path",
            "3:39 server.observability.prometheus_enabled: expected true or false, found a number",
            "3:42 server.observability.bad: unknown key"
        ]
    );
}

#[test]
fn prometheus_may_ask_where_it_is_told_to() {
    assert!(good(&map("")).server.prometheus.is_none());
    let of = |keys: &str| {
        let config = good(&server(&format!("observability: {{prometheus_enabled: true{keys}}}")));
        config.server.prometheus.expect("an endpoint")
    };
    let usual = of("");
    assert_eq!((usual.address.to_string().as_str(), usual.path.as_str()), ("127.0.0.1:9464", "/metrics"));
    assert!(!usual.runtime && usual.credentials.is_none() && usual.tls.is_none());
    let other = of(
        ", prometheus_address: '[::1]', prometheus_port: 1, prometheus_path: m/x, prometheus_runtime_metrics: true, prometheus_http_auth_basic: 'u:p:w'",
    );
    assert_eq!((other.address.to_string().as_str(), other.path.as_str()), ("[::1]:1", "/m/x"));
    assert!(other.runtime);
    assert_eq!(other.credentials.as_ref().map(|pair| pair.expose()), Some("u:p:w"));
    assert!(!format!("{other:?}").contains("u:p:w"));
    assert!(good(&server("observability: {prometheus_port: 9}")).server.prometheus.is_none());
}

#[test]
fn an_endpoint_for_prometheus_is_checked() {
    for (keys, expected) in [
        ("prometheus_port: 0", "prometheus_port: must be from 1 to 65535"),
        ("prometheus_address: host", "prometheus_address: numeric addresses only"),
        ("prometheus_path: ''", "prometheus_path: must be the path of a URL"),
        ("prometheus_path: /a?b", "prometheus_path: must be the path of a URL"),
        ("prometheus_path: healthz", "prometheus_path: is the path of the health check"),
        (
            "prometheus_path: /status, prometheus_status_page: true",
            "prometheus_path: is the path of the status page",
        ),
        ("prometheus_http_auth_basic: 'user:'", "prometheus_http_auth_basic: must be `user:password`"),
        ("prometheus_http_auth_basic_file: /nowhere/at/all", "basic_file: the file cannot be read"),
        ("prometheus_tls: {enabled: true, cert: /x}", "prometheus_tls"),
        ("prometheus_tls: {min_tls_version: '1.1'}", "min_tls_version: must be one of: 1.2, 1.3"),
        ("prometheus_tls: {key: /x}", "warning server.observability.prometheus_tls.key: has no effect"),
        (
            "prometheus_address: 0.0.0.0",
            "warning server.observability.prometheus_address: any host that reaches",
        ),
    ] {
        one(&server(&format!("observability: {{prometheus_enabled: true, {keys}}}")), expected);
    }
    let wrong = server("observability: {prometheus_http_auth_basic: 'pw-without-user'}");
    assert!(!shown(&check(&wrong).expect_err("it is wrong")).contains("pw-without"));
}

#[test]
fn a_collector_is_told_where_it_is_named() {
    let of = |keys: &str| {
        let config = good(&server(&format!("observability: {{otel_enabled: true, {keys}}}")));
        config.server.otlp.expect("a collector")
    };
    let usual = of("otel_traces_enabled: true, otel_exporter_otlp_endpoint: 'c.example'");
    assert_eq!(usual.endpoint.as_str(), "https://c.example:4318/");
    assert_eq!((usual.traces, usual.metrics, usual.sample_ratio), (true, false, 1.0));
    assert_eq!(
        (usual.service_name.as_str(), usual.service_version.as_str()),
        ("pfxhttp", env!("CARGO_PKG_VERSION"))
    );
    let other = of(
        "otel_metrics_enabled: true, otel_exporter_otlp_endpoint: 'c:1', otel_exporter_otlp_insecure: true, otel_sample_ratio: 0, otel_service_version: 2, otel_exporter_otlp_headers: {Key: s3cret}",
    );
    assert_eq!((other.endpoint.as_str(), other.sample_ratio), ("http://c:1/", 0.0));
    assert_eq!((other.service_version.as_str(), other.headers["key"].to_str().ok()), ("2", Some("s3cret")));
    assert!(!format!("{other:?} {:?}", other.headers).contains("s3cret"));
    for (url, due) in [
        ("http://c/v1/traces", "http://c/"),
        ("https://c:4318/otlp", "https://c:4318/otlp"),
        ("[::1]:4318", "https://[::1]:4318/"),
    ] {
        let it = of(&format!("otel_traces_enabled: true, otel_exporter_otlp_endpoint: '{url}'"));
        assert_eq!(it.endpoint.as_str(), due, "{url}");
    }
    assert!(good(&server("observability: {otel_traces_enabled: true}")).server.otlp.is_none());
}

#[test]
fn a_collector_is_checked() {
    let traces = "otel_enabled: true, otel_traces_enabled: true";
    for (keys, expected) in [
        ("otel_enabled: true, otel_exporter_otlp_endpoint: c", "otel_enabled: there is nothing to export"),
        (traces, "otel_exporter_otlp_endpoint"),
        ("otel_sample_ratio: 1.5", "otel_sample_ratio: must be from 0 to 1"),
        ("otel_exporter_otlp_endpoint: 'ftp://c'", "begins with http:// or https://"),
        ("otel_exporter_otlp_endpoint: 'https://u:s3cret@c'", "must not hold a user name"),
        (
            "otel_exporter_otlp_endpoint: 'https://c', otel_exporter_otlp_insecure: true",
            "but otel_exporter_otlp_insecure is true",
        ),
        ("otel_exporter_otlp_headers: {'a b': x}", "is not a header's name"),
        ("otel_exporter_otlp_headers: {a: \"s3cret\\n\"}", "must be printable ASCII"),
    ] {
        let text = server(&format!("observability: {{{keys}}}"));
        one(&text, expected);
        assert!(!shown(&check(&text).expect_err("it is wrong")).contains("s3cret"), "{keys}");
    }
}
