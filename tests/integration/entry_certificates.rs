//! `tls` of an entry: whom it trusts and what it presents, and that none of it reaches another entry.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ServerConfig};

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::broker::{Broker, command};
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::config::{Config, Kind, trust};
use crate::support::peer::Peer;
use crate::support::sasl::Heard;
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};

const TEMP: &str = "TEMP Temporary server problem";
const FAILED: &str = "action=DEFER Temporary server problem\n\n";

fn api(tls: Arc<ServerConfig>) -> Backend {
    Backend::start_tls(tls, |request| match request.path.as_str() {
        "/login" => Reply::with_header("Auth-User", "u", ""),
        _ => Reply::json(r#"{"value": "v", "action": "OK"}"#),
    })
}

/// The block `tls` with the authority in `file` and these further fields.
fn root(file: &Path, more: &str) -> String {
    format!("tls: {{root_ca: \"{}\"{more}}}", file.display())
}

/// The fields for this certificate and its key.
fn shows(identity: &Identity, directory: &Path, name: &str) -> String {
    let (cert, key) = identity.write(directory, name);
    format!("cert: \"{}\", key: \"{}\"", cert.display(), key.display())
}

/// Map `name` fails, and log and trace give the reason.
fn assert_refused(setup: &Setup, name: &str, reason: &str) {
    assert_eq!(setup.map().look_up(name, "k"), TEMP, "{name}");
    let log = setup.broker.log();
    assert!(setup.broker.logged(&["trouble with a target", "class=\"tls\"", reason]), "{reason}: {log}");
    let file = setup.ipc().with_file_name("pfxhttp.yml");
    let output = command(&file).args(["query", "--trace", "map", name, "k"]).output().expect("a program");
    let trace = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let is_told = trace.lines().any(|line| line.contains("no answer: ") && line.contains(reason));
    assert!(is_told, "{reason} is not in {trace}");
}

#[test]
fn each_entry_trusts_its_own_authority() {
    let directory = open_directory();
    let [one, two] = ["one", "two"].map(Authority::new);
    let [first, second] =
        [&one, &two].map(|authority| api(authority.server(Flaw::None).serve(ALL_VERSIONS, None)));
    let [one, two] = [(&one, "one.crt"), (&two, "two.crt")]
        .map(|(authority, name)| root(&authority.write(directory.path(), name), ""));
    let setup = Setup::start(|config| {
        let config = config.map("first", &first.url("/"), &[&one]).map("second", &second.url("/"), &[&two]);
        let config = config.map("crossed", &second.url("/"), &[&one]).map("plain", &first.url("/"), &[]);
        let config = config.policy("p", &first.url("/"), &[&one]).policy("q", &first.url("/"), &[&two]);
        config.login("l", &second.url("/login"), &[&two]).login("n", &second.url("/login"), &[&one])
    });
    let mut peer = setup.map();
    for _ in 0..3 {
        assert_eq!((peer.look_up("first", "k"), peer.look_up("second", "k")), ("OK v".into(), "OK v".into()));
        assert_eq!((peer.look_up("crossed", "k"), peer.look_up("plain", "k")), (TEMP.into(), TEMP.into()));
    }
    assert_eq!((first.count(), second.count()), (3, 3), "nothing was sent to an API that is not trusted");
    assert_eq!(setup.policy("p").ask(&[("sender", "a@example.com")]), "action=OK\n\n");
    assert_eq!(setup.policy("q").ask(&[("sender", "a@example.com")]), FAILED);
    let mut login = setup.login(Way::Unix, "l");
    login.plain(1, "u", "secret");
    assert_eq!(login.line(), "OK\t1\tuser=u");
    let mut login = setup.login(Way::Unix, "n");
    login.plain(1, "u", "secret");
    assert!(matches!(login.next(PATIENCE), Heard::Closed(_)));
    assert_eq!((first.count(), second.count()), (4, 4));
    assert_refused(&setup, "crossed", "signed by an authority that is not in root_ca");
}

#[test]
fn a_client_certificate_is_for_its_entry_alone() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trusted = trust(&authority.write(directory.path(), "ca.crt"));
    let ours = format!("tls: {{{}}}", shows(&authority.client(), directory.path(), "ours"));
    let foreign = Authority::new("other").client();
    let foreign = format!("tls: {{{}}}", shows(&foreign, directory.path(), "foreign"));
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let api = api(authority.server(Flaw::None).serve(versions, Some(&authority)));
        let setup = Setup::start(|config| {
            let config = config.server(&format!("tls: {{{trusted}}}"));
            let config = config.map("known", &api.url("/"), &[&ours]).map("unknown", &api.url("/"), &[]);
            config.map("foreign", &api.url("/"), &[&foreign])
        });
        let mut peer = setup.map();
        for _ in 0..3 {
            assert_eq!(
                peer.look_up("known", "k"),
                "OK v",
                "with a certificate, and the authority of server.tls"
            );
            assert_eq!(peer.look_up("unknown", "k"), TEMP, "without one");
            assert_eq!(peer.look_up("foreign", "k"), TEMP, "with another one");
        }
        assert_eq!(api.count(), 3);
        assert!(api.requests().iter().all(|request| request.certified));
        assert_refused(&setup, "unknown", "it wants a certificate of ours (server.tls.cert)");
        assert_refused(&setup, "foreign", "it does not trust our certificate (tls.cert of the entry)");
    }
}

/// An entry with `tls` that presents no certificate at all is told of its own key.
#[test]
fn the_reason_names_the_key_of_the_entry() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let own = root(&authority.write(directory.path(), "ca.crt"), "");
    let foreign = shows(&Authority::new("other").client(), directory.path(), "foreign");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let api = api(authority.server(Flaw::None).serve(versions, Some(&authority)));
        let setup = Setup::start(|config| config.map("m", &api.url("/"), &[&own]));
        assert_refused(&setup, "m", "it wants a certificate of ours (tls.cert of the entry)");
        let setup = Setup::start(|config| {
            config.server(&format!("tls: {{enabled: true, {foreign}}}")).map("m", &api.url("/"), &[&own])
        });
        assert_refused(&setup, "m", "it does not trust our certificate (server.tls.cert)");
    }
}

/// Both entries have the same origin, and a connection that was not verified is idle all the time.
#[test]
fn skip_verify_is_for_its_entry_alone() {
    let directory = open_directory();
    let other = root(&Authority::new("other").write(directory.path(), "ca.crt"), "");
    for limits in ["http_client: {max_connections_per_host: 1}", "http_client: {max_connections_per_host: 0}"]
    {
        let api = api(Identity::self_signed().serve(ALL_VERSIONS, None));
        let setup = Setup::start(|config| {
            let config = config.server(limits).map("lax", &api.url("/"), &["tls: {skip_verify: true}"]);
            config.map("strict", &api.url("/"), &[]).map("other", &api.url("/"), &[&other])
        });
        let mut peer = setup.map();
        for count in 1..4 {
            assert_eq!(peer.look_up("lax", "k"), "OK v", "{limits}");
            assert_eq!((peer.look_up("strict", "k"), peer.look_up("other", "k")), (TEMP.into(), TEMP.into()));
            assert_eq!(api.count(), count, "{limits}");
        }
        assert!(
            setup.broker.logged(&["WARN", "socket_maps.lax.tls.skip_verify: any certificate is accepted"])
        );
    }
    let api = api(Identity::self_signed().serve(ALL_VERSIONS, None));
    let setup = Setup::start(|config| {
        let config = config.server("tls: {enabled: true, skip_verify: true}");
        config.map("lax", &api.url("/"), &[]).map("strict", &api.url("/"), &["tls: {skip_verify: false}"])
    });
    let mut peer = setup.map();
    for count in 1..4 {
        assert_eq!((peer.look_up("lax", "k"), peer.look_up("strict", "k")), ("OK v".into(), TEMP.into()));
        assert_eq!(api.count(), count);
    }
}

#[test]
fn the_apis_own_certificate_is_trusted_as_it_is() {
    let directory = open_directory();
    let openssls = Identity::openssls(Flaw::None);
    let own = root(&openssls.write(directory.path(), "own").0, "");
    let good = api(openssls.serve(ALL_VERSIONS, None));
    let thief = api(openssls.serve_with_key_of(&Identity::self_signed()));
    let namesake = api(Identity::openssls(Flaw::None).serve(ALL_VERSIONS, None));
    let setup = Setup::start(|config| {
        let config = config.map("good", &good.url("/"), &[&own]).map("thief", &thief.url("/"), &[&own]);
        config.map("namesake", &namesake.url("/"), &[&own])
    });
    assert_eq!(setup.map().look_up("good", "k"), "OK v");
    assert_refused(&setup, "thief", "does not hold its key");
    assert_refused(&setup, "namesake", "signed by itself, and is not in root_ca");
    assert_eq!((thief.count(), namesake.count()), (0, 0));
}

#[test]
fn the_name_and_the_version_may_be_another_one() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let file = authority.write(directory.path(), "ca.crt");
    let elsewhere = api(authority.server(Flaw::WrongHost).serve(ALL_VERSIONS, None));
    let old = api(authority.server(Flaw::None).serve(&[&TLS12], None));
    let new = api(authority.server(Flaw::None).serve(&[&TLS13], None));
    let at_least = root(&file, ", min_tls_version: \"1.3\"");
    let setup = Setup::start(|config| {
        let named = root(&file, ", server_name: other.test.example");
        let misnamed = root(&file, ", server_name: api.internal");
        let config = config.map("named", &elsewhere.url("/"), &[&named]);
        let config = config.map("misnamed", &elsewhere.url("/"), &[&misnamed]);
        let config = config.map("unnamed", &elsewhere.url("/"), &[&root(&file, "")]);
        let config = config.map("old", &old.url("/"), &[&at_least]).map("new", &new.url("/"), &[&at_least]);
        config.map("any", &old.url("/"), &[&root(&file, "")])
    });
    let mut peer = setup.map();
    for map in ["named", "new", "any"] {
        assert_eq!(peer.look_up(map, "k"), "OK v", "{map}");
    }
    assert_refused(&setup, "misnamed", "is for other.test.example, and not for api.internal");
    assert_refused(&setup, "unnamed", "is for other.test.example, and not for 127.0.0.1");
    assert_refused(&setup, "old", "does not speak TLS 1.3 (min_tls_version)");
    assert_eq!((elsewhere.count(), old.count()), (1, 1));
}

/// The files change, and then the keys; the other entry notices neither.
#[test]
fn a_reload_reads_the_files_again_and_keeps_the_answers() {
    let directory = open_directory();
    let [good, bad] = ["good", "bad"].map(Authority::new);
    let api = api(good.server(Flaw::None).serve(ALL_VERSIONS, Some(&good)));
    let file = good.write(directory.path(), "ca.crt");
    let ours = shows(&good.client(), directory.path(), "ours");
    let at = directory.path().join("maps.sock");
    let config = |more: &str| {
        let (mine, others) =
            (root(&file, &format!(", {ours}{more}")), shows(&good.client(), directory.path(), "kept"));
        Config::new(directory.path())
            .map("m", &api.url("/"), &[&mine, "cache: {fresh: 1h}"])
            .map("kept", &api.url("/"), &[&root(&directory.path().join("kept.ca"), &format!(", {others}"))])
            .listen_unix(Kind::Map, "maps", &at)
    };
    good.write(directory.path(), "kept.ca");
    let running = config("");
    let broker = Broker::start(&running.write());
    let mut peer = Peer::unix(&at);
    assert_eq!((peer.look_up("m", "k"), peer.look_up("kept", "k")), ("OK v".into(), "OK v".into()));
    let (asked, connections) = (api.count(), api.connections());
    bad.write(directory.path(), "ca.crt");
    assert!(broker.reload(), "{}", broker.log());
    assert!(broker.logged(&["configuration reloaded", "entries_changed=1"]), "{}", broker.log());
    assert_eq!(peer.look_up("m", "k"), "OK v", "the cached answer");
    assert_eq!(peer.look_up("m", "other"), TEMP, "the authority is another one");
    assert_eq!(api.count(), asked);
    assert_eq!(peer.look_up("kept", "k"), "OK v");
    assert_eq!(
        api.requests().iter().map(|request| request.connection).max(),
        Some(connections),
        "on its connection"
    );
    good.write(directory.path(), "ca.crt");
    config(", min_tls_version: \"1.3\"").write();
    assert!(broker.reload(), "{}", broker.log());
    api.answer_with(|_| Reply::json(r#"{"value": "new"}"#));
    assert_eq!((peer.look_up("m", "k"), peer.look_up("m", "other")), ("OK v".into(), "OK new".into()));
    fs::write(&file, "nonsense").expect("a file");
    assert!(!broker.reload(), "{}", broker.log());
    assert!(broker.logged(&["socket_maps.m.tls.root_ca: "]), "{}", broker.log());
    assert_eq!(peer.look_up("m", "third"), "OK new", "the running configuration stays");
}
