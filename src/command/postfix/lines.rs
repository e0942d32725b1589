//! The lines of main.cf and master.cf for a configuration, as text with comments. A comment names each entry
//! that they cannot hold.

use std::fmt::Write;
use std::path::Path;

use super::names::{list_item, option, value};
use super::{Access, Entry, command, entries, takes_tokens};
use crate::model::Protocol;
use crate::settings::Configuration;

/// How old a client for maps or policies may become, in seconds: an smtpd uses its connection up to 1000 s.
pub(super) const TIME_LIMIT: u64 = 3600;
/// The same for logins: an smtpd keeps this connection until it exits.
pub(super) const LOGIN_TIME_LIMIT: u64 = 10_800;
/// The `line_length_limit` that long tokens need.
pub(super) const LINE_LENGTH: u64 = 12_288;

/// The text; sockets below `queue` are named relative to it.
pub(super) fn of(config: &Configuration, queue: &Path) -> String {
    let (entries, others): (Vec<_>, Vec<_>) =
        entries(config).into_iter().partition(|entry| has_notation(config, entry, queue));
    let of = |protocol| entries.iter().filter(move |entry| entry.protocol == protocol).collect::<Vec<_>>();
    let parts = [
        impossible(&others),
        maps(&of(Protocol::Socketmap), queue),
        policies(&of(Protocol::Policy), queue),
        logins(config, &of(Protocol::Sasl), queue),
    ];
    let main: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("# main.cf\n\n{}\n# master.cf\n\n{}", main.join("\n"), master(config, &entries))
}

/// Whether main.cf and master.cf can hold what Postfix needs for `entry`.
fn has_notation(config: &Configuration, entry: &Entry<'_>, queue: &Path) -> bool {
    let in_main = match entry.protocol {
        Protocol::Socketmap => table(entry, queue),
        Protocol::Policy => list_item(&entry.access.address(queue)),
        Protocol::Sasl => option("smtpd_sasl_path", &entry.access.sasl_path(queue)),
    };
    let is_spawned = matches!(entry.access, Access::Spawned(_));
    in_main.is_some() && (!is_spawned || command(config, entry).is_some())
}

fn impossible(entries: &[Entry<'_>]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let text =
        "# Postfix cannot use these entries: its files cannot hold their names, or the paths of their\n\
                # sockets. Rename them: without commas and blanks, and with braces in pairs.\n"
            .to_owned();
    entries.iter().fold(text, |mut text, entry| {
        let _ = writeln!(text, "#   {}: {}", entry.protocol.section(), entry.name);
        text
    })
}

fn table(entry: &Entry<'_>, queue: &Path) -> Option<String> {
    list_item(&format!("socketmap:{}:{}", entry.access.address(queue), entry.name))
}

fn maps(entries: &[&Entry<'_>], queue: &Path) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = "# Maps. Use each table in the parameter that it is for, such as virtual_mailbox_maps.\n\
                    # virtual(8) and local(8) cannot use these tables for delivery.\n"
        .to_owned();
    for table in entries.iter().filter_map(|entry| table(entry, queue)) {
        let _ = writeln!(text, "#   {table}");
    }
    text + &time_limits(entries, TIME_LIMIT)
}

fn policies(entries: &[&Entry<'_>], queue: &Path) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let text = "# Policies. Keep them after reject_unauth_destination: before it, an OK would make this\n\
                # machine an open relay. If you have such a list, add only check_policy_service to it.\n\
                smtpd_recipient_restrictions =\n  permit_mynetworks, permit_sasl_authenticated,\n  \
                reject_unauth_destination,\n";
    let addresses = entries.iter().filter_map(|entry| list_item(&entry.access.address(queue)));
    let asked: Vec<String> = addresses.map(|address| format!("  check_policy_service {address}")).collect();
    format!("{text}{}\n{}", asked.join(",\n"), time_limits(entries, TIME_LIMIT))
}

fn logins(config: &Configuration, entries: &[&Entry<'_>], queue: &Path) -> String {
    let Some((first, others)) = entries.split_first() else { return String::new() };
    let mut text =
        "# Logins. Enable them for submission, not on port 25: \"-o smtpd_sasl_auth_enable=yes\" below\n\
                    # submission and submissions in master.cf.\n"
            .to_owned();
    let path = value(&first.access.sasl_path(queue));
    let _ = writeln!(text, "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {path}\nsmtpd_tls_auth_only = yes");
    for other in others {
        let name = other.name;
        if let Some(option) = option("smtpd_sasl_path", &other.access.sasl_path(queue)) {
            let _ = writeln!(text, "# {name}: \"{option}\" below another smtpd in master.cf.");
        }
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
    let mut text = "# service       type  private unpriv  chroot  wakeup  maxproc command\n".to_owned();
    for (service, entry) in services {
        if let Some(command) = command(config, entry) {
            let _ = writeln!(text, "{service:<15} unix  -       n       n       -       0       spawn");
            let _ = writeln!(text, "  {command}");
        }
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
