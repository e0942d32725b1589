//! `grpc.tls`.

use super::{Block, Names, TlsSettings, server_name};
use crate::document::{Key, Section, no_effect};

const NAMES: Names = Names { cert: "client_cert", key: "client_key", is_grpc: true };

/// Reads `grpc.tls`. Within `Some` there is nothing if it is not enabled.
pub(in crate::http::settings) fn of_grpc(section: &Section<'_>) -> Option<Option<TlsSettings>> {
    let is_enabled = section.key("enabled").flag().or(false);
    let block = Block::read(section, &NAMES);
    let block = Block { server_name: server_name(section), has_own_cert: true, ..block };
    if is_enabled {
        return block.of_one_api(true).map(Some);
    }
    let flag = Some(block.skip_verify.clone()).filter(|_| block.skips);
    let names = ["root_ca", NAMES.cert, NAMES.key, "server_name", "min_tls_version"];
    // An entry may well inherit them, and be without TLS.
    let own = names.map(|name| section.key(name)).into_iter().chain(flag).filter(Key::is_own);
    no_effect(own, "without `enabled: true`");
    Some(None)
}
