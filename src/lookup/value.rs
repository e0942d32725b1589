//! Fields of a JSON answer: where they stand, and what they say.
//!
//! The body is parsed once and then walked as text (`scan`), which keeps the document's order and
//! the digits of its numbers. What is done here takes time in proportion to the body's length,
//! whatever it holds. Where a field stands:
//!
//! 1. `""` or `/`: the whole document, of any kind (`value_field` alone);
//! 2. `/data/result`: a JSON pointer (RFC 6901);
//! 3. else that very key at the top level;
//! 4. else a dotted path from the root, `data.result`;
//! 5. else that key at any depth, shallowest first, then in document order; lists are not searched.
//!
//! A key that an object holds twice has its last value, as with every JSON library.

mod number;
mod scan;

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::model::{Action, Failure};
use crate::observe::explain;
use scan::Scan;

/// The deepest nesting of a body that is read.
const MAX_DEPTH: usize = 64;

/// Where a value stands in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The document itself.
    Whole,
    /// The reference tokens of a JSON pointer.
    Pointer(Vec<String>),
    /// A key, or a dotted path.
    Name(String),
}

/// Where the key of a [`Field::Name`] is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// At the top level, or at the end of the dotted path. The same key elsewhere means something else.
    Top,
    /// There, else at any depth.
    Any,
}

impl Field {
    /// Reads a field's name, a dotted path or a JSON pointer.
    ///
    /// # Errors
    /// A sentence, for a text that names no field.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        match Self::parse_or_whole(text) {
            Self::Whole => Err("must name a field"),
            field => Ok(field),
        }
    }

    /// The same, where the whole document may be meant: `""`, or `/`, which RFC 6901 has for the
    /// member `""`.
    pub(crate) fn parse_or_whole(text: &str) -> Self {
        match text.strip_prefix('/') {
            _ if text.is_empty() => Self::Whole,
            Some("") => Self::Whole,
            // `~1` first: `~01` is the key `~1` (RFC 6901 4).
            Some(tokens) => Self::Pointer(
                tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect(),
            ),
            None => Self::Name(text.to_owned()),
        }
    }

    /// The value of this field in `body`; `None` if it is absent.
    ///
    /// # Errors
    /// [`Failure::Body`] if an object on the way has a key that is not text (`"\ud800"`).
    pub(crate) fn find<'a>(&self, body: &Object<'a>, depth: Depth) -> Result<Option<Value<'a>>, Failure> {
        let is_any_depth = depth == Depth::Any;
        let found = match self {
            Self::Whole => Some(body.0),
            Self::Pointer(tokens) => {
                let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
                body.scan().descend(&tokens)?
            }
            Self::Name(name) if name.contains('.') => {
                let path = name.split('.').collect::<Vec<_>>();
                match body.scan().member_or_path(name, &path)? {
                    None if is_any_depth => body.scan().anywhere(name).outcome()?,
                    found => found,
                }
            }
            Self::Name(name) if is_any_depth => body.scan().anywhere(name).outcome()?,
            Self::Name(name) => body.scan().descend(&[name])?,
        };
        Ok(found.map(Value))
    }
}

/// The text of one JSON value, without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The text.
    pub(crate) fn get(self) -> &'a str {
        self.0
    }

    fn first(self) -> Option<u8> {
        self.0.as_bytes().first().copied()
    }
}

/// One JSON document, which is nested no deeper than the limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'a>(&'a str);

impl<'a> Document<'a> {
    /// Reads a body. A byte order mark in front is ignored, as RFC 8259 8.1 allows: some
    /// frameworks write one.
    ///
    /// # Errors
    /// [`Failure::Body`] for anything else: an HTML page, two documents, nothing at all.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let document: &RawValue = serde_json::from_slice(body).map_err(|_| Failure::Body)?;
        if is_deep(body) { Err(Failure::Body) } else { Ok(Self(document.get())) }
    }

    /// Its value.
    pub(crate) fn value(self) -> Value<'a> {
        Value(self.0)
    }

    /// The object that it is; `None` for any other value.
    pub(crate) fn object(self) -> Option<Object<'a>> {
        self.0.starts_with('{').then_some(Object(self.0))
    }
}

/// One JSON object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a>(&'a str);

impl<'a> Object<'a> {
    /// Reads a body, which is nested no deeper than the limit.
    ///
    /// # Errors
    /// [`Failure::Body`] for anything else: an HTML page, a list, nothing at all.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        Document::parse(body)?.object().ok_or(Failure::Body)
    }

    fn scan(&self) -> Scan<'a> {
        Scan::new(self.0)
    }
}

/// Whether a valid JSON text is nested deeper than the limit.
fn is_deep(json: &[u8]) -> bool {
    // What has few brackets, those in strings included, is not, and nearly every answer has few.
    let has_many = memchr::memchr2_iter(b'{', b'[', json).nth(MAX_DEPTH).is_some();
    has_many && depth(json) > MAX_DEPTH
}

/// The deepest nesting of a valid JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                now += 1;
                deepest = deepest.max(now);
            }
            (false, b'}' | b']') => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What a map's value says on the wire, in a reply of `max_reply` bytes at most, `OK ` included.
///
/// # Errors
/// [`Failure::EmptyValue`] for `""` and `null`, [`Failure::UnexpectedValue`] for an object, for
/// a list that holds none or only nulls, and for a CR, LF or NUL, [`Failure::TooLong`].
pub(crate) fn map_value(value: Value<'_>, max_reply: usize) -> Result<String, Failure> {
    // The limit is on the payload, `OK ` included (dict_sockmap.c).
    let overhead = "OK ".len();
    let mut joined = Joined { text: String::new(), bytes: 0, most: max_reply.saturating_sub(overhead) };
    let text = value.get();
    match value.first() {
        Some(b'n') => return Err(Failure::EmptyValue),
        Some(b'[') => {
            // An empty one is no value, and would be an empty address to whoever splits the list.
            for leaf in Scan::new(text).leaves().filter(|leaf| !is_nothing(leaf)) {
                joined.push(&scalar(leaf)?)?;
            }
            if joined.bytes == 0 {
                return Err(Failure::UnexpectedValue);
            }
        }
        _ => joined.push(&scalar(text)?)?,
    }
    match joined.bytes {
        0 => Err(Failure::EmptyValue),
        bytes if bytes > joined.most => Err(Failure::TooLong((bytes + overhead) as u64)),
        _ => Ok(joined.text),
    }
}

/// Whether `empty_value` decides what this means: `""`, `null`, and a list of nothing else.
pub(crate) fn is_empty(value: Value<'_>) -> bool {
    let text = value.get();
    match value.first() {
        Some(b'[') => Scan::new(text).leaves().all(is_nothing),
        _ => is_nothing(text),
    }
}

fn is_nothing(text: &str) -> bool {
    matches!(text, "null" | "\"\"")
}

/// Texts with commas between them; what is beyond the limit is counted, and not kept.
struct Joined {
    text: String,
    bytes: usize,
    most: usize,
}

impl Joined {
    fn push(&mut self, part: &str) -> Result<(), Failure> {
        if part.contains(['\r', '\n', '\0']) {
            return Err(Failure::UnexpectedValue);
        }
        let comma = if self.bytes > 0 { "," } else { "" };
        self.bytes += comma.len() + part.len();
        if self.bytes <= self.most {
            self.text.push_str(comma);
            self.text.push_str(part);
        }
        Ok(())
    }
}

fn scalar(text: &str) -> Result<Cow<'_, str>, Failure> {
    match text.as_bytes().first() {
        Some(b'"') => scan::decoded(text),
        Some(b't' | b'f') => Ok(Cow::Borrowed(text)),
        Some(b'{' | b'[' | b'n') | None => Err(Failure::UnexpectedValue),
        Some(_) => Ok(number::shortest(text)),
    }
}

/// What a policy's value tells Postfix to do; `None` for `null`, `""` and blanks.
///
/// # Errors
/// [`Failure::UnexpectedValue`] for anything but a string, and for an action that Postfix would
/// misread (see [`Action::parse`]).
pub(crate) fn policy_action(value: Value<'_>) -> Result<Option<Action>, Failure> {
    match value.first() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            let text = scalar(value.get())?;
            match text.trim() {
                "" => Ok(None),
                text => Action::parse(text).map(Some).map_err(|error| {
                    explain::note(|| format!("the action is refused: {error}"));
                    Failure::UnexpectedValue
                }),
            }
        }
        _ => Err(Failure::UnexpectedValue),
    }
}

/// What an error field says; empty for `null`, `""` and what holds nothing.
///
/// # Errors
/// [`Failure::Body`] for a string that is none.
pub(crate) fn error_text(value: Value<'_>) -> Result<String, Failure> {
    let text = value.get();
    let said = match value.first() {
        Some(b'n') => "",
        Some(b'{' | b'[') if Scan::new(text).is_bare() => "",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        _ => return scalar(text).map(Cow::into_owned),
    };
    Ok(said.to_owned())
}

#[cfg(test)]
mod tests;
