//! The fuzz target of the readers of YAML, TOML and JSON.

use std::fmt::Write as _;

use super::builder::Size;
use super::node::{Node, Pair, Value};
use super::syntax::Syntax;

/// More values are not written again, which takes time.
const MOST_VALUES: usize = 1000;
/// Bytes of a key as it is written. A longer one needs another form in YAML, which allows 1024 characters for an
/// implicit key (YAML 1.2.2 7.4.2).
const LONGEST_KEY: usize = 1000;

/// A text, which is read as each of the three.
///
/// The number of faults is bounded, and each has its place in the text. A tree without faults is the same when
/// it is written in any of the three syntaxes and read again.
pub fn trees(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.split('\n').count();
    for syntax in [Syntax::Yaml, Syntax::Toml, Syntax::Json] {
        let (tree, faults) = syntax.read(&text, |key| key.contains("secret"));
        assert!(faults.len() <= 100);
        for fault in &faults {
            let place = fault.place.expect("a place");
            assert!((1..=lines + 1).contains(&place.line) && place.column > 0, "{fault} of {lines} lines");
        }
        if faults.is_empty() && Size::of(&tree).values <= MOST_VALUES && is_plain(&tree) {
            same_in_all(&tree);
        }
    }
}

/// Whether all numbers are finite, and no key is long.
fn is_plain(node: &Node) -> bool {
    match &node.value {
        Value::Float(number) => number.is_finite(),
        Value::List(items) => items.iter().all(is_plain),
        Value::Map(map) => {
            map.pairs().iter().all(|pair| quoted(&pair.key).len() <= LONGEST_KEY && is_plain(&pair.node))
        }
        _ => true,
    }
}

fn same_in_all(tree: &Node) {
    let mut written = vec![(Syntax::Json, flow(tree, ":")), (Syntax::Yaml, flow(tree, ": "))];
    let mut block = String::new();
    write_block(tree, 0, &mut block);
    written.push((Syntax::Yaml, block + "\n"));
    if let Value::Map(map) = &tree.value
        && is_toml(tree)
    {
        let line = |pair: &Pair| format!("{} = {}\n", quoted(&pair.key), flow(&pair.node, " = "));
        written.push((Syntax::Toml, map.pairs().iter().map(line).collect()));
    }
    for (syntax, text) in written {
        let (again, faults) = syntax.read(&text, |_| false);
        assert!(faults.is_empty(), "{syntax:?}: {faults:?}\n{text}");
        assert!(is_same(tree, &again), "{syntax:?}: {}\n{text}\n{}", flow(&again, ":"), flow(tree, ":"));
    }
}

/// Whether TOML has all of it: no nulls, and numbers of 64 bits.
fn is_toml(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Integer(number) => i64::try_from(*number).is_ok(),
        Value::List(items) => items.iter().all(is_toml),
        Value::Map(map) => map.pairs().iter().all(|pair| is_toml(&pair.node)),
        _ => true,
    }
}

fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Null, Value::Null) => true,
        (Value::Boolean(one), Value::Boolean(other)) => one == other,
        (Value::Integer(one), Value::Integer(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (Value::Text { text: one, .. }, Value::Text { text: other, .. }) => one == other,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            let (one, other) = (one.pairs(), other.pairs());
            let is_pair =
                |(one, other): (&Pair, &Pair)| one.key == other.key && is_same(&one.node, &other.node);
            one.len() == other.len() && one.iter().zip(other).all(is_pair)
        }
        _ => false,
    }
}

/// A text in double quotes, as all three syntaxes read it.
fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// One line, with `between` key and value.
fn flow(node: &Node, between: &str) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text { text, .. } => quoted(text),
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| flow(item, between)).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let pair = |pair: &Pair| [&quoted(&pair.key), between, &flow(&pair.node, between)].concat();
            format!("{{{}}}", map.pairs().iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A line for each value, as YAML is mostly written.
fn write_block(node: &Node, depth: usize, out: &mut String) {
    let mut line = |begin: &str, node: &Node| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
        out.push_str(begin);
        write_block(node, depth + 1, out);
    };
    match &node.value {
        Value::List(items) if !items.is_empty() => items.iter().for_each(|item| line("-", item)),
        Value::Map(map) if !map.pairs().is_empty() => {
            map.pairs().iter().for_each(|pair| line(&(quoted(&pair.key) + ":"), &pair.node));
        }
        _ => {
            out.push(' ');
            out.push_str(&flow(node, ": "));
        }
    }
}
