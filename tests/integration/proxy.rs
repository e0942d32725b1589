//! Proxies between the broker and its backends: a real tinyproxy, and some that misbehave. A request
//! that has to use a proxy never bypasses it.

use rustls::ALL_VERSIONS;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::command;
use crate::support::certificates::{Authority, Flaw};
use crate::support::config::{Config, trust};
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::tinyproxy::Tinyproxy;
use crate::support::{PATIENCE, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
const VALUE: &str = r#"{"value": "v"}"#;

/// A backend with TLS and one without, and the setting that makes a broker trust the first.
fn backends() -> (Backend, Backend, String, tempfile::TempDir) {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let file = authority.write(directory.path(), "ca.crt");
    let tls = format!("tls: {{{}}}", trust(&file));
    let secure =
        Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, None), |_| Reply::json(VALUE));
    (Backend::constant(VALUE), secure, tls, directory)
}

#[test]
fn requests_go_through_the_proxy() {
    let (plain, secure, tls, _directory) = backends();
    let mut proxy = Tinyproxy::start();
    let setup = Setup::start(|config| {
        let config = config.proxy(&proxy.url()).server(&tls);
        config.map("plain", &plain.url("/a?b=c"), &[]).map("secure", &secure.url("/a?b=c"), &[])
    });
    let mut peer = setup.map();
    for round in 0..3 {
        assert_eq!(peer.look_up("plain", "k"), "OK v", "round {round}");
        let request = plain.last();
        assert!(request.header("via").is_some_and(|via| via.contains("testproxy")), "{request:?}");
        assert_eq!((request.path.as_str(), request.text("key")), ("/a?b=c", "k".to_owned()));
        assert_eq!(peer.look_up("secure", "k"), "OK v", "round {round}");
        let request = secure.last();
        assert_eq!((request.path.as_str(), request.header("via")), ("/a?b=c", None));
    }
    let port = secure.url("").trim_start_matches("https://").to_owned();
    let tunnelled = wait_until(PATIENCE, || proxy.log().contains(&format!("CONNECT {port}")));
    assert!(tunnelled, "the proxy says that it made a tunnel to {port}: {}", proxy.log());
    assert_eq!(secure.connections(), 1, "a tunnel is kept");
    let seen = (plain.count(), secure.count());
    proxy.stop();
    for map in ["plain", "secure"] {
        assert_eq!(peer.look_up(map, "k"), TEMP, "{map} without its proxy");
    }
    assert_eq!((plain.count(), secure.count()), seen, "the proxy was not bypassed");
}

#[test]
fn a_proxy_that_is_down_is_not_bypassed() {
    let (plain, secure, tls, _directory) = backends();
    let nobody = Port::reserve();
    let setup = Setup::start(|config| {
        let config = config.proxy(&format!("http://{}", nobody.address())).server(&tls);
        config.map("plain", &plain.url("/"), &[]).map("secure", &secure.url("/"), &[])
    });
    let mut peer = setup.map();
    for map in ["plain", "secure", "plain"] {
        assert_eq!(peer.look_up(map, "k"), TEMP, "{map}");
    }
    assert_eq!((plain.connections(), secure.connections()), (0, 0), "the proxy was not bypassed");
}

/// What a proxy may send instead of an answer, or instead of a tunnel.
#[test]
fn a_proxy_that_misbehaves_is_a_failure() {
    let (plain, secure, tls, _directory) = backends();
    let fake = Backend::constant("{}");
    let setup = Setup::start(|config| {
        let config = config.proxy(&fake.url("")).server(&tls);
        let config = config.map("plain", &plain.url("/"), &["timeout: 1s"]);
        config.map("secure", &secure.url("/"), &["timeout: 1s"])
    });
    let mut peer = setup.map();
    let asks = |status: u16| Reply::Answer {
        status,
        headers: vec![("Proxy-Authenticate".to_owned(), "Basic realm=\"x\"".to_owned())],
        body: VALUE.as_bytes().to_vec(),
    };
    let status = "PERM unexpected status code received: 407";
    for (what, reply, due) in [
        ("407", asks(407), [status, TEMP]),
        ("502", asks(502), [TEMP, TEMP]),
        ("garbage", Reply::Raw(b"220 mx.test.example ESMTP\r\n".to_vec()), [TEMP, TEMP]),
        ("a close", Reply::Close, [TEMP, TEMP]),
        ("a reset", Reply::Reset, [TEMP, TEMP]),
        ("silence", Reply::stall(), [TEMP, TEMP]),
        (
            "endless headers",
            Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(1000)),
            [TEMP, TEMP],
        ),
    ] {
        fake.answer_with(move |_| reply.clone());
        assert_eq!(peer.look_up("plain", "k"), due[0], "{what} in place of an answer");
        assert_eq!(peer.look_up("secure", "k"), due[1], "{what} in place of a tunnel");
    }
    fake.answer_with(|_| Reply::json(VALUE));
    assert_eq!(peer.look_up("secure", "k"), TEMP, "an answer is no tunnel");
    assert_eq!((plain.connections(), secure.connections()), (0, 0), "the proxy was not bypassed");
    let bodies = fake.requests().into_iter().filter(|request| request.method == "CONNECT");
    assert!(bodies.into_iter().all(|request| request.body.is_empty()), "without a tunnel no request is sent");
}

#[test]
fn a_proxy_may_require_a_password() {
    let (fake, api) = (Backend::constant(VALUE), Backend::constant("{}"));
    let url = fake.url("").replace("http://", "http://user:secret@");
    let setup = Setup::start(|config| {
        let config = config.proxy(&url).map("plain", &api.url("/"), &[]);
        config.map("secure", "https://127.0.0.1:1/", &["timeout: 2s"])
    });
    let mut peer = setup.map();
    let basic = Some("Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(peer.look_up("plain", "k"), "OK v");
    assert_eq!(fake.last().header("proxy-authorization"), basic);
    assert_eq!(fake.last().path, api.url("/"), "the proxy gets the whole URL");
    assert_eq!(peer.look_up("secure", "k"), TEMP);
    let connects: Vec<Request> =
        fake.requests().into_iter().filter(|request| request.method == "CONNECT").collect();
    let sent = connects.first().map(|request| (request.path.as_str(), request.header("proxy-authorization")));
    assert_eq!(sent, Some(("127.0.0.1:1", basic)));
}

#[test]
fn a_proxy_may_speak_tls() {
    let (plain, proxy, tls, _directory) = backends();
    let target = "http://api.test.example/a?b=c";
    let setup = Setup::start(|config| {
        let config = config.proxy(&proxy.url("")).server(&tls).map("plain", target, &[]);
        config.map("secure", "https://api.test.example/", &["timeout: 2s"])
    });
    let mut peer = setup.map();
    assert_eq!((peer.look_up("plain", "k"), peer.look_up("plain", "l")), ("OK v".into(), "OK v".into()));
    assert_eq!((proxy.last().path.as_str(), proxy.connections()), (target, 1));
    assert_eq!(peer.look_up("secure", "k"), TEMP, "an answer is no tunnel");
    let request = proxy.last();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("CONNECT", "api.test.example:443"));
    assert_eq!(plain.connections(), 0);
}

const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// As in Go: no proxy is used for loopback, unless the configuration names it.
#[test]
fn the_environments_proxy_is_not_used_for_loopback() {
    let (plain, secure, tls, _directory) = backends();
    let nobody = Port::reserve();
    let dead = format!("http://{}", nobody.address());
    for name in HTTP.iter().chain(&HTTPS) {
        let setup = Setup::start_with(&[(name, &dead)], |config| {
            let config = config.server(&tls).map("plain", &plain.url("/"), &[]);
            let named = plain.url("/").replace("127.0.0.1", "localhost");
            config.map("named", &named, &[]).map("secure", &secure.url("/"), &[])
        });
        for map in ["plain", "named", "secure"] {
            assert_eq!(setup.map().look_up(map, "k"), "OK v", "{map} with {name}");
        }
    }
}

#[test]
fn the_environments_proxy_is_used_for_other_hosts() {
    let fake = Backend::constant(VALUE);
    let target = "http://api.test.example/a?b=c";
    for name in HTTP {
        let setup = Setup::start_with(&[(name, &fake.url(""))], |config| config.map("m", target, &[]));
        assert_eq!(setup.map().look_up("m", "k"), "OK v", "with {name}");
        assert_eq!(fake.last().path, target, "the proxy gets the whole URL, with {name}");
        assert_eq!(fake.last().header("host"), Some("api.test.example"));
    }
    fake.answer_with(|_| Reply::status(403));
    for name in HTTPS {
        let setup = Setup::start_with(&[(name, &fake.url(""))], |config| {
            config.map("m", "https://api.test.example/", &["timeout: 2s"])
        });
        assert_eq!(setup.map().look_up("m", "k"), TEMP, "with {name}");
        let request = fake.last();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("CONNECT", "api.test.example:443"));
    }
}

#[test]
fn the_configuration_takes_precedence_over_the_environment() {
    let (fake, api, nobody) = (Backend::constant(VALUE), Backend::constant("{}"), Port::reserve());
    let dead = format!("http://{}", nobody.address());
    let environment =
        [("HTTP_PROXY", dead.as_str()), ("http_proxy", &dead), ("NO_PROXY", "*"), ("no_proxy", "*")];
    let setup =
        Setup::start_with(&environment, |config| config.proxy(&fake.url("")).map("m", &api.url("/"), &[]));
    assert_eq!(setup.map().look_up("m", "k"), "OK v");
    assert_eq!((fake.count(), api.connections()), (1, 0), "a configured proxy is used for loopback");
}

/// No resolver knows a name below `.invalid`, so a request that bypasses the proxy fails.
#[test]
fn no_proxy_has_the_rules_of_go() {
    let fake = Backend::constant(VALUE);
    let list = "*.wild.invalid, .DOT.invalid,plain.invalid:80,b\u{fc}cher.invalid,192.0.2.0/24";
    let environment = [("HTTP_PROXY", fake.url("")), ("NO_PROXY", list.to_owned())];
    let environment = environment.each_ref().map(|(name, text)| (*name, text.as_str()));
    let around =
        ["a.wild.invalid", "a.b.wild.invalid", "a.dot.invalid", "plain.invalid", "xn--bcher-kva.invalid"];
    let through = ["wild.invalid", "dot.invalid", "plain.invalid:81", "notplain.invalid", "192.0.3.1"];
    let setup = Setup::start_with(&environment, |config| {
        let hosts = around.iter().chain(&through).enumerate();
        hosts.fold(config, |config, (number, host)| {
            config.map(&format!("m{number}"), &format!("http://{host}/"), &["timeout: 2s"])
        })
    });
    let mut peer = setup.map();
    for (number, host) in around.iter().chain(&through).enumerate() {
        let is_around = number < around.len();
        let due = if is_around { TEMP } else { "OK v" };
        assert_eq!(peer.look_up(&format!("m{number}"), "k"), due, "{host}");
        assert_eq!(fake.count(), (number + 1).saturating_sub(around.len()), "{host}");
    }
}

/// `check` and the log report it, and a request that should use the proxy fails.
#[test]
fn an_unusable_variable_is_reported_and_the_proxy_not_bypassed() {
    let (api, directory) = (Backend::constant(VALUE), open_directory());
    let port = api.url("").trim_start_matches("http://127.0.0.1:").to_owned();
    for (variable, text, why) in [
        ("ALL_PROXY", "socks5://user:canary@127.0.0.1:1080", "names a SOCKS proxy"),
        ("HTTP_PROXY", "\"http://user:canary@127.0.0.1:3128\"", "holds quotes"),
        ("http_proxy", "ftp://user:canary@127.0.0.1", "begins with http:// or https://"),
    ] {
        // An address of this host that the rules do not treat as loopback.
        let target = format!("http://0.0.0.0:{port}/");
        let config = |config: Config| config.map("m", &target, &[]).map("near", &api.url("/"), &[]);
        let file = config(Config::new(directory.path())).write();
        let checked = command(&file).arg("check").env(variable, text).output().expect("a program");
        let told = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(checked.status.success() && !told.contains("canary"), "{variable}: {told}");
        let line = told.lines().find(|line| line.starts_with(&format!("{variable}: warning: ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{variable}: {told}");
        let online =
            command(&file).args(["check", "--online"]).env(variable, text).output().expect("a program");
        let told = String::from_utf8_lossy(&online.stderr).into_owned();
        let begin = format!("http://0.0.0.0:{port}: not reached: {variable} ");
        assert!(
            told.lines().any(|line| line.starts_with(&begin) && line.contains(why)),
            "{variable}: {told}"
        );
        let setup = Setup::start_with(&[(variable, text)], config);
        assert!(setup.broker.logged(&["WARN", variable, why]), "{variable}: {}", setup.broker.log());
        let mut peer = setup.map();
        assert_eq!(
            (peer.look_up("near", "k"), peer.look_up("m", "k")),
            ("OK v".into(), TEMP.into()),
            "{variable}"
        );
        assert!(
            setup.broker.logged(&["trouble with a target", variable, why]),
            "{variable}: {}",
            setup.broker.log()
        );
        assert!(!setup.broker.log().contains("canary"), "{variable}");
    }
    let file = Config::new(directory.path()).map("m", &api.url("/"), &[]).write();
    let checked = command(&file).arg("check").env("NO_PROXY", "a.test,foo*").output().expect("a program");
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        told.starts_with("NO_PROXY: warning: ") && told.contains("foo*") && !told.contains("a.test"),
        "{told}"
    );
    // The proxy of the configuration takes precedence.
    let file = Config::new(directory.path()).proxy("http://127.0.0.1:1").map("m", &api.url("/"), &[]).write();
    let checked = command(&file).arg("check").env("ALL_PROXY", "socks5://x").output().expect("a program");
    assert!(checked.status.success() && checked.stderr.is_empty(), "{:?}", checked.stderr);
    assert_eq!(api.count(), 3, "only the target that needs no proxy was asked");
}
