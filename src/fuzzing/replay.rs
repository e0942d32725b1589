//! The corpora of the fuzz targets, as tests.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::TARGETS;

/// Files of a corpus.
const MOST_FILES: usize = 40;
/// Bytes of a file.
const LONGEST: usize = 4096;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_file_of_a_corpus_passes() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let corpus = fuzz().join("corpus").join(name);
        let files = names(&corpus);
        assert!((1..=MOST_FILES).contains(&files.len()), "{name} has {} files", files.len());
        for file in files.into_iter().map(|file| corpus.join(file)) {
            let bytes = fs::read(&file).expect("a file");
            assert!(bytes.len() <= LONGEST, "{} is too long", file.display());
            if catch_unwind(|| target(&bytes)).is_err() {
                failed.push(file.display().to_string());
            }
        }
    }
    assert!(failed.is_empty(), "the reasons are above:\n{}", failed.join("\n"));
}

#[test]
fn each_target_is_a_program_with_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs = names(&fuzz().join("fuzz_targets"));
    let programs: BTreeSet<String> =
        programs.iter().map(|file| file.strip_suffix(".rs").expect("a source").to_owned()).collect();
    assert_eq!(programs, targets);
    assert_eq!(names(&fuzz().join("corpus")), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
    for name in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is in no [[bin]]");
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).expect("a source");
        assert!(program.contains(&format!("pfxhttp::fuzzing::{name}(")), "{name} runs another target");
    }
}
