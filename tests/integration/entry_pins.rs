//! `pin_sha256`: the public key that a server must have.

use std::process::Command;

use rustls::ALL_VERSIONS;

use crate::support::backend::{Backend, Reply};
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::config::trust;
use crate::support::setup::Setup;
use crate::support::site::open_directory;

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &str = r#"{"value": "v"}"#;
/// What the documentation says.
const MAKE: &str = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64";

fn api(identity: &Identity) -> Backend {
    Backend::start_tls(identity.serve(ALL_VERSIONS, None), |_| Reply::json(VALUE))
}

fn pins(pins: &[&str]) -> String {
    format!("pin_sha256: {pins:?}")
}

#[test]
fn a_pin_is_what_openssl_makes() {
    let (directory, identity) = (open_directory(), Identity::self_signed());
    let (cert, _) = identity.write(directory.path(), "some");
    let output = Command::new("sh").args(["-c", MAKE]).arg(&cert).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), identity.pin(), "{output:?}");
}

#[test]
fn the_key_must_be_pinned_besides_all_other_rules() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let root = format!("root_ca: \"{}\"", authority.write(directory.path(), "ca.crt").display());
    let (good, expired) = (authority.server(Flaw::None), authority.server(Flaw::Expired));
    let (pin, other, of_expired) = (good.pin(), Identity::self_signed().pin(), expired.pin());
    let (api, expired) = (api(&good), api(&expired));
    let setup = Setup::start(|config| {
        let tls = |fields: &str| format!("tls: {{{fields}}}");
        let with = |list: &[&str]| tls(&format!("{root}, {}", pins(list)));
        let config = config.map("right", &api.url("/"), &[&with(&[&pin])]);
        let config = config.map("either", &api.url("/"), &[&with(&[&other, &pin])]);
        let config = config.map("wrong", &api.url("/"), &[&with(&[&other])]);
        let config = config.map("alone", &api.url("/"), &[&tls(&pins(&[&pin]))]);
        config.map("expired", &expired.url("/"), &[&with(&[&of_expired])])
    });
    let mut peer = setup.map();
    for (map, due) in
        [("right", "OK v"), ("either", "OK v"), ("wrong", TEMP), ("alone", TEMP), ("expired", TEMP)]
    {
        assert_eq!(peer.look_up(map, "k"), due, "{map}");
    }
    assert_eq!((api.count(), expired.count()), (2, 0));
    let reason = format!("the public key of the certificate is {pin}, which is not in pin_sha256");
    for reason in
        [&reason as &str, "by an authority that this system does not know", "the certificate expired on"]
    {
        let line = ["trouble with a target", "class=\"tls\"", reason];
        assert!(setup.broker.logged(&line), "{reason}: {}", setup.broker.log());
    }
}

#[test]
fn with_skip_verify_the_pin_alone_decides() {
    let (good, other) = (Identity::openssls(Flaw::Expired), Identity::self_signed());
    let (right, stranger) = (api(&good), api(&other));
    let thief = Backend::start_tls(good.serve_with_key_of(&other), |_| Reply::json(VALUE));
    let tls = format!("tls: {{skip_verify: true, {}}}", pins(&[&good.pin()]));
    let setup = Setup::start(|config| {
        let config =
            config.map("right", &right.url("/"), &[&tls]).map("stranger", &stranger.url("/"), &[&tls]);
        config.map("thief", &thief.url("/"), &[&tls])
    });
    let mut peer = setup.map();
    for (map, due) in [("right", "OK v"), ("stranger", TEMP), ("thief", TEMP)] {
        assert_eq!(peer.look_up(map, "k"), due, "{map}");
    }
    assert_eq!((right.count(), stranger.count(), thief.count()), (1, 0, 0));
    let log = setup.broker.log();
    assert!(!log.contains("any certificate is accepted"), "{log}");
    assert!(setup.broker.logged(&[&format!("{}, which is not in pin_sha256", other.pin())]), "{log}");
}

/// `server.tls` has pins; an entry has its own, or none.
#[test]
fn an_entry_has_the_pins_of_the_server_unless_it_says_others() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let (one, two) = (authority.server(Flaw::None), authority.server(Flaw::None));
    let server =
        format!("tls: {{{}, {}}}", trust(&authority.write(directory.path(), "ca.crt")), pins(&[&one.pin()]));
    let (first, second) = (api(&one), api(&two));
    let setup = Setup::start(|config| {
        let own = format!("tls: {{{}}}", pins(&[&two.pin()]));
        let config = config.server(&server).map("first", &first.url("/"), &[]);
        let config = config.map("second", &second.url("/"), &[]).map("own", &second.url("/"), &[&own]);
        let config = config.map("empty", &second.url("/"), &["tls: {pin_sha256: []}"]);
        config.map("inherits", &second.url("/"), &["tls: {min_tls_version: \"1.3\"}"])
    });
    let mut peer = setup.map();
    for (map, due) in
        [("first", "OK v"), ("second", TEMP), ("own", "OK v"), ("empty", "OK v"), ("inherits", TEMP)]
    {
        assert_eq!(peer.look_up(map, "k"), due, "{map}");
    }
}

/// A pin is of an API: the proxy has another key.
#[test]
fn a_pin_is_not_for_the_proxy() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let proxy = api(&authority.server(Flaw::None));
    let pin = Identity::self_signed().pin();
    let server =
        format!("tls: {{{}, {}}}", trust(&authority.write(directory.path(), "ca.crt")), pins(&[&pin]));
    let setup = Setup::start(|config| {
        let config = config.server(&server).proxy(&proxy.url(""));
        config.map("m", "http://api.test.example/", &[])
    });
    assert_eq!(setup.map().look_up("m", "k"), "OK v");
    assert_eq!(proxy.last().path, "http://api.test.example/");
}
