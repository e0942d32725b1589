//! A broker with the fake API behind it, the ledgers, and the lanes to it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answers::Api;
use crate::driver::{Lane, Outcome, Talk, Traffic, key};
use crate::ledger::{Ledgers, Rules};
use crate::rows::{Row, results};
use crate::support::backend::{Reply, Request};
use crate::support::config::Config;
use crate::support::peer::Peer;
use crate::support::postfix::Postfix;
use crate::support::setup::Setup;
use crate::support::site::Way;

/// The lanes of a usual run: the map `m`, the policy service `p` and the logins `users`.
pub(crate) const ALL: [&str; 3] = ["m", "p", "users"];

/// The password of all logins, and the secret of the broker at an identity provider.
pub(crate) const PASSWORD: &str = "canary-of-a-password";
pub(crate) const CLIENT_SECRET: &str = "canary-of-a-secret";
/// What no log may have: also the access tokens of the fake provider, and what all JWS begin with.
const SECRETS: [&str; 4] = [PASSWORD, CLIENT_SECRET, "canary-token", "eyJ"];

/// A running broker and its API. The broker ends first, and its log must have no secret then.
pub(crate) struct Rig {
    pub(crate) setup: Setup,
    pub(crate) api: Api,
    pub(crate) ledgers: Arc<Ledgers>,
}

/// The entries `m`, `p` and `users`, which ask this API within a second unless these further lines say otherwise.
pub(crate) fn entries(config: Config, api: &Api, more: &[&str]) -> Config {
    entries_at(config, &api.url(""), more)
}

/// The same with the API at this address.
pub(crate) fn entries_at(config: Config, origin: &str, more: &[&str]) -> Config {
    let usual: &[&str] =
        if more.iter().any(|line| line.starts_with("timeout:")) { &[] } else { &["timeout: 1s"] };
    let lines = [usual, more].concat();
    let at = |path: &str| format!("{origin}{path}");
    config.map("m", &at("/map"), &lines).policy("p", &at("/policy"), &lines).login(
        "users",
        &at("/login"),
        &lines,
    )
}

impl Rig {
    /// Starts a broker with the usual entries and these further lines in each.
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_with(|config, api| entries(config, api, more))
    }

    /// Starts a broker with these entries.
    pub(crate) fn start_with(configure: impl FnOnce(Config, &Api) -> Config) -> Self {
        Self::start_after("", configure)
    }

    /// The same through a shell that runs `script` first.
    pub(crate) fn start_after(script: &str, configure: impl FnOnce(Config, &Api) -> Config) -> Self {
        let ledgers = Arc::<Ledgers>::default();
        Self::start_before(Api::start(&ledgers), ledgers, script, configure)
    }

    /// The same with this API, which writes to these ledgers.
    pub(crate) fn start_before(
        api: Api,
        ledgers: Arc<Ledgers>,
        script: &str,
        configure: impl FnOnce(Config, &Api) -> Config,
    ) -> Self {
        let setup = Setup::start_after(script, |config| {
            let config = configure(config, &api);
            // What is shown at this level is looked through for secrets. Some rows have it in any case.
            match results().is_some() && config.text().contains("level: info") {
                true => config.server("logging: {json: false, level: debug}"),
                false => config,
            }
        });
        Self { setup, api, ledgers }
    }

    /// A lane to the map of this name.
    pub(crate) fn map(&self, way: Way, name: &'static str) -> Lane {
        let (ipc, socket) = (self.setup.ipc(), self.setup.socket("maps"));
        let open = move || open(way, &ipc, &socket, &["socketmap"]);
        Lane::new(name, Talk::Map(name, key), Arc::new(open))
    }

    /// A lane to the policy service `p`.
    pub(crate) fn policy(&self, way: Way) -> Lane {
        let (ipc, socket) = (self.setup.ipc(), self.setup.socket("p"));
        Lane::new("p", Talk::Policy, Arc::new(move || open(way, &ipc, &socket, &["policy", "p"])))
    }

    /// A lane to the logins `users`, with passwords.
    pub(crate) fn login(&self, way: Way) -> Lane {
        let (ipc, socket) = (self.setup.ipc(), self.setup.socket("users"));
        let open = move || open(way, &ipc, &socket, &["sasl", "users"]);
        Lane::new("users", Talk::Password, Arc::new(open))
    }

    /// A Postfix whose recipients are those of the map `m`, asked through clients, and whose logins are those of
    /// `users`, asked at the listener; and lanes of SMTP sessions to it, for recipients and for logins.
    pub(crate) fn postfix(&self) -> (Postfix, [Lane; 2]) {
        let mut postfix = Postfix::prepare();
        postfix.spawn("pfx-map", &self.setup.ipc(), "socketmap");
        let rcpt = postfix.smtpd(&[("virtual_mailbox_maps", "socketmap:unix:private/pfx-map:m")]);
        let auth = postfix.sasl_smtpd(&self.setup.sasl_path(Way::Unix, "users"), &[]);
        postfix.start();
        let lane = |name, talk| Lane { talk, threads: 1, ..self.map(Way::Unix, name) };
        (postfix, [lane("rcpt", Talk::Rcpt(rcpt)), lane("auth", Talk::Auth(auth))])
    }

    /// The three usual lanes.
    pub(crate) fn lanes(&self, way: Way) -> Vec<Lane> {
        vec![self.map(way, "m"), self.policy(way), self.login(way)]
    }

    /// Starts traffic on these lanes.
    pub(crate) fn traffic(&self, lanes: &[Lane]) -> Traffic {
        Traffic::start(&self.ledgers, lanes)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            no_secret(&self.setup.broker.log());
        }
    }
}

/// Looks through the log of a broker.
///
/// # Panics
/// If it has a secret.
pub(crate) fn no_secret(log: &str) {
    let shown = SECRETS.iter().find(|secret| log.contains(**secret));
    assert_eq!(shown, None, "a secret is in the log");
    // As it stands behind one, two or three other bytes.
    for before in ["", "-", "--"] {
        let encoded = STANDARD.encode(format!("{before}{PASSWORD}"));
        assert!(!log.contains(&encoded[4..encoded.len() - 4]), "a password in base64 is in the log");
    }
}

fn open(way: Way, ipc: &Path, socket: &Path, arguments: &[&str]) -> Peer {
    match way {
        Way::Client => Peer::asking(ipc, arguments),
        Way::Forwarding => Peer::asking(ipc, &[&["--no-hand-over"][..], arguments].concat()),
        Way::Unix | Way::Tcp => Peer::unix(socket),
    }
}

/// Plays one fault of the API: right answers, the fault for so many replies of each lane, and right answers again.
/// Each lane gets temporary replies during the fault, and definitive ones before and after.
pub(crate) fn play(
    row: &Row,
    rig: &Rig,
    during: usize,
    rules: Rules,
    fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Outcome {
    play_on(row, rig, &rig.lanes(Way::Unix), [during, 40], rules, fault)
}

/// The same, also seen by SMTP clients of a real Postfix, whose temporary replies are 451 and 454.
pub(crate) fn play_through_postfix(
    row: &Row,
    rig: &Rig,
    during: usize,
    fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Outcome {
    let (_postfix, smtp) = rig.postfix();
    let lanes = [&rig.lanes(Way::Unix)[..], &smtp].concat();
    // A session takes longer than a lookup.
    let rules = Rules { budget: Duration::from_secs(8), ..Rules::default() };
    play_on(row, rig, &lanes, [during, 20], rules, fault)
}

/// The same on these lanes. The replies to wait for are those of each lane during the fault, and after it.
pub(crate) fn play_on(
    row: &Row,
    rig: &Rig,
    lanes: &[Lane],
    [during, after]: [usize; 2],
    rules: Rules,
    fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Outcome {
    let names: Vec<&'static str> = lanes.iter().map(|lane| lane.name).collect();
    let mut traffic = rig.traffic(lanes);
    traffic.more(20);
    traffic.fault(&names);
    rig.api.fault(fault);
    traffic.more(during);
    rig.api.mend();
    traffic.mended();
    traffic.more(after);
    let outcome = row.counted(traffic.end(rules));
    for lane in names {
        let count = outcome.temporary_of(lane);
        assert!(count > 0, "{lane} never got a temporary reply");
    }
    outcome
}

/// For rows that measure: this thread, and all that it starts from now on, goes before other processes (sched(7),
/// `SCHED_RR`). A nice value would count within the session alone.
pub(crate) fn go_first() {
    let thread = fs::read_link("/proc/thread-self").expect("proc(5)");
    let id = thread.file_name().expect("its number");
    let done = Command::new("chrt").args(["--rr", "--pid", "1"]).arg(id).status();
    println!("goes first: {:?}", done.map(|status| status.success()));
}

/// The p99 of lookups in the map `m`, measured in turn without and with what `load` makes. It is the lower quartile of
/// the rounds: in others, other processes may have had the processors.
pub(crate) fn p99_beside<L>(rig: &Rig, load: impl Fn() -> L) -> (Duration, Duration) {
    const ROUNDS: usize = 16;
    p99(rig);
    let (mut usual, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        usual.push(p99(rig));
        let load = load();
        beside.push(p99(rig));
        drop(load);
    }
    let [usual, beside] = [usual, beside].map(|mut rounds| {
        println!("p99 {rounds:.2?}");
        rounds.sort_unstable();
        rounds[ROUNDS / 4]
    });
    (usual, beside)
}

/// The p99 of some lookups in the map `m`.
fn p99(rig: &Rig) -> Duration {
    const LOOKUPS: usize = 1500;
    let before = rig.ledgers.asked.entries().len();
    let lane = Lane { pace: Duration::from_micros(500), ..rig.map(Way::Unix, "m") };
    let traffic = rig.traffic(&[lane]);
    traffic.more(LOOKUPS);
    drop(traffic);
    let asked = rig.ledgers.asked.entries().split_off(before);
    let asked = asked.iter().filter(|one| one.lane == "m");
    let sent: HashMap<u64, Instant> = asked.map(|one| (one.id, one.at)).collect();
    let heard = rig.ledgers.heard.entries();
    let mut times: Vec<Duration> =
        heard.iter().filter_map(|one| sent.get(&one.id).map(|sent| one.at - *sent)).collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
