//! `check --online` and identity providers: it fetches their public documents, and no token.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::backend::{Backend, Reply};
use crate::support::certificates::Identity;
use crate::support::check::{Checked, online, online_with};
use crate::support::config::{Config, oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::jwt::{Key, KeyKind};
use crate::support::port::Port;
use crate::support::site::open_directory;

const ENDPOINTS: [Endpoint; 4] =
    [Endpoint::Discovery, Endpoint::Keys, Endpoint::Token, Endpoint::Introspection];

fn client(block: &str, uri: &str, more: &str) -> String {
    let claim = if block == "sasl_oidc_auth" { ", account_claim: sub" } else { "" };
    oidc(block, uri, &format!("client_id: pfx, client_secret: canary-client{claim}{more}"))
}

/// A provider with a key.
fn provider() -> FakeProvider {
    let provider = FakeProvider::start();
    provider.publish(&[&Key::new(KeyKind::P256, "k1")]);
    provider
}

/// Checks a map whose tokens come from the provider at `uri`, and logins with that provider's tokens.
fn check(api: &Backend, uri: &str, validation: &str) -> Checked {
    let directory = open_directory();
    let bearer = client("backend_oidc_auth", uri, "");
    let tokens = client("sasl_oidc_auth", uri, &format!(", validation: {validation}"));
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[&bearer]);
    online(&config.login("l", &api.url("/"), &[&bearer, &tokens]))
}

fn assert_good(checked: &Checked, uri: &str) {
    let origin = uri.strip_suffix("/.well-known/openid-configuration").expect("a provider's");
    let due = format!(
        "provider {uri}: good; client_secret is not tested, it would go to {origin} (used by: map m, login l)"
    );
    assert_eq!((checked.code, checked.good.get(1)), (Some(0), Some(&due)), "{}", checked.text());
}

#[test]
fn a_good_provider_is_asked_for_its_public_documents() {
    let api = Backend::constant("{}");
    for (validation, keys) in [("introspection", 0), ("jwks", 1), ("auto", 1)] {
        let provider = provider();
        assert_good(&check(&api, &provider.configuration_uri(), validation), &provider.configuration_uri());
        let asked = ENDPOINTS.map(|endpoint| provider.count(endpoint));
        assert_eq!(asked, [1, keys, 0, 0], "{validation}: no token is fetched, and none is asked about");
    }
    assert_eq!(api.count(), 0);
}

#[test]
fn an_unsuitable_provider_is_named_with_the_reason() {
    let (api, provider) = (Backend::constant("{}"), provider());
    let uri = provider.configuration_uri();
    let refusing = Port::reserve();
    let away = format!("http://{}/t", refusing.address());
    let said = |due: &str, validation: &str| {
        let checked = check(&api, &uri, validation);
        let due = format!("provider {uri}: {due} (used by: map m, login l)");
        assert_eq!((checked.code, checked.bad.first()), (Some(69), Some(&due)), "{}", checked.text());
        assert_eq!(checked.bad.len(), 2, "one line for the provider, and one at the end: {}", checked.text());
        assert_eq!(checked.good.len(), 1, "{}", checked.text());
    };
    for (endpoint, name) in [(Endpoint::Discovery, "discovery"), (Endpoint::Keys, "jwks_uri")] {
        for (reply, due) in [
            (Reply::status(404), "status 404"),
            (Reply::json("[]"), "the answer is no JSON object"),
            (
                Reply::Raw(b"220 mx\r\n".to_vec()),
                "the connection broke, or the response was not HTTP (protocol)",
            ),
        ] {
            provider.break_with(endpoint, reply);
            said(&format!("{name}: {due}"), "auto");
        }
        provider.mend(endpoint);
    }
    provider.publish(&[]);
    said("jwks_uri: no usable key", "jwks");
    provider.publish_jwks(vec![json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})]);
    said("jwks_uri: no usable key", "auto");
    assert_good(&check(&api, &uri, "introspection"), &uri);
    provider.describe("token_endpoint", Value::Null);
    said("discovery: token_endpoint is missing", "introspection");
    provider.describe("token_endpoint", json!(away));
    provider.describe("introspection_endpoint", json!("/introspect"));
    let unreached = format!("http://{} is not reached: connection refused", refusing.address());
    said(
        &format!("token_endpoint: {unreached}; discovery: introspection_endpoint is no URL"),
        "introspection",
    );
    let asked = [Endpoint::Token, Endpoint::Introspection].map(|endpoint| provider.count(endpoint));
    assert_eq!(asked, [0, 0]);
}

#[test]
fn the_origins_that_get_the_secret_are_listed() {
    let (api, provider) = (Backend::constant("{}"), provider());
    let (uri, origin) = (provider.configuration_uri(), provider.issuer());
    let [tokens, introspection] = [Backend::constant("{}"), Backend::constant("{}")];
    provider.describe("token_endpoint", json!(tokens.url("/t")));
    provider.describe("introspection_endpoint", json!(introspection.url("/i")));
    let mut both = [tokens.url(""), introspection.url("")];
    both.sort();
    let both = both.join(", ");
    let directory = open_directory();
    let goes_to = |lines: &[&str], due: &str| {
        let config = Config::new(directory.path()).login("l", &api.url("/"), lines);
        let checked = online(&config);
        let due = format!("provider {uri}: good{due} (used by: login l)");
        assert_eq!(checked.good.get(1), Some(&due), "{}", checked.text());
    };
    let bearer = client("backend_oidc_auth", &uri, "");
    let of = |more: &str| client("sasl_oidc_auth", &uri, more);
    goes_to(&[&bearer, &of("")], &format!("; client_secret is not tested, it would go to {both}"));
    goes_to(&[&bearer], &format!("; client_secret is not tested, it would go to {}", tokens.url("")));
    let post = of(", auth_method: client_secret_post, validation: auto");
    goes_to(&[&post], &format!("; client_secret is not tested, it would go to {}", introspection.url("")));
    goes_to(&[&of(", validation: jwks")], "");
    goes_to(&[&of("").replace(", client_secret: canary-client", "")], "");
    provider.describe("introspection_endpoint", json!(format!("{origin}/introspect")));
    goes_to(&[&of("")], &format!("; client_secret is not tested, it would go to {origin}"));
}

#[test]
fn the_check_prints_what_the_log_would_warn_of() {
    let (api, provider) = (Backend::constant("{}"), provider());
    let uri = provider.configuration_uri();
    provider.describe("issuer", json!("https://id.example"));
    let checked = check(&api, &uri, "auto");
    assert_good(&checked, &uri);
    let due = format!(
        "provider {uri}: warning: its issuer is \"https://id.example\", which configuration_uri does not \
         begin with; its tokens are accepted (used by: map m, login l)"
    );
    assert!(checked.bad.contains(&due), "{}", checked.text());
    assert!(checked.good[2].ends_with("providers: 1; warnings: 1"), "{}", checked.text());
    let directory = open_directory();
    let entry = client("sasl_oidc_auth", &uri, "");
    let config = Config::new(directory.path()).login("l", &api.url("/"), &[&entry]);
    assert_eq!(online(&config).code, Some(0));
    let strict = online_with(&config, &["--strict"]);
    assert_eq!(strict.code, Some(78), "{}", strict.text());
    assert!(strict.bad.last().is_some_and(|last| last.ends_with("warnings: 1")), "{}", strict.text());
    provider.describe("issuer", json!(provider.issuer()));
    assert_eq!(online_with(&config, &["--strict"]).code, Some(0));
}

#[test]
fn an_issuer_that_no_login_can_match_is_an_error() {
    let (api, provider) = (Backend::constant("{}"), provider());
    let uri = provider.configuration_uri();
    let pattern = format!("{}/{{tenantid}}/v2.0", provider.issuer());
    let directory = open_directory();
    let look = |more: &str| {
        let entry = client("sasl_oidc_auth", &uri, more);
        online(&Config::new(directory.path()).login("l", &api.url("/"), &[&entry]))
    };
    provider.describe("issuer", json!(pattern));
    for validation in ["introspection", "jwks", "auto"] {
        let checked = look(&format!(", validation: {validation}"));
        let told = checked.bad.first().map(String::as_str).unwrap_or_default();
        assert_eq!(checked.code, Some(69), "{validation}: {}", checked.text());
        assert!(
            told.contains("sasl_oidc_auth.issuers, and tenants for {tenantid}"),
            "{validation}: {}",
            checked.text()
        );
    }
    let listed = format!(", validation: jwks, issuers: [\"{pattern}\"], tenants: [a-1]");
    assert_eq!(look(&listed).code, Some(0), "{}", look(&listed).text());
    // A provider that only gives the broker's own tokens needs no issuer.
    let bearer = client("backend_oidc_auth", &uri, "");
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[&bearer]);
    assert_eq!(online(&config).code, Some(0));
    provider.describe("issuer", Value::Null);
    for (validation, code) in [("introspection", 0), ("jwks", 69), ("auto", 69)] {
        let checked = look(&format!(", validation: {validation}"));
        assert_eq!(checked.code, Some(code), "{validation}: {}", checked.text());
        assert_eq!(
            checked.text().contains("discovery: issuer is missing"),
            code == 69,
            "{validation}: {}",
            checked.text()
        );
    }
}

#[test]
fn a_provider_that_is_away_is_named_with_the_reason() {
    let api = Backend::constant("{}");
    let refusing = Port::reserve();
    let stranger =
        Backend::start_tls(Identity::self_signed().serve(rustls::ALL_VERSIONS, None), |_| Reply::json("{}"));
    for (origin, why) in [
        (format!("http://{}", refusing.address()), "connection refused"),
        (stranger.url(""), "TLS: the certificate is signed by itself, and no root_ca names it"),
    ] {
        // A query may hold a secret.
        let checked = check(&api, &format!("{origin}/d?k=canary-query"), "auto");
        let due = format!(
            "provider {origin}/d: discovery: {origin} is not reached: {why} (used by: map m, login l)"
        );
        assert_eq!((checked.code, checked.bad.first()), (Some(69), Some(&due)), "{}", checked.text());
    }
    assert_eq!(stranger.count(), 0);
}

#[test]
fn a_provider_that_does_not_answer_is_given_up() {
    let (directory, api) = (open_directory(), Backend::constant("{}"));
    let (mute, halfway) = (provider(), provider());
    mute.break_with(Endpoint::Discovery, Reply::stall());
    halfway.break_with(Endpoint::Keys, Reply::stall());
    let tokens = |at: &FakeProvider| client("sasl_oidc_auth", &at.configuration_uri(), ", validation: jwks");
    let config = Config::new(directory.path()).login("mute", &api.url("/"), &[&tokens(&mute)]);
    let start = Instant::now();
    let checked = online(&config.login("halfway", &api.url("/"), &[&tokens(&halfway)]));
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    let due = [(&mute, "discovery", "mute"), (&halfway, "jwks_uri", "halfway")].map(|(at, what, login)| {
        let uri = at.configuration_uri();
        format!("provider {uri}: {what}: no complete answer in time (timeout) (used by: login {login})")
    });
    assert_eq!((checked.code, &checked.bad[..2]), (Some(69), &due[..]), "{}", checked.text());
}

#[test]
fn no_secret_of_the_configuration_is_printed() {
    let (api, provider, refusing) = (Backend::constant("{}"), provider(), Port::reserve());
    let basic = "http_auth_basic: \"pfx:canary-basic\"";
    let header = "custom_headers: [\"X-Api-Key: canary-header\"]";
    for (target, code) in [(api.url("/"), 0), (format!("http://{}/", refusing.address()), 69)] {
        let directory = open_directory();
        let target = format!("{target}?key=canary-query");
        let bearer = client("backend_oidc_auth", &provider.configuration_uri(), "");
        let config = Config::new(directory.path()).map("m", &target, &[header, &bearer]);
        let checked = online(&config.login("l", &target, &[header, basic]));
        assert_eq!(checked.code, Some(code), "{}", checked.text());
        assert!(!checked.text().contains("canary"), "{}", checked.text());
    }
    provider.break_with(Endpoint::Discovery, Reply::json(r#"{"token_endpoint": "canary-document"}"#));
    let checked = check(&api, &provider.configuration_uri(), "auto");
    assert_eq!(checked.code, Some(69), "{}", checked.text());
    assert!(!checked.text().contains("canary"), "{}", checked.text());
}
