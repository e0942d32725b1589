//! What fields of an answer say, and what is refused.

mod shapes;

use super::*;
use proptest::prelude::*;

fn find<'a>(field: &str, body: &'a str) -> Option<&'a str> {
    let body = Object::parse(body.as_bytes()).expect("an object");
    Field::parse(field).expect("a field").find(&body).expect("JSON").map(Value::get)
}

fn raw(json: &str) -> Value<'_> {
    Value::parse(json.as_bytes()).expect("JSON")
}

fn map_value(value: Value<'_>) -> Result<String, Failure> {
    super::map_value(value, 100_000)
}

#[test]
fn a_field_is_found_in_one_order() {
    let nested = r#"{"a": {"result": 1}, "result": 2, "data": {"result": 3}}"#;
    assert_eq!(find("result", nested), Some("2"), "top level before any depth");
    assert_eq!(find("data.result", nested), Some("3"));
    assert_eq!(find("/data/result", nested), Some("3"));
    assert_eq!(find("data.result", r#"{"data": {"result": 1}, "data.result": 2}"#), Some("2"));
    assert_eq!(find("x", r#"{"a": {"b": {"x": 1}}, "c": {"x": 2}, "d": {"x": 3}}"#), Some("2"));
    assert_eq!(find("x", r#"{"a": [{"x": 1}]}"#), None, "lists are not searched");
    assert_eq!(find("/a/0/x", r#"{"a": [{"x": 1}]}"#), Some("1"));
    assert_eq!(find("/a~1b/~0", r#"{"a/b": {"~": 1}}"#), Some("1"));
    assert_eq!(find("x", r#"{"x": 1, "x": 2}"#), Some("2"));
    assert_eq!(find("a.b", r#"{"q": {"a.b": 7}}"#), Some("7"));
    assert_eq!(find("missing", nested), None);
    let ragged = r#"{"a": "x, y]}\" {", "b": 1, "c": ["], z", "d"]}"#;
    assert_eq!((find("b", ragged), find("/c/1", ragged)), (Some("1"), Some("\"d\"")));
    assert_eq!(find("a", ragged), Some(r#""x, y]}\" {""#));
    assert_eq!(find("x", r#"{"a": {"b": {"c": {"d": {"x": 1}}}}}"#), Some("1"));
    assert_eq!(find("x", r#"{"a": {"b": {"x": 1}}, "c": {"x": 2, "x": {"x": 3}}}"#), Some(r#"{"x": 3}"#));
    assert_eq!(
        find("/a/1/b", r#"{ "a" : [ {"b": 1} , {"b": [2, "]"]} ] , "c": "\"}" }"#),
        Some(r#"[2, "]"]"#)
    );
    assert_eq!(find("/a/2", r#"{"a": [0, 1]}"#), None);
    assert_eq!(find("a.b.c", r#"{"a": {"b": {}}, "a": {"b": {"c": "\\"}}}"#), Some(r#""\\""#));
    assert_eq!(find("/a/b", r#"{"a": {"b": 1}, "a": null}"#), None, "the last one of a name holds");
    for (key, name) in [
        (r"\u00e9", "\u{e9}"),
        (r"\u0041b\u0043", "AbC"),
        (r#"a\"\\\/\n\r\t\b\f"#, "a\"\\/\n\r\t\u{8}\u{c}"),
        (r"\ud83d\ude00x", "\u{1f600}x"),
    ] {
        let body = format!(r#"{{"{key}": 1}}"#);
        let body = Object::parse(body.as_bytes()).expect("an object");
        for (name, due) in
            [(name.to_owned(), Some("1")), (format!("{name}x"), None), (name.chars().skip(1).collect(), None)]
        {
            if !name.is_empty() {
                let found = Field::Name(name.clone()).find(&body).expect("keys are texts");
                assert_eq!(found.map(Value::get), due, "{key} {name}");
            }
        }
    }
}

/// What stands behind it may be the value: that it is absent would be a guess.
#[test]
fn a_key_that_is_no_text_is_a_failure_where_it_is_in_the_way() {
    let find = |field: &str, body: &str| {
        let body = Object::parse(body.as_bytes()).expect("an object");
        let found = Field::parse(field).expect("a field").find(&body);
        found.map(|value| value.map(|value| value.get().to_owned()))
    };
    let broken = r#"{"x": {"\ud800": 1, "b": "v"}, "y": {"c": 1}}"#;
    for field in ["b", "x.b", "/x/b", "c"] {
        assert_eq!(find(field, broken), Err(Failure::Body), "{field}");
    }
    assert_eq!(find("y.c", broken), Ok(Some("1".to_owned())));
    assert_eq!(find("c", r#"{"y": {"c": 1}, "x": {"\ud800": 1}}"#), Ok(Some("1".to_owned())));
}

#[test]
fn a_body_is_an_object_of_bounded_depth() {
    for body in ["", "<html>", "[]", "\"x\"", "1", "null", "{} {}", "{\"a\":1", "{\"a\":\"\u{1}\"}"] {
        assert!(matches!(Object::parse(body.as_bytes()), Err(Failure::Body)), "{body:?}");
    }
    assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(Object::parse(nested(64).as_bytes()).is_ok());
    assert!(Object::parse(nested(65).as_bytes()).is_err());
    assert!(Object::parse(nested(10_000).as_bytes()).is_err());
    let brackets = format!(r#"{{"a": "{}\""}}"#, "[{".repeat(100));
    assert!(Object::parse(brackets.as_bytes()).is_ok(), "brackets in strings nest nothing");
    let flat = format!(r#"{{"a": [{}]}}"#, ["{}"; 100].join(","));
    assert!(Object::parse(flat.as_bytes()).is_ok(), "nor do those behind one another");
}

#[test]
fn map_values() {
    for (json, text) in [
        (r#""x""#, "x"),
        ("true", "true"),
        ("false", "false"),
        ("5", "5"),
        ("5.0", "5"),
        ("3.140", "3.14"),
        (r#"["a","b"]"#, "a,b"),
        (r#"["a","",[1,[true,null]],"b"]"#, "a,1,true,b"),
        ("9007199254740993", "9007199254740993"),
        (r#""  two""#, "  two"),
        (r#""\\""#, "\\"),
        (r#""\u0061\/""#, "a/"),
    ] {
        assert_eq!(map_value(raw(json)).as_deref(), Ok(text), "{json}");
    }
    for json in ["null", r#""""#] {
        assert_eq!(map_value(raw(json)), Err(Failure::EmptyValue), "{json}");
    }
    for json in [
        "{}",
        r#"{"a":1}"#,
        "[]",
        "[null]",
        r#"[""]"#,
        r#"["",null,[""]]"#,
        r#"[{}]"#,
        r#""a\nb""#,
        r#""a\rb""#,
        r#""a\u0000b""#,
    ] {
        assert_eq!(map_value(raw(json)), Err(Failure::UnexpectedValue), "{json}");
    }
    assert_eq!(map_value(raw(r#""\ud800""#)), Err(Failure::Body), "half a surrogate pair");
}

#[test]
fn a_place_in_a_list_has_one_spelling() {
    // RFC 6901 4: no sign, and no zero in front.
    let list = r#"{"a": ["x", "y"]}"#;
    for (token, due) in [("0", Some("\"x\"")), ("1", Some("\"y\"")), ("2", None), ("10", None)] {
        assert_eq!(find(&format!("/a/{token}"), list), due, "{token}");
        assert_eq!(find(&format!("a.{token}"), list), due, "{token}");
    }
    // The answer is not of the form that the field has, and "not found" would be a bounce.
    let object = Object::parse(list.as_bytes()).expect("an object");
    for token in ["", " 1", "x", "+0", "+1", "-0", "00", "01", "1 ", "1e0", "-", "99999999999999999999"] {
        for field in [format!("/a/{token}"), format!("a.{token}")] {
            let found = Field::parse(&field).expect("a field").find(&object);
            assert_eq!(found.map(|found| found.map(Value::get)), Err(Failure::Body), "{field}");
        }
        assert_eq!(
            find(&format!("/b/{token}"), &format!(r#"{{"b": {{"{token}": 1}}}}"#)),
            Some("1"),
            "a name in an object"
        );
        assert_eq!(find(&format!("/a/{token}"), r#"{"a": []}"#), None, "nothing is in the list");
    }
}

#[test]
fn a_key_leads_into_nothing_or_into_an_object() {
    for nothing in ["null", "false", "\"\"", "[]", "{}"] {
        let body = format!(r#"{{"a": {nothing}}}"#);
        assert_eq!(
            (find("a.b", &body), find("/a/b", &body), find("/a/0", &body)),
            (None, None, None),
            "{body}"
        );
    }
    let places = r#"{"a": {"b": 1}, "0": {"c": 2}}"#;
    assert_eq!((find("/0/c", places), find("/1", places)), (Some("2"), None), "the document has keys alone");
    let object = Object::parse(places.as_bytes()).expect("an object");
    for field in ["a.0", "/a/0", "/a/7/b"] {
        let found = Field::parse(field).expect("a field").find(&object);
        assert_eq!(found.map(|found| found.map(Value::get)), Err(Failure::Body), "{field}: no list");
    }
    for other in ["\"text\"", "7", "0", "true", "[{\"b\": 1}]", "\" \""] {
        let body = format!(r#"{{"a": {other}}}"#);
        let object = Object::parse(body.as_bytes()).expect("an object");
        for field in ["a.b", "/a/b", "/a/b/c"] {
            let found = Field::parse(field).expect("a field").find(&object);
            assert_eq!(found.map(|found| found.map(Value::get)), Err(Failure::Body), "{field} in {body}");
        }
    }
}

#[test]
fn a_value_is_bounded_while_it_is_joined() {
    let value = |json| super::map_value(raw(json), 8);
    assert_eq!(value(r#""12345""#).as_deref(), Ok("12345"));
    assert_eq!(value(r#""123456""#), Err(Failure::TooLong(9)));
    assert_eq!(value(r#"["12",[34]]"#).as_deref(), Ok("12,34"));
    assert_eq!(value(r#"["12",[345],"",6]"#), Err(Failure::TooLong(11)), "the whole length is told");
    assert_eq!(value(r#"["123456",{}]"#), Err(Failure::UnexpectedValue), "an object further on");
}

#[test]
fn what_is_empty() {
    for json in ["null", r#""""#, "[]", "[ ]", "[null]", r#"[""]"#, r#"["", [null, []] ]"#] {
        assert!(is_empty(raw(json)), "{json}");
    }
    for json in ["0", "false", "{}", "[{}]", "[0]", r#"[[" "]]"#, r#"" ""#] {
        assert!(!is_empty(raw(json)), "{json}");
    }
}

#[test]
fn what_an_error_field_says() {
    for (json, said) in [
        ("null", ""),
        (r#""""#, ""),
        ("{ }", ""),
        ("[ ]", ""),
        (r#"{"a":1}"#, "an object"),
        ("[[]]", "a list"),
        ("1.0", "1"),
        ("false", "false"),
    ] {
        assert_eq!(error_text(raw(json)).as_deref(), Ok(said), "{json}");
    }
}

#[test]
fn a_document_may_be_the_value() {
    assert_eq!((Field::parse_or_whole(""), Field::parse_or_whole("/")), (Field::Whole, Field::Whole));
    assert!(Field::parse("").is_err() && Field::parse("/").is_err());
    assert_eq!(Field::parse("//"), Ok(Field::Pointer(vec![String::new(), String::new()])));
    for text in ["[]", " \"x\"\n", "1", "null", "true"] {
        let document = Value::parse(text.as_bytes()).expect(text);
        assert_eq!((document.get(), document.object().is_none()), (text.trim(), true));
    }
    for text in ["", "<html>", "[", "{} {}", "\"\u{1}\"", "OK"] {
        assert!(Value::parse(text.as_bytes()).is_err(), "{text}");
    }
    // Brackets in a string are no nesting; a quote with a backslash does not end the string.
    for begin in ["[", "\\\"[", "\\\\\\\"["] {
        let text = format!(r#"{{"a": "{}"}}"#, begin.repeat(200));
        assert!(Value::parse(text.as_bytes()).is_ok(), "{begin}");
    }
    let behind = format!(r#"{{"a": "\\", "b": {}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert!(Value::parse(behind.as_bytes()).is_err());
    assert!(Value::parse(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
    let flat = format!("[{}{{}}]", "{},[],".repeat(100));
    assert!(Value::parse(flat.as_bytes()).is_ok());
    assert!(Value::parse("[".repeat(100_000).as_bytes()).is_err());
    assert!(Value::parse(format!("{}{}", "[".repeat(65), "]".repeat(65)).as_bytes()).is_err());
}

#[test]
fn what_postfix_reads_as_permit_is_no_action() {
    for json in ["550", r#""550""#, r#""550 ""#, "true", r#"["REJECT"]"#, "{}", r#""OK\nx""#] {
        assert_eq!(policy_action(raw(json)), Err(Failure::UnexpectedValue), "{json}");
    }
    for json in ["null", r#""""#, r#""  ""#] {
        assert_eq!(policy_action(raw(json)), Ok(None), "{json}");
    }
    let action = policy_action(raw(r#"" REJECT no ""#)).expect("legal").expect("an action");
    assert_eq!(action.as_str(), "REJECT no");
}

proptest! {
    #[test]
    fn any_body_is_judged_without_panic(body: Vec<u8>) {
        let _ = Object::parse(&body);
    }

    /// The walk may be of a text that nobody has parsed.
    #[test]
    fn a_walk_through_any_text_ends(text in "[\\[\\]{}:,\"\\\\ a0é]{0,40}") {
        let _ = Scan::new(&text).descend(&["a", "0"]);
        let _ = Scan::new(&text).anywhere("a");
        let _ = Scan::new(&text).leaves().count();
    }
}
