//! The stream that the log goes to. A line that cannot be written, for example because the disk is full,
//! is lost and counted. If a part of it was written, that part is ended before the next line.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What became of the lines.
#[derive(Debug, Default)]
pub(super) struct Lost {
    lines: AtomicUsize,
    lasts: AtomicBool,
}

impl Lost {
    /// How many could not be written.
    pub(super) fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    /// Whether the last one could not.
    pub(super) fn lasts(&self) -> bool {
        self.lasts.load(Ordering::Relaxed)
    }
}

/// Writes whole lines.
pub(super) struct Sink<W> {
    out: W,
    lost: Arc<Lost>,
    /// The last line has no end.
    torn: bool,
}

/// A sink on this stream, without the standard library's buffer, which would keep a part of a line.
pub(super) fn on(stream: &impl AsFd, lost: &Arc<Lost>) -> Sink<Box<dyn Write + Send>> {
    let out: Box<dyn Write + Send> = match stream.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(io::sink()),
    };
    Sink { out, lost: Arc::clone(lost), torn: false }
}

impl<W: Write> Sink<W> {
    fn put(&mut self, mut text: &[u8]) -> io::Result<()> {
        while let Some(&last) = text.last() {
            match self.out.write(text) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.torn = count < text.len() || last != b'\n';
                    text = text.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = if self.torn { self.put(&[b"\n", line].concat()) } else { self.put(line) };
        self.lost.lasts.store(written.is_err(), Ordering::Relaxed);
        if written.is_err() {
            self.lost.lines.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Disk {
        room: usize,
        text: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.text.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_cut_is_lost_and_ended() {
        let lost = Arc::new(Lost::default());
        let disk = Disk { room: 8, text: Vec::new() };
        let mut sink = Sink { out: disk, lost: Arc::clone(&lost), torn: false };
        for line in ["first\n", "second\n", "third\n"] {
            sink.write_all(line.as_bytes()).expect("nobody is told");
        }
        assert!(lost.lasts());
        sink.out.room = 100;
        sink.write_all(b"fourth\n").expect("nobody is told");
        sink.write_all(b"fifth\n").expect("nobody is told");
        assert_eq!(String::from_utf8_lossy(&sink.out.text), "first\nse\nfourth\nfifth\n");
        assert_eq!((lost.lines(), lost.lasts()), (2, false));
    }
}
