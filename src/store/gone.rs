//! Segments whose rows nobody reads any more, so that no file keeps them.
//!
//! A range of keys is deleted at one moment, and RocksDB keeps what lies in it for every snapshot of before, though
//! no reader looks there: readers of a segment hold the segment, not a snapshot. So compactions ask here too.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::sync::Arc;

use parking_lot::Mutex;
use roaring::RoaringBitmap;
use rocksdb::Options;
use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

use crate::store::Family;

/// Ranges remembered at most; then it is all of their families.
const RANGES_MAX: usize = 4096;

/// A family and the bounds of some of its keys.
pub(crate) type Range = (Family, Vec<u8>, Vec<u8>);

/// What is gone since the store was opened.
#[derive(Clone, Default)]
pub(super) struct Gone(Arc<Mutex<Numbers>>);

#[derive(Default)]
struct Numbers {
    /// Segments that are listed nowhere, never will be again, and are read by nobody.
    segments: RoaringBitmap,
    /// What was deleted as a range, and may still be in files.
    ranges: BTreeSet<Range>,
}

impl Gone {
    /// Says that rows which begin with this number are nobody's, now and for good.
    pub(super) fn add(&self, segment: u32) {
        self.0.lock().segments.insert(segment);
    }

    /// Has compactions of a family ask here, if segments have rows in it.
    pub(super) fn attach(&self, family: Family, options: &mut Options) {
        if matches!(family, Family::Rows | Family::Index) {
            options.set_compaction_filter_factory(self.clone());
        }
    }

    /// Notes what may still be in files.
    pub(super) fn note(&self, range: Range) {
        let ranges = &mut self.0.lock().ranges;
        ranges.insert(range);
        if ranges.len() > RANGES_MAX {
            *ranges = ranges.iter().map(|(family, ..)| (*family, Vec::new(), vec![0xff; 64])).collect();
        }
    }

    /// Takes what was noted.
    pub(super) fn take_ranges(&self) -> BTreeSet<Range> {
        std::mem::take(&mut self.0.lock().ranges)
    }
}

impl CompactionFilterFactory for Gone {
    type Filter = Without;

    fn create(&mut self, _context: CompactionFilterContext) -> Without {
        Without(self.0.lock().segments.clone())
    }

    fn name(&self) -> &CStr {
        c"ofone.gone"
    }
}

/// Drops rows of segments that were gone when the compaction began.
pub(super) struct Without(RoaringBitmap);

impl CompactionFilter for Without {
    fn filter(&mut self, _level: u32, key: &[u8], _value: &[u8]) -> Decision {
        match key.first_chunk() {
            Some(segment) if self.0.contains(u32::from_be_bytes(*segment)) => Decision::Remove,
            _ => Decision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        c"ofone.gone"
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Batch, Family, Setup, Store, StoreSnapshot};
    use std::sync::Arc;

    const ROW: [u8; 8] = [0, 0, 0, 7, 0, 0, 0, 0];

    /// A store with a row of segment 7 in a file with others, the range dropped, and a snapshot of before that.
    fn dropped(give_up: bool) -> (tempfile::TempDir, StoreSnapshot) {
        let place = tempfile::TempDir::new().unwrap();
        let store = Arc::new(Store::open(place.path(), Setup::SMALL).unwrap());
        let mut batch = Batch::default();
        for key in [[0, 0, 0, 6, 0, 0, 0, 0], ROW, [0, 0, 0, 8, 0, 0, 0, 0]] {
            batch.put(&store, Family::Rows, &key, b"said");
        }
        store.write(batch, false).unwrap();
        store.flush_memtables().unwrap();
        let snapshot = StoreSnapshot::new(store.clone());
        if give_up {
            store.give_up(7);
        }
        store.drop_range(Family::Rows, &7u32.to_be_bytes(), &8u32.to_be_bytes()).unwrap();
        let dropped = store.take_dropped();
        assert!(!dropped.is_empty());
        for (family, from, to) in dropped {
            store.compact_to_the_bottom(family, &from, &to);
        }
        assert!(store.get(Family::Rows, &ROW).unwrap().is_none());
        (place, snapshot)
    }

    #[test]
    fn rows_that_nobody_reads_leave_the_files_whatever_snapshot_is_held() {
        let (_place, snapshot) = dropped(true);
        assert!(snapshot.get(Family::Rows, &ROW).unwrap().is_none());
        assert!(snapshot.get(Family::Rows, &[0, 0, 0, 6, 0, 0, 0, 0]).unwrap().is_some());
        assert!(snapshot.get(Family::Rows, &[0, 0, 0, 8, 0, 0, 0, 0]).unwrap().is_some());
    }

    #[test]
    fn a_dropped_range_alone_leaves_them_there_for_a_snapshot() {
        let (_place, snapshot) = dropped(false);
        assert!(snapshot.get(Family::Rows, &ROW).unwrap().is_some());
    }

    #[test]
    fn what_was_dropped_before_an_opening_is_known_after_it() {
        let place = tempfile::TempDir::new().unwrap();
        let store = Store::open(place.path(), Setup::SMALL).unwrap();
        let mut batch = Batch::default();
        for key in [[0, 0, 0, 6, 0, 0, 0, 0], ROW, [0, 0, 0, 8, 0, 0, 0, 0]] {
            batch.put(&store, Family::Rows, &key, b"said");
        }
        store.write(batch, false).unwrap();
        store.flush_memtables().unwrap();
        store.compact_to_the_bottom(Family::Rows, &[], &[255]);
        assert!(store.unsettled().unwrap().is_empty());
        store.drop_range(Family::Rows, &7u32.to_be_bytes(), &8u32.to_be_bytes()).unwrap();
        drop(store);
        let store = Store::open(place.path(), Setup::SMALL).unwrap();
        assert!(store.take_dropped().is_empty());
        let dropped = store.unsettled().unwrap();
        assert!(dropped.iter().any(|(_, from, to)| **from <= ROW[..] && ROW[..] < **to), "{dropped:?}");
        for (family, from, to) in dropped {
            store.compact_to_the_bottom(family, &from, &to);
        }
        assert!(store.unsettled().unwrap().is_empty());
    }
}
