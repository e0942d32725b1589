//! Policy delegation requests.

use super::stream::{self, Item};
use crate::model::Question;
use crate::wire::Error;
use crate::wire::policy::{self as wire, MAX_ATTRIBUTES, MAX_LINE, MAX_REQUEST};

/// Names and values, in the order of the names.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The bytes of a connection.
///
/// A request has the names and values that a simple reader finds; encoded, it is the same request. The pieces
/// in which a stream arrives make no difference.
pub fn policy(bytes: &[u8]) {
    let decode = |bytes: &[u8]| wire::decode(bytes, "p");
    for item in stream::items_of(bytes, decode) {
        let Item::Request(question) = item else { continue };
        let Question::Policy { attributes, .. } = &question else { panic!("no policy request") };
        let mut again = Vec::new();
        wire::encode(attributes, &mut again);
        assert_eq!(decode(&again), Ok(Some((question, again.len()))));
    }
    match (decode(bytes), reference(bytes)) {
        (Ok(Some((question, consumed))), Ok(Some((due, length)))) => {
            assert_eq!((pairs(&question), consumed), (due, length));
        }
        (Ok(None), Ok(None)) | (Err(Error::Framing(_)), Err(())) => {}
        (found, due) => panic!("{found:?} is not {due:?}"),
    }
}

/// What `question` holds.
fn pairs(question: &Question) -> Pairs {
    let Question::Policy { attributes, .. } = question else { panic!("no policy request") };
    attributes.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// The request that `bytes` begin with, and its length.
fn reference(bytes: &[u8]) -> Result<Option<(Pairs, usize)>, ()> {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let last_line = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    match end {
        _ if bytes.first() == Some(&b'\n') => return Err(()),
        None if bytes.len() >= MAX_REQUEST || last_line.len() > MAX_LINE => return Err(()),
        None => return Ok(None),
        Some(_) => {}
    }
    let length = end.map_or(0, |end| end + 2);
    let mut pairs = Pairs::new();
    for line in bytes[..length - 2].split(|byte| *byte == b'\n') {
        let equals = line.iter().position(|byte| *byte == b'=').ok_or(())?;
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        if name.is_empty() || line.contains(&0) || line.len() > MAX_LINE || std::str::from_utf8(name).is_err()
        {
            return Err(());
        }
        match pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => pairs.push((name.to_vec(), value.to_vec())),
        }
    }
    let is_legal = length <= MAX_REQUEST && pairs.len() <= MAX_ATTRIBUTES;
    let is_policy = pairs.contains(&(b"request".to_vec(), b"smtpd_access_policy".to_vec()));
    if is_legal && is_policy { Ok(Some((pairs, length))) } else { Err(()) }
}
