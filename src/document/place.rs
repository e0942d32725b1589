//! Where a value stands: its place in the text, its path in the tree (`server.listen[0].port`).

use std::fmt;

/// A line and a column, both from 1; a column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// The first character of a text.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// Finds the place of a byte.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// The last byte that was asked for, and its place: the next one is mostly near.
    last: (usize, Place),
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts, last: (0, Place::START) }
    }

    /// The place of the byte at `offset`, or of the end of the text.
    pub(super) fn place(&mut self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let (from, column) = match self.last {
            (from, place) if place.line == line && from <= offset => (from, place.column),
            _ => (start, 1),
        };
        let column = column + self.text.get(from..offset).unwrap_or_default().chars().count();
        self.last = (offset, Place { line, column });
        self.last.1
    }
}

/// One step from a map or a list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The key of a map.
    Key(String),
    /// The item of a list, from 0.
    Item(usize),
}

/// The path of a value. A name that could be mistaken for a path (`a.b`) is shown in quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyPath(pub(super) Vec<Step>);

impl KeyPath {
    /// The path of `name` in the map at this path.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.to_owned()))
    }

    /// The path of the item `index` of the list at this path.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }

    /// Whether a key of this path is `wanted`.
    pub(super) fn has_key(&self, wanted: fn(&str) -> bool) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Key(key) if wanted(key)))
    }

    /// How many steps lead to the first key that is `wanted`; all, if none is.
    pub(super) fn steps_to(&self, wanted: fn(&str) -> bool) -> usize {
        let is_wanted = |step: &Step| matches!(step, Step::Key(key) if wanted(key));
        self.0.iter().position(is_wanted).map_or(self.0.len(), |at| at + 1)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(name) => {
                    f.write_str(if position > 0 { "." } else { "" })?;
                    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/');
                    if !name.is_empty() && name.chars().all(is_plain) {
                        f.write_str(name)?;
                    } else {
                        write!(f, "{name:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_any_order() {
        let text = "ä1\n\n€€3";
        let mut lines = Lines::of(text);
        for (offset, line, column) in [
            (0, 1, 1),
            (2, 1, 2),
            (3, 1, 3),
            (4, 2, 1),
            (5, 3, 1),
            (11, 3, 3),
            (8, 3, 2),
            (7, 3, 1),
            (99, 3, 4),
        ] {
            assert_eq!(lines.place(offset), Place { line, column }, "{offset}");
        }
    }

    #[test]
    fn paths_quote_what_is_no_plain_name() {
        let mut path = KeyPath::default();
        for key in ["a", "b.c", "", "d-e_f@g/h"] {
            path = path.key(key).item(0);
        }
        assert_eq!(path.to_string(), "a[0].\"b.c\"[0].\"\"[0].d-e_f@g/h[0]");
    }
}
