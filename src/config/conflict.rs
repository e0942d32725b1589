//! Two sockets that cannot be bound together.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::path::KeyPath;
use super::places::Place;
use super::problem::Report;
use super::{Endpoint, Ipc};

/// Reports where `endpoint` is one of `others`, or the socket of `ipc`.
pub(super) fn conflicts(
    report: &mut Report<'_>,
    path: &KeyPath,
    endpoint: &Endpoint,
    others: &[(KeyPath, Endpoint)],
    ipc: &Ipc,
) {
    let at = path.key("address");
    if let Endpoint::Unix(socket) = endpoint
        && same_path(&socket.path, &ipc.socket.path)
    {
        report.value(&at, "this is the path of the socket of server.ipc");
    }
    if let Some((other, _)) = others.iter().find(|(_, other)| overlap(other, endpoint)) {
        let place = report.places().value(&other.key("address"));
        let place = place.map(|Place { line, column }| format!(" at line {line}, column {column}"));
        let message = format!("the same endpoint as {other}{}", place.unwrap_or_default());
        report.value(&at, message);
    }
}

/// Whether both cannot be bound at a time.
fn overlap(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix(one), Endpoint::Unix(other)) => same_path(&one.path, &other.path),
        (
            Endpoint::Tcp { address: one, port, v6_only },
            Endpoint::Tcp { address: other, port: other_port, v6_only: other_v6_only },
        ) => {
            let covers = |all: &IpAddr, one: &IpAddr, v6_only: bool| {
                all.is_unspecified() && (all.is_ipv4() == one.is_ipv4() || (all.is_ipv6() && !v6_only))
            };
            *port != 0
                && port == other_port
                && (one.to_canonical() == other.to_canonical()
                    || covers(one, other, *v6_only)
                    || covers(other, one, *other_v6_only))
        }
        _ => false,
    }
}

/// Compares without `.` and doubled slashes.
pub(super) fn same_path(one: &Path, other: &Path) -> bool {
    let normal = |path: &Path| path.components().collect::<PathBuf>();
    normal(one) == normal(other)
}
