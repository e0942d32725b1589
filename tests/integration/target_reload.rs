//! Reloads that change the targets of an entry: no request is lost, and what is known of targets that stay is kept.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ALL_VERSIONS;

use crate::status_numbers::{entry, status};
use crate::support::alone;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Flaw};
use crate::support::config::{Config, Kind};
use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, pause, wait_until};
use crate::targets::{DEFER, TEMP, api, entries, says};

const ENTRIES: [(&str, &str); 3] = [("map", "m"), ("policy", "p"), ("login", "l")];

/// The entries `m`, `p` and `l` with these origins and lines, and their listeners.
fn site(directory: &Path, origins: &[String], more: &[&str]) -> Config {
    let config = entries(Config::new(directory), origins, more);
    [(Kind::Map, "m"), (Kind::Policy, "p"), (Kind::Login, "l")]
        .into_iter()
        .fold(config, |config, (kind, name)| {
            config.listen_unix(kind, name, &directory.join(format!("{name}.sock")))
        })
}

/// The requests of all kinds so far. Every one has to be answered by an API.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    /// Of map, policy and login.
    asked: [AtomicUsize; 3],
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    fn count(&self, kind: usize) {
        self.asked[kind].fetch_add(1, Ordering::SeqCst);
    }

    fn asked(&self) -> [usize; 3] {
        self.asked.each_ref().map(|asked| asked.load(Ordering::SeqCst))
    }

    /// Waits until there were this many more of each kind.
    fn wait_for(&self, more: usize) -> bool {
        let before = self.asked();
        wait_until(PATIENCE, || self.asked().iter().zip(before).all(|(now, before)| *now >= before + more))
    }

    /// Asks a map, by a listener and by the local socket, until it is over.
    fn maps(&self, directory: &Path, thread: usize) {
        let listener = Peer::unix(&directory.join("m.sock"));
        let mut peers = [listener, Peer::asking(&Config::ipc(directory), &["--no-hand-over", "socketmap"])];
        for number in (0..).take_while(|_| self.goes_on()) {
            for (way, peer) in peers.iter_mut().enumerate() {
                let reply = peer.look_up("m", &format!("{thread} {way} {number}"));
                assert!(reply.starts_with("OK ") && reply.len() == 4, "{reply}");
                self.count(0);
            }
        }
    }

    fn policies(&self, directory: &Path, thread: usize) {
        let mut peer = Peer::unix(&directory.join("p.sock"));
        for number in (0..).take_while(|_| self.goes_on()) {
            let reply = peer.ask(&[("instance", &format!("{thread}.{number}"))]);
            assert!(reply.starts_with("action=OK "), "{reply}");
            self.count(1);
        }
    }

    fn logins(&self, directory: &Path) {
        let mut sasl = Sasl::begin(Peer::unix(&directory.join("l.sock")));
        for id in (1..).take_while(|_| self.goes_on()) {
            sasl.plain(id, "u", "secret");
            assert_eq!(sasl.line(), format!("OK\t{id}\tuser=u"));
            self.count(2);
        }
    }

    /// Does `work` while requests of all kinds are in progress; returns how many there were.
    fn during(directory: &Path, work: impl FnOnce(&Self)) -> [usize; 3] {
        let load = Self::default();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let load = &load;
                scope.spawn(move || load.maps(directory, thread));
                scope.spawn(move || load.policies(directory, thread));
            }
            scope.spawn(|| load.logins(directory));
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert!(load.wait_for(10), "{:?}", load.asked());
                work(&load);
                assert!(load.wait_for(10), "{:?}", load.asked());
            }));
            load.is_over.store(true, Ordering::SeqCst);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
        load.asked()
    }
}

/// An API that takes some time, so that requests are in progress when the configuration changes.
fn takes_time(name: &'static str) -> impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static {
    let says = says(name);
    move |request| {
        pause(Duration::from_millis(3));
        says(request)
    }
}

#[test]
fn targets_that_come_go_and_change_places_under_load_lose_nothing() {
    const RELOADS: usize = 60;
    let _alone = alone();
    let apis = ["a", "b", "c"].map(|name| Backend::start(takes_time(name)));
    let [a, b, c] = apis.each_ref().map(|api| api.url(""));
    // This one is away all the time.
    let mut away = api("x");
    away.down();
    let x = away.url("");
    let lists = [
        vec![x.clone(), a.clone(), b.clone()],
        vec![x.clone(), b.clone()],
        vec![b.clone(), x.clone(), c.clone(), a.clone()],
        vec![c.clone(), x.clone()],
        vec![format!("{a}!"), x.clone(), c.clone()],
        vec![x.clone(), c.clone(), a.clone()],
    ];
    let (directory, port) = (open_directory(), Port::reserve());
    let directory = directory.path();
    let write = |origins: &[String]| {
        let lines = ["breaker: {pause: 1h, max_pause: 1h}"];
        site(directory, origins, &lines).prometheus(port.number(), &[]).write()
    };
    let broker = Broker::start(&write(&lists[0]));
    let is_out = |origin: &str| {
        let seen = status(broker.config());
        ENTRIES.iter().all(|(kind, name)| entry(&seen, kind, name)["targets"][origin] == "out")
    };
    let asked = Load::during(directory, |load| {
        assert!(is_out(&x), "{}", status(broker.config()));
        for number in 1..=RELOADS {
            write(&lists[number % lists.len()]);
            assert!(broker.reload(), "{}", broker.log());
            assert!(load.wait_for(2), "after reload {number}: {:?}", load.asked());
            if number % 10 == 0 {
                assert!(is_out(&x), "after reload {number}: {}", status(broker.config()));
            }
        }
    });
    // Each request was seen once, by one of them.
    let requests = apis.each_ref().map(Backend::requests);
    let seen = ["/map", "/policy", "/auth"]
        .map(|path| requests.iter().flatten().filter(|request| request.path == path).count());
    println!("{asked:?} requests, each API saw {:?}", requests.each_ref().map(Vec::len));
    assert_eq!(seen, asked);
    assert!(requests.iter().all(|requests| requests.len() > RELOADS), "each had its part");
    // What was learned before the first reload holds after the last one.
    let log = broker.log();
    assert_eq!(log.matches("target out").count(), ENTRIES.len(), "{log}");
    assert_eq!(log.matches("target back").count(), 0);
    assert_counters_go_on(&broker, &port, asked);
}

/// The counters of the entries are those of all generations.
fn assert_counters_go_on(broker: &Broker, port: &Port, asked: [usize; 3]) {
    let (seen, scrape) = (status(broker.config()), Scrape::of(port.address()));
    for ((kind, name), asked) in ENTRIES.into_iter().zip(asked) {
        assert_eq!(entry(&seen, kind, name)["requests"], asked, "{kind}");
        let labels = [("name", name)];
        assert_eq!(scrape.sum("pfxhttp_application_requests_total", &labels), asked as f64, "{kind}");
        let unsent = scrape.sum("pfxhttp_target_moves_total", &[("name", name), ("result", "unsent")]);
        assert!((1.0..=4.0).contains(&unsent), "{kind}: those in progress at the start: {unsent}");
    }
}

#[test]
fn failures_in_a_row_are_counted_over_a_reload() {
    let (a, b, c) = (Backend::start(|_| Reply::status(503)), api("b"), api("c"));
    let directory = open_directory();
    let write = |origins: &[String]| {
        let lines = ["breaker: {pause: 1h, max_pause: 1h}", "retry: {budget: 100%}"];
        site(directory.path(), origins, &lines).write()
    };
    let broker = Broker::start(&write(&[a.url(""), b.url("")]));
    let mut peer = Peer::unix(&directory.path().join("m.sock"));
    (0..3).for_each(|key| assert_eq!(peer.look_up("m", &format!("k{key}")), "OK b"));
    for origins in [[a.url(""), c.url(""), b.url("")], [c.url(""), b.url(""), a.url("")]] {
        write(&origins);
        assert!(broker.reload(), "{}", broker.log());
    }
    assert_eq!(peer.look_up("m", "k"), "OK c", "another order");
    write(&[a.url(""), b.url("")]);
    assert!(broker.reload(), "{}", broker.log());
    (3..9).for_each(|key| assert_eq!(peer.look_up("m", &format!("k{key}")), "OK b"));
    assert_eq!([a.count(), b.count(), c.count()], [5, 9, 1], "the fifth failure, and no further one");
    assert!(broker.logged(&["target out", "class=\"status\""]));
}

/// Both keys change at once: no request goes to a target with the `tls` of before, and none is lost.
#[test]
fn targets_and_their_tls_change_together() {
    let _alone = alone();
    let directory = open_directory();
    let directory = directory.path();
    let [one, two] = ["one", "two"].map(Authority::new);
    let [file_one, file_two] =
        [(&one, "one.crt"), (&two, "two.crt")].map(|(authority, name)| authority.write(directory, name));
    let start = |authority: &Authority, name| {
        Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, None), takes_time(name))
    };
    let (a, b, c) = (start(&one, "a"), start(&one, "b"), start(&two, "c"));
    let write = |origins: &[String], root: &Path| {
        let tls = format!("tls: {{root_ca: \"{}\"}}", root.display());
        site(directory, origins, &[&tls, "breaker: {pause: 50ms, max_pause: 50ms}"]).write()
    };
    let (first, second) = ([a.url(""), b.url("")], [a.url(""), c.url("")]);
    let broker = Broker::start(&write(&first, &file_one));
    let asked = Load::during(directory, |load| {
        for round in 0..5 {
            write(&second, &file_two);
            assert!(broker.reload(), "{}", broker.log());
            // Those in progress end with the certificates of before.
            assert!(load.wait_for(4), "{:?}", load.asked());
            let before = [a.count(), c.count()];
            assert!(load.wait_for(20), "{:?}", load.asked());
            assert_eq!(
                a.count(),
                before[0],
                "it is not trusted any more, also on kept connections ({round})"
            );
            assert!(c.count() >= before[1] + 60);
            write(&first, &file_one);
            assert!(broker.reload(), "{}", broker.log());
            let before = a.count();
            assert!(wait_until(PATIENCE, || a.count() > before), "it is tried and trusted again ({round})");
        }
    });
    let seen = [&a, &b, &c].map(Backend::count);
    println!("{asked:?} requests, the targets saw {seen:?}");
    assert_eq!(seen.iter().sum::<usize>(), asked.iter().sum::<usize>(), "each once");
    assert!(broker.logged(&["trouble with a target", &a.url(""), "class=\"tls\"", "not in root_ca"]));
    // A target alone whose certificate is not trusted any more is no reason to go on without a check.
    write(&first, &file_two);
    assert!(broker.reload(), "{}", broker.log());
    let before = [&a, &b].map(Backend::count);
    assert_eq!(Peer::unix(&directory.join("m.sock")).look_up("m", "k"), TEMP);
    assert_eq!(Peer::unix(&directory.join("p.sock")).ask(&[("instance", "1")]), DEFER);
    assert_eq!([&a, &b].map(Backend::count), before);
}

#[test]
fn an_administrator_who_changes_targets_in_an_outage_loses_no_cached_answer() {
    let (mut a, b, c, directory) = (api("a"), api("b"), api("c"), open_directory());
    let at = directory.path().join("maps.sock");
    let write = |origins: &[String], more: &[&str]| {
        let config = Config::new(directory.path()).listen_unix(Kind::Map, "maps", &at);
        entries(config.server("response_cache: {enabled: true, ttl: 1h}"), origins, more).write()
    };
    let broker = Broker::start(&write(&[a.url(""), b.url("")], &[]));
    let look_up = |key: &str| Peer::unix(&at).look_up("m", key);
    assert_eq!(look_up("k"), "OK a");
    a.down();
    b.answer_with(|_| Reply::status(503));
    c.answer_with(|_| Reply::status(503));
    let both = [b.url(""), a.url("")];
    for (origins, more) in [
        (&both[..], &[][..]),
        (&both, &["timeout: 3s", "balance: least", "breaker: false", "retry: {others: 0}"]),
        (&[c.url(""), b.url("")], &[]),
    ] {
        write(origins, more);
        assert!(broker.reload(), "{}", broker.log());
        assert_eq!(look_up("k"), "OK a", "{origins:?} {more:?}");
    }
    // Another meaning of its answers, or another API.
    let others = [(); 2].map(|()| Backend::start(|_| Reply::status(503)));
    let others = others.each_ref().map(|other| other.url(""));
    for (origins, more) in [(&[c.url(""), b.url("")], "status_code: 503"), (&others, "status_code: 200")] {
        write(origins, &[more]);
        assert!(broker.reload(), "{}", broker.log());
        assert_ne!(look_up("k"), "OK a", "{origins:?} {more:?}");
    }
}
