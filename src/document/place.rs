//! Where a value stands in a file.

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
}
