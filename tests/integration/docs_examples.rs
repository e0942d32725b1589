//! Blocks of configuration in README.md and the book pass `check` as they are, without a warning.
//!
//! The word behind the fence says what a block is:
//!
//! | fence | test |
//! |---|---|
//! | `yaml` | a configuration; sections that it does not have are added |
//! | `yaml refused` | a configuration that `check` refuses |
//! | `yaml other`, `yml` | a file of another program: not loaded |
//! | `yaml install` | a configuration, and the file of the commands that follow (`docs_commands`) |
//! | `toml` | a configuration in TOML |
//! | `json` | any JSON text |
//! | `sh`, `console`, `main.cf`, `master.cf` | run (`docs_commands`) |
//! | `text`, `ini`, `python`, `php`, `go` | shown only; samples are included from files, which other tests run |

use std::path::Path;

use pfxhttp::settings::{self, Options, Syntax};
use tempfile::TempDir;

use crate::support::book::{Block, Page, pages};
use crate::support::certificates::Identity;

/// Languages that no test runs. Blocks of the last three must include a file.
const SHOWN: [&str; 6] = ["text", "ini", "yml", "python", "php", "go"];
/// Languages of `docs_commands`.
const RUN: [&str; 4] = ["sh", "console", "main.cf", "master.cf"];

/// Entries for a block that has none of this section, under the names of the documentation.
const SECTIONS: [(&str, &str); 3] = [
    ("socket_maps", "mailboxes: {target: \"https://h/\", payload: '[{{ .Key }}]', value_field: v}"),
    ("policy_services", "recipients: {target: \"https://h/\", payload: '{{ .Key }}', value_field: v}"),
    ("dovecot_sasl", "users: {target: \"https://h/\", default_local_port: \"587\"}"),
];

/// Files in place of those that the blocks name.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Identity::self_signed().write(directory.path(), "some");
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "user:a-password-that-a-shared-cache-takes").expect("a secret");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(secret, mode).expect("its owner may");
        Self { directory }
    }

    /// The file in place of the value of `key`, if that key names one.
    fn of(&self, key: &str) -> Option<String> {
        let name = match key {
            "root_ca" | "cert" => "some.crt",
            "key" | "private_key_file" => "some.key",
            key if key.ends_with("_file") => "secret",
            _ => return None,
        };
        Some(self.directory.path().join(name).display().to_string())
    }

    /// The text with the test's own files.
    fn placed(&self, text: &str) -> String {
        let line = |line: &str| {
            let mut placed = line.to_owned();
            for part in line.split(['{', ',']) {
                let Some((key, value)) = part.split_once(": ") else { continue };
                let value = value.trim().split([' ', '}']).next().unwrap_or_default();
                if let Some(file) = self.of(key.trim()) {
                    placed = placed.replace(&format!(": {value}"), &format!(": {file:?}"));
                }
            }
            placed
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The errors and warnings of `check`.
fn problems(text: &str, syntax: Syntax) -> Vec<String> {
    let options = Options { syntax: Some(syntax), environment: &[], is_jailed: false };
    let read = settings::parse_as(Path::new("pfxhttp"), text, options);
    let problems = match &read {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    problems.iter().map(ToString::to_string).collect()
}

/// A block with the sections that it does not have.
fn completed(text: &str) -> String {
    let has = |section: &str| text.lines().any(|line| line.starts_with(&format!("{section}:")));
    let missing = SECTIONS.iter().filter(|(section, _)| !has(section));
    let missing: Vec<_> = missing.map(|(section, entry)| format!("\n{section}:\n  {entry}")).collect();
    format!("{text}{}\n", missing.concat())
}

/// What is wrong with a block.
fn flaw(block: &Block, files: &Files) -> Option<String> {
    let text = files.placed(&block.text);
    match block.language() {
        "yaml" if block.says("other") => None,
        "yaml" => {
            let problems = problems(&completed(&text), Syntax::Yaml);
            match block.says("refused") {
                true => problems.is_empty().then(|| "check accepts it".to_owned()),
                false => (!problems.is_empty()).then(|| problems.join("\n")),
            }
        }
        "toml" => {
            Some(problems(&text, Syntax::Toml)).filter(|list| !list.is_empty()).map(|list| list.join("\n"))
        }
        "json" => serde_json::from_str::<serde_json::Value>(&text).err().map(|error| error.to_string()),
        "python" | "php" | "go" if !text.trim_start().starts_with("{{#include ") => {
            Some("only an included file is tested".to_owned())
        }
        language if RUN.contains(&language) || SHOWN.contains(&language) => None,
        language => Some(format!("no test knows the language {language:?}")),
    }
}

fn flaws(page: &Page, files: &Files) -> Vec<String> {
    let wrong = |block: Block| {
        flaw(&block, files).map(|flaw| format!("{}:{}: {flaw}\n{}", page.name, block.line, block.text))
    };
    page.blocks().into_iter().filter_map(wrong).collect()
}

#[test]
fn the_configurations_pass_check() {
    let files = Files::new();
    let pages = pages();
    let wrong: Vec<_> = pages.iter().flat_map(|page| flaws(page, &files)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let of_readme = pages.iter().filter(|page| page.name == "README.md").flat_map(Page::blocks);
    assert!(
        of_readme.filter(|block| block.language() == "yaml").count() > 0,
        "the README has a configuration"
    );
}

#[test]
fn a_wrong_block_is_found() {
    let files = Files::new();
    let good = "server:\n  tls: {enabled: true, root_ca: /etc/ca.pem}\n";
    for (info, text, is_wrong) in [
        ("yaml", good, false),
        ("yaml", "server:\n  tsl: {enabled: true}\n", true),
        ("yaml", "socket_maps:\n  m: {target: \"https://h/\", http_auth_basic_file: /etc/x}\n", true),
        ("yaml refused", good, true),
        ("yaml refused", "server: 1\n", false),
        ("json", "{\n", true),
        ("toml", "[server]\nx = 1\n", true),
        ("", "make\n", true),
        ("python", "print(1)\n", true),
    ] {
        let page = Page { name: "a page".to_owned(), text: format!("```{info}\n{text}```\n") };
        assert_eq!(flaws(&page, &files).len(), usize::from(is_wrong), "{info}: {text}");
    }
}
