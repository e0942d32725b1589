//! Ids and hashes as hexadecimal digits.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` into `digits`, which has room for two digits each. Requests have ids in their headers, and
/// `core::fmt` takes several times as long.
pub(crate) fn write(bytes: &[u8], digits: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// The digits of `bytes`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_two_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let due: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut digits = [b'-'; 512];
        write(&bytes, &mut digits);
        assert_eq!((&digits[..], text(&bytes)), (due.as_bytes(), due.clone()));
    }
}
