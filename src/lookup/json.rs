//! Writes JSON strings (RFC 8259 7), byte for byte as serde_json does, in less time: nearly all texts need no
//! escape.

/// Bytes for what usually follows a text with escapes.
pub(crate) const ROOM: usize = 128;

/// Appends `text` as a JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(text, out);
    out.push(b'"');
}

/// Appends what stands between the quotes of the string. Bytes that are not UTF-8 become U+FFFD, because JSON is
/// UTF-8 (RFC 8259 8.1).
pub(crate) fn escaped_lossy(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => escaped(text, out),
        Err(_) => escaped(&String::from_utf8_lossy(bytes), out),
    }
}

/// Appends what stands between the quotes of the string.
pub(crate) fn escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    // The compiler compares all bytes of a chunk at once.
    let (chunks, rest) = bytes.as_chunks::<8>();
    let is_plain_chunk = |chunk: &[u8; 8]| chunk.iter().fold(true, |all, byte| all & is_plain(*byte));
    if chunks.iter().all(is_plain_chunk) && rest.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(bytes);
    }
    // A buffer that grows step by step takes the memory of all its steps.
    out.reserve(length(bytes) + ROOM);
    for run in bytes.split_inclusive(|byte| !is_plain(*byte)) {
        match run.split_last() {
            Some((last, plain)) if !is_plain(*last) => {
                out.extend_from_slice(plain);
                escape(*last, out);
            }
            _ => out.extend_from_slice(run),
        }
    }
}

/// Whether `byte` is a character that needs no escape.
pub(crate) fn is_plain_ascii(byte: u8) -> bool {
    // As a signed number, a byte beyond ASCII is less than any character.
    (byte as i8 >= 0x20) & (byte != b'"') & (byte != b'\\')
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    match short(byte) {
        Some(short) => out.extend_from_slice(&[b'\\', short]),
        None => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
    }
}

/// What stands behind the backslash, if that is one character.
fn short(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

/// How many bytes stand for `text`.
pub(crate) fn length(text: &[u8]) -> usize {
    let of = |byte: u8| match (is_plain(byte), short(byte)) {
        (true, _) => 1,
        (false, Some(_)) => 2,
        (false, None) => 6,
    };
    text.iter().map(|byte| of(*byte)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_as_serde_json_writes(text: &str) {
        let mut written = Vec::new();
        string(text, &mut written);
        let due = serde_json::to_string(text).expect("a string");
        assert_eq!(String::from_utf8(written).expect("UTF-8"), due);
    }

    #[test]
    fn each_character_is_escaped_as_serde_json_does() {
        for c in (0..0x100).filter_map(char::from_u32) {
            for text in [format!("{c}"), format!("a{c}"), format!("{c}{c}b"), format!("\u{20ac}{c}")] {
                assert_as_serde_json_writes(&text);
            }
        }
        assert_as_serde_json_writes("");
    }

    #[test]
    fn a_plain_character_of_ascii_stands_for_itself() {
        for byte in 0..=255 {
            assert_eq!(is_plain_ascii(byte), is_plain(byte) && byte.is_ascii(), "{byte:#x}");
        }
    }

    #[test]
    fn a_text_with_escapes_takes_its_memory_once() {
        let text = "\x01\"\n\u{20ac}a".repeat(10_000);
        let mut out = Vec::new();
        escaped(&text, &mut out);
        assert!(out.capacity() <= out.len() + ROOM, "{} of {}", out.len(), out.capacity());
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_serde_json_does(text in any::<String>()) {
            assert_as_serde_json_writes(&text);
        }
    }
}
