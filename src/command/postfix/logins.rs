//! Parameters without which logins fail, or are not safe.

use super::findings::Findings;
use super::postconf::{Postfix, Service};
use super::references::Reference;
use super::restrictions::words;
use super::{Entry, lines, takes_tokens};
use crate::settings::Configuration;

/// Checks `asked`: the places that name an entry for logins, and the entry.
pub(super) fn check_logins(
    findings: &mut Findings,
    config: &Configuration,
    postfix: &Postfix,
    asked: &[(&Reference<'_>, &Entry<'_>)],
) {
    if asked.is_empty() {
        return;
    }
    let is_enabled = |smtpd: &&Service| is_yes(postfix.parameter_of(smtpd, "smtpd_sasl_auth_enable"));
    let enabled: Vec<&Service> = postfix.smtpds().filter(is_enabled).collect();
    if enabled.is_empty() {
        findings.note("no smtpd of master.cf offers logins: smtpd_sasl_auth_enable is not yes".to_owned());
    }
    for smtpd in enabled {
        let kind = postfix.parameter_of(smtpd, "smtpd_sasl_type");
        if kind != "dovecot" {
            let name = &smtpd.name;
            findings.error(format!("master.cf: {name}: smtpd_sasl_type is {kind}; it must be dovecot"));
        }
        check_tls(findings, postfix, smtpd);
    }
    let takes = asked.iter().any(|(_, entry)| takes_tokens(config, entry.name));
    let limit = postfix.parameter("line_length_limit");
    if takes && limit.parse::<u64>().is_ok_and(|limit| limit < lines::LINE_LENGTH) {
        let due = lines::LINE_LENGTH;
        findings.warning(format!(
            "main.cf: line_length_limit is {limit}; set it to {due}: Postfix before 3.12 cuts longer tokens"
        ));
    }
}

fn check_tls(findings: &mut Findings, postfix: &Postfix, smtpd: &Service) {
    const CERTIFICATES: [&str; 4] =
        ["smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_eccert_file", "smtpd_tls_dcert_file"];
    let name = &smtpd.name;
    let value = |parameter| postfix.parameter_of(smtpd, parameter);
    let level = value("smtpd_tls_security_level");
    let needs_tls =
        is_yes(value("smtpd_tls_wrappermode")) || level == "encrypt" || is_yes(value("smtpd_enforce_tls"));
    let offers_tls = needs_tls || level == "may" || is_yes(value("smtpd_use_tls"));
    let only_with_tls = is_yes(value("smtpd_tls_auth_only"));
    let has_plain = words(value("smtpd_sasl_security_options")).iter().all(|option| option != "noplaintext");
    if !only_with_tls && !needs_tls && has_plain {
        findings.warning(format!(
            "master.cf: {name}: passwords may be sent without TLS: smtpd_tls_auth_only is not yes"
        ));
    }
    let without = if only_with_tls || needs_tls { ", and so no logins" } else { "" };
    if CERTIFICATES.iter().all(|parameter| value(parameter).is_empty()) {
        findings.warning(format!(
            "master.cf: {name}: there is no certificate (smtpd_tls_chain_files): smtpd offers no TLS{without}"
        ));
    } else if !offers_tls && only_with_tls {
        let found = if level.is_empty() { "not set" } else { level };
        findings.warning(format!(
            "master.cf: {name}: smtpd_tls_security_level is {found}: smtpd offers no TLS{without}"
        ));
    }
}

fn is_yes(value: &str) -> bool {
    value.eq_ignore_ascii_case("yes")
}
