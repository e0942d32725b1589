//! Socketmap requests, and the netstrings around them.

use super::stream::{self, Item};
use crate::model::Question;
use crate::wire::{Error, socketmap as wire};

/// The bytes of a connection.
///
/// A request is what a simple reader finds; encoded again it has the same bytes. The pieces in which a stream
/// arrives make no difference.
pub fn socketmap(bytes: &[u8]) {
    stream::items_of(bytes, wire::decode).iter().for_each(|item| {
        if let Item::Request(question) = item {
            encodes(question);
        }
    });
    match (wire::decode(bytes), reference(bytes)) {
        (Ok(Some((question, consumed))), Some((payload, due))) => {
            let Question::Map { name, key } = question else { panic!("not a lookup") };
            assert_eq!(consumed, due);
            let space = payload.iter().position(|byte| *byte == b' ').expect("a name and a key");
            assert_eq!(
                (name.as_str(), key.as_slice()),
                (String::from_utf8_lossy(&payload[..space]).as_ref(), &payload[space + 1..],)
            );
        }
        (Err(Error::Malformed { consumed, .. }), Some((payload, due))) => {
            assert_eq!(consumed, due);
            assert!(payload.first() == Some(&b' ') || !payload.contains(&b' '));
        }
        (Err(Error::Framing(_)), Some((payload, _))) => assert!(payload.contains(&0)),
        (found, Some(_)) => panic!("a whole netstring is {found:?}"),
        (Ok(None) | Err(Error::Framing(_)), None) => {}
        (found, None) => panic!("no netstring is {found:?}"),
    }
}

/// The payload of a netstring, and the length of all.
fn reference(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let digits = std::str::from_utf8(&bytes[..colon]).ok()?;
    let length: usize = digits.parse().ok().filter(|length| *length <= wire::MAX_REQUEST)?;
    let payload = bytes.get(colon + 1..colon + 1 + length)?;
    let is_canonical = digits == length.to_string();
    (is_canonical && bytes.get(colon + 1 + length) == Some(&b',')).then_some((payload, colon + length + 2))
}

fn encodes(question: &Question) {
    let Question::Map { name, key } = question else { panic!("not a lookup") };
    let mut again = Vec::new();
    wire::encode(name, key, &mut again);
    assert_eq!(wire::decode(&again), Ok(Some((question.clone(), again.len()))));
}
