//! The secrets of `server.shared`, a sentinel that refuses the first login and then names the server, and a server
//! that refuses all. Refusals repeat what they got.

use std::sync::atomic::{AtomicBool, Ordering};

use super::config::Config;
use super::fake_redis::FakeRedis;
use super::secret_site::Planted;

/// The two servers.
pub(crate) struct SharedServers {
    server: FakeRedis,
    sentinel: FakeRedis,
}

impl SharedServers {
    pub(crate) fn start() -> Self {
        let repeated = |words: &[String]| format!("-ERR {}\r\n", words.join(" ")).into_bytes();
        let server = FakeRedis::start(repeated);
        let port = server.address().port().to_string();
        let is_known = AtomicBool::new(false);
        let sentinel = FakeRedis::start(move |words| match words[0].as_str() {
            "AUTH" if !is_known.swap(true, Ordering::SeqCst) => repeated(words),
            "AUTH" => b"+OK\r\n".to_vec(),
            "PING" => b"+PONG\r\n".to_vec(),
            "SENTINEL" => format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes(),
            _ => repeated(words),
        });
        Self { server, sentinel }
    }

    /// What both of them got.
    pub(crate) fn seen(&self) -> String {
        self.server.seen() + &self.sentinel.seen()
    }
}

impl Planted {
    /// `server.shared` with a secret in each of its files.
    pub(super) fn shared(&mut self, config: Config) -> Config {
        let password = self.plant_file("Shared.password_file", "");
        // It has at least 32 bytes.
        let secret = self.plant_file("Shared.secret_file", &"-".repeat(32));
        let of_sentinel = self.plant_file("Sentinel.password_file", "");
        let (server, sentinel) = (self.shared.server.address(), self.shared.sentinel.address());
        config.server(&format!(
            r#"
            shared:
              url: "redis://{server}"
              password_file: "{password}"
              secret_file: "{secret}"
              sentinel: {{master: mail, urls: ["redis://{sentinel}"], password_file: "{of_sentinel}"}}
            "#
        ))
    }
}
