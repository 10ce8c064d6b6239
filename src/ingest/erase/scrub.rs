//! The files without what was deleted.

use std::sync::Weak;
use std::time::{Duration, Instant};

use crate::codec::key;
use crate::error::Result;
use crate::ingest::engine::Engine;
use crate::segment::Segment;
use crate::store::{Family, Range};

/// How long readers of an earlier moment are waited for.
const READERS_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether they are gone.
const READERS_LOOK: Duration = Duration::from_millis(2);

/// What files may still have of the erased.
pub(super) struct Left {
    /// Segments that were replaced; readers of an earlier moment hold them.
    pub(super) replaced: Vec<Weak<Segment>>,
    pub(super) ranges: Vec<Range>,
    /// The number of the write that took it out of every answer.
    pub(super) sequence: u64,
}

/// Waits for readers of an earlier moment, then for the rows that they kept to be dropped; false when some reader
/// stays.
fn wait_for_readers(engine: &Engine, replaced: &[Weak<Segment>], sequence: u64) -> Result<bool> {
    let until = Instant::now() + READERS_WAIT;
    let read = || -> Result<bool> {
        let held = replaced.iter().any(|segment| segment.strong_count() > 0);
        Ok(held || engine.lookup.store.is_seen_without(sequence)?)
    };
    while read()? {
        engine.check_writable()?;
        if Instant::now() >= until {
            return Ok(false);
        }
        std::thread::sleep(READERS_LOOK);
    }
    // Whoever held a segment of before held a snapshot of before, so all of them are on their way. However late the
    // thread is that drops them, it is no reader.
    let garbage = engine.manifest.lock().garbage.clone();
    while engine.manifest.lock().garbage.iter().any(|number| garbage.contains(number)) {
        engine.check_writable()?;
        std::thread::sleep(READERS_LOOK);
    }
    Ok(true)
}

/// Gets what was deleted out of the files; false when some reader holds it back, or a compaction failed.
pub(super) fn scrub(engine: &Engine, left: Left) -> Result<bool> {
    let Left { replaced, ranges, sequence } = left;
    let store = &engine.lookup.store;
    let free = wait_for_readers(engine, &replaced, sequence)?;
    let tables = store.tables()?;
    // What the log of RocksDB takes is free behind this.
    store.flush_memtables()?;
    store.recover();
    let errors = store.background_errors();
    let first = engine.views.load().actives.first().map_or(0, |(active, _)| active.number());
    let log = (Family::Log, key::log(0, 0).to_vec(), key::log(first, 0).to_vec());
    let compact = |(family, from, to): Range| store.compact_to_the_bottom(family, &from, &to);
    // Rows of theirs may also lie where merges and retentions dropped segments.
    ranges.into_iter().chain([log]).chain(store.take_dropped()).for_each(compact);
    store.unsettled()?.into_iter().for_each(compact);
    store.wait_for_deletions(READERS_WAIT);
    // A reader that began meanwhile holds files of before.
    let until = Instant::now() + READERS_WAIT;
    let mut held = store.has_replaced(&tables)?;
    while held && Instant::now() < until {
        std::thread::sleep(READERS_LOOK);
        held = store.has_replaced(&tables)?;
    }
    // RocksDB does not tell of one compaction how it went.
    Ok(free && !held && store.background_errors() == errors)
}
