//! `pfxhttp.schema.json` says what the rooms ask for: no more keys, and no fewer.

use serde_json::Value;

use crate::document::schema::{Words, differences, schema};
use crate::settings::record;

const WORDS: Words = Words {
    title: "Configuration of pfxhttp",
    descriptions: &[
        ("", "The whole file."),
        ("BackendOidc", "`backend_oidc_auth`."),
        ("Breaker", "`breaker`."),
        ("Cache", "`cache` of an entry."),
        ("EntryTls", "`tls` of an entry."),
        ("Grpc", "`grpc`."),
        ("GrpcTls", "`grpc.tls`."),
        ("Health", "`health`."),
        ("Listener", "An item of `server.listen`."),
        ("Login", "An entry of `dovecot_sasl`."),
        ("Map", "An entry of `socket_maps`."),
        ("Policy", "An entry of `policy_services`."),
        ("Retry", "`retry`."),
        ("SaslOidc", "`sasl_oidc_auth`."),
        ("Target", "An item of `targets`."),
        ("WorkerPool", "`worker_pool`, of `server` or of a listener."),
    ],
    former: &[("backend_oidc_auth", "oidc_auth")],
};

fn file() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pfxhttp.schema.json")
}

#[test]
fn every_block_and_key_is_asked_for() {
    let record = record();
    let keys: usize = record.definitions.values().map(|definition| definition.keys.len()).sum();
    assert!(record.definitions.len() >= 20 && keys > 150, "{} blocks, {keys} keys", record.definitions.len());
}

#[test]
fn the_file_says_what_is_asked_for() {
    let made = schema(&record(), &WORDS);
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let text = format!("{}\n", serde_json::to_string_pretty(&made).expect("JSON"));
        std::fs::write(file(), text).expect("the schema can be written");
    }
    let shipped = std::fs::read_to_string(file()).unwrap_or_default();
    let shipped: Value = serde_json::from_str(&shipped).unwrap_or_default();
    let mut lines = Vec::new();
    differences("", &made, &shipped, &mut lines);
    assert!(
        lines.is_empty(),
        "pfxhttp.schema.json is out of date; write it anew with: UPDATE_SCHEMA=1 cargo test --lib schema\n{}",
        lines.join("\n")
    );
}
