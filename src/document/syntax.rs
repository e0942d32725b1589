//! The three syntaxes of one shape.

use std::path::Path;

use super::node::Node;
use super::problem::Problem;
use super::{json, toml, yaml};

/// The syntax of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// YAML 1.2, with the merge keys of 1.1.
    Yaml,
    /// TOML 1.1.
    Toml,
    /// JSON (RFC 8259).
    Json,
}

impl Syntax {
    /// What the extension of `path` says; YAML for all that it does not know.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("toml") => Self::Toml,
            Some(extension) if extension.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Yaml,
        }
    }

    /// Reads `text`, whose size is the caller's to bound and whose line ends are `\n`.
    ///
    /// If there are faults (at most 100 are kept), the tree holds at least what stands before the
    /// first one. Of a key that `is_secret`, no fault names what stands below it.
    /// Limits: 32 maps and lists in each other; 100,000 values and 4 MiB of text, aliases written
    /// out.
    pub(super) fn read(self, text: &str, is_secret: fn(&str) -> bool) -> (Node, Vec<Problem>) {
        match self {
            Self::Yaml => yaml::read(text, is_secret),
            Self::Toml => toml::read(text, is_secret),
            Self::Json => json::read(text, is_secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::builder::tests::show;
    use super::super::node::Value;
    use super::*;

    const ALL: [Syntax; 3] = [Syntax::Yaml, Syntax::Toml, Syntax::Json];

    const DOCUMENTS: [(Syntax, &str); 3] = [
        (
            Syntax::Yaml,
            "x-a: &a {timeout: 5s, headers: [\"A: ä\", 'B: ''c']}\nserver:\n  listen:\n    - kind: x\n      <<: *a\n    - <<: [*a, {b: 0x1F}]\n      text: |\n        one\n        two\n  \"f\": >-\n    a\n    b\n  g: [~, .5, \"\\U0001F600\\n\", -12, {h: *a}]\n",
        ),
        (
            Syntax::Toml,
            "[server]\nlogging = {json = true, level = \"debug\"}\n[[server.listen]]\nport = 23_450\nx.y = [1, 0x7, 5e-1]\n[[server.listen]]\n\"a b\" = '''\nc'''\nd = 1979-05-27\n",
        ),
        (
            Syntax::Json,
            "{\"server\": {\n\t\"listen\": [{\"port\": 23450}, [], {}],\n \"a\": \"\\ud83d\\ude00 ä\\n\", \"b\": [1.5e3, -7, true, null]},\n\"c\": \"\"}\n",
        ),
    ];

    /// Reads `text`, and shows that what is below `client_secret` is named in no fault.
    fn read(syntax: Syntax, text: &str) -> (Node, Vec<Problem>) {
        let (node, faults) = syntax.read(text, |key| key == "client_secret");
        assert!(!format!("{faults:?}").contains("s3cret"), "{text}\n{faults:?}");
        (node, faults)
    }

    #[test]
    fn the_extension_names_the_syntax() {
        for (name, syntax) in [
            ("a.yml", Syntax::Yaml),
            ("a.yaml", Syntax::Yaml),
            ("a", Syntax::Yaml),
            ("a.toml", Syntax::Toml),
            ("a.JSON", Syntax::Json),
        ] {
            assert_eq!(Syntax::of(Path::new(name)), syntax, "{name}");
        }
    }

    #[test]
    fn hopeless_texts_are_refused_in_time() {
        for (syntax, text) in [
            (Syntax::Yaml, "[".repeat(100_000)),
            (Syntax::Yaml, "{a: ".repeat(100_000)),
            (Syntax::Yaml, "- ".repeat(100_000)),
            (Syntax::Yaml, "? ".repeat(100_000)),
            (Syntax::Yaml, format!("{{{}}}", "a: 1, ".repeat(10_000))),
            (Syntax::Yaml, format!("[{}1]", "1,".repeat(150_000))),
            (Syntax::Toml, "[".repeat(100_000)),
            (Syntax::Toml, "{a=".repeat(100_000)),
            (Syntax::Toml, format!("{}x = 1", "a.".repeat(100_000))),
            (Syntax::Toml, format!("[{}x]", "a.".repeat(100_000))),
            (Syntax::Toml, format!("{}x = 1", "\"a\".".repeat(100_000))),
            (Syntax::Toml, format!("a = {{{}x = 1}}", "b.".repeat(100_000))),
            (Syntax::Toml, format!("a{}x = 1", " . a".repeat(100_000))),
            (Syntax::Toml, format!("a = [{}1]", "1979-05-27,".repeat(50_000))),
            (Syntax::Toml, format!("a = [{}1]", "1,".repeat(150_000))),
            (Syntax::Json, "[".repeat(100_000)),
            (Syntax::Json, "{\"a\":".repeat(100_000)),
            (Syntax::Json, format!("{{{}\"a\": 1}}", "\"a\": 1, ".repeat(50_000))),
            (Syntax::Json, format!("[{}1]", "\"\",".repeat(150_000))),
        ] {
            for reader in ALL {
                let (_, faults) = read(reader, &text);
                let start: String = text.chars().take(20).collect();
                assert!(faults.len() <= 100, "{reader:?} {start}");
                assert!(reader != syntax || !faults.is_empty(), "{reader:?} {start}");
            }
        }
    }

    #[test]
    fn what_stands_below_a_secret_is_not_named() {
        for (syntax, text) in [
            (Syntax::Yaml, "client_secret: {s3cret: a, s3cret: b}"),
            (Syntax::Yaml, "client_secret: {deep: [{s3cret: a, s3cret: b}]}"),
            (Syntax::Yaml, "client_secret: *s3cret\n"),
            (Syntax::Yaml, "client_secret: !!int s3cret\n"),
            (Syntax::Yaml, "client_secret: !s3cret s3cret\n"),
            (Syntax::Yaml, "client_secret: \"s3cret\" s3cret\n"),
            (Syntax::Yaml, "client_secret: s3cret: s3cret\n"),
            (Syntax::Yaml, "client_secret: @s3cret\n"),
            (Syntax::Yaml, "client_secret: [s3cret\n    s3cret: s3cret: s3cret\n"),
            (Syntax::Yaml, "client_secret: &s3cret {a: *s3cret}\n"),
            (Syntax::Yaml, "client_secret: {<<: s3cret}\n"),
            (Syntax::Toml, "client_secret = {s3cret = 1979-05-27}\n"),
            (Syntax::Toml, "client_secret = s3cret\n"),
            (Syntax::Toml, "[client_secret]\ns3cret = 1\ns3cret = 1\n"),
            (Syntax::Toml, "client_secret = \"s3cret\ns3cret\n"),
            (Syntax::Json, "{\"client_secret\": {\"s3cret\": 1, \"s3cret\": 1}}"),
            (Syntax::Json, "{\"client_secret\": \"s3cret\" \"s3cret\"}"),
            (Syntax::Json, "{\"client_secret\":\n\"s3cret\n\"}"),
            (Syntax::Json, "{\"client_secret\":\"s3cret\\ud83d\"}"),
            (Syntax::Json, "{\"client_secret\":s3cret}"),
        ] {
            let (_, faults) = read(syntax, text);
            assert!(!faults.is_empty(), "{text}");
        }
        // Nor is a key that is a number given back in the hint.
        let (_, faults) = Syntax::Yaml.read("client_secret: {12345: x}", |key| key == "client_secret");
        assert!(faults.len() == 1 && !format!("{faults:?}").contains("12345"), "{faults:?}");
        assert_eq!(faults[0].key, "client_secret");
    }

    #[test]
    fn the_three_say_the_same() {
        let yaml = "a: {b: [1, 'x', null], c: 1.5}\nd: true\n";
        let toml = "a = {b = [1, \"x\", \"\"], c = 1.5}\nd = true\n";
        let json = "{\"a\": {\"b\": [1, \"x\", null], \"c\": 1.5},\n\"d\": true}\n";
        let shown = |syntax: Syntax, text| {
            let (node, faults) = read(syntax, text);
            assert_eq!(faults, [], "{text}");
            show(&node)
        };
        assert_eq!(shown(Syntax::Yaml, yaml), "{a: {b: [1, \"x\", ~], c: 1.5}, d: true}");
        assert_eq!(shown(Syntax::Json, json), shown(Syntax::Yaml, yaml));
        assert_eq!(shown(Syntax::Toml, toml), shown(Syntax::Yaml, yaml).replace('~', "\"\""));
    }

    /// Every place is one of the text's, and no key stands twice in its map.
    fn is_sound(node: &Node, text: &str) {
        let lines = text.split(['\n', '\r']).count();
        assert!(
            (1..=lines + 1).contains(&node.place.line) && node.place.column > 0,
            "{:?}\n{text:?}",
            node.place
        );
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| is_sound(item, text)),
            Value::Map(map) => {
                let pairs = map.pairs();
                let keys: std::collections::HashSet<&str> =
                    pairs.iter().map(|pair| pair.key.as_str()).collect();
                assert_eq!(keys.len(), pairs.len(), "{text}");
                pairs.iter().for_each(|pair| is_sound(&pair.node, text));
            }
            _ => {}
        }
    }

    fn fragments() -> impl Strategy<Value = String> {
        let words = DOCUMENTS.iter().flat_map(|(_, text)| text.lines()).chain([
            "&a",
            "*a",
            "&b {a: *a}",
            "!!int x",
            "? x",
            ": y",
            "- -",
            "\"",
            "'",
            "|",
            ">",
            "{",
            "}",
            "[",
            "]",
            "---",
            "...",
            "%YAML 9",
            "\t",
            "client_secret: \"x",
            "mode: 0660",
            "<<: *a",
            "<<: [*a, *b]",
            "  <<: 5",
            "\u{feff}",
            "\u{85}",
            "\0",
            "#",
            "~",
            "//",
            "\"\\ud83d\"",
            "*a : b",
            "&a c: d",
            "a:",
            "  b:",
            ",",
            "=",
        ]);
        let words: Vec<String> = words.map(str::to_owned).collect();
        let ends = prop::sample::select(vec!["\n", "\n", "\n", " ", ""]);
        let lines = prop::collection::vec((prop::sample::select(words), ends), 0..30);
        lines.prop_map(|lines| lines.iter().map(|(line, end)| format!("{line}{end}")).collect())
    }

    fn all_read(text: &str) {
        for syntax in ALL {
            let (node, faults) = read(syntax, text);
            is_sound(&node, text);
            assert!(faults.len() <= 100);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in ".{0,200}") {
            all_read(&text);
        }

        #[test]
        fn no_mixture_makes_a_reader_panic(text in fragments()) {
            all_read(&text);
        }

        #[test]
        fn no_cut_makes_a_reader_panic(from in 0..400_usize, length in 0..40_usize, put in ".{0,4}") {
            for (_, text) in DOCUMENTS {
                let (from, end) = (text.floor_char_boundary(from), text.floor_char_boundary(from + length));
                all_read(&format!("{}{put}{}", &text[..from], &text[end..]));
            }
        }
    }
}
