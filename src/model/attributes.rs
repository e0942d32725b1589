//! The attributes of a policy request, in one buffer: a request of Postfix has about thirty.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Room for this many attributes is made before the first one is read: Postfix sends fewer.
const USUAL: usize = 32;

/// The `name=value` pairs of a policy request, in the order in which Postfix sent them. A name is UTF-8, and
/// case-sensitive as in SMTPD_POLICY_README. A value is everything behind the first `=`, and may be empty. It is bytes:
/// with `smtputf8_enable = no` Postfix passes on what an SMTP client sent.
#[derive(Clone, Default)]
pub struct Attributes {
    /// Names and values; `=` and LF may stand between them.
    text: Vec<u8>,
    ranges: Vec<AttributeRanges>,
    /// Whether a name or a value has a LF, which Postfix never sends.
    has_lines: bool,
}

/// Where an attribute is in the text.
#[derive(Debug, Clone, Copy)]
struct AttributeRanges {
    name: TextRange,
    value: TextRange,
}

/// From here to there. The longest request is far shorter than 4 GiB.
type TextRange = [u32; 2];

impl Attributes {
    /// Attributes of `lines`, which are `name=value` and end in LF or with the text. None of them is known yet.
    pub(crate) fn of_lines(lines: &[u8]) -> Self {
        Self { text: lines.to_vec(), ranges: Vec::with_capacity(USUAL), has_lines: false }
    }

    /// Makes the line from `begin` to `end` an attribute, with its `=` at `equals`. These are places in the lines of
    /// [`Self::of_lines`].
    pub(crate) fn add_line(&mut self, begin: usize, equals: usize, end: usize) {
        self.ranges.push(AttributeRanges { name: range(begin, equals), value: range(equals + 1, end) });
    }

    /// Gives the attribute `index` the value of such a line.
    pub(crate) fn replace_value(&mut self, index: usize, equals: usize, end: usize) {
        if let Some(ranges) = self.ranges.get_mut(index) {
            ranges.value = range(equals + 1, end);
        }
    }

    /// Appends an attribute. It is not compared with those that are there.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let begin = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        let end = self.text.len();
        self.has_lines |= memchr::memchr(b'\n', &self.text[begin..]).is_some();
        self.ranges.push(AttributeRanges { name: range(begin, middle), value: range(middle, end) });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// All names and values. A name is UTF-8.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges.iter().map(|ranges| (self.part(ranges.name), self.part(ranges.value)))
    }

    /// The value of `name`; of the first one, if a local peer has sent several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    /// The name of the attribute `index`; empty if there is no such attribute.
    #[must_use]
    pub fn name(&self, index: usize) -> &[u8] {
        self.ranges.get(index).map_or(&[], |ranges| self.part(ranges.name))
    }

    /// Bytes of all names and values, and of what stands between them.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// Whether all names and values consist of such bytes. If `=` is not such a byte, or one of them has a LF, the
    /// answer may be `false` in any case.
    pub fn consist_of(&self, is_legal: impl Fn(u8) -> bool) -> bool {
        // All at once, which is quicker than one after the other: the compiler compares many bytes in one step.
        let (chunks, rest) = self.text.as_chunks::<32>();
        let is_legal = |all: bool, byte: &u8| all & (is_legal(*byte) | (*byte == b'\n'));
        !self.has_lines
            && chunks.iter().all(|chunk| chunk.iter().fold(true, is_legal))
            && rest.iter().fold(true, is_legal)
    }

    fn part(&self, [from, to]: TextRange) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }
}

fn range(from: usize, to: usize) -> TextRange {
    [from, to].map(|at| u32::try_from(at).unwrap_or(u32::MAX))
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(all: I) -> Self {
        let mut attributes = Self::default();
        all.into_iter().for_each(|(name, value)| attributes.push(name.as_ref(), value.as_ref()));
        attributes
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Attributes {}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(name, value)| (name.escape_ascii().to_string(), value.escape_ascii().to_string())),
            )
            .finish()
    }
}

/// A sequence of name and value. The frames of the local socket (`wire::ipc`) have it so since their first version.
impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of names and values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Attributes, A::Error> {
        // The announced number is not believed.
        let mut attributes = Attributes { ranges: Vec::with_capacity(USUAL), ..Attributes::default() };
        while let Some((name, value)) = all.next_element::<(&'de str, &'de [u8])>()? {
            attributes.push(name, value);
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_found_by_its_name() {
        let mut attributes = Attributes::from_iter([("a", "1"), ("", "2"), ("aa", "")]);
        assert_eq!(
            ["a", "", "aa", "A"].map(|name| attributes.get(name)),
            [Some(&b"1"[..]), Some(b"2"), Some(b""), None]
        );
        attributes.push("a", b"other");
        assert_eq!((attributes.get("a"), attributes.len()), (Some(&b"1"[..]), 4));
        assert_eq!(attributes.name(2), b"aa");
        assert_eq!(attributes.name(4), b"");
        assert_eq!(format!("{:?}", Attributes::from_iter([("n", b"a\"\xff")])), r#"{"n": "a\\\"\\xff"}"#);
    }

    #[test]
    fn equal_ones_need_not_have_the_same_text() {
        let text = b"a=1\na=2\n";
        let mut lines = Attributes::of_lines(text);
        lines.add_line(0, 1, 3);
        lines.replace_value(0, 5, 7);
        assert_eq!(lines, Attributes::from_iter([("a", "2")]));
        assert_ne!(lines, Attributes::from_iter([("a", "1")]));
        assert_ne!(lines, Attributes::default());
    }

    proptest! {
        #[test]
        fn a_legal_byte_is_asked_for_in_names_and_values(
            all in proptest::collection::vec(("[a-d\n]{0,20}", "[a-d\n]{0,40}"), 0..4),
            separated: bool,
        ) {
            let is_legal = |byte| (b'a'..=b'c').contains(&byte) || byte == b'=';
            let mut pushed = Attributes::from_iter(all.iter().map(|(name, value)| (name, value)));
            let due = all.iter().all(|(name, value)| (name.bytes().chain(value.bytes())).all(is_legal));
            if separated {
                // As Postfix sends them: without a LF in a name or a value.
                let clean = |text: &str| text.replace('\n', "");
                let lines: Vec<_> =
                    all.iter().map(|(name, value)| format!("{}={}\n", clean(name), clean(value))).collect();
                pushed = Attributes::of_lines(lines.concat().as_bytes());
                let due = !lines.concat().contains('d');
                prop_assert_eq!(pushed.consist_of(is_legal), due);
            } else {
                prop_assert_eq!(pushed.consist_of(is_legal), due);
            }
        }
    }
}
