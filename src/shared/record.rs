//! What is in the shared cache: the names of its keys, and its records. Pure: no I/O.
//!
//! A name is `P:1:E:N:K`: the prefix, the version, the entry, its epoch (see `purges`) and the key of the lookup.
//! E and K are HMAC-SHA256, cut to 128 bits, in base64url: they show no address. A record is
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version, 1 |
//! | 12 | a nonce |
//! | rest | AES-256-GCM of the kind (1), the time it was stored (8, milliseconds since 1970) and the text; its name is the associated data |
//!
//! So a record can be read and made with the secret alone, and none is valid under another name. The keys of HMAC
//! and of AES are made of the secret by HKDF-SHA256, and differ.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::secret::Secret;
use crate::model::{Action, Answer};

const VERSION: u8 = 1;
/// Version and nonce.
const HEAD: usize = 1 + NONCE_LEN;
const TAG: usize = 16;
/// Kind and time.
const INNER: usize = 1 + 8;
/// The longest text of a record. A longer answer is not shared.
const MAX_TEXT: usize = 64 * 1024;
/// The longest record.
pub(super) const MAX_RECORD: usize = HEAD + INNER + MAX_TEXT + TAG;

const VALUE: u8 = 1;
const ACTION: u8 = 2;
const NOT_FOUND: u8 = 3;

/// An answer, and when it was stored, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) answer: Answer,
    pub(super) stored: u64,
}

impl Record {
    /// Bytes of its text.
    pub(super) fn text_len(&self) -> usize {
        text(&self.answer).map_or(0, |(_, text)| text.len())
    }
}

/// Kind and text; `None` for an answer that is never shared.
fn text(answer: &Answer) -> Option<(u8, &str)> {
    match answer {
        Answer::Value(value) => Some((VALUE, value)),
        Answer::Action(action) => Some((ACTION, action.as_str())),
        Answer::NotFound => Some((NOT_FOUND, "")),
        Answer::Failed { .. } | Answer::Accepted { .. } | Answer::Denied { .. } => None,
    }
}

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is of another version.
    Version,
    /// It was cut, changed, moved from another name, or made with another secret.
    Tag,
    /// It was made with this secret, and means nothing.
    Content,
}

/// The keys that are made of the secret.
pub(super) struct Keys {
    names: hmac::Key,
    records: LessSafeKey,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// The keys of `secret`; `None` if the crypto library fails.
    pub(super) fn new(secret: &Secret) -> Option<Self> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"pfxhttp shared cache");
        let secret = salt.extract(secret.expose().as_bytes());
        let derived = |what: &[u8]| {
            let mut key = [0; 32];
            secret.expand(&[what], hkdf::HKDF_SHA256).and_then(|made| made.fill(&mut key)).ok()?;
            Some(key)
        };
        Some(Self {
            names: hmac::Key::new(hmac::HMAC_SHA256, &derived(b"names")?),
            records: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived(b"records")?).ok()?),
        })
    }

    /// The HMAC of `parts`, as text. No other parts have the same one.
    pub(super) fn digest<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..16])
    }

    /// The name of the key of a lookup; `entry` is what all names of its entry begin with.
    pub(super) fn name(&self, entry: &str, key: &[u8]) -> String {
        format!("{entry}{}", self.digest([entry.as_bytes(), key]))
    }

    /// The record for `name`; `None` for an answer that is never shared, or is too long.
    pub(super) fn seal(&self, name: &str, record: &Record) -> Option<Vec<u8>> {
        self.encrypt(name, inner(record)?)
    }

    /// Encrypts `inner` for `name`, as the inside of a record is.
    pub(super) fn encrypt(&self, name: &str, inner: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        self.encrypt_with(nonce, name, inner)
    }

    fn encrypt_with(&self, nonce: [u8; NONCE_LEN], name: &str, mut inner: Vec<u8>) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(HEAD + inner.len() + TAG);
        bytes.push(VERSION);
        bytes.extend_from_slice(&nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.records.seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut inner).ok()?;
        bytes.append(&mut inner);
        Some(bytes)
    }

    /// Reads a record of `name`.
    pub(super) fn open(&self, name: &str, mut bytes: Vec<u8>) -> Result<Record, Unreadable> {
        let inner = self.decrypt(name, &mut bytes)?;
        let (&kind, rest) = inner.split_first().ok_or(Unreadable::Content)?;
        let (stored, text) = rest.split_first_chunk().ok_or(Unreadable::Content)?;
        let text = std::str::from_utf8(text).map_err(|_| Unreadable::Content)?;
        Ok(Record {
            answer: answer(kind, text).ok_or(Unreadable::Content)?,
            stored: u64::from_be_bytes(*stored),
        })
    }

    /// What [`Self::encrypt`] was given, in place.
    pub(super) fn decrypt<'b>(&self, name: &str, bytes: &'b mut [u8]) -> Result<&'b [u8], Unreadable> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(_) => return Err(Unreadable::Version),
            None => return Err(Unreadable::Tag),
        }
        let (head, sealed) = bytes.split_at_mut_checked(HEAD).ok_or(Unreadable::Tag)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[1..]).map_err(|_| Unreadable::Tag)?;
        let inner = self.records.open_in_place(nonce, Aad::from(name.as_bytes()), sealed);
        inner.map(|inner| &*inner).map_err(|_| Unreadable::Tag)
    }
}

/// Kind, time and text; `None` for an answer that is never shared, or is too long.
fn inner(record: &Record) -> Option<Vec<u8>> {
    let (kind, text) = text(&record.answer).filter(|(_, text)| text.len() <= MAX_TEXT)?;
    let mut inner = Vec::with_capacity(INNER + text.len() + TAG);
    inner.push(kind);
    inner.extend_from_slice(&record.stored.to_be_bytes());
    inner.extend_from_slice(text.as_bytes());
    Some(inner)
}

fn answer(kind: u8, text: &str) -> Option<Answer> {
    match kind {
        VALUE => {
            let is_value = !text.is_empty() && !text.contains(['\n', '\r', '\0']);
            is_value.then(|| Answer::Value(text.to_owned()))
        }
        ACTION => Action::parse(text).ok().map(Answer::Action),
        NOT_FOUND => text.is_empty().then_some(Answer::NotFound),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;
    use crate::model::hex;

    const NAME: &str = "pfxhttp:1:e:0:k";

    fn keys(secret: &str) -> Keys {
        Keys::new(&Secret::new(secret.to_owned())).expect("keys")
    }

    fn ours() -> Keys {
        keys("0123456789abcdef0123456789abcdef")
    }

    fn value(text: &str) -> Record {
        Record { answer: Answer::Value(text.to_owned()), stored: 0x0102_0304_0506 }
    }

    fn all() -> [Record; 4] {
        let action = Action::parse("REJECT no \u{fc}").expect("an action");
        [
            value("bob@example.org"),
            value(&"x".repeat(MAX_TEXT)),
            Record { answer: Answer::Action(action), stored: 0 },
            Record { answer: Answer::NotFound, stored: u64::MAX },
        ]
    }

    #[test]
    fn a_record_and_a_name_are_these_bytes() {
        let sealed = inner(&value("bob@example.org")).expect("an answer");
        let sealed = ours().encrypt_with([7; NONCE_LEN], NAME, sealed).expect("a record");
        assert_eq!(hex::text(&sealed), GOLDEN);
        assert_eq!(ours().name("pfxhttp:1:e:0:", b"bob@example.org"), GOLDEN_NAME);
    }

    const GOLDEN: &str = "01070707070707070707070707bb6018b4d915bcf9965b68646865396f81134ff852c24ce49b7331c02ec7091e2f17b1ebc40821da";
    const GOLDEN_NAME: &str = "pfxhttp:1:e:0:LRgHrP184oJJSSLirm3YHw";

    #[test]
    fn what_is_sealed_is_opened() {
        for record in all() {
            let sealed = ours().seal(NAME, &record).expect("a record");
            assert!(sealed.len() <= MAX_RECORD);
            assert_eq!(ours().open(NAME, sealed), Ok(record));
        }
    }

    #[test]
    fn what_says_later_and_what_is_too_long_is_not_sealed() {
        let none = [
            Answer::Failed { failure: Failure::Connect, on_failure: None },
            Answer::Accepted { user: "u".to_owned() },
            Answer::Denied { reason: String::new(), user: String::new() },
            Answer::Value("x".repeat(MAX_TEXT + 1)),
        ];
        for answer in none {
            assert_eq!(ours().seal(NAME, &Record { answer, stored: 1 }), None);
        }
    }

    #[test]
    fn a_record_that_was_cut_changed_or_moved_is_none() {
        let sealed = ours().seal(NAME, &value("v")).expect("a record");
        for length in 0..sealed.len() {
            assert_eq!(ours().open(NAME, sealed[..length].to_vec()), Err(Unreadable::Tag), "{length}");
        }
        for (place, bit) in (0..sealed.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut changed = sealed.clone();
            changed[place] ^= 1 << bit;
            let due = if place == 0 { Unreadable::Version } else { Unreadable::Tag };
            assert_eq!(ours().open(NAME, changed), Err(due), "{place} {bit}");
        }
        for more in [&b"\0"[..], &sealed] {
            assert_eq!(ours().open(NAME, [&sealed, more].concat()), Err(Unreadable::Tag));
        }
        assert_eq!(ours().open("pfxhttp:1:e:1:k", sealed.clone()), Err(Unreadable::Tag), "another name");
        assert_eq!(keys(&"y".repeat(32)).open(NAME, sealed), Err(Unreadable::Tag), "another secret");
    }

    #[test]
    fn what_means_nothing_is_no_answer() {
        for (kind, text) in [
            (0, ""),
            (4, "x"),
            (VALUE, ""),
            (VALUE, "a\nb"),
            (VALUE, "a\0"),
            (ACTION, ""),
            (ACTION, "550"),
            (ACTION, "OK\naction=OK"),
            (NOT_FOUND, "x"),
        ] {
            assert_eq!(answer(kind, text), None, "{kind} {text:?}");
        }
    }

    proptest::proptest! {
        /// Bytes of another writer are never an answer, and no input makes the reader fail.
        #[test]
        fn bytes_of_others_are_no_record(bytes: Vec<u8>, name: String) {
            proptest::prop_assert!(ours().open(&name, bytes.clone()).is_err());
            proptest::prop_assert!(ours().open(&name, [&[VERSION][..], &bytes].concat()).is_err());
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let keys = ours();
        let parts: [&[&[u8]]; 5] = [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"ab", b"c", b""], &[]];
        let digests: std::collections::BTreeSet<_> =
            parts.iter().map(|parts| keys.digest(parts.iter().copied())).collect();
        assert_eq!(digests.len(), parts.len());
        assert!(digests.iter().all(|digest| digest.len() == 22), "{digests:?}");
    }
}
