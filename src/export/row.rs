//! Rows of named cells, for answers that are tables.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::Result;
use crate::export::json::write;
use crate::model::Timestamp;

/// One cell of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cell<'a> {
    /// Text from data.
    Text(&'a str),
    /// A number of things.
    Count(u64),
    /// An instant.
    Time(Timestamp),
    /// A length of time in nanoseconds.
    Nanos(i64),
    /// There is none.
    Absent,
}

/// One row as a JSON object: each cell under the name at its place, absent ones left out.
pub fn write_row(out: impl Write, names: &[&str], cells: &[Cell<'_>]) -> Result<()> {
    write(out, &Row { names, cells })
}

struct Row<'a> {
    names: &'a [&'a str],
    cells: &'a [Cell<'a>],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, cell) in self.names.iter().zip(self.cells) {
            match cell {
                Cell::Text(text) => map.serialize_entry(name, text)?,
                Cell::Count(number) => map.serialize_entry(name, number)?,
                Cell::Time(time) => map.serialize_entry(name, &time.to_string())?,
                Cell::Nanos(nanos) => map.serialize_entry(name, nanos)?,
                Cell::Absent => {}
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_cells_are_left_out_and_dangerous_characters_escaped() {
        let mut json = Vec::new();
        let cells = [Cell::Text("\u{1b}[2J"), Cell::Absent, Cell::Count(3), Cell::Time(Timestamp::from_secs(0))];
        write_row(&mut json, &["name", "none", "count", "from"], &cells).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert_eq!(json, r#"{"name":"\u001b[2J","count":3,"from":"1970-01-01T00:00:00Z"}"#);
    }
}
