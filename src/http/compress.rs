//! gzip (RFC 1952) of bodies, if an entry uses it. The decompressed size is limited.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{MAX_BODY, Reply};
use crate::model::Failure;

pub(crate) fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2 + 32), Compression::fast());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// The decompressed body of an answer; `None` if it is not compressed.
///
/// # Errors
/// [`Failure::Body`] for an encoding that was not requested, for a truncated or corrupt body, and for more
/// than [`MAX_BODY`] bytes.
pub(crate) fn inflate(reply: &Reply, accepted: bool) -> Result<Option<Vec<u8>>, Failure> {
    let Some(encoding) = reply.headers.get("content-encoding") else { return Ok(None) };
    match std::str::from_utf8(encoding).unwrap_or("not UTF-8") {
        "" | "identity" => Ok(None),
        gzip if accepted && (gzip.eq_ignore_ascii_case("gzip") || gzip.eq_ignore_ascii_case("x-gzip")) => {
            let mut body = Vec::new();
            let limit = MAX_BODY as u64 + 1;
            match MultiGzDecoder::new(reply.body.as_slice()).take(limit).read_to_end(&mut body) {
                Ok(count) if count <= MAX_BODY => Ok(Some(body)),
                Ok(_) | Err(_) => Err(Failure::Body),
            }
        }
        _ => Err(Failure::Body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(encoding: &'static str, body: Vec<u8>) -> Reply {
        let headers = [("Content-Encoding", encoding)].into_iter().collect();
        Reply { at: std::time::Instant::now(), status: 200, headers, body }
    }

    #[test]
    fn a_body_comes_back() {
        let body = b"{\"value\": \"x\"}".repeat(100);
        let packed = deflate(&body);
        assert!(packed.len() < body.len());
        assert_eq!(inflate(&reply("GZip", packed.clone()), true), Ok(Some(body)));
        assert_eq!(inflate(&reply("gzip", packed.clone()), false), Err(Failure::Body), "not asked for");
        assert_eq!(inflate(&reply("br", packed), true), Err(Failure::Body));
        assert_eq!(inflate(&reply("identity", Vec::new()), false), Ok(None));
    }

    #[test]
    fn what_is_cut_or_corrupt_or_too_much_is_a_failure() {
        let packed = deflate(&vec![b'x'; MAX_BODY]);
        assert!(inflate(&reply("gzip", packed.clone()), true).is_ok(), "the limit itself");
        let mut corrupt = packed.clone();
        let crc = corrupt.len() - 8;
        corrupt[crc] ^= 1;
        for bad in [
            packed[..packed.len() - 3].to_vec(),
            corrupt,
            deflate(&vec![b'x'; MAX_BODY + 1]),
            b"plain".to_vec(),
        ] {
            assert_eq!(inflate(&reply("gzip", bad), true), Err(Failure::Body));
        }
    }
}
