//! The README's examples work as they are.

use std::fs;
use std::path::Path;

use pfxhttp::settings;

const README: &str = include_str!("../../README.md");

/// The YAML blocks of the README.
fn blocks() -> Vec<String> {
    let mut blocks = Vec::new();
    for part in README.split("```yaml\n").skip(1) {
        let end = part.find("```").expect("a block ends");
        // A block within a list is indented as a whole.
        let indent = part.len() - part.trim_start_matches(' ').len();
        let lines = part[..end].lines().map(|line| line.get(indent..).unwrap_or_default());
        blocks.push(lines.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

/// `check` reports neither an error nor a warning.
fn assert_passes(text: &str) {
    match settings::parse(Path::new("pfxhttp.yml"), text) {
        Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings:?}"),
        Err(problems) => panic!("{}\n{text}", problems[0]),
    }
}

#[test]
fn the_configurations_pass_check() {
    let [site, listeners, logins, login_listener, tokens, bearer] = blocks().try_into().expect("six blocks");
    let listen = listeners.strip_prefix("server:\n").expect("the second block adds to `server`");
    let both = site.replacen("server:\n", &format!("server:\n{listen}\n"), 1);
    assert_passes(&site);
    assert_passes(&both);
    // The files that the examples name are replaced by the test's own.
    let secret = tempfile::NamedTempFile::new().expect("a file");
    // tempfile gives it mode 0600.
    std::fs::write(secret.path(), "user:password").expect("a secret");
    let named = |text: &str| {
        let lines = text.lines().map(|line| match line.split_once("_file: ") {
            Some((key, _)) => format!("{key}_file: \"{}\"", secret.path().display()),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let nested = |text: &str| format!("    {}\n", text.trim().replace('\n', "\n    "));
    assert_passes(&named(&format!("{logins}\n{}", nested(&tokens))));
    assert_passes(&named(&format!("{login_listener}\n{logins}")));
    let entry = r#"socket_maps:
  m:
    target: "https://h/"
    payload: '{}'
    value_field: v
"#;
    assert_passes(&named(&format!("{entry}{}", nested(&bearer))));
}

#[test]
fn the_paths_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("a file");
    let paths = architecture.split_whitespace().filter_map(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
        word.strip_prefix("src/").map(|_| word.trim_end_matches('/'))
    });
    let paths: Vec<_> = paths.collect();
    assert!(paths.len() > 8, "the page of the code: {paths:?}");
    for path in paths {
        let path = root.join(path);
        assert!(path.exists(), "ARCHITECTURE.md names {}", path.display());
    }
}
