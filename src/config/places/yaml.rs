//! The index of a YAML file, out of its events.
//!
//! serde's tree has no places, so the text is read once more. This reader also refuses what the
//! tree would take in silence: a key given twice, a key that is no text, a second document, an
//! alias (a few lines of them can stand for gigabytes), a tag. It never panics; a fault that hides
//! the rest of the file ends it, the other ones are collected.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Fault, Inside, MAX_DEPTH, Node, Place, Places};
use crate::config::mask::{self, SecretRange};
use crate::config::path::KeyPath;

/// What was read: complete if there are no faults.
pub(in crate::config) struct Read {
    pub(in crate::config) places: Places,
    /// What YAML would take, and we do not.
    pub(in crate::config) faults: Vec<Fault>,
    /// Where the text stops being YAML.
    pub(in crate::config) broken: Option<Fault>,
}

/// Reads the index of `text`.
pub(in crate::config) fn read(text: &str) -> Read {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    let mut broken = None;
    while let Some(next) = parser.next_event() {
        let step = match next {
            Ok((event, span)) => reader.take(event, span),
            Err(error) => {
                broken = Some(syntax(&error));
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
    let places = Places { nodes: reader.nodes, secrets: reader.secrets };
    Read { places, faults: reader.faults, broken }
}

fn syntax(error: &ScanError) -> Fault {
    let marker = error.marker();
    let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
    let mut fault = Fault::at(place, format!("this is not YAML: {}", error.info()));
    fault.hint = Some("look at the indentation of this line and the one before".to_owned());
    fault
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
                let hint = "write out the value that it stands for; what entries share stands in `defaults`";
                self.fault(&path, place(span), "an alias (`*name`) is not accepted", Some(hint));
                return Err(Stop);
            }
            Event::Scalar(text, style, _, tag) => {
                self.tag(tag.as_deref(), span);
                if !self.awaits_key() {
                    self.scalar(style, span);
                } else if text == "<<" && style == ScalarStyle::Plain {
                    let path = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
                    let hint = "write out the keys that it brings; what entries share stands in `defaults`";
                    self.fault(&path, place(span), "a merge (`<<`) is not accepted", Some(hint));
                    return Err(Stop);
                } else {
                    self.key(&text, style, span);
                }
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
        let plain = style == ScalarStyle::Plain;
        self.nodes.push(Node { key: slot.key, value, plain, variable: None, inside: Inside::Nothing });
    }

    fn begin(&mut self, is_mapping: bool, span: Span) -> Result<(), Stop> {
        if self.awaits_key() {
            let path = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
            let hint = "a text that begins with `{` or `[`, as a template does, stands in quotes";
            self.fault(&path, place(span), "a key must be a text", Some(hint));
            return Err(Stop);
        }
        let Some(slot) = self.slot(span) else { return Err(Stop) };
        if self.open.len() >= MAX_DEPTH {
            self.fault(&slot.path, place(span), "nested too deeply", None);
            return Err(Stop);
        }
        let inside = if is_mapping { Inside::Mapping(HashMap::new()) } else { Inside::List(Vec::new()) };
        let node = self.nodes.len();
        self.nodes.push(Node { key: slot.key, value: place(span), plain: false, variable: None, inside });
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
                let secret = open.secret || mask::is_hidden(&name);
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
