//! Compares a configuration with an installed Postfix: what Postfix does not use, names that do not exist,
//! and settings that delay or reject mail or open the machine.
//!
//! Limits: tables of restrictions are not read, files of certificates are not opened, and services other than
//! `pfxhttp-client`, smtpd(8) and the broker's listeners are not looked at.

use super::findings::{Finding, Findings};
use super::logins::check_logins;
use super::policies::check_policies;
use super::postconf::Postfix;
use super::references::{Reference, is_listener, reached, reaches, references};
use super::relay::check_relay;
use super::restrictions::words;
use super::service::check_service;
use super::{Entry, entries};
use crate::model::Protocol;
use crate::settings::Configuration;

/// Everything that is wrong or missing: errors first.
pub(super) fn check(config: &Configuration, postfix: &Postfix) -> Vec<Finding> {
    let mut findings = Findings::default();
    let entries = entries(config);
    let references = references(postfix);
    for service in postfix.services.iter().filter(|service| service.client().is_some()) {
        check_service(&mut findings, config, postfix, service);
    }
    let is_used = |entry: &&Entry<'_>| references.iter().any(|reference| reaches(reference, entry, postfix));
    let unused: Vec<_> = entries.iter().filter(|entry| !is_used(entry)).collect();
    for reference in &references {
        check_reference(&mut findings, &entries, &unused, postfix, reference);
    }
    for entry in unused {
        let help = "see \"pfxhttp-broker postfix\" for the line";
        let (kind, name) = (kind(entry.protocol), entry.name);
        findings.note(format!("{kind} {name:?}: Postfix does not use it; {help}"));
    }
    let reached = |protocol| reached(&references, &entries, postfix, protocol);
    check_relay(&mut findings, postfix, &references, &entries);
    check_policies(&mut findings, config, postfix, &reached(Protocol::Policy));
    check_logins(&mut findings, config, postfix, &reached(Protocol::Sasl));
    check_domains(&mut findings, postfix, &reached(Protocol::Socketmap));
    check_delivery(&mut findings, postfix);
    findings.sorted()
}

/// A reference must lead to a map that exists, or to a service or a listener that is there.
fn check_reference(
    findings: &mut Findings,
    entries: &[Entry<'_>],
    unused: &[&Entry<'_>],
    postfix: &Postfix,
    reference: &Reference<'_>,
) {
    let Reference { at, protocol, address, map, .. } = reference;
    let of_protocol = || entries.iter().filter(|entry| entry.protocol == *protocol);
    let serves = |entry: &Entry<'_>| is_listener(reference, entry, postfix);
    let is_ours = match postfix.service_at(address) {
        Some(service) => {
            let client = service.client();
            if client.as_ref().is_some_and(|client| client.protocol != Some(*protocol)) {
                let protocol = kind(*protocol);
                findings.error(format!("{at}: {address}: the service does not serve a {protocol}"));
            }
            client.is_some()
        }
        None if of_protocol().any(serves) => true,
        None if entries.iter().any(serves) => {
            let protocol = kind(*protocol);
            findings.error(format!("{at}: {address}: the listener does not serve a {protocol}"));
            false
        }
        None => {
            check_foreign(findings, entries, unused, reference);
            false
        }
    };
    if let Some(map) = map.as_ref().filter(|map| is_ours && of_protocol().all(|entry| entry.name != *map)) {
        let names: Vec<_> = of_protocol().map(|entry| entry.name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        findings.error(format!("{at}: there is no map {map:?} in socket_maps; there are: {names}"));
    }
}

/// An address without a service or a listener may be that of another program. It is told if its name is one of ours,
/// and noted if it may be a mistake: it names one of our maps, or there is an entry that Postfix does not use.
fn check_foreign(
    findings: &mut Findings,
    entries: &[Entry<'_>],
    unused: &[&Entry<'_>],
    reference: &Reference<'_>,
) {
    let Reference { at, protocol, address, map, .. } = reference;
    if let Some(name) = address.strip_prefix("unix:private/").filter(|name| name.starts_with("pfx")) {
        findings.error(format!("{at}: {address}: there is no service {name} in master.cf"));
        return;
    }
    let may_be_meant = match map {
        Some(map) => entries.iter().any(|entry| entry.protocol == *protocol && entry.name == map),
        None => unused.iter().any(|entry| entry.protocol == *protocol),
    };
    if may_be_meant {
        findings.note(format!("{at}: no listener of pfxhttp is at {address}"));
    }
}

/// A domain must be in one class only, and the maps of mailboxes need domains.
fn check_domains(findings: &mut Findings, postfix: &Postfix, asked: &[(&Reference<'_>, &Entry<'_>)]) {
    const MAILBOXES: &str = "virtual_mailbox_maps";
    let domains = postfix.parameter("virtual_mailbox_domains");
    if !asked.iter().any(|(reference, _)| reference.at == format!("main.cf: {MAILBOXES}")) {
        return;
    }
    if domains == postfix.parameter(MAILBOXES) {
        findings.warning(format!(
            "main.cf: virtual_mailbox_domains is not set: Postfix looks up domains in {MAILBOXES}"
        ));
    }
    let local = words(postfix.parameter("mydestination"));
    for domain in words(domains).iter().filter(|domain| local.contains(domain)) {
        findings.error(format!(
            "main.cf: {domain} is in mydestination and in virtual_mailbox_domains: Postfix does not use {MAILBOXES} for it"
        ));
    }
}

/// Postfix' own delivery agents refuse these tables.
fn check_delivery(findings: &mut Findings, postfix: &Postfix) {
    let has_socketmap =
        |name: &str| words(postfix.parameter(name)).iter().any(|word| word.contains("socketmap:"));
    let transport = postfix.parameter("virtual_transport");
    if transport.split(':').next() == Some("virtual") {
        for name in ["virtual_mailbox_maps", "virtual_uid_maps", "virtual_gid_maps"] {
            if has_socketmap(name) {
                findings.error(format!("main.cf: {name}: virtual(8) refuses a socketmap; set virtual_transport to your own delivery"));
            }
        }
    }
    if has_socketmap("alias_maps") {
        findings
            .error("main.cf: alias_maps: local(8) refuses a socketmap; use virtual_alias_maps".to_owned());
    }
}

fn kind(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Socketmap => "map",
        Protocol::Policy => "policy",
        Protocol::Sasl => "login",
    }
}
