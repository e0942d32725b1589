//! Which keys there are: what a document was asked for while it recorded that. Hints and the schema
//! are made of it.

use std::collections::BTreeMap;

/// The kind of a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A text that may be written as a number or a boolean.
    Word,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// A number.
    Number,
    /// A duration, as `1.5s`.
    Duration,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// One of these words, which may be written as numbers.
    WordChoice(Vec<&'static str>),
    /// A list.
    List(Box<Kind>),
    /// One value, or a list.
    OneOrList(Box<Kind>),
    /// Names and values.
    Pairs(Box<Kind>),
    /// A block of this definition.
    Block(&'static str),
    /// A list of blocks.
    Blocks(&'static str),
    /// A block of this definition, or `false`.
    BlockOrOff(&'static str),
    /// A list of texts and blocks.
    TextsOrBlocks(&'static str),
    /// Blocks by name, which inherit from the one that is named `defaults`.
    Entries(&'static str),
}

/// A kind of block.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What an administrator calls it, as `server.listen`; empty for the top.
    pub label: String,
    /// Its keys.
    pub keys: BTreeMap<&'static str, Kind>,
}

/// The kinds of blocks, by name.
#[derive(Debug, Default)]
pub struct Record {
    /// By the name of their definition.
    pub definitions: BTreeMap<&'static str, Definition>,
    /// The order in which they were read.
    order: Vec<&'static str>,
}

impl Record {
    /// Notes that blocks of the kind `definition` have `key`.
    pub(super) fn add(&mut self, definition: &'static str, key: &'static str, kind: Kind) {
        self.definitions.entry(definition).or_default().keys.insert(key, kind);
    }

    /// Notes what blocks of the kind `definition` are called.
    pub(super) fn define(&mut self, definition: &'static str, label: String) {
        let known = self.definitions.entry(definition).or_default();
        if known.label.is_empty() {
            known.label = label;
            self.order.push(definition);
        }
    }

    /// The first block outside of entries, or the first section, that has `key`.
    #[must_use]
    pub fn home(&self, key: &str) -> Option<&str> {
        let in_order = self.order.iter().filter_map(|name| self.definitions.get(name));
        let outside = in_order.filter(|definition| !definition.label.contains('*'));
        let top = self.definitions.values().filter(|definition| definition.label.is_empty());
        let home = outside.chain(top).find(|definition| definition.keys.contains_key(key))?;
        Some(if home.label.is_empty() { "the top of the file" } else { &home.label })
    }
}
