//! TLS to a backend: which certificates are trusted, which certificate the broker shows, and that
//! nothing is sent to a server that is not trusted.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ServerConfig};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::config::{Config, trust};
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::open_directory;

const TEMP: &str = "TEMP Temporary server problem";
const FAILED: &str = "action=DEFER Temporary server problem\n\n";

fn api(tls: Arc<ServerConfig>) -> Backend {
    Backend::start_tls(tls, |_: &Request| Reply::json(r#"{"value": "v", "action": "OK"}"#))
}

/// A broker that asks `api`, with these settings in `server.tls`.
fn setup(api: &Backend, tls: &str) -> Setup {
    Setup::start(|config| entries(config, api).server(&format!("tls: {{{tls}}}")))
}

fn entries(config: Config, api: &Backend) -> Config {
    config.map("m", &api.url("/"), &["timeout: 5s"]).policy("p", &api.url("/"), &["timeout: 5s"])
}

fn assert_answered(setup: &Setup, what: &str) {
    let mut peer = setup.map();
    for _ in 0..3 {
        assert_eq!(peer.look_up("m", "k"), "OK v", "{what}");
    }
    assert_eq!(setup.policy("p").ask(&[("sender", "a@example.com")]), "action=OK\n\n", "{what}");
}

/// Lookups fail temporarily, and no request is sent.
fn assert_refused(setup: &Setup, api: &Backend, what: &str) {
    let (mut peer, start) = (setup.map(), Instant::now());
    assert_eq!(peer.look_up("m", "k"), TEMP, "{what}");
    assert_eq!(peer.look_up("m", "k"), TEMP, "{what}, on the same connection");
    assert_eq!(setup.policy("p").ask(&[("sender", "a@example.com")]), FAILED, "{what}");
    assert!(start.elapsed() < Duration::from_secs(4), "{what}: {:?}", start.elapsed());
    assert_eq!(api.count(), 0, "{what}: no request was sent");
}

#[test]
fn a_good_certificate_is_trusted() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    for (what, versions) in [("TLS 1.2", &[&TLS12][..]), ("TLS 1.3", &[&TLS13]), ("both", ALL_VERSIONS)] {
        let api = api(authority.server(Flaw::None).serve(versions, None));
        assert_answered(&setup(&api, &trust), what);
        // Postfix' two connections may be on two threads, each of which keeps its own connection to the
        // API.
        let connections = api.requests().iter().map(|request| request.connection).max();
        assert!(connections <= Some(2), "{what}: the connection is kept");
        assert!(
            api.requests().iter().all(|request| !request.certified),
            "{what}: no client certificate is sent"
        );
    }
}

/// Certificates that must not be trusted.
fn untrusted_certificates(authority: &Authority) -> Vec<(&'static str, Identity)> {
    vec![
        ("expired", authority.server(Flaw::Expired)),
        ("not yet valid", authority.server(Flaw::NotYetValid)),
        ("of another host", authority.server(Flaw::WrongHost)),
        ("signed by itself", Identity::self_signed()),
        ("signed by another authority", Authority::new("other").server(Flaw::None)),
        ("signed by a namesake", Authority::new("good").server(Flaw::None)),
        ("of a client", authority.client()),
    ]
}

#[test]
fn a_bad_certificate_is_not_trusted() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    for (what, identity) in untrusted_certificates(&authority) {
        let api = api(identity.serve(ALL_VERSIONS, None));
        assert_refused(&setup(&api, &trust), &api, what);
    }
}

/// `root_ca` may hold the server's own certificate, whoever signed it.
#[test]
fn a_certificate_in_root_ca_is_trusted() {
    let directory = open_directory();
    let other = Authority::new("other");
    for (what, identity) in [
        ("as openssl makes it", Identity::openssls(Flaw::None)),
        ("signed by itself", Identity::self_signed()),
        ("signed by another authority", other.server(Flaw::None)),
        ("of a client", other.client()),
    ] {
        let (file, _) = identity.write(directory.path(), "shown");
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let api = api(identity.serve(versions, None));
            assert_answered(&setup(&api, &trust(&file)), &format!("{what}, {versions:?}"));
        }
    }
}

#[test]
fn a_certificate_in_root_ca_still_needs_the_right_name_date_and_key() {
    let directory = open_directory();
    let good = Identity::openssls(Flaw::None);
    let (file, _) = good.write(directory.path(), "good");
    for (what, flaw) in [
        ("expired", Flaw::Expired),
        ("not yet valid", Flaw::NotYetValid),
        ("of another host", Flaw::WrongHost),
    ] {
        let identity = Identity::openssls(flaw);
        let (file, _) = identity.write(directory.path(), "shown");
        let api = api(identity.serve(ALL_VERSIONS, None));
        assert_refused(&setup(&api, &trust(&file)), &api, what);
    }
    let namesake = api(Identity::openssls(Flaw::None).serve(ALL_VERSIONS, None));
    assert_refused(&setup(&namesake, &trust(&file)), &namesake, "a namesake");
    let thief = api(good.serve_with_key_of(&Identity::self_signed()));
    assert_refused(&setup(&thief, &trust(&file)), &thief, "without its key");
}

/// The administrator should look at the certificate, not at the network.
#[test]
fn the_log_names_an_untrusted_certificate_as_the_reason() {
    let api = api(Identity::self_signed().serve(ALL_VERSIONS, None));
    let refusing = Port::reserve();
    let target = format!("https://{}/", refusing.address());
    let setup = Setup::start(|config| entries(config, &api).map("away", &target, &[]));
    let mut peer = setup.map();
    for map in ["m", "away"] {
        assert_eq!(peer.look_up(map, "k"), TEMP, "{map}");
    }
    for (map, class) in [("m", "tls"), ("away", "connect")] {
        let due = ["lookup failed", &format!("name=\"{map}\""), &format!("class=\"{class}\"")];
        assert!(setup.broker.logged(&due), "{due:?} is not in {}", setup.broker.log());
    }
}

#[test]
fn without_root_ca_the_systems_authorities_are_trusted() {
    let authority = Authority::new("good");
    let api = api(authority.server(Flaw::None).serve(ALL_VERSIONS, None));
    assert_refused(&setup(&api, "enabled: true"), &api, "the system does not know this authority");
    assert_refused(&Setup::start(|config| entries(config, &api)), &api, "nor without a word about TLS");
}

#[test]
fn skip_verify_trusts_every_certificate() {
    let authority = Authority::new("good");
    let identities =
        untrusted_certificates(&authority).into_iter().chain([("good", authority.server(Flaw::None))]);
    for (what, identity) in identities {
        let api = api(identity.serve(ALL_VERSIONS, None));
        assert_answered(&setup(&api, "enabled: true, skip_verify: true"), what);
    }
}

#[test]
fn a_backend_may_request_a_client_certificate() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    let shown = |name: &str, signer: &Authority| {
        let (cert, key) = signer.client().write(directory.path(), name);
        format!("{trust}, cert: \"{}\", key: \"{}\"", cert.display(), key.display())
    };
    let ours = shown("ours", &authority);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let start = || api(authority.server(Flaw::None).serve(versions, Some(&authority)));
        let api = start();
        assert_answered(&setup(&api, &ours), "with a certificate");
        assert!(
            api.requests().iter().all(|request| request.certified),
            "{versions:?}: the server got the certificate"
        );
        let api = start();
        assert_refused(&setup(&api, &trust), &api, "without a certificate");
        let foreign = shown("foreign", &Authority::new("other"));
        assert_refused(&setup(&api, &foreign), &api, "with one of another authority");
    }
}

#[test]
fn the_client_certificate_is_sent_only_on_request() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    let (cert, key) = authority.client().write(directory.path(), "ours");
    let api = api(authority.server(Flaw::None).serve(ALL_VERSIONS, None));
    let tls = format!("{trust}, cert: \"{}\", key: \"{}\"", cert.display(), key.display());
    assert_answered(&setup(&api, &tls), "with a certificate that is not requested");
    assert!(api.requests().iter().all(|request| !request.certified));
}

/// A target with `http` for a server with TLS, and one with `https` for a server without it.
#[test]
fn the_wrong_scheme_is_a_failure() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    let (plain, secure) =
        (Backend::constant("{}"), api(authority.server(Flaw::None).serve(ALL_VERSIONS, None)));
    let setup = Setup::start(|config| {
        let config = config.server(&format!("tls: {{{trust}}}"));
        let config = config.map("plain", &plain.url("/").replace("http:", "https:"), &[]);
        config.map("secure", &secure.url("/").replace("https:", "http:"), &[])
    });
    let mut peer = setup.map();
    for map in ["plain", "secure"] {
        assert_eq!(peer.look_up(map, "k"), TEMP, "{map}");
    }
    assert_eq!((plain.count(), secure.count()), (0, 0));
}

/// Connecting includes the handshake: a server that sends nothing is given up after two seconds.
#[test]
fn a_handshake_that_does_not_come_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = format!("https://{}/", silent.local_addr().expect("an address"));
    let setup = Setup::start(|config| {
        config.map("m", &target, &["timeout: 10s"]).map("short", &target, &["timeout: 500ms"])
    });
    let start = Instant::now();
    assert_eq!(setup.map().look_up("short", "key"), TEMP);
    assert!(start.elapsed() < Duration::from_millis(1500), "the budget ends before that");
    drop(silent.accept().expect("the broker has connected"));
    let listening = std::thread::spawn(move || {
        let (mut stream, _) = silent.accept().expect("the broker connects");
        let (mut said, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            said.extend_from_slice(&piece[..read]);
        }
        said
    });
    let start = Instant::now();
    assert_eq!(setup.map().look_up("m", "very-secret-key"), TEMP);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2500), "took {took:?}");
    let said = listening.join().expect("no panic");
    assert!(said.starts_with(b"\x16\x03"), "a ClientHello comes: {}", crate::support::shown(&said));
    assert!(!said.windows(6).any(|part| part == b"secret"), "no part of the request is sent");
}
