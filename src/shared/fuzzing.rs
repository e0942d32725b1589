//! The fuzz target of the records of the shared cache.

use std::sync::OnceLock;

use super::record::{Keys, Record, Unreadable};
use crate::model::secret::Secret;
use crate::model::{Action, Answer};

const NAME: &str = "pfxhttp:1:e:0:k";

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::new(&Secret::new("0123456789abcdef".repeat(2))).expect("keys"))
}

/// A byte that chooses the answer, two for the place of a change, one for the change, then a text.
///
/// What is sealed is what is opened. A record that was changed, cut or moved is none, and bytes of others are none.
/// The inside of a record that means something is written in one way.
pub fn records(bytes: &[u8]) {
    assert!(keys().open(NAME, bytes.to_vec()).is_err());
    let Some(([kind, high, low, change], text)) = bytes.split_first_chunk::<4>() else { return };
    inside(text);
    let text = String::from_utf8_lossy(text);
    let answer = match kind % 3 {
        0 => Answer::Value(text.clone().into_owned()),
        1 => Action::parse(&text).map_or(Answer::NotFound, Answer::Action),
        _ => Answer::NotFound,
    };
    let is_value = !text.is_empty() && !text.contains(['\n', '\r', '\0']);
    let is_legal = is_value || !matches!(answer, Answer::Value(_));
    let record = Record { answer, stored: u64::from_be_bytes([0, 0, *kind, *high, *low, *change, 1, 2]) };
    let sealed = keys().seal(NAME, &record).expect("a short answer");
    let opened = keys().open(NAME, sealed.clone());
    assert_eq!(opened, if is_legal { Ok(record) } else { Err(Unreadable::Content) });
    let place = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
    let mut changed = sealed.clone();
    changed[place] ^= (*change).max(1);
    assert!(keys().open(NAME, changed).is_err());
    assert!(keys().open(NAME, sealed[..place].to_vec()).is_err());
    assert_eq!(keys().open("pfxhttp:1:e:1:k", sealed), Err(Unreadable::Tag));
}

/// What another writer with the same secret may seal.
fn inside(inner: &[u8]) {
    let sealed = keys().encrypt(NAME, inner.to_vec()).expect("a record");
    assert_eq!(keys().decrypt(NAME, &mut sealed.clone()), Ok(inner));
    let Ok(record) = keys().open(NAME, sealed) else { return };
    let mut again = keys().seal(NAME, &record).expect("it was opened");
    let again = keys().decrypt(NAME, &mut again).expect("it was sealed");
    // Blanks around an action are left out.
    assert!(again == inner || matches!(record.answer, Answer::Action(_)), "{record:?}");
}
