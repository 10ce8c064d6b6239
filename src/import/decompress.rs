//! Plain, gzip or zstd input, told by its first bytes, with a guard against decompression bombs.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// zstd writes its frames of metadata with magic numbers that differ in the low half of the first byte.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const BUFFER_BYTES: usize = 128 * 1024;

/// How much one compressed input may grow.
///
/// Ordinary logs shrink to a tenth or a hundredth, a file of one repeated line further still; so a
/// ratio alone says nothing until so much has come out that a bomb is the likelier explanation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    /// Bytes of output up to which nothing is checked.
    pub(super) free_bytes: u64,
    /// Bytes of output for each byte of input, beyond that.
    pub(super) max_ratio: u64,
}

/// Readable text of `raw`; the compressed bytes taken from it are added to `taken`.
pub(super) fn open(raw: Box<dyn Read + Send>, guard: Guard, taken: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let own = Arc::new(AtomicU64::new(0));
    let mut raw = Counted { inner: raw, counters: [Arc::clone(&own), taken] };
    let mut start = Vec::with_capacity(4);
    (&mut raw).take(4).read_to_end(&mut start)?;
    let gzip = start.starts_with(&GZIP);
    let zstd = start == ZSTD || (start.len() == 4 && start[0] >> 4 == 5 && start[1..] == ZSTD_SKIPPABLE);
    let whole = Cursor::new(start).chain(raw);
    if gzip {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, whole);
        Ok(Box::new(Guarded { inner: flate2::bufread::MultiGzDecoder::new(buffered), guard, taken: own, given: 0 }))
    } else if zstd {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, whole);
        Ok(Box::new(Guarded { inner: zstd::Decoder::with_buffer(buffered)?, guard, taken: own, given: 0 }))
    } else {
        Ok(Box::new(whole))
    }
}

/// A reader that adds what it reads to two counters: its own and the one of the whole import.
struct Counted {
    inner: Box<dyn Read + Send>,
    counters: [Arc<AtomicU64>; 2],
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        for counter in &self.counters {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(count)
    }
}

/// A decoder that stops once its output is out of all proportion to its input.
struct Guarded<R> {
    inner: R,
    guard: Guard,
    taken: Arc<AtomicU64>,
    given: u64,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.given += count as u64;
        let Guard { free_bytes, max_ratio } = self.guard;
        if self.given > free_bytes && self.given / max_ratio > self.taken.load(Ordering::Relaxed) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "decompressed to more than {free_bytes} bytes and more than {max_ratio} times its size, \
                     which looks like a decompression bomb"
                ),
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LAX: Guard = Guard { free_bytes: 1 << 32, max_ratio: 200 };

    fn read(bytes: &[u8], guard: Guard) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let taken = Arc::new(AtomicU64::new(0));
        open(Box::new(Cursor::new(bytes.to_vec())), guard, Arc::clone(&taken))?.read_to_end(&mut text)?;
        assert_eq!(taken.load(Ordering::Relaxed), bytes.len() as u64);
        Ok(text)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).unwrap()
    }

    #[test]
    fn the_format_is_told_by_content() {
        for text in [b"".as_slice(), b"{", b"{}\n{}\n", &[0x1f], &[0x28, 0xb5, 0x2f]] {
            assert_eq!(read(text, LAX).unwrap(), text);
        }
        assert_eq!(read(&gzip(b"one\n"), LAX).unwrap(), b"one\n");
        assert_eq!(read(&zstd(b"one\n"), LAX).unwrap(), b"one\n");
    }

    #[test]
    fn members_and_frames_are_read_to_the_last() {
        assert_eq!(read(&[gzip(b"one\n"), gzip(b"two\n")].concat(), LAX).unwrap(), b"one\ntwo\n");
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        assert_eq!(read(&[&skippable, &*zstd(b"one\n"), &*zstd(b"two\n")].concat(), LAX).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_cut_file_is_an_error() {
        for whole in [gzip(&[7; 10_000]), zstd(&[7; 10_000])] {
            assert!(read(&whole[..whole.len() - 5], LAX).is_err());
        }
    }

    #[test]
    fn a_bomb_is_stopped_and_repetitive_text_is_not() {
        let text = vec![b'a'; 4 << 20];
        for bomb in [gzip(&text), zstd(&text)] {
            assert_eq!(read(&bomb, LAX).unwrap().len(), text.len());
            let strict = Guard { free_bytes: 1 << 20, max_ratio: 200 };
            assert!(read(&bomb, strict).unwrap_err().to_string().contains("decompression bomb"));
        }
    }
}
