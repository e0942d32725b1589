//! Plays tests/dialogues/*.txt in each way. `support::dialogue` describes the format.

use std::path::{Path, PathBuf};

use crate::support::dialogue::Dialogue;
use crate::support::site::{Site, Way};

#[test]
fn every_dialogue_goes_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let entries = std::fs::read_dir(directory).expect("tests/dialogues").flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(files.len() > 20, "the dialogues are in place; found {}", files.len());
    let site = Site::constant("{}");
    for file in files {
        let dialogue = Dialogue::read(&file);
        for way in Way::ALL {
            dialogue.play(&site, way);
        }
    }
}
