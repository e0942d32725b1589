//! Input that other systems and the Go program's configurations have: quoted booleans and numbers,
//! fractions of seconds, keys of its first versions, and a byte order mark before a file or an answer.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::command_line::check;
use crate::support::config::{Config, Kind};
use crate::support::gzip::gzip;
use crate::support::peer::Peer;
use crate::support::setup::Setup;
use crate::support::site::open_directory;

const MARK: &str = "\u{feff}";

#[test]
fn an_answer_with_a_byte_order_mark_is_read() {
    let api = Backend::start(|request| {
        let body = format!("{MARK}{{\"value\": \"v\", \"action\": \"REJECT no\"}}");
        match request.path.as_str() {
            "/gzip" => Reply::Answer {
                status: 200,
                headers: vec![("Content-Encoding".to_owned(), "gzip".to_owned())],
                body: gzip(body.as_bytes()),
            },
            "/twice" => Reply::json(&format!("{MARK}{body}")),
            "/inside" => Reply::json(&body.replacen(MARK, " \u{feff}", 1)),
            _ => Reply::json(&body),
        }
    });
    let setup = Setup::start(|config| {
        let config = config.map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[]);
        let config = config.map("packed", &api.url("/gzip"), &["http_response_compression: true"]);
        config.map("twice", &api.url("/twice"), &[]).map("inside", &api.url("/inside"), &[])
    });
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!(peer.look_up("packed", "k"), "OK v");
    assert_eq!(setup.policy("p").ask(&[("sender", "a@example.com")]), "action=REJECT no\n\n");
    for map in ["twice", "inside"] {
        assert_eq!(peer.look_up(map, "k"), "TEMP Temporary server problem", "{map}: this is not JSON");
    }
}

#[test]
fn files_with_a_byte_order_mark_are_read() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let (secret, socket) = (directory.path().join("secret"), directory.path().join("maps.sock"));
    fs::write(&secret, format!("{MARK}joe:secret\r\n")).expect("a file");
    let basic = format!("http_auth_basic_file: {}", secret.display());
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[&basic]);
    let file = config.listen_unix(Kind::Map, "maps", &socket).write();
    let whole = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("{MARK}{whole}")).expect("the configuration can be written");
    let _running = Broker::start(&file);
    assert_eq!(Peer::unix(&socket).look_up("m", "k"), "OK v");
    assert_eq!(api.last().header("authorization"), Some("Basic am9lOnNlY3JldA=="), "joe:secret");
}

#[test]
fn quoted_values_fractions_and_x_keys_are_accepted() {
    let directory = open_directory();
    let api = Backend::start(|_| Reply::stall());
    let socket = directory.path().join("maps.sock");
    let target = format!("target: \"{}\"", api.url("/"));
    let keys = ["payload: '{}'", "value_field: value", "timeout: 1.5s", "status_code: \"200\""];
    let quoted = ["http_request_compression: \"true\"", "cache: {outage: \"False\"}"];
    let config = Config::new(directory.path()).server("logging: {json: \"false\", level: info}");
    let config = config.map_of("m", &[&[target.as_str()], &keys[..], &quoted[..]].concat());
    let file = config.listen_unix(Kind::Map, "maps", &socket).write();
    let whole = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("x-common: &ours {{timeout: 7, anything: [1, 2]}}\n{whole}"))
        .expect("it can be written");
    let _running = Broker::start(&file);
    let started = Instant::now();
    assert_eq!(Peer::unix(&socket).look_up("m", "k"), "TEMP Temporary server problem");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(api.last().header("content-encoding"), Some("gzip"));
}

#[test]
fn keys_of_the_first_versions_are_explained() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let start = |server: &str, entry: &str| {
        let config = Config::new(directory.path()).server(server).map("m", &api.url("/"), &[entry]);
        check(&config.write(), &[])
    };
    let (code, said) = start("tls: {enabled: true, http_client_skip_verify: true}", "timeout: 5s");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("http_client_skip_verify: is read as `skip_verify`, its name today"), "{said}");
    assert!(said.contains("any certificate is accepted"), "{said}");
    let (code, said) = start(
        "jwt_db_path: /var/lib/pfxhttp/jwt.db",
        "jwt_auth: {enabled: true, credentials: {username: u, password: s3cret}}",
    );
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("tokens are kept in memory") && said.contains("backend_oidc_auth"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
