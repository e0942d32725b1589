//! Output to a terminal of bytes that an API or a peer sent: their control characters must not move the
//! cursor, set a title or change colours.

/// `bytes` with an escape for everything that a terminal would not just show, but for line ends.
pub(super) fn visible(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push(c),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c.is_control() || turns_text_around(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// Whether `c` is one of Unicode's bidirectional controls (UAX 9).
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (bytes, due) in [
            ("OK caf\u{e9} \u{1f600} \\x".as_bytes(), "OK caf\u{e9} \u{1f600} \\x"),
            (b"\x1b]0;x\x07\x1b[31m\x7f\0", "\\x1b]0;x\\x07\\x1b[31m\\x7f\\x00"),
            (b"OK\t1\tuser=u\r\n", "OK\\t1\\tuser=u\\r\n"),
            ("\u{9b}31m\u{85}\u{202e}x".as_bytes(), "\\u{9b}31m\\u{85}\\u{202e}x"),
            (b"a\xff\x9b\xc3", "a\\xff\\x9b\\xc3"),
        ] {
            assert_eq!(visible(bytes), due);
        }
    }
}
