//! Rows of delimited text as JSON objects of texts, so that a mapping sees one kind of record.

use std::borrow::Cow;
use std::io::{Chain, Read};

use crate::error::{Error, Result};
use crate::import::json::{Node, repeated};
use crate::import::lines::{Piece, too_long};
use crate::import::mapping::Mapping;
use crate::import::parsed::{Parsed, Row};
use crate::model::did_you_mean;

/// How cells are told apart.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// `None`: quotes are ordinary characters, as in TSV.
    pub(super) quote: Option<u8>,
    /// The names, when the file has none or others.
    pub(super) columns: Option<Vec<String>>,
    /// Whether the first row holds names.
    pub(super) header: bool,
}

type Rows<'b> = csv::Reader<Chain<&'b [u8], &'b [u8]>>;

impl Dialect {
    /// Reads rows, and tells by how much its positions are ahead of `bytes`. It would drop a byte order mark, which
    /// here is one amid a feed, and so part of a cell: an empty row before it keeps it.
    fn reader<'b>(&self, bytes: &'b [u8]) -> (Rows<'b>, usize) {
        let before: &[u8] = if bytes.starts_with(b"\xef\xbb\xbf") { b"\n" } else { b"" };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .quoting(self.quote.is_some())
            .quote(self.quote.unwrap_or(b'"'))
            // A lone carriage return is part of a cell, and ends no row.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(before.chain(bytes));
        (reader, before.len())
    }

    /// The names of the columns: those of the mapping, else those of the first row, which is cut
    /// off the piece. Every column that the mapping reads must be there.
    pub(super) fn columns(&self, first: Option<&mut Piece>, mapping: &Mapping) -> Result<Vec<String>> {
        let mut columns = Vec::new();
        if self.header {
            let piece = first.ok_or_else(|| Error::invalid("no header row"))?;
            if let Some(reason) = &piece.refusal {
                return Err(Error::invalid(format!("header row refused: {reason}")));
            }
            columns = self.cut_header(piece)?;
        }
        if let Some(named) = &self.columns {
            columns.clone_from(named);
        }
        if let Some(name) = repeated(columns.iter().map(String::as_str).collect()) {
            return Err(Error::invalid(format!("two columns are named `{name}`")));
        }
        for wanted in mapping.fields() {
            if !columns.iter().any(|column| column == wanted) {
                let close = did_you_mean(wanted, columns.iter().map(String::as_str));
                return Err(Error::invalid(format!("no column `{wanted}`, which the mapping reads{close}")));
            }
        }
        Ok(columns)
    }

    fn cut_header(&self, piece: &mut Piece) -> Result<Vec<String>> {
        let (mut reader, ahead) = self.reader(&piece.bytes);
        let mut row = csv::StringRecord::new();
        loop {
            let read =
                reader.read_record(&mut row).map_err(|cause| Error::invalid("unreadable header row").because(cause))?;
            if !read {
                return Err(Error::invalid("no header row"));
            }
            if !is_blank(row.as_byte_record()) {
                break;
            }
        }
        let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        let end = end.saturating_sub(ahead).min(piece.bytes.len());
        let header: Vec<u8> = piece.bytes.drain(..end).collect();
        piece.first_line += memchr::memchr_iter(b'\n', &header).count() as u64;
        let mut columns: Vec<&str> = row.iter().collect();
        if ends_in_return(&header)
            && let Some(last) = columns.last_mut()
        {
            *last = last.strip_suffix('\r').unwrap_or(last);
        }
        Ok(columns.into_iter().map(str::to_owned).collect())
    }
}

/// Decodes the rows of a piece.
pub(super) fn decode(
    parsed: &mut Parsed,
    first_line: u64,
    columns: &[String],
    mapping: &Mapping,
    max_line_bytes: usize,
) {
    let Some(dialect) = mapping.dialect() else { return };
    let bytes = std::mem::take(&mut parsed.bytes);
    let (mut reader, ahead) = dialect.reader(&bytes);
    let mut cells = csv::ByteRecord::new();
    let (mut line, mut counted) = (first_line, 0);
    let mut from = 0;
    // Reading from memory fails on nothing: `flexible` allows any number of cells.
    while let Ok(true) = reader.read_byte_record(&mut cells) {
        let to = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        let to = to.saturating_sub(ahead).min(bytes.len());
        let (row, returns) = (trimmed(&bytes, from, to), ends_in_return(&bytes[from..to]));
        from = to;
        if is_blank(&cells) {
            continue;
        }
        line += memchr::memchr_iter(b'\n', &bytes[counted..row.start]).count() as u64;
        counted = row.start;
        let original = &bytes[row.clone()];
        if let Some((reason, kept)) = too_long(original, max_line_bytes) {
            parsed.refuse(line, reason, kept);
            continue;
        }
        let before = parsed.records.len();
        match object(&cells, columns, returns).and_then(|node| mapping.records(&node, &mut parsed.records)) {
            Ok(0) => parsed.skipped += 1,
            Ok(count) => parsed.rows.extend((0..count).map(|_| Row { line, range: row.clone() })),
            Err(error) => {
                parsed.records.truncate(before);
                parsed.refuse(line, error.message(), original);
            }
        }
    }
    parsed.bytes = bytes;
}

/// The row without the line ends around it.
fn trimmed(bytes: &[u8], mut from: usize, mut to: usize) -> std::ops::Range<usize> {
    let is_line_end = |at: usize| matches!(bytes[at], b'\n' | b'\r');
    while from < to && is_line_end(from) {
        from += 1;
    }
    while from < to && is_line_end(to - 1) {
        to -= 1;
    }
    from..to
}

/// Whether a row is nothing but its end.
fn is_blank(cells: &csv::ByteRecord) -> bool {
    cells.len() == 1 && &cells[0] == b"\r"
}

/// Whether the end of a row is `\r\n`, or at the end of the feed `\r`.
fn ends_in_return(row: &[u8]) -> bool {
    row.strip_suffix(b"\n").unwrap_or(row).ends_with(b"\r")
}

/// The row as an object; `returns` tells that the last cell has the first half of the row's end.
fn object<'c>(cells: &'c csv::ByteRecord, columns: &'c [String], returns: bool) -> Result<Node<'c>> {
    if cells.len() != columns.len() {
        return Err(Error::invalid(format!("{} cells, but {} columns", cells.len(), columns.len())));
    }
    let mut members = Vec::with_capacity(columns.len());
    for (at, (column, mut cell)) in columns.iter().zip(cells).enumerate() {
        if returns && at + 1 == columns.len() {
            cell = cell.strip_suffix(b"\r").unwrap_or(cell);
        }
        let text = std::str::from_utf8(cell).map_err(|_| Error::invalid(format!("`{column}` is not UTF-8")))?;
        members.push((Cow::Borrowed(column.as_str()), Node::Text(Cow::Borrowed(text))));
    }
    Ok(Node::Object(members))
}
