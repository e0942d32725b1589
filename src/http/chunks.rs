//! Chunked bodies (RFC 9112 7.1). Chunk extensions and trailers are read over.

use httparse::Status;

use super::MAX_BODY;
use super::answer::{append, refused, too_long};
use super::broken::Broken;

/// Bytes of chunk extensions, and of trailers.
const MAX_EXTRA: usize = 16 * 1024;
/// Lines of trailers.
const MAX_TRAILERS: usize = 100;
/// Digits of a size. Some servers write zeros in front of it.
const MAX_DIGITS: usize = 16;

/// What comes next in a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    step: Step,
    /// Of the chunk: the size so far, then the bytes that are left.
    size: usize,
    digits: usize,
    extra: usize,
    trailers: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The first digit of a size.
    #[default]
    Size,
    /// A further digit, or what may follow a size.
    Digits,
    /// Blanks behind a size.
    Blanks,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer, or the end of them.
    Trailer,
    /// The rest of a trailer.
    TrailerLine,
    TrailerLf,
    EndLf,
}

impl Chunks {
    /// Takes the next bytes; what is data goes to `body`. Returns whether the body is complete, and the number of
    /// bytes that belong to it.
    ///
    /// # Errors
    /// They are not chunked, or beyond a limit.
    pub(super) fn take(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<(bool, usize), Broken> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.step == Step::Data {
                let data = &bytes[at..];
                let data = &data[..data.len().min(self.size)];
                append(body, data)?;
                self.size -= data.len();
                at += data.len();
                if self.size == 0 {
                    self.step = Step::DataCr;
                }
                continue;
            }
            at += 1;
            if self.step == Step::EndLf && byte == b'\n' {
                return self.read_over_trailers().map(|()| (true, at));
            }
            self.step = self.next(byte, body.len())?;
        }
        Ok((false, at))
    }

    /// The step after `byte`, which is not data.
    fn next(&mut self, byte: u8, length: usize) -> Result<Step, Broken> {
        Ok(match (self.step, byte) {
            (Step::Size | Step::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default() as usize;
                self.size = self.size * 16 + digit;
                self.digits += 1;
                if length + self.size > MAX_BODY {
                    return Err(too_long());
                }
                if self.digits > MAX_DIGITS {
                    return Err(refused("invalid chunk"));
                }
                Step::Digits
            }
            (Step::Digits | Step::Blanks, b' ' | b'\t') => self.extra(Step::Blanks)?,
            (Step::Digits | Step::Blanks, b';') => self.extra(Step::Extension)?,
            (Step::Digits | Step::Blanks | Step::Extension, b'\r') => Step::SizeLf,
            (Step::Extension, byte) if byte != b'\n' => self.extra(Step::Extension)?,
            (Step::SizeLf, b'\n') if self.size == 0 => Step::Trailer,
            (Step::SizeLf, b'\n') => Step::Data,
            (Step::DataCr, b'\r') => Step::DataLf,
            (Step::DataLf, b'\n') => {
                self.digits = 0;
                Step::Size
            }
            (Step::Trailer, b'\r') => Step::EndLf,
            (Step::TrailerLine, b'\r') => self.trailer(byte, Step::TrailerLf)?,
            // Others may take LF alone for the end of a trailer.
            (Step::Trailer | Step::TrailerLine, byte) if byte != b'\n' => {
                self.trailer(byte, Step::TrailerLine)?
            }
            (Step::TrailerLf, b'\n') => self.trailer(byte, Step::Trailer)?,
            _ => return Err(refused("invalid chunk")),
        })
    }

    fn extra(&mut self, then: Step) -> Result<Step, Broken> {
        self.extra += 1;
        if self.extra > MAX_EXTRA {
            return Err(refused("more than 16 KiB of chunk extensions and trailers"));
        }
        Ok(then)
    }

    fn trailer(&mut self, byte: u8, then: Step) -> Result<Step, Broken> {
        self.trailers.push(byte);
        self.extra(then)
    }

    fn read_over_trailers(&mut self) -> Result<(), Broken> {
        if self.trailers.is_empty() {
            return Ok(());
        }
        self.trailers.extend_from_slice(b"\r\n");
        let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILERS];
        match httparse::parse_headers(&self.trailers, &mut lines) {
            Ok(Status::Complete(_)) => Ok(()),
            _ => Err(refused("invalid trailers of a chunked body")),
        }
    }
}
