//! gzip as the API sends and reads it.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Compresses.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// Decompresses; fails if the input is not exactly one whole member.
pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = GzDecoder::new(bytes);
    decoder.read_to_end(&mut plain).unwrap_or_else(|error| panic!("no gzip: {error}"));
    assert!(decoder.into_inner().is_empty(), "nothing stands behind the member");
    plain
}

/// A JSON object with `value`, extended to `size` bytes with blanks behind the value.
pub(crate) fn bomb(size: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let blanks = vec![b' '; 1 << 16];
    encoder.write_all(br#"{"value": "v""#).expect("memory takes everything");
    for _ in 0..size / blanks.len() {
        encoder.write_all(&blanks).expect("memory takes everything");
    }
    encoder.write_all(b"}").expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}
