//! Where each key of a configuration file stands: an index from key path to line and column.
//!
//! serde's tree has no places, so the text is read once more, as YAML events. This reader also
//! refuses what the tree would take in silence: a key given twice, a key that is no text, a
//! second document, an alias (a few lines of them can stand for gigabytes), a tag.
//! Limits: nesting of 32. It never panics; a fault that hides the rest of the file ends it, the
//! other ones are collected.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::mask::{self, SecretRange};
use super::path::{KeyPath, Step};

/// No configuration nests deeper than 5.
const MAX_DEPTH: usize = 32;

/// A position in a file, as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// What is wrong with the text itself.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: KeyPath,
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// The index.
#[derive(Debug)]
pub(super) struct Places {
    /// The first is the document's own.
    nodes: Vec<Node>,
    secrets: Vec<SecretRange>,
}

#[derive(Debug)]
struct Node {
    /// Of the key, or of the item.
    key: Place,
    /// Of the value; the key's where the value is empty.
    value: Place,
    /// A scalar without quotes.
    plain: bool,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Nothing,
    Mapping(HashMap<String, usize>),
    List(Vec<usize>),
}

impl Places {
    /// Where the key at `path` stands; of the nearest one above where the file has no such key.
    pub(super) fn key(&self, path: &KeyPath) -> Option<Place> {
        self.nearest(path).map(|(node, _)| node.key)
    }

    /// Where the value at `path` begins; else the key of the nearest one above.
    pub(super) fn value(&self, path: &KeyPath) -> Option<Place> {
        self.nearest(path).map(|(node, exact)| if exact { node.value } else { node.key })
    }

    /// Whether the value at `path` is a scalar without quotes.
    pub(super) fn is_plain(&self, path: &KeyPath) -> bool {
        self.nearest(path).is_some_and(|(node, exact)| exact && node.plain)
    }

    /// The lines that hold secrets' values.
    pub(super) fn secrets(&self) -> &[SecretRange] {
        &self.secrets
    }

    fn nearest(&self, path: &KeyPath) -> Option<(&Node, bool)> {
        let mut node = self.nodes.first()?;
        for step in path.steps() {
            let below = match (step, &node.inside) {
                (Step::Key(name), Inside::Mapping(keys)) => keys.get(name),
                (Step::Item(index), Inside::List(items)) => items.get(*index),
                _ => None,
            };
            match below.and_then(|&at| self.nodes.get(at)) {
                Some(found) => node = found,
                None => return Some((node, false)),
            }
        }
        Some((node, true))
    }
}

/// Reads the index of `text`. It is complete if there are no faults.
pub(super) fn read(text: &str) -> (Places, Vec<Fault>) {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let step = match next {
            Ok((event, span)) => reader.take(event, span),
            Err(error) => {
                reader.syntax(&error);
                Err(Stop)
            }
        };
        if step.is_err() {
            break;
        }
    }
    // Where the reader stopped inside a secret, the rest of the text may belong to it.
    for open in reader.open.iter().filter(|open| open.secret) {
        let start = reader.nodes.get(open.node).map_or(Place { line: 1, column: 1 }, |node| node.value);
        reader.secrets.push(SecretRange { start, last_line: usize::MAX });
    }
    (Places { nodes: reader.nodes, secrets: reader.secrets }, reader.faults)
}

/// The rest of the text cannot be indexed.
struct Stop;

#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    open: Vec<Open>,
    secrets: Vec<SecretRange>,
    faults: Vec<Fault>,
    documents: usize,
    /// The last line of what was read. A block's own end is where the next one begins.
    last_line: usize,
}

/// A mapping or list whose end was not read yet.
struct Open {
    node: usize,
    path: KeyPath,
    is_mapping: bool,
    /// A key whose value comes next.
    pending: Option<(String, Place)>,
    /// Whether the whole of it is a secret's value.
    secret: bool,
}

/// Where a value belongs.
struct Slot {
    path: KeyPath,
    key: Place,
    secret: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.fault(&KeyPath::default(), place(span), "a second document begins here", None);
                    return Err(Stop);
                }
            }
            Event::Alias(_) => {
                let path = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
                let hint = "write out the value that it stands for";
                self.fault(&path, place(span), "an alias is not accepted", Some(hint));
                return Err(Stop);
            }
            Event::Scalar(text, style, _, tag) => {
                self.tag(tag.as_deref(), span);
                if self.awaits_key() { self.key(&text, style, span) } else { self.scalar(style, span) }
            }
            Event::MappingStart(_, tag) => {
                self.tag(tag.as_deref(), span);
                return self.begin(true, span);
            }
            Event::SequenceStart(_, tag) => {
                self.tag(tag.as_deref(), span);
                return self.begin(false, span);
            }
            Event::MappingEnd | Event::SequenceEnd => self.end(span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_mapping && open.pending.is_none())
    }

    fn key(&mut self, text: &str, style: ScalarStyle, span: Span) {
        let key = place(span);
        let Some(open) = self.open.last_mut() else { return };
        open.pending = Some((text.to_owned(), key));
        // What stands below a secret's key is not named, in whatever shape it comes.
        let path = if open.secret { open.path.clone() } else { open.path.key(text) };
        let named = !open.secret;
        let first = match self.nodes.get(open.node).map(|node| &node.inside) {
            Some(Inside::Mapping(keys)) => keys.get(text).and_then(|&at| self.nodes.get(at)),
            _ => None,
        };
        if let Some(Place { line, column }) = first.map(|node| node.key) {
            let message = format!("given twice; first at line {line}, column {column}");
            self.fault(&path, key, &message, None);
        } else if style == ScalarStyle::Plain && !reads_as_text(text) {
            let hint = format!("write it in quotes: \"{text}\"");
            self.fault(&path, key, "a key must be a text", named.then_some(hint.as_str()));
        }
    }

    fn scalar(&mut self, style: ScalarStyle, span: Span) {
        let Some(slot) = self.slot(span) else { return };
        self.reached(span, matches!(style, ScalarStyle::Literal | ScalarStyle::Folded));
        let value = if span.is_empty() { slot.key } else { place(span) };
        if slot.secret {
            self.secrets.push(SecretRange { start: value, last_line: self.last_line });
        }
        self.nodes.push(Node {
            key: slot.key,
            value,
            plain: style == ScalarStyle::Plain,
            inside: Inside::Nothing,
        });
    }

    fn begin(&mut self, is_mapping: bool, span: Span) -> Result<(), Stop> {
        if self.awaits_key() {
            let path = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
            self.fault(&path, place(span), "a key must be a text", None);
            return Err(Stop);
        }
        let Some(slot) = self.slot(span) else { return Err(Stop) };
        if self.open.len() >= MAX_DEPTH {
            self.fault(&slot.path, place(span), "nested too deeply", None);
            return Err(Stop);
        }
        let inside = if is_mapping { Inside::Mapping(HashMap::new()) } else { Inside::List(Vec::new()) };
        let node = self.nodes.len();
        self.nodes.push(Node { key: slot.key, value: place(span), plain: false, inside });
        self.open.push(Open { node, path: slot.path, is_mapping, pending: None, secret: slot.secret });
        Ok(())
    }

    /// A block scalar ends where the line behind it begins.
    fn reached(&mut self, span: Span, is_block: bool) {
        let behind = is_block && span.end.line() > span.start.line();
        let line = if behind { span.end.line() - 1 } else { span.end.line() };
        self.last_line = self.last_line.max(line);
    }

    fn end(&mut self, span: Span) {
        if !span.is_empty() {
            self.reached(span, false);
        }
        let Some(open) = self.open.pop() else { return };
        let Some(node) = self.nodes.get(open.node) else { return };
        if open.secret {
            self.secrets.push(SecretRange { start: node.value, last_line: self.last_line });
        }
    }

    /// Enters the node that is pushed next where it belongs.
    fn slot(&mut self, span: Span) -> Option<Slot> {
        let node = self.nodes.len();
        let Some(open) = self.open.last_mut() else {
            return Some(Slot { path: KeyPath::default(), key: place(span), secret: false });
        };
        match &mut self.nodes.get_mut(open.node)?.inside {
            Inside::Mapping(keys) => {
                let (name, key) = open.pending.take()?;
                let secret = open.secret || mask::is_secret(&name);
                let path = open.path.key(&name);
                keys.insert(name, node);
                Some(Slot { path, key, secret })
            }
            Inside::List(items) => {
                items.push(node);
                Some(Slot { path: open.path.item(items.len() - 1), key: place(span), secret: open.secret })
            }
            Inside::Nothing => None,
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, span: Span) {
        if tag.is_some() {
            let path = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
            self.fault(&path, place(span), "a tag (`!`) has no meaning here", None);
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        let marker = error.marker();
        let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
        self.fault(&KeyPath::default(), place, &format!("this is not YAML: {}", error.info()), None);
    }

    fn fault(&mut self, path: &KeyPath, place: Place, message: &str, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.faults.push(Fault { path: path.clone(), place, message: message.to_owned(), hint });
    }
}

fn place(span: Span) -> Place {
    Place { line: span.start.line().max(1), column: span.start.col() + 1 }
}

/// Whether a scalar without quotes is a text to YAML, and not a number, a boolean or null.
fn reads_as_text(scalar: &str) -> bool {
    matches!(serde_yaml::from_str(scalar), Ok(serde_yaml::Value::String(_)) | Err(_))
}
