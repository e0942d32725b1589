//! The numbers of entries in the server: they are read, made greater, and written where the server has lost one or holds
//! what is none.

use super::engine::{Connection, Reply, Word};
use super::epoch::{GREATEST, Part};

/// How long the server keeps a number that is not renewed, in milliseconds: 30 days, longer than any record.
const LIFE: &str = "2592000000";
/// The place of the last digit that is read.
const LAST: &str = "18";

/// Why the server refused a command, if it did. An error: the connection is of no use any more.
pub(super) type Refused = Result<Option<String>, String>;

/// A purge that the server is told of.
pub(super) struct Purge {
    pub(super) part: Part,
    /// The number of before.
    pub(super) before: u64,
}

/// Reads the numbers of all entries. Those that the server has lost, or that are none, are written.
pub(super) async fn read(connection: &Connection, parts: &[Part]) -> Refused {
    let commands = parts.iter().map(|part| command([&"GETRANGE", &part.name, &"0", &LAST]));
    let replies = ask(connection, commands).await?;
    let mut lost = Vec::new();
    for (part, reply) in parts.iter().zip(&replies) {
        let known = part.epoch.known();
        match (number(reply), known) {
            _ if reply.refused().is_some() => {}
            (Some(number), Some(known)) if number < known => lost.push((part, known, false)),
            (Some(number), _) => part.learn(number),
            (None, _) => {
                let is_absent = *reply == Reply::Bytes(Vec::new());
                lost.push((part, part.epoch.known_or_first(), is_absent));
            }
        }
    }
    let written = write(connection, &lost).await?;
    Ok(refusal(&replies).or(written))
}

/// Writes numbers; where one is absent, another host may be earlier. Reads what there is then.
async fn write(connection: &Connection, lost: &[(&Part, u64, bool)]) -> Refused {
    let numbers: Vec<String> = lost.iter().map(|(_, number, _)| number.to_string()).collect();
    let commands = lost.iter().zip(&numbers).flat_map(|((part, _, is_absent), number)| {
        let mut set = command([&"SET", &part.name, number, &"PX", &LIFE]);
        if *is_absent {
            set.push(&"NX");
        }
        [set, command([&"GETRANGE", &part.name, &"0", &LAST])]
    });
    let replies = ask(connection, commands).await?;
    for ((part, written, _), replies) in lost.iter().zip(replies.chunks(2)) {
        let [set, read] = replies else { continue };
        match number(read) {
            _ if set.refused().is_some() => {}
            Some(number) => part.learn(number),
            None => part.learn(*written),
        }
    }
    Ok(refusal(&replies))
}

/// Makes the numbers of purged entries greater, and says what they are now; `None` if the server refused that.
pub(super) async fn increase(
    connection: &Connection,
    purges: &[Purge],
) -> Result<(Vec<Option<u64>>, Option<String>), String> {
    let before: Vec<String> = purges.iter().map(|purge| purge.before.to_string()).collect();
    let commands = purges.iter().zip(&before).flat_map(|(Purge { part, .. }, before)| {
        [
            command([&"SET", &part.name, before, &"PX", &LIFE, &"NX"]),
            command([&"INCR", &part.name]),
            command([&"PEXPIRE", &part.name, &LIFE]),
        ]
    });
    let replies = ask(connection, commands).await?;
    let counted = replies.chunks(3).map(|replies| match replies.get(1) {
        Some(Reply::Number(number)) => Ok(u64::try_from(*number).ok().filter(|number| *number <= GREATEST)),
        Some(Reply::Unfit) => Ok(None),
        Some(Reply::Refused(why)) => Err(why),
        _ => Ok(None),
    });
    // One that is smaller than before, or is none, is written.
    let (mut numbers, mut wrong) = (Vec::new(), Vec::new());
    for (purge, counted) in purges.iter().zip(counted) {
        let number = counted.ok().map(|counted| counted.unwrap_or(0).max(purge.before + 1));
        if let (Some(number), Ok(counted)) = (number, &counted)
            && *counted != Some(number)
        {
            wrong.push((&purge.part.name, number.to_string()));
        }
        numbers.push(number);
    }
    let set = wrong.iter().map(|(name, number)| command([&"SET", *name, number, &"PX", &LIFE]));
    let written = ask(connection, set).await?;
    Ok((numbers, refusal(&replies).or(refusal(&written))))
}

fn command<'w, const N: usize>(words: [Word<'w>; N]) -> Vec<Word<'w>> {
    words.to_vec()
}

async fn ask<'w>(
    connection: &Connection,
    commands: impl Iterator<Item = Vec<Word<'w>>>,
) -> Result<Vec<Reply>, String> {
    let commands: Vec<Vec<Word<'w>>> = commands.collect();
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let commands: Vec<&[Word<'w>]> = commands.iter().map(Vec::as_slice).collect();
    connection.ask(&commands).await
}

fn refusal(replies: &[Reply]) -> Option<String> {
    replies.iter().find_map(Reply::refused).cloned()
}

/// A number that was read; `None` if there is none.
fn number(reply: &Reply) -> Option<u64> {
    let Reply::Bytes(digits) = reply else { return None };
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= GREATEST).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_only_digits_and_is_not_too_great() {
        let read = |text: &str| number(&Reply::Bytes(text.as_bytes().to_vec()));
        assert_eq!((read("0"), read("8203456789012345")), (Some(0), Some(8_203_456_789_012_345)));
        for text in ["", "-5", "word", "1.5", " 1", "9223372036854775807", "9999999999999999999"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!((number(&Reply::Unfit), number(&Reply::Number(5))), (None, None));
    }
}
