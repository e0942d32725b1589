//! Dialogues in data files: what Postfix sends, what the API says, what Postfix gets.
//!
//! ```text
//! # a comment                     protocol: socketmap | policy NAME
//! C: bytes from Postfix           consecutive lines are one write
//! S: bytes to Postfix             consecutive lines are joined; `S: <closed>` ends the dialogue
//! B: JSON, or a status alone      what the API says to its next request
//! A: JSON                         what that request had to hold: these members at least
//! ```
//!
//! Bytes are UTF-8 with `\n \r \t \s \0 \\ \xNN`. After the last line nothing more may come. The API
//! must have had as many requests as there are `B:` lines, so that without one there is no request.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::backend::Reply;
use super::peer::Peer;
use super::shown;
use super::site::{Site, Way};

/// One dialogue.
#[derive(Debug)]
pub(crate) struct Dialogue {
    name: String,
    policy: Option<String>,
    answers: Vec<String>,
    expected: Vec<(usize, Value)>,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    Closed,
}

impl Dialogue {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let (answers, expected, steps) = (Vec::new(), Vec::new(), Vec::new());
        let mut dialogue = Self { name, policy: None, answers, expected, steps };
        for (number, line) in text.lines().enumerate() {
            dialogue.line(line).unwrap_or_else(|what| panic!("{}:{}: {what}", path.display(), number + 1));
        }
        dialogue
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (tag, rest) = line.split_once(':').ok_or("a line is TAG: TEXT")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match (tag, rest) {
            ("protocol", "socketmap") => self.policy = None,
            ("protocol", other) => {
                let name = other.strip_prefix("policy ").ok_or("socketmap, or policy NAME")?;
                self.policy = Some(name.to_owned());
            }
            ("S", "<closed>") => self.steps.push(Step::Closed),
            ("C", bytes) => match self.steps.last_mut() {
                Some(Step::Send(sent)) => sent.extend(unescaped(bytes)?),
                _ => self.steps.push(Step::Send(unescaped(bytes)?)),
            },
            ("S", bytes) => match self.steps.last_mut() {
                Some(Step::Expect(due)) => due.extend(unescaped(bytes)?),
                _ => self.steps.push(Step::Expect(unescaped(bytes)?)),
            },
            ("B", answer) => self.answers.push(answer.to_owned()),
            ("A", json) => {
                let json = serde_json::from_str(json).map_err(|error| error.to_string())?;
                let request = self.answers.len().checked_sub(1).ok_or("A: stands behind its B:")?;
                self.expected.push((request, json));
            }
            _ => return Err(format!("no such tag: {tag}")),
        }
        Ok(())
    }

    /// Plays it, and panics if it goes another way.
    pub(crate) fn play(&self, site: &Site, way: Way) {
        let backend = if self.policy.is_some() { &site.policies } else { &site.maps };
        let before = backend.count();
        let answers = Arc::new(Mutex::new(VecDeque::from(self.answers.clone())));
        backend.answer_with(move |_| match answers.lock().expect("the answers").pop_front() {
            Some(answer) => answer.parse().map_or_else(|_| Reply::json(&answer), Reply::status),
            None => Reply::status(500),
        });
        let mut peer = match &self.policy {
            Some(name) => site.policy(way, name),
            None => site.map(way),
        };
        self.talk(&mut peer, way);
        let requests = backend.requests().split_off(before);
        let (made, due) = (requests.len(), self.answers.len());
        assert_eq!(made, due, "{} by {way:?}: requests to the API", self.name);
        for (number, members) in &self.expected {
            let body = requests[*number].json();
            for (name, value) in members.as_object().expect("A: is a JSON object") {
                assert_eq!(&body[name], value, "{} by {way:?}: {name} in {body}", self.name);
            }
        }
    }

    fn talk(&self, peer: &mut Peer, way: Way) {
        for step in &self.steps {
            match step {
                Step::Send(bytes) => peer.send(bytes),
                Step::Expect(due) => {
                    let got = peer.up_to(due.len());
                    assert_eq!(shown(&got), shown(due), "{} by {way:?}", self.name);
                }
                Step::Closed => {}
            }
        }
        if self.steps.last() != Some(&Step::Closed) {
            peer.half_close();
        }
        let rest = peer.rest();
        assert!(rest.is_empty(), "{} by {way:?}: {} came in addition", self.name, shown(&rest));
    }
}

fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b's') => b' ',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits);
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))?
            }
            other => return Err(format!("no such escape: {other:?}")),
        });
    }
    Ok(bytes)
}
