//! The lines of main.cf and master.cf for a configuration, as text with comments.

use std::fmt::Write;
use std::path::Path;

use super::{Access, Entry, arguments, client, entries, takes_tokens};
use crate::model::Protocol;
use crate::settings::Configuration;

/// How old a client for maps or policies may become, in seconds: an smtpd uses its connection up to 1000 s.
pub(super) const TIME_LIMIT: u64 = 3600;
/// The same for logins: an smtpd keeps this connection until it exits.
pub(super) const LOGIN_TIME_LIMIT: u64 = 10_800;
/// The `line_length_limit` that long tokens need.
pub(super) const LINE_LENGTH: u64 = 12_288;
/// The user of the clients in packages.
const USER: &str = "pfxhttp-client";

/// The text; sockets below `queue` are named relative to it.
pub(super) fn of(config: &Configuration, queue: &Path) -> String {
    let entries = entries(config);
    let of = |protocol| entries.iter().filter(move |entry| entry.protocol == protocol).collect::<Vec<_>>();
    let parts = [
        maps(&of(Protocol::Socketmap), queue),
        policies(&of(Protocol::Policy), queue),
        logins(config, &of(Protocol::Sasl), queue),
    ];
    let main: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("# main.cf\n\n{}\n# master.cf\n\n{}", main.join("\n"), master(config, &entries))
}

fn maps(entries: &[&Entry<'_>], queue: &Path) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = "# Maps. Use each table in the parameter that it is for, such as virtual_mailbox_maps.\n\
                    # virtual(8) and local(8) cannot use these tables for delivery.\n"
        .to_owned();
    for entry in entries {
        let _ = writeln!(text, "#   socketmap:{}:{}", entry.access.address(queue), entry.name);
    }
    text + &time_limits(entries, TIME_LIMIT)
}

fn policies(entries: &[&Entry<'_>], queue: &Path) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let asked: Vec<String> = entries
        .iter()
        .map(|entry| format!("  check_policy_service {}", entry.access.address(queue)))
        .collect();
    let text = "# Policies. Keep them after reject_unauth_destination: before it, an OK would make this\n\
                # machine an open relay. If you have such a list, add only check_policy_service to it.\n\
                smtpd_recipient_restrictions =\n  permit_mynetworks, permit_sasl_authenticated,\n  \
                reject_unauth_destination,\n";
    format!("{text}{}\n{}", asked.join(",\n"), time_limits(entries, TIME_LIMIT))
}

fn logins(config: &Configuration, entries: &[&Entry<'_>], queue: &Path) -> String {
    let Some((first, others)) = entries.split_first() else { return String::new() };
    let mut text =
        "# Logins. Enable them for submission, not on port 25: \"-o smtpd_sasl_auth_enable=yes\" below\n\
                    # submission and submissions in master.cf.\n"
            .to_owned();
    let path = first.access.sasl_path(queue);
    let _ = writeln!(text, "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {path}\nsmtpd_tls_auth_only = yes");
    for other in others {
        let (path, name) = (other.access.sasl_path(queue), other.name);
        let _ = writeln!(text, "# {name}: \"-o smtpd_sasl_path={path}\" below another smtpd in master.cf.");
    }
    if entries.iter().any(|entry| takes_tokens(config, entry.name)) {
        let _ = writeln!(text, "# Postfix before 3.12 cuts longer lines, and so long tokens.");
        let _ = writeln!(text, "line_length_limit = {LINE_LENGTH}");
    }
    text + &time_limits(entries, LOGIN_TIME_LIMIT)
}

/// The age at which spawn(8) ends the clients of each service.
fn time_limits(entries: &[&Entry<'_>], seconds: u64) -> String {
    services(entries.iter().copied()).iter().fold(String::new(), |mut text, (service, _)| {
        let _ = writeln!(text, "{service}_time_limit = {seconds}");
        text
    })
}

fn master(config: &Configuration, entries: &[Entry<'_>]) -> String {
    let services = services(entries.iter());
    if services.is_empty() {
        return "# No service is needed: the broker's listeners serve every entry.\n".to_owned();
    }
    let user = config.server.sockets.ipc.allow_users.first().map_or(USER, String::as_str);
    let client = client();
    let mut text = "# service       type  private unpriv  chroot  wakeup  maxproc command\n".to_owned();
    for (service, entry) in services {
        let _ = writeln!(text, "{service:<15} unix  -       n       n       -       0       spawn");
        let _ = writeln!(text, "  user={user} argv={} {}", client.display(), arguments(config, entry));
    }
    text
}

/// Each service of master.cf that is needed, once, with an entry that it serves.
fn services<'e, 'c>(entries: impl Iterator<Item = &'e Entry<'c>>) -> Vec<(&'e str, &'e Entry<'c>)>
where
    'c: 'e,
{
    let mut services: Vec<(&str, &Entry<'_>)> = Vec::new();
    for entry in entries {
        if let Access::Spawned(service) = &entry.access
            && services.iter().all(|(known, _)| known != service)
        {
            services.push((service, entry));
        }
    }
    services
}
