//! Address extensions: `bob+tag@example.org` without its `+tag`, by the rules of Postfix'
//! `recipient_delimiter` (postconf(5), split_addr.c).

use std::borrow::Cow;

const WHOLE: [&str; 3] = ["postmaster", "mailer-daemon", "double-bounce"];

/// An address, or a localpart, without its extension, which begins at the first of the `delimiters`.
pub(super) fn stripped<'t>(address: Cow<'t, str>, delimiters: &str) -> Cow<'t, str> {
    let (localpart, domain) = address.split_at(address.rfind('@').unwrap_or(address.len()));
    let plain = unquoted(localpart);
    let kept = match &plain {
        Some(plain) => base(plain, delimiters).map(quoted),
        None => base(localpart, delimiters).map(Cow::Borrowed),
    };
    match kept {
        Some(kept) => Cow::Owned(format!("{kept}{domain}")),
        None => address,
    }
}

/// A localpart without its extension; `None` if it has none.
fn base<'l>(localpart: &'l str, delimiters: &str) -> Option<&'l str> {
    let is = |word: &str, part: Option<&str>| part.is_some_and(|part| part.eq_ignore_ascii_case(word));
    // Addresses of mailing lists (`owner_request_special`).
    let is_special = || {
        let end = localpart.len().saturating_sub("-request".len());
        is("owner-", localpart.get(..6)) || (end > 0 && is("-request", localpart.get(end..)))
    };
    if WHOLE.iter().any(|word| is(word, Some(localpart))) || (delimiters.contains('-') && is_special()) {
        return None;
    }
    // A localpart is never empty.
    let at = localpart.find(|c| delimiters.contains(c)).filter(|at| *at > 0)?;
    localpart.get(..at)
}

/// The content of a quoted localpart (RFC 5321 4.1.2); `None` if it is not quoted.
fn unquoted(localpart: &str) -> Option<String> {
    let inner = localpart.strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next()? } else { c });
    }
    Some(plain)
}

/// A localpart, in quotes if it needs them.
fn quoted(plain: &str) -> Cow<'_, str> {
    // RFC 5321 4.1.2, RFC 6531 3.3.
    let is_atom = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if plain.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom)) {
        return Cow::Borrowed(plain);
    }
    Cow::Owned(format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_cut_as_postfix_does() {
        for (address, delimiters, due) in [
            ("bob+tag@example.org", "+", "bob@example.org"),
            ("bob+a+b@example.org", "+", "bob@example.org"),
            ("bob+tag", "+", "bob"),
            ("bob-a+b@example.org", "+-", "bob@example.org"),
            ("bob+a-b@example.org", "+-", "bob@example.org"),
            ("bob-tag@my-domain.example", "+", "bob-tag@my-domain.example"),
            ("bob@my-domain.example", "-", "bob@my-domain.example"),
            ("+tag@example.org", "+", "+tag@example.org"),
            ("+a+b@example.org", "+", "+a+b@example.org"),
            ("bob+@example.org", "+", "bob@example.org"),
            ("@example.org", "+", "@example.org"),
            ("bob@example.org", "+", "bob@example.org"),
            ("owner-list@example.org", "-", "owner-list@example.org"),
            ("Owner-list+tag@example.org", "+-", "Owner-list+tag@example.org"),
            ("owner-list+tag@example.org", "+", "owner-list@example.org"),
            ("list-Request@example.org", "-", "list-Request@example.org"),
            ("-request@example.org", "-", "-request@example.org"),
            ("MAILER-DAEMON@example.org", "-", "MAILER-DAEMON@example.org"),
            ("double-bounce@example.org", "-", "double-bounce@example.org"),
            ("jos\u{e9}+\u{e9}@example.org", "+", "jos\u{e9}@example.org"),
            ("\"bob+tag\"@example.org", "+", "bob@example.org"),
            ("\"a b+tag\"@example.org", "+", "\"a b\"@example.org"),
            ("\"a\\\"b+c@d\"@example.org", "+", "\"a\\\"b\"@example.org"),
            ("\"a b\"@example.org", "+", "\"a b\"@example.org"),
            ("\"+\"@example.org", "+", "\"+\"@example.org"),
            ("bob+tag@example.org", "", "bob+tag@example.org"),
        ] {
            assert_eq!(stripped(Cow::Borrowed(address), delimiters), due, "{address} at {delimiters:?}");
        }
    }
}
