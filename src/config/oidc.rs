//! `backend_oidc_auth`, and what `sasl_oidc_auth` (`tokens`) has in common with it: us at an identity
//! provider.
//!
//! A block that is not enabled is read for its shape alone: what it lacks may come later. What
//! proves who we are is read here, also out of files, and no message holds any of it; a secret or
//! key that the method does not use is neither read nor kept.

use serde_yaml::Value;
use url::Url;

use super::block;
use super::http;
use super::keys::Block;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use super::secret;
use crate::http::is_loopback;
use crate::oidc::{Authentication, ClientSettings, PrivateKey};

/// What both blocks have.
pub(super) struct Client {
    pub(super) is_enabled: bool,
    pub(super) configuration_uri: Option<String>,
    pub(super) client_id: Option<raw::Word>,
    pub(super) scopes: Vec<raw::Word>,
    pub(super) method: Option<Method>,
    pub(super) proof: Proof,
}

/// What may prove who we are; `auth_method` says what does.
pub(super) struct Proof {
    pub(super) client_secret: Option<String>,
    pub(super) client_secret_file: Option<String>,
    pub(super) private_key_file: Option<String>,
}

/// What `auth_method` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    SecretBasic,
    SecretPost,
    PrivateKey,
    None,
}

/// `auto` is resolved by what else there is.
const METHODS: [(&str, Option<Method>); 5] = [
    ("auto", None),
    ("client_secret_basic", Some(Method::SecretBasic)),
    ("client_secret_post", Some(Method::SecretPost)),
    ("private_key_jwt", Some(Method::PrivateKey)),
    ("none", Some(Method::None)),
];

/// Resolves `backend_oidc_auth` of the entry at `path`; nothing where it is not enabled.
pub(super) fn backend(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
) -> Option<ClientSettings> {
    let path = path.key("backend_oidc_auth");
    let raw: raw::BackendOidc = block::read(report, value, &path, Block::BackendOidc).unwrap_or_default();
    let raw = Client {
        is_enabled: is_enabled(report, &path, raw.enabled, raw.configuration_uri.as_deref()),
        configuration_uri: raw.configuration_uri,
        client_id: raw.client_id,
        scopes: raw.scopes.unwrap_or_default(),
        method: method(report, &path, raw.auth_method.as_deref()),
        proof: Proof {
            client_secret: raw.client_secret,
            client_secret_file: raw.client_secret_file,
            private_key_file: raw.private_key_file,
        },
    };
    client(report, &path, raw)
}

/// `enabled`; whoever names a provider and forgets it would be surprised.
pub(super) fn is_enabled(
    report: &mut Report<'_>,
    path: &KeyPath,
    enabled: Option<bool>,
    uri: Option<&str>,
) -> bool {
    if enabled.is_none() && uri.is_some() {
        report.warning(path, "has no effect without `enabled: true`");
    }
    enabled.unwrap_or(false)
}

pub(super) fn method(report: &mut Report<'_>, path: &KeyPath, text: Option<&str>) -> Option<Method> {
    scalar::choice(report, &path.key("auth_method"), text?, &METHODS).flatten()
}

pub(super) fn client(report: &mut Report<'_>, path: &KeyPath, raw: Client) -> Option<ClientSettings> {
    for (index, scope) in raw.scopes.iter().enumerate() {
        // RFC 6749 3.3.
        if scope.0.is_empty() || !scope.0.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\') {
            report.value(&path.key("scopes").item(index), "a scope is printable ASCII without blanks");
        }
    }
    if !raw.is_enabled {
        return None;
    }
    let configuration_uri = match raw.configuration_uri.as_deref() {
        Some(text) => provider(report, &path.key("configuration_uri"), text),
        None => {
            report.missing(path, "configuration_uri");
            None
        }
    };
    match &raw.client_id {
        // RFC 6749 A.1.
        Some(id) if id.0.is_empty() || id.0.chars().any(char::is_control) => {
            report.value(&path.key("client_id"), "must not be empty, and holds no control characters");
        }
        Some(_) => {}
        None => {
            report.missing(path, "client_id");
        }
    }
    let authentication = authentication(report, path, raw.method, raw.proof);
    Some(ClientSettings {
        configuration_uri: configuration_uri?,
        client_id: raw.client_id?.0,
        authentication: authentication?,
        scopes: raw.scopes.into_iter().map(|word| word.0).collect(),
    })
}

fn provider(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<Url> {
    let url = http::url(report, path, text)?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        report.value(path, "the URL must not hold a user name, a password or a fragment (`#`)");
        return None;
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let problem = report.warning(path, "an identity provider beyond loopback without TLS");
        problem.hint("whoever is on the way there reads its tokens; write https://");
    }
    Some(url)
}

/// `auth_method`, or what stands for `auto`, with what it needs.
fn authentication(
    report: &mut Report<'_>,
    path: &KeyPath,
    named: Option<Method>,
    proof: Proof,
) -> Option<Authentication> {
    let Proof { client_secret, client_secret_file, private_key_file } = proof;
    let has_secret = client_secret.is_some() || client_secret_file.is_some();
    let method = named.unwrap_or(match (&private_key_file, has_secret) {
        (Some(_), _) => Method::PrivateKey,
        (None, true) => Method::SecretBasic,
        (None, false) => Method::None,
    });
    let uses_secret = matches!(method, Method::SecretBasic | Method::SecretPost);
    let unused = [
        ("client_secret", client_secret.is_some() && !uses_secret),
        ("client_secret_file", client_secret_file.is_some() && !uses_secret),
        ("private_key_file", private_key_file.is_some() && method != Method::PrivateKey),
    ];
    for (key, _) in unused.into_iter().filter(|(_, is_unused)| *is_unused) {
        let name = METHODS.iter().find(|(_, choice)| *choice == Some(method)).map_or("", |(name, _)| name);
        let problem = report.warning(&path.key(key), format!("has no effect with auth_method {name}"));
        if named.is_none() {
            problem.hint("which is what private_key_file means, unless auth_method says otherwise");
        }
    }
    match method {
        Method::None => Some(Authentication::None),
        Method::PrivateKey => {
            let Some(file) = private_key_file else {
                report.missing(path, "private_key_file");
                return None;
            };
            private_key(report, &path.key("private_key_file"), &file).map(Authentication::PrivateKey)
        }
        Method::SecretBasic | Method::SecretPost => {
            if !has_secret {
                report.missing(path, "client_secret");
            }
            let file = client_secret_file.as_deref();
            let (secret, _) = secret::read(report, path, "client_secret", client_secret, file)?;
            Some(match method {
                Method::SecretPost => Authentication::SecretPost(secret),
                _ => Authentication::SecretBasic(secret),
            })
        }
    }
}

fn private_key(report: &mut Report<'_>, path: &KeyPath, file: &str) -> Option<PrivateKey> {
    let pem = secret::from_file(report, path, file)?;
    PrivateKey::read(pem).map_err(|message| report.value(path, message)).ok()
}
