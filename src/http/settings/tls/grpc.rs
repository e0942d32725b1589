//! `grpc.tls`.

use super::{Block, TlsSettings, VERSIONS, server_name};
use crate::document::{Key, Section, no_effect};

/// Reads `grpc.tls`, whose certificate has keys of other names. Within `Some` there is nothing if it is not enabled.
pub(in crate::http::settings) fn of_grpc(section: &Section<'_>) -> Option<Option<TlsSettings>> {
    let is_enabled = section.key("enabled").flag().or(false);
    let [root_ca, cert, key] = ["root_ca", "client_cert", "client_key"].map(|name| section.key(name).text());
    let skip_verify = section.key("skip_verify");
    let block = Block {
        section,
        root_ca,
        cert,
        key,
        skips: skip_verify.flag().or(false),
        skip_verify,
        only_1_3: section.key("min_tls_version").word_choice(VERSIONS).or(false),
        pins: Vec::new(),
        server_name: section.key("server_name").text().read_as(|name| server_name(&name)).get(),
        has_own_cert: true,
        is_mixed: false,
        is_grpc: true,
    };
    if !is_enabled {
        let flag = Some(block.skip_verify.clone()).filter(|_| block.skips);
        let names = ["root_ca", "client_cert", "client_key", "server_name", "min_tls_version"];
        // An entry may well inherit them, and be without TLS.
        let own = names.map(|name| section.key(name)).into_iter().chain(flag).filter(Key::is_own);
        no_effect(own, "without `enabled: true`");
        return Some(None);
    }
    block.of_one_api(true).map(Some)
}
