//! Texts that nobody meant to write: bounded, in time, and without a panic.

use super::*;

#[test]
fn many_problems_are_cut() {
    let text: String = (0..500).map(|number| format!("key_{number}: x\n")).collect();
    assert_eq!(check(&text).expect_err("wrong").len(), 100);
}

#[test]
fn deep_and_large_texts_are_refused_in_time() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        assert!(check(&text).is_err(), "{}", &text[..4]);
    }
}

/// Lines that a careless editor might leave behind.
fn fragments() -> impl Strategy<Value = String> {
    let words = SEED.lines().chain([
        "&a",
        "*a",
        "!!int x",
        "? x",
        ": y",
        "- -",
        "\"",
        "'",
        "|",
        ">",
        "{",
        "}",
        "[",
        "]",
        "---",
        "...",
        "%YAML 9",
        "\t",
        "client_secret: \"x",
        "mode: 0660",
        "<<: *a",
        "\u{feff}",
        "\u{85}",
        "\0",
        "#",
        "~",
    ]);
    let words: Vec<String> = words.map(str::to_owned).collect();
    prop::collection::vec(prop::sample::select(words), 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = told(&text);
    }

    #[test]
    fn no_mixture_makes_it_panic(text in fragments()) {
        if let Err(problems) = check(&text) {
            prop_assert!(!problems.is_empty());
            let _ = shown(&problems);
        }
    }

    #[test]
    fn no_cut_makes_it_panic(from in 0..SEED.len(), length in 0..80_usize, put in ".{0,4}") {
        let end = (from + length).min(SEED.len());
        let text = format!("{}{put}{}", &SEED[..from], &SEED[end..]);
        let problems = match check(&text) { Ok((_, warnings)) => warnings, Err(problems) => problems };
        if text.contains("custom_headers:\n") || text.contains("Authorization:") {
            prop_assert!(!shown(&problems).contains("Bearer <token>"), "{}", shown(&problems));
        }
        if text.contains(" client_secret: ") {
            prop_assert!(!shown(&problems).contains("hush-hush"), "{}", shown(&problems));
        }
    }
}
