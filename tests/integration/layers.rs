//! The rooms of the library import each other as the table in `src/lib.rs` says, and in no circle.
//!
//! The sources are read as text: comments, literals and what is `#[cfg(test)]` are left out, and every path that
//! begins with `crate`, or leads there by `super`, counts, in `use` trees and in code. Limits: what a macro puts together is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who imports whom, and the files in which it happens.
type Graph = BTreeMap<(String, String), BTreeSet<PathBuf>>;

/// The table: rooms from the top to the bottom, and what each may import.
fn table() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(source().join("lib.rs")).expect("a file");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("//! | [`")?.trim_end_matches('|').split('|');
        let room = cells.next()?.trim().trim_end_matches("`]").to_owned();
        let allowed = cells.next_back()?.split(',').map(|word| word.trim().to_owned());
        Some((room, allowed.filter(|word| word != "nothing").collect()))
    });
    rows.collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file but tests and fuzz targets, with its room.
fn files() -> Vec<(String, PathBuf)> {
    let (mut files, mut directories) = (Vec::new(), vec![source()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // `src/fuzzing` is built for the tests and for fuzzing alone.
                if !path.ends_with("tests") && path != source().join("fuzzing") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(source()).expect("below it").to_owned();
                let room = relative.components().next().expect("a name").as_os_str();
                let room = room.to_string_lossy().trim_end_matches(".rs").to_owned();
                if room != "lib" {
                    files.push((room, relative));
                }
            }
        }
    }
    files.sort();
    files
}

/// The words and signs of a source text, without comments and literals.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let rest = &chars[at..];
        let next = |nth: usize| rest.get(nth).copied().unwrap_or('\0');
        at += match next(0) {
            '/' if next(1) == '/' => rest.iter().take_while(|c| **c != '\n').count(),
            '/' if next(1) == '*' => block_comment(rest),
            '"' => quoted(rest),
            'r' | 'b' | 'c' if let Some(length) = literal(rest) => length,
            '\'' if next(1) == '\\' => 3 + rest[3..].iter().take_while(|c| **c != '\'').count(),
            '\'' if next(2) == '\'' => 3,
            ':' if next(1) == ':' => {
                tokens.push("::".to_owned());
                2
            }
            c if c.is_alphanumeric() || c == '_' => {
                let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let length = word.chars().count();
                tokens.push(word);
                length
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                1
            }
        };
    }
    tokens
}

/// The length of a block comment, others inside of it included.
fn block_comment(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string that begins with its quotation mark.
fn quoted(text: &[char]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of a literal with a prefix (`r"`, `br#"`, `b'`), if it is one.
fn literal(text: &[char]) -> Option<usize> {
    let prefix = text.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
    let word: String = text[..prefix].iter().collect();
    let rest = &text[prefix..];
    match (word.as_str(), rest.first()?) {
        ("b", '\'') => {
            let escaped = usize::from(*rest.get(1)? == '\\');
            Some(prefix + 2 + escaped + rest[2 + escaped..].iter().take_while(|c| **c != '\'').count())
        }
        ("b" | "c", '"') => Some(prefix + quoted(rest)),
        ("r" | "br" | "cr", '"' | '#') => {
            let marks = rest.iter().take_while(|c| **c == '#').count();
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', marks)).collect();
            let body = rest.get(marks + 1..)?;
            let length = body.windows(end.len()).position(|window| window == end)?;
            (rest[marks] == '"').then_some(prefix + marks + 1 + length + end.len())
        }
        _ => None,
    }
}

/// Without the items that stand behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].iter().take(MARK.len()).eq(MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            // An item ends with its block, a declaration with its semicolon, a field with its comma.
            let ends = matches!(token.as_str(), "}" | ";" | ",");
            if depth < 0 {
                // The last field or statement: the bracket is that of what holds it.
                at -= 1;
                break;
            }
            if depth == 0 && ends {
                break;
            }
        }
    }
    kept
}

/// The first names of all paths that begin with `crate`, or lead there by `super` from a module that has
/// `depth` others above it.
fn imports(tokens: &[String], depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // A run of `super` counts from its first one.
        let is_inside = at > 1 && tokens[at - 1] == "::";
        let steps = tokens[at..].chunks(2).take_while(|step| *step == ["super", "::"]).count();
        let way = match pair[0].as_str() {
            "crate" if pair[1] == "::" => 2,
            "super" if pair[1] == "::" && !is_inside && steps == depth => 2 * steps,
            _ => continue,
        };
        let at = at + way - 2;
        let Some(first) = tokens.get(at + 2) else { continue };
        if first != "{" {
            found.insert(first.clone());
            continue;
        }
        let (mut depth, mut is_first) = (0, true);
        for token in &tokens[at + 2..] {
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => is_first = depth == 1,
                name if is_first && depth == 1 => {
                    found.insert(name.to_owned());
                    is_first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// How many `super` lead from the module of a file to the crate.
fn depth(file: &Path) -> usize {
    file.components().count() - usize::from(file.ends_with("mod.rs"))
}

fn graph() -> Graph {
    let mut graph = Graph::new();
    for (room, file) in files() {
        let text = fs::read_to_string(source().join(&file)).expect("a file");
        for other in imports(&without_tests(&tokens(&text)), depth(&file)) {
            if other != room {
                graph.entry((room.clone(), other)).or_default().insert(file.clone());
            }
        }
    }
    graph
}

/// A way from `room` back to it, if there is one.
fn circle(graph: &Graph, room: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![room.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last().expect("a room");
        for (_, next) in graph.keys().filter(|(from, _)| from == last) {
            let way: Vec<String> = way.iter().chain([next]).cloned().collect();
            if next == room {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push(way);
            }
        }
    }
    None
}

/// Everything that is wrong, a sentence each.
fn faults(table: &[(String, Vec<String>)], graph: &Graph, rooms: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let place = |room: &str| table.iter().position(|(name, _)| name == room);
    for room in rooms.iter().filter(|room| place(room).is_none()) {
        faults.push(format!("the table does not name the room {room}"));
    }
    for (nth, (room, allowed)) in table.iter().enumerate() {
        if !rooms.contains(room) {
            faults.push(format!("there is no room {room}"));
        }
        for other in allowed {
            if place(other).is_none_or(|place| place <= nth) {
                faults.push(format!(
                    "the table allows {room} to import {other}, which does not stand below it"
                ));
            }
            if !graph.contains_key(&(room.clone(), other.clone())) {
                faults.push(format!("the table allows {room} to import {other}, which it does not"));
            }
        }
    }
    for ((room, other), files) in graph {
        let row = table.iter().find(|(name, _)| name == room);
        if row.is_some_and(|(_, allowed)| !allowed.contains(other)) {
            faults.push(format!("{room} must not import {other}: {files:?}"));
        }
    }
    let circles = rooms.iter().filter_map(|room| circle(graph, room));
    faults.extend(circles.map(|way| format!("a circle: {}", way.join(" -> "))));
    faults
}

#[test]
fn rooms_import_what_the_table_allows() {
    let rooms: BTreeSet<String> = files().into_iter().map(|(room, _)| room).collect();
    let (table, graph) = (table(), graph());
    assert!(table.len() > 10 && graph.len() > 40, "{table:?} {graph:?}");
    let faults = faults(&table, &graph, &rooms);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_kind_of_fault_is_found() {
    let row = |room: &str, allowed: &[&str]| {
        (room.to_owned(), allowed.iter().map(|&other| other.to_owned()).collect::<Vec<_>>())
    };
    let graph = |edges: &[(&str, &str)]| -> Graph {
        let edge = |&(from, to): &(&str, &str)| ((from.to_owned(), to.to_owned()), BTreeSet::new());
        edges.iter().map(edge).collect()
    };
    let rooms = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let table = [row("a", &["b", "c"]), row("b", &["c"]), row("c", &[])];
    let (good, three) = ([("a", "b"), ("a", "c"), ("b", "c")], rooms(&["a", "b", "c"]));
    let none: Vec<String> = Vec::new();
    assert_eq!(faults(&table, &graph(&good), &three), none);
    let back = graph(&[good[0], good[1], good[2], ("c", "a")]);
    let found = faults(&table, &back, &three);
    assert!(
        found.iter().any(|fault| fault == "a circle: c -> a -> b -> c" || fault == "a circle: c -> a -> c")
    );
    assert!(found.iter().any(|fault| fault == "c must not import a: {}"), "{found:?}");
    let unused = faults(&table, &graph(&good[..2]), &three);
    assert_eq!(unused, ["the table allows b to import c, which it does not"]);
    let unnamed = faults(&table, &graph(&good), &rooms(&["a", "b", "c", "d"]));
    assert_eq!(unnamed, ["the table does not name the room d"]);
    let upwards = [row("c", &[]), row("b", &["c"]), row("a", &["b", "c"])];
    assert_eq!(faults(&upwards, &graph(&good), &three).len(), 3);
}

#[test]
fn imports_are_read_as_rust_has_them() {
    for (text, due) in [
        ("use crate::a::{b, c};", "a"),
        ("use crate::{a::{x, y}, b, c::d as e};", "a b c"),
        ("pub(crate) use crate::a; fn f() { crate::b::f() }", "a b"),
        ("// use crate::a;\n/* crate::b /* */ crate::c */ //! [`crate::d`]\n", ""),
        (
            "const A: &str = \"crate::a\"; const B: &str = r#\"\" crate::b\"#; const C: char = '\"'; use crate::c;",
            "c",
        ),
        ("fn f<'a>(c: &'a u8) { b'\\''; '\\\\'; crate::a::g() }", "a"),
        ("#[cfg(test)]\nmod tests { use crate::a; fn f() { } }\nuse crate::b;", "b"),
        ("#[cfg(test)]\nuse crate::a;\nuse crate::b;", "b"),
        ("pub(crate) fn f() {} pub(in crate::a) struct S;", "a"),
        ("use super::sibling; use super::super::a::X; use super::super::{b, c::d};", "a b c"),
        ("fn f() { super::super::a::g(super::here()) }", "a"),
    ] {
        let found: Vec<_> = imports(&without_tests(&tokens(text)), 2).into_iter().collect();
        assert_eq!(found.join(" "), due, "{text}");
    }
}
