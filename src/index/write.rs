//! Writes the index of a segment to files, with the rows.

use std::path::PathBuf;

use crate::codec::calendar::Calendar;
use crate::codec::raw::RawEvent;
use crate::error::Result;
use crate::index::build::{IndexBuilder, ShapeFacts};
use crate::store::TableWriter;

/// Takes homes in ascending order.
pub(crate) struct IndexWriter {
    table: TableWriter,
    builder: IndexBuilder,
}

impl IndexWriter {
    pub(crate) fn new(table: TableWriter, segment: u32, calendar: Calendar) -> IndexWriter {
        IndexWriter { table, builder: IndexBuilder::new(segment, calendar) }
    }

    /// As [`IndexBuilder::home`].
    pub(crate) fn home(
        &mut self,
        home: u32,
        events: &[RawEvent],
        facts: &dyn Fn(u32) -> Result<ShapeFacts>,
    ) -> Result<()> {
        let table = &mut self.table;
        self.builder.home(home, events, facts, &mut |key, value| table.put(key, value))
    }

    /// The finished files.
    pub(crate) fn finish(self) -> Result<Vec<PathBuf>> {
        let IndexWriter { mut table, builder } = self;
        builder.finish(&mut |key, value| table.put(key, value))?;
        table.finish()
    }
}
