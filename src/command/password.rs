//! The password of `query sasl`: on a terminal it is asked for, and not shown; otherwise it is read from
//! standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Bytes of a password; more than a line of the protocol may have.
const LONGEST: u64 = 32 * 1024;
/// What keys send: Ctrl-C, Ctrl-D, backspace, delete, Ctrl-U.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;
const CLEAR: u8 = 21;

/// Reads it.
///
/// # Errors
/// A sentence: there is none.
pub(super) fn read() -> Result<Zeroizing<Vec<u8>>, String> {
    let stdin = io::stdin();
    if stdin.is_terminal() { ask(&mut stdin.lock()) } else { piped(&mut stdin.lock()) }
}

/// Everything, but for line ends behind it.
fn piped(input: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = Zeroizing::new(Vec::new());
    let read = input.take(LONGEST).read_to_end(&mut line);
    if read.is_err() || line.is_empty() {
        return Err("the password is read from standard input".to_owned());
    }
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    line.truncate(end);
    Ok(line)
}

/// Asks on the terminal. Signals of keys are off meanwhile, so that its settings always come back.
fn ask(keys: &mut impl BufRead) -> Result<Zeroizing<Vec<u8>>, String> {
    let settings = Settings::silence().map_err(|error| format!("cannot turn off the echo: {error}"))?;
    let _ = write!(io::stderr(), "Password: ");
    let typed = type_in(keys);
    drop(settings);
    let _ = writeln!(io::stderr());
    typed
}

fn type_in(keys: &mut impl BufRead) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    for key in keys.take(LONGEST).bytes() {
        match key.map_err(|error| error.to_string())? {
            b'\r' | b'\n' | END => break,
            INTERRUPT => return Err("interrupted".to_owned()),
            BACKSPACE | DELETE => {
                // A character of UTF-8 ends at its first byte.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            CLEAR => typed.clear(),
            byte => typed.push(byte),
        }
    }
    Ok(typed)
}

/// The settings of the terminal, which come back when this is dropped.
struct Settings(Termios);

impl Settings {
    fn silence() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{piped, type_in};

    #[test]
    fn line_ends_do_not_belong_to_a_password() {
        for (input, expected) in [("a b\r\n", "a b"), ("a\nb\n\n", "a\nb"), ("\n", "")] {
            assert_eq!(piped(&mut input.as_bytes()).expect("input").as_slice(), expected.as_bytes());
        }
        assert!(piped(&mut "".as_bytes()).is_err());
    }

    #[test]
    fn keys_edit_a_password() {
        for (keys, expected) in [
            ("abc\n", "abc"),
            ("ab\x7fc\r", "ac"),
            ("a\u{e9}\x08b\n", "ab"),
            ("abc\x15d\x04e", "d"),
            ("\x7f\n", ""),
        ] {
            assert_eq!(type_in(&mut keys.as_bytes()).expect("a password").as_slice(), expected.as_bytes());
        }
        assert!(type_in(&mut "ab\x03".as_bytes()).is_err());
    }
}
