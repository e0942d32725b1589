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

/// What a search at any depth has seen.
#[derive(Default)]
pub(super) struct Search<'a> {
    found: Option<(Rank, &'a str)>,
    /// The first object with a key that is no text.
    broken: Option<Rank>,
}

impl<'a> Search<'a> {
    /// What was found.
    ///
    /// # Errors
    /// [`Failure::Body`] where an object that comes before has a key that is no text.
    pub(super) fn outcome(&self) -> Result<Option<&'a str>, Failure> {
        match (self.found, self.broken) {
            (None, Some(_)) => Err(Failure::Body),
            (Some((found, _)), Some(broken)) if broken <= found => Err(Failure::Body),
            (found, _) => Ok(found.map(|(_, value)| value)),
        }
    }
}

impl<'a> Scan<'a> {
    /// The beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no blank.
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

    /// Passes a number, `true`, `false` or `null`; in no JSON, at least one byte.
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

    /// Passes the value that begins here, and returns what `keys` lead to in it: names of members,
    /// the last of those that have one name, and indices of lists.
    ///
    /// # Errors
    /// [`Failure::Body`] where an object on the way has a key that is no text.
    pub(super) fn descend(&mut self, keys: &[&str]) -> Result<Option<&'a str>, Failure> {
        let Some((first, rest)) = keys.split_first() else { return Ok(Some(self.value())) };
        let mut found = None;
        match self.peek() {
            Some(b'{') => self.members(|scan, key| {
                if is(key, first)? {
                    found = scan.descend(rest)?;
                } else {
                    scan.value();
                }
                Ok(())
            })?,
            Some(b'[') => {
                let wanted = first.parse::<usize>().ok();
                self.pass(b'[');
                let mut index = 0;
                while self.peek().is_some_and(|byte| byte != b']') {
                    if wanted == Some(index) {
                        found = self.descend(rest)?;
                    } else {
                        self.value();
                    }
                    self.pass(b',');
                    index += 1;
                }
                self.pass(b']');
            }
            _ => {
                self.value();
            }
        }
        Ok(found)
    }

    /// Passes the object that begins here, and returns its member `name`, else what `path` leads to.
    pub(super) fn member_or_path(&mut self, name: &str, path: &[&str]) -> Result<Option<&'a str>, Failure> {
        let Some((first, rest)) = path.split_first() else { return Ok(None) };
        let (mut member, mut end) = (None, Ok(None));
        self.peek();
        self.members(|scan, key| {
            if is(key, name)? {
                member = Some(scan.value());
            } else if is(key, first)? {
                let mut branch = Self { text: scan.text, at: scan.at };
                end = branch.descend(rest);
                // A fault in there is one only if it is on the way.
                if end.is_ok() {
                    scan.at = branch.at;
                } else {
                    scan.value();
                }
            } else {
                scan.value();
            }
            Ok(())
        })?;
        member.map_or(end, |value| Ok(Some(value)))
    }

    /// Passes the object that begins here, and looks for the member `name` of the shallowest object in
    /// it that has one, itself included, and of those the first in the document. Lists are not searched.
    pub(super) fn anywhere(&mut self, name: &str) -> Search<'a> {
        let mut search = Search::default();
        self.peek();
        self.search(name, 0, &mut search);
        search
    }

    /// As deep as the body is nested, which is bounded.
    fn search(&mut self, name: &str, depth: usize, search: &mut Search<'a>) {
        let rank = (depth, self.at);
        let (mut found, mut is_broken) = (None, false);
        let searched = self.members(|scan, key| {
            let start = scan.at;
            // What is deeper than what was found is of no interest.
            let is_near = search.found.is_none_or(|((other, _), _)| depth < other);
            if is_near && scan.peek() == Some(b'{') {
                scan.search(name, depth + 1, search);
            } else {
                scan.value();
            }
            match is(key, name) {
                Ok(true) => found = Some(scan.since(start)),
                Ok(false) => {}
                Err(_) => is_broken = true,
            }
            Ok(())
        });
        is_broken |= searched.is_err();
        if let Some(value) = found
            && search.found.is_none_or(|(other, _)| rank < other)
        {
            search.found = Some((rank, value));
        }
        if is_broken && search.broken.is_none_or(|other| rank < other) {
            search.broken = Some(rank);
        }
    }

    /// Whether the object or list that begins here holds nothing.
    pub(super) fn is_bare(&mut self) -> bool {
        let end = if self.pass(b'{') { b'}' } else { b']' };
        self.pass(b'[');
        self.peek() == Some(end)
    }

    /// What a list holds that is no list, at any depth; of an object its first bracket alone.
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
                // A `}` or `:` belongs to an object, behind which nobody looks.
                b'}' | b':' => None,
                _ => Some(self.word()),
            }
        })
    }
}

/// Whether a key, which stands in quotes, is `name`. It takes no memory, for there may be many.
fn is(key: &str, name: &str) -> Result<bool, Failure> {
    let inner = key.get(1..key.len().saturating_sub(1)).unwrap_or_default();
    // Nearly all are plain, which is seen many bytes at a time.
    if inner.bytes().fold(true, |plain, byte| plain & (byte != b'\\')) {
        return Ok(inner == name);
    }
    let Some((plain, mut escaped)) = inner.split_once('\\') else { return Ok(false) };
    let mut due = name.strip_prefix(plain);
    loop {
        let (one, behind) = match escaped.as_bytes().first() {
            Some(b'u') => {
                let code = escaped.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => (c, 5),
                    // A pair of surrogates, or half of one.
                    None => return decoded(key).map(|key| key == name),
                }
            }
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(&byte @ (b'"' | b'\\' | b'/')) => (char::from(byte), 1),
            _ => return Err(Failure::Body),
        };
        due = due.and_then(|due| due.strip_prefix(one));
        let rest = escaped.get(behind..).unwrap_or_default();
        match rest.split_once('\\') {
            None => return Ok(due == Some(rest)),
            Some((plain, next)) => {
                due = due.and_then(|due| due.strip_prefix(plain));
                escaped = next;
            }
        }
    }
}

/// What a string says, which stands in quotes.
///
/// # Errors
/// [`Failure::Body`] for half a surrogate pair.
pub(super) fn decoded(string: &str) -> Result<Cow<'_, str>, Failure> {
    match string.get(1..string.len().saturating_sub(1)) {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(string).map(Cow::Owned).map_err(|_| Failure::Body),
    }
}
