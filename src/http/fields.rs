//! The header fields of an answer, in their order (RFC 9110 6.3).

use hyper::header::HeaderMap;

/// Header fields. Names are compared without case; values have no blanks around them.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// Names and values, one after the other.
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a name begins in the text, where it ends and its value begins, and where that ends.
#[derive(Debug, Clone, Copy)]
struct Line {
    name: u32,
    value: u32,
    end: u32,
}

impl Fields {
    pub(super) fn with_capacity(lines: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), lines: Vec::with_capacity(lines) }
    }

    /// Appends a field. A line break in a folded value becomes one blank, with the blanks around it (RFC 9112 5.2).
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let place = |text: &Vec<u8>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let begin = place(&self.text);
        self.text.extend_from_slice(name);
        let between = place(&self.text);
        let value = value.trim_ascii();
        if memchr::memchr(b'\n', value).is_none() {
            self.text.extend_from_slice(value);
        } else {
            let lines: Vec<_> = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
            self.text.extend(lines.join(&b' '));
        }
        self.lines.push(Line { name: begin, value: between, end: place(&self.text) });
    }

    /// The fields, name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| {
            let [name, value, end] = [line.name, line.value, line.end].map(|place| place as usize);
            (&self.text[name..value], &self.text[value..end])
        })
    }

    /// The values of the fields `name`.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The value of the first field `name`, if it is visible ASCII with blanks and tabs.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let is_text = |value: &&[u8]| value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        self.get(name).filter(is_text).and_then(|value| std::str::from_utf8(value).ok())
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        map.iter().map(|(name, value)| (name, value.as_bytes())).collect()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut all = Self::default();
        for (name, value) in fields {
            all.push(name.as_ref().as_bytes(), value.as_ref());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name_in_any_case() {
        let fields: Fields =
            [("Auth-Status", "OK"), ("X", ""), ("auth-status", " FAIL\t"), ("Auth-User", "caf\u{e9}")]
                .into_iter()
                .collect();
        assert_eq!(fields.all("AUTH-STATUS").collect::<Vec<_>>(), [b"OK".as_slice(), b"FAIL"]);
        assert_eq!((fields.get("x"), fields.get("auth")), (Some(b"".as_slice()), None));
        assert_eq!((fields.text("auth-status"), fields.text("auth-user")), (Some("OK"), None));
        let mut folded = Fields::default();
        folded.push(b"X", b"one \r\n \t two\n\tthree");
        assert_eq!(folded.text("x"), Some("one two three"));
    }
}
