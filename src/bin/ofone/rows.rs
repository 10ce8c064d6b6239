//! Answers that are tables, in any format.

use std::io::Write;

use ofone::export::{Cell, CsvWriter, write_row};

use crate::args::{Format, OutputArgs};
use crate::exit::{Done, Failure};
use crate::output::{self, Grid, Stdout, grouped};
use crate::screen::Screen;
use crate::time::{Clock, human_length};

/// Writes rows of the same columns to stdout.
pub(crate) struct Rows<'a> {
    form: Form,
    names: &'static [&'static str],
    clock: &'a Clock,
    began: bool,
}

enum Form {
    Ndjson(Stdout),
    Json(Stdout),
    Csv(CsvWriter<Stdout>),
    Table { out: Stdout, grid: Grid },
}

impl<'a> Rows<'a> {
    /// Rows with columns of these names, in the format asked for.
    pub(crate) fn open(
        output: &OutputArgs,
        clock: &'a Clock,
        names: &'static [&'static str],
    ) -> Result<Rows<'a>, Failure> {
        let mut out = output::stdout();
        let form = match output.format() {
            Format::Ndjson => Form::Ndjson(out),
            Format::Json => {
                write!(out, "[")?;
                Form::Json(out)
            }
            Format::Csv => {
                let mut csv = output::csv(out, output.csv_raw);
                for name in names {
                    csv.text(name)?;
                }
                csv.end_row()?;
                Form::Csv(csv)
            }
            Format::Table => {
                let titles: Vec<String> = names.iter().map(|name| title(name)).collect();
                let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
                Form::Table { out, grid: Grid::new(&Screen::of_stdout(), &titles) }
            }
        };
        Ok(Rows { form, names, clock, began: false })
    }

    /// Whether the rows are drawn for a person.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.form, Form::Table { .. })
    }

    /// Writes one row: a cell a column.
    pub(crate) fn row(&mut self, cells: &[Cell<'_>]) -> Done {
        let first = !std::mem::replace(&mut self.began, true);
        match &mut self.form {
            Form::Ndjson(out) => {
                write_row(&mut *out, self.names, cells)?;
                writeln!(out)?;
            }
            Form::Json(out) => {
                write!(out, "{}", if first { "\n" } else { ",\n" })?;
                write_row(&mut *out, self.names, cells)?;
            }
            Form::Csv(csv) => {
                for cell in cells {
                    write_cell(csv, cell)?;
                }
                csv.end_row()?;
            }
            Form::Table { grid, .. } => {
                grid.row(cells.iter().map(|cell| shown(cell, self.clock)));
                let numbers = cells.iter().enumerate().filter(|(_, cell)| matches!(cell, Cell::Count(_)));
                numbers.for_each(|(column, _)| grid.align_right(column));
            }
        }
        Ok(())
    }

    /// Writes what is left.
    pub(crate) fn close(self) -> Done {
        match self.form {
            Form::Ndjson(mut out) => out.flush()?,
            Form::Json(mut out) => {
                writeln!(out, "\n]")?;
                out.flush()?;
            }
            Form::Csv(csv) => csv.finish()?.flush()?,
            Form::Table { mut out, grid } => {
                grid.write(&mut out)?;
                out.flush()?;
            }
        }
        Ok(())
    }
}

/// `p50_nanos` as `p50`: a table shows the unit with the number.
fn title(name: &str) -> String {
    name.strip_suffix("_nanos").unwrap_or(name).replace('_', " ")
}

fn write_cell(csv: &mut CsvWriter<Stdout>, cell: &Cell<'_>) -> ofone::Result<()> {
    match cell {
        Cell::Text(text) => csv.text(text),
        Cell::Count(number) => csv.number(number),
        Cell::Time(time) => csv.number(time),
        Cell::Nanos(nanos) => csv.number(nanos),
        _ => csv.optional(None::<u64>),
    }
}

fn shown(cell: &Cell<'_>, clock: &Clock) -> String {
    match cell {
        Cell::Text(text) => (*text).to_owned(),
        Cell::Count(number) => grouped(*number),
        Cell::Time(time) => clock.date_time(*time),
        Cell::Nanos(nanos) => human_length(*nanos),
        _ => "-".to_owned(),
    }
}
