//! A broker with work, on a machine made of namespaces: its sockets and files are where an installed one has them,
//! and its API has a name. Needs root, and the packages chromium, chromium-driver, pngquant and iproute2.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ALL_VERSIONS;

use super::{file, terminal, write};
use crate::status_browser::{Callers, answer, ask, seconds};
use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::browser::Browser;
use crate::support::certificates::{Authority, Flaw};
use crate::support::config::{Config, Kind, backend_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::terminal::{Terminal, last_frame};
use crate::support::{PATIENCE, pause, wait_until};

/// The test in the namespaces sees this variable.
const INSIDE: &str = "PICTURES_INSIDE";

/// Makes the machine, whose files are in $1, and executes the rest.
const ENTER: &str = r#"set -e
ip link set lo up
mount -t tmpfs -o mode=755 machine "$1"
mkdir "$1/etc" "$1/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" etc /etc
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 spool /var/spool
echo "127.0.0.1 localhost api.example.org" >/etc/hosts
rm -rf /etc/pfxhttp
mkdir -p /etc/pfxhttp /run/pfxhttp /var/spool/postfix/pfxhttp
shift
exec "$@""#;

const FILE: &str = "/etc/pfxhttp/pfxhttp.yml";
const MAPS: &str = "/run/pfxhttp/maps";
const QUOTA: &str = "/var/spool/postfix/pfxhttp/quota";
const USERS: &str = "/var/spool/postfix/pfxhttp/users";
const STATUS: &str = "http://127.0.0.1:9464/status?refresh=0";

/// How long the pictures of one state take.
const DRAWING: Duration = Duration::from_secs(6);

/// No picture takes more.
const MOST_BYTES: u64 = 80_000;

#[test]
#[ignore = "draws: make pictures"]
fn the_status_is_drawn() {
    if std::env::var_os(INSIDE).is_some() {
        return draw();
    }
    let machine = tempfile::tempdir().expect("a directory");
    let namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command = Command::new("/usr/bin/unshare");
    command.args(namespaces).args(["/bin/sh", "-c", ENTER, "sh"]).arg(machine.path());
    command.arg(std::env::current_exe().expect("this program")).env(INSIDE, "yes");
    command.args(["--ignored", "--exact", "--nocapture", "pictures::site::the_status_is_drawn"]);
    assert!(command.status().expect("unshare(1)").success(), "the pictures in the namespaces");
}

/// The configuration with the endpoint for the page, and what all of these have.
fn config() -> Config {
    let config = Config::new(Path::new("/run/pfxhttp")).prometheus(9464, &["prometheus_status_page: true"]);
    config.server("tls: {enabled: true, skip_verify: true}").listen_unix(Kind::Map, "maps", Path::new(MAPS))
}

fn start(config: &Config) -> Broker {
    fs::write(FILE, config.text()).expect("the configuration can be written");
    Broker::start(Path::new(FILE))
}

fn url(path: &str) -> String {
    format!("https://api.example.org/v1/{path}")
}

fn draw() {
    let fails = Arc::new(AtomicBool::new(false));
    let identity = Authority::new("authority of the pictures").server(Flaw::None);
    let failing = Arc::clone(&fails);
    let reply = move |request: &Request| match request.path.as_str() {
        "/v1/transports" if failing.load(Ordering::SeqCst) => Reply::status(503),
        _ => answer(request),
    };
    let _api = Backend::start_tls_at(Port::at(443), identity.serve(ALL_VERSIONS, None), reply);
    let browser = Browser::start();
    few_entries(&browser, &fails);
    many_entries(&browser, &fails);
}

/// A broker without work, with work, and with an API that fails.
fn few_entries(browser: &Browser, fails: &AtomicBool) {
    let provider = FakeProvider::start();
    let oidc = backend_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let config = config()
        .map("aliases", &url("aliases"), &[&oidc])
        .map("domains", &url("domains"), &[])
        .map("mailboxes", &url("mailboxes"), &["cache: {fresh: 20s}"])
        .map("transports", &url("transports"), &[])
        .policy("quota", &url("quota"), &[])
        .login("users", &url("login"), &[])
        .listen_unix(Kind::Policy, "quota", Path::new(QUOTA))
        .listen_unix(Kind::Login, "users", Path::new(USERS));
    let _broker = start(&config);
    page(browser, ("page-idle", 1.0), false);
    let maps = ["mailboxes", "aliases", "domains", "transports"];
    during(&maps, seconds(), || page(browser, ("page-busy", 1.0), false));
    fails.store(true, Ordering::SeqCst);
    during(&maps, seconds().min(Duration::from_secs(25)), || {
        page(browser, ("page-failing", 1.0), false);
        page(browser, ("page-dark", 1.0), true);
        status();
    });
}

/// Draws while the entries are asked, after this time.
fn during(maps: &[&str], time: Duration, draw: impl FnOnce()) {
    let map = || Peer::unix(Path::new(MAPS));
    let (policy, login) = (Peer::unix(Path::new(QUOTA)), Sasl::begin(Peer::unix(Path::new(USERS))));
    std::thread::scope(|scope| {
        scope.spawn(|| ask(maps, Callers { map: &map, policy, login }, time + DRAWING));
        pause(time);
        draw();
    });
}

/// The table on a terminal.
fn status() {
    let size = (104, 40);
    let (status, shown) = Terminal::run(size, &line("status")).end(PATIENCE);
    assert!(status.success(), "{shown}");
    write("status.svg", &terminal::draw("pfxhttp-broker status", size.0, &shown));
}

/// Thirty entries, of which two fail.
fn many_entries(browser: &Browser, fails: &AtomicBool) {
    let countries = ["at", "be", "ch", "cz", "de", "dk", "es", "fr", "it", "nl"];
    let entries = countries.iter().flat_map(|country| {
        ["aliases", "mailboxes", "transports"].map(|what| (format!("{country}-{what}"), what))
    });
    let entries: Vec<(String, &str)> = entries.take(28).collect();
    // The API fails for two of them.
    let target = |name: &str, what: &str| match (what, name) {
        ("transports", "cz-transports" | "fr-transports") => url("transports"),
        ("transports", _) => url("routes"),
        (what, _) => url(what),
    };
    let config =
        entries.iter().fold(config(), |config, (name, what)| config.map(name, &target(name, what), &[]));
    let config = config.policy("quota", &url("quota"), &[]).login("users", &url("login"), &[]);
    let config = config.listen_unix(Kind::Policy, "quota", Path::new(QUOTA));
    let config = config.listen_unix(Kind::Login, "users", Path::new(USERS));
    fails.store(true, Ordering::SeqCst);
    let _broker = start(&config);
    let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    during(&names, seconds() / 3, || {
        page(browser, ("page-thirty", 0.65), false);
        watch();
    });
}

/// The last frame of a watch.
fn watch() {
    let size = (104, 24);
    let mut terminal = Terminal::run(size, &line("status --watch"));
    terminal.wait_for(|shown| last_frame(shown).contains("2 failing"));
    let shown = terminal.shown();
    write("watch.svg", &terminal::draw("pfxhttp-broker status --watch", size.0, last_frame(&shown)));
    terminal.press("\x03");
    terminal.end(PATIENCE);
}

/// The command as an administrator types it: the configuration is where the broker looks for it.
fn line(words: &str) -> String {
    format!("{} {words}", env!("CARGO_BIN_EXE_pfxhttp-broker"))
}

/// Takes a picture of the whole page at this scale, with a palette of few colours.
fn page(browser: &Browser, (name, scale): (&str, f64), dark: bool) {
    browser.look_at(1400, dark, scale);
    browser.open(STATUS);
    assert!(wait_until(PATIENCE, || browser.value("document.readyState") == "complete"));
    assert_eq!(browser.value("document.title.endsWith('pfxhttp')"), true);
    let file = file(&format!("{name}.png"));
    browser.picture(&file);
    let mut command = Command::new("pngquant");
    command.args(["--force", "--strip", "--speed=1", "--nofs", "40"]).arg(&file).arg("--output").arg(&file);
    let status = command.status().unwrap_or_else(|error| panic!("pngquant cannot be run: {error}"));
    assert!(status.success(), "pngquant {}", file.display());
    let bytes = fs::metadata(&file).expect("a picture").len();
    assert!(bytes <= MOST_BYTES, "{} has {bytes} bytes", file.display());
}
