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

/// A duration as the Go program writes it (`500ms`, `1.5s`, `1h30m`), within `range`.
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
    let Some(duration) = go_duration(text) else {
        let hint = "numbers with units, as 500ms, 1.5s, 30s, 5m, 1h30m";
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

/// Reads what Go's time.ParseDuration does, but for signs and a bare 0. What is left of a
/// nanosecond is cut off.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(in_units(number, unit)?)?;
        rest = behind;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(nanos))
}

/// A number, perhaps with a fraction, of a unit.
fn in_units(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than a unit has nanoseconds change nothing.
    let (mut part, mut scale) = (0, unit);
    for digit in fraction.bytes().take(13) {
        part += u64::from(digit - b'0') * scale / 10;
        scale /= 10;
    }
    whole.checked_mul(unit)?.checked_add(part)
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
