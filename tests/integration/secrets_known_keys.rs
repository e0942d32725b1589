//! Every key with a text value either holds a secret in `secrets_in_every_key`, or is listed here as
//! holding none. A new key has to be added to one of the two.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::secrets_in_every_key::IDLE;
use crate::support::secret_site::Planted;

/// Keys with a text value that is no secret and names no file with one.
const PLAIN: [&str; 46] = [
    "Admin.path",
    // An identifier is no secret (RFC 6749 2.2).
    "BackendOidc.client_id",
    "BackendOidc.scopes",
    "Grpc.address",
    "GrpcTls.client_cert",
    "GrpcTls.root_ca",
    "GrpcTls.server_name",
    "Ipc.allow_users",
    "Ipc.group",
    "Ipc.mode",
    "Ipc.path",
    "Ipc.user",
    "Listener.address",
    "Listener.allow_from",
    "Listener.group",
    "Listener.mode",
    "Listener.name",
    "Listener.systemd_socket_name",
    "Listener.user",
    "Login.default_local_port",
    "Login.error_field",
    "Login.no_error_value",
    "Login.penalty_exempt",
    "Login.value_field",
    "Map.default_local_port",
    "Map.domains",
    "Map.error_field",
    "Map.no_error_value",
    "Map.value_field",
    // This URL may have neither user nor query.
    "Observability.otel_exporter_otlp_endpoint",
    "Observability.otel_service_name",
    "Observability.otel_service_version",
    "Observability.prometheus_address",
    "Observability.prometheus_path",
    "Policy.cache_key",
    "Policy.default_local_port",
    "Policy.error_field",
    "Policy.no_error_value",
    "Policy.on_failure",
    "Policy.value_field",
    "PrometheusTls.cert",
    "SaslOidc.account_claim",
    "SaslOidc.audiences",
    "SaslOidc.client_id",
    "SaslOidc.scopes",
    "Server.chroot",
];
/// A second part of the list, so that each fits on a screen.
const PLAIN_TOO: [&str; 22] = [
    "EntryTls.cert",
    "EntryTls.pin_sha256",
    "EntryTls.root_ca",
    "EntryTls.server_name",
    // It names a file.
    "GrpcTls.client_key",
    "Login.accept_field",
    "Login.account_field",
    "Login.reason_field",
    "Map.recipient_delimiter",
    "Policy.recipient_delimiter",
    "Retry.budget",
    "SaslOidc.issuers",
    "SaslOidc.tenants",
    "Sentinel.master",
    // A URL that may have no password.
    "Sentinel.urls",
    "Server.run_as_group",
    "Server.run_as_user",
    "Shared.prefix",
    "Shared.url",
    "Tls.cert",
    "Tls.pin_sha256",
    "Tls.root_ca",
];
/// Keys of the test behind a proxy.
const PROXIED: [&str; 5] = [
    "HttpClient.proxy",
    "Login.proxy",
    "Map.proxy",
    "Observability.prometheus_http_auth_basic_file",
    "Policy.proxy",
];
/// Follows `$ref`, and takes the other schema of a choice with null.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return resolved(root, &root["$defs"][name]);
    }
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    let one = choices.into_iter().find(|choice| choice["type"] != "null");
    one.map_or(schema, |one| resolved(root, one))
}

/// Whether a value of this schema can be any text, or contain it.
fn is_text(root: &Value, schema: &Value) -> bool {
    let schema = resolved(root, schema);
    let is = |kind: &str| {
        schema["type"] == kind || schema["type"].as_array().is_some_and(|t| t.contains(&json!(kind)))
    };
    let is_bound = !schema["enum"].is_null() || !schema["pattern"].is_null();
    (is("string") && !is_bound)
        || (is("array") && is_text(root, &schema["items"]))
        || (schema["properties"].is_null()
            && schema["additionalProperties"].is_object()
            && is_text(root, &schema["additionalProperties"]))
}

#[test]
fn every_key_with_a_text_value_is_known() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pfxhttp.schema.json");
    let root: Value = serde_json::from_slice(&fs::read(file).expect("the schema")).expect("JSON");
    let mut texts = BTreeSet::new();
    for (name, block) in root["$defs"].as_object().expect("definitions") {
        for (key, schema) in block["properties"].as_object().into_iter().flatten() {
            if is_text(&root, schema) {
                texts.insert(format!("{name}.{key}"));
            }
        }
    }
    let planted = Planted::new();
    let known: Vec<&str> = planted.markers.iter().map(|marker| marker.key).collect();
    let known = [&known[..], &PLAIN, &PLAIN_TOO, &PROXIED, &IDLE].concat();
    for text in &texts {
        assert!(
            known.contains(&text.as_str()),
            "{text} may hold a secret: add one to secret_site, or list the key here"
        );
    }
    assert!(known.iter().all(|known| texts.contains(*known)), "{known:?} are keys");
}
