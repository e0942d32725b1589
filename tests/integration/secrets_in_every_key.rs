//! A secret in every key that can hold one. It must be used where it belongs, and must not be shown in
//! anything that the broker prints: its log at level debug, `check`, `status`, `query --trace`, metrics
//! and spans, nor in /proc of the broker and of a client.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind};
use crate::support::marker::{Marker, proc, told};
use crate::support::metrics::ask;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::sasl::Sasl;
use crate::support::secret_site::{KEYS, LOGINS, LOST, MAPS, POLICIES, Planted, repeating};

/// Keys without effect in that section, and one that needs a gRPC service: `login_grpc` uses it.
pub(crate) const IDLE: [&str; 2] = ["Grpc.metadata", "Login.payload"];

/// Every output, with the place where it was seen.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn add(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    /// Runs the broker's program with these words behind `--config`; its exit code.
    fn run(&mut self, config: &Path, words: &[&str], input: &str) -> Option<i32> {
        let output = run(config, words, input);
        self.add(&format!("the output of {words:?}"), text(&output));
        output.status.code()
    }

    fn has(&self, place: &str, word: &str) -> bool {
        self.0.iter().any(|(known, text)| known.contains(place) && text.contains(word))
    }

    fn holds_none_of<'m>(&self, markers: impl IntoIterator<Item = &'m Marker>) {
        let mut shown = BTreeSet::new();
        for marker in markers {
            for (place, text) in &self.0 {
                let before = marker.found(text).map(|at| text[..at].lines().last().unwrap_or_default());
                shown.extend(before.map(|line| format!("{} in {place}, behind {line:?}", marker.key)));
            }
        }
        assert!(shown.is_empty(), "shown are: {shown:#?}");
    }
}

/// Sends requests of every kind, through listeners and through a client.
fn ask_all(planted: &Planted, said: &mut Said, password: &Marker, token: &Marker) {
    let socket = |name: &str| planted.path(&format!("{name}.sock"));
    let mut peers = [Peer::unix(&socket("maps")), Peer::asking(&socket("broker"), &["socketmap"])];
    for name in MAPS.into_iter().chain(LOST) {
        for key in KEYS {
            for peer in &mut peers {
                said.add("a reply", peer.look_up(name, key));
            }
        }
    }
    said.add("a reply", peers[0].look_up("query", "k-silence"));
    for name in POLICIES {
        let mut peer = Peer::unix(&socket(name));
        for key in KEYS {
            said.add("a reply", peer.ask(&[("sender", key)]));
        }
    }
    said.add("a reply", Peer::asking(&socket("broker"), &["policy", "basic_checks"]).ask(&[]));
    for name in LOGINS {
        for user in KEYS {
            for way in 0..2 {
                let mut sasl = Sasl::begin(Peer::unix(&socket(name)));
                match way {
                    0 => sasl.plain(1, user, &password.text),
                    _ => sasl.xoauth2(1, user, &token.text),
                }
                said.add("a reply", format!("{:?}", sasl.next(PATIENCE)));
            }
        }
    }
}

/// Runs every command for administrators.
fn administer(config: &Path, said: &mut Said, password: &Marker) {
    assert_eq!(said.run(config, &["check"], ""), Some(0));
    assert_eq!(said.run(config, &["check", "--strict"], ""), Some(0), "{:?}", said.0.last());
    for key in KEYS {
        for name in MAPS.into_iter().chain(LOST) {
            said.run(config, &["query", "--trace", "map", name, key], "");
        }
        for name in POLICIES {
            said.run(config, &["query", "--trace", "policy", name, &format!("sender={key}")], "");
        }
        for name in LOGINS {
            said.run(config, &["query", "--trace", "sasl", name, key], &password.text);
        }
    }
    said.run(config, &["status"], "");
    said.run(config, &["status", "--json"], "");
    for (place, word) in [
        ("\"inserted\", \"k\"", "/t/k?api=…"),
        ("\"json\", \"k\"", "{\"api\": \"…\", \"key\": \"k\"}"),
        ("\"form\", \"k\"", "token=…&key=k"),
        ("\"basic\", \"k-401\"", "API: 401 "),
        ("\"users\", \"k-401\"", "API: 401 "),
        ("\"checks\", ", "\"sender\":\"k\""),
        ("status\"]", "target: "),
    ] {
        assert!(said.has(place, word), "{place}: {word}: {:#?}", said.0);
    }
}

/// Reloads that are refused, each for a fault next to one of the secrets.
fn reload_broken(planted: &Planted, running: &Broker, config: &Path) {
    let good = fs::read_to_string(config).expect("the configuration");
    for line in good.lines().filter(|line| planted.markers.iter().any(|marker| marker.found(line).is_some()))
    {
        let broken = good.replace(line, &line.replacen(": ", ": [", 1));
        fs::write(config, broken).expect("the configuration can be written");
        assert!(!running.reload(), "{line}");
    }
    fs::write(config, good).expect("the configuration can be written");
    assert!(running.reload(), "{}", running.log());
}

fn scrape(planted: &Planted) -> String {
    let marker = planted.markers.iter().find(|m| m.key == "Observability.prometheus_http_auth_basic");
    let user = format!("joe:{}", marker.expect("it is planted").text);
    let url = format!("https://{}/metrics", planted.prometheus.address());
    let root = planted.root.display().to_string();
    let words = ["-sS", "--fail", "--max-time", "10", "--cacert", &root, "--user", &user, &url];
    let output = Command::new("curl").args(words).output();
    let output = output.unwrap_or_else(|error| panic!("curl cannot be run ({error}): see `make packages`"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Checks that every secret was used.
fn assert_used(planted: &Planted, others: &[&Marker]) {
    let servers = [&planted.api, &planted.provider.backend, &planted.collector];
    let told: String = servers.iter().map(|server| told(&server.requests())).collect();
    let told = told + &planted.shared.seen();
    // Private keys and the secret of the shared cache are not sent, and the password of the metrics is for the scrape.
    let is_told = |marker: &&Marker| {
        !marker.text.starts_with("-----BEGIN")
            && !marker.key.contains("prometheus")
            && marker.key != "Shared.secret_file"
    };
    for marker in planted.markers.iter().filter(is_told).chain(others.iter().copied()) {
        assert!(marker.found(&told).is_some(), "{} was not sent to any server", marker.key);
    }
    for api in [&planted.secure, &planted.certified] {
        assert!(api.requests().iter().any(|request| request.certified));
    }
    for client in ["client_id=d", "client_id=g"] {
        assert!(told.split("client_assertion=").any(|form| form.contains(client)), "{client}");
    }
}

const LOUD: [(&str, &str); 2] =
    [("PFXHTTP_SERVER_LOGGING_LEVEL", "debug"), ("PFXHTTP_SERVER_LOGGING_LOG_KEYS", "always")];

#[test]
fn a_running_broker_shows_no_secret() {
    let planted = Planted::new();
    let (password, token) = (Marker::new("(a password)"), Marker::new("(a token)"));
    let config = planted.path("pfxhttp.yml");
    let variable = format!("joe:{}", planted.variable.text);
    let environment = [&LOUD[..], &[("PFXHTTP_SOCKET_MAPS_VARIABLE_HTTP_AUTH_BASIC", &variable)]].concat();
    let mut running = Broker::start_with(&config, &environment);
    let mut said = Said::default();
    ask_all(&planted, &mut said, &password, &token);
    administer(&config, &mut said, &password);
    said.add("/metrics", scrape(&planted));
    reload_broken(&planted, &running, &config);
    // A client that hands its connection over ends at once.
    let arguments = ["--no-hand-over", "socketmap"];
    let (client, _stream) = Client::asking(&planted.path("broker.sock"), &arguments);
    for process in [running.pid().as_raw_nonzero().get(), i32::try_from(client.pid()).expect("a number")] {
        proc(process).into_iter().for_each(|(place, text)| said.add(&place, text));
    }
    running.terminate();
    assert!(running.wait(PATIENCE).is_some_and(|status| status.success()), "{}", running.log());
    said.add("the log", running.log());
    for word in [
        "shared cache not reached",
        "DEBUG",
        "lookup failed",
        "login denied",
        "no connection",
        "not reloaded; ",
        "key=\"k-401\"",
    ] {
        assert!(said.has("the log", word), "{word}: {}", running.log());
    }
    for request in planted.collector.requests() {
        said.add("an export", String::from_utf8_lossy(&request.body));
    }
    assert!(said.has("an export", "socket_map query") && said.has("an export", "pfxhttp_"));
    assert_used(&planted, &[&planted.variable, &password, &token]);
    // A variable of the administrator's stays in the environment, so /proc may show it there.
    let environ = |place: &str| place.ends_with("environ");
    let here = said.0.iter().any(|(place, text)| environ(place) && planted.variable.found(text).is_some());
    assert!(here, "the environment is read");
    said.holds_none_of(planted.markers.iter().chain([&password, &token]));
    said.0.retain(|(place, _)| !environ(place));
    said.holds_none_of([&planted.variable]);
}

/// Further entries, each with this proxy of its own.
fn proxied_entries(config: Config, url: &str) -> Config {
    let lines = [&format!("proxy: \"{url}\"") as &str, "timeout: 1s"];
    let target = "http://api.test.example/";
    config.map("own", target, &lines).policy("own", target, &lines).login("own", target, &lines)
}

/// The proxy is set in the file, and in the environment; entries have it, too.
#[test]
fn a_broker_behind_a_proxy_shows_no_secret() {
    let mut planted = Planted::new();
    let proxy = Backend::start(repeating);
    let port = Port::reserve();
    let marker = Marker::new("HttpClient.proxy");
    let url = proxy.url("").replace("http://", &format!("http://joe:{}@", marker.encoded()));
    let pair = planted.plant_file("Observability.prometheus_http_auth_basic_file", "joe:");
    let socket = planted.path("proxied.sock");
    for from_file in [true, false] {
        let directory = planted.path(if from_file { "file" } else { "environment" });
        fs::create_dir(&directory).expect("a directory");
        let mut config = Config::new(&directory)
            .map("plain", "http://api.test.example/", &["timeout: 1s"])
            .map("secure", "https://api.test.example/", &["timeout: 1s"])
            .prometheus(port.number(), &[&format!(r#"prometheus_http_auth_basic_file: "{pair}""#)])
            .listen_unix(Kind::Map, "maps", &socket);
        if from_file {
            config = proxied_entries(config.proxy(&url), &url);
        }
        let file = config.write();
        let variables = [("HTTP_PROXY", url.as_str()), ("HTTPS_PROXY", &url)];
        let environment = [&LOUD[..], if from_file { &[] } else { &variables }].concat();
        let running = Broker::start_with(&file, &environment);
        let (mut said, mut peer) = (Said::default(), Peer::unix(&socket));
        // `k-error` is left out: an API's error text is shown, and this API is the proxy.
        for key in KEYS.into_iter().filter(|key| *key != "k-error") {
            said.add("a reply", peer.look_up("plain", key));
            said.add("a reply", peer.look_up("secure", key));
            said.run(&file, &["query", "--trace", "map", "plain", key], "");
        }
        if from_file {
            said.run(&file, &["query", "--trace", "map", "own", "k"], "");
            said.run(&file, &["query", "--trace", "policy", "own", "sender=k"], "");
            said.run(&file, &["query", "--trace", "sasl", "own", "k"], "a password");
        }
        said.run(&file, &["config", "dump"], "");
        said.run(&file, &["status"], "");
        said.run(&file, &["check"], "");
        said.add("/metrics", ask(port.address(), "GET /metrics HTTP/1.0"));
        assert!(said.has("/metrics", " 401 "), "a password is required");
        if from_file {
            proc(running.pid().as_raw_nonzero().get()).into_iter().for_each(|(at, text)| said.add(&at, text));
        }
        said.add("the log", running.log());
        assert!(marker.found(&told(&proxy.requests())).is_some(), "{}", told(&proxy.requests()));
        said.holds_none_of([&marker]);
        said.holds_none_of(&planted.markers);
    }
}

/// Typing errors in a line.
fn typing_errors(line: &str) -> Vec<String> {
    let key = line.trim_start().split(':').next().expect("a key");
    vec![
        line.replacen(": ", ": [", 1),
        line.replacen(": ", " ", 1),
        line.replacen(": ", ":", 1),
        line.replacen(": ", ": [[5]], x: ", 1),
        line.replacen(key, "unheard_of", 1),
        line.replacen(key, &format!("x{key}"), 1),
        line.replace("http://", "htp:/"),
        line.replace("http://", "http://joe@"),
        line.replace("{{ .", "{{ .Un"),
        line.replace(['"', '\''], ""),
        line.replacen('"', "", 1),
        line.replacen(['"', '\''], "\"\\q", 1),
        format!("{line}\n{line}"),
        format!("{line} {line}"),
        format!("\t{line}"),
    ]
}

#[test]
fn errors_of_a_broken_configuration_show_no_secret() {
    let planted = Planted::new();
    let (config, broken) = (planted.path("pfxhttp.yml"), planted.path("broken.yml"));
    let idle = IDLE.map(Marker::new);
    let good = fs::read_to_string(&config).expect("the configuration");
    // The last entry of the file is one for logins, which goes on here.
    let good = format!(
        r#"{good}    payload: '{{"api": "{}", {{{{ .Username }}}}'
    grpc:
      metadata:
        authorization: ["{}"]
"#,
        idle[1].text, idle[0].text
    );
    let proxy = Marker::new("HttpClient.proxy");
    let before_tls = format!(
        r#"  http_client: {{proxy: "http://joe:{}@h/"}}
  tls: "#,
        proxy.text
    );
    let good = good.replace("  tls: ", &before_tls);
    let markers: Vec<&Marker> = planted.markers.iter().chain(&idle).chain([&proxy]).collect();
    let mut said = Said::default();
    let is_secret = |line: &&str| markers.iter().any(|marker| marker.found(line).is_some());
    let mut lines = 0;
    for line in good.lines().filter(is_secret) {
        lines += 1;
        for fault in typing_errors(line) {
            fs::write(&broken, good.replace(line, &fault)).expect("a file");
            said.run(&broken, &["check", "--strict"], "");
        }
    }
    assert!(lines > 20, "{lines}");
    assert!(said.has("check", "no `.UnKey`"), "a template's fault is told");
    said.holds_none_of(markers);
}
