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
    let pairs = words.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case("check_policy_service"));
    // In braces, options follow the address.
    pairs.filter_map(|pair| pair[1].split([',', ' ']).next().map(str::to_owned)).collect()
}

/// The tables of pfxhttp's protocol in a value: addresses and maps. They may stand in braces of other tables.
pub(super) fn socketmaps(value: &str) -> Vec<(String, String)> {
    let tables = value.match_indices("socketmap:").map(|(at, start)| &value[at + start.len()..]);
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}');
    let named = tables.filter_map(|rest| rest.split(ends).next()?.rsplit_once(':'));
    named.map(|(address, map)| (address.to_owned(), map.to_owned())).collect()
}

/// Where mail for other domains is refused (postconf(5), smtpd_relay_restrictions). `warn_if_reject` only logs.
pub(super) fn protected_at(words: &[String]) -> Option<usize> {
    const REFUSE: [&str; 4] = ["reject_unauth_destination", "defer_unauth_destination", "reject", "defer"];
    let refuses = |word: &String| REFUSE.iter().any(|refusal| word.eq_ignore_ascii_case(refusal));
    let only_warns = |at: usize| at > 0 && words[at - 1].eq_ignore_ascii_case("warn_if_reject");
    (0..words.len()).find(|&at| refuses(&words[at]) && !only_warns(at))
}

/// Whether one of `ours`, policies and addresses of tables, is asked before anything refuses mail for other
/// domains.
pub(super) fn opens_relay(value: &str, ours: &[&str]) -> bool {
    let words = words(value);
    let words = &words[..protected_at(&words).unwrap_or(words.len())];
    let is_access = |word: &str| {
        let word = word.to_ascii_lowercase();
        word.starts_with("check_") && word.ends_with("_access")
    };
    let tables = words.windows(2).filter(|pair| is_access(&pair[0])).flat_map(|pair| socketmaps(&pair[1]));
    let addresses = asks(words).into_iter().chain(tables.map(|(address, _)| address));
    addresses.into_iter().any(|address| ours.contains(&address.as_str()))
}

#[cfg(test)]
mod tests {
    use super::{asks, opens_relay, socketmaps, words};

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
            ("warn_if_reject reject_unauth_destination, check_policy_service unix:private/p, reject", true),
            ("CHECK_POLICY_SERVICE unix:private/p, reject", true),
            ("Reject_Unauth_Destination, check_policy_service unix:private/p", false),
            ("check_recipient_access socketmap:unix:private/p:m, reject", true),
            ("check_recipient_access hash:/etc/x, reject", false),
        ] {
            assert_eq!(opens_relay(value, &["unix:private/p"]), expected, "{value}");
        }
    }

    #[test]
    fn tables_are_found_in_other_tables() {
        let value =
            "pipemap:{socketmap:inet:[::1]:1:a,inline:{b=c}} { socketmap:unix:p:d, { search_order = x } }";
        let found = socketmaps(value);
        let found: Vec<_> = found.iter().map(|(address, map)| (address.as_str(), map.as_str())).collect();
        assert_eq!(found, [("inet:[::1]:1", "a"), ("unix:p", "d")]);
    }
}
