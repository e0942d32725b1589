//! Fields of JSON answers, as a simple reader of the same text finds them.

use std::collections::VecDeque;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::parts::Parts;
use crate::lookup::value::{self, Field, Value};
use crate::model::{Action, Failure};

/// The name of a field, then the body of an answer.
///
/// The field has the value that a reader finds which parses each part of the body anew. What is sent to Postfix
/// of it is one line, and says what the value says.
pub fn values(bytes: &[u8]) {
    let mut parts = Parts::of(bytes);
    let (name, body) = (parts.text(), parts.rest());
    let field = Field::parse_or_whole(&name);
    let Ok(document) = Value::parse(body) else { return };
    said(document.get(), document);
    let Some(object) = document.object() else { return };
    let (found, at_top) = (field.find(&object), field.find_at_top(&object));
    if is_sound(document.get()) {
        let text = |found: &Result<Option<Value<'_>>, Failure>| {
            found.clone().map(|found| found.map(|value| value.get().to_owned()))
        };
        let due = |anywhere| {
            let due = reference(document.get(), &field, anywhere);
            due.map(|due| due.map(str::to_owned)).map_err(|NoPlace| Failure::Body)
        };
        assert_eq!(text(&found), due(true), "{name:?}");
        assert_eq!(text(&at_top), due(false), "{name:?} at the top");
    }
    if let Ok(Some(value)) = found {
        said(value.get(), value);
    }
}

/// What a value holds, as texts.
enum Json<'a> {
    List(Vec<&'a str>),
    Object(Vec<(String, &'a str)>),
    Other,
}

impl<'a> Json<'a> {
    /// Reads `text`, which is JSON; `None` for an object with a key that is half a surrogate pair.
    fn read(text: &'a str) -> Option<Self> {
        let part = |value: &'a RawValue| value.get();
        Some(match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).ok()?;
                Self::Object(members.into_iter().map(|(name, value)| (name, part(value))).collect())
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).expect("a list");
                Self::List(items.into_iter().map(part).collect())
            }
            _ => Self::Other,
        })
    }

    fn parts(&self) -> Vec<&'a str> {
        match self {
            Self::List(items) => items.clone(),
            Self::Object(members) => members.iter().map(|(_, value)| *value).collect(),
            Self::Other => Vec::new(),
        }
    }
}

/// The members of an object, all of them in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Whether no object in `text` has a key that is half a surrogate pair.
fn is_sound(text: &str) -> bool {
    Json::read(text).is_some_and(|json| json.parts().into_iter().all(is_sound))
}

/// A value that has no members, or no such ones, was asked for one.
struct NoPlace;

type Found<'a> = Result<Option<&'a str>, NoPlace>;

/// The value of `field` in the object `text`; with `anywhere` a name may stand at any depth.
fn reference<'a>(text: &'a str, field: &Field, anywhere: bool) -> Found<'a> {
    match field {
        Field::Whole => Ok(Some(text)),
        Field::Pointer(tokens) => descend(text, &tokens.iter().map(String::as_str).collect::<Vec<_>>(), true),
        Field::Name(name) => {
            let path: Vec<_> = name.split('.').collect();
            let at_top = match descend(text, &[name], true)? {
                None => descend(text, &path, true)?,
                found => found,
            };
            Ok(at_top.or_else(|| if anywhere { nearest(text, name) } else { None }))
        }
    }
}

fn descend<'a>(text: &'a str, keys: &[&str], is_document: bool) -> Found<'a> {
    let Some((first, rest)) = keys.split_first() else { return Ok(Some(text)) };
    let place = first.parse::<usize>().ok().filter(|place| place.to_string() == *first);
    match Json::read(text) {
        Some(Json::Object(members)) => {
            let named: Vec<_> = members.iter().filter(|(name, _)| name == first).collect();
            if named.is_empty() && !members.is_empty() && !is_document && place.is_some() {
                return Err(NoPlace);
            }
            named.iter().try_fold(None, |_, (_, value)| descend(value, rest, false))
        }
        Some(Json::List(items)) => match place {
            Some(place) => items.get(place).map_or(Ok(None), |item| descend(item, rest, false)),
            None if !items.is_empty() => Err(NoPlace),
            None => Ok(None),
        },
        Some(Json::Other) if !["null", "false", "\"\""].contains(&text) => Err(NoPlace),
        Some(Json::Other) | None => Ok(None),
    }
}

/// The value of `name` in the nearest object that has it.
fn nearest<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut objects = VecDeque::from([text]);
    while let Some(object) = objects.pop_front() {
        let Some(Json::Object(members)) = Json::read(object) else { continue };
        if let Some((_, value)) = members.iter().rfind(|(known, _)| known == name) {
            return Some(value);
        }
        objects.extend(members.iter().map(|(_, value)| *value));
    }
    None
}

/// What is sent of the value `text`.
fn said(text: &str, value: Value<'_>) {
    const LONG: usize = 100_000;
    let mut leaves = Vec::new();
    collect(text, &mut leaves);
    leaves.retain(|leaf| !matches!(*leaf, "null" | "\"\""));
    assert_eq!(value::is_empty(value), leaves.is_empty());
    let (found, due) = (value::map_value(value, LONG), joined(text, &leaves));
    let is_number = |leaf: &&str| leaf.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match &found {
        Ok(found) => {
            assert!(!found.is_empty() && !found.contains(['\r', '\n', '\0']), "{found:?}");
            match leaves[..] {
                [number] if is_number(&number) => is_same_number(found, number),
                _ if leaves.iter().any(is_number) => assert!(due.is_ok()),
                _ => assert_eq!(Ok(found), due.as_ref()),
            }
            let length = found.len() + "OK ".len();
            let short = value::map_value(value, 16);
            let is_cut = short == Err(Failure::TooLong(length as u64));
            assert!(if length > 16 { is_cut } else { short.as_ref() == Ok(found) }, "{short:?}");
        }
        Err(failure) => assert_eq!(due, Err(failure.clone()), "{text}"),
    }
    action(text, value);
    if let Ok(error) = value::error_text(value) {
        let is_nothing = matches!(text, "null" | "\"\"")
            || Json::read(text).is_some_and(|json| !matches!(json, Json::Other) && json.parts().is_empty());
        assert_eq!(error.is_empty(), is_nothing, "{text}");
    }
}

fn action(text: &str, value: Value<'_>) {
    let due = serde_json::from_str::<Option<String>>(text);
    match (value::policy_action(value), due) {
        (Ok(None), Ok(due)) => assert!(due.is_none_or(|text| text.trim().is_empty()), "{text}"),
        (Ok(Some(action)), Ok(Some(due))) => assert_eq!(action.as_str(), due.trim()),
        (Ok(found), due) => panic!("{found:?} is not {due:?}"),
        (Err(_), due) => {
            let is_no_action = |due: &String| Action::parse(due).is_err() && !due.trim().is_empty();
            assert!(due.is_err() || due.is_ok_and(|due| due.as_ref().is_some_and(is_no_action)), "{text}");
        }
    }
}

/// The values in a list at any depth, or the value that `text` is.
fn collect<'a>(text: &'a str, leaves: &mut Vec<&'a str>) {
    match text.starts_with('[').then(|| Json::read(text)) {
        Some(Some(list)) => list.parts().into_iter().for_each(|item| collect(item, leaves)),
        _ => leaves.push(text),
    }
}

/// The leaves of `text`, with commas between them.
fn joined(text: &str, leaves: &[&str]) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for leaf in leaves {
        parts.push(match leaf.as_bytes().first() {
            Some(b'"') => {
                let part: String = serde_json::from_str(leaf).map_err(|_| Failure::Body)?;
                if part.contains(['\r', '\n', '\0']) {
                    return Err(Failure::UnexpectedValue);
                }
                part
            }
            Some(b'{') => return Err(Failure::UnexpectedValue),
            _ => (*leaf).to_owned(),
        });
    }
    match parts.is_empty() {
        true if text.starts_with('[') => Err(Failure::UnexpectedValue),
        true => Err(Failure::EmptyValue),
        false => Ok(parts.join(",")),
    }
}

/// Whether `found` is the number `text`: a whole number has all its digits.
fn is_same_number(found: &str, text: &str) {
    let is_whole = text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    if is_whole && text != "-0" {
        assert_eq!(found, text);
    }
    let number = |text: &str| text.parse::<f64>().expect("a number");
    assert_eq!(number(found), number(text), "{found} is not {text}");
}
