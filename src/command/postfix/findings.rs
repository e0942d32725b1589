//! What a comparison with Postfix finds, as lines for an administrator.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// It does not work, or is not safe.
    Error,
    /// It works, but may delay mail.
    Warning,
    /// It may be what is meant.
    Note,
}

/// One thing that an administrator should look at.
pub(super) struct Finding {
    pub(super) severity: Severity,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}", self.text)
    }
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, text: String) {
        // Several services of master.cf inherit one value of main.cf.
        if self.0.iter().all(|known| known.text != text) {
            self.0.push(Finding { severity, text });
        }
    }

    pub(super) fn error(&mut self, text: String) {
        self.add(Severity::Error, text);
    }

    pub(super) fn warning(&mut self, text: String) {
        self.add(Severity::Warning, text);
    }

    pub(super) fn note(&mut self, text: String) {
        self.add(Severity::Note, text);
    }

    /// All of them, errors first.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity as u8);
        self.0
    }
}
