//! CSV with a guard against formulas.

use std::fmt::Display;
use std::io::Write;

use crate::error::{Error, Result};
use crate::export::escape;
use crate::model::{Text, Value};
use crate::query::StreamItem;

/// Writes CSV by RFC 4180, a header and then rows of the same number of cells.
///
/// Text cells are [escaped](escape()), and one that a spreadsheet would run as a formula (it begins with
/// `=`, `+`, `-`, `@`, tab, carriage return or a full-width form of these) gets a leading `'`. Numbers
/// and times are never touched. [`CsvWriter::raw`] writes text as it is; JSON is the lossless form
/// either way.
///
/// ```
/// let mut csv = ofone::export::CsvWriter::new(Vec::new());
/// csv.text("=1+1").unwrap();
/// csv.number(-3).unwrap();
/// csv.end_row().unwrap();
/// assert_eq!(csv.finish().unwrap(), b"'=1+1,-3\n");
/// ```
pub struct CsvWriter<W: Write> {
    out: csv::Writer<W>,
    raw: bool,
}

impl<W: Write> CsvWriter<W> {
    /// Writes to `out`, with the guard.
    pub fn new(out: W) -> CsvWriter<W> {
        CsvWriter { out: csv::Writer::from_writer(out), raw: false }
    }

    /// Writes text to `out` as it is, for programs that read it back.
    pub fn raw(out: W) -> CsvWriter<W> {
        CsvWriter { raw: true, ..CsvWriter::new(out) }
    }

    /// One cell of text from data.
    pub fn text(&mut self, text: &str) -> Result<()> {
        if self.raw {
            return self.cell(text.as_bytes());
        }
        let guard = if starts_formula(text) { "'" } else { "" };
        self.cell(format!("{guard}{}", escape(text)).as_bytes())
    }

    /// One cell that holds a number or a time.
    pub fn number(&mut self, number: impl Display) -> Result<()> {
        self.cell(number.to_string().as_bytes())
    }

    /// One cell that holds a number or a time, or stays empty.
    pub fn optional(&mut self, number: Option<impl Display>) -> Result<()> {
        match number {
            Some(number) => self.number(number),
            None => self.cell(b""),
        }
    }

    /// Ends the row.
    pub fn end_row(&mut self) -> Result<()> {
        self.out.write_record(None::<&[u8]>).map_err(from_csv)
    }

    /// The header of the rows of [`CsvWriter::item`].
    pub fn item_header(&mut self) -> Result<()> {
        const COLUMNS: [&str; 17] = [
            "customer", "time", "end", "felt", "seq", "source", "id", "kind", "layer", "severity", "value", "subjects",
            "context", "attrs", "via", "shared", "commit",
        ];
        self.out.write_record(COLUMNS).map_err(from_csv)
    }

    /// One event of the stream of `customer`. Several subjects or context entities share a cell, with
    /// spaces between; attributes are `name=value` with `; ` between; `felt` is `from/to` likewise.
    pub fn item(&mut self, customer: &str, item: &StreamItem) -> Result<()> {
        let event = &item.event;
        self.text(customer)?;
        self.number(event.time)?;
        self.optional(event.end)?;
        let felt: Vec<String> = item.felt.intervals().iter().map(|part| format!("{}/{}", part.from, part.to)).collect();
        self.number(felt.join("; "))?;
        self.optional(event.sequence)?;
        self.text(&event.source)?;
        self.text(&event.name().id)?;
        self.text(&event.kind)?;
        self.text(event.layer.as_deref().unwrap_or(""))?;
        self.number(event.severity)?;
        self.optional(event.value)?;
        self.text(&joined(&event.subjects, " "))?;
        self.text(&joined(&event.context, " "))?;
        let attributes: Vec<String> = event.attributes.iter().map(attribute).collect();
        self.text(&attributes.join("; "))?;
        self.text(&item.via().map(ToString::to_string).unwrap_or_default())?;
        self.number(item.is_shared()?)?;
        self.number(item.commit())?;
        self.end_row()
    }

    /// Writes what is buffered and gives the output back.
    pub fn finish(self) -> Result<W> {
        self.out.into_inner().map_err(|unflushed| Error::from(unflushed.into_error()))
    }

    fn cell(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_field(bytes).map_err(from_csv)
    }
}

fn starts_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'])
}

fn joined(entities: &[impl ToString], between: &str) -> String {
    entities.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

fn attribute((name, value): &(Text, Value)) -> String {
    format!("{name}={value}")
}

fn from_csv(cause: csv::Error) -> Error {
    match cause.into_kind() {
        csv::ErrorKind::Io(cause) => Error::from(cause),
        other => Error::invalid(format!("a row of CSV: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut CsvWriter<Vec<u8>>)) -> String {
        let mut csv = CsvWriter::new(Vec::new());
        write(&mut csv);
        csv.end_row().unwrap();
        String::from_utf8(csv.finish().unwrap()).unwrap()
    }

    #[test]
    fn text_that_a_spreadsheet_would_run_is_disarmed() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠x"] {
            assert_eq!(written(|csv| csv.text(formula).unwrap()), format!("'{formula}\n"));
        }
        assert_eq!(written(|csv| csv.text("\t=1").unwrap()), "'\\u{9}=1\n");
        assert_eq!(written(|csv| csv.text("\r=1").unwrap()), "'\\u{d}=1\n");
    }

    #[test]
    fn numbers_keep_their_sign() {
        assert_eq!(written(|csv| csv.number(-1.5).unwrap()), "-1.5\n");
    }

    #[test]
    fn quotes_commas_and_line_feeds_stay_in_one_cell() {
        assert_eq!(written(|csv| csv.text("a,\"b\"\nc").unwrap()), "\"a,\"\"b\"\"\\u{a}c\"\n");
    }

    #[test]
    fn raw_text_is_written_as_it_is() {
        let mut csv = CsvWriter::raw(Vec::new());
        csv.text("=1\n").unwrap();
        csv.end_row().unwrap();
        assert_eq!(csv.finish().unwrap(), b"\"=1\n\"\n");
    }
}
