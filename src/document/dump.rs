//! The configuration as it holds: each value with its origin, in YAML.
//!
//! Secrets are shown as `…`. Read again, the text gives the same configuration but for them.

use std::collections::HashMap;

use serde_yaml::{Mapping, Value};

use super::place::{KeyPath, Step};

/// What stands for a secret.
pub const HIDDEN: &str = "…";

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// It is set nowhere.
    Default,
    /// It is set nowhere, and this key says what holds then.
    Inherited(&'static str),
    /// The document: a line, and the key of `defaults` if it is one.
    File { line: usize, key: Option<String> },
    /// An environment variable.
    Variable(String),
}

/// The values that hold, by their paths, in the order in which they were read.
#[derive(Default)]
pub(super) struct Dump {
    /// The value and its origin, if this is a single one.
    leaf: Option<(Value, Origin)>,
    members: Vec<(Step, Dump)>,
    index: HashMap<Step, usize>,
}

impl Dump {
    /// Notes a value; what is noted later holds. Without one, keeps the place of a key whose default is not
    /// known yet, so that the order is always the same.
    pub(super) fn set(&mut self, path: &KeyPath, value: Option<(Value, Origin)>) {
        let mut tree = self;
        for step in &path.0 {
            tree.leaf = None;
            let next = tree.members.len();
            let at = *tree.index.entry(step.clone()).or_insert(next);
            if at == next {
                tree.members.push((step.clone(), Self::default()));
            }
            tree = &mut tree.members[at].1;
        }
        if value.is_some() {
            *tree = Self { leaf: value, ..Self::default() };
        }
    }

    /// The text; with `changed_only` without what is set nowhere.
    pub(super) fn to_yaml(&self, changed_only: bool) -> String {
        let mut text = String::new();
        self.write(&mut text, 0, changed_only);
        text
    }

    /// Whether something in it is shown.
    fn is_shown(&self, changed_only: bool) -> bool {
        match self.leaf {
            Some((_, Origin::Default | Origin::Inherited(_))) => !changed_only,
            Some(_) => true,
            None => self.members.iter().any(|(_, tree)| tree.is_shown(changed_only)),
        }
    }

    fn write(&self, text: &mut String, depth: usize, changed_only: bool) {
        for (step, tree) in &self.members {
            let is_shown = tree.is_shown(changed_only);
            match (step, &tree.leaf) {
                // An item that is left out would change the places of those behind it.
                (Step::Item(_), _) if !is_shown => write_lines(text, depth, "- {}", ""),
                (Step::Key(_), _) if !is_shown => {}
                (Step::Key(name), Some((value, origin))) => {
                    let pair = Mapping::from_iter([(Value::from(name.as_str()), value.clone())]);
                    write_lines(text, depth, &yaml(&Value::Mapping(pair)), &origin.comment());
                }
                (Step::Key(name), None) => {
                    let name = yaml(&Value::from(name.as_str()));
                    write_lines(text, depth, &format!("{}:", name.trim_end()), "");
                    tree.write(text, depth + 1, changed_only);
                }
                (Step::Item(_), leaf) => {
                    let mut item = String::new();
                    match leaf {
                        Some((value, origin)) => {
                            write_lines(&mut item, depth + 1, &yaml(value), &origin.comment());
                        }
                        None => tree.write(&mut item, depth + 1, changed_only),
                    }
                    // The dash takes the place of the first line's indentation.
                    let indent = "  ".repeat(depth);
                    text.push_str(&format!("{indent}- {}", item.get(indent.len() + 2..).unwrap_or_default()));
                }
            }
        }
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}

/// Adds `lines`; the first of them is followed by the comment.
fn write_lines(text: &mut String, depth: usize, lines: &str, comment: &str) {
    for (number, line) in lines.lines().enumerate() {
        if !line.is_empty() {
            text.push_str(&"  ".repeat(depth));
            text.push_str(line);
        }
        if number == 0 && !comment.is_empty() {
            text.push_str(&format!("  # {comment}"));
        }
        text.push('\n');
    }
}

impl Origin {
    fn comment(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Inherited(key) => format!("from {key}"),
            Self::Variable(name) => name.clone(),
            Self::File { line, key: None } => format!("line {line}"),
            Self::File { line, key: Some(key) } => format!("line {line}, {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_and_dump;
    use super::super::{Kind, Section};

    const TEXT: &str = r"
x-s: &s hush
text: |
  one: #1

    two
list: ['a: b', '', '~', '1']
none: []
words: {'a: b': '- c', d: 'yes'}
flag: true
items:
- {name: one, level: 5}
- {}
- {name: two}
entries:
  defaults: {level: 7, secret: hush}
  'e.f': {name: 'x # y'}
  g: {secret: *s, name: *s, level: 0x8}
";

    fn keys(top: &Section<'_>) -> Vec<String> {
        let mut found = vec![
            format!("{:?}", top.key("text").text().get()),
            format!("{:?}", top.key("unset").text().or("a\tb".to_owned())),
            format!("{:?}", top.key("flag").flag().or(false)),
            format!("{:?}", top.key("inherited").count(0..=9).or_inherit(3, "other.key")),
            format!("{:?}", top.key("none").list(Kind::Text).len()),
        ];
        found.extend(top.key("list").list(Kind::Text).iter().map(|item| format!("{:?}", item.text().get())));
        let words = top.key("words").pairs(Kind::Text);
        found.extend(words.iter().map(|(name, key)| format!("{name:?}: {:?}", key.text().get())));
        let mut blocks = top.key("items").sections("Item");
        let entries = top.key("entries").entries("Entry");
        blocks.extend(entries.list.iter().map(|(_, entry)| entry.clone()));
        for block in blocks {
            let _ = block.key("secret").hidden_text();
            let name = block.key("name").text().get().filter(|name| name != "hush" && name != "…");
            found.push(format!("{:?} {}", name, block.key("level").count(0..=9).or(4)));
        }
        found
    }

    #[test]
    fn each_value_has_its_origin() {
        let variables = [("P_ITEMS_2_LEVEL", "6"), ("P_FLAG", "false")];
        let (_, problems, dump) = read_and_dump(TEXT, &variables, false, keys);
        assert_eq!(problems, [""; 0]);
        let expected = r#"text: |  # line 4
  one: #1

    two
unset: "a\tb"  # default
flag: false  # P_FLAG
inherited: 3  # from other.key
none: []  # line 8
list:
  - 'a: b'  # line 7
  - ''  # line 7
  - '~'  # line 7
  - '1'  # line 7
words:
  'a: b': '- c'  # line 9
  d: yes  # line 9
items:
  - name: one  # line 12
    level: 5  # line 12
  - level: 4  # default
  - name: two  # line 14
    level: 6  # P_ITEMS_2_LEVEL
entries:
  e.f:
    secret: …  # line 16, entries.defaults.secret
    name: 'x # y'  # line 17
    level: 7  # line 16, entries.defaults.level
  g:
    secret: …  # line 2
    name: …  # line 2
    level: 8  # line 18
"#;
        assert_eq!(dump, expected);
    }

    #[test]
    fn what_is_dumped_is_read_as_the_same() {
        for changed_only in [false, true] {
            let (found, _, dump) = read_and_dump(TEXT, &[("P_LIST_0", "…:\n\"'")], changed_only, keys);
            let (again, problems, _) = read_and_dump(&dump, &[], changed_only, keys);
            assert_eq!((&again, problems), (&found, vec![]), "{dump}");
            assert!(!dump.contains("hush"), "{dump}");
            assert_eq!(dump.contains("default\n"), !changed_only, "{dump}");
            // The item in the middle has its place.
            assert_eq!(dump.contains("  - {}\n"), changed_only, "{dump}");
        }
    }
}
