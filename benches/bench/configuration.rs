//! What nginx, HAProxy and the broker are told. Each has its own defaults, but for the limits
//! that would have it close a kept connection, and for logs of requests, which none of them
//! writes.

use std::path::Path;

use super::certificate::Certificate;
use super::pair::Api;
use super::script::FIRST;

/// What a lookup's body and a reply hold in place of a number that differs each time.
pub(crate) const NUMBER: &str = "########";
/// What the backend tells of any key.
pub(crate) const VALUE: &str = "bob@example.org";
/// Who logs in.
pub(crate) const USER: &str = "user@example.org";
/// How many targets the entry with several has.
pub(crate) const TARGETS: usize = 3;
/// The map whose API is the bench itself.
pub(crate) const SHOWN: &str = "shown";
/// The whole answer to a lookup in a map.
pub(crate) const MAP_BODY: &str = r#"{"data": {"result": "bob@example.org"}}"#;

/// What nginx has.
pub(crate) struct Backend<'b> {
    pub(crate) ports: &'b [u16],
    /// The port with TLS, and its certificate.
    pub(crate) secure: Option<(u16, &'b Certificate)>,
    /// The echo module, for a path that takes a second.
    pub(crate) echo: Option<&'b Path>,
}

/// nginx as one process. `return` reads no body, as an API that is not slow.
pub(crate) fn nginx(directory: &Path, backend: &Backend<'_>) -> String {
    let directory = directory.display();
    let listen = backend.ports.iter().map(|port| format!("    listen 127.0.0.1:{port} backlog=4096;\n"));
    let listen = listen.collect::<String>();
    let secure = backend.secure.map(|(port, certificate)| secure(port, certificate)).unwrap_or_default();
    let load = backend.echo.map(|module| format!("load_module {};\n", module.display())).unwrap_or_default();
    let slow = if backend.echo.is_some() { SLOW } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {directory}/nginx-{kind};\n"))
        .concat();
    format!(
        r#"{load}daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
{temporary}  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 2000000000;
  default_type application/json;
  server {{
{listen}{secure}    location = /map {{ return 200 '{MAP_BODY}'; }}
    location = /policy {{ return 200 '{{"action": "DUNNO"}}'; }}
    location = /login {{
      add_header Auth-Status OK;
      add_header Auth-User {USER};
      return 200 '{{}}';
    }}
{slow}    location = /status {{ stub_status; }}
  }}
}}
"#
    )
}

/// The same answer after a second.
const SLOW: &str = "    location = /slow { echo_sleep 1; echo_exec /map; }\n";

/// A port with TLS, where both proxies get the same protocol and cipher.
fn secure(port: u16, certificate: &Certificate) -> String {
    let (file, key) = (certificate.file.display(), certificate.key.display());
    format!(
        "    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {file};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
"
    )
}

/// A port of HAProxy, and that of the API behind it.
pub(crate) struct Route<'r> {
    pub(crate) port: u16,
    pub(crate) backend: u16,
    /// With TLS to the API, whose certificate has to be this one.
    pub(crate) trusted: Option<&'r Certificate>,
}

/// HAProxy as the fastest it can be as an HTTP proxy: connections kept and shared on both sides. It gets at
/// most `most` requests at a time.
pub(crate) fn haproxy(routes: &[Route<'_>], most: usize) -> String {
    let most = most.max(4000) + 96;
    let routes = routes.iter().map(|Route { port, backend, trusted }| {
        let tls =
            trusted.map(|certificate| format!(" ssl verify required ca-file {}", certificate.file.display()));
        let tls = tls.unwrap_or_default();
        format!(
            "frontend asked-{port}
  bind 127.0.0.1:{port} backlog 4096
  default_backend api-{port}
backend api-{port}
  server nginx 127.0.0.1:{backend}{tls}
"
        )
    });
    let routes = routes.collect::<String>();
    format!(
        "global
  maxconn {most}
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
{routes}"
    )
}

/// A broker with one map, asked over a unix socket.
pub(crate) fn idle_broker(directory: &Path, backend: u16) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    let (listener, local) = (at("maps.sock"), at("broker.sock"));
    format!(
        r#"server:
  listen:
    - {{kind: socket_map, name: maps, type: unix, address: "{listener}", mode: "0600"}}
  ipc: {{path: "{local}", mode: "0600"}}
socket_maps:
{}"#,
        map("asked", backend, "")
    )
}

/// A broker whose API is that of HAProxy, too; it is asked over TCP.
pub(crate) fn broker_of_a_pair(directory: &Path, port: u16, api: Api, shown: u16) -> String {
    let Api { port: backend, path, most } = api;
    let map = |name, port| map_of(name, &format!("target: \"http://127.0.0.1:{port}{path}\""), "");
    format!(
        r#"server:
  listen:
    - {{kind: socket_map, name: maps, type: tcp, address: 127.0.0.1, port: {port}}}
  ipc: {{path: "{}", mode: "0600"}}
  worker_pool: {{max_workers: {most}}}
  http_client: {{max_idle_connections_per_host: {most}}}
socket_maps:
{}{}"#,
        directory.join("broker.sock").display(),
        map("asked", backend),
        map(SHOWN, shown),
    )
}

/// A broker with so many maps of one API. Their names are `m` and the last digits of a number, if the count is
/// a power of ten.
pub(crate) fn broker_of_maps(directory: &Path, port: u16, backend: u16, count: usize) -> String {
    let digits = digits(count);
    let maps = (0..count).map(|nth| {
        let number = (FIRST as usize + nth).to_string();
        map(&format!("m{}", &number[number.len() - digits..]), backend, "")
    });
    format!(
        r#"server:
  listen:
    - {{kind: socket_map, name: maps, type: tcp, address: 127.0.0.1, port: {port}}}
  ipc: {{path: "{}", mode: "0600"}}
socket_maps:
{}"#,
        directory.join("broker.sock").display(),
        maps.collect::<String>(),
    )
}

/// The digits of the highest number below a power of ten.
pub(crate) fn digits(power: usize) -> usize {
    power.ilog10() as usize
}

/// A broker with an entry of each contestant that is measured with a shared cache.
pub(crate) fn sharing_broker(directory: &Path, port: u16, backend: u16) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    format!(
        r#"server:
  listen:
    - {{kind: socket_map, name: maps, type: tcp, address: 127.0.0.1, port: {port}}}
  ipc: {{path: "{}", mode: "0600"}}
  response_cache: {{enabled: true, ttl: 1h}}
  shared: {{url: "unix:{}", secret_file: "{}"}}
socket_maps:
{}{}{}"#,
        at("broker.sock"),
        at("redis.sock"),
        at("secret"),
        map("kept", backend, ""),
        map("shared", backend, ", cache: {shared: true}"),
        map("shared-hit", backend, ", cache: {fresh: 1h, outage: false, shared: true}"),
    )
}

/// An entry as in the README's first map.
fn map(name: &str, port: u16, more: &str) -> String {
    map_of(name, &format!("target: {}", url(port)), more)
}

/// The same with a target at each of these ports.
fn map_of_several(name: &str, ports: [u16; TARGETS]) -> String {
    map_of(name, &format!("targets: [{}]", ports.map(url).join(", ")), "")
}

fn url(port: u16) -> String {
    format!("\"http://127.0.0.1:{port}/map\"")
}

fn map_of(name: &str, target: &str, more: &str) -> String {
    let payload = r#"'{"address": "{{ .Key }}"}'"#;
    format!("  {name}: {{{target}, payload: {payload}, value_field: data.result{more}}}\n")
}

/// The same with TLS to the API, whose certificate has to be this one.
fn map_with_tls(name: &str, port: u16, certificate: &Certificate) -> String {
    let tls = format!(", tls: {{root_ca: \"{}\"}}", certificate.file.display());
    map_of(name, &format!("target: \"https://127.0.0.1:{port}/map\""), &tls)
}

/// Where a broker listens.
pub(crate) struct Ports {
    pub(crate) map: u16,
    pub(crate) policy: u16,
    pub(crate) login: u16,
}

/// The APIs of a broker.
pub(crate) struct Apis<'a> {
    /// Ports of one backend.
    pub(crate) backends: [u16; TARGETS],
    /// The port of the same with TLS.
    pub(crate) secure: (u16, &'a Certificate),
    /// That of [`SHOWN`].
    pub(crate) shown: u16,
}

/// The broker: a map that asks, one that asks over TLS, one with several targets, one whose answers stay
/// fresh, a policy, logins; and [`SHOWN`], a map like `asked` with another API.
pub(crate) fn broker(directory: &Path, ports: &Ports, apis: &Apis<'_>) -> String {
    let Ports { map: map_port, policy, login } = ports;
    let Apis { backends, secure, shown } = apis;
    let backend = backends[0];
    let at = |name: &str| directory.join(name).display().to_string();
    format!(
        r#"server:
  listen:
    - {{kind: socket_map, name: maps, type: tcp, address: 127.0.0.1, port: {map_port}}}
    - {{kind: socket_map, name: maps, type: unix, address: "{}", mode: "0600"}}
    - {{kind: policy_service, name: checks, type: tcp, address: 127.0.0.1, port: {policy}}}
    - {{kind: dovecot_sasl, name: users, type: tcp, address: 127.0.0.1, port: {login}}}
  ipc: {{path: "{}", mode: "0600"}}
policy_services:
  checks: {{target: "http://127.0.0.1:{backend}/policy", payload: "{{{{ .Key }}}}", value_field: action}}
dovecot_sasl:
  users: {{target: "http://127.0.0.1:{backend}/login", sasl_attempts: 1000}}
socket_maps:
{}{}{}{}{}"#,
        at("maps.sock"),
        at("broker.sock"),
        map("asked", backend, ""),
        map_with_tls("secure", secure.0, secure.1),
        map_of_several("several", *backends),
        map("fresh", backend, ", cache: {fresh: 1h}"),
        map(SHOWN, *shown, ""),
    )
}
