//! What the README shows works as it stands there.

use std::path::Path;

use pfxhttp::config;

const README: &str = include_str!("../../README.md");

/// The YAML blocks of the README.
fn blocks() -> Vec<String> {
    let mut blocks = Vec::new();
    for part in README.split("```yaml\n").skip(1) {
        let end = part.find("```").expect("a block ends");
        // A block inside of a list is indented as a whole.
        let indent = part.len() - part.trim_start_matches(' ').len();
        let lines = part[..end].lines().map(|line| line.get(indent..).unwrap_or_default());
        blocks.push(lines.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

#[test]
fn its_configuration_passes_the_check() {
    let blocks = blocks();
    assert_eq!(blocks.len(), 2, "a site behind spawn(8), and its listeners without it");
    let site = &blocks[0];
    let listen = blocks[1].strip_prefix("server:\n").expect("the second block adds to `server`");
    let both = site.replacen("server:\n", &format!("server:\n{listen}\n"), 1);
    for text in [site, &both] {
        match config::parse(Path::new("pfxhttp.yml"), text) {
            Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings:?}"),
            Err(problems) => panic!("{}\n{text}", problems[0]),
        }
    }
}

#[test]
fn its_paths_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = README.split_whitespace().filter_map(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
        word.strip_prefix("src/").map(|_| word.trim_end_matches('/'))
    });
    let paths: Vec<_> = paths.collect();
    assert!(paths.len() > 8, "the map of the code: {paths:?}");
    for path in paths {
        let path = root.join(path);
        assert!(path.exists(), "the README names {}", path.display());
    }
}
