//! Comparison of domains: all spellings of a name have the same A-labels (UTS 46, not transitional,
//! RFC 5891). A final dot is ignored.
//!
//! Limits: a text without such a form (a broken `xn--`, illegal characters) gives `None`, so that callers
//! can ask the API instead of refusing it.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// `domain` with A-labels, in lower case; `None` if it has no such form.
pub(crate) fn comparable(domain: &str) -> Option<Cow<'_, str>> {
    Some(match to_ascii(domain)? {
        Cow::Borrowed(name) => Cow::Borrowed(name.strip_suffix('.').unwrap_or(name)),
        Cow::Owned(name) => Cow::Owned(name.strip_suffix('.').unwrap_or(&name).to_owned()),
    })
}

/// `domain` with A-labels.
fn to_ascii(domain: &str) -> Option<Cow<'_, str>> {
    // Underscores and the brackets of address literals are allowed here.
    let rules = Uts46::new();
    rules.to_ascii(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore).ok()
}

/// `domain` with U-labels, of which the same A-labels can be made again (RFC 5890 2.3.2.1).
fn to_unicode(domain: &str) -> Option<Cow<'_, str>> {
    let (name, judged) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
    judged.ok()?;
    (to_ascii(&name) == to_ascii(domain)).then_some(name)
}

/// An address or a domain, with A-labels; unchanged if the domain has no such form.
pub(crate) fn with_ascii(text: Cow<'_, str>) -> Cow<'_, str> {
    converted(text, to_ascii)
}

/// The same with U-labels.
pub(crate) fn with_unicode(text: Cow<'_, str>) -> Cow<'_, str> {
    converted(text, to_unicode)
}

fn converted<'t>(
    text: Cow<'t, str>,
    convert: impl for<'d> Fn(&'d str) -> Option<Cow<'d, str>>,
) -> Cow<'t, str> {
    let (before, domain) = text.split_at(of(&text));
    match convert(domain) {
        Some(name) if name != domain => Cow::Owned(format!("{before}{name}")),
        _ => text,
    }
}

/// Where in an address its domain begins; a text without `@` is a domain itself.
fn of(address: &str) -> usize {
    // The last `@`: a quoted localpart may hold others (RFC 5321 4.1.2).
    address.rfind('@').map_or(0, |at| at + 1)
}

/// The domain of an address; a text without `@` is a domain itself.
pub(crate) fn of_address(address: &str) -> &str {
    address.get(of(address)..).unwrap_or_default()
}

/// Whether two names are the same user: upper and lower case are equal, and so are all spellings of the
/// domain.
pub(crate) fn is_same_user(one: &str, other: &str) -> bool {
    let is_same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    let (Some((user, domain)), Some((known, home))) = (one.rsplit_once('@'), other.rsplit_once('@')) else {
        return is_same(one, other);
    };
    let is_same_domain = match (comparable(domain), comparable(home)) {
        (Some(domain), Some(home)) => domain == home,
        _ => is_same(domain, home),
    };
    is_same_domain && is_same(user, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_domain_is_one() {
        for spelling in [
            "xn--bcher-kva.example",
            "XN--Bcher-KVA.Example",
            "b\u{fc}cher.example",
            "bu\u{308}cher.example",
            "B\u{dc}CHER.EXAMPLE",
            "b\u{fc}cher\u{3002}example",
            "\u{ff42}\u{fc}cher.example",
            "b\u{fc}cher.example.",
        ] {
            assert_eq!(comparable(spelling).as_deref(), Some("xn--bcher-kva.example"), "{spelling}");
        }
        assert_ne!(comparable("bucher.example"), comparable("b\u{fc}cher.example"));
        assert_ne!(comparable("fa\u{df}.example"), comparable("fass.example"), "two names since 2010");
        for kept in ["", "a_b.example", "[192.0.2.1]", "*", "example.com ", "-a-.example"] {
            assert_eq!(comparable(kept).as_deref(), Some(kept), "{kept}");
        }
        for none in ["xn--0.example", "xn--bcher-kva-.example", "a\u{200e}.example", "\u{5d0}a.example"] {
            assert_eq!(comparable(none), None, "{none}");
        }
        assert_eq!(comparable(&"\u{fc}".repeat(100_000)), None, "and soon");
    }

    #[test]
    fn the_domain_of_an_address_is_converted() {
        let ascii = |text| with_ascii(Cow::Borrowed(text)).into_owned();
        let unicode = |text| with_unicode(Cow::Borrowed(text)).into_owned();
        assert_eq!(ascii("B\u{f6}b@B\u{fc}cher.example"), "B\u{f6}b@xn--bcher-kva.example");
        assert_eq!(ascii("@b\u{fc}cher.example"), "@xn--bcher-kva.example");
        assert_eq!(ascii("b\u{fc}cher.example"), "xn--bcher-kva.example");
        assert_eq!(ascii("\"a@\u{fc}\"@b.example"), "\"a@\u{fc}\"@b.example");
        assert_eq!(unicode("Bob@XN--bcher-kva.example"), "Bob@b\u{fc}cher.example");
        // The last one would begin with `xn--` and hold a letter that is not ASCII.
        for kept in ["bob@xn--0.example", "bob@", "", "@", "xn--xn--bc1exexn--xee.example"] {
            assert_eq!((ascii(kept), unicode(kept)), (kept.to_owned(), kept.to_owned()));
        }
    }

    #[test]
    fn a_user_has_one_name_in_any_spelling() {
        assert!(is_same_user("Bob@B\u{fc}cher.example", "bob@xn--bcher-kva.example"));
        assert!(is_same_user("bob@bu\u{308}cher.example.", "bob@b\u{fc}cher.example"));
        assert!(is_same_user("BOB", "bob") && is_same_user("a@XN--0.example", "a@xn--0.example"));
        for (one, other) in [
            ("bob", "bob@example.org"),
            ("bob@a.example", "bob@b.example"),
            ("rob@a.example", "bob@a.example"),
            ("a@xn--0.example", "a@xn--1.example"),
        ] {
            assert!(!is_same_user(one, other), "{one} {other}");
        }
    }
}
