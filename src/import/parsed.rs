//! What comes out of an import: records, and what was refused.

use std::ops::Range;

use crate::import::json::Node;
use crate::model::{Record, Text};

/// A run of lines of one input, decoded.
///
/// Commit [`records`](Parsed::records) (taking them out is fine), write [`rejects`](Parsed::rejects)
/// to the rejects file, and for each record that the store refused what [`reject`](Parsed::reject) gives.
#[derive(Debug)]
pub struct Parsed {
    /// The records, in the order of the input.
    pub records: Vec<Record>,
    /// The lines that could not be decoded, in the order of the input.
    pub rejects: Vec<Reject>,
    pub(super) file: Text,
    pub(super) bytes: Vec<u8>,
    /// The line of each record; a mapping may make several records of one line.
    pub(super) rows: Vec<Row>,
    pub(super) skipped: u64,
}

/// Number and bytes of a line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) range: Range<usize>,
}

impl Parsed {
    pub(super) fn new(file: Text, bytes: Vec<u8>) -> Parsed {
        Parsed { records: Vec::new(), rejects: Vec::new(), file, bytes, rows: Vec::new(), skipped: 0 }
    }

    /// The name of the input.
    pub fn file(&self) -> &Text {
        &self.file
    }

    /// The line on which the record with this index began, counted from 1.
    ///
    /// # Panics
    /// When no record has this index.
    pub fn line(&self, record: usize) -> u64 {
        self.rows[record].line
    }

    /// The text that became the record with this index, without its line end.
    ///
    /// # Panics
    /// When no record has this index.
    pub fn original(&self, record: usize) -> &[u8] {
        &self.bytes[self.rows[record].range.clone()]
    }

    /// The entry for the rejects file when the store refuses the record with this index.
    ///
    /// # Panics
    /// When no record has this index.
    pub fn reject(&self, record: usize, reason: impl Into<String>) -> Reject {
        Reject {
            file: self.file.clone(),
            line: self.line(record),
            reason: reason.into(),
            original: self.original(record).to_vec(),
        }
    }

    /// Lines that no section of the mapping wanted and that it told to skip.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of text in this run, decompressed.
    pub fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the reject of a line.
    pub(super) fn refuse(&mut self, line: u64, reason: impl Into<String>, original: impl Into<Vec<u8>>) {
        let reject = Reject { file: self.file.clone(), line, reason: reason.into(), original: original.into() };
        self.rejects.push(reject);
    }
}

/// A line that was refused, alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The name of the input.
    pub file: Text,
    /// The line, counted from 1; of a row over several lines the first.
    pub line: u64,
    /// Why, in lower case, no full stop.
    pub reason: String,
    /// The line as it came, without its line end; only its beginning when it was too long.
    pub original: Vec<u8>,
}

impl Reject {
    /// One line of a rejects file: an object with `file`, `line`, `reason` and `original`. When the
    /// original is not UTF-8, `original` shows what can be read and `original_base16` has the bytes.
    pub fn to_json(&self) -> String {
        let text = |text: &str| Node::Text(text.to_owned().into());
        let mut members = vec![
            ("file".into(), text(&self.file)),
            ("line".into(), Node::Large(self.line.to_string().into())),
            ("reason".into(), text(&self.reason)),
            ("original".into(), Node::Text(String::from_utf8_lossy(&self.original))),
        ];
        if std::str::from_utf8(&self.original).is_err() {
            let digits = self.original.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            members.push(("original_base16".into(), text(&digits)));
        }
        Node::Object(members).to_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(original: &[u8]) -> Reject {
        Reject { file: Text::from("a.csv"), line: 7, reason: "missing `time`".to_owned(), original: original.to_vec() }
    }

    #[test]
    fn a_reject_is_one_line_of_json() {
        assert_eq!(
            reject(b"x,\"y\nz\"").to_json(),
            r#"{"file":"a.csv","line":7,"reason":"missing `time`","original":"x,\"y\nz\""}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        assert_eq!(
            reject(b"a\xff").to_json(),
            "{\"file\":\"a.csv\",\"line\":7,\"reason\":\"missing `time`\",\"original\":\"a\u{fffd}\",\"original_base16\":\"61ff\"}"
        );
    }
}
