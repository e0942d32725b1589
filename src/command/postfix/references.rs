//! The places in Postfix' configuration that name something to connect to, and what they reach.

use super::Entry;
use super::postconf::{Postfix, Service};
use super::restrictions::{asks, socketmaps, words};
use crate::model::Protocol;
use crate::server::settings::Endpoint;

/// These parameters repeat the values of others by default.
const REPEATING: [&str; 6] = [
    "address_verify_sender_dependent_default_transport_maps",
    "address_verify_sender_dependent_relayhost_maps",
    "address_verify_transport_maps",
    "local_recipient_maps",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
];

/// A place that names something to connect to.
pub(super) struct Reference<'p> {
    /// The parameter, with the service if it stands in master.cf.
    pub(super) at: String,
    /// The service, if it stands in master.cf.
    pub(super) service: Option<&'p Service>,
    pub(super) protocol: Protocol,
    /// As `unix:private/pfx-map`.
    pub(super) address: String,
    /// The map.
    pub(super) map: Option<String>,
    /// The options of one `check_policy_service`.
    pub(super) options: Vec<(String, String)>,
}

impl Reference<'_> {
    fn target(&self) -> (Protocol, &str, Option<&str>) {
        (self.protocol, &self.address, self.map.as_deref())
    }
}

/// What Postfix connects to for maps, policies and logins, sorted by place.
pub(super) fn references(postfix: &Postfix) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for (name, value) in postfix.parameters() {
        add(&mut found, None, name, value);
    }
    let is_repeating = |reference: &Reference<'_>| {
        reference.at.strip_prefix("main.cf: ").is_some_and(|name| REPEATING.contains(&name))
    };
    let (repeating, mut found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_repeating);
    let is_new = |one: &Reference<'_>| found.iter().all(|known| known.target() != one.target());
    let own: Vec<_> = repeating.into_iter().filter(is_new).collect();
    found.extend(own);
    for service in &postfix.services {
        for (name, value) in &service.overrides {
            add(&mut found, Some(service), name, value);
        }
    }
    found.sort_by(|one, other| one.at.cmp(&other.at));
    found
}

fn add<'p>(found: &mut Vec<Reference<'p>>, service: Option<&'p Service>, name: &str, value: &str) {
    // These name what other parameters use.
    if matches!(name, "proxy_read_maps" | "proxy_write_maps") {
        return;
    }
    let at = service
        .map_or_else(|| format!("main.cf: {name}"), |service| format!("master.cf: {}: {name}", service.name));
    let reference = |protocol, address, map| {
        let (at, options) = (at.clone(), Vec::new());
        Reference { at, service, protocol, address, map, options }
    };
    found.extend(
        socketmaps(value)
            .into_iter()
            .map(|(address, map)| reference(Protocol::Socketmap, address, Some(map))),
    );
    found.extend(asks(&words(value)).into_iter().map(|asked| Reference {
        options: asked.options,
        ..reference(Protocol::Policy, asked.address, None)
    }));
    if name == "smtpd_sasl_path" && !value.is_empty() {
        let address = if value.starts_with("inet:") { value.to_owned() } else { format!("unix:{value}") };
        found.push(reference(Protocol::Sasl, address, None));
    }
}

/// Whether Postfix reaches `entry` by `reference`.
pub(super) fn reaches(reference: &Reference<'_>, entry: &Entry<'_>, postfix: &Postfix) -> bool {
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

/// The references to entries of `protocol`, with the entry.
pub(super) fn reached<'r, 'c>(
    references: &'r [Reference<'r>],
    entries: &'r [Entry<'c>],
    postfix: &Postfix,
    protocol: Protocol,
) -> Vec<(&'r Reference<'r>, &'r Entry<'c>)> {
    let references = references.iter().filter(|reference| reference.protocol == protocol);
    let entry = |reference: &Reference<'_>| entries.iter().find(|entry| reaches(reference, entry, postfix));
    references.filter_map(|reference| Some((reference, entry(reference)?))).collect()
}

/// Whether one of the listeners of `entry` is at the address that `reference` names.
pub(super) fn is_listener(reference: &Reference<'_>, entry: &Entry<'_>, postfix: &Postfix) -> bool {
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
