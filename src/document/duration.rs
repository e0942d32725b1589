//! Durations in the syntax of Go (time.ParseDuration), without signs and without a bare 0: `1h30m`, `1.5s`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::refusal::Refusal;

/// The units and their nanoseconds, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a duration within `range`; else says what is wrong with it.
pub(super) fn within(range: &RangeInclusive<Duration>, text: &str) -> Result<Duration, Refusal> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let hint = if text.len() <= 9 { format!("write {text}s") } else { "write 30s".to_owned() };
        return Err(Refusal::from("a duration needs a unit").hint(hint));
    }
    let wrong = || Refusal::from("not a duration").hint("numbers with units, as 500ms, 1.5s, 30s, 5m, 1h30m");
    let duration = parse(text).ok_or_else(wrong)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let [least, most] = [*range.start(), *range.end()].map(humantime::format_duration);
    Err(format!("must be from {least} to {most}").into())
}

/// Reads a duration. What is left of a nanosecond is cut off.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        // The micro sign, and the Greek letter.
        let unit = if matches!(unit, "\u{b5}s" | "\u{3bc}s") { "us" } else { unit };
        let (_, unit) = *UNITS.iter().find(|(name, _)| *name == unit)?;
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

/// Writes a duration as [`parse`] reads it.
pub(super) fn write(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        if rest >= nanos {
            text += &format!("{}{unit}", rest / nanos);
            rest %= nanos;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (text, written) in
            [("90s", "1m30s"), ("1.5s", "1s500ms"), ("0s", "0s"), ("1h", "1h"), ("2500us", "2ms500us")]
        {
            let duration = parse(text).expect(text);
            assert_eq!(write(duration), written);
            assert_eq!(parse(written), Some(duration));
        }
    }
}
