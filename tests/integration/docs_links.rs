//! Links and anchors of the documentation resolve, the table of contents lists each page, and README.md is short.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

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

/// Directories of the source whose files the documentation names.
const NAMED: [&str; 8] = ["benches/", "bin/", "contrib/", "docs/", "man/", "src/", "tests/", ".ci/"];

#[test]
fn the_files_that_the_documentation_names_exist() {
    let (mut missing, mut found) = (Vec::new(), 0);
    for page in pages().into_iter().chain(MORE.map(Page::read)) {
        for (line, text) in page.prose() {
            for word in text.split('`').skip(1).step_by(2) {
                let path = word.trim_end_matches('/');
                if !NAMED.iter().any(|name| word.starts_with(name)) || path.contains([' ', '*', '…', '<']) {
                    continue;
                }
                found += 1;
                if !root().join(path).exists() {
                    missing.push(format!("{}:{line}: {path}", page.name));
                }
            }
        }
    }
    assert!(found > 20, "files are named: {found}");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
