//! The broker as a client of a provider: forms to its token or introspection endpoint, with client
//! authentication (RFC 6749 2.3.1, RFC 7523 2.2).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::header::HeaderValue;
use serde_json::json;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::json::JsonObject;
use super::private_key::PrivateKey;
use super::provider::{DiscoveryDocument, Provider, ProviderEndpoint};
use super::provider_http::{EndpointUrl, Form};
use super::settings::{Authentication, ClientSettings};
use crate::model::{Deadline, Failure};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The life of an assertion, in seconds.
const ASSERTION_LIFE: u64 = 240;

/// A client of a provider, for own tokens and for introspection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) provider: Arc<Provider>,
    pub(super) settings: ClientSettings,
}

impl Client {
    /// Posts `fields` and reads the JSON object of the answer. Failures are logged.
    pub(super) async fn post(
        &self,
        endpoint: ProviderEndpoint,
        fields: &[(&str, &str)],
        deadline: Deadline,
    ) -> Option<JsonObject> {
        let (document, address) = self.provider.with(endpoint, deadline).await?;
        let http = &self.provider.http;
        let calls = match endpoint {
            ProviderEndpoint::Introspection => &http.calls.introspection,
            ProviderEndpoint::Token | ProviderEndpoint::Keys => &http.calls.token,
        };
        let has_assertion = matches!(self.settings.authentication, Authentication::PrivateKey(_));
        let mut attempts = if has_assertion { 2 } else { 1 };
        let reply = loop {
            let Some(form) = self.form(endpoint, fields, &document, &address) else {
                http.report(format_args!("{}: no assertion could be signed", endpoint.name()));
                return None;
            };
            let reply = http.exchange(calls, &address, Some(form), deadline).await;
            attempts -= 1;
            // The connection failed. An assertion is valid once, so the exchange may not repeat it; the next
            // attempt has a new one.
            if attempts == 0 || reply.as_ref().err() != Some(&Failure::Protocol) {
                break reply;
            }
        };
        http.object(&format!("{} for client {:?}", endpoint.name(), self.settings.client_id), reply)
    }

    fn form(
        &self,
        endpoint: ProviderEndpoint,
        fields: &[(&str, &str)],
        document: &DiscoveryDocument,
        address: &EndpointUrl,
    ) -> Option<Form> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        let id = self.settings.client_id.as_str();
        let (mut authorization, mut repeatable) = (None, true);
        match &self.settings.authentication {
            Authentication::None => {
                form.append_pair("client_id", id);
            }
            Authentication::SecretPost(secret) => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
            Authentication::SecretBasic(secret) => authorization = Some(basic(id, secret.expose())?),
            Authentication::PrivateKey(key) => {
                // RFC 7523 3: the token endpoint's URL names the provider at its other endpoints, too.
                let audience = document.address(ProviderEndpoint::Token).map_or(address, |token| token);
                let assertion = assertion(key, id, &audience.text, document.signing(endpoint))?;
                form.append_pair("client_id", id)
                    .append_pair("client_assertion_type", ASSERTION_TYPE)
                    .append_pair("client_assertion", &assertion);
                repeatable = false;
            }
        }
        Some(Form { authorization, body: form.finish(), repeatable })
    }
}

/// RFC 6749 2.3.1: both parts are form-encoded first, because an id may contain a colon.
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::new());
    pair.extend(byte_serialize(id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.as_bytes()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", *encoded)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A new assertion for each attempt: its `jti` is used once.
fn assertion(key: &PrivateKey, id: &str, audience: &str, supported: &[String]) -> Option<String> {
    let mut number = [0; 24];
    aws_lc_rs::rand::fill(&mut number).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let algorithm = key.algorithm(supported);
    let header = json!({ "alg": algorithm.name(), "typ": "JWT" });
    let claims = json!({
        "iss": id, "sub": id, "aud": audience, "jti": URL_SAFE_NO_PAD.encode(number),
        "iat": now, "exp": now + ASSERTION_LIFE,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = key.sign(algorithm, message.as_bytes())?;
    Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
