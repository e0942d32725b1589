//! What a program has shown on a terminal, as an SVG: text and the colours that `status` uses (ECMA-48, SGR).
//!
//! Every piece of text has the place and the width that it has on the terminal, so columns stay columns in a
//! font of another width. Only characters of one column are known.

use super::svg::Svg;

/// One column and one line, in pixels, at a font size of 14.
const COLUMN: f64 = 8.4;
const LINE: f64 = 19.0;
const MARGIN: f64 = 16.0;
const BAR: f64 = 34.0;

const STYLE: &str = "
.window { fill: #10161e; stroke: #3a4552; }
.bar { fill: #1d2631; }
.button { fill: #46525f; }
text { font: 14px 'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace; fill: #d7dee6; white-space: pre; }
.title { fill: #aab5c0; font-size: 13px; }
.c1 { fill: #ffffff; font-weight: bold; }
.c2 { fill: #93a0ae; }
.c32 { fill: #57c78c; }
.c33 { fill: #e8b950; }
.c1.c31 { fill: #ff7b7b; }
";

/// A line as pieces of one style each.
type Line = Vec<(String, String)>;

/// The screen of a terminal that is so many columns wide, after a command has shown `output`.
pub(super) fn draw(command: &str, columns: u16, output: &str) -> String {
    let lines: Vec<Line> =
        output.trim_end().lines().flat_map(|line| wrapped(&pieces(line), columns)).collect();
    let width = f64::from(columns) * COLUMN + 2.0 * MARGIN;
    let height = BAR + lines.len() as f64 * LINE + 2.0 * MARGIN - 4.0;
    let mut svg = Svg::new(&format!("A terminal after the command {command}"), STYLE);
    svg.rect("window", [0.5, 0.5, width - 1.0, height - 1.0], 8.0);
    svg.rect("bar", [1.0, 1.0, width - 2.0, BAR - 1.0], 7.5);
    [0.0, 1.0, 2.0].iter().for_each(|nth| svg.circle("button", [20.0 + 18.0 * nth, BAR / 2.0, 5.5]));
    svg.text("title", (MARGIN + 66.0, BAR / 2.0 + 4.5), &format!("$ {command}"));
    for (nth, line) in lines.iter().enumerate() {
        let baseline = BAR + MARGIN + nth as f64 * LINE + 11.0;
        let mut column = 0;
        for (class, text) in line {
            for (at, word) in words(text) {
                let (x, length) = (MARGIN + (column + at) as f64 * COLUMN, word.chars().count() as f64);
                svg.wide_text(class, (x, baseline), length * COLUMN, word);
            }
            column += text.chars().count();
        }
    }
    svg.finish(width, height)
}

/// The pieces of a line: their classes, and their texts without what sets their colour.
fn pieces(line: &str) -> Line {
    let mut pieces = Vec::new();
    let mut class = String::new();
    for (nth, part) in line.split("\x1b[").enumerate() {
        let mut text = part;
        if nth > 0 {
            let end = part.find(|c: char| c.is_ascii_alphabetic()).expect("a sequence ends");
            let (codes, rest) = (&part[..end], &part[end + 1..]);
            match &part[end..=end] {
                "m" if codes == "0" => class.clear(),
                "m" => class = codes.split(';').map(|code| format!("c{code}")).collect::<Vec<_>>().join(" "),
                // The line is empty from here on.
                "K" => {}
                other => panic!("unknown to a picture: {codes:?} {other}"),
            }
            text = rest;
        }
        assert!(!text.contains(char::is_control), "unknown to a picture: {text:?}");
        if !text.is_empty() {
            pieces.push((class.clone(), text.to_owned()));
        }
    }
    pieces
}

/// The lines that a terminal makes of one that is too long.
fn wrapped(line: &Line, columns: u16) -> Vec<Line> {
    let mut lines = vec![Line::new()];
    let mut left = usize::from(columns);
    for (class, text) in line {
        for c in text.chars() {
            if left == 0 {
                lines.push(Line::new());
                left = usize::from(columns);
            }
            left -= 1;
            let last = lines.last_mut().expect("a line");
            match last.last_mut().filter(|(known, _)| known == class) {
                Some((_, text)) => text.push(c),
                None => last.push((class.clone(), c.to_string())),
            }
        }
    }
    lines
}

/// What stands between gaps of two spaces and more, each with its column.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let (mut column, mut rest) = (0, text);
    loop {
        let begin = rest.len() - rest.trim_start_matches(' ').len();
        (column, rest) = (column + begin, &rest[begin..]);
        if rest.is_empty() {
            return words;
        }
        let word = rest.find("  ").map_or(rest.trim_end_matches(' '), |end| &rest[..end]);
        words.push((column, word));
        (column, rest) = (column + word.chars().count(), &rest[word.len()..]);
    }
}

#[test]
fn a_terminal_is_drawn_with_its_colours_and_columns() {
    let picture = draw("a <b>", 20, "\x1b[1;31mfailing\x1b[0m  a·b  \x1b[2mx & y\x1b[0m\x1b[K\nok   …\n\n");
    let at = |column: f64| format!("x=\"{:.1}\"", MARGIN + column * COLUMN);
    for due in [
        format!("class=\"c1 c31\" {} ", at(0.0)),
        format!("class=\"\" {} ", at(9.0)),
        format!("class=\"c2\" {} ", at(14.0)),
        format!("class=\"\" {} ", at(5.0)),
        ">failing</text>".to_owned(),
        ">x &amp; y</text>".to_owned(),
        "$ a &lt;b&gt;".to_owned(),
    ] {
        assert!(picture.contains(&due), "{due}: {picture}");
    }
    assert!(!picture.contains('\x1b'), "{picture}");
    let classes = pieces("\x1b[33m1\x1b[0m 2");
    assert_eq!(classes, [("c33", "1"), ("", " 2")].map(|(class, text)| (class.to_owned(), text.to_owned())));
    let line = pieces("abc\x1b[1mdefg\x1b[0m");
    let texts: Vec<String> =
        wrapped(&line, 5).iter().map(|line| line.iter().map(|piece| piece.1.as_str()).collect()).collect();
    assert_eq!(texts, ["abcde", "fg"]);
    assert_eq!(words("  a b   c "), [(2, "a b"), (8, "c")]);
}
