//! A table for a terminal: columns that fit a width, and colours.
//!
//! If the terminal is too narrow, the longest texts are cut, then columns stand closer, then the least
//! important columns are left out; the caller is told which. A line is never longer than the width.

use std::fmt::Write;

/// The gap between columns, and what a text that is cut keeps: first a little is cut, then more.
const FITS: [(usize, usize); 2] = [(2, 24), (1, 12)];

/// The colour of a text (ECMA-48, SGR).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Warning,
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "1;31",
        }
    }

    /// `text` in this style, if `colour` allows it.
    pub(super) fn paint(self, text: &str, colour: bool) -> String {
        match self.code() {
            code if colour && !code.is_empty() && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers stand at the right.
    pub(super) right: bool,
    /// Whether its texts may be cut.
    pub(super) cut: bool,
    /// The columns with the highest numbers are left out first; 0: never.
    pub(super) drop: u8,
}

/// One field.
pub(super) type Cell = (String, Style);

/// The lines of the table, titles first, and the titles of the columns that did not fit.
pub(super) fn table(
    columns: &[Column],
    rows: &[Vec<Cell>],
    width: usize,
    colour: bool,
) -> (Vec<String>, Vec<&'static str>) {
    let longest = |place: usize| {
        let cells = rows.iter().map(|row| columns_of(&row[place].0));
        cells.chain([columns_of(columns[place].title)]).max().unwrap_or(0)
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len()).map(|place| (place, longest(place))).collect();
    let mut hidden = Vec::new();
    let gap = loop {
        if let Some(gap) = fit(columns, &mut shown, width) {
            break gap;
        }
        let last = shown.iter().enumerate().max_by_key(|(_, (place, _))| columns[*place].drop);
        match last.map(|(at, (place, _))| (at, columns[*place])) {
            Some((at, column)) if column.drop > 0 => {
                shown.remove(at);
                hidden.push(column.title);
            }
            _ => break 1,
        }
    };
    let titles: Vec<Cell> = columns.iter().map(|column| (column.title.to_owned(), Style::Dim)).collect();
    let lines = [&titles].into_iter().chain(rows).map(|row| line(columns, &shown, row, (gap, width), colour));
    (lines.collect(), hidden)
}

/// Cuts columns until all of them fit; returns the gap between them.
fn fit(columns: &[Column], shown: &mut [(usize, usize)], width: usize) -> Option<usize> {
    let total = |shown: &[(usize, usize)], gap: usize| {
        shown.iter().map(|(_, width)| width).sum::<usize>() + gap * shown.len().saturating_sub(1)
    };
    for (gap, shortest) in FITS {
        let excess = total(shown, gap).saturating_sub(width);
        let spare = |(place, width): &(usize, usize)| match columns[*place].cut {
            true => width.saturating_sub(shortest),
            false => 0,
        };
        if shown.iter().map(spare).sum::<usize>() < excess {
            continue;
        }
        for _ in 0..excess {
            if let Some(widest) = shown.iter_mut().max_by_key(|column| spare(column)) {
                widest.1 -= 1;
            }
        }
        return Some(gap);
    }
    None
}

fn line(
    columns: &[Column],
    shown: &[(usize, usize)],
    row: &[Cell],
    (gap, width): (usize, usize),
    colour: bool,
) -> String {
    // A line ends with its last text.
    let end = shown.iter().rposition(|(place, _)| !row[*place].0.is_empty()).map_or(0, |at| at + 1);
    let (mut line, mut used) = (String::new(), 0);
    for (at, (place, wide)) in shown[..end].iter().enumerate() {
        let before = if at == 0 { 0 } else { gap.min(width.saturating_sub(used)) };
        let room = (*wide).min(width.saturating_sub(used + before));
        let (text, style) = (cut(&row[*place].0, room), row[*place].1);
        let blank = room - columns_of(&text);
        let (lead, trail) = match columns[*place].right {
            true => (before + blank, 0),
            false => (before, if at + 1 < end { blank } else { 0 }),
        };
        let _ = write!(line, "{:lead$}{}{:trail$}", "", style.paint(&text, colour), "");
        used += lead + columns_of(&text) + trail;
    }
    line
}

/// `text` in at most so many columns; the end is a `…` if it was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns_of(text) <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += columns_of_char(c);
        if used > width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// How many columns a terminal needs for `text`.
pub(super) fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

/// Nothing for marks that combine, two for East Asian wide characters and emoji (UAX 11).
fn columns_of_char(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "NAME", right: false, cut: true, drop: 0 },
        Column { title: "REQ/S", right: true, cut: false, drop: 1 },
        Column { title: "CACHE", right: true, cut: false, drop: 2 },
        Column { title: "LAST", right: false, cut: true, drop: 0 },
    ];

    fn rows(name: &str) -> Vec<Vec<Cell>> {
        let cells = |cells: [&str; 4]| cells.map(|text| (text.to_owned(), Style::Plain)).to_vec();
        vec![cells([name, "12.5", "", "connect 3s"]), cells(["b", "0", "87%", ""])]
    }

    #[test]
    fn columns_stand_below_their_titles() {
        let (lines, hidden) = table(&COLUMNS, &rows("mailboxes"), 80, false);
        let due = [
            "NAME       REQ/S  CACHE  LAST",
            "mailboxes   12.5         connect 3s",
            "b              0    87%",
        ];
        assert_eq!((lines, hidden), (due.map(str::to_owned).to_vec(), vec![]));
        let (lines, hidden) = table(&COLUMNS, &rows("mailboxes"), 32, false);
        assert_eq!(lines[1], "mailboxes  12.5       connect 3s");
        assert!(hidden.is_empty());
    }

    #[test]
    fn a_narrow_terminal_cuts_texts_and_then_drops_columns() {
        let long = "a-name-of-thirty-characters-xx";
        let (lines, hidden) = table(&COLUMNS, &rows(long), 40, false);
        assert_eq!(lines[1], "a-name-of-thirty…  12.5       connect 3s");
        assert!(hidden.is_empty());
        let (lines, hidden) = table(&COLUMNS, &rows(long), 31, false);
        assert_eq!((lines[1].as_str(), hidden), ("a-name-of-thi…  12.5 connect 3s", vec!["CACHE"]));
        for width in 0..45 {
            for colour in [false, true] {
                let (lines, _) = table(&COLUMNS, &rows("界界界界界界界界"), width, colour);
                for line in lines {
                    let plain: String = line
                        .split("\x1b[")
                        .map(|part| part.split_once('m').map_or(part, |(_, rest)| rest))
                        .collect();
                    let plain = if colour { plain } else { line };
                    assert!(columns_of(&plain) <= width, "{width}: {plain:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_is_cut_by_columns_and_not_by_bytes() {
        assert_eq!(cut("grüße", 5), "grüße");
        assert_eq!(cut("grüße", 4), "grü…");
        assert_eq!(cut("界界界", 5), "界界…");
        assert_eq!(cut("界界界", 4), "界…");
        assert_eq!((cut("abc", 1).as_str(), cut("abc", 0).as_str()), ("…", ""));
        assert_eq!(columns_of("e\u{301}"), 1);
    }
}
