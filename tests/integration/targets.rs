//! Entries with several targets: which faults of one target the next one covers, and what is never sent to a
//! second one. Every API keeps what it saw.

use std::time::{Duration, Instant};

use rustls::version::TLS13;

use crate::logins::reply;
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::blackhole::Blackhole;
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::check::online;
use crate::support::config::{Config, backend_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};

pub(crate) const TEMP: &str = "TEMP Temporary server problem";
pub(crate) const DEFER: &str = "action=DEFER Temporary server problem\n\n";

/// Answers for all kinds of entries; it says the name of this API.
pub(crate) fn says(name: &'static str) -> impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static {
    move |request| {
        let text = format!(r#"{{"value": "{name}", "action": "OK {name}"}}"#);
        let user = if request.path == "/auth" { request.text("username") } else { String::new() };
        Reply::with_headers(200, &[("Auth-Status", "OK"), ("Auth-User", &user)], &text)
    }
}

/// Starts an API of this name.
pub(crate) fn api(name: &'static str) -> Backend {
    Backend::start(says(name))
}

/// `targets` of these URLs, in flow style; a URL that ends in `!` is `backup`.
pub(crate) fn targets(urls: &[String]) -> String {
    let item = |url: &String| match url.strip_suffix('!') {
        Some(url) => format!("{{url: \"{url}\", backup: true}}"),
        None => format!("\"{url}\""),
    };
    format!("targets: [{}]", urls.iter().map(item).collect::<Vec<_>>().join(", "))
}

/// Adds the map `m`, the policy service `p` and the logins `l`, with these origins and further lines.
pub(crate) fn entries(config: Config, origins: &[String], more: &[&str]) -> Config {
    let at = |path: &str| {
        let url = |origin: &String| match origin.strip_suffix('!') {
            Some(origin) => format!("{origin}{path}!"),
            None => format!("{origin}{path}"),
        };
        targets(&origins.iter().map(url).collect::<Vec<_>>())
    };
    let (map, policy, login) = (at("/map"), at("/policy"), at("/auth"));
    let map = [map.as_str(), r#"payload: '{"key": "{{ .Key }}"}'"#, "value_field: value"];
    let policy = [policy.as_str(), "payload: '{{ .Key }}'", "value_field: action"];
    let login = [login.as_str(), "failure_delay: 0s", "sasl_penalty: false", "sasl_attempts: 0"];
    config
        .map_of("m", &[&map, more].concat())
        .policy_of("p", &[&policy, more].concat())
        .login_of("l", &[&login, more].concat())
}

pub(crate) fn start(origins: &[String], more: &[&str]) -> Setup {
    Setup::start(|config| entries(config, origins, more))
}

pub(crate) fn ask_policy(setup: &Setup, instance: &str) -> String {
    setup.policy("p").ask(&[("instance", instance), ("recipient", "a@b.example")])
}

/// What a login gets; the password is that of `number` alone.
pub(crate) fn log_in(setup: &Setup, number: usize) -> Heard {
    let mut sasl: Sasl = setup.login(Way::Unix, "l");
    sasl.plain(1, "u", &format!("pw-{number}"));
    sasl.next(PATIENCE)
}

pub(crate) fn accepted() -> Heard {
    Heard::Line("OK\t1\tuser=u".to_owned())
}

pub(crate) fn closed() -> Heard {
    Heard::Closed(Vec::new())
}

#[test]
fn a_target_that_refuses_costs_nothing_and_the_backup_is_the_last_one() {
    let (mut a, mut b, c) = (api("a"), api("b"), api("c"));
    let setup = start(&[format!("{}!", c.url("")), a.url(""), b.url("")], &[]);
    let all = |name: &str, number: usize| {
        assert_eq!(setup.map().look_up("m", &format!("k{number}")), format!("OK {name}"));
        assert_eq!(ask_policy(&setup, &number.to_string()), format!("action=OK {name}\n\n"));
        assert_eq!(log_in(&setup, number), accepted());
    };
    (0..5).for_each(|number| all("a", number));
    assert_eq!([a.count(), b.count(), c.count()], [15, 0, 0], "the first one in the list");
    assert_eq!(a.last().header("host"), Some(a.url("").trim_start_matches("http://")));
    a.down();
    (5..10).for_each(|number| all("b", number));
    assert_eq!([a.count(), b.count(), c.count()], [15, 15, 0]);
    assert_eq!(b.last().header("host"), Some(b.url("").trim_start_matches("http://")));
    b.down();
    (10..15).for_each(|number| all("c", number));
    assert_eq!([a.count(), b.count(), c.count()], [15, 15, 15]);
    assert!(setup.broker.logged(&["trouble with a target", &a.url(""), "connection refused"]));
    assert!(!setup.broker.log().contains("failed"), "{}", setup.broker.log());
}

#[test]
fn if_all_are_away_the_failure_is_temporary_until_one_is_back() {
    let (mut a, mut b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[]);
    a.down();
    b.down();
    assert_eq!(setup.map().look_up("m", "k"), TEMP);
    assert_eq!(ask_policy(&setup, "1"), DEFER);
    assert_eq!(log_in(&setup, 1), closed());
    assert!(setup.broker.logged(&["lookup failed", &format!("target=\"{}, {}\"", a.url(""), b.url(""))]));
    b.up();
    assert_eq!(setup.map().look_up("m", "k"), "OK b");
    assert_eq!(ask_policy(&setup, "1"), "action=OK b\n\n");
    assert_eq!(log_in(&setup, 2), accepted());
}

#[test]
fn a_target_that_hangs_costs_a_map_half_of_its_time_and_is_not_left_by_others() {
    let (a, b) = (Backend::start(|_| Reply::Hold(Box::new(Reply::Close))), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["timeout: 1s"]);
    let began = Instant::now();
    assert_eq!(setup.map().look_up("m", "k"), "OK b");
    let took = began.elapsed();
    assert!((450..950).contains(&took.as_millis()), "half of the second: {took:?}");
    assert_eq!(ask_policy(&setup, "1"), DEFER);
    assert_eq!(log_in(&setup, 1), closed());
    assert!(began.elapsed() < took + Duration::from_secs(4), "each within its second");
    assert_eq!([a.count(), b.count()], [3, 1], "policy request and password stay at the first target");
}

#[test]
fn what_was_sent_and_lost_moves_on_for_maps_alone() {
    let faults = [
        Reply::Reset,
        Reply::Close,
        Reply::Cut(b"HTTP/1.1 200 OK\r\nContent-Len".to_vec()),
        Reply::Truncated(b"{\"value\": \"a\"}".to_vec()),
    ];
    let (a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["breaker: false", "retry: {budget: 100%}"]);
    for (number, fault) in faults.into_iter().enumerate() {
        // On a new connection, and on one that was kept.
        for is_kept in [false, true] {
            if is_kept {
                a.answer_with(says("a"));
                assert_eq!(setup.map().look_up("m", "k"), "OK a");
                assert_eq!(ask_policy(&setup, "1"), "action=OK a\n\n");
                assert_eq!(log_in(&setup, 1), accepted());
            }
            let before = [a.count(), b.count()];
            let reply = fault.clone();
            a.answer_with(move |_| reply.clone());
            assert_eq!(setup.map().look_up("m", "k"), "OK b", "{fault:?}");
            let of_maps = a.count() - before[0];
            assert!((1..=2).contains(&of_maps), "once, and once anew if the connection was kept: {of_maps}");
            assert_eq!(ask_policy(&setup, &format!("i{number}{is_kept}")), DEFER, "{fault:?}");
            let of_policies = a.count() - before[0] - of_maps;
            assert!((1..=2).contains(&of_policies), "{fault:?}: {of_policies}");
            assert_eq!(log_in(&setup, 100 + number), closed(), "{fault:?}");
            assert_eq!(
                a.count() - before[0] - of_maps - of_policies,
                1,
                "a password is sent once: {fault:?}"
            );
            assert_eq!(b.count() - before[1], 1, "the map alone: {fault:?}");
        }
    }
}

#[test]
fn a_request_that_was_lost_before_its_target_refuses_counts_as_sent() {
    let (mut a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[]);
    assert_eq!(ask_policy(&setup, "1"), "action=OK a\n\n");
    // The kept connection is lost with the request, and no new one is accepted.
    a.answer_with(|_| Reply::Hold(Box::new(Reply::Close)));
    let mut policy = setup.policy("p");
    policy.send(crate::support::peer::policy_request(&[("instance", "2")]));
    assert!(a.wait_for(2, PATIENCE));
    a.down();
    assert_eq!(policy.action(), DEFER);
    assert_eq!([a.count(), b.count()], [2, 0]);
}

#[test]
fn a_login_that_gets_no_connection_goes_through_the_next_target_in_time() {
    let (hole, b) = (Blackhole::open(), api("b"));
    let setup = start(&[hole.url(""), b.url("")], &[]);
    let began = Instant::now();
    assert_eq!(log_in(&setup, 1), accepted());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(b.count(), 1);
    // Two such connections leave a login half of its time; it does not make a third.
    let other = Blackhole::open();
    let setup = start(&[hole.url(""), other.url(""), b.url("")], &[]);
    let began = Instant::now();
    assert_eq!(log_in(&setup, 2), closed());
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(b.count(), 1);
}

#[test]
fn a_handshake_that_fails_was_no_request_but_a_late_refusal_of_our_certificate_was_one() {
    let authority = Authority::new("ours");
    let directory = open_directory();
    let root = authority.write(directory.path(), "root.pem");
    // A certificate that nobody trusts: the handshake fails before the request.
    let strange = Backend::start_tls(Identity::self_signed().serve(&[&TLS13], None), says("a"));
    let good = || Backend::start_tls(authority.server(Flaw::None).serve(&[&TLS13], None), says("b"));
    let b = good();
    let setup = Setup::start(|config| entries(config.trust(&root), &[strange.url(""), b.url("")], &[]));
    assert_eq!(setup.map().look_up("m", "k"), "OK b");
    assert_eq!(ask_policy(&setup, "1"), "action=OK b\n\n");
    assert_eq!(log_in(&setup, 1), accepted());
    assert_eq!([strange.count(), b.count()], [0, 3]);
    // One that wants a certificate of ours says so after the handshake, and perhaps after the request.
    let wants = authority.server(Flaw::None).serve(&[&TLS13], Some(&Authority::new("theirs")));
    let (wanting, b) = (Backend::start_tls(wants, says("a")), good());
    let setup = Setup::start(|config| entries(config.trust(&root), &[wanting.url(""), b.url("")], &[]));
    assert_eq!(setup.map().look_up("m", "k"), "OK b");
    assert_eq!(ask_policy(&setup, "1"), DEFER);
    assert_eq!(log_in(&setup, 1), closed());
    assert_eq!([wanting.count(), b.count()], [0, 1], "the map alone");
}

#[test]
fn an_answer_is_no_reason_to_ask_another_target() {
    let (a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[]);
    for answer in
        [reply(401, &[]), reply(403, &[]), reply(404, &[]), Reply::json("{\"value\": 5.5"), Reply::json("[]")]
    {
        a.answer_with(move |_| answer.clone());
        assert_ne!(setup.map().look_up("m", "k"), "OK b");
        assert_eq!(ask_policy(&setup, "1"), DEFER);
        assert_eq!(log_in(&setup, 1), closed());
    }
    assert_eq!([a.count(), b.count()], [15, 0]);
}

#[test]
fn a_token_is_for_all_targets_and_its_refusal_stays_at_one() {
    let provider = FakeProvider::start();
    let (mut a, b) = (api("a"), api("b"));
    let refusing = |request: &Request| match request.header("authorization") {
        Some("Bearer canary-token-1") => reply(401, &[]),
        _ => says("b")(request),
    };
    b.answer_with(refusing);
    let bearer = backend_oidc(&provider.configuration_uri(), "client_id: pfx, client_secret: s");
    let setup = start(&[a.url(""), b.url("")], &[&bearer]);
    a.down();
    assert_eq!(log_in(&setup, 1), accepted());
    assert_eq!([a.count(), b.count()], [0, 2], "refused, and once more with another token");
    a.up();
    assert_eq!(setup.map().look_up("m", "k"), "OK a");
    assert_eq!(a.last().header("authorization"), Some("Bearer canary-token-2"));
}

#[test]
fn check_online_tries_each_target() {
    let directory = open_directory();
    let (a, mut b) = (api("a"), api("b"));
    b.down();
    let checked = online(&entries(Config::new(directory.path()), &[a.url(""), b.url("")], &[]));
    assert_ne!(checked.code, Some(0), "{}", checked.text());
    let used = "(used by: map m, policy p, login l)";
    assert!(checked.good.contains(&format!("{}: reached {used}", a.url(""))), "{}", checked.text());
    let bad = format!("{}: not reached: connection refused {used}", b.url(""));
    assert!(checked.bad.contains(&bad), "{}", checked.text());
}
