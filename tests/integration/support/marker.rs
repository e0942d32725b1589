//! Secrets that a test can find in any output: random, each with the key that holds it.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::Request;

/// One secret.
pub(crate) struct Marker {
    /// The key that holds it, as `Definition.key` of the schema.
    pub(crate) key: &'static str,
    /// The secret itself.
    pub(crate) text: String,
    /// A part of it that URLs, JSON and PEM leave unchanged.
    core: String,
}

impl Marker {
    /// A password, with characters that URLs and base64 encode.
    pub(crate) fn new(key: &'static str) -> Self {
        let core = format!("{:016x}", RandomState::new().build_hasher().finish());
        Self { key, text: format!("m+{core}~s"), core }
    }

    /// A private key, found by a line from its middle.
    pub(crate) fn of_pem(key: &'static str, pem: &str) -> Self {
        let lines: Vec<&str> = pem.lines().collect();
        Self { key, text: pem.to_owned(), core: lines[lines.len() / 2].to_owned() }
    }

    /// Its text as the value of a query.
    pub(crate) fn encoded(&self) -> String {
        self.text.replace('+', "%2B")
    }

    /// Where in `text` it begins: in plain text, percent-encoded, or within base64.
    pub(crate) fn found(&self, text: &str) -> Option<usize> {
        text.find(&self.core).or_else(|| self.in_base64().iter().find_map(|form| text.find(form)))
    }

    /// The base64 of its core for each of the three offsets in a group, without the characters that
    /// depend on neighbouring bytes.
    fn in_base64(&self) -> [String; 3] {
        [0, 1, 2].map(|before| {
            let all = STANDARD.encode([&vec![b'x'; before], self.core.as_bytes()].concat());
            let end = (before + self.core.len()) / 3 * 4;
            all[(before * 4).div_ceil(3)..end].to_owned()
        })
    }
}

/// All that a server got, with credentials of Basic decoded.
pub(crate) fn told(requests: &[Request]) -> String {
    let mut all = String::new();
    for request in requests {
        all += &request.path;
        for (name, value) in &request.headers {
            all += &format!("\n{name}: {value}\n");
            let basic = value.strip_prefix("Basic ").and_then(|pair| STANDARD.decode(pair).ok());
            all += &String::from_utf8_lossy(&basic.unwrap_or_default());
        }
        all += &String::from_utf8_lossy(&request.body);
    }
    all
}

/// What /proc shows of process `pid`: arguments, environment, status.
pub(crate) fn proc(pid: i32) -> [(String, String); 3] {
    ["cmdline", "environ", "status"].map(|name| {
        let path = format!("/proc/{pid}/{name}");
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        (path, String::from_utf8_lossy(&bytes).into_owned())
    })
}
