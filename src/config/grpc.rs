//! `grpc`: checked, and not built yet.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Value;

use super::block::{self, child};
use super::keys::Block;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);

/// Checks `grpc` of the entry at `path`, which is asked that way.
pub(super) fn asked(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) {
    let raw = shape(report, value, path);
    let path = path.key("grpc");
    match raw.address.as_deref() {
        None => {
            report.missing(&path, "address");
        }
        Some(address) => {
            let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
            let fits = |(host, port): (&str, &str)| !host.is_empty() && is_port(port);
            if !address.rsplit_once(':').is_some_and(fits) {
                report.value(&path.key("address"), "must be `host:port`");
            }
        }
    }
    scalar::duration(report, &path.key("timeout"), raw.timeout.as_ref(), TIMEOUT);
}

/// Reads `grpc` of the entry at `path` for its keys and kinds of values alone.
pub(super) fn shape(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> raw::Grpc {
    let path = path.key("grpc");
    let tls = child(value, "tls");
    let tls: raw::GrpcTls = block::read(report, tls, &path.key("tls"), Block::GrpcTls).unwrap_or_default();
    if let Some(raw::Word(version)) = &tls.min_tls_version {
        let versions = [("1.2", ()), ("1.3", ())];
        scalar::choice(report, &path.key("tls").key("min_tls_version"), version, &versions);
    }
    block::read(report, value, &path, Block::Grpc).unwrap_or_default()
}
