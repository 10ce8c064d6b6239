//! Writes the rows of a segment and its index, home after home.

use std::path::PathBuf;

use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::chunk::{self, CHUNK_EVENTS, ChunkBase, Directory, Span};
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::codec::record::Span as TimeSpan;
use crate::dictionary::Terms;
use crate::error::Result;
use crate::fail;
use crate::index::{IndexWriter, ShapeFacts};
use crate::store::{Family, Store, TableWriter};

/// Writes homes in ascending order.
pub(super) struct RowWriter<'a> {
    table: TableWriter,
    index: IndexWriter,
    terms: &'a Terms,
    segment: u32,
    first_time: i64,
    first_commit: u64,
    homes: RoaringBitmap,
    rows: u64,
    bytes: Vec<u8>,
}

/// What a [`RowWriter`] wrote, not yet taken in.
pub(super) struct Written {
    rows: Vec<PathBuf>,
    index: Vec<PathBuf>,
    pub(super) homes: RoaringBitmap,
    /// Rows, counting an event once for each of its homes.
    pub(super) count: u64,
}

impl Written {
    /// Has the store take the files in.
    pub(super) fn ingest(&mut self, store: &Store) -> Result<()> {
        store.ingest(Family::Rows, std::mem::take(&mut self.rows))?;
        fail::point("ingest.between_families")?;
        store.ingest(Family::Index, std::mem::take(&mut self.index))
    }
}

impl<'a> RowWriter<'a> {
    /// A writer of segment `number`, whose earliest event is at `first_time` and whose first commit is
    /// `first_commit`; `span` divides the time of its index.
    pub(super) fn new(
        store: &Store,
        terms: &'a Terms,
        segment: u32,
        (first_time, first_commit): (i64, u64),
        span: TimeSpan,
    ) -> Result<RowWriter<'a>> {
        let table = store.table_writer(Family::Rows, &format!("rows-{segment}"))?;
        let index = store.table_writer(Family::Index, &format!("index-{segment}"))?;
        let index = IndexWriter::new(index, segment, Calendar::of_level(span.level)?);
        let homes = RoaringBitmap::new();
        Ok(RowWriter { table, index, terms, segment, first_time, first_commit, homes, rows: 0, bytes: Vec::new() })
    }

    /// Writes the events of `home`, in ascending time; homes must ascend.
    pub(super) fn home(&mut self, home: u32, events: &[RawEvent]) -> Result<()> {
        let base = ChunkBase { home, time: self.first_time, commit: self.first_commit };
        self.homes.insert(home);
        self.rows += events.len() as u64;
        let terms = self.terms;
        self.index.home(home, events, &|shape| ShapeFacts::of(terms, shape))?;
        self.bytes.clear();
        if events.len() <= CHUNK_EVENTS {
            chunk::encode_single(events, base, &mut self.bytes);
            if home % 3 == 1 && fail::bug("lose-chunk") {
                return Ok(());
            }
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

    /// Finishes the files.
    pub(super) fn finish(self) -> Result<Written> {
        let (rows, index) = (self.table.finish()?, self.index.finish()?);
        Ok(Written { rows, index, homes: self.homes, count: self.rows })
    }
}
