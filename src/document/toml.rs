//! Reads TOML. Tables become maps in the order of their keys in the text.
//!
//! Dates are refused. A table that has a header stands at its header.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::builder::{Builder, Read, whole};
use super::node::{Map, Node, Value};
use super::place::{Lines, Place};
use super::problem::Problem;

/// Deeper tables than this are refused before they are read: what reads them recurses.
const MAX_DOTS: usize = 256;
/// Duplicate keys of which the first place is searched: each search reads the text again.
const MAX_SEARCHES: usize = 10;
/// A key that no configuration has.
const UNUSED_KEY: &str = "\"\u{10ffff}\"";

/// Reads `text`; of a key that `is_secret`, no fault names what stands below it.
pub(super) fn read(text: &str, is_secret: fn(&str) -> bool) -> (Node, Vec<Problem>) {
    let mut reader = Reader { lines: Lines::of(text), builder: Builder::new(is_secret) };
    if let Some(at) = deep_key(text) {
        let place = reader.lines.place(at);
        reader.builder.broken(place, "nested too deeply", "");
        return reader.builder.finish(Ok(Node { place: Place::START, value: Value::Null }));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut searches = 0;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let is_duplicate = error.message() == "duplicate key" && searches < MAX_SEARCHES;
        searches += usize::from(is_duplicate);
        let first = is_duplicate.then(|| first_of(text, span.clone())).flatten();
        let message = match first.map(|at| reader.lines.place(at)) {
            Some(Place { line, column }) => format!("duplicate key; first at line {line}, column {column}"),
            None => format!("this is not TOML: {}", error.message()),
        };
        let place = reader.lines.place(span.start);
        reader.builder.broken(place, message, "");
    }
    let root = reader.table(table.get_ref(), Place::START);
    reader.builder.finish(root)
}

/// Where a line holds so many dots that no key of a configuration can be meant.
fn deep_key(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let key = line.split(['=', '"', '\'']).next().unwrap_or_default();
        if key.bytes().filter(|&byte| byte == b'.').count() > MAX_DOTS {
            return Some(start);
        }
        start += line.len();
    }
    None
}

/// Where the table that holds the key at `again` has the same key first.
fn first_of(text: &str, again: Range<usize>) -> Option<usize> {
    let key = format!("{} = 0", text.get(again.clone())?);
    let (key, _) = DeTable::parse(&key).ok()?.into_inner().into_iter().next()?;
    // With another name, the key is in its table.
    let renamed = format!("{}{UNUSED_KEY}{}", &text[..again.start], &text[again.end..]);
    let (top, _) = DeTable::parse_recoverable(&renamed);
    let table = table_with(top.get_ref(), again.start)?;
    let (first, _) = table.iter().find(|(first, _)| first.get_ref() == key.get_ref())?;
    Some(first.span().start)
}

/// The table in or below `table` with a key that stands at `at`.
fn table_with<'t>(table: &'t DeTable<'t>, at: usize) -> Option<&'t DeTable<'t>> {
    if table.keys().any(|key| key.span().start == at) {
        return Some(table);
    }
    table.values().find_map(|value| table_in(value.get_ref(), at))
}

fn table_in<'t>(value: &'t DeValue<'t>, at: usize) -> Option<&'t DeTable<'t>> {
    match value {
        DeValue::Table(table) => table_with(table, at),
        DeValue::Array(items) => items.iter().find_map(|item| table_in(item.get_ref(), at)),
        _ => None,
    }
}

struct Reader<'t> {
    lines: Lines<'t>,
    builder: Builder,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, place: Place) -> Read {
        self.builder.begin(place)?;
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(key, _)| key.span().start);
        let mut map = Map::default();
        let read = members.into_iter().try_for_each(|(key, value)| {
            let (name, place) = (key.get_ref(), self.lines.place(key.span().start));
            self.builder.key(&map, name, place)?;
            let read = self.value(value);
            self.builder.pair(&mut map, name.to_string(), place, read)
        });
        whole(place, Value::Map(map), &read)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Read {
        let place = self.lines.place(value.span().start);
        let scalar = match value.get_ref() {
            DeValue::Table(table) => return self.table(table, place),
            DeValue::Array(array) => {
                self.builder.begin(place)?;
                let mut items = Vec::new();
                let read = array.iter().try_for_each(|item| {
                    self.builder.enter(&items);
                    let read = self.value(item);
                    self.builder.item(&mut items, read)
                });
                return whole(place, Value::List(items), &read);
            }
            DeValue::String(text) => Value::Text { text: text.to_string(), is_plain: false },
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            // What does not fit is no whole number that a key could take.
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Float(f64::NAN), Value::Integer),
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(_) => {
                self.builder.fault(place, "a date has no meaning here; write a text, in quotes", "");
                Value::Null
            }
        };
        self.builder.scalar(scalar, place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::builder::tests::{show, told};
    use super::super::node::Pair;
    use super::*;

    fn read(text: &str) -> (Node, Vec<Problem>) {
        super::read(text, |_| false)
    }

    #[test]
    fn values_are_read_in_the_order_of_the_text() {
        let text = "z = 'a'\n[s]\nb = {json = true, n = 0x7}\na = [1_000, 0o17, 0b1, -5, 18446744073709551616]\n\
                    f = [1_0.5, inf, -nan]\n[[t]]\n\"x y\".k = \"\"\"\nä \\U0001F600\"\"\"\n[[t]]\n[s.u]\n";
        let (node, faults) = read(text);
        assert_eq!(faults, []);
        assert_eq!(
            show(&node),
            "{z: \"a\", s: {b: {json: true, n: 7}, a: [1000, 15, 1, -5, 18446744073709551616], \
             f: [10.5, inf, NaN], u: {}}, t: [{x y: {k: \"ä 😀\"}}, {}]}"
        );
    }

    #[test]
    fn keys_and_values_have_their_places() {
        let (node, faults) = read("a = 1\n[s]\n  \"ä\".b = [5,\n   {c = ''}]\n");
        assert_eq!(faults, []);
        let at = |pair: &Pair| {
            let (key, value) = (pair.place, pair.node.place);
            (key.line, key.column, value.line, value.column)
        };
        let a = node.get("a").expect("a");
        let s = node.get("s").expect("s");
        let b = s.node.get("ä").and_then(|pair| pair.node.get("b")).expect("b");
        assert_eq!((at(a), at(b)), ((1, 1, 1, 5), (3, 7, 3, 11)));
        assert_eq!((s.place.line, s.place.column), (2, 2));
        let Value::List(items) = &b.node.value else { panic!("a list") };
        assert_eq!(at(items[1].get("c").expect("c")), (4, 5, 4, 9));
    }

    #[test]
    fn faults_have_their_places() {
        for (text, expected) in [
            ("[s]\na = [1979-05-27]", "2:6 s.a[0]: a date has no meaning here; write a text, in quotes"),
            ("name = 'a'\nname = 'b'", "2:1 : duplicate key; first at line 1, column 1"),
            ("[s]\nx = 1\ny = {x = 2}\n\"x\" = 3", "4:1 : duplicate key; first at line 2, column 1"),
            (
                "a = 1\n[s]\na = 1\n[[s.t]]\na = 1\n[[s.t]]\na = 1\na = 2",
                "8:1 : duplicate key; first at line 7",
            ),
            ("a = [{b.c = 1, c = 2, b.c = 3}]", "1:25 : duplicate key; first at line 1, column 9"),
            ("[s]\n[t]\n[s]", "3:2 : duplicate key; first at line 1, column 2"),
            ("type = tcp", "1:8 : this is not TOML"),
            (&format!("a = {}1{}", "[".repeat(33), "]".repeat(33)), "nested too deeply"),
            (&format!("a = [{}]", "1,".repeat(100_000)), "too large: more than 100000 values"),
        ] {
            let told = told(&read(text).1);
            assert!(told.len() == 1 && told[0].contains(expected), "{told:#?}\nand not {expected}");
        }
        assert_eq!(read(&format!("a = {}1{}", "[".repeat(31), "]".repeat(31))).1, []);
    }

    #[test]
    fn a_broken_text_still_has_its_tree() {
        let (node, faults) = read("[server.admin]\npath = '/run/x'\n[server.logging]\nlevel = debug\n");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(show(&node).starts_with("{server: {admin: {path: \"/run/x\"}"), "{}", show(&node));
    }
}
