//! Numbers as people read them, in few characters: for the table of `status` and for the status page.

/// A time in seconds, by its largest unit: `12s`, `3m`, `4h`, `5d`.
#[must_use]
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time in seconds, by its two largest units: `12s`, `3m 5s`, `4h 12m`, `5d 3h`.
#[must_use]
pub fn lasted(seconds: u64) -> String {
    let rest = match seconds {
        0..60 => 0,
        60..3600 => seconds % 60,
        3600..86_400 => seconds % 3600,
        _ => seconds % 86_400,
    };
    match (seconds, rest) {
        (0..60, _) => age(seconds),
        (60..3600, rest) => format!("{} {rest}s", age(seconds)),
        (3600..86_400, rest) => format!("{} {}m", age(seconds), rest / 60),
        (_, rest) => format!("{} {}h", age(seconds), rest / 3600),
    }
}

/// A rate, or a mean: `0`, `0.02`, `3.4`, `120`, `12.3k`.
#[must_use]
pub fn rate(number: f64) -> String {
    match number {
        n if n < 0.005 => "0".to_owned(),
        n if n < 0.095 => format!("{n:.2}"),
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 9999.5 => format!("{n:.0}"),
        n => format!("{:.1}k", n / 1000.0),
    }
}

/// A count: `99999`, `123k`, `45M`.
#[must_use]
pub fn count(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..100_000_000 => format!("{}k", number / 1000),
        _ => format!("{}M", number / 1_000_000),
    }
}

/// A time in milliseconds: `0.4ms`, `12ms`, `1.5s`. Beyond ten seconds it is not known more exactly.
#[must_use]
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 9.95 => format!("{ms:.1}ms"),
        ms if ms < 999.5 => format!("{ms:.0}ms"),
        ms if ms < 9950.0 => format!("{:.1}s", ms / 1000.0),
        _ => ">10s".to_owned(),
    }
}

/// Bytes: `512 B`, `3.1 KiB`, `32 MiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    let (mut size, mut unit) = (number as f64, "B");
    for larger in ["KiB", "MiB", "GiB"] {
        if size < 1023.5 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" || size >= 9.95 || size.fract() == 0.0 {
        return format!("{size:.0} {unit}");
    }
    format!("{size:.1} {unit}")
}

/// A number and its noun: `1 entry`, `2 entries`.
#[must_use]
pub fn of(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_characters_say_it() {
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"]);
        let lasted = [5, 65, 3600, 15_120, 90_061].map(lasted);
        assert_eq!(lasted, ["5s", "1m 5s", "1h 0m", "4h 12m", "1d 1h"]);
        let rates = [0.0, 0.017, 0.33, 9.94, 9.96, 120.4, 9999.6, 12_345.0].map(rate);
        assert_eq!(rates, ["0", "0.02", "0.3", "9.9", "10", "120", "10.0k", "12.3k"]);
        assert_eq!([7, 99_999, 123_456, 250_000_000].map(count), ["7", "99999", "123k", "250M"]);
        let times = [0.04, 0.25, 9.94, 9.96, 999.4, 999.6, 1500.0, 10_000.0].map(millis);
        assert_eq!(times, ["0.0ms", "0.2ms", "9.9ms", "10ms", "999ms", "1.0s", "1.5s", ">10s"]);
        let sizes = [0, 1023, 1024, 3200, 33_554_432, 5_368_709_120].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "3.1 KiB", "32 MiB", "5 GiB"]);
        assert_eq!(of(1, "entry", "entries") + &of(0, " entry", " entries"), "1 entry0  entries");
    }
}
