//! Socketmap requests: a netstring that holds `name SP key` (socketmap_table(5), dict_sockmap.c).
//!
//! The name ends at the first space; the rest is the key, verbatim: further spaces, quotes, colons, line
//! feeds (header_checks). A NUL is an error, because keys are C strings. Postfix before 3.12 does not limit
//! queries; those of its tables stay under `header_size_limit` (102400).

use super::{Decoded, Error, netstring};
use crate::model::Question;

/// The longest request that is read, in bytes without the framing.
pub(crate) const MAX_REQUEST: usize = 128 * 1024;

/// Decodes one lookup. Without a space or a name it is malformed.
pub(crate) fn decode(bytes: &[u8]) -> Decoded<Question> {
    let Some((payload, consumed)) = netstring::decode(bytes, MAX_REQUEST)? else { return Ok(None) };
    if memchr::memchr(0, payload).is_some() {
        return Err(Error::Framing("NUL in a lookup"));
    }
    match memchr::memchr(b' ', payload) {
        None | Some(0) => Err(Error::Malformed { consumed, reason: "no map name and key" }),
        Some(space) => {
            // A name that is not UTF-8 is an unknown name.
            let name = match std::str::from_utf8(&payload[..space]) {
                Ok(name) => name.to_owned(),
                Err(_) => String::from_utf8_lossy(&payload[..space]).into_owned(),
            };
            Ok(Some((Question::Map { name, key: payload[space + 1..].to_vec() }, consumed)))
        }
    }
}

/// Encodes a lookup as Postfix does.
#[cfg(feature = "broker")]
pub(crate) fn encode(name: &str, key: &[u8], out: &mut Vec<u8>) {
    netstring::encode(&[name.as_bytes(), b" ", key], out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(name: &str, key: &[u8]) -> Question {
        Question::Map { name: name.to_owned(), key: key.to_vec() }
    }

    #[test]
    fn postfix_lookups() {
        let cases: [(&str, &str, &[u8]); 7] = [
            ("21:demo user@example.com,", "demo", b"user@example.com"),
            ("8:demo a b,", "demo", b"a b"),
            ("22:demo Jos\u{e9}@example.com,", "demo", "Jos\u{e9}@example.com".as_bytes()),
            ("5:demo ,", "demo", b""),
            ("22:demo \"a b\"@example.com,", "demo", b"\"a b\"@example.com"),
            ("7:demo <>,", "demo", b"<>"),
            ("6:demo *,", "demo", b"*"),
        ];
        for (bytes, name, key) in cases {
            let decoded = decode(bytes.as_bytes());
            assert_eq!(decoded, Ok(Some((map(name, key), bytes.len()))), "{bytes:?}");
        }
    }

    #[test]
    fn a_request_has_128_kib_at_most() {
        let request = |length: usize| format!("{length}:m {},", "k".repeat(length - 2));
        let bytes = request(131_072);
        assert!(matches!(decode(bytes.as_bytes()), Ok(Some((_, consumed))) if consumed == bytes.len()));
        assert!(matches!(decode(request(131_073).as_bytes()), Err(Error::Framing(_))));
    }

    #[test]
    fn a_request_that_means_nothing_leaves_the_stream_alone() {
        for bytes in ["0:,", "4:demo,", "4: key,"] {
            let decoded = decode(bytes.as_bytes());
            assert!(
                matches!(decoded, Err(Error::Malformed { consumed, .. }) if consumed == bytes.len()),
                "{bytes:?}: {decoded:?}"
            );
        }
        assert!(matches!(decode(b"x:demo k,"), Err(Error::Framing(_))));
        assert!(matches!(decode(b"999999999999:"), Err(Error::Framing(_))));
        assert!(matches!(decode(b"5:m a\0b,"), Err(Error::Framing(_))));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(name in "[^ \0]{1,20}", key in proptest::collection::vec(1u8.., 0..60)) {
            let mut bytes = Vec::new();
            encode(&name, &key, &mut bytes);
            prop_assert_eq!(decode(&bytes), Ok(Some((map(&name, &key), bytes.len()))));
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
