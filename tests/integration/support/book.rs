//! The pages of README.md and of the book as data: blocks of code, links and headings.

use std::fs;
use std::path::{Path, PathBuf};

/// A file in Markdown.
pub(crate) struct Page {
    /// Its path in the source directory.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A fenced block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The words behind the fence: the language, then what else is said of the block.
    pub(crate) info: Vec<String>,
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    /// Its content, without the indentation of its list.
    pub(crate) text: String,
}

/// The source directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and all pages of the book, in the order of their paths.
pub(crate) fn pages() -> Vec<Page> {
    let mut names = vec![PathBuf::from("README.md")];
    let mut directories = vec![PathBuf::from("docs/src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("a directory of the book") {
            let path = directory.join(entry.expect("an entry").file_name());
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                names.push(path);
            }
        }
    }
    names.sort();
    names.iter().map(|name| Page::read(&name.display().to_string())).collect()
}

impl Page {
    /// Reads the file of this path in the source directory.
    pub(crate) fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    /// Its blocks of code.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.split().0
    }

    /// Its lines outside of blocks, with their numbers.
    pub(crate) fn prose(&self) -> Vec<(usize, &str)> {
        self.split().1
    }

    fn split(&self) -> (Vec<Block>, Vec<(usize, &str)>) {
        let (mut blocks, mut prose) = (Vec::new(), Vec::new());
        let mut open: Option<(Block, usize)> = None;
        for (at, line) in self.text.lines().enumerate() {
            let (number, inner) = (at + 1, line.trim_start());
            match open.take() {
                None => match inner.strip_prefix("```") {
                    Some(info) => {
                        let info = info.split_whitespace().map(str::to_owned).collect();
                        let block = Block { info, line: number, text: String::new() };
                        open = Some((block, line.len() - inner.len()));
                    }
                    None => prose.push((number, line)),
                },
                Some((block, _)) if inner.starts_with("```") => blocks.push(block),
                Some((mut block, indent)) => {
                    block.text.push_str(line.get(indent..).unwrap_or(inner));
                    block.text.push('\n');
                    open = Some((block, indent));
                }
            }
        }
        assert!(open.is_none(), "{}: a block does not end: {open:?}", self.name);
        (blocks, prose)
    }

    /// The anchors of its headings.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, line) in self.prose() {
            let title = line.trim_start_matches('#');
            if title.len() == line.len() || !title.starts_with(' ') {
                continue;
            }
            let anchor = anchor(title.trim());
            let again = anchors.iter().filter(|known| **known == anchor).count();
            anchors.push(if again == 0 { anchor } else { format!("{anchor}-{again}") });
        }
        anchors
    }

    /// The targets of its links, with the line of each.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            let line = without_code(line);
            for (at, _) in line.match_indices("](") {
                let target = &line[at + 2..];
                let target = target.split([')', ' ']).next().unwrap_or_default();
                links.push((number, target.to_owned()));
            }
        }
        links
    }
}

/// The anchor that GitHub and mdBook make of a heading.
fn anchor(title: &str) -> String {
    let letters = title.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    letters.collect()
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

impl Block {
    /// Its language.
    pub(crate) fn language(&self) -> &str {
        self.info.first().map_or("", String::as_str)
    }

    /// Whether this word stands behind the language.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.info.iter().skip(1).any(|said| said == word)
    }
}
