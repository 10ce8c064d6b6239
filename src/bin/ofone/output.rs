//! Stdout, and tables of cells.

use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use ofone::export::{CsvWriter, escape};

use crate::screen::{Screen, stdout_is_terminal};

/// Bytes gathered before they go to stdout.
const BUFFER_BYTES: usize = 256 << 10;

/// Buffered stdout. Flush it at the end: an error in `drop` would go unseen.
pub(crate) type Stdout = BufWriter<StdoutLock<'static>>;

/// Stdout for data.
pub(crate) fn stdout() -> Stdout {
    BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock())
}

/// A CSV writer on `out`, which is stdout: guarded unless `raw`, and on a terminal always.
pub(crate) fn csv<W: Write>(out: W, raw: bool) -> CsvWriter<W> {
    if raw && !stdout_is_terminal() { CsvWriter::raw(out) } else { CsvWriter::new(out) }
}

/// A table for people, with rows of cells that are escaped here.
pub(crate) struct Grid {
    table: Table,
}

impl Grid {
    /// A table with these column titles.
    pub(crate) fn new(screen: &Screen, titles: &[&str]) -> Grid {
        let mut table = Table::new();
        table.load_style(if screen.unicode {
            presets::UTF8_BORDERS_ONLY
        } else {
            presets::ASCII_BORDERS_ONLY_CONDENSED
        });
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(screen.width).unwrap_or(u16::MAX));
        table.set_header(titles.iter().map(Cell::new));
        Grid { table }
    }

    /// Adds a row.
    pub(crate) fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.table.add_row(cells.into_iter().map(|cell| escape(&cell.to_string()).to_string()));
    }

    /// Aligns the numbers of a column.
    pub(crate) fn align_right(&mut self, column: usize) {
        if let Some(column) = self.table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }

    /// Writes the table.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.table)
    }
}

/// `12345678` as `12 345 678`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in the unit that fits: `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1 234");
        assert_eq!(grouped(12_345_678), "12 345 678");
    }

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
    }
}
