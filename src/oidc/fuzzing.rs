//! The fuzz targets of tokens, claims, keys and discovery documents.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use super::claims::{ClaimsSource, NoAccount, Rules};
use super::issuer::Issuers;
use super::json::{self, JsonObject};
use super::jwk::{KeySet, Signature};
use super::jws::{Jws, TokenForm};
use super::provider::{DiscoveryDocument, ProviderEndpoint};
use super::settings::{Authentication, ClientSettings, TokenSettings, Validation};
use crate::model::is_account_name;

/// The keys of RFC 7515 A.3 and RFC 8037 A.2.
const KEYS: &str = r#"{"keys": [
    {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
     "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
]}"#;
/// What these keys have signed in these RFCs (RFC 7515 A.3, RFC 8037 A.4).
const SIGNED: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
];
const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "us:1";
/// In 2033.
const NOW: f64 = 2e9;

fn keys() -> &'static KeySet {
    static SET: OnceLock<KeySet> = OnceLock::new();
    SET.get_or_init(|| KeySet::read(&json::object(KEYS.as_bytes()).expect("an object")))
}

/// A token, and after a byte 0xFF a JWK set.
///
/// What is signed, and the signature, are the token. Of all tokens only those that a key has signed are good.
pub fn tokens(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0xff);
    let token = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let jws = match Jws::read(&token) {
        TokenForm::Signed(jws) => jws,
        TokenForm::Refused(reason) => return assert!(token.matches('.').count() == 2 && !reason.is_empty()),
        TokenForm::Opaque => return,
    };
    assert_eq!([jws.message, ".", &URL_SAFE_NO_PAD.encode(&jws.signature)].concat(), token);
    if keys().verify(&jws) == Signature::Good {
        assert!(SIGNED.contains(&jws.message), "{token}");
    }
    if let Ok(set) = json::object(parts.next().unwrap_or_default()) {
        let verdict = KeySet::read(&set).verify(&jws);
        let has_keys = set.get("keys").and_then(Value::as_array).is_some_and(|keys| !keys.is_empty());
        assert!(has_keys || verdict == Signature::UnknownKey, "{verdict:?} without a key");
    }
    if let Ok(claims) = jws.claims() {
        judge(&claims, ClaimsSource::Jwt { is_access_token: jws.is_access_token });
    }
}

/// A byte that chooses where the claims come from, and the claims as JSON.
///
/// A token gives an account only if it was issued by the provider, is for this service, is valid now, and names
/// what may be an account.
pub fn claims(bytes: &[u8]) {
    let (kind, text) = bytes.split_first().unwrap_or((&0, &[]));
    let source = match kind % 3 {
        0 => ClaimsSource::Jwt { is_access_token: false },
        1 => ClaimsSource::Jwt { is_access_token: true },
        _ => ClaimsSource::Introspection,
    };
    if let Ok(claims) = json::answer(text) {
        judge(&claims, source);
    }
}

fn settings() -> &'static TokenSettings {
    static SETTINGS: OnceLock<TokenSettings> = OnceLock::new();
    SETTINGS.get_or_init(|| TokenSettings {
        client: ClientSettings {
            configuration_uri: Url::parse(ISSUER).expect("a URL"),
            client_id: AUDIENCE.to_owned(),
            authentication: Authentication::None,
            scopes: Vec::new(),
        },
        validation: Validation::Auto,
        jwks_cache_ttl: Duration::from_mins(5),
        account_claim: None,
        audiences: Some(vec![AUDIENCE.to_owned()]),
        issuers: Issuers::default(),
        require_audience: true,
    })
}

fn judge(claims: &JsonObject, source: ClaimsSource) {
    let rules = Rules { settings: settings(), issuer: Some(ISSUER), source, now: NOW };
    let is_introspection = source == ClaimsSource::Introspection;
    let account = match rules.account(claims) {
        Ok(account) => account,
        Err(NoAccount::Refused(refusal)) => {
            assert_eq!(refusal.reason, "invalid token");
            assert!(refusal.detail.chars().count() < 600, "{}", refusal.detail);
            return assert!(!refusal.detail.contains(char::is_control), "{:?}", refusal.detail);
        }
        Err(NoAccount::Unclear(reason)) => return assert!(is_introspection, "{reason}"),
    };
    assert!(is_account_name(&account) && account.len() <= 255, "{account:?}");
    assert!(
        ["username", "preferred_username", "sub"]
            .iter()
            .any(|name| claims.get(*name) == Some(&account.as_str().into()))
    );
    let audiences = ["aud", "azp", "client_id"].iter().filter_map(|name| claims.get(*name));
    let is_ours = |one: &Value| {
        one == AUDIENCE || one.as_array().is_some_and(|all| all.iter().any(|one| one == AUDIENCE))
    };
    assert!(audiences.into_iter().any(is_ours), "{claims:?}");
    let number = |name: &str| match claims.get(name) {
        Some(Value::String(text)) if is_introspection => text.parse().ok(),
        Some(value) => value.as_f64(),
        None => None,
    };
    assert!(number("exp").map_or(is_introspection, |exp| exp > NOW - 60.0), "{claims:?}");
    assert!(
        ["nbf", "iat"].iter().all(|name| number(name).is_none_or(|time| time < NOW + 120.0)),
        "{claims:?}"
    );
    let is_issuer = claims.get("iss").filter(|iss| !iss.is_null()).map(|iss| iss == ISSUER);
    assert!(is_issuer.unwrap_or(is_introspection), "{claims:?}");
    let of_others = ["nonce", "at_hash", "c_hash", "s_hash", "events"];
    assert!(is_introspection || !of_others.iter().any(|name| claims.contains_key(*name)), "{claims:?}");
}

/// A discovery document.
///
/// An endpoint is a URL of the document, with a host, and with TLS if the document came over TLS.
pub fn discovery(bytes: &[u8]) {
    let Ok(object) = json::answer(bytes) else { return };
    for scheme in ["https", "http"] {
        let uri =
            Url::parse(&format!("{scheme}://idp.example/.well-known/openid-configuration")).expect("a URL");
        let document = DiscoveryDocument::read(&object, &uri);
        for endpoint in [ProviderEndpoint::Token, ProviderEndpoint::Introspection, ProviderEndpoint::Keys] {
            assert!(document.signing(endpoint).len() <= 64);
            let Ok(address) = document.address(endpoint) else { continue };
            assert_eq!(object.get(endpoint.name()).and_then(Value::as_str), Some(address.text.as_str()));
            assert!(address.url.has_host(), "{}", address.url);
            let is_secure = address.url.scheme() == "https";
            assert!(is_secure || (scheme == "http" && address.url.scheme() == "http"), "{}", address.url);
        }
        if let Some(issuer) = &document.issuer {
            assert!(issuer.starts_with("https://") || issuer.starts_with("http://"), "{issuer}");
        }
        if let Some(remark) = &document.remark {
            assert!(remark.chars().count() < 1000 && !remark.contains(char::is_control), "{remark:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURES: [&str; 2] = [
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ];

    /// Otherwise the target would find no forged token.
    #[test]
    fn the_tokens_of_the_rfcs_are_good() {
        for (message, signature) in SIGNED.iter().zip(SIGNATURES) {
            let token = format!("{message}.{signature}");
            let TokenForm::Signed(jws) = Jws::read(&token) else { panic!("{token}") };
            assert_eq!(keys().verify(&jws), Signature::Good, "{token}");
            tokens(token.as_bytes());
        }
    }
}
