//! Fields of a JSON answer.
//!
//! The body is validated once and then read as text (`scan`), which keeps the order of members and the digits of
//! numbers. The time that this takes is proportional to the length of the body. A field names:
//!
//! 1. `""` or `/`: the whole document, of any kind (`value_field` alone);
//! 2. `/data/result`: a JSON pointer (RFC 6901);
//! 3. else that very key at the top level;
//! 4. else a dotted path from the root, `data.result`;
//! 5. else that key at any depth, shallowest first, then in document order; lists are not searched.
//!
//! A key that an object holds twice has its last value, as with every JSON library; but if the path cannot be followed
//! in the first one, that is a failure.

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

impl Field {
    /// Reads a field's name, a dotted path or a JSON pointer.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        match Self::parse_or_whole(text) {
            Self::Whole => Err("must name a field"),
            field => Ok(field),
        }
    }

    /// As [`Self::parse`], but `""` and `/` are the whole document. In RFC 6901 `/` is the member `""`.
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

    /// The value of this field in `body`, with a name at any depth; `None` if it is absent.
    ///
    /// # Errors
    /// [`Failure::Body`] if an object on the way has a key that is not text (`"\ud800"`), or if the answer has another
    /// form than the field: a key leads into a text, a number, `true` or a list with values.
    pub(crate) fn find<'a>(&self, body: &Object<'a>) -> Result<Option<Value<'a>>, Failure> {
        match self {
            Self::Name(name) if !name.contains('.') => body.find_anywhere(name),
            Self::Name(name) => match self.find_at_top(body)? {
                None => body.find_anywhere(name),
                found => Ok(found),
            },
            Self::Whole | Self::Pointer(_) => self.find_at_top(body),
        }
    }

    /// As [`Self::find`], with a name at the top level or at the end of its dotted path alone: the same key
    /// elsewhere means something else.
    pub(crate) fn find_at_top<'a>(&self, body: &Object<'a>) -> Result<Option<Value<'a>>, Failure> {
        let found = match self {
            Self::Whole => Some(body.0),
            Self::Pointer(tokens) => Scan::new(body.0).descend(tokens)?,
            Self::Name(name) => match Scan::new(body.0).descend(&[name])? {
                None if name.contains('.') => {
                    let path: Vec<_> = name.split('.').collect();
                    Scan::new(body.0).descend(&path)?
                }
                found => found,
            },
        };
        Ok(found.map(Value))
    }
}

/// The text of one JSON value, without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// Reads a body: one JSON document, nested no deeper than the limit. A byte order mark in front is ignored,
    /// as RFC 8259 8.1 allows: some frameworks write one.
    ///
    /// # Errors
    /// [`Failure::Body`] for anything else: an HTML page, two documents, nothing at all.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let document: &RawValue = serde_json::from_slice(body).map_err(|_| Failure::Body)?;
        if is_deep(body) { Err(Failure::Body) } else { Ok(Self(document.get())) }
    }

    /// The object that it is; `None` for any other value.
    pub(crate) fn object(self) -> Option<Object<'a>> {
        self.0.starts_with('{').then_some(Object(self.0))
    }

    pub(crate) fn get(self) -> &'a str {
        self.0
    }

    fn first(self) -> Option<u8> {
        self.0.as_bytes().first().copied()
    }
}

/// One JSON object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a>(&'a str);

impl<'a> Object<'a> {
    /// Reads a body. Anything but an object is a [`Failure::Body`].
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        Value::parse(body)?.object().ok_or(Failure::Body)
    }

    fn find_anywhere(&self, name: &str) -> Result<Option<Value<'a>>, Failure> {
        Ok(Scan::new(self.0).anywhere(name)?.map(Value))
    }
}

/// Whether a valid JSON text is nested deeper than the limit.
fn is_deep(json: &[u8]) -> bool {
    // Nearly every answer is too short for that, or has fewer brackets, those in strings included.
    if json.len() <= 2 * MAX_DEPTH || memchr::memchr2_iter(b'{', b'[', json).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') if depth == MAX_DEPTH => return true,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What a map's value says on the wire, in a reply of `max_reply` bytes at most, `OK ` included
/// (dict_sockmap.c). Commas join the values of a list; those that say nothing are left out, for `a,,b` would
/// hold an empty address.
///
/// # Errors
/// [`Failure::EmptyValue`] for `""` and `null`, [`Failure::UnexpectedValue`] for an object, for
/// a list that holds none or only nulls, and for a CR, LF or NUL, [`Failure::TooLong`].
pub(crate) fn map_value(value: Value<'_>, max_reply: usize) -> Result<String, Failure> {
    const OK: usize = "OK ".len();
    let (mut joined, mut bytes) = (String::new(), OK);
    for leaf in Scan::new(value.0).leaves().filter(|leaf| !is_nothing(leaf)) {
        let part = scalar(leaf)?;
        if part.contains(['\r', '\n', '\0']) {
            return Err(Failure::UnexpectedValue);
        }
        let comma = if bytes > OK { "," } else { "" };
        bytes += comma.len() + part.len();
        // What is beyond the limit is counted, and not kept.
        if bytes <= max_reply {
            joined.push_str(comma);
            joined.push_str(&part);
        }
    }
    match bytes {
        OK if value.first() == Some(b'[') => Err(Failure::UnexpectedValue),
        OK => Err(Failure::EmptyValue),
        _ if bytes > max_reply => Err(Failure::TooLong(bytes as u64)),
        _ => Ok(joined),
    }
}

/// Whether `empty_value` decides what this means: `""`, `null`, and a list of nothing else.
pub(crate) fn is_empty(value: Value<'_>) -> bool {
    Scan::new(value.0).leaves().all(is_nothing)
}

fn is_nothing(text: &str) -> bool {
    matches!(text, "null" | "\"\"")
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

/// What an error field says; empty for `null`, `""`, and an object or a list that holds nothing.
///
/// # Errors
/// [`Failure::Body`] for a string with half a surrogate pair.
pub(crate) fn error_text(value: Value<'_>) -> Result<String, Failure> {
    let text = value.get();
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    let said = match value.first() {
        Some(b'n') => "",
        Some(b'{' | b'[') if inner.trim_ascii().is_empty() => "",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        _ => return scalar(text).map(Cow::into_owned),
    };
    Ok(said.to_owned())
}

#[cfg(test)]
mod tests;
