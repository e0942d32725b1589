//! What the tests and the fuzz target compare: an answer as it was read, whole or in pieces.

use super::Answer;

/// How an answer is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    Whole(Whole),
    /// The reason, which the comparison does not look at.
    Refused(String),
    /// There is more to come; or the connection ended before it came.
    Incomplete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) status: u16,
    /// Those of the same name follow each other, as in hyper's map.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) is_kept: bool,
}

/// Our reading of these segments. `ends`: the connection ends behind them.
pub(super) fn ours<'s>(segments: impl IntoIterator<Item = &'s [u8]>, ends: bool) -> Reading {
    let mut reading = Answer::default();
    let mut segments = segments.into_iter();
    while let Some(segment) = segments.next() {
        match reading.take(segment) {
            Ok(true) => return whole(reading, !ends && segments.next().is_none()),
            Ok(false) => {}
            Err(broken) => return Reading::Refused(broken.reason.into_owned()),
        }
    }
    match if ends { reading.end() } else { Ok(false) } {
        Ok(true) => {
            assert!(!reading.is_kept, "a connection that has ended is not kept");
            whole(reading, false)
        }
        Ok(false) => Reading::Incomplete,
        Err(broken) => Reading::Refused(broken.reason.into_owned()),
    }
}

fn whole(answer: Answer, is_kept: bool) -> Reading {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in answer.fields.iter() {
        let (name, value) = (name.to_ascii_lowercase(), value.to_vec());
        let behind = fields.iter().rposition(|(known, _)| *known == name).map_or(fields.len(), |at| at + 1);
        fields.insert(behind, (name, value));
    }
    let Answer { status, body, .. } = answer;
    Reading::Whole(Whole { status, fields, body, is_kept: answer.is_kept && is_kept })
}

/// Whether ours may stand beside that of hyper.
pub(super) fn agree(ours: &Reading, hypers: &Reading) -> bool {
    match (ours, hypers) {
        (Reading::Whole(ours), Reading::Whole(hypers)) => {
            (ours.status, &ours.fields, &ours.body) == (hypers.status, &hypers.fields, &hypers.body)
                && (hypers.is_kept || !ours.is_kept)
        }
        (Reading::Whole(_), _) => false,
        _ => true,
    }
}

/// Whether two readings of different segments are the same. Of an open connection more may come.
pub(super) fn same(one: &Reading, other: &Reading, ends: bool) -> bool {
    match (one, other) {
        (Reading::Refused(_), Reading::Refused(_)) => true,
        (Reading::Refused(_) | Reading::Incomplete, Reading::Refused(_) | Reading::Incomplete) if !ends => {
            true
        }
        _ => one == other,
    }
}
