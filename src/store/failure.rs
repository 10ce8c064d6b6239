//! RocksDB's errors, which are texts, as ours: the one place that reads them.

use rocksdb::ErrorKind as Rocks;

use crate::error::{Error, ErrorKind};

/// The error at `place`. Texts of corruption may carry key bytes, so the message has the kind alone; the
/// text stays with the cause.
pub(super) fn failure(cause: rocksdb::Error, place: &str) -> Error {
    let (kind, message) = meaning(&cause.kind(), cause.as_ref());
    Error::new(kind, message).at(place).because(cause)
}

/// The name of the sorted file that was not there, if that was it.
pub(super) fn missing_table(cause: &rocksdb::Error) -> Option<String> {
    let (path, _) = cause.as_ref().split_once(".sst: No such file or directory")?;
    let number = path.rsplit('/').next()?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{number}.sst"))
}

/// The sorted file that a text names, and the byte in it, if it tells.
pub(super) fn table_named(cause: &rocksdb::Error) -> Option<(String, Option<u64>)> {
    let (before, behind) = cause.as_ref().split_once(".sst")?;
    let number = &before[before.trim_end_matches(|digit: char| digit.is_ascii_digit()).len()..];
    let at = behind.strip_prefix(" offset ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    (!number.is_empty()).then(|| (format!("{number}.sst"), at))
}

/// Whether a text says of a log just that it is closed, after a failure that somebody else met.
pub(super) fn repeats_another(text: &str) -> bool {
    text.contains("Writer has previous error") || text.contains("Seen error")
}

/// What a text means, whose prefix gave `kind`. RocksDB itself knows of a full device only, and tells a
/// used-up quota by the system's words. After a failure it repeats the same text for each write.
fn meaning(kind: &Rocks, text: &str) -> (ErrorKind, &'static str) {
    const FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "Space limit reached"];
    if FULL.iter().any(|words| text.contains(words)) {
        return (ErrorKind::DiskFull, "no space left on the device");
    }
    if text.contains("While lock file") {
        return (ErrorKind::Busy, "another process has the store open");
    }
    match kind {
        Rocks::Corruption => (ErrorKind::Corrupt, "stored bytes are damaged"),
        Rocks::Busy | Rocks::TryAgain => (ErrorKind::Busy, "the storage engine is busy"),
        _ => (ErrorKind::Io, "the storage engine failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts as RocksDB 11.8 gave them, but for the paths.
    #[test]
    fn each_text_has_its_kind() {
        let kinds = [
            (
                Rocks::IOError,
                "IO error: No space left on device: While appending to file: /s/db/000008.log: No space left on device",
                ErrorKind::DiskFull,
            ),
            (
                Rocks::IOError,
                "IO error: While appending to file: /s/db/000008.log: Disk quota exceeded",
                ErrorKind::DiskFull,
            ),
            (Rocks::IOError, "IO error: Space limit reached: Max allowed space was reached", ErrorKind::DiskFull),
            (
                Rocks::IOError,
                "IO error: While lock file: /s/db/LOCK: Resource temporarily unavailable",
                ErrorKind::Busy,
            ),
            (Rocks::IOError, "IO error: While fdatasync: /s/db/000008.log: Input/output error", ErrorKind::Io),
            (Rocks::IOError, "IO error: While appending to file: /s/db/000008.log: File too large", ErrorKind::Io),
            (Rocks::Corruption, "Corruption: checksum mismatch", ErrorKind::Corrupt),
            (Rocks::Busy, "Resource busy: ", ErrorKind::Busy),
        ];
        for (kind, text, expected) in kinds {
            assert_eq!(meaning(&kind, text).0, expected, "{text}");
            assert!(!repeats_another(text), "{text}");
        }
        for text in ["IO error: Writer has previous error.", "IO error: Seen error. Skip writing buffer."] {
            assert!(repeats_another(text), "{text}");
        }
    }
}
