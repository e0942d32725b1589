//! A site with a secret in every key that can hold one, and with servers whose refusals repeat what
//! they got.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ALL_VERSIONS;
use tempfile::TempDir;

use super::backend::{Backend, Reply, Request};
use super::certificates::{Authority, Flaw};
use super::config::{Config, Kind};
use super::fake_provider::FakeProvider;
use super::jwt::{Key, KeyKind};
use super::marker::{Marker, told};
use super::port::Port;
use super::secret_shared::SharedServers;
use super::site::open_directory;

/// The servers, and their configuration.
pub(crate) struct Planted {
    pub(crate) markers: Vec<Marker>,
    /// The secret that a variable holds instead of the file.
    pub(crate) variable: Marker,
    pub(crate) api: Backend,
    /// An API that requests a client certificate, and one that gets that of an entry.
    pub(crate) secure: Backend,
    pub(crate) certified: Backend,
    /// An API whose certificate is not trusted.
    pub(crate) strange: Backend,
    pub(crate) collector: Backend,
    pub(crate) provider: FakeProvider,
    pub(crate) shared: SharedServers,
    pub(crate) prometheus: Port,
    pub(crate) root: PathBuf,
    nobody: Port,
    directory: TempDir,
}

/// The key decides about the answer: a value, or one of the failures, all of which repeat the request.
pub(crate) fn repeating(request: &Request) -> Reply {
    let all = told(std::slice::from_ref(request));
    let one_line: String = all.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let headers = |status: &str| vec![("Auth-Status".to_owned(), status.to_owned())];
    let said = |status: u16, name: &str| {
        let body = serde_json::json!({ name: one_line }).to_string().into_bytes();
        Reply::Answer { status, headers: headers(&one_line), body }
    };
    match () {
        () if all.contains("k-401") => said(401, "value"),
        () if all.contains("k-407") || request.method == "CONNECT" => said(407, "value"),
        () if all.contains("k-500") => said(500, "value"),
        () if all.contains("k-error") => said(200, "error"),
        () if all.contains("k-nonsense") => Reply::Raw(all.into_bytes()),
        () if all.contains("k-silence") => Reply::stall(),
        () => {
            let body = br#"{"value": "v", "action": "DUNNO"}"#.to_vec();
            Reply::Answer { status: 200, headers: headers("OK"), body }
        }
    }
}

/// A key for each failure, and one without.
pub(crate) const KEYS: [&str; 7] = ["k", "k-401", "k-407", "k-500", "k-error", "k-nonsense", "bad key"];

/// The maps, and those whose API cannot be reached.
pub(crate) const MAPS: [&str; 15] = [
    "query",
    "inserted",
    "json",
    "form",
    "basic",
    "filed",
    "variable",
    "secret",
    "posted",
    "told",
    "keyed",
    "secure",
    "certified",
    "raw",
    "several",
];
pub(crate) const LOST: [&str; 2] = ["refused", "strange"];
pub(crate) const POLICIES: [&str; 2] = ["checks", "filed_checks"];
pub(crate) const LOGINS: [&str; 3] = ["users", "filed_users", "keyed_users"];

impl Planted {
    /// Starts the servers.
    pub(crate) fn new() -> Self {
        let (directory, good) = (open_directory(), Authority::new("good"));
        let secure = good.server(Flaw::None).serve(ALL_VERSIONS, Some(&good));
        let strange = Authority::new("strange").server(Flaw::None).serve(ALL_VERSIONS, None);
        let root = good.write(directory.path(), "root.crt");
        let mut planted = Self {
            markers: Vec::new(),
            variable: Marker::new("Map.http_auth_basic"),
            api: Backend::start(repeating),
            secure: Backend::start_tls(Arc::clone(&secure), repeating),
            certified: Backend::start_tls(secure, repeating),
            strange: Backend::start_tls(strange, repeating),
            collector: Backend::constant(""),
            provider: FakeProvider::start(),
            shared: SharedServers::start(),
            prometheus: Port::reserve(),
            root,
            nobody: Port::reserve(),
            directory,
        };
        planted.write(&good);
        planted
    }

    /// A path in the site's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a secret for this key.
    fn plant(&mut self, key: &'static str) -> String {
        let marker = Marker::new(key);
        let text = marker.text.clone();
        self.markers.push(marker);
        text
    }

    /// The same in the encoding of a query.
    fn plant_encoded(&mut self, key: &'static str) -> String {
        self.plant(key);
        self.markers.last().expect("a marker").encoded()
    }

    /// The same in a file; returns the file's name.
    pub(crate) fn plant_file(&mut self, key: &'static str, before: &str) -> String {
        let secret = self.plant(key);
        let file = self.path(&format!("secret-{}", self.markers.len()));
        fs::write(&file, format!("{before}{secret}\n")).expect("a file");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its owner may");
        file.display().to_string()
    }

    /// `targets` of an API that is away, and of one that answers at `path`, which may have a query.
    fn targets(&self, path: &str) -> String {
        let away = format!("http://{}{path}", self.nobody.address());
        format!("targets: [\"{away}\", {{url: \"{}\"}}]", self.api.url(path))
    }

    /// A private key in a file; returns the file's name.
    fn plant_key(&mut self, key: &'static str, pem: &str) -> String {
        self.markers.push(Marker::of_pem(key, pem));
        let file = self.path(&format!("key-{}.pem", self.markers.len()));
        fs::write(&file, pem).expect("a file");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its owner may");
        file.display().to_string()
    }

    fn write(&mut self, authority: &Authority) {
        let at = |name: &str| self.path(&format!("{name}.sock"));
        let mut config = Config::new(self.directory.path());
        config = config.listen_unix(Kind::Map, "maps", &at("maps"));
        for name in POLICIES {
            config = config.listen_unix(Kind::Policy, name, &at(name));
        }
        for name in LOGINS {
            config = config.listen_unix(Kind::Login, name, &at(name));
        }
        config = self.server(config, authority);
        config = self.shared(config);
        config = self.maps(config);
        config = self.certified(config, &authority.client().pem());
        config = self.tokens_of_ours(config);
        config = self.policies(config);
        self.logins(config).write();
    }

    fn server(&mut self, config: Config, authority: &Authority) -> Config {
        let (cert, pem) = authority.client().pem();
        let (client, served) = (self.path("client.crt"), self.path("endpoint.crt"));
        fs::write(&client, cert).expect("a file");
        let key = self.plant_key("Tls.key", &pem);
        let (root, client) = (self.root.display(), client.display());
        let tls = format!("tls: {{enabled: true, root_ca: \"{root}\", cert: \"{client}\", key: \"{key}\"}}");
        let (cert, pem) = authority.server(Flaw::None).pem();
        fs::write(&served, cert).expect("a file");
        let key = self.plant_key("PrometheusTls.key", &pem);
        let basic = self.plant("Observability.prometheus_http_auth_basic");
        let header = self.plant("Observability.otel_exporter_otlp_headers");
        config.server(&tls).server(&format!(
            r#"
            observability:
              prometheus_enabled: true
              prometheus_port: {}
              prometheus_http_auth_basic: "joe:{basic}"
              prometheus_tls: {{enabled: true, cert: "{}", key: "{key}"}}
              otel_enabled: true
              otel_traces_enabled: true
              otel_metrics_enabled: true
              otel_exporter_otlp_endpoint: "{}"
              otel_exporter_otlp_headers: {{x-otel: "{header}"}}
            "#,
            self.prometheus.number(),
            served.display(),
            self.collector.url("")
        ))
    }

    /// An entry with a client certificate of its own.
    fn certified(&mut self, config: Config, (cert, pem): &(String, String)) -> Config {
        let client = self.path("entry-client.crt");
        fs::write(&client, cert).expect("a file");
        let key = self.plant_key("EntryTls.key", pem);
        let tls = format!("tls: {{cert: \"{}\", key: \"{key}\"}}", client.display());
        config.map("certified", &self.certified.url("/"), &[&tls])
    }

    fn maps(&mut self, config: Config) -> Config {
        let headers = format!("custom_headers: [\"X-Api-Key: {}\"]", self.plant("Map.custom_headers"));
        let query = self.plant_encoded("Map.target");
        let query = self.api.url(&format!("/query?key={query}"));
        let inserted = format!("/t/{{{{ .Key | urlencode }}}}?api={}", self.plant_encoded("Map.target"));
        let inserted = format!("target: \"{}\"", self.api.url(&inserted));
        let raw = format!("/t/{{{{ .Key | raw }}}}?api={}", self.plant_encoded("Map.target"));
        let raw = format!("target: \"{}\"", self.api.url(&raw));
        let json =
            format!(r#"payload: '{{"api": "{}", "key": "{{{{ .Key }}}}"}}'"#, self.plant("Map.payload"));
        let form = self.plant_encoded("Map.payload");
        let form = format!("payload: \"token={form}&key={{{{ .Key | urlencode }}}}\"");
        let item = self.plant_encoded("Target.url");
        let several = format!("/map?a={}&b={item}", self.plant_encoded("Map.targets"));
        let several = self.targets(&several);
        let health = self.plant_encoded("Health.path");
        let health = format!("health: {{path: \"/health?key={health}\", every: 200ms}}");
        let target = format!("target: \"{}\"", self.api.url("/map"));
        let basic = format!("http_auth_basic: \"joe:{}\"", self.plant("Map.http_auth_basic"));
        let filed =
            format!("http_auth_basic_file: \"{}\"", self.plant_file("Map.http_auth_basic_file", "joe:"));
        let url = self.api.url("/map");
        config
            .map_of("defaults", &[&headers, "timeout: 1s", "value_field: value", "error_field: error"])
            .map("query", &query, &[])
            .map_of("inserted", &["method: GET", &inserted])
            .map_of("raw", &["method: GET", &raw])
            .map_of("json", &[&target, &json])
            .map_of("form", &[&target, &form])
            .map_of("several", &["payload: '{\"key\": \"{{ .Key }}\"}'", &several, &health])
            .map("basic", &url, &[&basic])
            .map("filed", &url, &[&filed])
            .map("variable", &url, &["http_auth_basic: \"joe:of-the-file\""])
            .map("secure", &self.secure.url("/"), &[])
            .map("strange", &self.strange.url("/"), &[])
            .map(
                "refused",
                &format!("http://{}/", self.nobody.address()),
                &["cache: {fresh: 1h, shared: true}"],
            )
    }

    /// `backend_oidc_auth` with each method of authentication.
    fn tokens_of_ours(&mut self, config: Config) -> Config {
        let uri = self.provider.configuration_uri();
        let tenant = self.plant_encoded("BackendOidc.configuration_uri");
        let secret = self.plant("BackendOidc.client_secret");
        let posted = self.plant("BackendOidc.client_secret");
        let file = self.plant_file("BackendOidc.client_secret_file", "");
        let key = self.plant_key("BackendOidc.private_key_file", &Key::new(KeyKind::P256, "ours").pem());
        let url = self.api.url("/map");
        let block = |client: &str, proof: &str| {
            format!(
                "backend_oidc_auth: {{enabled: true, client_id: {client}, configuration_uri: \"{uri}?tenant={tenant}\", {proof}}}"
            )
        };
        config
            .map("secret", &url, &[&block("a", &format!("client_secret: \"{secret}\""))])
            .map(
                "posted",
                &url,
                &[&block("b", &format!("client_secret: \"{posted}\", auth_method: client_secret_post"))],
            )
            .map("told", &url, &[&block("c", &format!("client_secret_file: \"{file}\""))])
            .map("keyed", &url, &[&block("d", &format!("private_key_file: \"{key}\""))])
    }

    fn policies(&mut self, config: Config) -> Config {
        let target = self.plant_encoded("Policy.target");
        let target = self.api.url(&format!("/policy?key={target}"));
        let target = format!("target: \"{target}\"");
        let payload = self.plant("Policy.payload");
        let payload = format!(r#"payload: '{{"api": ["{payload}"], "request": {{{{ .Key }}}}}}'"#);
        let bearer =
            format!("custom_headers: [\"Authorization: Bearer {}\"]", self.plant("Policy.custom_headers"));
        let basic = format!("http_auth_basic: \"joe:{}\"", self.plant("Policy.http_auth_basic"));
        let file = self.plant_file("Policy.http_auth_basic_file", "joe:");
        let file = format!("http_auth_basic_file: \"{file}\"");
        let several = self.plant_encoded("Policy.targets");
        let several = self.targets(&format!("/policy?key={several}"));
        let filed = ["payload: '{{ .Key }}'", "value_field: action", "timeout: 1s", &file, &several];
        let url = self.api.url("/policy");
        config
            .policy_of("checks", &[&target, &payload, &bearer, "value_field: action", "timeout: 1s"])
            .policy_of("filed_checks", &filed)
            .policy("basic_checks", &url, &[&basic])
    }

    fn logins(&mut self, config: Config) -> Config {
        let uri = self.provider.configuration_uri();
        let target = self.plant_encoded("Login.target");
        let target = self.api.url(&format!("/login?key={target}"));
        let several = self.plant_encoded("Login.targets");
        let several = self.targets(&format!("/login?key={several}"));
        let basic = format!("http_auth_basic: \"joe:{}\"", self.plant("Login.http_auth_basic"));
        let file = self.plant_file("Login.http_auth_basic_file", "joe:");
        let file = format!("http_auth_basic_file: \"{file}\"");
        let header = format!("custom_headers: [\"X-Api-Key: {}\"]", self.plant("Login.custom_headers"));
        let tenant = self.plant_encoded("SaslOidc.configuration_uri");
        let secret = self.plant("SaslOidc.client_secret");
        let secret_file = self.plant_file("SaslOidc.client_secret_file", "");
        let key = self.plant_key("SaslOidc.private_key_file", &Key::new(KeyKind::P256, "ours").pem());
        let block = |client: &str, proof: &str| {
            format!(
                "sasl_oidc_auth: {{enabled: true, client_id: {client}, configuration_uri: \"{uri}?tenant={tenant}\", account_claim: sub, {proof}}}"
            )
        };
        let secret = block("e", &format!("client_secret: \"{secret}\""));
        let secret_file = block("f", &format!("client_secret_file: \"{secret_file}\""));
        let key = block("g", &format!("private_key_file: \"{key}\""));
        config
            .login("users", &target, &["timeout: 1s", &basic, &secret])
            .login_of(
                "filed_users",
                &[
                    &several,
                    "failure_delay: 0s",
                    "sasl_penalty: false",
                    "sasl_attempts: 0",
                    "timeout: 1s",
                    &file,
                    &header,
                    &secret_file,
                ],
            )
            .login("keyed_users", &self.api.url("/login"), &["timeout: 1s", &key])
    }
}
