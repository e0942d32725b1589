//! The fuzz target of the configuration.

use std::path::Path;

use super::{Options, Problem, Syntax, parse_and};

/// The secret of the corpus.
const SECRET: &str = "hush-hush";
/// The keys that it stands behind.
const KEYS: [&str; 7] =
    ["client_secret", "http_auth_basic", "Authorization", "payload", "password", "proxy", "secret"];

/// A letter for the syntax (`j`, `t`, or any other for YAML), and a text.
///
/// The text is a configuration, or there is an error; each problem is one line, and one more with a hint. What
/// `config dump` would print of a configuration is a YAML text without errors of its own. Neither shows the secret
/// of a line that has it as the value of a key for secrets.
pub fn configuration(bytes: &[u8]) {
    let (kind, text) = bytes.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(text);
    let syntax = match kind {
        b'j' => Syntax::Json,
        b't' => Syntax::Toml,
        _ => Syntax::Yaml,
    };
    let is_planted = text.lines().all(is_at_its_place);
    let options = |syntax| Options { syntax: Some(syntax), environment: &[], is_jailed: false };
    let read = |syntax, text: &str| parse_and(Path::new("pfxhttp"), text, options(syntax), [], Some(true));
    let problems = match read(syntax, &text) {
        Ok((_, warnings, dumped)) => {
            assert!(!is_planted || !dumped.contains(SECRET), "{dumped}");
            assert!(!dumped.contains('\0'));
            warnings
        }
        Err(problems) => {
            assert!((1..=100).contains(&problems.len()), "{} problems", problems.len());
            problems
        }
    };
    for problem in &problems {
        let shown = shown(problem);
        assert!(!is_planted || !shown.contains(SECRET), "{shown}");
    }
}

fn shown(problem: &Problem) -> String {
    let shown = problem.to_string();
    let lines: Vec<&str> = shown.split('\n').collect();
    assert!(lines.len() == 1 || (lines.len() == 2 && lines[1].starts_with("hint: ")), "{shown:?}");
    assert!(!lines.iter().any(|line| line.contains(char::is_control)), "{shown:?}");
    shown + "\n" + &problem.summary()
}

/// Whether a line has no secret, or has it behind a key for secrets.
fn is_at_its_place(line: &str) -> bool {
    let Some((before, _)) = line.split_once(SECRET) else { return true };
    let begin = before.trim_start_matches([' ', '-', '"', '\'']);
    let key = KEYS.into_iter().find(|key| begin.starts_with(*key));
    let behind = key.and_then(|key| begin.strip_prefix(key)).unwrap_or_default();
    let sign = behind.trim_start_matches('"').trim_start();
    key.is_some() && sign.starts_with([':', '=']) && before.matches([':', '=']).count() == 1
}
