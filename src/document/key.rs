//! A key: its value in each layer of its block, and problems of it.

use std::rc::Rc;

use super::dump::{HIDDEN, Origin};
use super::environment::Variable;
use super::node::Node;
use super::path::KeyPath;
use super::place::Place;
use super::problem::Severity;
use super::reading::{At, Document, Reported};
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
    pub(super) is_displaced: bool,
    /// Whether this is one of several layers that add up.
    pub(super) is_part: bool,
}

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Spot<'d> {
    pub(super) path: KeyPath,
    pub(super) node: &'d Node,
    pub(super) variable: Option<&'d Variable>,
    /// Where its key stands.
    key: At<'d>,
}

impl<'d> Key<'d> {
    pub(super) fn document(&self) -> &'d Document<'d> {
        self.block.document
    }

    /// Where the value is to stand: the path of the block itself and this key.
    #[must_use]
    pub fn path(&self) -> &KeyPath {
        &self.layers[0].path
    }

    /// The value that holds.
    pub(super) fn spot(&self) -> Option<Spot<'d>> {
        // An item that is null is still an item.
        self.nearest().filter(|spot| self.name.is_none() || !spot.node.is_null())
    }

    /// The nearest value, which may be `~`.
    fn nearest(&self) -> Option<Spot<'d>> {
        self.kept().into_iter().find_map(|(layer, variable)| {
            let value = variable.map(|variable| (&variable.text, Some(variable)));
            let (node, variable) = value.or(layer.node.map(|node| (node, layer.variable)))?;
            Some(Spot { path: layer.path.clone(), node, variable, key: layer.at() })
        })
    }

    /// The layers that are not taken back by a nearer `~`, and the variables over them.
    fn kept(&self) -> Vec<(&Layer<'d>, Option<&'d Variable>)> {
        let mut kept = Vec::with_capacity(self.layers.len());
        let mut is_taken_back = self.is_displaced;
        for layer in self.layers.iter() {
            // Also a variable whose value does not hold matches a key.
            let variable = self.document().variables.of(&layer.path);
            if !is_taken_back {
                kept.push((layer, variable));
            }
            is_taken_back |= variable.is_none() && layer.node.is_some_and(Node::is_null);
        }
        kept
    }

    /// Two keys of which the nearer one holds; both if they are equally near.
    pub(super) fn nearer(one: Self, other: Self) -> (Self, Self) {
        let ranks = one.rank().zip(other.rank());
        let (first, second) = ranks.unwrap_or_default();
        (Self { is_displaced: second < first, ..one }, Self { is_displaced: first < second, ..other })
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
        self.spot().is_some()
    }

    /// Where the value begins; `None` if none is set, or a variable sets it.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.spot().filter(|spot| spot.variable.is_none()).map(|spot| spot.node.place)
    }

    /// Whether the block itself sets the value, or takes it back.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.nearest().is_some_and(|spot| spot.path == *self.path())
    }

    /// The key in each layer alone, the nearest first: for lists that add up, as [`Key::note_sum`] is told.
    #[must_use]
    pub fn each_layer(&self) -> Vec<Self> {
        let alone =
            |layer: &Layer<'d>| Self { layers: Rc::from([layer.clone()]), is_part: true, ..self.clone() };
        self.kept().into_iter().map(|(layer, _)| alone(layer)).collect()
    }

    /// Notes for the effective configuration what the layers of this key add up to.
    pub fn note_sum(&self, items: impl Iterator<Item = String>) {
        let origin = self.spot().map_or(Origin::Default, |spot| spot.origin());
        self.note(items.map(serde_yaml::Value::from).collect(), origin);
    }

    /// Notes which kind of value the key has.
    pub(super) fn record(&self, kind: Kind) {
        if let (Some(record), Some(name)) = (&self.document().record, self.name) {
            record.borrow_mut().add(self.block.definition, name, kind);
        }
    }

    /// Reports an error of the value.
    pub fn error(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Error, message.into(), Spot::value_at)
    }

    /// Reports an error of the key.
    pub fn key_error(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Error, message.into(), Spot::key_at)
    }

    /// Warns of the key.
    pub fn warning(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Warning, message.into(), Spot::key_at)
    }

    fn report(&self, severity: Severity, message: String, at: fn(&Spot<'d>) -> At<'d>) -> Reported<'d> {
        if self.block.is_template {
            return Reported::nothing();
        }
        if let Some(spot) = self.spot() {
            return self.report_spot(severity, &spot, &at(&spot), message);
        }
        let layer = self.reported_layer();
        self.document().report(severity, &layer.path, &layer.at(), message)
    }

    /// Reports that the value at `spot` is not of the key's kind.
    pub(super) fn fault(&self, spot: &Spot<'d>, message: impl Into<String>) -> Reported<'d> {
        self.report_spot(Severity::Error, spot, &spot.value_at(), message.into())
    }

    fn report_spot(&self, severity: Severity, spot: &Spot<'d>, at: &At<'d>, message: String) -> Reported<'d> {
        if !self.document().is_copied_secret(spot) {
            return self.document().report(severity, &spot.path, at, message);
        }
        let message = "a problem with this value; a secret key has the same one, so no more is shown";
        self.document().report(severity, &spot.path, at, message.to_owned());
        Reported::nothing()
    }

    /// Where a problem is reported of a key that is set nowhere.
    fn reported_layer(&self) -> &Layer<'d> {
        self.layers.get(self.block.reported_layer()).unwrap_or(&self.layers[0])
    }

    /// Reports that the block needs this key; not for `defaults`, whose entries may have it.
    pub fn missing(&self) -> Reported<'d> {
        let Some(name) = self.name.filter(|_| !self.block.is_template) else { return Reported::nothing() };
        let block = &self.block.layers[self.block.reported_layer()];
        let path = self.reported_layer().path.parent();
        self.document().report(Severity::Error, &path, &block.at(), format!("`{name}` is missing"))
    }

    /// Notes the value that `spot` says, for the effective configuration.
    pub(super) fn note_spot(&self, value: serde_yaml::Value, spot: &Spot<'d>) {
        let is_hidden = self.document().is_copied_secret(spot);
        self.note(if is_hidden { HIDDEN.into() } else { value }, spot.origin());
    }

    /// Notes the value that holds, for the effective configuration.
    pub(super) fn note(&self, value: serde_yaml::Value, origin: Origin) {
        if self.is_dumped() {
            self.document().dump.borrow_mut().set(self.path(), value, origin);
        }
    }

    /// Keeps the key's place in the effective configuration.
    pub(super) fn reserve(&self) {
        if self.is_dumped() {
            self.document().dump.borrow_mut().reserve(self.path());
        }
    }

    fn is_dumped(&self) -> bool {
        let document = self.document();
        document.is_dumped.get() && !self.block.is_template && !self.is_part && document.record.is_none()
    }
}

impl<'d> Spot<'d> {
    /// Where the value stands.
    fn value_at(&self) -> At<'d> {
        self.variable.map_or(At::Place(self.node.place), |variable| At::Variable(&variable.name))
    }

    fn key_at(&self) -> At<'d> {
        self.variable.map_or(self.key, |variable| At::Variable(&variable.name))
    }

    fn origin(&self) -> Origin {
        match self.variable {
            Some(variable) => Origin::Variable(variable.name.clone()),
            None => Origin::File { line: self.node.place.line, path: self.path.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
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
}
