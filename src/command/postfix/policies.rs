//! Parameters of Postfix with which an outage of a policy service costs more than a delay.

use super::Entry;
use super::findings::Findings;
use super::postconf::{Postfix, Service, seconds};
use super::references::Reference;
use crate::settings::Configuration;

/// Checks `asked`: the places that name a policy service, and its entry.
pub(super) fn check_policies(
    findings: &mut Findings,
    config: &Configuration,
    postfix: &Postfix,
    asked: &[(&Reference<'_>, &Entry<'_>)],
) {
    for (reference, entry) in asked {
        let all = postfix.smtpds().filter(|_| reference.service.is_none());
        for smtpd in all.chain(reference.service) {
            let setting = |name: &str| setting(postfix, reference, smtpd, name);
            let (at, value) = setting("try_limit");
            if value.parse().is_ok_and(|limit: u32| limit < 2) {
                findings.warning(format!(
                    "{at} is {value}; set it to 2: the second try replaces a connection that has ended while idle"
                ));
            }
            let (at, value) = setting("default_action");
            if rejects(value) {
                findings.error(format!("{at} is {value}: an outage rejects mail; the default delays it"));
            }
            let (at, value) = setting("timeout");
            let timeout = config.policies.iter().find(|policy| policy.name == entry.name);
            let timeout = timeout.map_or(0, |policy| policy.timeout.as_secs());
            if seconds(value).is_some_and(|limit| limit <= timeout) {
                let name = entry.name;
                findings.warning(format!(
                    "{at} is {value}, but {name:?} may take {timeout}s (timeout): Postfix gives up first"
                ));
            }
        }
    }
}

/// An option of `check_policy_service`, else the parameter: where it stands, and its value.
fn setting<'v>(
    postfix: &'v Postfix,
    reference: &'v Reference<'_>,
    smtpd: &'v Service,
    name: &str,
) -> (String, &'v str) {
    if let Some((_, value)) = reference.options.iter().find(|(option, _)| option == name) {
        return (format!("{}: {name}", reference.at), value);
    }
    let name = format!("smtpd_policy_service_{name}");
    (Postfix::place_of(smtpd, &name), postfix.parameter_of(smtpd, &name))
}

/// Whether this action of access(5) rejects or loses mail.
fn rejects(action: &str) -> bool {
    let word = action.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let is_code = word.len() == 3 && word.parse::<u16>().is_ok_and(|code| (500..600).contains(&code));
    is_code || word == "discard" || word == "reject" || word.starts_with("reject_")
}

#[cfg(test)]
mod tests {
    use super::rejects;

    #[test]
    fn actions_that_reject_are_known() {
        for action in ["REJECT", "reject no", "550 5.7.1 no", "DISCARD", "reject_unauth_destination"] {
            assert!(rejects(action), "{action}");
        }
        for action in ["", "DUNNO", "451 4.3.5 Server configuration problem", "DEFER_IF_PERMIT x", "5", "OK"]
        {
            assert!(!rejects(action), "{action}");
        }
    }
}
