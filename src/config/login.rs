//! Entries of `dovecot_sasl`: checked, and not built yet.

use super::block::{self, child};
use super::entry::{self, Entries, Source};
use super::grpc;
use super::oidc;
use super::problem::Report;
use super::raw;
use super::scalar;
use super::template;

/// Checks the whole section. That it is not built yet is told at its key (`keys`).
pub(super) fn section(report: &mut Report<'_>, entries: &Entries<'_>) {
    entries.each(report, |report, source| {
        entry(report, source);
    });
}

fn entry(report: &mut Report<'_>, source: &Source<'_>) -> Option<()> {
    let Source { value, path, block, .. } = source;
    let raw: raw::Entry = block::read(report, Some(value), path, *block)?;
    let login: raw::LoginEntry = block::read(report, Some(value), path, *block)?;
    let transport = raw.transport.as_deref();
    let transports = [("json", false), ("grpc", true)];
    let transport =
        transport.and_then(|text| scalar::choice(report, &path.key("transport"), text, &transports));
    let is_grpc = transport == Some(true);
    match raw.target.as_deref() {
        Some(text) => {
            template::target(report, &path.key("target"), text, None);
        }
        None if is_grpc => {}
        None => {
            report.missing(path, "target");
        }
    }
    if is_grpc {
        grpc::asked(report, child(Some(value), "grpc"), path);
    } else if raw.grpc.is_some() {
        grpc::shape(report, child(Some(value), "grpc"), path);
        report.warning(&path.key("grpc"), "has no effect without `transport: grpc`");
    }
    without_effect(report, source, &raw);
    let status = entry::status_code(report, path, raw.status_code);
    denied_status(report, source, &login, status);
    entry::timeout(report, path, raw.timeout.as_ref());
    let choices = [("auto", ()), ("disconnect", ()), ("fail", ())];
    if let Some(text) = &login.on_failure {
        scalar::choice(report, &path.key("on_failure"), text, &choices);
    }
    if login.accept_bare_status == Some(true) {
        let message = "whatever answers with `status_code` lets every password pass";
        report.warning(&path.key("accept_bare_status"), message);
    }
    let port = raw.default_local_port.as_ref().map(|word| word.0.parse::<u16>());
    if port.is_some_and(|port| !port.is_ok_and(|port| port > 0)) {
        report.value(&path.key("default_local_port"), "must be a port from 1 to 65535");
    }
    oidc::backend(report, child(Some(value), "backend_oidc_auth"), path);
    oidc::sasl(report, child(Some(value), "sasl_oidc_auth"), path);
    entry::all_headers(report, source, raw);
    Some(())
}

/// A login's request and answer are Nauthilus' own.
fn without_effect(report: &mut Report<'_>, source: &Source<'_>, raw: &raw::Entry) {
    let set = [
        ("payload", raw.payload.is_some()),
        ("value_field", raw.value_field.is_some()),
        ("error_field", raw.error_field.is_some()),
        ("no_error_value", raw.no_error_value.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        report.warning(&source.path.key(key), "has no effect in dovecot_sasl");
    }
}

fn denied_status(report: &mut Report<'_>, source: &Source<'_>, login: &raw::LoginEntry, status: u16) {
    for (index, count) in login.denied_status.iter().flatten().enumerate() {
        let path = source.path.key("denied_status").item(index);
        if scalar::status(report, &path, Some(*count)) == Some(status) {
            report.value(&path, "is `status_code`, which accepts");
        }
    }
}
