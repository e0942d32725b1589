//! `sasl_oidc_auth`: whose tokens log in, and as whom. What it says of us at the provider is in
//! `oidc`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Value;

use super::block;
use super::keys::Block;
use super::oidc::{self, Client, Proof};
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use crate::oidc::{Issuers, TENANT, TokenSettings, Validation};

const JWKS_TTL: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(168);
const DEFAULT_JWKS_TTL: Duration = Duration::from_mins(5);

/// Resolves `sasl_oidc_auth` of the entry at `path`; nothing where it is not enabled.
pub(super) fn sasl(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Option<TokenSettings> {
    const VALIDATIONS: [(&str, Validation); 3] = [
        ("introspection", Validation::Introspection),
        ("jwks", Validation::Jwks),
        ("auto", Validation::Auto),
    ];
    let mut raw = shape(report, value, path);
    let path = path.key("sasl_oidc_auth");
    let validation = raw.validation.as_deref();
    let validation =
        validation.and_then(|text| scalar::choice(report, &path.key("validation"), text, &VALIDATIONS));
    let ttl = scalar::duration(report, &path.key("jwks_cache_ttl"), raw.jwks_cache_ttl.as_ref(), JWKS_TTL);
    let account_claim = account_claim(report, &path, &mut raw);
    let audiences = audiences(report, &path, &raw);
    let issuers = issuers(report, &path, &raw);
    let require_audience = raw.require_audience.unwrap_or(false);
    let raw = Client {
        is_enabled: oidc::is_enabled(report, &path, raw.enabled, raw.configuration_uri.as_deref()),
        configuration_uri: raw.configuration_uri,
        client_id: raw.client_id,
        scopes: raw.scopes.unwrap_or_default(),
        method: oidc::method(report, &path, raw.auth_method.as_deref()),
        proof: Proof {
            client_secret: raw.client_secret,
            client_secret_file: raw.client_secret_file,
            private_key_file: raw.private_key_file,
        },
    };
    let client = oidc::client(report, &path, raw)?;
    let own = || vec![client.client_id.clone()];
    Some(TokenSettings {
        audiences: audiences.map(|named| if named.is_empty() { own() } else { named }),
        client,
        validation: validation.unwrap_or(Validation::Introspection),
        jwks_cache_ttl: ttl.unwrap_or(DEFAULT_JWKS_TTL),
        account_claim,
        issuers,
        require_audience,
    })
}

/// Reads `sasl_oidc_auth` of the entry at `path` for its keys and kinds of values alone.
pub(super) fn shape(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> raw::SaslOidc {
    block::read(report, value, &path.key("sasl_oidc_auth"), Block::SaslOidc).unwrap_or_default()
}

/// `account_claim`; without it, what names the account may be the user's to change.
fn account_claim(report: &mut Report<'_>, path: &KeyPath, raw: &mut raw::SaslOidc) -> Option<String> {
    let path = path.key("account_claim");
    let claim = raw.account_claim.take().map(|word| word.0).filter(|claim| !claim.is_empty());
    match &claim {
        Some(claim) if !claim.chars().all(|c| c.is_ascii_graphic()) => {
            report.value(&path, "a claim's name is printable ASCII");
        }
        None if raw.enabled == Some(true) => {
            let message = "is not set: `username`, `preferred_username` or `sub` names the account";
            let hint = "users may change some of them at many providers; name the one that they cannot";
            report.warning(&path, message).hint(hint);
        }
        _ => {}
    }
    claim
}

/// `audiences`, empty where our own `client_id` is meant; nothing with `check_audience: false`.
fn audiences(report: &mut Report<'_>, path: &KeyPath, raw: &raw::SaslOidc) -> Option<Vec<String>> {
    let named: Vec<String> = raw.audiences.iter().flatten().map(|word| word.0.clone()).collect();
    for (index, _) in named.iter().enumerate().filter(|(_, audience)| audience.is_empty()) {
        report.value(&path.key("audiences").item(index), "an audience is not empty");
    }
    if raw.check_audience != Some(false) {
        return Some(named);
    }
    if raw.enabled == Some(true) {
        let message = "a token that was made for any other client of the provider logs in";
        report.warning(&path.key("check_audience"), message);
        let set =
            [("audiences", !named.is_empty()), ("require_audience", raw.require_audience == Some(true))];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            report.warning(&path.key(key), "has no effect with `check_audience: false`");
        }
    }
    None
}

/// `issuers` and `tenants`: one without the other would let in everybody's tenants, or nobody.
fn issuers(report: &mut Report<'_>, path: &KeyPath, raw: &raw::SaslOidc) -> Issuers {
    let texts = |words: &Option<Vec<raw::Word>>| -> Vec<String> {
        words.iter().flatten().map(|word| word.0.clone()).collect()
    };
    let issuers = Issuers { names: texts(&raw.issuers), tenants: texts(&raw.tenants) };
    for (index, name) in issuers.names.iter().enumerate() {
        let rest = name.replacen(TENANT, "", 1);
        if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || "{}".contains(c))
        {
            let message =
                format!("an issuer is what `iss` of its tokens says, with `{TENANT}` once at the most");
            report.value(&path.key("issuers").item(index), message);
        }
    }
    for (index, tenant) in issuers.tenants.iter().enumerate() {
        if tenant.is_empty() || !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
            let message = "a tenant is what `tid` of its tokens says: letters, digits, `-`, `.` and `_`";
            report.value(&path.key("tenants").item(index), message);
        }
    }
    let is_pattern = issuers.names.iter().any(|name| name.contains(TENANT));
    match (is_pattern, issuers.tenants.is_empty()) {
        _ if raw.enabled != Some(true) => {}
        (true, true) => {
            if let Some(problem) = report.missing(path, "tenants") {
                problem.hint(format!("`{TENANT}` in issuers stands for each of them"));
            }
        }
        (false, false) => {
            report.warning(&path.key("tenants"), format!("has no effect without `{TENANT}` in `issuers`"));
        }
        (true, false) | (false, true) => {}
    }
    issuers
}
