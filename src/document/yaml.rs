//! Reads YAML out of saphyr's events: its words as the core schema of YAML 1.2 reads them, and the
//! merge keys (`<<`) of 1.1.
//!
//! An alias is a copy of its anchor's value, with the places of that value. A few lines of aliases
//! can stand for gigabytes, so a copy is counted before it is made. A value that has an anchor is
//! kept once more, and counts twice. Refused is what YAML would take in silence: a duplicate key,
//! a key that is no text, a second document, a tag. A fault that hides the rest of the text ends
//! the reading, the other ones are collected.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::builder::{Builder, Read, Size, Stop, whole};
use super::node::{Map, Node, Value};
use super::place::Place;
use super::problem::Problem;

/// What saphyr says of an alias whose anchor it has not seen.
const UNKNOWN_ANCHOR: &str = "while parsing node, found unknown anchor";
const NO_TEXT: &str = "a key must be a text";

/// Reads `text`; of a key that `is_secret`, no fault names what stands below it.
pub(super) fn read(text: &str, is_secret: fn(&str) -> bool) -> (Node, Vec<Problem>) {
    let (parser, builder) = (Parser::new_from_str(text), Builder::new(is_secret));
    let mut reader = Reader { parser, builder, anchors: HashMap::new() };
    let root = reader.document();
    reader.builder.finish(root)
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    builder: Builder,
    /// Copies of the complete values that have an anchor.
    anchors: HashMap<usize, (Node, Size)>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Err(Stop(None)),
        }
    }

    /// The value of the one document.
    fn document(&mut self) -> Read {
        let mut root = None;
        loop {
            match self.next() {
                Ok((Event::DocumentStart(_), span)) if root.is_some() => {
                    self.builder.fault(place(span), "a second document begins here", "");
                    return Err(Stop(root));
                }
                Ok((Event::StreamEnd, _)) | Err(_) => return Err(Stop(root)),
                Ok((
                    Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd,
                    _,
                )) => {}
                Ok((event, span)) => root = Some(self.value(event, span, None)?),
            }
        }
    }

    /// The value that begins with `event`, of the key at `key` if it has one.
    fn value(&mut self, event: Event<'t>, span: Span, key: Option<Place>) -> Read {
        let at = place(span);
        self.check_tag(&event, at);
        match event {
            Event::Alias(anchor) => {
                let size = self.anchor(anchor, at)?.1;
                // Counted before it is copied.
                self.builder.take(size, at)?;
                Ok(self.anchor(anchor, at)?.0.clone())
            }
            Event::Scalar(text, style, anchor, _) => {
                // What is empty stands at its key.
                let place = key.filter(|_| span.is_empty()).unwrap_or(at);
                let node = self.scalar(&text, style, anchor, place)?;
                self.builder.scalar(node.value, place)
            }
            Event::SequenceStart(anchor, _) => {
                self.builder.begin(at)?;
                let mut items = Vec::new();
                let read = self.items(&mut items);
                let node = whole(at, Value::List(items), &read)?;
                self.keep(anchor, &node)?;
                Ok(node)
            }
            Event::MappingStart(anchor, _) => {
                self.builder.begin(at)?;
                let (mut map, mut merges) = (Map::default(), Map::default());
                let read = self.pairs(&mut map, &mut merges);
                merge(&mut map, merges);
                let node = whole(at, Value::Map(map), &read)?;
                self.keep(anchor, &node)?;
                Ok(node)
            }
            // Nothing else begins a value.
            _ => Err(Stop(None)),
        }
    }

    fn check_tag(&mut self, event: &Event<'_>, at: Place) {
        if let Event::Scalar(.., Some(_))
        | Event::SequenceStart(_, Some(_))
        | Event::MappingStart(_, Some(_)) = event
        {
            self.builder.fault(at, "a tag (`!`) has no meaning here", "");
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, place: Place) -> Read {
        let is_plain = style == ScalarStyle::Plain;
        let value = is_plain.then(|| resolve(text)).flatten();
        let value = value.unwrap_or_else(|| Value::Text { text: text.to_owned(), is_plain });
        let node = Node { place, value };
        self.keep(anchor, &node)?;
        Ok(node)
    }

    fn items(&mut self, items: &mut Vec<Node>) -> Result<(), Stop> {
        loop {
            self.builder.enter(items);
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                self.builder.leave();
                return Ok(());
            }
            let read = self.value(event, span, None);
            self.builder.item(items, read)?;
        }
    }

    /// The pairs of a map; `merges` are those whose key is YAML's merge key (`<<`).
    fn pairs(&mut self, map: &mut Map, merges: &mut Map) -> Result<(), Stop> {
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(());
            }
            let place = place(span);
            let (name, is_plain) = self.key(event, place)?;
            let is_merge = is_plain && name == "<<";
            let into = if is_merge { &mut *merges } else { &mut *map };
            if self.builder.key(into, &name, place)? && is_plain && resolve(&name).is_some() {
                let hint = format!("write it in quotes: \"{name}\"");
                let hint = if self.builder.is_named() { hint } else { String::new() };
                self.builder.fault(place, NO_TEXT, &hint);
            }
            let (event, span) = self.next()?;
            let read = self.value(event, span, Some(place));
            if is_merge
                && let Ok(node) = &read
                && !can_merge(node)
            {
                self.builder.leave();
                let message = "a merge (`<<`) takes keys and values, or a list of such";
                self.builder.fault(place, message, &format!("this is {}", node.kind()));
                continue;
            }
            self.builder.pair(into, name, place, read)?;
        }
    }

    /// The key that `event` is, and whether it stands without quotes.
    fn key(&mut self, event: Event<'t>, at: Place) -> Result<(String, bool), Stop> {
        self.check_tag(&event, at);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                self.scalar(&text, style, anchor, at)?;
                Ok((text.into_owned(), style == ScalarStyle::Plain))
            }
            Event::Alias(anchor) => match &self.anchor(anchor, at)?.0.value {
                Value::Text { text, .. } => Ok((text.clone(), false)),
                _ => Err(self.builder.fault(at, NO_TEXT, "")),
            },
            _ => {
                let hint = "a text that begins with `{` or `[`, as a template does, stands in quotes";
                Err(self.builder.fault(at, NO_TEXT, hint))
            }
        }
    }

    fn anchor(&mut self, anchor: usize, at: Place) -> Result<&(Node, Size), Stop> {
        let inside = "an alias (`*name`) inside of what it stands for";
        self.anchors.get(&anchor).ok_or_else(|| self.builder.fault(at, inside, ""))
    }

    /// Keeps a copy of a complete value that has an anchor.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        if anchor != 0 {
            let size = Size::of(node);
            self.builder.take(size, node.place)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(())
    }

    /// Tells where the text stops being YAML.
    fn broken(&mut self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
        if error.info() == UNKNOWN_ANCHOR {
            let message = "an alias (`*name`) without its anchor (`&name`) before it";
            return self.builder.fault(place, message, "a text that begins with `*` stands in quotes");
        }
        self.builder.broken(place, format!("this is not YAML: {}", error.info()), hint(error.info()))
    }
}

/// What helps with an error of the parser: its usual cause.
fn hint(info: &str) -> &'static str {
    const HINTS: [(&str, &str); 5] = [
        ("quoted scalar", "is the quote that begins here closed?"),
        ("trailing content", "a quote ends the text: put a text that has double quotes in single quotes"),
        (
            "mapping values",
            "is a `:` missing behind a key on the line before, or the blank behind a `:` on this line?",
        ),
        ("tabs", "indent with blanks"),
        ("simple key", "is a `:` missing behind a key?"),
    ];
    let hint = HINTS.iter().find(|(part, _)| info.contains(part)).map(|(_, hint)| *hint);
    hint.unwrap_or("look at the indentation of this line and the one before")
}

/// What `word` is without quotes, if it is no text: the core schema of YAML 1.2, as serde_yaml reads it.
/// Numbers may also be binary (`0b1`), and `yes` and `on` are texts.
fn resolve(word: &str) -> Option<Value> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Boolean(true)),
        "false" | "False" | "FALSE" => return Some(Value::Boolean(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let (sign, digits) = match word.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", word),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            let is_number = digits.chars().all(|c| c.is_digit(radix));
            let number = i128::from_str_radix(&format!("{sign}{digits}"), radix);
            return number.ok().filter(|_| is_number).map(Value::Integer);
        }
    }
    // As `mode: 0640`: a text, since what it means differs between readers.
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Ok(number) = word.parse() {
        return Some(Value::Integer(number));
    }
    word.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
}

fn can_merge(node: &Node) -> bool {
    match &node.value {
        Value::Map(_) => true,
        Value::List(items) => items.iter().all(|item| matches!(item.value, Value::Map(_))),
        _ => false,
    }
}

/// Adds what merge keys hold. Of a map's own keys and the merged ones, the first holds.
fn merge(map: &mut Map, merges: Map) {
    for node in merges.into_pairs().into_iter().map(|pair| pair.node) {
        let nodes = if let Value::List(items) = node.value { items } else { vec![node] };
        for node in nodes {
            if let Value::Map(merged) = node.value {
                merged.into_pairs().into_iter().for_each(|pair| map.add(pair));
            }
        }
    }
}

fn place(span: Span) -> Place {
    Place { line: span.start.line().max(1), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::builder::tests::{show, told};
    use super::super::node::Pair;
    use super::*;

    const EXAMPLE: &str = include_str!("../../contrib/pfxhttp.example.yml");

    fn read(text: &str) -> (Node, Vec<Problem>) {
        super::read(text, |_| false)
    }

    /// The same in serde_yaml's shape.
    fn as_serde(node: &Node) -> serde_yaml::Value {
        match &node.value {
            Value::Null => serde_yaml::Value::Null,
            Value::Boolean(truth) => (*truth).into(),
            Value::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                // What serde_yaml's tree refuses.
                _ => serde_yaml::Value::String(format!("integer {number}")),
            },
            Value::Float(number) => (*number).into(),
            Value::Text { text, .. } => text.as_str().into(),
            Value::List(items) => items.iter().map(as_serde).collect(),
            Value::Map(pairs) => serde_yaml::Value::Mapping(
                pairs.pairs().iter().map(|pair| (pair.key.as_str().into(), as_serde(&pair.node))).collect(),
            ),
        }
    }

    fn of_serde(text: &str) -> Option<serde_yaml::Value> {
        let mut value: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
        value.apply_merge().ok()?;
        Some(value)
    }

    fn same_as_serde(text: &str) {
        let (node, faults) = read(text);
        assert_eq!(faults, [], "{text:?}");
        let theirs = of_serde(text);
        assert_eq!(theirs, Some(as_serde(&node)), "{text:?}");
    }

    #[test]
    fn words_are_read_as_serde_yaml_reads_them() {
        let words = "~ null Null NULL nUll none true True TRUE tRUE false False FALSE yes no on off y n t f \
            0 -0 +0 1 -1 +1 12 007 08 00 -00 +00 -007 0640 0o640 0O640 -0o17 +0o17 0o 0o8 0o+7 0x 0xG 0x1F 0X1F -0x1f \
            +0x1f 0x-1 -0x-1 0b 0b101 -0b11 +0b2 0b+1 1_000 1,000 1:30 12:30:45 18446744073709551615 \
            18446744073709551616x -9223372036854775808 0xffffffffffffffff \
            340282366920938463463374607431768211456 99999999999999999999999999999999999999999999 \
            -99999999999999999999999999999999999999999999 0x1ffffffffffffffffffffffffffffffffff \
            1.5 -1.5 +1.5 .5 -.5 +.5 5. -5. . .. -. + - +- -+ --1 ++1 +-1 -+1 1e5 1E5 1e+5 1e-5 1.e5 .e5 e5 1e 1e400 -1e400 \
            1e-400 00.5 -00.5 01e1 0e0 1.5.5 1.5s 5s 30 .inf .Inf .INF .iNF -.inf -.Inf +.inf +.INF inf Inf -inf +inf infinity \
            nan NaN NAN .nan .NaN .NAN -.nan +.nan 2001-01-01 1979-05-27T07:32:00Z 0.1 0.30000000000000004 \
            123456789012345678901234567890.5 1__0 _1 1_ 0x_f \u{661} ½ = << a.b a-b a/b a@b http://h:1/?a=b&c=d#e \
            {{.Key}}x 'a' \"a\" <x> a:b -a --- \\ \\n $x (a) a'b a\"b 😀 \u{a0}";
        for word in
            words.split([' ']).filter(|word| !word.is_empty() && !word.starts_with("{{") && *word != "---")
        {
            // In a list, in a flow, as a value.
            for text in [format!("- {word}\n"), format!("[{word}]\n"), format!("k: {word}\n")] {
                let is_list = word.contains(',') && text.starts_with('[');
                if word != "-" && !is_list {
                    same_as_serde(&text);
                }
            }
        }
        // What serde_yaml's tree has no room for.
        for word in ["18446744073709551616", "-9223372036854775809", "0x10000000000000000"] {
            assert!(matches!(read(word).0.value, Value::Integer(_)), "{word}");
            assert_eq!(of_serde(word), None);
        }
    }

    #[test]
    fn documents_are_read_as_serde_yaml_reads_them() {
        for text in [
            "",
            "# nothing\n",
            "a:\n",
            "- \n-\n- ''\n",
            "a: |\n  one\n   two\n\n  three\n\nb: |-\n  x\nc: |+\n  y\n\nd: >\n  a\n  b\n\n  c\n   d\n  e\ne: >-\n  z\nf: |2\n   q\n",
            "a: \"x\\ty\\n\\u00e4\\U0001F600\\x41\\0\\e\\\\ \\\"\\/ \\\n   z\"\nb: \"one\n  two\n\n  three\"\nc: 'it''s\n  so'\n",
            "a: one\n  two\n   three\nb: -c\nd: a#b # c\n",
            "? a\n: b\n? |\n  c\n: - d\n",
            "{a: [1, {b: c}, [], {}], \"d\": 'e', f: , g: ~}\n",
            "[a: b, {c}, ]\n",
            "a:\n- b\n- - c\n  - d\n-\n  e: f\n  g: h\n",
            "--- \na: 1\n...\n",
            "%YAML 1.2\n---\na: 1\n",
            "a: &x 5\nb: *x\nc: &y {d: &z [1, ~], e: *z}\nf: [*y, *z, *x]\n&k g: *k\nl: {*k : h}\n",
            "a: &x 1\nb: &x 2\nc: *x\n",
            "x-a: &a {p: 1, q: 2}\nx-b: &b {q: 3, r: 4}\nm:\n  q: 0\n  <<: [*a, *b]\nn:\n  <<: *b\n  s: 5\no: {<<: {t: 6}, u: 7}\n",
            "x-a: &a {p: 1}\nm: {<<: *a}\nn: {<<: [], o: 1}\n",
            "a: \"x\u{2028}y\"\nb: 'ä😀'\n",
            "a:   \t x  \t \nb: \t5\n",
            EXAMPLE,
        ] {
            same_as_serde(text);
        }
        // serde_yaml leaves a merge in what is merged.
        let nested = "x-a: &a {p: 1}\nx-b: &b\n  <<: *a\n  q: 2\nm: {p: 3, <<: *b}\n";
        assert_eq!(show(&read(nested).0), "{x-a: {p: 1}, x-b: {q: 2, p: 1}, m: {p: 3, q: 2}}");
        // Line breaks are those of YAML 1.2.
        assert_eq!(show(&read("a: \"x\u{85}y\"").0), "{a: \"x\\u{85}y\"}");
        // A merge in quotes is a key.
        assert_eq!(show(&read("{\"<<\": {a: 1}, b: 2}").0), "{<<: {a: 1}, b: 2}");
        assert_eq!(show(&read("{'<<': 1, <<: {a: 1, '<<': 2}}").0), "{<<: 1, a: 1}");
    }

    #[test]
    fn only_what_stands_without_quotes_is_plain() {
        let (node, _) = read("- a\n- 'a'\n- \"a\"\n- |\n  a\n- 0640\n- &x b\n- *x\n");
        let Value::List(items) = node.value else { panic!("a list") };
        let plain = |item: &Node| matches!(item.value, Value::Text { is_plain: true, .. });
        let plain: Vec<bool> = items.iter().map(plain).collect();
        assert_eq!(plain, [true, false, false, false, true, true, true]);
    }

    #[test]
    fn keys_and_values_have_their_places() {
        let (node, faults) = read("ä: {b: 1}\nc:\nd: &x\n  - \"e\"\n  -\n  - {<<: &m {f: 5}}\ng: *x\n");
        assert_eq!(faults, []);
        let at = |place: Place| (place.line, place.column);
        let pair = |key| node.get(key).expect("a pair");
        let places = |pair: &Pair| (at(pair.place), at(pair.node.place));
        assert_eq!(places(pair("ä")), ((1, 1), (1, 4)));
        assert_eq!(places(pair("ä").node.get("b").expect("b")), ((1, 5), (1, 8)));
        // What is empty stands at its key.
        assert_eq!(places(pair("c")), ((2, 1), (2, 1)));
        assert_eq!(pair("g").node.place, pair("d").node.place);
        for key in ["d", "g"] {
            let Value::List(items) = &pair(key).node.value else { panic!("a list") };
            assert_eq!((at(items[0].place), items[1].place.line), ((4, 5), 5));
            assert_eq!(places(items[2].get("f").expect("f")), ((6, 14), (6, 17)));
        }
    }

    /// Each text has one fault.
    #[test]
    fn faults_have_their_places() {
        let wide = format!("[{}1]", "1,".repeat(100_000));
        let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (text, expected) in [
            ("server:\n\tlogging: ~\n", "2:2 : this is not YAML"),
            ("server: {\n", ": this is not YAML"),
            ("server: ~\n---\nserver: ~\n", "2:1 : a second document begins here"),
            ("server: ~\nserver: ~\n", "2:1 server: duplicate key; first at line 1, column 1"),
            ("a: {b: {c: info, \"c\": debug}}", "1:18 a.b.c: duplicate key; first at line 1, column 9"),
            ("m:\n  12: {}\n", "2:3 m.12: a key must be a text (write it in quotes: \"12\")"),
            ("{~: 1}", "1:2 \"~\": a key must be a text (write it in quotes: \"~\")"),
            ("? [a]\n: b\n", "1:3 : a key must be a text (a text that begins with `{` or `["),
            ("a: {{ .Key }}\n", "1:5 a: a key must be a text (a text that begins with `{` or `["),
            ("server: !x ~\n", "1:9 server: a tag (`!`) has no meaning here"),
            ("a: [!!str b]\n", "1:5 a[0]: a tag"),
            ("a: *b\nb: &b 1\n", "1:4 a: an alias (`*name`) without its anchor (`&name`) before it (a text"),
            ("a: [1, *b]\n", "1:8 a[1]: an alias (`*name`) without its anchor"),
            ("a: &a {b: [*a]}\n", "1:12 a.b[0]: an alias (`*name`) inside of what it stands for"),
            ("a: &a {*a : b}\n", "1:8 a: an alias (`*name`) inside of what it stands for"),
            ("a: &a [1]\n*a : b\n", "2:1 : a key must be a text"),
            (
                "m: {<<: 5}\n",
                "1:5 m: a merge (`<<`) takes keys and values, or a list of such (this is a number)",
            ),
            ("x: &a [{}, 1]\nm:\n  a: b\n  <<: *a\n", "4:3 m: a merge (`<<`) takes keys and values"),
            ("m: {<<: {}, <<: {}}\n", "1:13 m.\"<<\": duplicate key; first at line 1, column 5"),
            (&wide, "[99999]: too large: more than 100000 values, or 4 MiB of text (each alias counts"),
            (&deep(33), "1:33 [0][0]"),
            (&format!("a: &a {}\nb: [*a]\n", deep(31)), "2:5 b[0]: nested too deeply"),
        ] {
            let told = told(&read(text).1);
            assert!(
                told.len() == 1 && told[0].contains(expected),
                "{text:.80}\n{told:#?}\nand not {expected}"
            );
        }
        assert_eq!(read(&deep(32)).1, []);
        assert_eq!(read(&format!("a: &a {}\nb: *a\n", deep(31))).1, []);
    }

    #[test]
    fn aliases_that_stand_for_gigabytes_are_refused_in_time() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        let mut merges = "b0: &b0 {k: v}\n".to_owned();
        let mut nested = "c0: &c0 [x]\n".to_owned();
        for level in 1..2_000 {
            let alias = format!("*a{}, ", level - 1);
            laughs += &format!("a{level}: &a{level} [{}]\n", alias.repeat(10));
            merges += &format!("b{level}: &b{level} {{<<: *b{}, k{level}: v}}\n", level - 1);
            nested += &format!("c{level}: &c{level} [*c{}]\n", level - 1);
        }
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1_000));
        for (text, expected) in
            [(laughs, "too large"), (merges, "too large"), (nested, "nested too deeply"), (long, "too large")]
        {
            let (node, faults) = read(&text);
            assert!(faults.len() == 1 && faults[0].message.starts_with(expected), "{faults:?}");
            let size = Size::of(&node);
            assert!(size.values <= 100_000 && size.bytes <= 4 << 20, "{}, {}", size.values, size.bytes);
        }
    }

    #[test]
    fn a_broken_text_still_has_what_stands_before() {
        for (text, expected) in [
            ("a:\n  b:\n  - 1\n  - c: 2\n    d: 'e\n", "{a: {b: [1, {c: 2}]}}"),
            (
                "server:\n  admin:\n    path: /run/x\n  logging:\n  - a\n b: c\n",
                "{server: {admin: {path: \"/run/x\"}, logging: [\"a\"]}}",
            ),
            ("a: 1\na: 2\nb: 3\n", "{a: 1, b: 3}"),
            ("a: &a {b: 1}\nc:\n  <<: *a\n  d: *none\n", "{a: {b: 1}, c: {b: 1}}"),
            ("a: 1\n---\nb: 2\n", "{a: 1}"),
        ] {
            let (node, faults) = read(text);
            assert_eq!((show(&node).as_str(), faults.len()), (expected, 1), "{text}");
        }
    }

    /// What both readers take, they read alike; what serde_yaml refuses may be read here.
    fn agrees(text: &str) {
        let (node, faults) = read(text);
        // A text alone is no configuration; saphyr takes `#` for a part of it as YAML 1.2 does.
        if matches!(node.value, Value::Text { .. }) {
            return;
        }
        if let (true, Some(theirs)) = (faults.is_empty(), of_serde(text)) {
            assert_eq!(as_serde(&node), theirs, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn serde_yaml_reads_the_same_words(word in "[-+]?(0[xob]?)?[-+_.0-9a-fA-FxeE]{0,12}") {
            agrees(&format!("- {word}\n"));
        }

        #[test]
        fn serde_yaml_reads_the_same_documents(
            text in "((  ){0,2}(- |a: |b: |\\? |'c': |\"d\": |&a |\\*a|<<: |\\[|\\]|\\{|\\}|, |\\||>|\"|'|#|:| |x|5|0x1|~|ä|\\\\n|\n){1,6}\n){0,6}"
        ) {
            agrees(&text);
        }

        #[test]
        fn serde_yaml_reads_the_same_after_a_slip(from in 0..EXAMPLE.len(), length in 0..40_usize, put in "[-:#\"'|>\\[{},&*<! \nax\t]{0,4}") {
            let (from, end) = (EXAMPLE.floor_char_boundary(from), EXAMPLE.floor_char_boundary(from + length));
            agrees(&format!("{}{put}{}", &EXAMPLE[..from], &EXAMPLE[end..]));
        }
    }
}
