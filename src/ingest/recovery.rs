//! What opening a store finds, mends and refuses.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::unbounded;
use smallvec::SmallVec;

use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::codec::record::{self, Header, LogRow, Manifest};
use crate::codec::varint::Reader;
use crate::dictionary::{TermTables, Terms};
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::ingest::background;
use crate::ingest::engine::Settings;
use crate::ingest::gate;
use crate::segment::{
    Active, Appended, Counted, Segment, identity, load_header, load_manifest, put_header, put_manifest,
};
use crate::store::{Batch, Family, Store};

/// Version of the layout of bytes on disk; see docs/format.md.
pub(crate) const FORMAT: u32 = 2;

/// What opening a store found and did: see [`crate::Db::recovery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How long opening took.
    pub took: Duration,
    /// The last commit that is there. Later ones were never acknowledged, or the end of the log with them is lost.
    pub last_commit: u64,
    /// Commits read back into memory, since they are in no sealed segment yet.
    pub commits_replayed: u64,
    /// Events in them.
    pub events_replayed: u64,
    /// Files of the storage engine's write-ahead log that were replayed.
    pub log_files: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Bytes at the end of those files that were no whole record: dropped. They belong to a write that was
    /// cut off before it was acknowledged, or to one that only the system held and lost
    /// ([`crate::Durability::Os`]), or the end of the log was damaged: the three look alike.
    pub torn_bytes: u64,
    /// Files of half-written segments that were removed.
    pub staged_files_removed: u64,
    /// Files of half-done segments that the storage engine had removed and still wanted: put back, and the
    /// segments rolled back.
    pub files_put_back: u64,
    /// Segments that a seal had half done: rolled back, and sealed again after opening.
    pub seals_rolled_back: u64,
    /// Segments that a merge had half done: rolled back; their inputs are all there.
    pub merges_rolled_back: u64,
    /// Segments merged away or removed, and seals that a retention removed, whose rows were still there: dropped.
    pub leftovers_dropped: u64,
    /// Full segments that were waiting for their seal; they are sealed after opening.
    pub seals_due: u64,
    /// Erasures that a crash cut short, or a reader held back: finished before opening returned, which `took` does
    /// not count.
    pub erasures_finished: u64,
}

impl Recovery {
    /// Whether the last handle left nothing half done.
    pub fn was_clean(&self) -> bool {
        self.torn_bytes == 0
            && self.staged_files_removed == 0
            && self.seals_rolled_back == 0
            && self.merges_rolled_back == 0
            && self.erasures_finished == 0
    }

    /// Tells apart what was dropped: the numbers of segments in the log are those of seals to come.
    pub(super) fn tell_dropped(&mut self, dropped: &Dropped, merged_away: &[u32], actives: &[Arc<Active>]) {
        for number in dropped.segments.union(&dropped.seals) {
            if actives.iter().any(|active| active.number() == *number) {
                self.seals_rolled_back += 1;
            } else if merged_away.contains(number) || !dropped.segments.contains(number) {
                // What belongs to a seal is written behind the rows.
                self.leftovers_dropped += 1;
            } else {
                self.merges_rolled_back += 1;
            }
        }
    }
}

pub(super) fn open_header(store: &Store, settings: &Settings) -> Result<Header> {
    match load_header(store)? {
        Some(header) => check_format(&header).map(|()| header),
        None if store.found().is_begun() => Err(Error::corrupt("the header is gone").at(Family::Meta.name())),
        None => {
            gate::check_customer_type(&settings.customer_type, &settings.limits)
                .map_err(|rejection| Error::invalid(rejection.reason()))?;
            let header = Header { format: FORMAT, customer_type: settings.customer_type.to_string() };
            let mut batch = Batch::default();
            put_header(store, &mut batch, &header);
            store.write(batch, true)?;
            Ok(header)
        }
    }
}

pub(super) fn check_format(header: &Header) -> Result<()> {
    if header.format == FORMAT {
        return Ok(());
    }
    let told = format!("the store has format {}, this version reads {FORMAT}", header.format);
    Err(Error::new(ErrorKind::Unsupported, told))
}

/// Numbers under which there was something unlisted.
#[derive(Default)]
pub(super) struct Dropped {
    /// Rows or an index of them.
    segments: HashSet<u32>,
    /// What belongs to a seal.
    seals: HashSet<u32>,
}

/// Drops what a crash or the last reader left unlisted: rows of half-done seals and merges, of segments merged
/// away, and of seals removed.
///
/// # Errors
/// `Corrupt` when there is nothing of a segment that is listed: RocksDB takes a manifest whose end is gone
/// for one that was not written to the end.
pub(super) fn drop_unlisted(store: &Store, manifest: &mut Manifest) -> Result<Dropped> {
    let mut dropped = Dropped::default();
    for (family, listed) in Listed::of(manifest).by_family() {
        let there = numbers_of(store, family)?;
        refuse_gone(listed, &there)?;
        for number in there {
            if !listed.contains(&number) {
                fail::point("open.during_drop")?;
                background::drop_number(store, family, number)?;
                match family {
                    Family::Dedupe => dropped.seals.insert(number),
                    _ => dropped.segments.insert(number),
                };
            }
        }
    }
    if !manifest.garbage.is_empty() {
        fail::point("open.before_garbage")?;
        manifest.garbage.clear();
        let mut batch = Batch::default();
        put_manifest(store, &mut batch, manifest);
        store.write(batch, true)?;
    }
    Ok(dropped)
}

/// Refuses a store whose list of files ends in damage and not in a cut-off write, before an open deletes the files
/// that RocksDB does not know any more: it must not lack what the manifest lists. What cannot be tried out is left to
/// the open.
pub(super) fn try_torn(path: &Path, settings: &Settings) -> Result<()> {
    if !Store::ends_torn(path, settings.allow_open_permissions)? {
        return Ok(());
    }
    let Ok(store) = Store::look(path, settings.setup()) else { return Ok(()) };
    let store = Arc::new(store);
    if load_header(&store)?.is_none() {
        // The first write of all may be cut off, but nothing is sorted into files before it.
        return match store.has_tables()? {
            true => Err(Error::corrupt("the header of the store is gone").at("list of files")),
            false => Ok(()),
        };
    }
    let manifest = load_manifest(&store)?;
    let listed = Listed::of(&manifest);
    for (family, listed) in listed.by_family() {
        refuse_gone(listed, &numbers_of(&store, family)?)?;
    }
    let (graveyard, _) = unbounded();
    let open = |meta| Segment::open(&store, meta, graveyard.clone()).map(Arc::new);
    check_ends(&store, &manifest.segments.iter().cloned().map(open).collect::<Result<Vec<_>>>()?)
}

/// Numbers of the segments and seals that a manifest lists.
struct Listed {
    segments: HashSet<u32>,
    seals: HashSet<u32>,
}

impl Listed {
    fn of(manifest: &Manifest) -> Listed {
        Listed {
            segments: manifest.segments.iter().map(|segment| segment.number).collect(),
            seals: manifest.seals.iter().map(|seal| seal.number).collect(),
        }
    }

    fn by_family(&self) -> [(Family, &HashSet<u32>); 3] {
        [(Family::Rows, &self.segments), (Family::Index, &self.segments), (Family::Dedupe, &self.seals)]
    }
}

fn refuse_gone(listed: &HashSet<u32>, there: &BTreeSet<u32>) -> Result<()> {
    match listed.iter().filter(|number| !there.contains(number)).min() {
        Some(gone) => Err(Error::corrupt(format!("segment {gone} is listed and not there")).at("manifest")),
        None => Ok(()),
    }
}

/// Refuses a segment whose end is gone. Its files were taken in one after the other, so what RocksDB forgets with
/// the end of its manifest is the last of them; it forgets without an error.
pub(super) fn check_ends(store: &Store, segments: &[Arc<Segment>]) -> Result<()> {
    for segment in segments {
        let number = segment.meta.number;
        let Some(home) = segment.homes.max() else { continue };
        let slab = &home.to_be_bytes()[..2];
        for (family, end) in
            [(Family::Rows, &key::row(number, home)[..]), (Family::Index, &[&number.to_be_bytes(), slab].concat())]
        {
            let mut cursor = store.cursor(family, false);
            let last = cursor.seek_back(&key::chunk(number, u32::MAX, u32::MAX))?;
            if last.is_none_or(|(key, _)| !key.starts_with(end)) {
                return Err(Error::corrupt(format!("the end of segment {number} is gone")).at(family.name()));
            }
        }
    }
    Ok(())
}

/// The segment or seal numbers that some key of the family begins with: one seek each.
fn numbers_of(store: &Store, family: Family) -> Result<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    let mut cursor = store.cursor(family, true);
    let mut next = Some(0u32);
    while let Some(from) = next {
        next = match cursor.seek(&from.to_be_bytes())? {
            Some((key, _)) => {
                let number = key::leading_number(key)?;
                numbers.insert(number);
                number.checked_add(1)
            }
            None => None,
        };
    }
    Ok(numbers)
}

/// What the log held.
pub(super) struct Replayed {
    pub(super) actives: Vec<Arc<Active>>,
    pub(super) last_commit: u64,
    pub(super) events: u64,
}

/// Builds the segments in memory again from the log. Commits are numbered without gaps, so a
/// missing one is damage, not a short log.
pub(super) fn replay(store: &Store, terms: &Terms, trimmed: u64) -> Result<Replayed> {
    let mut actives: Vec<Arc<Active>> = Vec::new();
    let (mut last_commit, mut events) = (trimmed, 0);
    let mut cursor = store.cursor(Family::Log, true);
    let mut entry = cursor.seek(&key::log(0, 0))?;
    let tables = terms.read();
    while let Some((key, value)) = entry {
        let (segment, commit) = key::parse_log(key)?;
        let place = || format!("log row of commit {commit}");
        if commit != last_commit + 1 && !fail::bug("ignore-gap") {
            return Err(Error::corrupt(format!("commit {} is missing", last_commit + 1)).at(place()));
        }
        if actives.last().is_none_or(|active| active.number() != segment) {
            actives.push(Arc::new(Active::new(segment)));
        }
        let row: LogRow = record::decode(value).map_err(|error| error.at(place()))?;
        let active = actives.last().expect("one was pushed");
        replay_row(active, commit, &row, &tables).map_err(|error| error.at(place()))?;
        if fail::bug("double-replay") {
            replay_row(active, commit, &row, &tables)?;
        }
        last_commit = commit;
        events += u64::from(row.events);
        entry = cursor.advance()?;
    }
    Ok(Replayed { actives, last_commit, events })
}

fn replay_row(active: &Active, commit: u64, row: &LogRow, tables: &TermTables) -> Result<()> {
    let mismatch = || Error::corrupt("lengths do not fit the rows");
    let mut events = Vec::new();
    let mut lengths = Reader::new(&row.lengths);
    let mut homes = Reader::new(&row.homes);
    let mut at = 0usize;
    for _ in 0..row.events {
        let length = lengths.varint_u32()? as usize;
        let packed = at.checked_add(length).and_then(|to| row.packed.get(at..to)).ok_or_else(mismatch)?;
        let mut reader = Reader::new(packed);
        let event = RawEvent::unpack(&mut reader, tables)?;
        reader.finish()?;
        let count = if row.several_homes { homes.length()? } else { 1 };
        let mut event_homes: SmallVec<[u32; 2]> = SmallVec::new();
        for _ in 0..count {
            event_homes.push(u32::from_le_bytes(homes.array()?));
        }
        let source = tables.shape(event.shape)?.shape.source;
        events.push((
            identity(event.id.as_ref(), event.time, source, packed),
            event_homes,
            packed,
            Counted::of(&event),
        ));
        at += length;
    }
    lengths.finish()?;
    homes.finish()?;
    if at != row.packed.len() {
        return Err(mismatch());
    }
    let appended = events.iter().map(|(identity, homes, packed, counted)| Appended {
        identity: *identity,
        homes,
        packed,
        counted: *counted,
    });
    active.append(commit, row.wall, appended);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Setup;
    use crate::{Db, Entity, Event, Options, Timestamp};

    const SETUP: Setup = Setup { create: false, ..Setup::SMALL };

    fn open(path: &std::path::Path) -> Result<Db> {
        Db::open(path, Options::new().cache_bytes(1 << 20).name_cache_bytes(1 << 16).reserve_bytes(0))
    }

    /// A store of four commits of one event each, of which the first is sealed.
    fn store() -> tempfile::TempDir {
        let place = tempfile::TempDir::new().unwrap();
        let db = open(place.path()).unwrap();
        for number in 1..=4 {
            let mut batch = crate::Batch::new();
            batch.event(
                Event::new(Timestamp::from_secs(number), "feed", "thing.happened").subject(Entity::customer("A")),
            );
            db.writer().commit(batch).unwrap();
            if number == 1 {
                db.flush().unwrap();
            }
        }
        drop(db);
        place
    }

    /// Deletes from the log what `which` says of each commit.
    fn lose(path: &std::path::Path, which: impl Fn(u64) -> bool) {
        let store = Store::open(path, SETUP).unwrap();
        let mut batch = Batch::default();
        let mut cursor = store.cursor(Family::Log, true);
        let mut entry = cursor.seek(&key::log(0, 0)).unwrap();
        while let Some((key, _)) = entry {
            let (_, commit) = key::parse_log(key).unwrap();
            if which(commit) {
                batch.delete(&store, Family::Log, key);
            }
            entry = cursor.advance().unwrap();
        }
        drop(cursor);
        store.write(batch, true).unwrap();
    }

    #[test]
    fn a_commit_missing_in_the_middle_of_the_log_or_at_its_beginning_is_refused() {
        for (lost, told) in [(vec![2], "commit 2"), (vec![3], "commit 3"), (vec![2, 3], "commit 2")] {
            let place = store();
            lose(place.path(), |commit| lost.contains(&commit));
            let error = open(place.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            assert!(error.message().contains(told), "{error:?}");
            assert!(error.place().unwrap().contains("log row of commit"), "{error:?}");
        }
    }

    #[test]
    fn a_log_that_ends_early_opens_and_the_report_says_where_it_ends() {
        for last in 1..=4 {
            let place = store();
            lose(place.path(), |commit| commit > last);
            let db = open(place.path()).unwrap();
            let recovery = db.recovery();
            assert_eq!((recovery.last_commit, recovery.commits_replayed), (last, last - 1));
            assert_eq!(recovery.events_replayed, last - 1);
            assert_eq!(db.snapshot().stats().unwrap().commits, last);
        }
    }

    #[test]
    fn a_segment_that_is_listed_and_not_there_is_refused() {
        for family in [Family::Rows, Family::Index, Family::Dedupe] {
            let place = store();
            let store = Store::open(place.path(), SETUP).unwrap();
            let listed = load_manifest(&store).unwrap().segments[0].number;
            background::drop_number(&store, family, listed).unwrap();
            drop(store);
            let error = open(place.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{family:?}: {error:?}");
            assert_eq!(error.message(), format!("segment {listed} is listed and not there"));
        }
    }

    #[test]
    fn a_segment_whose_end_is_gone_is_refused_and_not_looked_at() {
        for family in [Family::Rows, Family::Index] {
            let place = tempfile::TempDir::new().unwrap();
            let db = open(place.path()).unwrap();
            let mut batch = crate::Batch::new();
            for subject in ["customer:A", "cell:B"] {
                let event = Event::new(Timestamp::from_secs(1), "feed", "thing.happened");
                batch.event(event.subject(subject.parse().unwrap()));
            }
            db.writer().commit(batch).unwrap();
            db.flush().unwrap();
            drop(db);
            let store = Store::open(place.path(), SETUP).unwrap();
            let listed = load_manifest(&store).unwrap().segments[0].number;
            // What is not a customer's lies behind.
            let (from, to) = (key::row(listed, 1 << 31), key::row(listed + 1, 0));
            store.drop_range(family, &from, &to).unwrap();
            drop(store);
            let told = (ErrorKind::Corrupt, format!("the end of segment {listed} is gone"));
            let error = open(place.path()).unwrap_err();
            assert_eq!((error.kind(), error.message().to_owned()), told, "{family:?}");
            let error = Db::look(place.path(), Options::new()).unwrap_err();
            assert_eq!((error.kind(), error.message().to_owned()), told, "{family:?}");
        }
    }

    /// A copy of the files stands for the kill.
    #[cfg(unix)]
    #[test]
    fn what_a_reader_held_back_when_the_store_was_killed_is_dropped_and_no_crash() {
        let (place, copy) = (store(), tempfile::TempDir::new().unwrap());
        let db = open(place.path()).unwrap();
        let reader = db.snapshot();
        db.retain(&crate::Retention::before(Timestamp::from_secs(3)).max_share(1.0)).unwrap();
        db.wait_until_quiet().unwrap();
        std::fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::create_dir(copy.path().join("db")).unwrap();
        for folder in ["", "db"] {
            for file in std::fs::read_dir(place.path().join(folder)).unwrap().map(Result::unwrap) {
                if file.file_type().unwrap().is_file() {
                    std::fs::copy(file.path(), copy.path().join(folder).join(file.file_name())).unwrap();
                }
            }
        }
        let there = |path: &std::path::Path| {
            let store = Store::open(path, SETUP).unwrap();
            let listed = load_manifest(&store).unwrap();
            let seals: BTreeSet<u32> = listed.seals.iter().map(|seal| seal.number).collect();
            (numbers_of(&store, Family::Dedupe).unwrap(), seals)
        };
        let (left, listed) = there(copy.path());
        assert_eq!(left.difference(&listed).count(), 1, "{left:?}, {listed:?}");
        let killed = open(copy.path()).unwrap();
        assert!(killed.recovery().was_clean() && killed.recovery().leftovers_dropped > 0, "{:?}", killed.recovery());
        assert_eq!(killed.check().unwrap().problems, Vec::<String>::new());
        drop(killed);
        let (left, listed) = there(copy.path());
        assert_eq!(left, listed);
        drop((db, reader));
    }

    #[test]
    fn what_half_done_seals_and_merges_left_is_told_apart() {
        let active = |number| Arc::new(Active::new(number));
        let mut recovery = Recovery::default();
        let dropped = Dropped { segments: HashSet::from([7, 3, 9, 5]), seals: HashSet::from([7, 9, 2]) };
        recovery.tell_dropped(&dropped, &[3, 4], &[active(7), active(8)]);
        assert_eq!(recovery.seals_rolled_back, 1, "7 is in the log");
        assert_eq!(recovery.leftovers_dropped, 2, "3 was merged away, and a retention removed the seal 2");
        assert_eq!(recovery.merges_rolled_back, 2, "5 and 9 are nowhere");
        assert!(!recovery.was_clean());
    }
}
