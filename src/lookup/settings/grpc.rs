//! `transport` and `grpc`: checked, and not built yet.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::document::{Kind, Section};

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);

/// Reads `transport` and `grpc` of an entry; returns whether it asks for gRPC.
pub(crate) fn grpc(entry: &Section<'_>) -> bool {
    let is_grpc = entry.key("transport").choice(&[("json", false), ("grpc", true)]).or(false);
    let grpc = entry.key("grpc");
    let block = grpc.section("Grpc");
    let address = block.key("address").text();
    block.key("timeout").duration(TIMEOUT);
    for (_, values) in block.key("metadata").pairs(Kind::List(Box::new(Kind::Word))) {
        for value in values.list(Kind::Word) {
            value.hidden_word();
        }
    }
    let tls = block.key("tls").section("GrpcTls");
    for name in ["enabled", "skip_verify"] {
        tls.key(name).flag();
    }
    for name in ["root_ca", "client_cert", "client_key", "server_name"] {
        tls.key(name).text();
    }
    tls.key("min_tls_version").word_choice(&[("1.2", false), ("1.3", true)]);
    if grpc.is_own() {
        grpc.key_error("not built yet");
    }
    if is_grpc {
        entry.key("transport").error("grpc is not built yet");
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let fits = |(host, port): (&str, &str)| !host.is_empty() && is_port(port);
        if address.required().is_some_and(|address| !address.rsplit_once(':').is_some_and(fits)) {
            block.key("address").error("must be `host:port`");
        }
    }
    is_grpc
}
