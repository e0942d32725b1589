//! Policy delegation requests: `name=value` lines, ended by an empty one (SMTPD_POLICY_README,
//! attr_scan_plain.c). LF only, as Postfix sends it.
//!
//! Limits: 16 KiB a line, 64 KiB and 256 attributes a request; Postfix 3.12 sends about thirty,
//! none longer than 6 KiB. Any error closes the connection, as the README asks of a server in trouble:
//! Postfix then retries, and falls back to its default action.

use super::{Decoded, Error};
use crate::model::{Attributes, Question};

/// The longest line, without its LF.
pub(crate) const MAX_LINE: usize = 16 * 1024;
/// The longest request, with every LF.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;
/// The most attributes of a request.
pub(crate) const MAX_ATTRIBUTES: usize = 256;

/// Fewer attributes are searched from the first one, which is quicker than in the order of their names.
const MANY: usize = 48;

/// Decodes one request to the service `name`. An attribute that comes twice has its last value.
pub(crate) fn decode(bytes: &[u8], name: &str) -> Decoded<Question> {
    if bytes.first() == Some(&b'\n') {
        return Err(Error::Framing("policy request without attributes"));
    }
    let too_long = Err(Error::Framing("policy request longer than the limit"));
    let Some(end) = memchr::memmem::find(bytes, b"\n\n") else {
        let line = memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |lf| bytes.len() - lf - 1);
        return if bytes.len() >= MAX_REQUEST || line > MAX_LINE { too_long } else { Ok(None) };
    };
    if end + 2 > MAX_REQUEST {
        return too_long;
    }
    let attributes = attributes(&bytes[..end])?;
    if attributes.get("request") != Some(b"smtpd_access_policy") {
        return Err(Error::Framing("request is not smtpd_access_policy"));
    }
    Ok(Some((Question::Policy { name: name.to_owned(), attributes }, end + 2)))
}

fn attributes(lines: &[u8]) -> Result<Attributes, Error> {
    if memchr::memchr(0, lines).is_some() {
        return Err(Error::Framing("NUL in a policy attribute"));
    }
    let mut attributes = Attributes::of_lines(lines);
    let is_ascii = lines.is_ascii();
    let (mut seen, mut by_name) = ([false; 256], Vec::new());
    let mut begin = 0;
    for end in memchr::memchr_iter(b'\n', lines).chain([lines.len()]) {
        let line = &lines[begin..end];
        if line.len() > MAX_LINE {
            return Err(Error::Framing("policy attribute longer than the limit"));
        }
        // Behind the line, too: a search in a long text is quicker.
        let equals = memchr::memchr(b'=', &lines[begin..]);
        let Some(equals) = equals.filter(|&at| at > 0 && at < line.len()) else {
            return Err(Error::Framing("policy line without name=value"));
        };
        let name = &line[..equals];
        if !is_ascii && std::str::from_utf8(name).is_err() {
            return Err(Error::Framing("policy attribute name is not UTF-8"));
        }
        let mark = &mut seen[mark(name)];
        let known = match std::mem::replace(mark, true) {
            false => None,
            true if attributes.len() < MANY => attributes.iter().position(|(known, _)| known == name),
            true => find_of_many(&attributes, &mut by_name, name),
        };
        if let Some(known) = known {
            attributes.replace_value(known, begin + equals, end);
        } else if attributes.len() < MAX_ATTRIBUTES {
            attributes.add_line(begin, begin + equals, end);
        } else {
            return Err(Error::Framing("too many policy attributes"));
        }
        begin = end + 1;
    }
    Ok(attributes)
}

/// A number by which the names of Postfix differ: equal names have the same one.
fn mark(name: &[u8]) -> usize {
    let byte = |at: usize| name.get(at).copied().unwrap_or_default();
    let (first, middle, last) = (byte(0), byte(name.len() / 2), byte(name.len().saturating_sub(1)));
    let mark = first.wrapping_add(middle.wrapping_mul(4)).wrapping_add(last.wrapping_mul(13));
    usize::from(mark.wrapping_add(name.len() as u8))
}

/// The place of the attribute `name`. `by_name` has the places of those that were there the last time, in the order
/// of their names.
#[cold]
fn find_of_many(attributes: &Attributes, by_name: &mut Vec<usize>, name: &[u8]) -> Option<usize> {
    for place in by_name.len()..attributes.len() {
        let at = by_name.partition_point(|&other| attributes.name(other) < attributes.name(place));
        by_name.insert(at, place);
    }
    by_name.binary_search_by(|&place| attributes.name(place).cmp(name)).ok().map(|found| by_name[found])
}

/// A request of `lines`, `name=value` each. `request` is Postfix' own unless a line sets it.
#[cfg(feature = "broker")]
pub(crate) fn request(lines: &[&[u8]]) -> Vec<u8> {
    let mut request = Vec::new();
    if !lines.iter().any(|line| line.starts_with(b"request=")) {
        request.extend_from_slice(b"request=smtpd_access_policy\n");
    }
    for line in lines {
        request.extend_from_slice(line);
        request.push(b'\n');
    }
    request.push(b'\n');
    request
}

/// Encodes a request as Postfix does.
#[cfg(feature = "broker")]
pub(crate) fn encode(attributes: &Attributes, out: &mut Vec<u8>) {
    for (name, value) in attributes.iter() {
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value<'a>(question: &'a Question, name: &str) -> Option<&'a [u8]> {
        match question {
            Question::Policy { attributes, .. } => attributes.get(name),
            Question::Map { .. } | Question::Login(_) => None,
        }
    }

    /// The attributes of a request, decoded in the simplest way; without the limits.
    fn simply_decoded(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let mut attributes: Vec<(String, Vec<u8>)> = Vec::new();
        for line in bytes[..end].split(|byte| *byte == b'\n') {
            let equals = line.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
            let name = String::from_utf8(line[..equals].to_vec()).ok().filter(|_| !line.contains(&0))?;
            let value = line[equals + 1..].to_vec();
            match attributes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, last)) => *last = value,
                None => attributes.push((name, value)),
            }
        }
        attributes.contains(&("request".to_owned(), b"smtpd_access_policy".to_vec())).then_some(attributes)
    }

    #[test]
    fn a_request_of_postfix() {
        // Split at the first `=`, unknown names are carried along.
        let bytes = b"request=smtpd_access_policy\nsender=a=b@example.com\nfoo=bar\nsize=\n\nrest";
        let (question, consumed) = decode(bytes, "p").expect("legal").expect("complete");
        assert_eq!(consumed, bytes.len() - 4);
        assert_eq!(value(&question, "sender"), Some(&b"a=b@example.com"[..]));
        assert_eq!(value(&question, "foo"), Some(&b"bar"[..]));
        assert_eq!(value(&question, "size"), Some(&b""[..]));
        assert_eq!(value(&question, "Sender"), None);
    }

    #[test]
    fn a_name_that_comes_twice_has_its_last_value() {
        let bytes = b"request=smtpd_access_policy\nsender=a\nsender=b\n\n";
        let (question, _) = decode(bytes, "p").expect("legal").expect("complete");
        assert_eq!(value(&question, "sender"), Some(&b"b"[..]));
    }

    #[cfg(feature = "broker")]
    #[test]
    fn the_names_of_postfix_are_told_apart_by_their_marks() {
        let names = crate::lookup::template::ATTRIBUTES;
        let marks: std::collections::HashSet<_> = names.iter().map(|name| mark(name.as_bytes())).collect();
        assert_eq!(marks.len(), names.len());
    }

    #[test]
    fn what_breaks_a_rule_ends_the_connection() {
        let long = format!("request=smtpd_access_policy\na={}\n\n", "x".repeat(MAX_LINE));
        let many: String = (0..300).map(|i| format!("a{i}=\n")).collect();
        let many = format!("request=smtpd_access_policy\n{many}\n");
        let lines = "a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(2000);
        let unterminated = "x".repeat(MAX_LINE + 1);
        for bytes in [
            "\n",
            "\n\n",
            "request=other\n\n",
            "sender=a\n\n",
            "request=smtpd_access_policy\nx\n\n",
            "request=smtpd_access_policy\n=x\n\n",
            "request=smtpd_access_policy\na=\0\n\n",
            &long,
            &many,
            &lines,
            &unterminated,
        ] {
            let decoded = decode(bytes.as_bytes(), "p");
            assert!(matches!(decoded, Err(Error::Framing(_))), "{:.40}: {decoded:?}", bytes);
        }
    }

    #[test]
    fn what_is_at_a_limit_is_taken() {
        let head = "request=smtpd_access_policy\n";
        let line = |length: usize| format!("a={}\n", "x".repeat(length - 2));
        let is_taken = |text: &str| match decode(text.as_bytes(), "p") {
            Ok(Some((Question::Policy { .. }, consumed))) => consumed == text.len(),
            _ => false,
        };
        for (length, due) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
            assert_eq!(is_taken(&format!("{head}{}\n", line(length))), due, "{length}");
            assert_eq!(is_taken(&format!("{}{head}\n", line(length))), due, "{length}");
            let begun = decode(format!("{head}{}", line(length).trim_end()).as_bytes(), "p");
            assert_eq!(begun.is_ok(), due, "{length}");
        }
        let lines = [line(MAX_LINE - 1), line(MAX_LINE - 1), line(MAX_LINE - 1)].concat();
        let rest = MAX_REQUEST - head.len() - lines.len() - 2;
        for (rest, due) in [(rest, true), (rest + 1, false), (rest + 2, false)] {
            let text = format!("{head}{lines}{}\n", line(rest));
            assert_eq!(is_taken(&text), due, "{}", text.len());
        }
        for (count, due) in [(MAX_ATTRIBUTES - 1, true), (MAX_ATTRIBUTES, false)] {
            let lines: String = (0..count).map(|i| format!("a{i}=\n")).collect();
            assert_eq!(is_taken(&format!("{head}{lines}\n")), due, "{count}");
            assert_eq!(is_taken(&format!("{head}{lines}a7=again\n\n")), due, "{count}, one of them twice");
        }
    }

    #[test]
    fn a_name_is_utf8_and_a_value_any_bytes() {
        let decoded = |line: &[u8]| decode(&[b"request=smtpd_access_policy\n", line, b"\n\n"].concat(), "p");
        for line in [&b"a=\xff"[..], b"a=\xc3\xa9", b"\xc3\xa9=a", b"\xc3\xa9=\xff"] {
            assert!(matches!(decoded(line), Ok(Some(_))), "{}", line.escape_ascii());
        }
        for line in [&b"\xff=a"[..], b"\xc3=\xa9"] {
            assert!(decoded(line).is_err(), "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(values in proptest::collection::vec("[^\n\0]{0,40}", 0..40)) {
            let mut attributes = Attributes::from_iter([("request", "smtpd_access_policy")]);
            for (i, value) in values.iter().enumerate() {
                attributes.push(&format!("name_{i}"), value.as_bytes());
            }
            let mut bytes = Vec::new();
            encode(&attributes, &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut], "p"), Ok(None));
            }
            let expected = Question::Policy { name: "p".to_owned(), attributes };
            prop_assert_eq!(decode(&bytes, "p"), Ok(Some((expected, bytes.len()))));
        }

        #[test]
        fn each_name_is_there_once_with_its_last_value(names in proptest::collection::vec(0_u16..320, 0..500)) {
            let mut bytes = b"request=smtpd_access_policy\n".to_vec();
            let mut due = vec![("request".to_owned(), b"smtpd_access_policy".to_vec())];
            for (nth, name) in names.into_iter().enumerate() {
                let (name, value) = (format!("{:x}", name.reverse_bits()), nth.to_string().into_bytes());
                bytes.extend([name.as_bytes(), b"=", &value, b"\n"].concat());
                match due.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, last)) => *last = value,
                    None => due.push((name, value)),
                }
            }
            bytes.push(b'\n');
            match decode(&bytes, "p") {
                Ok(Some((Question::Policy { attributes, .. }, _))) => {
                    prop_assert_eq!(attributes, Attributes::from_iter(due));
                }
                other => prop_assert!(other.is_err() && due.len() > MAX_ATTRIBUTES, "{:?}", other),
            }
        }

        #[test]
        fn it_decodes_as_the_simplest_decoder_does(
            lines in proptest::collection::vec("[a-c]{1,3}=[a-c=\u{e9}]{0,40}|[ab\u{e9}]{1,2}=|.{0,3}|\\PC{0,9}=\\PC*", 0..60),
            raw in proptest::collection::vec(any::<u8>(), 0..4),
            at in 0_usize..200,
        ) {
            let lines = format!("request=smtpd_access_policy\n{}\n", lines.join("\n"));
            let mut bytes = [lines.as_bytes(), b"\n"].concat();
            let at = at.min(bytes.len());
            bytes.splice(at..at, raw);
            let decoded = match decode(&bytes, "p") {
                Ok(Some((Question::Policy { attributes, .. }, _))) => Some(attributes),
                _ => None,
            };
            prop_assert_eq!(decoded, simply_decoded(&bytes).map(Attributes::from_iter));
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes, "p");
        }
    }
}
