//! Writes the rows of a segment, home after home.

use roaring::RoaringBitmap;

use crate::codec::chunk::{self, CHUNK_EVENTS, ChunkBase, Directory, Span};
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::error::Result;
use crate::store::TableWriter;

/// Writes homes in ascending order.
pub(super) struct RowWriter {
    table: TableWriter,
    segment: u32,
    first_time: i64,
    first_commit: u64,
    homes: RoaringBitmap,
    rows: u64,
    bytes: Vec<u8>,
}

impl RowWriter {
    pub(super) fn new(table: TableWriter, segment: u32, first_time: i64, first_commit: u64) -> RowWriter {
        let homes = RoaringBitmap::new();
        RowWriter { table, segment, first_time, first_commit, homes, rows: 0, bytes: Vec::new() }
    }

    /// Writes the events of `home`, in ascending time; homes must ascend.
    pub(super) fn home(&mut self, home: u32, events: &[RawEvent]) -> Result<()> {
        let base = ChunkBase { home, time: self.first_time, commit: self.first_commit };
        self.homes.insert(home);
        self.rows += events.len() as u64;
        self.bytes.clear();
        if events.len() <= CHUNK_EVENTS {
            chunk::encode_single(events, base, &mut self.bytes);
            return self.table.put(&key::row(self.segment, home), &self.bytes);
        }
        let directory = Directory(events.chunks(CHUNK_EVENTS).map(Span::of).collect());
        directory.encode(base, &mut self.bytes);
        self.table.put(&key::row(self.segment, home), &self.bytes)?;
        for (number, events) in events.chunks(CHUNK_EVENTS).enumerate() {
            self.bytes.clear();
            chunk::encode(events, base, &mut self.bytes);
            self.table.put(&key::chunk(self.segment, home, number as u32), &self.bytes)?;
        }
        Ok(())
    }

    /// The files, the set of homes and the number of rows.
    pub(super) fn finish(self) -> Result<(Vec<std::path::PathBuf>, RoaringBitmap, u64)> {
        Ok((self.table.finish()?, self.homes, self.rows))
    }
}
