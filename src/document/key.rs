//! A key: its value in each layer of its block, and problems of it.

use std::cell::OnceCell;
use std::rc::Rc;

use serde_yaml::Value as Yaml;

use super::dump::{HIDDEN, Origin};
use super::environment::Variable;
use super::node::Node;
use super::place::{KeyPath, Place};
use super::problem::Severity;
use super::reading::{Document, Reported, missing};
use super::record::Kind;
use super::section::{Layer, Section};

/// A key, or an item of a list, with its value.
#[derive(Clone)]
pub struct Key<'d> {
    /// The block that has the key; of an item, the one that has its list.
    pub(super) block: Section<'d>,
    /// The key's name; `None` for an item.
    pub(super) name: Option<&'static str>,
    /// The nearest first; never empty.
    pub(super) layers: Rc<[Layer<'d>]>,
    /// Whether a nearer key holds instead.
    is_displaced: bool,
    /// Whether this is one of several layers that add up.
    is_part: bool,
    /// The nearest layer that has a value, which may be `~`; found once.
    nearest: OnceCell<Option<Layer<'d>>>,
}

impl<'d> Key<'d> {
    pub(super) fn new(block: Section<'d>, name: Option<&'static str>, layers: Rc<[Layer<'d>]>) -> Self {
        Self { block, name, layers, is_displaced: false, is_part: false, nearest: OnceCell::new() }
    }

    pub(super) fn document(&self) -> &'d Document<'d> {
        self.block.document
    }

    /// Where the value is to stand: the path of the block itself and this key.
    #[must_use]
    pub fn path(&self) -> &KeyPath {
        &self.layers[0].path
    }

    /// The layer whose value holds.
    pub(super) fn set(&self) -> Option<&Layer<'d>> {
        // An item that is null is still an item.
        self.nearest().filter(|layer| self.name.is_none() || !layer.is_null())
    }

    /// The value that holds.
    pub(super) fn node(&self) -> Option<&'d Node> {
        self.set()?.node
    }

    fn nearest(&self) -> Option<&Layer<'d>> {
        let find = || self.kept().into_iter().find(|layer| layer.node.is_some());
        self.nearest.get_or_init(find).as_ref()
    }

    /// The layers that are not taken back by a nearer `~`, with the variables over them.
    fn kept(&self) -> Vec<Layer<'d>> {
        let mut kept = Vec::with_capacity(self.layers.len());
        let mut is_taken_back = self.is_displaced;
        for layer in self.layers.iter() {
            // Also a variable whose value does not hold matches a key.
            let variable = self.document().variables.of(&layer.path);
            let layer = variable.map_or_else(|| layer.clone(), |variable| layer.under(variable));
            let is_null = layer.is_null();
            if !is_taken_back {
                kept.push(layer);
            }
            is_taken_back |= is_null;
        }
        kept
    }

    /// Two keys of which the nearer one holds; both if they are equally near.
    #[must_use]
    pub fn nearer(mut one: Self, mut other: Self) -> (Self, Self) {
        if let (Some(first), Some(second)) = (one.rank(), other.rank()) {
            one.is_displaced = second < first;
            other.is_displaced = first < second;
        }
        (one, other)
    }

    /// How far the nearest value is, also one that takes back others.
    fn rank(&self) -> Option<usize> {
        self.layers.iter().enumerate().find_map(|(index, layer)| {
            let variable = self.document().variables.of(&layer.path).map(|_| 2 * index);
            variable.or(layer.node.map(|_| 2 * index + 1))
        })
    }

    /// Whether a value is set, also one that is inherited.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set().is_some()
    }

    /// Whether any layer has a value, also one that takes back others.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.nearest().is_some()
    }

    /// Where the value begins; `None` if none is set, or a variable sets it.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let layer = self.set().filter(|layer| layer.variable.is_none())?;
        layer.node.map(|node| node.place)
    }

    /// Whether the block itself sets the value, or takes it back.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.nearest().is_some_and(|layer| layer.path == *self.path())
    }

    /// The key in each layer alone, the nearest first: for lists that add up, as [`Key::note_sum`] is told.
    #[must_use]
    pub fn each_layer(&self) -> Vec<Self> {
        let alone =
            |layer| Self { is_part: true, ..Self::new(self.block.clone(), self.name, [layer].into()) };
        self.kept().into_iter().map(alone).collect()
    }

    /// Notes for the effective configuration what the layers of this key add up to.
    pub fn note_sum(&self, items: impl Iterator<Item = String>) {
        self.note(Some((items.map(Yaml::from).collect(), self.origin())));
    }

    /// Notes for the effective configuration that `name` of these pairs is a list of so many values, which are not
    /// shown, and stands in `from`.
    pub fn note_pair(&self, name: &str, from: &Self, values: usize) {
        let document = self.document();
        if document.is_dumped.get() && !self.block.is_template && document.record.is_none() {
            let hidden: Vec<Yaml> = vec![HIDDEN.into(); values];
            document.dump.borrow_mut().set(&self.path().key(name), Some((hidden.into(), from.origin())));
        }
    }

    /// Notes which kind of value the key has.
    pub(super) fn record(&self, kind: Kind) {
        if let (Some(record), Some(name)) = (&self.document().record, self.name) {
            record.borrow_mut().add(self.block.definition, name, kind);
        }
    }

    /// Reports an error of the value.
    pub fn error(&self, message: impl Into<String>) -> Reported<'d> {
        if self.block.is_template { Reported::nothing() } else { self.fault(message) }
    }

    /// Reports an error of the value, also in a block that is read for the faults of its values alone.
    pub(super) fn fault(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Error, message.into(), self.node().map(|node| node.place))
    }

    /// Reports an error of the key.
    pub fn key_error(&self, message: impl Into<String>) -> Reported<'d> {
        if self.block.is_template {
            return Reported::nothing();
        }
        self.report(Severity::Error, message.into(), None)
    }

    /// Warns of the key.
    pub fn warning(&self, message: impl Into<String>) -> Reported<'d> {
        if self.block.is_template {
            return Reported::nothing();
        }
        self.report(Severity::Warning, message.into(), None)
    }

    /// Reports a problem at `place`, or at the key.
    fn report(&self, severity: Severity, message: String, place: Option<Place>) -> Reported<'d> {
        let unset = || self.layers.get(self.block.reported_layer()).unwrap_or(&self.layers[0]);
        let layer = self.set().unwrap_or_else(unset);
        let (document, place) = (self.document(), place.or(layer.place));
        if !self.is_copied_secret() {
            return document.report(severity, layer, place, message);
        }
        let message = "a problem with this value; a secret key has the same one, so no more is shown";
        document.report(severity, layer, place, message.to_owned());
        Reported::nothing()
    }

    fn is_copied_secret(&self) -> bool {
        self.set().is_some_and(|layer| self.document().is_copied_secret(layer))
    }

    /// Reports that the block needs this key; not for `defaults`, whose entries may have it.
    pub fn missing(&self) -> Reported<'d> {
        self.name.map_or_else(Reported::nothing, |name| self.block.error(missing(name)))
    }

    /// Notes for the effective configuration that the value is taken back. It must be shown if what it takes back
    /// stands outside of the section.
    pub fn note_taken_back(&self) {
        let taken = self.nearest().filter(|layer| layer.is_null()).and_then(|layer| layer.node);
        if let Some(node) = taken {
            self.note(Some((Yaml::Null, Origin::File { line: node.place.line, key: None })));
        }
    }

    /// Notes the value that is set, for the effective configuration.
    pub(super) fn note_set(&self, value: Yaml) {
        let value = if self.is_copied_secret() { HIDDEN.into() } else { value };
        self.note(Some((value, self.origin())));
    }

    /// Notes the value that holds, for the effective configuration; without one, keeps its place there.
    pub(super) fn note(&self, value: Option<(Yaml, Origin)>) {
        let document = self.document();
        if document.is_dumped.get() && !self.block.is_template && !self.is_part && document.record.is_none() {
            document.dump.borrow_mut().set(self.path(), value);
        }
    }

    fn origin(&self) -> Origin {
        match self.set() {
            Some(Layer { variable: Some(variable), .. }) => Origin::Variable(variable.name.clone()),
            Some(Layer { path, node: Some(node), .. }) => {
                let key = (path != self.path()).then(|| path.to_string());
                Origin::File { line: node.place.line, key }
            }
            _ => Origin::Default,
        }
    }

    /// Reports an error of the value `text`, of which the part from byte `offset` on is wrong.
    pub fn error_within(&self, text: &str, offset: usize, message: impl Into<String>) -> Reported<'d> {
        self.error(message).at(self.place_within(text, offset))
    }

    /// An item of the list that this key holds, or a value of its pairs.
    pub(super) fn item(&self, path: KeyPath, node: Option<&'d Node>, variable: Option<&'d Variable>) -> Self {
        let place = node.map(|node| node.place).or(self.layers[0].place);
        let layers = [Layer { path, place, node, variable }].into();
        Self { is_part: self.is_part, ..Self::new(self.block.clone(), None, layers) }
    }

    /// Where the byte `offset` of the value `text` stands in the file: what begins there is looked for, as
    /// often as it occurs before. Escapes in the file may hide an occurrence; then a later one is found,
    /// or none.
    fn place_within(&self, text: &str, offset: usize) -> Option<Place> {
        let start = self.place()?;
        let (before, rest) = (text.get(..offset)?, text.get(offset..)?);
        let length = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')).unwrap_or(rest.len());
        let wanted = rest.get(..length).filter(|wanted| !wanted.is_empty())?;
        let mut skip = before.matches(wanted).count();
        // A value has no more lines than its text, but for folds and the line of its `>`.
        let lines = self.document().text.lines().enumerate().skip(start.line - 1);
        for (index, line) in lines.take(2 * text.lines().count() + 2) {
            let from = if index + 1 == start.line { start.column - 1 } else { 0 };
            let begin = line.char_indices().nth(from).map_or(line.len(), |(at, _)| at);
            for (at, _) in line.get(begin..)?.match_indices(wanted) {
                if skip == 0 {
                    let column = 1 + line.get(..begin + at)?.chars().count();
                    return Some(Place { line: index + 1, column });
                }
                skip -= 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{document, read};
    use super::super::{Kind, Section};

    const ENTRIES: &str = r"
entries:
  defaults: {text: inherited, list: [d], secret: x}
  own: {text: own, list: [o]}
  none: ~
  taken: {text: ~, list: ~, secret: ~}
";

    /// The text of each entry.
    fn texts(top: &Section<'_>) -> Vec<String> {
        let entries = top.key("entries").entries("Entry").list;
        let text = |entry: &Section<'_>| entry.key("text").text().get().unwrap_or("-".to_owned());
        entries.iter().inspect(|(_, entry)| drop(sums(entry))).map(|(_, entry)| text(entry)).collect()
    }

    /// All items of all layers, the nearest first.
    fn sums(entry: &Section<'_>) -> Vec<String> {
        let _ = entry.secret("secret", "secret_file").read();
        let layers = entry.key("list").each_layer();
        let items = layers.iter().flat_map(|layer| layer.list(Kind::Text));
        items.filter_map(|item| item.text().get()).collect()
    }

    #[test]
    fn a_value_is_of_the_environment_then_of_the_block_then_inherited() {
        for (variable, expected) in [
            ("P_ENTRIES_NONE_TEXT", ["own", "v", "-"]),
            ("p_entries_own_text", ["v", "inherited", "-"]),
            ("P_ENTRIES_TAKEN_TEXT", ["own", "inherited", "v"]),
            ("P_ENTRIES_DEFAULTS_TEXT", ["own", "v", "-"]),
        ] {
            assert_eq!(
                read(ENTRIES, &[(variable, "v")], texts),
                (expected.map(str::to_owned).to_vec(), vec![])
            );
            // What is empty leaves the document as it is.
            assert_eq!(read(ENTRIES, &[(variable, "")], texts).0, ["own", "inherited", "-"], "{variable}");
        }
    }

    #[test]
    fn layers_that_add_up_end_at_a_tilde_that_holds() {
        let all = |top: &Section<'_>| {
            let entries = top.key("entries").entries("Entry").list;
            texts(top);
            entries.iter().map(|(_, entry)| sums(entry).join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(read(ENTRIES, &[], all), (["o d", "d", ""].map(str::to_owned).to_vec(), vec![]));
        // A variable holds instead of the `~`, which then takes nothing back.
        let variables = [("P_ENTRIES_TAKEN_LIST", "v,w"), ("P_ENTRIES_DEFAULTS_LIST_0", "e")];
        assert_eq!(read(ENTRIES, &variables, all).0, ["o e", "e", "v w e"]);
    }

    #[test]
    fn a_key_has_its_former_name_too() {
        let new = |top: &Section<'_>| {
            let block = top.renamed_key("new", "old").section("Block");
            block.key("a").count(0..=9).get()
        };
        let renamed = "1:1 warning old: is read as `new`, its name today".to_owned();
        assert_eq!(read("old: {a: 1}", &[], new), (Some(1), vec![renamed.clone()]));
        assert_eq!(read("old: {a: 1}", &[("P_NEW_A", "2")], new), (Some(2), vec![renamed.clone()]));
        let unknown = "1:13 old.b: unknown key (did you mean `a`?)".to_owned();
        assert_eq!(read("old: {a: 1, b: 2}", &[], new).1, [renamed, unknown]);
        let both = read("{old: {a: 1}, new: {a: 2}}", &[], new);
        assert_eq!(both, (Some(2), vec!["1:2 old: `new` is given as well, which is the same".to_owned()]));
        let former = read("new: {a: 1}", &[("P_OLD_A", "2")], new).1;
        assert_eq!(former, ["P_OLD_A warning : matches no key of this configuration, and has no effect"]);
    }

    #[test]
    fn the_nearer_one_of_two_secrets_holds() {
        let secret = |top: &Section<'_>| {
            let entries = top.key("e").entries("Entry").list;
            let secret = entries[0].1.secret("secret", "secret_file").read();
            secret.map(|secret| secret.expose().to_owned())
        };
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "filed\n").expect("a file");
        let file = file.path().display();
        for (own, inherited, expected) in [
            ("secret: own".to_owned(), format!("secret_file: {file}"), "own"),
            (format!("secret_file: {file}"), "secret: inherited".to_owned(), "filed"),
            (String::new(), format!("secret_file: {file}"), "filed"),
        ] {
            let text = format!("e:\n  a: {{{own}}}\n  defaults: {{{inherited}}}\n");
            assert_eq!(read(&text, &[], secret), (Some(expected.to_owned()), vec![]), "{text}");
            let over = read(&text, &[("P_E_A_SECRET", "v")], secret);
            assert_eq!(over, (Some("v".to_owned()), vec![]), "{text}");
        }
        let both = read(&format!("e: {{a: {{secret: s, secret_file: {file}}}}}"), &[], secret);
        let message = "e.a.secret_file: `secret` is given as well; only one of them can hold";
        assert!(both.0.is_none() && both.1.len() == 1 && both.1[0].ends_with(message), "{both:?}");
    }

    #[test]
    fn a_variable_sets_one_key_and_no_map() {
        let keys = |top: &Section<'_>| {
            let pairs = top.key("pairs").pairs(Kind::Text);
            let stand_in = top.key_or_variable("name", "OTHER").text().get();
            let list = top.key("list").list(Kind::Count).len();
            let one = [top.key("a-b"), top.key("a_b")].map(|key| key.flag().get());
            (pairs.len(), stand_in, list, one)
        };
        for (variable, text, expected) in [
            ("P_A_B", "true", "P_A_B : matches two keys: a-b and a_b"),
            ("P_NONE", "1", "P_NONE warning : matches no key of this configuration, and has no effect"),
            ("P_LIST_0", "1", "P_LIST_0 warning : matches no key of this configuration, and has no ef"),
            ("P_PAIRS", "a=b", "P_PAIRS pairs: keys and values cannot come out of a variable"),
            ("P_LIST", "[1", "P_LIST list: expected a list, as [a, b] or a,b"),
        ] {
            let ((pairs, name, list, _), problems) = read("x-a: 1", &[(variable, text)], keys);
            assert_eq!((pairs, name, list), (0, None, 0), "{variable}");
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}, not {expected}");
        }
        for text in ["[1, 2]", "1,2", " [1 , \"2\"] "] {
            assert_eq!(read("x-a: 1", &[("P_LIST", text)], keys).0.2, 2, "{text}");
        }
        assert_eq!(read("x-a: 1", &[("OTHER", "o")], keys).0.1.as_deref(), Some("o"));
        assert_eq!(read("name: ~", &[("OTHER", "o")], keys).0.1, None);
        assert_eq!(read("name: n", &[("OTHER", "o"), ("P_NAME", "p")], keys).0.1.as_deref(), Some("p"));
    }

    #[test]
    fn a_copy_of_a_secret_is_not_shown() {
        let text = r"
block: {secret: &s 12345, words: &w [hush]}
timeout: *s
mode: *s
choice: *s
list: [*s]
cut: {secret: *w, words: *w}
";
        let keys = |top: &Section<'_>| {
            for name in ["block", "cut"] {
                let block = top.key(name).section("Block");
                let _ = (block.key("secret").hidden_word(), block.key("words").list(Kind::Text));
            }
            let _ = top.key("timeout").duration(std::time::Duration::ZERO..=std::time::Duration::MAX);
            let _ = (top.key("mode").mode(), top.key("choice").word_choice(&[("1234", 1)]));
            for item in top.key("list").list(Kind::Text) {
                let wrong = item.word().read_as(|word| Err::<(), _>(format!("no {word}")));
                assert!(wrong.get().is_none());
            }
        };
        let ((), problems) = read(text, &[], keys);
        assert!(problems.len() >= 4, "{problems:#?}");
        for problem in problems {
            assert!(!problem.contains("1234") && !problem.contains("hush"), "{problem}");
        }
    }

    /// Where the last `{{` of the payload `text` stands, which the file has as `source`.
    fn found(source: &str, text: &str) -> Option<(usize, usize)> {
        let source = format!("a: {{ b: 1 }} # {{{{\npayload: {source}\nc: \"{{{{\"\n");
        let document = document(&source, &[]);
        let place = document.top("Top").key("payload").place_within(text, text.rfind("{{")?)?;
        Some((place.line, place.column))
    }

    #[test]
    fn an_insertion_is_found_in_the_file() {
        assert_eq!(found("'{{ .Key }}'", "{{ .Key }}"), Some((2, 11)));
        assert_eq!(found("x {{ .Kye }}", "x {{ .Kye }}"), Some((2, 12)));
        let escaped = "\"\\u00e4 {\\\"k\\\": \\\"{{ .Kye }}\\\"}\"";
        assert_eq!(found(escaped, "ä {\"k\": \"{{ .Kye }}\"}"), Some((2, 28)));
        let folded = ">\n  {\"ä\": {{ .Key }},\n\n  \"b\":\n  {{ .Key }}}\n";
        assert_eq!(found(folded, "{\"ä\": {{ .Key }},\n\"b\": {{ .Key }}}\n"), Some((6, 3)));
        let literal = "|\n  {\"ä\": {{ .Key }},\n  \"b\": {{ .Key }}}\n";
        assert_eq!(found(literal, "{\"ä\": {{ .Key }},\n\"b\": {{ .Key }}}\n"), Some((4, 8)));
    }
}
