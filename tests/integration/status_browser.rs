//! The status page in a real browser: it renders at every width, says nothing to the console, and shows hostile
//! names as text. `make test-page` runs this, and leaves its pictures in target/page.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::browser::Browser;
use crate::support::config::{Config, backend_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::pause;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::setup::Setup;
use crate::support::site::Way;

const IMAGE: &str = "<img/src=x/onerror=document.title='hacked'>";
const SCRIPT: &str = "</bdi><script>document.title='hacked'</script>";

/// Shows the page at `widths`, light and dark, and checks what holds for every page.
fn look(browser: &Browser, port: &Port, name: &str, widths: &[u32]) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/page");
    std::fs::create_dir_all(&directory).expect("a directory");
    for width in widths {
        for (dark, shade) in [(false, "light"), (true, "dark")] {
            browser.look(*width, dark);
            browser.open(&format!("http://{}/status?refresh=0", port.address()));
            let said = browser.console();
            assert!(said.is_empty(), "{name}: the console said {said:#?}");
            let wide = browser.value("document.documentElement.scrollWidth");
            assert_eq!(wide, json!(width), "{name}: nothing stands beyond the right edge");
            // The style sheet is applied: the policy names its hash.
            let ground = browser.value("getComputedStyle(document.body).backgroundColor");
            let due = if dark { "rgb(14, 19, 25)" } else { "rgb(244, 246, 248)" };
            assert_eq!(ground, due, "{name} {shade}");
            browser.picture(&directory.join(format!("{name}-{width}-{shade}.png")));
        }
    }
}

/// How long requests are made.
pub(crate) fn seconds() -> Duration {
    let set = std::env::var("PAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(set.unwrap_or(30))
}

fn api() -> Backend {
    Backend::start(|request| match request.path.as_str() {
        "/down" => Reply::status(503),
        "/flaky" if request.nth.is_multiple_of(40) => Reply::status(500),
        _ => answer(request),
    })
}

/// The answer of an API that works: some take longer than others.
pub(crate) fn answer(request: &Request) -> Reply {
    pause(Duration::from_micros(300 + 7919 * request.nth % 9000));
    match request.path.rsplit('/').next() {
        Some("login") if request.text("password") == "good" => {
            Reply::with_header("Auth-User", &request.text("username"), "")
        }
        Some("login") => Reply::with_header("Auth-Status", "no", ""),
        _ => Reply::json(r#"{"value": "v", "action": "DUNNO"}"#),
    }
}

/// Those that ask: each map has a connection of its own.
pub(crate) struct Callers<'c> {
    pub(crate) map: &'c (dyn Fn() -> Peer + Sync),
    pub(crate) policy: Peer,
    pub(crate) login: Sasl,
}

/// Asks these maps, a policy service and logins until the time is over.
pub(crate) fn ask(maps: &[&str], callers: Callers<'_>, time: Duration) {
    let Callers { map: connect, mut policy, mut login } = callers;
    let (end, is_over) = (Instant::now() + time, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (nth, name) in maps.iter().enumerate() {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut map = connect();
                for key in 0_u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    map.look_up(name, &format!("user{}@example.com", key % 50));
                    // Each map has its own rate, which rises and falls.
                    let wave = 1.0 + 0.8 * (key as f64 / 300.0).sin();
                    pause(Duration::from_secs_f64(0.004 * (nth + 1) as f64 * wave));
                }
            });
        }
        for id in 1.. {
            policy.ask(&[("request", "smtpd_access_policy")]);
            if id % 50 == 1 {
                login.plain(id, "bob@example.com", "good");
                login.line();
            }
            if Instant::now() > end {
                break;
            }
            pause(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

fn work(setup: &Setup, maps: &[&str]) {
    let (policy, login) = (setup.policy("greylist"), setup.login(Way::Unix, "submission"));
    ask(maps, Callers { map: &|| setup.map(), policy, login }, seconds());
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn the_page_is_shown_idle_busy_and_with_a_failing_api() {
    let (api, provider, port) = (api(), FakeProvider::start(), Port::reserve());
    let oidc = backend_oidc(&provider.configuration_uri(), "client_id: us, client_secret: s3cret");
    let start = |down: bool| {
        Setup::start(|config| {
            config
                .prometheus(port.number(), &["prometheus_status_page: true"])
                .map("mailboxes", &api.url("/map"), &["cache: {fresh: 20s}"])
                .map("aliases", &api.url("/aliases"), &[&oidc])
                .map("domains", &api.url("/flaky"), &[])
                .map("transports", &api.url(if down { "/down" } else { "/map" }), &[])
                .policy("greylist", &api.url("/policy"), &[])
                .login("submission", &api.url("/login"), &[])
        })
    };
    let browser = Browser::start();
    let maps = ["mailboxes", "aliases", "domains", "transports"];
    let setup = start(false);
    look(&browser, &port, "idle", &[400, 1400]);
    work(&setup, &maps[..2]);
    look(&browser, &port, "busy", &[400, 800, 1400]);
    assert_eq!(browser.value("document.querySelectorAll('svg.spark').length > 10"), true);
    drop(setup);
    let setup = start(true);
    work(&setup, &maps);
    look(&browser, &port, "failing", &[400, 800, 1400]);
    assert_eq!(browser.value("document.title"), "(1) pfxhttp");
    assert_eq!(browser.value("document.querySelector('tbody .name').textContent"), "transports");
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn thirty_entries_and_hostile_names_are_shown() {
    let (api, port) = (api(), Port::reserve());
    let text = |name: &str| format!("\"{name}\"");
    let setup = Setup::start(|config: Config| {
        let config = config.prometheus(port.number(), &["prometheus_status_page: true"]);
        let config = config.map(&text(IMAGE), &api.url("/down"), &[]);
        let config = config.map(&text(SCRIPT), &api.url("/map"), &[]);
        let config = config.map("\"right\\u202Eto-left\"", &api.url("/map"), &[]);
        let long =
            "a-name-that-is-much-too-long-for-any-column-of-any-table-and-has-no-place-to-break_".repeat(2);
        let config = config.map(&long, &api.url("/map"), &[]);
        (0..26).fold(config, |config, nth| config.map(&format!("tenant-{nth:02}"), &api.url("/map"), &[]))
    });
    setup.map().look_up(IMAGE, "k");
    (0..26).for_each(|nth| drop(setup.map().look_up(&format!("tenant-{nth:02}"), "k")));
    let browser = Browser::start();
    look(&browser, &port, "many", &[400, 1400]);
    assert_eq!(browser.value("document.querySelectorAll('.entries tbody tr').length"), 30);
    assert_eq!(browser.value("document.title"), "(1) pfxhttp");
    assert_eq!(browser.value("document.querySelectorAll('img, script').length"), 0);
    let names =
        browser.value("[...document.querySelectorAll('.entries .name')].map(name => name.textContent)");
    let names: Vec<&str> = names.as_array().expect("names").iter().filter_map(|name| name.as_str()).collect();
    assert!(names.contains(&IMAGE) && names.contains(&SCRIPT), "{names:?}");
    // The check of the console can fail.
    browser.open("data:text/html,<script>console.log('heard')</script>");
    assert!(browser.console().iter().any(|said| said.contains("heard")));
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn the_page_loads_itself_again() {
    let (api, port) = (api(), Port::reserve());
    let setup = Setup::start(|config| {
        let config = config.prometheus(port.number(), &["prometheus_status_page: true"]);
        config.map("m", &api.url("/down"), &[])
    });
    let browser = Browser::start();
    browser.open(&format!("http://{}/status?refresh=1", port.address()));
    assert_eq!(browser.value("document.title"), "pfxhttp");
    setup.map().look_up("m", "k");
    let is_new = || browser.value("document.title") == "(1) pfxhttp";
    assert!(crate::support::wait_until(crate::support::PATIENCE, is_new));
    assert_eq!(browser.console(), Vec::<String>::new());
}
