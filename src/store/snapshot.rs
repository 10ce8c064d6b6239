//! Snapshots that own their database, and cursors whose end and whose failure differ.

use std::sync::Arc;

use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions, SnapshotWithThreadMode};
use self_cell::self_cell;

use crate::error::Result;
use crate::fail;
use crate::store::failure::failure;
use crate::store::families::Family;
use crate::store::rocks::{Pinned, Rocks, Store};

type RocksSnapshot<'a> = SnapshotWithThreadMode<'a, Rocks>;

self_cell!(
    struct Owned {
        owner: Arc<Store>,
        #[not_covariant]
        dependent: RocksSnapshot,
    }
);

/// The store as it was at one moment, for as long as this lives.
pub(crate) struct StoreSnapshot(Owned);

impl StoreSnapshot {
    pub(crate) fn new(store: Arc<Store>) -> StoreSnapshot {
        StoreSnapshot(Owned::new(store, |store| store.rocks.snapshot()))
    }

    /// The value of `key` at the snapshot's moment.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Pinned<'_>>> {
        self.0.with_dependent(|store, snapshot| {
            let value = snapshot.get_pinned_cf(store.handle(family), key);
            value.map_err(|cause| failure(cause, family.name()))
        })
    }

    /// Calls `read` with a cursor over the rows at the snapshot's moment.
    pub(crate) fn with_cursor<R>(&self, family: Family, read: impl FnOnce(&mut Cursor<'_>) -> Result<R>) -> Result<R> {
        self.0.with_dependent(|store, snapshot| {
            let iterator = snapshot.raw_iterator_cf_opt(store.handle(family), ReadOptions::default());
            read(&mut Cursor::new(iterator, family))
        })
    }
}

/// Walks the rows of a family in key order.
pub(crate) struct Cursor<'a> {
    iterator: DBRawIteratorWithThreadMode<'a, Rocks>,
    family: Family,
}

/// Key and value under a cursor.
pub(crate) type Entry<'c> = (&'c [u8], &'c [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(iterator: DBRawIteratorWithThreadMode<'a, Rocks>, family: Family) -> Cursor<'a> {
        Cursor { iterator, family }
    }

    /// Moves to the first row at or behind `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<Option<Entry<'_>>> {
        self.iterator.seek(key);
        self.entry()
    }

    /// Moves to the last row at or before `key`.
    pub(crate) fn seek_back(&mut self, key: &[u8]) -> Result<Option<Entry<'_>>> {
        self.iterator.seek_for_prev(key);
        self.entry()
    }

    /// Moves to the next row; at the end, stays there.
    pub(crate) fn advance(&mut self) -> Result<Option<Entry<'_>>> {
        if self.iterator.valid() {
            self.iterator.next();
        }
        self.entry()
    }

    /// The row under the cursor. An iterator that stopped at a failure looks like one at its end,
    /// so its status decides.
    pub(crate) fn entry(&self) -> Result<Option<Entry<'_>>> {
        match self.iterator.item() {
            Some(entry) => Ok(Some(entry)),
            None if fail::bug("ignore-status") => Ok(None),
            None => {
                self.iterator.status().map_err(|cause| failure(cause, self.family.name()))?;
                Ok(None)
            }
        }
    }
}
