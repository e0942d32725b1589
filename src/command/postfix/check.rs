//! Compares a configuration with an installed Postfix: what Postfix does not use, names that do not exist,
//! and settings that delay mail or open the machine.
//!
//! Limits: restriction classes and tables of restrictions are not followed, and services other than
//! `pfxhttp-client` and the broker's listeners are not looked at.

use super::findings::{Finding, Findings};
use super::postconf::{Postfix, Service};
use super::restrictions::{asks, opens_relay, protected_at, socketmaps, words};
use super::service::check_service;
use super::{Entry, entries, lines, takes_tokens};
use crate::model::Protocol;
use crate::server::settings::Endpoint;
use crate::settings::Configuration;

/// A place in Postfix' configuration that names something to connect to.
struct Reference {
    /// The parameter, with the service if it stands in master.cf.
    at: String,
    protocol: Protocol,
    /// As `unix:private/pfx-map`.
    address: String,
    /// The map.
    map: Option<String>,
}

/// Everything that is wrong or missing: errors first.
pub(super) fn check(config: &Configuration, postfix: &Postfix) -> Vec<Finding> {
    let mut findings = Findings::default();
    let entries = entries(config);
    let references = references(postfix);
    for service in postfix.services.iter().filter(|service| service.client().is_some()) {
        check_service(&mut findings, config, postfix, service);
    }
    for reference in &references {
        check_reference(&mut findings, &entries, postfix, reference);
    }
    for entry in &entries {
        let is_used = references.iter().any(|reference| reaches(reference, entry, postfix));
        if !is_used {
            let lack = "see \"pfxhttp-broker postfix\" for the line";
            findings.note(format!(
                "{} {:?}: Postfix does not use it; {lack}",
                kind(entry.protocol),
                entry.name
            ));
        }
    }
    check_relay(&mut findings, postfix, &references, &entries);
    check_logins(&mut findings, config, postfix, &references, &entries);
    check_delivery(&mut findings, postfix);
    findings.sorted()
}

/// What Postfix connects to for maps, policies and logins.
fn references(postfix: &Postfix) -> Vec<Reference> {
    let mut found = Vec::new();
    // These repeat the values of other parameters.
    let is_original = |at: &str| !at.ends_with("proxy_read_maps") && !at.ends_with("proxy_write_maps");
    for (at, value) in postfix.values().filter(|(at, _)| is_original(at)) {
        let words = words(value);
        for (address, map) in socketmaps(value) {
            found.push(Reference { at: at.clone(), protocol: Protocol::Socketmap, address, map: Some(map) });
        }
        for address in asks(&words) {
            found.push(Reference { at: at.clone(), protocol: Protocol::Policy, address, map: None });
        }
        if at.ends_with("smtpd_sasl_path") && !value.is_empty() {
            let address = if value.starts_with("inet:") { value.to_owned() } else { format!("unix:{value}") };
            found.push(Reference { at: at.clone(), protocol: Protocol::Sasl, address, map: None });
        }
    }
    found.sort_by(|one, other| one.at.cmp(&other.at));
    found
}

/// Whether Postfix reaches `entry` by `reference`.
fn reaches(reference: &Reference, entry: &Entry<'_>, postfix: &Postfix) -> bool {
    if reference.protocol != entry.protocol || reference.map.as_ref().is_some_and(|map| map != entry.name) {
        return false;
    }
    match postfix.service_at(&reference.address).map(|service| (service, service.client())) {
        Some((_, Some(client))) => {
            client.protocol == Some(entry.protocol) && client.entry.is_none_or(|name| name == entry.name)
        }
        Some((_, None)) => false,
        None => is_listener(reference, entry, postfix),
    }
}

/// Whether one of the listeners of `entry` is at the address that `reference` names.
fn is_listener(reference: &Reference, entry: &Entry<'_>, postfix: &Postfix) -> bool {
    let queue = postfix.queue_directory();
    entry.listeners.iter().any(|endpoint| match (endpoint, reference.address.split_once(':')) {
        (Endpoint::Unix(socket), Some(("unix", path))) => socket.path == queue.join(path),
        (Endpoint::Tcp { address, port, .. }, Some(("inet", place))) => {
            let (host, number) = place.rsplit_once(':').unwrap_or(("localhost", place));
            let host = host.trim_matches(['[', ']']);
            let is_host = host.parse() == Ok(*address) || (host == "localhost" && address.is_loopback());
            number.parse() == Ok(*port) && (address.is_unspecified() || is_host)
        }
        _ => false,
    })
}

/// A reference must lead to a map that exists, or to a service that is there.
fn check_reference(findings: &mut Findings, entries: &[Entry<'_>], postfix: &Postfix, reference: &Reference) {
    let Reference { at, protocol, address, map } = reference;
    let of_protocol = || entries.iter().filter(|entry| entry.protocol == *protocol);
    let service = postfix.service_at(address);
    let is_ours = match service {
        Some(service) => service.client().is_some(),
        None => of_protocol().any(|entry| is_listener(reference, entry, postfix)),
    };
    if service.is_none()
        && let Some(name) = address.strip_prefix("unix:private/").filter(|name| name.starts_with("pfx"))
    {
        findings.error(format!("{at}: {address}: there is no service {name} in master.cf"));
    }
    let mut others = entries.iter().filter(|entry| entry.protocol != *protocol);
    if service.is_none() && !is_ours && others.any(|entry| is_listener(reference, entry, postfix)) {
        let protocol = kind(*protocol);
        findings.error(format!("{at}: {address}: the listener does not serve a {protocol}"));
    }
    if service.and_then(Service::client).is_some_and(|client| client.protocol != Some(*protocol)) {
        let protocol = kind(*protocol);
        findings.error(format!("{at}: {address}: the service does not serve a {protocol}"));
    }
    if let Some(map) = map.as_ref().filter(|map| is_ours && of_protocol().all(|entry| entry.name != *map)) {
        let names: Vec<_> = of_protocol().map(|entry| entry.name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        findings.error(format!("{at}: there is no map {map:?} in socket_maps; there are: {names}"));
    }
}

/// Nothing that pfxhttp answers may decide who relays.
fn check_relay(findings: &mut Findings, postfix: &Postfix, references: &[Reference], entries: &[Entry<'_>]) {
    let ours: Vec<&str> = references
        .iter()
        .filter(|reference| reference.protocol != Protocol::Sasl)
        .filter(|reference| entries.iter().any(|entry| reaches(reference, entry, postfix)))
        .map(|reference| reference.address.as_str())
        .collect();
    for smtpd in postfix.services.iter().filter(|service| service.is_smtpd()) {
        let at = |name: &str| match smtpd.overrides.contains_key(name) {
            true => format!("master.cf: {}: {name}", smtpd.name),
            false => format!("main.cf: {name}"),
        };
        let [relay, recipient] = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"];
        let opens = |name: &str| opens_relay(postfix.parameter_of(smtpd, name), &ours);
        let is_protected = |name: &str| {
            let value = postfix.parameter_of(smtpd, name);
            !opens(name) && protected_at(&words(value)).is_some()
        };
        let order = "pfxhttp is asked before reject_unauth_destination";
        if opens(relay) {
            let at = at(relay);
            findings.error(format!("{at}: {order}: an OK makes this machine an open relay"));
        }
        if opens(recipient) && is_protected(relay) {
            let at = at(recipient);
            findings
                .warning(format!("{at}: {order}: only {relay} keeps this machine from being an open relay"));
        } else if opens(recipient) {
            let at = at(recipient);
            findings.error(format!("{at}: {order}: an OK makes this machine an open relay"));
        }
    }
}

/// Parameters without which logins fail, or are not safe.
fn check_logins(
    findings: &mut Findings,
    config: &Configuration,
    postfix: &Postfix,
    references: &[Reference],
    entries: &[Entry<'_>],
) {
    let logins = references.iter().filter(|reference| reference.protocol == Protocol::Sasl);
    let ours: Vec<(&Reference, &Entry<'_>)> = logins
        .filter_map(|login| Some((login, entries.iter().find(|entry| reaches(login, entry, postfix))?)))
        .collect();
    if ours.is_empty() {
        return;
    }
    let smtpds: Vec<&Service> = postfix.services.iter().filter(|service| service.is_smtpd()).collect();
    let enabled: Vec<&&Service> =
        smtpds.iter().filter(|smtpd| is_yes(postfix.parameter_of(smtpd, "smtpd_sasl_auth_enable"))).collect();
    if enabled.is_empty() {
        findings.note("no smtpd of master.cf offers logins: smtpd_sasl_auth_enable is not yes".to_owned());
    }
    for smtpd in enabled {
        let name = &smtpd.name;
        let value = |parameter| postfix.parameter_of(smtpd, parameter);
        if value("smtpd_sasl_type") != "dovecot" {
            let kind = value("smtpd_sasl_type");
            findings.error(format!("master.cf: {name}: smtpd_sasl_type is {kind}; it must be dovecot"));
        }
        let has_tls =
            is_yes(value("smtpd_tls_wrappermode")) || value("smtpd_tls_security_level") == "encrypt";
        if !is_yes(value("smtpd_tls_auth_only")) && !has_tls {
            findings.warning(format!(
                "master.cf: {name}: passwords may be sent without TLS: smtpd_tls_auth_only is not yes"
            ));
        }
    }
    let takes = ours.iter().any(|(_, entry)| takes_tokens(config, entry.name));
    let limit = postfix.parameter("line_length_limit");
    if takes && limit.parse::<u64>().is_ok_and(|limit| limit < lines::LINE_LENGTH) {
        let due = lines::LINE_LENGTH;
        findings.warning(format!(
            "main.cf: line_length_limit is {limit}; set it to {due}: Postfix before 3.12 cuts longer tokens"
        ));
    }
}

fn is_yes(value: &str) -> bool {
    value.eq_ignore_ascii_case("yes")
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
