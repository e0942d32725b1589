//! A walk over the text of valid JSON. It looks at each byte once, however deep that stands: the
//! parts of an answer are never parsed anew, so an answer costs as much as it is long.
//!
//! The text was parsed before. In any other the walk ends early, and never panics.

use std::borrow::Cow;

use crate::model::Failure;

/// A place in a JSON text.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// Where an object stands: how deep, then how far from the beginning.
type Rank = (usize, usize);

/// The value in the object with the lowest rank, or the failure of that.
type Best<'a> = Option<(Rank, Result<&'a str, Failure>)>;

impl<'a> Scan<'a> {
    /// The beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not a blank.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Whether `byte` comes next; then it is passed.
    fn pass(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Passes the string that begins here, and returns it with its quotes.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        // Most are short, and memchr is for long ones.
        let rest = bytes.get(self.at..).unwrap_or_default();
        let near = &rest[..rest.len().min(16)];
        self.at += near.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(near.len());
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return self.since(start);
                }
                Some(b'\\') => self.at += 2,
                Some(_) => {
                    let rest = &bytes[self.at..];
                    self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                }
                None => {
                    self.at = bytes.len();
                    return self.since(start);
                }
            }
        }
    }

    /// Passes a number, `true`, `false` or `null`; in what is not JSON, at least one byte.
    fn word(&mut self) -> &'a str {
        let start = self.at;
        self.at += usize::from(start < self.text.len());
        let is_part = |byte: &u8| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        while self.text.as_bytes().get(self.at).is_some_and(is_part) {
            self.at += 1;
        }
        self.since(start)
    }

    /// Passes one value of any kind, and returns its text.
    fn value(&mut self) -> &'a str {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => return self.string(),
            Some(b'{' | b'[') => {}
            _ => return self.word(),
        }
        let mut open = 0usize;
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                break;
            }
        }
        self.since(start)
    }

    /// Passes the object that begins here. `member` gets each key, with its quotes, and passes its value.
    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.pass(b'{');
        while self.peek() == Some(b'"') {
            let key = self.string();
            self.pass(b':');
            self.peek();
            member(self, key)?;
            self.pass(b',');
        }
        self.pass(b'}');
        Ok(())
    }

    /// Passes the document, an object, and returns what `keys` lead to in it: names of members, the last of those that
    /// have one name, and numbers of places in lists.
    ///
    /// # Errors
    /// [`Failure::Body`] if an object on the way has a key that is not text, or if the answer has another form than the
    /// keys, so that nothing is said to be absent: a key that leads into a text, a number, `true`, or, unless it is the
    /// number of a place, a list with values; the number of a place where an object has other members. `null`,
    /// `false`, `""`, `[]` and `{}` have no member: some languages write an object without members as `[]`.
    pub(super) fn descend<K: AsRef<str>>(&mut self, keys: &[K]) -> Result<Option<&'a str>, Failure> {
        self.step(keys, true)
    }

    /// The same for the value that begins here, which is the document itself or not.
    fn step<K: AsRef<str>>(&mut self, keys: &[K], is_document: bool) -> Result<Option<&'a str>, Failure> {
        let Some((first, rest)) = keys.split_first() else { return Ok(Some(self.value())) };
        let (first, mut found) = (first.as_ref(), None);
        match self.peek() {
            Some(b'{') => {
                let (mut is_named, mut has_others) = (false, false);
                self.members(|scan, key| {
                    if is(key, first)? {
                        is_named = true;
                        found = scan.step(rest, false)?;
                    } else {
                        has_others = true;
                        scan.value();
                    }
                    Ok(())
                })?;
                if has_others && !is_named && !is_document && place(first).is_some() {
                    return Err(Failure::Body);
                }
            }
            Some(b'[') => {
                self.pass(b'[');
                let wanted = place(first);
                for index in 0.. {
                    if matches!(self.peek(), None | Some(b']')) {
                        break;
                    }
                    match wanted.ok_or(Failure::Body)? == index {
                        true => found = self.step(rest, false)?,
                        false => _ = self.value(),
                    }
                    self.pass(b',');
                }
                self.pass(b']');
            }
            _ if matches!(self.value(), "null" | "false" | "\"\"" | "") => {}
            _ => return Err(Failure::Body),
        }
        Ok(found)
    }

    /// Passes the object that begins here, and looks for the member `name` of the shallowest object in
    /// it that has one, itself included, and of those the first in the document. Lists are not searched.
    ///
    /// # Errors
    /// [`Failure::Body`] if an object that comes before, or that one, has a key that is not text.
    pub(super) fn anywhere(&mut self, name: &str) -> Result<Option<&'a str>, Failure> {
        let mut best = None;
        self.peek();
        self.search(name, 0, &mut best);
        best.map(|(_, found)| found).transpose()
    }

    /// Recurs as deep as the body is nested, which is bounded.
    fn search(&mut self, name: &str, depth: usize, best: &mut Best<'a>) {
        let rank = (depth, self.at);
        let mut found = Ok(None);
        let walked = self.members(|scan, key| {
            let start = scan.at;
            // What is deeper than the best cannot be better.
            let is_near = best.as_ref().is_none_or(|((other, _), _)| depth < *other);
            if is_near && scan.peek() == Some(b'{') {
                scan.search(name, depth + 1, best);
            } else {
                scan.value();
            }
            match is(key, name) {
                Ok(true) if found.is_ok() => found = Ok(Some(scan.since(start))),
                Ok(_) => {}
                Err(failure) => found = Err(failure),
            }
            Ok(())
        });
        if let Some(found) = walked.and(found).transpose()
            && best.as_ref().is_none_or(|(other, _)| rank < *other)
        {
            *best = Some((rank, found));
        }
    }

    /// The strings and words of a value that is not an object, those in lists at any depth included; of an
    /// object its first bracket alone.
    pub(super) fn leaves(mut self) -> impl Iterator<Item = &'a str> {
        std::iter::from_fn(move || {
            while matches!(self.peek()?, b'[' | b']' | b',') {
                self.at += 1;
            }
            match self.peek()? {
                b'"' => Some(self.string()),
                b'{' => {
                    self.at += 1;
                    Some("{")
                }
                // The inside of an object is not looked at.
                b'}' | b':' => None,
                _ => Some(self.word()),
            }
        })
    }
}

/// The place in a list that a token names: digits alone, and no zero in front of others (RFC 6901 4).
fn place(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| is_canonical)
}

/// Whether a key, which stands in quotes, is `name`. Only a key with escapes takes memory.
fn is(key: &str, name: &str) -> Result<bool, Failure> {
    Ok(decoded(key)? == name)
}

/// What a string says, which stands in quotes.
///
/// # Errors
/// [`Failure::Body`] for half a surrogate pair.
pub(super) fn decoded(string: &str) -> Result<Cow<'_, str>, Failure> {
    // Nearly all are plain, which is seen many bytes at a time.
    let is_plain = |text: &str| text.bytes().fold(true, |plain, byte| plain & (byte != b'\\'));
    match string.get(1..string.len().saturating_sub(1)) {
        Some(inner) if is_plain(inner) => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(string).map(Cow::Owned).map_err(|_| Failure::Body),
    }
}
