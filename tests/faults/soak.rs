//! The soak: millions of requests of all kinds, without a fault, against one broker. It is no row; `make soak` runs it.
//!
//! Requests come in waves. Each wave has new connections and a reload, and its ledgers are reconciled when it ends.
//! The memory and the descriptors of the broker are those between two waves.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::{Lane, Talk};
use crate::ledger::Rules;
use crate::rig::{Rig, entries};
use crate::support::alone;
use crate::support::command_line::{run, text};
use crate::support::peer::Peer;
use crate::support::site::Way;

/// Lookups, unless `PFXHTTP_TEST_SOAK` has another number.
const LOOKUPS: usize = 10_000_000;
/// Lookups of a wave, at least.
const WAVE: usize = 10_000;
/// Waves between two lines of the report.
const SHOWN: usize = 50;

/// The broker between two waves.
struct Sample {
    resident_kib: u64,
    descriptors: usize,
}

impl Sample {
    fn of(rig: &Rig) -> Self {
        let directory = format!("/proc/{}/fd", rig.setup.broker.pid());
        let descriptors = fs::read_dir(directory).expect("a living process").count();
        Self { resident_kib: rig.setup.broker.resident_kib(), descriptors }
    }
}

/// Requests by every way, one directly after the other.
fn lanes(rig: &Rig) -> Vec<Lane> {
    let tcp = rig.setup.login_port("users").address();
    let over_tcp = Lane::new("users", Talk::Password, Arc::new(move || Peer::tcp(tcp)));
    let lanes = vec![
        rig.map(Way::Unix, "m"),
        rig.map(Way::Client, "m"),
        rig.map(Way::Forwarding, "m"),
        rig.map(Way::Unix, "cached"),
        rig.policy(Way::Unix),
        rig.policy(Way::Client),
        rig.policy(Way::Forwarding),
        rig.login(Way::Unix),
        rig.login(Way::Client),
        rig.login(Way::Forwarding),
        over_tcp,
    ];
    lanes.into_iter().map(|lane| Lane { pace: Duration::ZERO, ..lane }).collect()
}

/// The mean memory of the waves from one share of the run to another.
fn mean(samples: &[Sample], from: f64, to: f64) -> f64 {
    let at = |share: f64| (samples.len() as f64 * share) as usize;
    let part = &samples[at(from)..at(to)];
    part.iter().map(|sample| sample.resident_kib as f64).sum::<f64>() / part.len() as f64
}

/// The log level of the first start is `info`, from then on `error`: denied logins need not be kept here.
fn quiet(rig: &Rig) {
    let file = rig.setup.broker.config();
    let text = fs::read_to_string(file).expect("the configuration");
    fs::write(file, text.replace("level: info", "level: error")).expect("the configuration");
    reload(rig);
}

fn reload(rig: &Rig) {
    let told = run(rig.setup.broker.config(), &["reload"], "");
    assert!(told.status.success(), "{}", text(&told));
}

#[test]
#[ignore = "a quarter of an hour: make soak"]
fn soak() {
    let due = std::env::var("PFXHTTP_TEST_SOAK").map_or(LOOKUPS, |number| number.parse().expect("a number"));
    let _alone = alone();
    let rig = Rig::start_with(|config, api| {
        let config = config.server("response_cache: {enabled: true, ttl: 1h, max_bytes: 4194304}");
        let cached = ["timeout: 8s", "cache: {fresh: 1h}"];
        entries(config, api, &["timeout: 8s"]).map("cached", &api.url("/map"), &cached)
    });
    quiet(&rig);
    let (start, mut done, mut samples) = (Instant::now(), 0, Vec::new());
    let mut slowest = Duration::ZERO;
    while done < due {
        let traffic = rig.traffic(&lanes(&rig));
        traffic.total(WAVE / 2);
        reload(&rig);
        traffic.total(WAVE);
        let rules = Rules { repetitions: 0, budget: Duration::from_secs(8), ..Rules::default() };
        let outcome = traffic.end(rules);
        assert!(outcome.temporary.is_empty(), "no reply is temporary");
        slowest = outcome.definitive.iter().map(|(_, took)| *took).chain([slowest]).max().unwrap_or_default();
        done += outcome.lookups;
        rig.ledgers.begin_again();
        rig.api.backend.forget();
        samples.push(Sample::of(&rig));
        if samples.len() % SHOWN == 0 || done >= due {
            let (last, rate) = (&samples[samples.len() - 1], done as f64 / start.elapsed().as_secs_f64());
            let Sample { resident_kib, descriptors } = last;
            println!("{done} lookups, {rate:.0}/s: {resident_kib} KiB, {descriptors} descriptors");
        }
    }
    println!(
        "{done} lookups in {:.0} s, {} reloads: 0 wrong, 0 lost, 0 temporary, the slowest after {slowest:.1?}",
        start.elapsed().as_secs_f64(),
        samples.len()
    );
    if samples.len() < 100 {
        println!("too few to say how the memory grows");
        return;
    }
    let (warm, last) = (mean(&samples, 0.2, 0.4), mean(&samples, 0.8, 1.0));
    let drift = (last / warm - 1.0) * 100.0;
    let descriptors = || samples[samples.len() / 5..].iter().map(|sample| sample.descriptors);
    let (least, most) = (descriptors().min().unwrap_or_default(), descriptors().max().unwrap_or_default());
    println!(
        "memory {warm:.0} KiB in the second fifth, {last:.0} KiB in the last: {drift:+.1} %; {least} to {most} descriptors"
    );
    assert!(drift < 2.0, "the memory grows by {drift:.1} %");
    assert!(most - least < 64, "{least} to {most} descriptors");
}
