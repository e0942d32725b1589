//! What the longest answers cost, whatever they hold: CPU time of this thread, at its
//! best of three.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::super::*;
use crate::http::MAX_BODY;

/// What an answer may cost a thread. Unoptimised code takes some ten times as long; what looks at
/// the parts of an answer over and over takes a hundred times as long, or more.
const MOST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 50 });

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// `{"value": …}` with as many `parts` between `open` and `close` as an answer may hold.
fn filled(open: &str, part: &str, comma: &str, close: &str) -> String {
    let room = MAX_BODY - open.len() - close.len() - part.len();
    let parts = vec![part; room / (part.len() + comma.len())].join(comma);
    format!("{open}{parts}{close}")
}

fn deep(key: &str, open: &str, part: &str, close: &str) -> String {
    // One level is the body's own, one the innermost list.
    let levels = MAX_DEPTH - 2;
    filled(
        &format!("{{\"{key}\":{}[", open.repeat(levels)),
        part,
        ",",
        &format!("]{}}}", close.repeat(levels)),
    )
}

fn shapes() -> Vec<(&'static str, String)> {
    let list = |part| filled(r#"{"value":["#, part, ",", "]}");
    let long_key = "k".repeat(1000);
    vec![
        ("a list of lists", list("[]")),
        ("a list of lists with a value", list("[1]")),
        ("a list of texts", list(r#""a""#)),
        ("a list of empty texts", list(r#""""#)),
        ("a list of escapes", list(r#""\u0041""#)),
        ("a list of numbers", list("1")),
        ("a list of fractions", list("1.50")),
        ("a list of exponents", list("1e-9")),
        ("a list of nulls", list("null")),
        ("lists in lists of numbers", deep("value", "[", "1", "]")),
        ("objects in objects", deep("a", r#"{"a":"#, "1", "}")),
        ("objects in objects around texts", deep("a", r#"{"a":"#, r#""a""#, "}")),
        ("many keys", filled("{", r#""a":1"#, ",", "}")),
        ("many keys with escapes", filled("{", r#""\u0041":1"#, ",", "}")),
        ("many objects", filled("{", r#""a":{}"#, ",", "}")),
        ("many objects with a key", filled("{", r#""a":{"b":1}"#, ",", "}")),
        ("a list of objects", list(r#"{"a":1}"#)),
        ("long keys", filled("{", &format!(r#""{long_key}":1"#), ",", "}")),
        ("one long number", filled(r#"{"value":1"#, "0", "", "}")),
        ("one long fraction", filled(r#"{"value":0.0"#, "1", "", "}")),
        ("one long exponent", filled(r#"{"value":1e1"#, "1", "", "}")),
        ("one long text", filled(r#"{"value":""#, "a", "", r#""}"#)),
        ("one text of escapes", filled(r#"{"value":""#, r"\u0041", "", r#""}"#)),
        ("one text of brackets", filled(r#"{"value":""#, "[{", "", r#""}"#)),
        ("blanks", filled(r#"{"value":["#, " ", "", "]}")),
    ]
}

/// All that is done to an answer to a map, whose error field is nowhere.
fn read(body: &str, value_field: &str) -> Duration {
    let start = cpu();
    let body = Object::parse(body.as_bytes()).expect("an object");
    for field in ["nowhere.at.all", value_field].map(|field| Field::parse(field).expect("a field")) {
        if let Ok(Some(value)) = field.find(&body) {
            let _ = (map_value(value, MAX_BODY), is_empty(value));
        }
    }
    cpu() - start
}

#[test]
fn the_longest_answer_of_any_shape_costs_little() {
    let mut slow = Vec::new();
    for (name, body) in shapes() {
        assert!(body.len() <= MAX_BODY && body.len() > MAX_BODY - 2000, "{name}: {} bytes", body.len());
        for field in ["value", "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"] {
            let mut took = read(&body, field);
            // Other work on the machine makes the clock of a thread go faster, too.
            for _ in 0..2 {
                took = if took > MOST { took.min(read(&body, field)) } else { took };
            }
            println!("{name}, {field}: {took:?}");
            if took > MOST {
                slow.push((name, field, took));
            }
        }
    }
    assert!(slow.is_empty(), "more than {MOST:?}: {slow:?}");
}
