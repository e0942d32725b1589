//! Logins over gRPC: TLS, certificates of both sides, a proxy, `check --online`, and a reload.

use std::fs;
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::{ALL_VERSIONS, ServerConfig, ServerConnection};

use crate::login_grpc::{entry, log_in, setup};
use crate::support::backend::Backend;
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::check::online;
use crate::support::config::Config;
use crate::support::grpc_service::{GrpcService, users};
use crate::support::http2_peer::{Http2Peer, SETTINGS, frame};
use crate::support::port::Port;
use crate::support::site::open_directory;
use crate::support::tinyproxy::Tinyproxy;

const RIGHT: &str = "OK\t1\tuser=u";

fn tls(root: &Path, more: &str) -> String {
    format!("tls: {{enabled: true, root_ca: \"{}\"{more}}}", root.display())
}

fn shows(identity: &Identity, directory: &Path, name: &str) -> String {
    let (cert, key) = identity.write(directory, name);
    format!(", client_cert: \"{}\", client_key: \"{}\"", cert.display(), key.display())
}

#[test]
fn certificates_of_both_sides_are_checked() {
    let directory = open_directory();
    let [ours, theirs] = ["ours", "theirs"].map(Authority::new);
    let [our_root, their_root] = [(&ours, "ours.crt"), (&theirs, "theirs.crt")]
        .map(|(authority, name)| authority.write(directory.path(), name));
    let plain = GrpcService::start_tls(&theirs.server(Flaw::None), None);
    let elsewhere = GrpcService::start_tls(&theirs.server(Flaw::WrongHost), None);
    let mutual = GrpcService::start_tls(&theirs.server(Flaw::None), Some(&our_root));
    let good = tls(&their_root, "");
    let with_cert = tls(&their_root, &shows(&ours.client(), directory.path(), "good"));
    let foreign = tls(&their_root, &shows(&theirs.client(), directory.path(), "foreign"));
    let named = tls(&their_root, ", server_name: other.test.example, min_tls_version: \"1.3\"");
    let setup = crate::support::setup::Setup::start(|config| {
        let config = entry(config, "good", &plain, &good, &[]);
        let config = entry(config, "untrusted", &plain, &tls(&our_root, ""), &[]);
        let config = entry(config, "skips", &plain, "tls: {enabled: true, skip_verify: true}", &[]);
        let config = entry(config, "elsewhere", &elsewhere, &good, &[]);
        let config = entry(config, "named", &elsewhere, &named, &[]);
        let config = entry(config, "mutual", &mutual, &with_cert, &[]);
        let config = entry(config, "without", &mutual, &good, &[]);
        entry(entry(config, "foreign", &mutual, &foreign, &[]), "no-tls", &plain, "", &[])
    });
    for name in ["good", "skips", "named", "mutual"] {
        assert_eq!(log_in(&setup, name, "u", "secret"), RIGHT, "{name}: {}", setup.broker.log());
        assert!(log_in(&setup, name, "u", "wrong").starts_with("FAIL\t"), "{name}");
    }
    let calls = mutual.calls();
    assert_eq!(calls[0]["client"], serde_json::json!(["127.0.0.1"]), "our certificate");
    for (name, reason) in [
        ("untrusted", "class=\"tls\""),
        ("elsewhere", "and not for 127.0.0.1"),
        // grpcio closes the connection without an alert.
        ("without", "class=\"protocol\""),
        ("foreign", "class=\"protocol\""),
        ("no-tls", "trouble with a target"),
    ] {
        assert_eq!(log_in(&setup, name, "u", "secret"), "closed", "{name}");
        assert!(setup.broker.logged(&["trouble with a target", reason]), "{name}: {}", setup.broker.log());
    }
    assert_eq!((mutual.calls().len(), elsewhere.calls().len()), (2, 2));
}

#[test]
fn a_server_that_does_not_agree_on_http2_gets_no_password() {
    let directory = open_directory();
    let authority = Authority::new("ours");
    let root = authority.write(directory.path(), "root.crt");
    // HTTP/1.1 without ALPN.
    let api =
        Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, None), |_| panic!("no request"));
    let address = api.url("").replace("https://", "");
    let grpc = format!("grpc: {{address: \"{address}\", {}}}", tls(&root, ""));
    let setup =
        crate::support::setup::Setup::start(|config| config.login_of("users", &["transport: grpc", &grpc]));
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    assert!(setup.broker.logged(&["class=\"tls\"", "does not agree on HTTP/2"]), "{}", setup.broker.log());
    assert_eq!(api.count(), 0);
}

/// A server that wants a certificate, and says so before it closes the connection.
fn refusing(config: ServerConfig) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut tls = ServerConnection::new(Arc::new(config)).expect("a server");
        while tls.is_handshaking() && tls.read_tls(&mut stream).is_ok_and(|read| read > 0) {
            let is_refused = tls.process_new_packets().is_err();
            while tls.wants_write() {
                tls.write_tls(&mut stream).expect("it is read");
            }
            if is_refused {
                break;
            }
        }
        stream.shutdown(Shutdown::Write).expect("an open connection");
        // Closed with unread bytes, it would be reset, and the alert be lost.
        let _reset = std::io::copy(&mut stream, &mut std::io::sink());
    });
    (address, thread)
}

#[test]
fn an_alert_behind_the_handshake_is_told() {
    let directory = open_directory();
    let authority = Authority::new("ours");
    let root = authority.write(directory.path(), "root.crt");
    let mut config = ServerConfig::clone(&authority.server(Flaw::None).serve(ALL_VERSIONS, Some(&authority)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (address, server) = refusing(config);
    let grpc = format!("grpc: {{address: \"{address}\", {}}}", tls(&root, ""));
    let setup =
        crate::support::setup::Setup::start(|config| config.login_of("users", &["transport: grpc", &grpc]));
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
    let due = ["class=\"tls\"", "it wants a certificate of ours (grpc.tls.client_cert)"];
    assert!(setup.broker.logged(&due), "{}", setup.broker.log());
    server.join().expect("a thread");
}

#[test]
fn a_proxy_makes_a_tunnel() {
    let directory = open_directory();
    let authority = Authority::new("ours");
    let tls = tls(&authority.write(directory.path(), "root.crt"), "");
    let service = GrpcService::start_tls(&authority.server(Flaw::None), None);
    let (plain, proxy) = (GrpcService::start(), Tinyproxy::start());
    let setup = crate::support::setup::Setup::start(|config| {
        let config = entry(config.proxy(&proxy.url()), "users", &service, &tls, &[]);
        entry(entry(config, "plain", &plain, "", &[]), "direct", &plain, "", &["proxy: none"])
    });
    assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT, "{}", setup.broker.log());
    assert!(proxy.log().contains(&format!("CONNECT {}", service.address())), "{}", proxy.log());
    assert_eq!(log_in(&setup, "plain", "u", "secret"), "closed");
    assert!(
        setup.broker.logged(&["gRPC through a proxy needs `grpc.tls.enabled`"]),
        "{}",
        setup.broker.log()
    );
    assert_eq!(log_in(&setup, "direct", "u", "secret"), RIGHT);
}

#[test]
fn a_check_says_whether_it_can_be_reached() {
    let directory = open_directory();
    let authority = Authority::new("ours");
    let root = authority.write(directory.path(), "root.crt");
    let (good, secure) = (GrpcService::start(), GrpcService::start_tls(&authority.server(Flaw::None), None));
    let http = Backend::constant("{}");
    let nobody = Port::reserve();
    let raw = |address: &str| format!("grpc: {{address: \"{address}\"}}");
    let config = entry(Config::new(directory.path()), "good", &good, "", &[]);
    let config = entry(config, "secure", &secure, &tls(&root, ""), &[]);
    let config = config.login_of("http", &["transport: grpc", &raw(&http.url("").replace("http://", ""))]);
    let config = config.login_of("nobody", &["transport: grpc", &raw(&nobody.address().to_string())]);
    // An acknowledgement is no SETTINGS.
    let other = Http2Peer::start(|_| Some(frame(SETTINGS, 1, 0, b"")));
    let config = config.login_of("other", &["transport: grpc", &raw(&other.address())]);
    let checked = online(&config);
    let said = checked.text();
    for due in [
        format!("http://{}: not reached: it does not speak HTTP/2, which gRPC needs", other.address()),
        format!("http://{}: reached (used by: login good)", good.address()),
        format!("https://{}: reached (used by: login secure)", secure.address()),
        format!("{}: not reached: it does not speak HTTP/2, which gRPC needs", http.url("")),
        format!("http://{}: not reached: connection refused", nobody.address()),
    ] {
        assert!(said.contains(&due), "{due}: {said}");
    }
    assert_eq!((good.calls().len(), secure.calls().len()), (0, 0));
}

#[test]
fn a_reload_takes_new_settings_and_new_certificates() {
    let directory = open_directory();
    let authority = Authority::new("ours");
    let other = Authority::new("other");
    let root = authority.write(directory.path(), "root.crt");
    let mut service = GrpcService::start_tls(&authority.server(Flaw::None), None);
    let setup = setup(&service, &tls(&root, ""), &[]);
    assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
    // Nothing changed: the connection stays.
    assert!(setup.broker.reload());
    assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
    let calls = service.calls();
    assert_eq!(calls[0]["peer"], calls[1]["peer"]);
    other.write(directory.path(), "root.crt");
    assert!(setup.broker.reload());
    assert_eq!(log_in(&setup, "users", "u", "secret"), "closed", "the content of root_ca has changed");
    authority.write(directory.path(), "root.crt");
    let file = setup.broker.config().to_owned();
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, text.replace("grpc: {", "grpc: {metadata: {x-a: [b]}, ")).expect("it can be written");
    assert!(setup.broker.reload());
    service.answer(users());
    assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
    let call = service.calls().pop().expect("a call");
    assert!(call["metadata"].to_string().contains(r#"["x-a","b"]"#), "{call}");
    let broken = fs::read_to_string(&file).expect("the configuration").replace("x-a", "grpc-a");
    fs::write(&file, broken).expect("it can be written");
    assert!(!setup.broker.reload());
    assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT, "the running configuration stays");
}
