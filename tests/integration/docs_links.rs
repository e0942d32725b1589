//! Links and anchors of the documentation resolve, files and commands that its text names exist, the table of contents
//! lists each page, and README.md is short.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use pfxhttp::command::cli::Cli;

use crate::support::book::{Page, pages, root};

/// Pages outside of the book whose links are checked, too.
const MORE: [&str; 3] = ["ARCHITECTURE.md", "benches/README.md", "contrib/advisories/README.md"];

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leads out of the source", path.display()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What is wrong with a link of `page`.
fn flaw(page: &Page, target: &str) -> Option<String> {
    if target.starts_with("https://") || target.starts_with("http://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let place = Path::new(&page.name).parent().expect("a file has a directory");
    let path = if file.is_empty() { PathBuf::from(&page.name) } else { plain(&place.join(file)) };
    if !root().join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    // A page of the book reaches only what mdBook copies.
    if place.starts_with("docs/src") && !path.starts_with("docs/src") {
        return Some("it leads out of the book".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let anchors = Page::read(&path.display().to_string()).anchors();
    (!anchors.iter().any(|known| known == anchor)).then(|| format!("{} has no #{anchor}", path.display()))
}

#[test]
fn links_and_anchors_resolve() {
    let (mut flaws, mut links) = (Vec::new(), 0);
    for page in pages().into_iter().chain(MORE.map(Page::read)) {
        for (line, target) in page.links() {
            links += 1;
            flaws.extend(flaw(&page, &target).map(|flaw| format!("{}:{line}: {target}: {flaw}", page.name)));
        }
    }
    assert!(links > 50, "the links are found: {links}");
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = |text: &str| Page { name: "docs/src/index.md".to_owned(), text: text.to_owned() };
    for (text, is_wrong) in [
        ("[a](index.md)", false),
        ("[a](https://example.org/)", false),
        ("[a](nothing.md)", true),
        ("[a](../../README.md)", true),
        ("[a](#nothing)", true),
        ("## Some `code`, here\n[a](#nothing)", true),
    ] {
        let page = page(text);
        let flaws: Vec<_> = page.links().iter().filter_map(|(_, target)| flaw(&page, target)).collect();
        assert_eq!(flaws.len(), usize::from(is_wrong), "{text}: {flaws:?}");
    }
    assert_eq!(page("## Some `code`, here\n# 2").anchors(), ["some-code-here", "2"]);
}

#[test]
fn the_contents_list_each_page_once() {
    let contents = Page::read("docs/src/SUMMARY.md");
    let listed: Vec<_> = contents.links().into_iter().map(|(_, file)| format!("docs/src/{file}")).collect();
    let pages: BTreeSet<_> = pages().into_iter().map(|page| page.name).collect();
    let pages: BTreeSet<_> =
        pages.iter().filter(|name| name.starts_with("docs/") && !name.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), pages);
    assert_eq!(listed.len(), pages.len(), "no page is listed twice: {listed:?}");
}

#[test]
fn the_readme_and_the_glossary_are_short() {
    let size = Page::read("README.md").text.len();
    assert!(size <= 9 * 1024, "README.md has {size} bytes");
    let glossary = Page::read("docs/src/glossary.md");
    let words = glossary.prose().iter().filter(|(_, line)| line.starts_with("| **")).count();
    assert!((10..=20).contains(&words), "the glossary has {words} words");
}

/// The literals in the text, outside of blocks, with their places.
fn literals() -> Vec<(String, String)> {
    let mut literals = Vec::new();
    for page in pages().into_iter().chain(MORE.map(Page::read)) {
        for (line, text) in page.prose() {
            let words = text.split('`').skip(1).step_by(2);
            literals.extend(words.map(|word| (format!("{}:{line}", page.name), word.to_owned())));
        }
    }
    literals
}

/// Directories of the source whose files the documentation names.
const NAMED: [&str; 8] = ["benches/", "bin/", "contrib/", "docs/", "man/", "src/", "tests/", ".ci/"];

#[test]
fn the_files_that_the_text_names_exist() {
    let literals = literals();
    let named = literals.iter().filter(|(_, word)| {
        NAMED.iter().any(|name| word.starts_with(name)) && !word.contains([' ', '*', '…', '<', '{'])
    });
    let named: Vec<_> = named.collect();
    assert!(named.len() > 20, "files are named: {named:?}");
    let missing: Vec<_> = named.iter().filter(|(_, path)| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_packages_of_the_tests_are_named() {
    let page = Page::read("docs/src/contributing.md").text;
    let makefile = Page::read("Makefile").text;
    let lists = makefile.lines().filter_map(|line| {
        line.strip_prefix("PACKAGES := ")
            .or_else(|| line.strip_prefix("PACKAGES += ").filter(|list| !list.contains('$')))
    });
    let packages: Vec<_> = lists.flat_map(str::split_whitespace).collect();
    assert!(packages.len() > 8, "{packages:?}");
    for package in packages {
        assert!(page.contains(&format!("`{package}`")), "docs/src/contributing.md does not name {package}");
    }
}

/// `make compat` writes the page, and a new row needs a new page.
#[test]
fn the_page_of_make_compat_has_each_row() {
    let script = "from rows import CHAPTERS
for _, _, rows in CHAPTERS:
    for _, what, required in rows:
        print(f'| {what} | {required} |')";
    let mut python = Command::new("python3");
    let output = python.args(["-B", "-c", script]).current_dir(root().join("tests/compat")).output();
    let output = output.expect("it needs python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (page, rows) =
        (Page::read("docs/src/compatibility.md").text, String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(rows.lines().count() > 50, "{rows}");
    let missing: Vec<_> = rows.lines().filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "make compat has more rows than its page: {missing:#?}");
}

/// Whether the program at the beginning of a command accepts the other words.
fn is_known(command: &str, makefile: &str) -> bool {
    let words: Vec<_> = command.split_whitespace().collect();
    match words[0] {
        "pfxhttp-broker" => match Cli::command().try_get_matches_from(&words) {
            Ok(_) => true,
            Err(error) => matches!(
                error.kind(),
                // The text names a command without its arguments.
                clap::error::ErrorKind::MissingRequiredArgument
                    | clap::error::ErrorKind::MissingSubcommand
                    | clap::error::ErrorKind::DisplayHelp
                    | clap::error::ErrorKind::DisplayVersion
                    | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            ),
        },
        "make" => words[1..].iter().all(|target| {
            target.contains('=') || makefile.lines().any(|line| line.split(':').next() == Some(target))
        }),
        _ => true,
    }
}

#[test]
fn the_commands_that_the_text_names_exist() {
    let makefile = Page::read("Makefile").text;
    let literals = literals();
    let is_command = |word: &str| word.starts_with("pfxhttp-broker ") || word.starts_with("make ");
    let named: Vec<_> = literals.iter().filter(|(_, word)| is_command(word) && !word.contains('…')).collect();
    assert!(named.len() > 10, "commands are named: {named:?}");
    let unknown: Vec<_> = named.iter().filter(|(_, command)| !is_known(command, &makefile)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    for wrong in ["pfxhttp-broker chek", "pfxhttp-broker check --onlin", "make nothing"] {
        assert!(!is_known(wrong, &makefile), "{wrong}");
    }
}
