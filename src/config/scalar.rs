//! Single values: words of a list, numbers in a range, durations, file modes, socket paths, networks.
//!
//! Each function reports what is wrong at the value's place and returns nothing then; the caller
//! goes on with a default, which nobody sees, as a report with an error yields no configuration.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::keys::nearest;
use super::path::KeyPath;
use super::problem::Report;
use super::raw::{Count, Time, Word};

/// `sun_path` holds 108 bytes, the last one a NUL.
const MAX_SOCKET_PATH: usize = 107 - ".4194304".len();

/// The value that `text` names in `choices`.
pub(super) fn choice<T: Copy>(
    report: &mut Report<'_>,
    path: &KeyPath,
    text: &str,
    choices: &[(&'static str, T)],
) -> Option<T> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let problem = report.value(path, format!("must be one of: {}", names.join(", ")));
    if let Some(near) = nearest(text, names.iter().copied()) {
        problem.hint(format!("did you mean `{near}`?"));
    }
    None
}

/// A number within `range`.
pub(super) fn number(
    report: &mut Report<'_>,
    path: &KeyPath,
    count: Option<Count>,
    range: RangeInclusive<u64>,
) -> Option<u64> {
    let Count(number) = count?;
    if range.contains(&number) {
        return Some(number);
    }
    let message = match (*range.start(), *range.end()) {
        (least, u64::MAX) => format!("must be at least {least}"),
        (least, most) => format!("must be from {least} to {most}"),
    };
    report.value(path, message);
    None
}

/// A status code.
pub(super) fn status(report: &mut Report<'_>, path: &KeyPath, count: Option<Count>) -> Option<u16> {
    number(report, path, count, 100..=599).and_then(|code| u16::try_from(code).ok())
}

/// A duration as the Go program writes it (`500ms`, `1h30m`), within `range`.
pub(super) fn duration(
    report: &mut Report<'_>,
    path: &KeyPath,
    time: Option<&Time>,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let Time(Word(text)) = time?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let hint = if text.len() <= 9 { format!("write {text}s") } else { "write 30s".to_owned() };
        report.value(path, "a duration needs a unit").hint(hint);
        return None;
    }
    let duration = is_go_like(text).then(|| humantime::parse_duration(text).ok()).flatten();
    let Some(duration) = duration else {
        let hint = "whole numbers with units, as 500ms, 30s, 5m, 1h30m";
        report.value(path, "not a duration").hint(hint);
        return None;
    };
    if range.contains(&duration) {
        return Some(duration);
    }
    let [least, most] = [*range.start(), *range.end()].map(humantime::format_duration);
    report.value(path, format!("must be from {least} to {most}"));
    None
}

/// humantime also reads months, blanks and fractions, which the Go program or its files do not know.
fn is_go_like(text: &str) -> bool {
    let is_unit = |unit: &str| matches!(unit, "" | "ns" | "us" | "µs" | "ms" | "s" | "m" | "h");
    text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == 'µ')
        && text.split(|c: char| c.is_ascii_digit()).all(is_unit)
}

/// The mode of a unix socket; 0660 by default.
pub(super) fn mode(report: &mut Report<'_>, path: &KeyPath, word: Option<&Word>) -> u32 {
    const DEFAULT: u32 = 0o660;
    let Some(Word(text)) = word else { return DEFAULT };
    let octal = |digits: &str| {
        let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o777)
    };
    // YAML readers do not agree on what 0660 without quotes is, and 0o660 is 432 by now.
    if report.places().is_plain(path) {
        let meant = text.strip_prefix('0').and_then(octal).unwrap_or(DEFAULT);
        report.value(path, "a mode must stand in quotes").hint(format!("as \"{meant:04o}\""));
        return DEFAULT;
    }
    match text.strip_prefix('0').and_then(octal) {
        Some(mode) => mode,
        None => {
            let problem = report.value(path, "a mode is octal and begins with 0");
            problem.hint("as \"0660\": the owner and the group may connect");
            DEFAULT
        }
    }
}

/// The path of a unix socket.
pub(super) fn socket_path(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<PathBuf> {
    let message = if text.chars().any(char::is_control) {
        "must not hold control characters"
    } else if !text.starts_with('/') {
        "must be an absolute path"
    } else if text.len() > MAX_SOCKET_PATH {
        "a socket's path has at most 99 bytes"
    } else if text.ends_with('/') {
        "must name a socket, not a directory"
    } else {
        return Some(PathBuf::from(text));
    };
    report.value(path, message);
    None
}

/// A network in CIDR, or one address; IPv6 may stand in brackets, as in Postfix's `mynetworks`.
pub(super) fn network(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<IpNet> {
    let Some(network) = any_network(text) else {
        let problem = report.value(path, "must be a network or an address");
        problem.hint("as \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"");
        return None;
    };
    // Addresses are compared as IPv4 where they can be.
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let mapped = mapped.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok());
    let (message, meant) = match mapped {
        Some(mapped) => ("an IPv4 network is written as such", mapped.trunc()),
        None if network == network.trunc() => return Some(network),
        None => ("the address has bits beyond its network", network.trunc()),
    };
    report.value(path, message).hint(format!("write \"{meant}\""));
    None
}

fn any_network(text: &str) -> Option<IpNet> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().map(IpAddr::V6).ok()?,
        None => address.parse().ok()?,
    };
    match prefix {
        None => Some(IpNet::from(address)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            IpNet::new(address, digits.parse().ok()?).ok()
        }
        Some(_) => None,
    }
}

/// A user or group: a name, or a number.
pub(super) fn account(report: &mut Report<'_>, path: &KeyPath, word: Option<Word>) -> Option<String> {
    let Word(name) = word?;
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == ':') {
        report.value(path, "must be a name or a number");
        return None;
    }
    Some(name)
}
