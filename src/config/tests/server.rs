//! `server`: TLS, the HTTP client, the cache's bounds and the worker pools.

use super::*;
use crate::target::PoolSettings;

fn server(lines: &str) -> String {
    format!("server:\n  {}\n", lines.replace('\n', "\n  "))
}

#[test]
fn the_http_client_is_told_its_bounds() {
    let http = good(&map("")).server.http;
    assert_eq!((http.max_connections_per_host, http.max_idle_connections), (None, None));
    assert_eq!(http.max_idle_connections_per_host, 32);
    assert_eq!(http.idle_connection_timeout, Duration::from_secs(90));
    let http = good(&server(
        "http_client:\n  max_connections_per_host: 2\n  max_idle_connections: 3\n  max_idle_connections_per_host: 4\n  idle_connection_timeout: 5s\n  proxy: http://joe:pw@p:3128",
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
    let text =
        listener("kind: socket_map\ntype: tcp\naddress: ::1\nworker_pool: {max_workers: 5, max_queue: 20}");
    assert_eq!(good(&text).server.listen[0].pool, Some(PoolSettings { workers: 5, queue: 20 }));
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
            "2:33 server.tls.root_ca: there is no certificate in it",
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
        told(&server("admin: {path: x}\nobservability: {prometheus_enabled: 5, bad: 1}")),
        [
            "2:17 server.admin.path: must be an absolute path",
            "3:3 server.observability: not built yet",
            "3:39 server.observability.prometheus_enabled: expected true or false, found a number",
            "3:42 server.observability.bad: unknown key"
        ]
    );
}
