//! Several brokers with one shared cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::backend::{Backend, Reply};
use super::command_line::{run, text};
use super::config::Config;
use super::metrics::Scrape;
use super::port::Port;
use super::redis::Redis;
use super::setup::Setup;
use super::site::open_directory;
use super::{PATIENCE, wait_until};

/// What the shared caches of the tests are protected with.
pub(crate) const SECRET: &str = "a-secret-of-the-fleet-of-48-characters-0123456789";

/// Secrets in files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self(open_directory());
        files.write("secret", SECRET);
        files
    }

    /// Writes a secret into a file; its path.
    pub(crate) fn write(&self, name: &str, secret: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, format!("{secret}\n")).expect("a file");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its owner may");
        path
    }

    /// A path in their directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `server.shared` with these further fields. A lookup waits as long as it may: the machine is busy.
    pub(crate) fn shared(&self, url: &str, more: &str) -> String {
        let secret = self.0.path().join("secret");
        format!("shared: {{url: \"{url}\", wait: 50ms, secret_file: \"{}\"{more}}}", secret.display())
    }
}

/// A broker of a fleet, and its metrics.
pub(crate) struct Member {
    pub(crate) setup: Setup,
    port: Port,
}

impl Member {
    /// Starts one with these lines of `server.shared`, and waits for its connection.
    pub(crate) fn start(shared: &str, configure: impl FnOnce(Config) -> Config) -> Self {
        let member = Self::start_alone(shared, configure);
        assert!(member.is_up(), "{}", member.setup.broker.log());
        member
    }

    /// The same without a connection.
    pub(crate) fn start_alone(shared: &str, configure: impl FnOnce(Config) -> Config) -> Self {
        let port = Port::reserve();
        let setup = Setup::start(|config| configure(config.server(shared).prometheus(port.number(), &[])));
        Self { setup, port }
    }

    /// Waits for a connection.
    pub(crate) fn is_up(&self) -> bool {
        wait_until(PATIENCE, || self.status()["is_up"] == true)
    }

    /// Waits until the connection is lost.
    pub(crate) fn is_down(&self) -> bool {
        wait_until(PATIENCE, || self.status()["is_up"] == false)
    }

    /// `shared` in `status --json`.
    pub(crate) fn status(&self) -> Value {
        let output = run(self.setup.broker.config(), &["status", "--json"], "");
        let status: Value = serde_json::from_str(&text(&output)).expect("JSON");
        status["shared"].clone()
    }

    /// Reads of the shared cache with this result.
    pub(crate) fn reads(&self, result: &str) -> u64 {
        self.count("pfxhttp_shared_cache_reads_total", result)
    }

    /// Writes with this result.
    pub(crate) fn writes(&self, result: &str) -> u64 {
        self.count("pfxhttp_shared_cache_writes_total", result)
    }

    /// Whether the metrics say that there is a connection.
    pub(crate) fn is_up_by_metrics(&self) -> bool {
        Scrape::of(self.port.address()).sum("pfxhttp_shared_cache_up", &[]) > 0.0
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    fn count(&self, name: &str, result: &str) -> u64 {
        Scrape::of(self.port.address()).sum(name, &[("result", result)]) as u64
    }

    /// Looks `key` up in the map `m`.
    pub(crate) fn look_up(&self, key: &str) -> String {
        self.setup.map().look_up("m", key)
    }

    /// The same, again where the shared cache was late because the machine is busy.
    pub(crate) fn look_up_in_time(&self, key: &str) -> String {
        let missed = || self.reads("late") + self.reads("down");
        let end = Instant::now() + PATIENCE;
        loop {
            let before = missed();
            let reply = self.look_up(key);
            if missed() == before || Instant::now() > end {
                return reply;
            }
        }
    }
}

/// A map `m` and a policy service `p`, whose cached answers are shared for outages.
pub(crate) fn outage(config: Config, api: &Backend) -> Config {
    let config = config.server("response_cache: {enabled: true, ttl: 1h}");
    let shared = ["cache: {shared: true}", "timeout: 2s"];
    config.map("m", &api.url("/map"), &shared).policy("p", &api.url("/policy"), &shared)
}

/// Waits until there are this many records.
pub(crate) fn has_records(redis: &Redis, count: usize) -> bool {
    wait_until(PATIENCE, || redis.names().len() == count)
}

/// A map whose answers are fresh for long.
pub(crate) fn fresh(config: Config, api: &Backend) -> Config {
    config.map("m", &api.url("/"), &["cache: {fresh: 1h, shared: true}"])
}

/// `cache purge` with these words; what it prints.
pub(crate) fn purge(member: &Member, words: &[&str]) -> String {
    let output = run(member.setup.broker.config(), &[&["cache", "purge"], words].concat(), "");
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

/// Purges the map `m`, and asks for `k`, which has to be `due`, until that is shared: an answer that comes before the
/// server knows of the purge is not. The name of the new record.
pub(crate) fn purge_and_share(member: &Member, redis: &Redis, due: &str) -> String {
    let before = redis.names();
    let newest = || redis.names().into_iter().filter(|name| !before.contains(name)).max_by_key(epoch);
    let is_shared = wait_until(PATIENCE, || {
        purge(member, &["m"]);
        assert_eq!(member.look_up("k"), due, "the answer of before the purge is gone here at once");
        wait_until(Duration::from_secs(1), || newest().is_some())
    });
    assert!(is_shared, "{due} is not shared");
    newest().expect("a record")
}

/// The number of purges in the name of a record.
fn epoch(name: &String) -> u64 {
    let number = name.split(':').nth(3).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{name} has no number"))
}

/// Waits until `member` says this about `key`; how long that took.
pub(crate) fn says(member: &Member, key: &str, due: &str) -> Duration {
    let began = Instant::now();
    assert!(wait_until(PATIENCE, || member.look_up(key) == due), "{key}: {}", member.look_up(key));
    began.elapsed()
}

/// From now on the API says this about each key.
pub(crate) fn now_says(api: &Backend, value: &str) {
    let told = format!(r#"{{"value": "{value}"}}"#);
    api.answer_with(move |_| Reply::json(&told));
}
