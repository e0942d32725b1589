//! The words of Postfix' lists of restrictions: which policy services they ask, and in which order. Restriction
//! classes (postconf(5), smtpd_restriction_classes) are followed; the results of tables are not known here.

/// How deep classes may name other classes.
const MAX_DEPTH: usize = 8;

/// The words of a value, at commas and blanks outside of braces. A word in braces is what they hold.
pub(super) fn words(value: &str) -> Vec<String> {
    let words = split(value, |c| c == ',' || c.is_whitespace());
    words.into_iter().map(inside_braces).collect()
}

/// The parts of `value` that are not empty, at the separators outside of braces.
pub(super) fn split(value: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = value.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && is_separator(c)
    });
    parts.filter(|part| !part.is_empty()).collect()
}

fn inside_braces(word: &str) -> String {
    let inside = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
    inside.map_or(word, str::trim).to_owned()
}

/// What one `check_policy_service` asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// As `unix:private/pfx-policy`.
    pub(super) address: String,
    /// The options behind the address in braces, as `timeout` and `5s`.
    pub(super) options: Vec<(String, String)>,
}

/// What `check_policy_service` asks in these words.
pub(super) fn asks(words: &[String]) -> Vec<Asked> {
    let pairs = words.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case("check_policy_service"));
    pairs.filter_map(|pair| asked(&pair[1])).collect()
}

fn asked(service: &str) -> Option<Asked> {
    let mut words = words(service).into_iter();
    let address = words.next()?;
    let option = |word: String| {
        let (name, value) = word.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    Some(Asked { address, options: words.filter_map(option).collect() })
}

/// The tables of pfxhttp's protocol in a value: addresses and maps. They may stand in braces of other tables.
pub(super) fn socketmaps(value: &str) -> Vec<(String, String)> {
    let tables = value.match_indices("socketmap:").map(|(at, start)| {
        let is_in_braces = value[..at].matches('{').count() > value[..at].matches('}').count();
        table(&value[at + start.len()..], is_in_braces)
    });
    let named = tables.filter_map(|table| table.rsplit_once(':'));
    named.map(|(address, map)| (address.to_owned(), map.to_owned())).collect()
}

/// The beginning of `text` to the end of a table's name, which may hold pairs of braces.
fn table(text: &str, is_in_braces: bool) -> &str {
    let mut depth = 0_usize;
    let end = text.find(|c: char| {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return is_in_braces,
            '}' => depth -= 1,
            c => return depth == 0 && (c == ',' || c.is_whitespace()),
        }
        false
    });
    &text[..end.unwrap_or(text.len())]
}

/// The words of `value`, with those of a class in place of its name. `class` returns the value of a class.
pub(super) fn expanded<'v>(value: &str, class: &dyn Fn(&str) -> Option<&'v str>) -> Vec<String> {
    expanded_to(value, class, MAX_DEPTH)
}

fn expanded_to<'v>(value: &str, class: &dyn Fn(&str) -> Option<&'v str>, depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in words(value) {
        let Some(value) = class(&word).filter(|_| depth > 0) else {
            all.push(word);
            continue;
        };
        let inner = expanded_to(value, class, depth - 1);
        if all.last().is_some_and(|last| is_warning(last)) {
            // Nothing in such a class refuses.
            all.extend(inner.into_iter().filter(|word| !refuses(word)));
        } else {
            all.extend(inner);
        }
    }
    all
}

fn is_warning(word: &str) -> bool {
    word.eq_ignore_ascii_case("warn_if_reject")
}

/// Whether this restriction refuses mail for other domains (postconf(5), smtpd_relay_restrictions).
fn refuses(word: &str) -> bool {
    const REFUSE: [&str; 4] = ["reject_unauth_destination", "defer_unauth_destination", "reject", "defer"];
    REFUSE.iter().any(|refusal| word.eq_ignore_ascii_case(refusal))
}

/// Where mail for other domains is refused. `warn_if_reject` only logs.
pub(super) fn protected_at(words: &[String]) -> Option<usize> {
    let only_warns = |at: usize| at > 0 && is_warning(&words[at - 1]);
    (0..words.len()).find(|&at| refuses(&words[at]) && !only_warns(at))
}

/// Whether smtpd(8) accepts to start with this list. What follows `permit` is ignored.
pub(super) fn is_complete(words: &[String]) -> bool {
    let permit = words.iter().position(|word| word.eq_ignore_ascii_case("permit"));
    let words = &words[..permit.unwrap_or(words.len())];
    let defers = |word: &String| word.eq_ignore_ascii_case("defer_if_permit");
    protected_at(words).is_some() || words.iter().any(defers)
}

/// Whether one of `ours`, policies and addresses of tables, is asked before anything refuses mail for other
/// domains.
pub(super) fn opens_relay(words: &[String], ours: &[&str]) -> bool {
    let words = &words[..protected_at(words).unwrap_or(words.len())];
    let is_access = |word: &str| {
        let word = word.to_ascii_lowercase();
        word.starts_with("check_") && word.ends_with("_access")
    };
    let tables = words.windows(2).filter(|pair| is_access(&pair[0])).flat_map(|pair| socketmaps(&pair[1]));
    let policies = asks(words).into_iter().map(|asked| asked.address);
    let mut addresses = policies.chain(tables.map(|(address, _)| address));
    addresses.any(|address| ours.contains(&address.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        for (value, expected) in [
            ("", &[][..]),
            ("a, b\tc", &["a", "b", "c"]),
            ("a { b, c = d } e", &["a", "b, c = d", "e"]),
            ("a {b", &["a", "{b"]),
            ("} a{b, c}d", &["}", "a{b, c}d"]),
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
    }

    #[test]
    fn a_policy_opens_a_relay_only_before_what_protects() {
        let list = "permit_mynetworks, check_policy_service { unix:private/p, timeout=5s }, reject_unauth_destination";
        let options = vec![("timeout".to_owned(), "5s".to_owned())];
        assert_eq!(asks(&words(list)), [Asked { address: "unix:private/p".to_owned(), options }]);
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
            assert_eq!(opens_relay(&words(value), &["unix:private/p"]), expected, "{value}");
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

    #[test]
    fn names_of_tables_hold_braces_in_pairs() {
        for (value, map) in [
            ("socketmap:unix:p:a{b,c}d, x", "a{b,c}d"),
            ("{socketmap:unix:p:a{b}}", "a{b}"),
            ("socketmap:unix:p:a}b", "a}b"),
            ("pipemap:{socketmap:unix:p:$a}", "$a"),
        ] {
            assert_eq!(socketmaps(value), [("unix:p".to_owned(), map.to_owned())], "{value}");
        }
    }

    #[test]
    fn classes_are_followed() {
        let class = |name: &str| match name {
            "strict" => Some("permit_mynetworks, inner"),
            "inner" => Some("check_policy_service unix:private/p, reject"),
            "endless" => Some("endless endless"),
            _ => None,
        };
        let value = "strict, permit";
        let words = expanded(value, &class);
        assert!(opens_relay(&words, &["unix:private/p"]) && is_complete(&words), "{words:?}");
        let words = expanded("reject_unauth_destination strict", &class);
        assert!(!opens_relay(&words, &["unix:private/p"]), "{words:?}");
        assert!(!is_complete(&expanded("warn_if_reject strict", &class)));
        assert_eq!(expanded("endless", &class).len(), 1 << MAX_DEPTH);
    }

    #[test]
    fn smtpd_wants_a_restriction_that_refuses() {
        for (value, expected) in [
            ("permit_mynetworks,reject", true),
            ("Reject_Unauth_Destination", true),
            ("defer_if_permit", true),
            ("permit_mynetworks", false),
            ("warn_if_reject reject_unauth_destination", false),
            ("permit, reject", false),
            ("", false),
        ] {
            assert_eq!(is_complete(&words(value)), expected, "{value}");
        }
    }
}
