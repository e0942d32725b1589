//! Reads JSON (RFC 8259) with a place for each key and value.
//!
//! Escapes and the grammar of numbers are serde_json's, which has no places. A lone surrogate is a
//! fault, and so are comments and commas at the end. A whole number is read with all its digits
//! as far as an `i128` goes.

use serde::de::IgnoredAny;

use super::builder::{Builder, Read, Stop, whole};
use super::node::{Map, Node, Value};
use super::place::{Lines, Place};
use super::problem::Problem;

/// Reads `text`; of a key that `is_secret`, no fault names what stands below it.
pub(super) fn read(text: &str, is_secret: fn(&str) -> bool) -> (Node, Vec<Problem>) {
    let mut reader = Reader { text, at: 0, lines: Lines::of(text), builder: Builder::new(is_secret) };
    let root = reader.value();
    reader.blanks();
    if root.is_ok() && reader.at < text.len() {
        reader.expected("the end of the text");
    }
    reader.builder.finish(root)
}

struct Reader<'t> {
    text: &'t str,
    /// The next byte.
    at: usize,
    lines: Lines<'t>,
    builder: Builder,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The place of what comes next, behind blanks.
    fn place(&mut self) -> Place {
        self.blanks();
        self.lines.place(self.at)
    }

    /// Whether `byte` comes next, behind blanks; then it is read.
    fn eat(&mut self, byte: u8) -> bool {
        self.blanks();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Tells what is wrong at the byte `at`.
    fn broken(&mut self, at: usize, message: &str, hint: &str) -> Stop {
        let place = self.lines.place(at);
        self.builder.broken(place, format!("this is not JSON: {message}"), hint)
    }

    fn expected(&mut self, what: &str) -> Stop {
        self.blanks();
        let is_comment = ["//", "/*", "#"].iter().any(|start| self.rest().starts_with(start));
        let found = if self.peek().is_none() { ", found the end of the text" } else { "" };
        let hint = if is_comment { "JSON has no comments" } else { "" };
        self.broken(self.at, &format!("expected {what}{found}"), hint)
    }

    /// Tells what serde_json found in what begins at `start`; it quotes nothing of it.
    fn wrong(&mut self, start: usize, error: &serde_json::Error) -> Stop {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        self.broken(start + error.column().saturating_sub(1), message, "")
    }

    fn value(&mut self) -> Read {
        let place = self.place();
        let value = match self.peek() {
            Some(b'{') => {
                self.builder.begin(place)?;
                let mut map = Map::default();
                let read = self.members(b'}', |reader| reader.pair(&mut map));
                return whole(place, Value::Map(map), &read);
            }
            Some(b'[') => {
                self.builder.begin(place)?;
                let mut items = Vec::new();
                let read = self.members(b']', |reader| {
                    reader.builder.enter(&items);
                    let read = reader.value();
                    reader.builder.item(&mut items, read)
                });
                return whole(place, Value::List(items), &read);
            }
            Some(b'"') => Value::Text { text: self.string()?, is_plain: false },
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        self.builder.scalar(value, place)
    }

    /// The members behind the opening bracket that comes next, with commas between them.
    fn members(
        &mut self,
        end: u8,
        mut member: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.at += 1;
        let mut is_done = self.eat(end);
        while !is_done {
            member(self)?;
            is_done = self.eat(end);
            if !is_done && !self.eat(b',') {
                return Err(self.expected(&format!("`,` or `{}`", char::from(end))));
            }
            let comma = self.at - 1;
            self.blanks();
            if !is_done && self.peek() == Some(end) {
                return Err(self.broken(comma, "trailing comma", ""));
            }
        }
        Ok(())
    }

    fn pair(&mut self, map: &mut Map) -> Result<(), Stop> {
        let place = self.place();
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key in double quotes"));
        }
        let key = self.string()?;
        self.builder.key(map, &key, place)?;
        let read = if self.eat(b':') { self.value() } else { Err(self.expected("`:`")) };
        self.builder.pair(map, key, place, read)
    }

    /// The string whose opening quote comes next.
    fn string(&mut self) -> Result<String, Stop> {
        let start = self.at;
        let mut end = start + 1;
        loop {
            match self.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(0..=0x1f) => {
                    let hint = "a line break is written `\\n`, a tab `\\t`";
                    return Err(self.broken(end, "a control character in a string", hint));
                }
                Some(_) => end += 1,
                None => return Err(self.broken(start, "the closing `\"` of this string is missing", "")),
            }
        }
        self.at = end + 1;
        let quoted = self.text.get(start..=end).unwrap_or_default();
        serde_json::from_str(quoted).map_err(|error| self.wrong(start, &error))
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let start = self.at;
        let is_part = |c: char| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
        let rest = self.rest();
        let digits = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or_default();
        self.at += digits.len();
        serde_json::from_str::<IgnoredAny>(digits).map_err(|error| self.wrong(start, &error))?;
        if let Ok(number) = digits.parse() {
            return Ok(Value::Integer(number));
        }
        let number = digits.parse().ok().filter(|number| f64::is_finite(*number));
        number.map(Value::Float).ok_or_else(|| self.broken(start, "number out of range", ""))
    }

    fn word(&mut self) -> Result<Value, Stop> {
        let words = [("null", Value::Null), ("true", Value::Boolean(true)), ("false", Value::Boolean(false))];
        let found = words.into_iter().find(|(word, _)| self.rest().starts_with(word));
        let (word, value) = found.ok_or_else(|| self.expected("a value"))?;
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::builder::tests::{show, told};
    use super::*;

    fn read(text: &str) -> (Node, Vec<Problem>) {
        super::read(text, |_| false)
    }

    #[test]
    fn values_are_read_as_json_has_them() {
        for (text, expected) in [
            (" null ", "~"),
            ("[]", "[]"),
            ("{ }", "{}"),
            ("[true,false,null]", "[true, false, ~]"),
            ("{\"b\":1,\n\"a\":{\"\":[{}]}}", "{b: 1, a: {: [{}]}}"),
            (
                "[0, -0, -12, 18446744073709551616, 1e2, 1.5, -0.5E-1]",
                "[0, 0, -12, 18446744073709551616, 100.0, 1.5, -0.05]",
            ),
            ("[9999999999999999999999999999999999999999]", "[1e40]"),
            ("\"\\u00e4 \\ud83d\\ude00 \\\"\\/\\n ä😀\"", "\"ä 😀 \\\"/\\n ä😀\""),
            ("{\"\\u0061\": 1}", "{a: 1}"),
        ] {
            let (node, faults) = read(text);
            assert_eq!((show(&node).as_str(), faults), (expected, Vec::new()), "{text}");
        }
    }

    #[test]
    fn keys_and_values_have_their_places() {
        let (node, faults) = read("{\"ä\": {\n\t\"b\" :\n [5,\"😀\", null]}}");
        assert_eq!(faults, []);
        let a = node.get("ä").expect("ä");
        let b = a.node.get("b").expect("b");
        let Value::List(items) = &b.node.value else { panic!("a list") };
        let places =
            [node.place, a.place, a.node.place, b.place, b.node.place, items[1].place, items[2].place];
        let places = places.map(|place| (place.line, place.column));
        assert_eq!(places, [(1, 1), (1, 2), (1, 7), (2, 2), (3, 2), (3, 5), (3, 10)]);
    }

    /// Each text has one fault.
    #[test]
    fn faults_say_what_was_expected_and_where() {
        for (text, expected) in [
            ("", "1:1 : this is not JSON: expected a value, found the end of the text"),
            ("nul", "1:1 : this is not JSON: expected a value"),
            ("{} {}", "1:4 : this is not JSON: expected the end of the text"),
            ("{\"a\": 1", "1:8 : this is not JSON: expected `,` or `}`, found the end of the text"),
            ("[1\n2]", "2:1 : this is not JSON: expected `,` or `]`"),
            ("[1,,2]", "1:4 : this is not JSON: expected a value"),
            ("{\"a\": 1,,}", "1:9 : this is not JSON: expected a key in double quotes"),
            ("{a: 1}", "1:2 : this is not JSON: expected a key in double quotes"),
            ("{'a': 1}", "1:2 : this is not JSON: expected a key in double quotes"),
            ("{\"a\" 1}", "1:6 : this is not JSON: expected `:`"),
            ("[1, ]", "1:3 : this is not JSON: trailing comma"),
            ("{\"a\": 1,\n}", "1:8 : this is not JSON: trailing comma"),
            ("[1, // one\n2]", "1:5 : this is not JSON: expected a value (JSON has no comments)"),
            ("[1 /* one */]", "1:4 : this is not JSON: expected `,` or `]` (JSON has no comments)"),
            ("# one\n1", "1:1 : this is not JSON: expected a value (JSON has no comments)"),
            ("[\"ä\\ud83d\"]", "1:10 : this is not JSON: unexpected end of hex escape"),
            ("[\"\\ud83d\\u0041\"]", "1:14 : this is not JSON: lone leading surrogate in hex escape"),
            ("[\"\\ude00\"]", "1:8 : this is not JSON: lone leading surrogate in hex escape"),
            ("\"\\x41\"", "1:3 : this is not JSON: invalid escape"),
            ("\"a\nb\"", "1:3 : this is not JSON: a control character in a string (a line break is written"),
            ("[1, \"a]", "1:5 : this is not JSON: the closing `\"` of this string is missing"),
            ("[\"a\\", "1:2 : this is not JSON: the closing"),
            ("01", "1:2 : this is not JSON: invalid number"),
            ("[1.]", "1:3 : this is not JSON: "),
            ("[-]", "1:2 : this is not JSON: "),
            ("[+1]", "1:2 : this is not JSON: expected a value"),
            ("[1e999]", "1:2 : this is not JSON: number out of range"),
            ("[NaN]", "1:2 : this is not JSON: expected a value"),
            ("\u{feff}1", "1:1 : this is not JSON: expected a value"),
            ("{\"a\": [{\"b\": 1,\n\"b\": 2}]}", "2:1 a[0].b: duplicate key; first at line 1, column 9"),
            (&format!("{}1{}", "[".repeat(33), "]".repeat(33)), "1:33 [0][0]"),
            (&format!("[{}1]", "1,".repeat(100_000)), "[99999]: too large: more than 100000 values"),
        ] {
            let told = told(&read(text).1);
            assert!(
                told.len() == 1 && told[0].contains(expected),
                "{text:.80}\n{told:#?}\nand not {expected}"
            );
        }
        assert_eq!(read(&format!("{}1{}", "[".repeat(32), "]".repeat(32))).1, []);
    }

    #[test]
    fn a_broken_text_still_has_what_stands_before() {
        for (text, expected) in [
            ("{\"a\": {\"b\": [1, {\"c\": 2, \"d\" 3}], \"e\": 4}}", "{a: {b: [1, {c: 2}]}}"),
            ("{\"a\": 1, \"b\": \"x", "{a: 1}"),
            ("{\"a\": [1, 2,]}", "{a: [1, 2]}"),
            ("{\"a\": 1, \"a\": 2, \"b\": 3}", "{a: 1, b: 3}"),
        ] {
            let (node, faults) = read(text);
            assert_eq!((show(&node).as_str(), faults.len()), (expected, 1), "{text}");
        }
    }

    /// The same in serde_json's shape; the faults that it does not know are not made.
    fn as_serde(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Boolean(truth) => (*truth).into(),
            Value::Integer(number) => serde_json::from_str(&number.to_string()).expect("a number"),
            Value::Float(number) => (*number).into(),
            Value::Text { text, .. } => text.as_str().into(),
            Value::List(items) => items.iter().map(as_serde).collect(),
            Value::Map(pairs) => {
                pairs.pairs().iter().map(|pair| (pair.key.clone(), as_serde(&pair.node))).collect()
            }
        }
    }

    proptest! {
        #[test]
        fn serde_json_reads_the_same(text in "([\\[\\]{}:, ]|\"a\"|\"b\\\\n\"|\"\\\\u00e4\"|\"\\\\ud83d\\\\ude00\"|-?[0-9]{1,3}|1\\.5|null|true|/){0,12}") {
            let (node, faults) = read(&text);
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) if faults.is_empty() => {
                    let ours = as_serde(&node);
                    prop_assert!(ours == value || text.contains("-0"), "{ours} {value}");
                }
                Ok(_) => prop_assert!(faults.iter().all(|fault| fault.message.starts_with("duplicate key")), "{faults:?}"),
                Err(error) => prop_assert!(!faults.is_empty(), "{error}"),
            }
        }
    }
}
