//! The words of Postfix' lists of restrictions: which policy services they ask, and in which order.

/// The words of a value, at commas and blanks. What braces hold is one word without them.
pub(super) fn words(value: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0_usize;
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if depth == 0 && (c == ',' || c.is_whitespace()) => words.push(String::new()),
            c => words.last_mut().unwrap_or(&mut String::new()).push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words.iter().map(|word| word.trim().to_owned()).collect()
}

/// What `check_policy_service` asks, as `unix:private/pfx-policy`.
pub(super) fn asks(words: &[String]) -> Vec<String> {
    let pairs = words.windows(2).filter(|pair| pair[0] == "check_policy_service");
    // In braces, options follow the address.
    pairs.filter_map(|pair| pair[1].split([',', ' ']).next().map(str::to_owned)).collect()
}

/// Whether the word refuses mail for other domains (postconf(5), smtpd_relay_restrictions).
pub(super) fn protects(word: &str) -> bool {
    matches!(word, "reject_unauth_destination" | "defer_unauth_destination" | "reject" | "defer")
}

/// Whether a policy of `ours` is asked before anything refuses mail for other domains.
pub(super) fn opens_relay(value: &str, ours: &[&str]) -> bool {
    let words = words(value);
    let protected = words.iter().position(|word| protects(word)).unwrap_or(words.len());
    asks(&words[..protected]).iter().any(|address| ours.contains(&address.as_str()))
}

#[cfg(test)]
mod tests {
    use super::{asks, opens_relay, words};

    #[test]
    fn words_are_told_apart() {
        for (value, expected) in [
            ("", &[][..]),
            ("a, b\tc", &["a", "b", "c"]),
            ("a { b, c = d } e", &["a", "b, c = d", "e"]),
            ("a {b", &["a", "b"]),
            ("} a", &["a"]),
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
    }

    #[test]
    fn a_policy_opens_a_relay_only_before_what_protects() {
        let list = "permit_mynetworks, check_policy_service { unix:private/p, timeout=5s }, reject_unauth_destination";
        assert_eq!(asks(&words(list)), ["unix:private/p"]);
        for (value, expected) in [
            (list, true),
            ("reject_unauth_destination, check_policy_service unix:private/p", false),
            ("defer_unauth_destination check_policy_service unix:private/p", false),
            ("check_policy_service unix:private/p", true),
            ("check_policy_service unix:private/q, reject", false),
            ("", false),
        ] {
            assert_eq!(opens_relay(value, &["unix:private/p"]), expected, "{value}");
        }
    }
}
