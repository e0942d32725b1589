//! `check --online` and APIs: it connects to each origin as the broker would, and sends no API a
//! request. Providers are in `check_online_providers`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustls::ALL_VERSIONS;
use rustls::version::{TLS12, TLS13};

use crate::support::backend::{Backend, Reply};
use crate::support::blackhole::Blackhole;
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::check::{online, online_as_nobody, online_with};
use crate::support::config::{Config, trust};
use crate::support::port::Port;
use crate::support::site::open_directory;
use crate::support::tinyproxy::Tinyproxy;
use crate::support::{PATIENCE, wait_until};

/// Waits until `api` has seen so many connections; none of them sent a request.
fn assert_reached(api: &Backend, connections: u64, what: &str) {
    assert!(wait_until(PATIENCE, || api.connections() >= connections), "{what}: {}", api.connections());
    assert_eq!((api.connections(), api.count()), (connections, 0), "{what}");
}

#[test]
fn each_origin_gets_one_connection_and_no_request() {
    let directory = open_directory();
    let (one, other) = (Backend::constant("{}"), Backend::constant("{}"));
    let config = Config::new(directory.path())
        .login("l", &one.url("/auth"), &[])
        .policy("p", &other.url("/"), &[])
        .map("m", &one.url("/maps"), &[])
        .map_of(
            "n",
            &[
                "method: GET",
                &format!("target: \"{}\"", one.url("/{{ .Key | urlencode }}")),
                "value_field: v",
            ],
        );
    // A user without rights may run it, if it can read the configuration.
    let checked = online_as_nobody(&config);
    let file = config.write();
    let due = [
        format!("{}: reached (used by: map m, map n, login l)", one.url("")),
        format!("{}: reached (used by: policy p)", other.url("")),
        format!(
            "{}: OK; maps: m, n; policies: p; logins: l; listeners: 0; reached: origins: 2; providers: 0",
            file.display()
        ),
    ];
    assert_eq!(
        (checked.code, &checked.good[..], checked.bad.len()),
        (Some(0), &due[..], 0),
        "{}",
        checked.text()
    );
    assert_reached(&one, 1, "three entries");
    assert_reached(&other, 1, "one entry");
}

/// A server that does not speak HTTP: it sends its greeting to each peer and hangs up.
struct Stranger {
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stranger {
    fn start(greeting: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _gone_already = stream.write_all(greeting.as_bytes());
        });
        Self { address, thread: Some(thread) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // There may have been no connection.
        let _woken = TcpStream::connect(self.address);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

#[test]
fn unreachable_origins_are_named_with_the_reason_and_tried_in_parallel() {
    let directory = open_directory();
    let (api, refusing, hole) = (Backend::constant("{}"), Port::reserve(), Blackhole::open());
    // The kernel accepts connections for it; the program sends nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let deaf_url = format!("https://{}", deaf.local_addr().expect("an address"));
    let (closing, speaking) = (Stranger::start(""), Stranger::start("220 mx.test.example ESMTP\r\n"));
    let plain = api.url("").replace("http:", "https:");
    let config = Config::new(directory.path())
        .map("hole", &hole.url("/"), &["timeout: 30s"])
        .map("refusing", &format!("http://{}/", refusing.address()), &[])
        .map("nameless", "http://does-not-exist.invalid/", &[])
        .map("deaf", &deaf_url, &[])
        .map("closing", &format!("http://{}/", closing.address), &[])
        .map("speaking", &format!("http://{}/", speaking.address), &[])
        .map("plain", &format!("{plain}/"), &[])
        .map("good", &api.url("/"), &[])
        .policy("refused-too", &format!("http://{}/p", refusing.address()), &[]);
    let start = Instant::now();
    let checked = online(&config);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let due = [
        format!("{}: not reached: timed out (used by: map hole)", hole.url("")),
        format!(
            "http://{}: not reached: connection refused (used by: map refusing, policy refused-too)",
            refusing.address()
        ),
        "http://does-not-exist.invalid: not reached: cannot resolve does-not-exist.invalid (used by: map nameless)"
            .to_owned(),
        format!("{deaf_url}: not reached: timed out (used by: map deaf)"),
        format!("http://{}: not reached: it closes the connection at once (used by: map closing)", closing.address),
        format!("http://{}: not reached: it speaks first, which HTTP does not (used by: map speaking)", speaking.address),
    ];
    assert_eq!((checked.code, &checked.bad[..6]), (Some(69), &due[..]), "{}", checked.text());
    assert!(checked.bad[6].starts_with(&format!("{plain}: not reached: ")), "{}", checked.text());
    assert!(checked.bad[7].ends_with(": OK; 7 cannot be used"), "{}", checked.text());
    assert_eq!(checked.good, [format!("{}: reached (used by: map good)", api.url(""))]);
    assert_eq!(api.count(), 0);
}

#[test]
fn a_certificate_that_is_not_trusted_is_named_with_the_reason() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    let cases = [
        ("expired", authority.server(Flaw::Expired), "expired on 2020-01-01"),
        ("early", authority.server(Flaw::NotYetValid), "is not valid before 2090-01-01"),
        ("host", authority.server(Flaw::WrongHost), "is for other.test.example, and not for 127.0.0.1"),
        ("itself", Identity::self_signed(), "is signed by itself, and is not in root_ca"),
        (
            "other",
            Authority::new("other").server(Flaw::None),
            "is signed by an authority that is not in root_ca",
        ),
        ("good", authority.server(Flaw::None), ""),
    ];
    let apis = cases.each_ref().map(|(_, identity, _)| {
        Backend::start_tls(identity.serve(ALL_VERSIONS, None), |_| Reply::json("{}"))
    });
    let config = |tls: &str| {
        let config = Config::new(directory.path()).server(&format!("tls: {{{tls}}}"));
        let maps = cases.iter().zip(&apis);
        maps.fold(config, |config, ((name, ..), api)| config.map(name, &api.url("/"), &[]))
    };
    let checked = online(&config(&trust));
    assert_eq!((checked.code, checked.good.len(), checked.bad.len()), (Some(69), 1, 6), "{}", checked.text());
    for ((name, _, why), line) in cases.iter().zip(&checked.bad[..5]) {
        let begin = "not reached: TLS: the certificate ";
        let is_told = line.contains(begin) && line.contains(why) && line.ends_with(&format!("map {name})"));
        assert!(is_told, "{name}: {line}");
    }
    assert_eq!(checked.good[0], format!("{}: reached (used by: map good)", apis[5].url("")));
    let checked = online(&config("enabled: true, skip_verify: true"));
    assert_eq!((checked.code, checked.good.len()), (Some(0), 7), "{}", checked.text());
    assert!(apis.iter().all(|api| api.count() == 0), "no request was sent");
}

#[test]
fn a_port_without_tls_is_named_as_such() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
    let answers = format!("https://{}/", plain.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().expect("a connection");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it is open");
        // Closing a socket with unread bytes would send a reset.
        let _until_it_hangs_up = stream.read_to_end(&mut Vec::new());
    });
    for url in [api.url("/").replace("http:", "https:"), answers] {
        let checked = online(&Config::new(directory.path()).map("m", &url, &[]));
        assert_eq!(checked.code, Some(69), "{url}: {}", checked.text());
        assert!(checked.text().contains("(does that port speak TLS?"), "{url}: {}", checked.text());
    }
}

/// With TLS 1.3 the server refuses after the handshake.
#[test]
fn a_server_that_refuses_the_brokers_certificate_counts_as_unreachable() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    let shown = |name: &str, signer: &Authority| {
        let (cert, key) = signer.client().write(directory.path(), name);
        format!("{trust}, cert: \"{}\", key: \"{}\"", cert.display(), key.display())
    };
    let (ours, foreign) = (shown("ours", &authority), shown("foreign", &Authority::new("other")));
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let tls = authority.server(Flaw::None).serve(versions, Some(&authority));
        let api = Backend::start_tls(tls, |_| Reply::json("{}"));
        for (what, tls, code) in [("ours", &ours, 0), ("none", &trust, 69), ("foreign", &foreign, 69)] {
            let config = Config::new(directory.path()).server(&format!("tls: {{{tls}}}"));
            let checked = online(&config.map("m", &api.url("/"), &[]));
            assert_eq!(checked.code, Some(code), "{what}: {}", checked.text());
            let is_told = checked
                .bad
                .first()
                .is_some_and(|line| line.contains("not reached: TLS: the server ended the handshake: "));
            assert_eq!(is_told, code != 0, "{what}: {}", checked.text());
        }
        assert_eq!(api.count(), 0, "{versions:?}");
    }
}

#[test]
fn a_proxy_is_used_and_not_bypassed() {
    let (directory, authority) = (open_directory(), Authority::new("good"));
    let trust = trust(&authority.write(directory.path(), "ca.crt"));
    let plain = Backend::constant("{}");
    let serve =
        |identity: Identity| Backend::start_tls(identity.serve(ALL_VERSIONS, None), |_| Reply::json("{}"));
    let (secure, expired) = (serve(authority.server(Flaw::None)), serve(authority.server(Flaw::Expired)));
    let check = |proxy: &str| {
        let config = Config::new(directory.path()).server(&format!("tls: {{{trust}}}"));
        let config =
            config.proxy(proxy).map("plain", &plain.url("/"), &[]).map("secure", &secure.url("/"), &[]);
        online(&config.map("expired", &expired.url("/"), &[]))
    };
    let mut proxy = Tinyproxy::start();
    let at = |url: &str| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let checked = check(&proxy.url());
    let due = [
        format!(
            "{}: its proxy is reached, which goes no further without a request (used by: map plain)",
            plain.url("")
        ),
        format!("{}: reached (used by: map secure)", secure.url("")),
    ];
    assert_eq!((checked.code, &checked.good[..]), (Some(69), &due[..]), "{}", checked.text());
    let begin = format!(
        "{}: not reached: through the proxy {}: TLS: the certificate expired on 2020-01-01",
        expired.url(""),
        at(&proxy.url())
    );
    assert!(checked.bad[0].starts_with(&begin), "{}", checked.text());
    assert_reached(&secure, 1, "through a tunnel");
    assert_eq!(plain.connections(), 0, "no tunnel is requested");
    proxy.stop();
    let checked = check(&proxy.url());
    assert_eq!((checked.code, checked.good.len(), checked.bad.len()), (Some(69), 0, 4), "{}", checked.text());
    let refused =
        format!("not reached: through the proxy {}: connection refused (used by: map ", at(&proxy.url()));
    assert!(checked.bad[..3].iter().all(|line| line.contains(&refused)), "{}", checked.text());
    let fake = Backend::start(|_| Reply::status(407));
    let checked = check(&fake.url("").replace("http://", "http://user:canary-password@"));
    assert_eq!((checked.code, checked.good.len()), (Some(69), 1), "{}", checked.text());
    let refused = format!(
        "through the proxy {}: tunnel error: proxy authorization required (used by: map ",
        at(&fake.url(""))
    );
    assert!(checked.bad[..2].iter().all(|line| line.contains(&refused)), "{}", checked.text());
    assert!(!checked.text().contains("canary"), "{}", checked.text());
    assert!(fake.requests().iter().all(|request| request.method == "CONNECT"), "{:?}", fake.requests());
    assert_eq!(
        (plain.connections(), secure.connections(), secure.count()),
        (0, 1, 0),
        "the proxy was not bypassed"
    );
}

#[test]
fn a_wrong_configuration_causes_no_connection() {
    let (directory, api) = (open_directory(), Backend::constant("{}"));
    let wrong = Config::new(directory.path()).map("m", &api.url("/"), &["no_such_key: 1"]);
    let checked = online(&wrong);
    assert_eq!((checked.code, checked.good.len()), (Some(78), 0), "{}", checked.text());
    // The configuration gives one warning.
    let doubtful = Config::new(directory.path()).map("m", &api.url("/"), &["on_failure: not_found"]);
    let checked = online_with(&doubtful, &["--strict"]);
    assert_eq!((checked.code, checked.good.len()), (Some(78), 0), "{}", checked.text());
    assert_eq!(api.connections(), 0);
    let checked = online(&doubtful);
    assert_eq!((checked.code, checked.good.len()), (Some(0), 2), "{}", checked.text());
}
