//! The configurations of the book's pages about identity providers, with tokens that have the claims which Keycloak,
//! Microsoft Entra, Google and Nauthilus document. The providers themselves are not there: a fake one takes their place.
//! What the log says of a refusal stands on the page.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::login_tokens::log_in;
use crate::support::backend::{Backend, Reply};
use crate::support::book::Page;
use crate::support::broker::Broker;
use crate::support::fake_provider::{FakeProvider, now};
use crate::support::jwt::{Key, KeyKind};
use crate::support::peer::Peer;
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const SERVER: &str = "66666666-7777-8888-9999-000000000000";
const PROGRAM: &str = "99999999-0000-1111-2222-333333333333";

/// A page, and a provider that says of itself what the real one says.
struct Site {
    page: Page,
    provider: FakeProvider,
    key: Key,
}

/// A broker with a configuration of the page.
struct Running {
    broker: Broker,
    socket: PathBuf,
    _directory: TempDir,
}

impl Site {
    fn new(page: &str, issuer: &str) -> Self {
        let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::Rsa, "k"));
        provider.describe("issuer", json!(issuer));
        provider.publish(&[&key]);
        Self { page: Page::read(&format!("docs/src/identity/{page}")), provider, key }
    }

    /// Starts a broker with the block that has this line, after these replacements.
    fn start(&self, line: &str, replace: &[(&str, &str)]) -> Running {
        let blocks = self.page.blocks();
        let block = blocks.iter().find(|block| block.language() == "yaml" && block.text.contains(line));
        let mut text =
            block.unwrap_or_else(|| panic!("{}: no block has {line:?}", self.page.name)).text.clone();
        // The test has a `server` of its own.
        text = text.replace("server:\n  ipc:\n    group: pfxhttp-client\n", "");
        for (from, to) in replace {
            assert!(text.contains(from), "{from:?} is not in\n{text}");
            text = text.replace(from, to);
        }
        let directory = open_directory();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("secret"), "user:s3cret").expect("a secret");
        let lines = text.lines().map(|line| match line.split_once(": ") {
            Some((key, _)) if key.ends_with("configuration_uri") => {
                format!("{key}: \"{}\"", self.provider.configuration_uri())
            }
            Some((key, _)) if key.ends_with("_file") => format!("{key}: \"{}\"", at("secret").display()),
            _ if line == "  users:" => format!("{line}\n    failure_delay: 0s\n    sasl_penalty: false"),
            _ => line.to_owned(),
        });
        let listen = format!(
            "server:\n  ipc: {{path: \"{}\"}}\n  listen:\n    - {{kind: dovecot_sasl, name: users, type: unix, address: \"{}\"}}\n",
            at("broker.sock").display(),
            at("users.sock").display(),
        );
        let text = format!("{listen}{}\n", lines.collect::<Vec<_>>().join("\n"));
        std::fs::write(at("pfxhttp.yml"), text).expect("a configuration");
        let broker = Broker::start(&at("pfxhttp.yml"));
        Running { broker, socket: at("users.sock"), _directory: directory }
    }

    /// A JWT with these claims, and those that say when.
    fn token(&self, claims: Value) -> String {
        self.key.token(&with(claims, &json!({"iat": now(), "nbf": now(), "exp": now() + 3600})))
    }

    fn introspects(&self, answer: &Value) {
        let answer = answer.to_string();
        self.provider.introspect_with(move |_| Reply::json(&answer));
    }

    /// The log has this text, and the page tells of it.
    fn told(&self, running: &Running, text: &str) {
        let logged = text.replace('"', "\\\"");
        assert!(running.broker.logged(&[&logged]), "{text:?} in\n{}", running.broker.log());
        let start = text.split('…').next().unwrap_or_default();
        assert!(self.page.text.contains(start), "{} does not tell of {text:?}", self.page.name);
    }
}

impl Running {
    /// What becomes of a login with this token: `OK` and the account, `FAIL` (535) or `closed` (454).
    fn log_in(&self, user: &str, token: &str) -> String {
        log_in(&mut Sasl::begin(Peer::unix(&self.socket)), user, token)
    }
}

/// The claims with others, which replace those of the same name; `null` takes one out.
fn with(mut claims: Value, others: &Value) -> Value {
    let members = claims.as_object_mut().expect("claims");
    for (name, value) in others.as_object().expect("claims") {
        members.insert(name.clone(), value.clone());
    }
    members.retain(|_, value| !value.is_null());
    claims
}

/// An access token of Keycloak with the audience mapper of the page.
fn of_keycloak() -> Value {
    json!({
        "iss": "https://id.example.org/realms/mail", "aud": ["pfxhttp", "account"], "azp": "webmail",
        "sub": "f3b1", "typ": "Bearer", "jti": "onrtac:1", "sid": "s", "acr": "1", "scope": "email profile",
        "auth_time": now(), "preferred_username": "bob", "email": "bob@example.org", "email_verified": true,
        "realm_access": {"roles": ["offline_access"]}, "resource_access": {"account": {"roles": ["view-profile"]}},
    })
}

#[test]
fn keycloak_introspects() {
    let site = Site::new("keycloak.md", "https://id.example.org/realms/mail");
    let running = site.start("realms/mail", &[]);
    let active = json!({"active": true, "username": "bob", "client_id": "webmail", "token_type": "Bearer"});
    let claims = with(of_keycloak(), &active);
    site.introspects(&claims);
    assert_eq!(running.log_in("bob", "tok.en"), "OK bob");
    site.introspects(&with(claims.clone(), &json!({"aud": "account"})));
    assert_eq!(running.log_in("bob", "tok.en"), "FAIL");
    site.told(&running, "the token is for \"account\"; add that to sasl_oidc_auth.audiences");
    site.introspects(&json!({"active": false}));
    assert_eq!(running.log_in("bob", "tok.en"), "FAIL");
    site.told(&running, "token is not active");
    site.introspects(&with(claims.clone(), &json!({"iss": "http://keycloak:8080/realms/mail"})));
    assert_eq!(running.log_in("bob", "tok.en"), "FAIL");
    site.told(&running, "it was issued by \"http://keycloak:8080/realms/mail\"");
    site.introspects(&claims);
    assert_eq!(running.log_in("bob@example.org", "tok.en"), "FAIL");
    site.told(&running, "the token is for \"bob\"; sasl_oidc_auth.account_claim says");
}

#[test]
fn keycloaks_tokens_are_verified_here() {
    let site = Site::new("keycloak.md", "https://id.example.org/realms/mail");
    let running =
        site.start("realms/mail", &[("introspection\n", "jwks\n"), ("      require_audience: true\n", "")]);
    assert_eq!(running.log_in("bob", &site.token(of_keycloak())), "OK bob");
    let token = site.token(with(of_keycloak(), &json!({"preferred_username": null})));
    assert_eq!(running.log_in("bob", &token), "FAIL");
    site.told(&running, "it has no preferred_username");
    assert_eq!(running.log_in("bob", &site.token(with(of_keycloak(), &json!({"nonce": "n"})))), "FAIL");
    site.told(&running, "it holds nonce, so it is no access token");
}

/// An access token of version 2 for the mail server, with the optional claim.
fn of_entra() -> Value {
    json!({
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "aud": SERVER, "azp": PROGRAM,
        "azpacr": "0", "tid": TENANT, "oid": "0", "sub": "s", "scp": "smtp", "ver": "2.0", "uti": "u", "rh": "r",
        "name": "Bob", "preferred_username": "bob@other.example", "upn": "bob@example.org",
    })
}

/// The same of version 1.
fn of_entra_v1() -> Value {
    json!({
        "iss": format!("https://sts.windows.net/{TENANT}/"), "aud": format!("api://{SERVER}"), "appid": PROGRAM,
        "appidacr": "0", "tid": TENANT, "oid": "0", "sub": "s", "scp": "smtp", "ver": "1.0", "uti": "u",
        "name": "Bob", "unique_name": "bob@example.org", "upn": "bob@example.org", "ipaddr": "192.0.2.7",
    })
}

#[test]
fn entra_has_two_versions() {
    let site = Site::new("entra.md", &format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    let running = site.start("account_claim: upn", &[]);
    assert_eq!(running.log_in("bob@example.org", &site.token(of_entra())), "OK bob@example.org");
    let refused = |claims: Value, why: &str| {
        assert_eq!(running.log_in("bob@example.org", &site.token(claims)), "FAIL", "{why}");
        site.told(&running, why);
    };
    refused(of_entra_v1(), "it was issued by \"https://sts.windows.net/");
    refused(with(of_entra(), &json!({"upn": null})), "it has no upn");
    refused(
        with(of_entra(), &json!({"aud": format!("api://{SERVER}"), "azp": null})),
        "the token is for \"api://",
    );
    // An ID token of the mail program.
    let id = json!({"aud": PROGRAM, "azp": null, "scp": null});
    assert_eq!(running.log_in("bob@example.org", &site.token(with(of_entra(), &id))), "FAIL");
    // Tokens for Microsoft's own services are signed in another way, under a key that is published.
    let graph = Key::new(KeyKind::Rsa, "k").token(&with(of_entra(), &json!({"exp": now() + 60})));
    assert_eq!(running.log_in("bob@example.org", &graph), "FAIL");
    site.told(&running, "its signature is not that of the key");
    let running = site.start("issuers: [\"https://sts.windows.net/", &[]);
    assert_eq!(running.log_in("bob@example.org", &site.token(of_entra_v1())), "OK bob@example.org");
    assert_eq!(running.log_in("bob@example.org", &site.token(of_entra())), "FAIL");
}

#[test]
fn entra_needs_tenants_and_has_no_introspection() {
    let site = Site::new("entra.md", "https://login.microsoftonline.com/{tenantid}/v2.0");
    site.provider.describe("introspection_endpoint", Value::Null);
    let running = site.start("tenants:", &[]);
    assert_eq!(running.log_in("bob@example.org", &site.token(of_entra())), "OK bob@example.org");
    let other = "33333333-4444-5555-6666-777777777777";
    let foreign = json!({"tid": other, "iss": format!("https://login.microsoftonline.com/{other}/v2.0")});
    assert_eq!(running.log_in("bob@example.org", &site.token(with(of_entra(), &foreign))), "FAIL");
    let running = site.start("account_claim: upn", &[]);
    assert_eq!(running.log_in("bob@example.org", &site.token(of_entra())), "closed");
    assert!(running.broker.logged(&["is a pattern: set sasl_oidc_auth.issuers"]), "{}", running.broker.log());
    let running = site.start("account_claim: upn", &[("validation: jwks", "validation: introspection")]);
    assert_eq!(running.log_in("bob@example.org", &site.token(of_entra())), "closed");
    site.told(&running, "introspection_endpoint is missing");
}

#[test]
fn google_does_not_work() {
    let site = Site::new("google.md", "https://accounts.google.com");
    site.provider.describe("introspection_endpoint", Value::Null);
    let keycloak = Site::new("keycloak.md", "https://accounts.google.com");
    keycloak.provider.describe("introspection_endpoint", Value::Null);
    let start = |validation: &str| {
        let validation = format!("validation: {validation}\n");
        let last = "      require_audience: true\n";
        keycloak.start("realms/mail", &[("validation: introspection\n", &validation), (last, "")])
    };
    let running = start("jwks");
    assert_eq!(running.log_in("", "ya29.a0AfB_byC"), "FAIL");
    site.told(&running, "it is no signed JWT, and validation is jwks");
    for validation in ["introspection", "auto"] {
        let running = start(validation);
        assert_eq!(running.log_in("", "ya29.a0AfB_byC"), "closed", "{validation}");
        site.told(&running, "introspection_endpoint is missing");
    }
    let id = json!({
        "iss": "https://accounts.google.com", "azp": "pfxhttp", "aud": "pfxhttp", "sub": "1", "at_hash": "h",
        "email": "bob@example.org", "email_verified": true, "preferred_username": "bob",
    });
    assert_eq!(start("jwks").log_in("", &keycloak.token(id)), "FAIL");
}

#[test]
fn nauthilus_takes_passwords_and_tokens() {
    let api = Backend::start(|request| {
        match (request.text("password").as_str(), request.header("authorization")) {
            ("good", Some("Bearer canary-token-1" | "Basic dXNlcjpzM2NyZXQ=")) => {
                let headers = [("Auth-Status", "OK"), ("Auth-User", "bob@example.org")];
                let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
                Reply::Answer { status: 200, headers: headers.to_vec(), body: Vec::new() }
            }
            ("bad", _) => Reply::with_header("Auth-Status", "Invalid login or password", ""),
            _ => Reply::status(401),
        }
    });
    let site = Site::new("nauthilus.md", "https://nauthilus.example.org");
    let target = ("https://nauthilus.example.org/api/v1/auth/json", api.url("/api/v1/auth/json"));
    for line in ["http_auth_basic_file", "nauthilus:authenticate"] {
        let running = site.start(line, &[(target.0, &target.1)]);
        let mut sasl = Sasl::begin(Peer::unix(&running.socket));
        sasl.plain(1, "bob", "good");
        assert_eq!(sasl.line(), "OK\t1\tuser=bob@example.org", "{line}: {}", running.broker.log());
        sasl.plain(2, "bob", "bad");
        assert_eq!(sasl.line(), "FAIL\t2\treason=Invalid login or password\tuser=bob", "{line}");
        sasl.plain(3, "bob", "the broker's own credentials are refused");
        assert!(
            matches!(sasl.next(crate::support::PATIENCE), crate::support::sasl::Heard::Closed(_)),
            "{line}"
        );
        site.told(&running, "unexpected status code 401");
    }
    let running = site.start("audiences: [roundcube]", &[]);
    site.introspects(
        &json!({"active": true, "client_id": "roundcube", "preferred_username": "bob", "sub": "1"}),
    );
    assert_eq!(running.log_in("bob", "na_at_opaque"), "OK bob");
}
