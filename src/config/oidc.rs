//! `backend_oidc_auth` and `sasl_oidc_auth`: checked, and not built yet.
//!
//! A block that is not enabled is read for its shape alone: what it lacks may come later.

use std::fs::File;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Value;

use super::block;
use super::http;
use super::keys::Block;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use super::secret;
use crate::exchange::is_loopback;

const JWKS_TTL: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(168);

/// What both blocks have.
struct Client<'c> {
    configuration_uri: Option<&'c str>,
    client_id: Option<&'c raw::Word>,
    client_secret: Option<String>,
    client_secret_file: Option<&'c str>,
    private_key_file: Option<&'c str>,
    auth_method: Option<&'c str>,
}

/// Checks `backend_oidc_auth` of the entry at `path`; says whether it is enabled.
pub(super) fn backend(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> bool {
    let path = path.key("backend_oidc_auth");
    let raw: raw::BackendOidc = block::read(report, value, &path, Block::BackendOidc).unwrap_or_default();
    check_scopes(report, &path, raw.scopes.as_deref());
    let enabled = raw.enabled.unwrap_or(false);
    let methods = ["auto", "client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    let client = Client {
        configuration_uri: raw.configuration_uri.as_deref(),
        client_id: raw.client_id.as_ref(),
        client_secret: raw.client_secret,
        client_secret_file: raw.client_secret_file.as_deref(),
        private_key_file: raw.private_key_file.as_deref(),
        auth_method: raw.auth_method.as_deref(),
    };
    check(report, &path, client, &methods, enabled);
    enabled
}

/// Checks `sasl_oidc_auth` of the entry at `path`.
pub(super) fn sasl(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) {
    let raw = shape(report, value, path);
    let path = path.key("sasl_oidc_auth");
    check_scopes(report, &path, raw.scopes.as_deref());
    let validations = [("introspection", ()), ("jwks", ()), ("auto", ())];
    if let Some(text) = &raw.validation {
        scalar::choice(report, &path.key("validation"), text, &validations);
    }
    scalar::duration(report, &path.key("jwks_cache_ttl"), raw.jwks_cache_ttl.as_ref(), JWKS_TTL);
    let claim = raw.account_claim.as_ref().map(|word| word.0.as_str());
    if claim.is_some_and(|claim| !claim.chars().all(|c| c.is_ascii_graphic())) {
        report.value(&path.key("account_claim"), "a claim's name is printable ASCII");
    }
    for (index, audience) in raw.audiences.iter().flatten().enumerate() {
        if audience.0.is_empty() {
            report.value(&path.key("audiences").item(index), "an audience is not empty");
        }
    }
    if raw.check_audience == Some(false) {
        let message = "a token that was made for any other client of the provider logs in";
        report.warning(&path.key("check_audience"), message);
        if raw.require_audience == Some(true) {
            report.warning(&path.key("require_audience"), "has no effect with `check_audience: false`");
        }
    }
    let client = Client {
        configuration_uri: raw.configuration_uri.as_deref(),
        client_id: raw.client_id.as_ref(),
        client_secret: raw.client_secret,
        client_secret_file: raw.client_secret_file.as_deref(),
        private_key_file: None,
        auth_method: raw.auth_method.as_deref(),
    };
    let methods = ["auto", "client_secret_basic", "client_secret_post", "none"];
    check(report, &path, client, &methods, raw.enabled.unwrap_or(false));
}

/// Reads `sasl_oidc_auth` of the entry at `path` for its keys and kinds of values alone.
pub(super) fn shape(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> raw::SaslOidc {
    block::read(report, value, &path.key("sasl_oidc_auth"), Block::SaslOidc).unwrap_or_default()
}

fn check_scopes(report: &mut Report<'_>, path: &KeyPath, scopes: Option<&[raw::Word]>) {
    for (index, scope) in scopes.unwrap_or_default().iter().enumerate() {
        // RFC 6749 3.3.
        if scope.0.is_empty() || !scope.0.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\') {
            report.value(&path.key("scopes").item(index), "a scope is printable ASCII without blanks");
        }
    }
}

fn check(
    report: &mut Report<'_>,
    path: &KeyPath,
    client: Client<'_>,
    methods: &[&'static str],
    enabled: bool,
) {
    let choices: Vec<_> = methods.iter().map(|method| (*method, *method)).collect();
    let method =
        client.auth_method.and_then(|text| scalar::choice(report, &path.key("auth_method"), text, &choices));
    let id = client.client_id.filter(|id| !id.0.is_empty());
    if !enabled {
        return;
    }
    match client.configuration_uri {
        None => {
            report.missing(path, "configuration_uri");
        }
        Some(text) => provider(report, &path.key("configuration_uri"), text),
    }
    match (id, client.client_id) {
        (None, Some(_)) => {
            report.value(&path.key("client_id"), "must not be empty");
        }
        (None, None) => {
            report.missing(path, "client_id");
        }
        _ => {}
    }
    let has_secret = client.client_secret.is_some() || client.client_secret_file.is_some();
    secret::read(report, path, "client_secret", client.client_secret, client.client_secret_file);
    if let Some(Err(error)) = client.private_key_file.map(File::open) {
        report.value(&path.key("private_key_file"), format!("the file cannot be read: {error}"));
    }
    match method {
        Some("client_secret_basic" | "client_secret_post") if !has_secret => {
            report.missing(path, "client_secret");
        }
        Some("private_key_jwt") if client.private_key_file.is_none() => {
            report.missing(path, "private_key_file");
        }
        _ => {}
    }
}

fn provider(report: &mut Report<'_>, path: &KeyPath, text: &str) {
    let Some(url) = http::url(report, path, text) else { return };
    if url.scheme() == "http" && !is_loopback(&url) {
        let problem = report.warning(path, "an identity provider beyond loopback without TLS");
        problem.hint("whoever is on the way there reads its tokens; write https://");
    }
}
