//! Compares the services of master.cf that start `pfxhttp-client` with a configuration.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::findings::Findings;
use super::postconf::{Postfix, Service};
use super::{lines, takes_tokens};
use crate::model::Protocol;
use crate::server::settings::DEFAULT_IPC;
use crate::settings::Configuration;

/// A service of master.cf that starts the client.
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
        if !names.contains(&name) {
            let section = protocol.section();
            findings.error(format!("{at}: there is no entry {name:?} in {section}"));
        }
        check_mechanisms(findings, config, &at, name, client.mechanisms);
    }
    check_time_limit(findings, postfix, service, client.protocol);
}

fn check_user(findings: &mut Findings, config: &Configuration, at: &str, service: &Service) {
    let user = service.command.iter().find_map(|word| word.strip_prefix("user="));
    let user = user.map(|user| user.split(':').next().unwrap_or(user));
    let allowed = &config.server.sockets.ipc.allow_users;
    match user {
        None => findings.error(format!("{at}: user= is missing")),
        Some(user @ ("root" | "postfix")) => {
            findings.error(format!("{at}: spawn(8) refuses user={user}"));
        }
        Some(user) if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == user) => {
            findings.error(format!("{at}: user={user} is not in server.ipc.allow_users"));
        }
        Some(_) => {}
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
    // An smtpd keeps the connection for up to 1000 s.
    if seconds(value).is_some_and(|limit| limit <= 1000 || (due > limit && protocol == Some(Protocol::Sasl)))
    {
        findings
            .warning(format!("main.cf: {name} is {value}; set it to {due}: spawn(8) ends busy clients then"));
    }
}

/// A time of Postfix (postconf(5)): seconds unless a unit follows.
fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &value[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
