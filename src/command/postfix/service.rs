//! Compares the services of master.cf that start `pfxhttp-client` with a configuration.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::findings::Findings;
use super::postconf::{Postfix, Service, seconds};
use super::{lines, takes_tokens};
use crate::model::Protocol;
use crate::server::rights;
use crate::server::settings::DEFAULT_IPC;
use crate::settings::Configuration;

/// How long Postfix keeps a connection that it uses, in seconds.
const LONGEST_USE: u64 = 1000;

/// Checks a service of master.cf that starts the client.
pub(super) fn check_service(
    findings: &mut Findings,
    config: &Configuration,
    postfix: &Postfix,
    service: &Service,
) {
    let Some(client) = service.client() else { return };
    let at = format!("master.cf: {}", service.name);
    let mode = std::fs::metadata(client.program).map(|found| found.permissions().mode());
    if !mode.is_ok_and(|mode| mode & 0o111 != 0) {
        findings.error(format!("{at}: {} is not a program", client.program));
    }
    if service.is_in_chroot {
        findings.error(format!("{at}: chroot must be n: spawn(8) would look for the program in the jail"));
    }
    if service.is_unprivileged {
        findings.error(format!("{at}: unpriv must be n: spawn(8) must be root to change to user="));
    }
    if service.maxproc != "0" {
        let maxproc = &service.maxproc;
        findings.warning(format!(
            "{at}: maxproc is {maxproc}; set it to 0: beyond a limit smtpd waits for a process that does not come"
        ));
    }
    check_user(findings, config, &at, service);
    let (socket, due) = (client.socket.unwrap_or(DEFAULT_IPC), &config.server.sockets.ipc.socket.path);
    if Path::new(socket) != due {
        let due = due.display();
        findings.error(format!("{at}: the client connects to {socket}, but server.ipc.path is {due}"));
    }
    let names: Vec<&str> = match client.protocol {
        None => {
            findings.error(format!("{at}: the client needs one of: socketmap, policy NAME, sasl NAME"));
            return;
        }
        Some(Protocol::Socketmap) => Vec::new(),
        Some(Protocol::Policy) => config.policies.iter().map(|entry| entry.name.as_str()).collect(),
        Some(Protocol::Sasl) => config.logins.iter().map(|entry| entry.name.as_str()).collect(),
    };
    if let (Some(protocol), Some(name)) = (client.protocol, client.entry) {
        if names.contains(&name) {
            check_mechanisms(findings, config, &at, name, client.mechanisms);
        } else {
            let section = protocol.section();
            findings.error(format!("{at}: there is no entry {name:?} in {section}"));
        }
    }
    check_time_limit(findings, postfix, service, client.protocol);
}

fn check_user(findings: &mut Findings, config: &Configuration, at: &str, service: &Service) {
    let user = service.command.iter().find_map(|word| word.strip_prefix("user="));
    let Some(account) = user else {
        findings.error(format!("{at}: user= is missing"));
        return;
    };
    let (user, group) = account.split_once(':').map_or((account, None), |(user, group)| (user, Some(group)));
    let sockets = &config.server.sockets;
    let allowed = &sockets.ipc.allow_users;
    if matches!(user, "root" | "postfix") {
        findings.error(format!("{at}: spawn(8) refuses user={user}"));
        return;
    }
    if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == user) {
        findings.error(format!("{at}: user={user} is not in server.ipc.allow_users"));
    }
    if let Some(obstacle) = rights::closed_to_spawned(sockets, user, group) {
        findings.error(format!("{at}: user={account}: {obstacle}"));
    }
}

/// What smtpd offers is what `--mechanisms` lists.
fn check_mechanisms(
    findings: &mut Findings,
    config: &Configuration,
    at: &str,
    name: &str,
    mechanisms: Option<&str>,
) {
    let Some(mechanisms) = mechanisms else { return };
    let offers = mechanisms.split(',').any(|one| matches!(one, "OAUTHBEARER" | "XOAUTH2"));
    match (offers, takes_tokens(config, name)) {
        (false, true) => findings.note(format!(
            "{at}: {name:?} takes tokens, but --mechanisms has neither OAUTHBEARER nor XOAUTH2"
        )),
        (true, false) => findings.error(format!(
            "{at}: --mechanisms offers tokens, but {name:?} has no sasl_oidc_auth: each such login fails"
        )),
        _ => {}
    }
}

/// spawn(8) must not end a client that smtpd still uses.
fn check_time_limit(
    findings: &mut Findings,
    postfix: &Postfix,
    service: &Service,
    protocol: Option<Protocol>,
) {
    let due = if protocol == Some(Protocol::Sasl) { lines::LOGIN_TIME_LIMIT } else { lines::TIME_LIMIT };
    let name = format!("{}_time_limit", service.name);
    let value = postfix.parameter_of(service, &name);
    let is_short = |limit: u64| match protocol {
        Some(Protocol::Sasl) => limit < due,
        Some(Protocol::Policy) => limit <= longest_use(postfix),
        _ => limit <= LONGEST_USE,
    };
    if seconds(value).is_some_and(is_short) {
        let due = due.max(longest_use(postfix) + 1);
        findings
            .warning(format!("main.cf: {name} is {value}; set it to {due}: spawn(8) ends busy clients then"));
    }
}

/// How long an smtpd may keep its connection to a policy service, in seconds.
fn longest_use(postfix: &Postfix) -> u64 {
    seconds(postfix.parameter("smtpd_policy_service_max_ttl")).unwrap_or(LONGEST_USE)
}
