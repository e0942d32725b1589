//! Who may relay: nothing that pfxhttp answers may decide it, and smtpd(8) must have a restriction that
//! refuses mail for other domains.

use super::Entry;
use super::findings::Findings;
use super::postconf::{Postfix, Service};
use super::references::{Reference, reaches};
use super::restrictions::{is_complete, opens_relay, protected_at};
use crate::model::Protocol;

const RELAY: &str = "smtpd_relay_restrictions";
const RECIPIENT: &str = "smtpd_recipient_restrictions";

pub(super) fn check_relay(
    findings: &mut Findings,
    postfix: &Postfix,
    references: &[Reference<'_>],
    entries: &[Entry<'_>],
) {
    let ours: Vec<&str> = references
        .iter()
        .filter(|reference| reference.protocol != Protocol::Sasl)
        .filter(|reference| entries.iter().any(|entry| reaches(reference, entry, postfix)))
        .map(|reference| reference.address.as_str())
        .collect();
    for smtpd in postfix.smtpds() {
        check_smtpd(findings, postfix, smtpd, &ours);
    }
}

fn check_smtpd(findings: &mut Findings, postfix: &Postfix, smtpd: &Service, ours: &[&str]) {
    let [relay, recipient] = [RELAY, RECIPIENT].map(|name| postfix.restrictions(smtpd, name));
    if !is_complete(&relay) && !is_complete(&recipient) {
        let name = &smtpd.name;
        findings.error(format!(
            "master.cf: {name}: smtpd(8) does not start: neither {RELAY} nor {RECIPIENT} has reject_unauth_destination"
        ));
    }
    // Only programs of this machine reach such a one, as those of a content filter.
    if is_loopback(&smtpd.name) {
        return;
    }
    let order = "pfxhttp is asked before reject_unauth_destination";
    let at = |name| Postfix::place_of(smtpd, name);
    let opens = opens_relay(&relay, ours);
    if opens {
        let at = at(RELAY);
        findings.error(format!("{at}: {order}: an OK makes this machine an open relay"));
    }
    if opens_relay(&recipient, ours) {
        let at = at(RECIPIENT);
        if !opens && protected_at(&relay).is_some() {
            findings
                .warning(format!("{at}: {order}: only {RELAY} keeps this machine from being an open relay"));
        } else {
            findings.error(format!("{at}: {order}: an OK makes this machine an open relay"));
        }
    }
}

/// Whether a service with this name, as `127.0.0.1:10025`, listens on a loopback address only.
fn is_loopback(name: &str) -> bool {
    let Some((host, _)) = name.rsplit_once(':') else { return false };
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
