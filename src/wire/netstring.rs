//! Netstrings: `<decimal length>:<bytes>,` (netstring_proto, cr.yp.to/proto/netstrings.txt).
//!
//! Stricter than Postfix: no sign, no empty length, no leading zero except in `0:`.
//! The announced length is compared with the limit while its digits are read, so it cannot overflow, and no
//! memory is allocated for it.

use super::{Decoded, Error};

/// Finds the payload of the netstring that `bytes` begins with, of at most `limit` bytes. Anything else is an
/// error as early as possible.
pub(crate) fn decode(bytes: &[u8], limit: usize) -> Decoded<&[u8]> {
    let mut length = 0usize;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at == 1 && bytes[0] == b'0' => {
                return Err(Error::Framing("netstring length with a leading zero"));
            }
            b'0'..=b'9' => {
                // `length <= limit` before this digit, and limits are far below usize::MAX / 10.
                length = length * 10 + usize::from(byte - b'0');
                if length > limit {
                    return Err(Error::Framing("netstring longer than the limit"));
                }
            }
            b':' if at > 0 => return payload(bytes, at + 1, length),
            _ => return Err(Error::Framing("no netstring")),
        }
    }
    Ok(None)
}

fn payload(bytes: &[u8], start: usize, length: usize) -> Decoded<&[u8]> {
    let end = start + length;
    match bytes.get(end) {
        None => Ok(None),
        Some(b',') => Ok(Some((&bytes[start..end], end + 1))),
        Some(_) => Err(Error::Framing("netstring without its comma")),
    }
}

/// Appends `parts`, one behind the other, as one netstring.
pub(crate) fn encode(parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 8);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.push(b':');
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_netstring_is_refused_at_once() {
        for bytes in
            ["-1:", "+1:", ":,", "x:", "007:", "00:", "01:a,", " 1:a,", "99999999999:", "1a:", "101:"]
        {
            assert!(matches!(decode(bytes.as_bytes(), 100), Err(Error::Framing(_))), "{bytes:?}");
        }
        assert!(decode(b"3:abcd", 100).is_err(), "a wrong terminator");
        // Refused while the digits come in, not when they end.
        assert!(decode(b"999", 100).is_err());
    }

    #[test]
    fn what_is_cut_is_incomplete() {
        for bytes in ["", "0", "1", "10", "3:", "3:ab", "3:abc"] {
            assert_eq!(decode(bytes.as_bytes(), 100), Ok(None), "{bytes:?}");
        }
        assert_eq!(decode(b"0:,rest", 100), Ok(Some((&b""[..], 3))));
        assert_eq!(decode(b"100:", 100), Ok(None), "the limit itself is allowed");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(payload: Vec<u8>, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            encode(&[&payload], &mut bytes);
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(decode(&bytes[..cut], 10_000), Ok(None));
            }
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(decode(&bytes, 10_000), Ok(Some((&payload[..], length))));
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>, limit in 0usize..1000) {
            if let Ok(Some((payload, consumed))) = decode(&bytes, limit) {
                prop_assert!(payload.len() <= limit && consumed <= bytes.len());
            }
        }
    }
}
