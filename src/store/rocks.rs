//! The database handle: open, read, write, take in sorted files, drop them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rocksdb::{
    BottommostLevelCompaction, Cache, ColumnFamilyDescriptor, CompactOptions, DBPinnableSlice, DBRecoveryMode,
    DBWithThreadMode, IngestExternalFileOptions, LiveFile, LogLevel, Options, ReadOptions, SingleThreaded, WriteBatch,
    WriteOptions,
};

use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::store::aside::Aside;
use crate::store::beginning::{check_beginning, has_tables, nearest_existing, sync_names};
use crate::store::directory::Directory;
use crate::store::failure::{failure, repeats_another};
use crate::store::families::Family;
use crate::store::gone::{Gone, Range};
use crate::store::log::{self, LogSizes};
use crate::store::mend::{check_tables, open_whole};
use crate::store::private;
use crate::store::reserve::{Loan, Reserve};
use crate::store::snapshot::Cursor;
use crate::store::steady::{PATIENCE, capture, never_still, steadily};
use crate::store::table::TableWriter;
use crate::store::unfinished;

pub(super) type Rocks = DBWithThreadMode<SingleThreaded>;

/// A value that stays where RocksDB has it.
pub(crate) type Pinned<'a> = DBPinnableSlice<'a>;

/// How long to try to look at files where they are, before they are looked at aside.
const LOOK_IN_PLACE: Duration = Duration::from_secs(1);

/// Twice as long as RocksDB takes between two looks whether a full disk has room again, and a little more.
const RECOVERY: Duration = Duration::from_secs(11);
/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// How long who hears that another write failed waits to learn how.
const FIRST_FAILURE_WAIT: Duration = Duration::from_millis(100);

/// The lowest level of RocksDB's tree, of seven.
const BOTTOM: i32 = 6;

/// How to open a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Whether to make it when there is none.
    pub(crate) create: bool,
    /// Whether others than the owner may have access to its directory.
    pub(crate) allow_open: bool,
    /// Memory for blocks.
    pub(crate) cache_bytes: usize,
    /// Room kept for when the disk is full.
    pub(crate) reserve_bytes: u64,
    /// Whether files take room ahead.
    pub(crate) preallocate: bool,
    /// Whether a salvage into the directory may be unfinished: for the salvage itself.
    pub(crate) unfinished: bool,
}

#[cfg(test)]
impl Setup {
    /// A small store that keeps no room.
    pub(crate) const SMALL: Setup = Setup {
        create: true,
        allow_open: false,
        cache_bytes: 1 << 20,
        reserve_bytes: 0,
        preallocate: false,
        unfinished: false,
    };
}

/// What there was when the database was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) log: LogSizes,
    /// Whether there was a sorted file.
    has_tables: bool,
    pub(crate) staged_files: u64,
    /// Of these, the files that were missing in the database and are in it again.
    pub(crate) put_back: u64,
}

impl Found {
    /// Whether anything was ever written: the header is the first record.
    pub(crate) fn is_begun(&self) -> bool {
        self.has_tables || self.log.bytes > self.log.torn_bytes
    }
}

/// A RocksDB database with our families: locked against others, or only looked at.
pub(crate) struct Store {
    pub(super) rocks: Rocks,
    staging: PathBuf,
    pub(super) database: PathBuf,
    cache: Cache,
    gone: Gone,
    reserve: Reserve,
    found: Found,
    /// The first write that failed since the store was opened.
    first_failure: OnceLock<rocksdb::Error>,
    // Dropped last: nobody else may open while RocksDB closes. A look has none.
    _directory: Option<Directory>,
}

impl Store {
    pub(crate) fn open(path: &Path, setup: Setup) -> Result<Store> {
        let existing = nearest_existing(path);
        let directory = Directory::acquire(path, setup.create, setup.allow_open)?;
        if !setup.unfinished {
            unfinished::check_finished(directory.path())?;
        }
        check_beginning(&directory.database())?;
        let reserve = Reserve::new(directory.path(), setup.reserve_bytes);
        // Recovery writes before it frees.
        let loan = reserve.lend(setup.reserve_bytes)?;
        let (database, staging) = (directory.database(), directory.staging());
        log::check_list(&database)?;
        let mut found = Found { log: log::measure(&database)?, has_tables: has_tables(&database)?, ..Found::default() };
        let (cache, gone) = (Cache::new_hyper_clock_cache(setup.cache_bytes, 0), Gone::default());
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_total_wal_size(512 << 20);
        options.set_max_background_jobs(2);
        options.set_max_open_files(512);
        options.set_bytes_per_sync(1 << 20);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 << 20);
        options.set_log_level(LogLevel::Error);
        if found.is_begun() {
            check_families(&database, &options)?;
        }
        let open = |options: &Options| Rocks::open_cf_descriptors(options, &database, families(&cache, &gone));
        let short = reserve.free()? < setup.reserve_bytes.saturating_add(2 * found.log.bytes);
        let with = |mut options: Options, one: &str| {
            options.get_options_from_string(one).map_err(|cause| failure(cause, "open"))
        };
        if short || !setup.preallocate {
            options = with(options, "allow_fallocate=false")?;
        }
        let opened = if short {
            log::write_back(&database)?;
            // Written out, the log takes its room twice for a moment.
            let thrifty = with(options.clone(), "avoid_flush_during_recovery=true")?;
            open_whole(&database, &staging, || open(&thrifty))
        } else {
            open_whole(&database, &staging, || open(&options))
        };
        let opened = match opened {
            Err(cause) if failure(cause.clone(), "open").kind() == ErrorKind::Corrupt => {
                match log::damaged_end(&database)? {
                    Some(torn) => {
                        // Stops there. The log is written out, so that nothing is ever appended behind the damage.
                        found.log.torn_bytes = torn;
                        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
                        open_whole(&database, &staging, || open(&options))
                    }
                    None => Err(cause),
                }
            }
            opened => opened,
        };
        let (rocks, put_back) = opened.map_err(|cause| {
            let error = failure(cause, "open");
            let damaged = error.kind() == ErrorKind::Corrupt;
            match damaged.then(|| log::find_damage(&database)) {
                Some(Ok(Some(place))) => error.at(place),
                _ => error,
            }
        })?;
        sync_names(directory.path(), existing.as_deref())?;
        if put_back > 0 {
            sync_names(&database, Some(directory.path()))?;
        }
        check_tables(&rocks, &database)?;
        found.put_back = put_back;
        found.staged_files = directory.wipe_staging()?;
        drop(loan);
        let first_failure = OnceLock::new();
        Ok(Store { rocks, staging, database, cache, gone, reserve, found, first_failure, _directory: Some(directory) })
    }

    /// Opens what is at `path` for reading alone, as it is after one of its writes, whoever has it open
    /// meanwhile: no lock is taken and nothing in the directory is touched. The rest of this store's life
    /// it stays as it was.
    pub(crate) fn look(path: &Path, setup: Setup) -> Result<Store> {
        let database = Directory::to_read(path, setup.allow_open)?;
        let cache = Cache::new_hyper_clock_cache(setup.cache_bytes, 0);
        // RocksDB leaves open what a read-only database sees while another process writes the files. Here
        // they keep still until all are open, and the log is read; or what was captured does.
        let patience = if Aside::is_possible() { LOOK_IN_PLACE } else { PATIENCE };
        let rocks = match steadily(&database, patience, |_| open_to_read(&database, &cache))? {
            Some(rocks) => rocks,
            None if Aside::is_possible() => {
                let aside = Aside::of(capture(path, setup.allow_open)?)?;
                open_to_read(aside.path(), &cache)?
            }
            None => return Err(never_still(&database)),
        };
        let (reserve, found) = (Reserve::new(&database, 0), Found::default());
        let (staging, gone) = (PathBuf::new(), Gone::default());
        let first_failure = OnceLock::new();
        Ok(Store { rocks, staging, database, cache, gone, reserve, found, first_failure, _directory: None })
    }

    /// Whether RocksDB's list of files ends in what is no whole edit. A cut-off write leaves that, and so does a
    /// damaged length of the last edit; then an open deletes what only that edit names.
    pub(crate) fn ends_torn(path: &Path, allow_open: bool) -> Result<bool> {
        match Directory::to_read(path, allow_open) {
            Ok(database) => log::check_list(&database),
            // The open will tell.
            Err(_) => Ok(false),
        }
    }

    /// The directory of the store, by its one name.
    pub(crate) fn path(&self) -> &Path {
        self.database.parent().expect("the database has a directory of its own inside the store's")
    }

    pub(super) fn handle(&self, family: Family) -> &rocksdb::ColumnFamily {
        self.rocks.cf_handle(family.name()).expect("every family is opened with the store")
    }

    /// The newest value of `key`.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Pinned<'_>>> {
        self.rocks.get_pinned_cf(self.handle(family), key).map_err(|cause| failure(cause, family.name()))
    }

    /// The newest values of sorted `keys`, in their order. Cheaper than one by one.
    pub(crate) fn get_sorted<'k>(
        &self,
        family: Family,
        keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Vec<Result<Option<Pinned<'_>>>> {
        self.get_all(family, keys, &ReadOptions::default())
    }

    /// As [`Store::get_sorted`], leaving the block cache alone.
    pub(crate) fn get_sorted_once<'k>(
        &self,
        family: Family,
        keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Vec<Result<Option<Pinned<'_>>>> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        self.get_all(family, keys, &options)
    }

    fn get_all<'k>(
        &self,
        family: Family,
        keys: impl ExactSizeIterator<Item = &'k [u8]>,
        options: &ReadOptions,
    ) -> Vec<Result<Option<Pinned<'_>>>> {
        self.rocks
            .batched_multi_get_cf_opt(self.handle(family), keys, true, options)
            .into_iter()
            .map(|value| value.map_err(|cause| failure(cause, family.name())))
            .collect()
    }

    /// A cursor over the newest rows. `once` leaves the block cache alone.
    pub(crate) fn cursor(&self, family: Family, once: bool) -> Cursor<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(!once);
        if once {
            options.set_readahead_size(1 << 20);
        }
        Cursor::new(self.rocks.raw_iterator_cf_opt(self.handle(family), options), family)
    }

    /// Writes a batch atomically; with `sync`, it is on the disk when this returns.
    pub(crate) fn write(&self, batch: Batch, sync: bool) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let written = self.rocks.write_opt(batch.0, &options).map_err(|cause| self.write_failure(cause, "write"));
        if written.is_err() && fail::bug("retry-sync") {
            return log::write_back(&self.database);
        }
        written
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync_log(&self) -> Result<()> {
        self.rocks.flush_wal(true).map_err(|cause| self.write_failure(cause, "write-ahead log"))
    }

    /// The error of a write. Once the log is closed RocksDB says no more than that it is. Whoever hears that tells what
    /// closed it: another thread may be about to learn it; what a flush of RocksDB's own met the disk is asked for.
    fn write_failure(&self, cause: rocksdb::Error, place: &str) -> Error {
        if !repeats_another(cause.as_ref()) {
            return failure(self.first_failure.get_or_init(|| cause).clone(), place);
        }
        let until = Instant::now() + FIRST_FAILURE_WAIT;
        loop {
            if let Some(first) = self.first_failure.get() {
                return failure(first.clone(), place);
            }
            if Instant::now() >= until {
                return self.try_disk().err().map_or_else(|| failure(cause, place), |now| now.at(place));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Writes a little and makes it durable.
    fn try_disk(&self) -> Result<()> {
        let path = self.staging.join(format!("trial-{:?}", std::thread::current().id()));
        let mut file = private::open_file(&path)?;
        let outcome = file.write_all(&[1; 4096]).and_then(|()| file.sync_all());
        let _ = fs::remove_file(path);
        Ok(outcome?)
    }

    /// A new sorted file to fill; it becomes part of the store with [`Store::ingest`].
    pub(crate) fn table_writer(&self, family: Family, name: &str) -> Result<TableWriter> {
        TableWriter::create(family, self.staging.join(name), &self.cache)
    }

    /// Takes in finished files of one family, one after the other; those taken in are durable. The name of
    /// a file that failed stays, as RocksDB may want it back: see [`open_whole`].
    pub(crate) fn ingest(&self, family: Family, files: Vec<PathBuf>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        fs::File::open(&self.staging)?.sync_all()?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        // Keys taken in never overlap the memtable; if they did, an error beats a stall.
        options.set_allow_blocking_flush(false);
        for file in files {
            self.rocks
                .ingest_external_file_cf_opts(self.handle(family), &options, vec![file.clone()])
                .map_err(|cause| self.write_failure(cause, family.name()))?;
            fail::point("ingest.before_unstaging")?;
            // Moving links the file into the database; the staged name may remain.
            let _ = fs::remove_file(file);
        }
        Ok(())
    }

    /// Removes every key in `[from, to)` that no reader needs any more: whole files first, then
    /// what is left. Older snapshots may lose these rows.
    pub(crate) fn drop_range(&self, family: Family, from: &[u8], to: &[u8]) -> Result<()> {
        let handle = self.handle(family);
        self.rocks
            .delete_file_in_range_cf(handle, from, to)
            .map_err(|cause| self.write_failure(cause, family.name()))?;
        fail::point("drop.after_files")?;
        let mut cursor = self.cursor(family, true);
        if cursor.seek(from)?.is_some_and(|(key, _)| key < to) {
            drop(cursor);
            self.rocks.delete_range_cf(handle, from, to).map_err(|cause| self.write_failure(cause, family.name()))?;
            self.gone.note((family, from.to_vec(), to.to_vec()));
            // A tombstone in the memtable would stand in the way of the next file taken in.
            self.rocks.flush_cf(handle).map_err(|cause| self.write_failure(cause, family.name()))?;
        }
        Ok(())
    }

    /// Says that no reader has the rows of a segment any more, and that its number is never given again: no
    /// compaction keeps them from now on, whatever snapshot is held.
    pub(crate) fn give_up(&self, segment: u32) {
        self.gone.add(segment);
    }

    /// What [`Store::drop_range`] deleted since this was last asked, and files may still have.
    pub(crate) fn take_dropped(&self) -> BTreeSet<Range> {
        self.gone.take_ranges()
    }

    /// The files of segments in which something deleted may lie, also since before the store was opened: what was
    /// taken in lies at the bottom, without a tombstone.
    pub(crate) fn unsettled(&self) -> Result<Vec<Range>> {
        let mut found = Vec::new();
        for file in self.live_files()? {
            let family =
                [Family::Rows, Family::Index].into_iter().find(|family| family.name() == file.column_family_name);
            let settled = file.level == BOTTOM && file.num_deletions == 0;
            if let (Some(family), Some(from), Some(to), false) = (family, file.start_key, file.end_key, settled) {
                found.push((family, from, [&to[..], &[0]].concat()));
            }
        }
        Ok(found)
    }

    fn live_files(&self) -> Result<Vec<LiveFile>> {
        self.rocks.live_files().map_err(|cause| failure(cause, "files"))
    }

    /// The names of the sorted files that there are.
    pub(crate) fn tables(&self) -> Result<BTreeSet<String>> {
        Ok(self.live_files()?.into_iter().map(|file| file.name.trim_start_matches('/').to_owned()).collect())
    }

    /// Whether some of the sorted files `before` are no part of the store any more, and still on the disk: a reader
    /// holds them, or they are about to be deleted.
    pub(crate) fn has_replaced(&self, before: &BTreeSet<String>) -> Result<bool> {
        let now = self.tables()?;
        Ok(before.difference(&now).any(|name| self.database.join(name).exists()))
    }

    /// Bytes of live files and of the write-ahead log. The directory is listed at each call.
    pub(crate) fn disk_bytes(&self) -> Result<u64> {
        let mut total = 0;
        for entry in fs::read_dir(&self.database)? {
            // A file may be gone between listing and asking.
            if let Ok(metadata) = entry?.metadata() {
                total += metadata.len();
            }
        }
        Ok(total)
    }

    /// Whether there is any sorted file, listed or not.
    pub(crate) fn has_tables(&self) -> Result<bool> {
        has_tables(&self.database)
    }

    /// What there was when the store was opened.
    pub(crate) fn found(&self) -> Found {
        self.found
    }

    /// Lends the room kept for a full disk, if less than `needed` bytes are free, until the loan is
    /// dropped. For work that makes room in the end.
    pub(crate) fn lend_reserve(&self, needed: u64) -> Result<Loan<'_>> {
        self.reserve.lend(needed)
    }

    /// Fails with `DiskFull` while the room kept for a full disk is on loan or could not be taken.
    pub(crate) fn check_room(&self) -> Result<()> {
        if !self.reserve.is_short() || self.reserve.keep()? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::DiskFull, "what is left is kept for making room").at(self.path().display()))
    }

    /// Whether [`Store::check_room`] last failed.
    pub(crate) fn is_short(&self) -> bool {
        self.reserve.is_short()
    }

    /// Bytes free on the disk for this user.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        self.reserve.free()
    }

    /// Bytes that the files of `[from, to)` take, about.
    pub(crate) fn range_bytes(&self, family: Family, from: &[u8], to: &[u8]) -> u64 {
        let range = [rocksdb::Range::new(from, to)];
        self.rocks.get_approximate_sizes_cf(self.handle(family), &range).iter().sum()
    }

    /// Failures of RocksDB's own flushes and compactions since the store was opened.
    pub(crate) fn background_errors(&self) -> u64 {
        let asked = self.rocks.property_int_value(rocksdb::properties::BACKGROUND_ERRORS);
        asked.ok().flatten().unwrap_or(0)
    }

    /// Frees what a family has deleted: writes it out and compacts `[from, to)`.
    pub(crate) fn reclaim(&self, family: Family, from: &[u8], to: &[u8]) -> Result<()> {
        self.rocks.flush_cf(self.handle(family)).map_err(|cause| self.write_failure(cause, family.name()))?;
        fail::point("reclaim.before_compaction")?;
        self.rocks.compact_range_cf(self.handle(family), Some(from), Some(to));
        Ok(())
    }

    /// Writes `[from, to)` of a family again down to the bottom, so that nothing deleted there is left in any
    /// file, as far as no snapshot sees it. What a snapshot kept at the bottom RocksDB writes again by itself once
    /// that is gone, but some time later; so the bottom is written again here in any case.
    pub(crate) fn compact_to_the_bottom(&self, family: Family, from: &[u8], to: &[u8]) {
        if fail::bug("spare-files") {
            return;
        }
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.rocks.compact_range_cf_opt(self.handle(family), Some(from), Some(to), &options);
    }

    /// Snapshots that are held.
    fn snapshots_held(&self) -> Result<u64> {
        let held =
            self.rocks.property_int_value("rocksdb.num-snapshots").map_err(|cause| failure(cause, "snapshots"))?;
        Ok(held.unwrap_or(0))
    }

    /// The number of the last write. A snapshot taken from now on has at least this one.
    pub(crate) fn latest_sequence(&self) -> u64 {
        self.rocks.latest_sequence_number()
    }

    /// Whether some snapshot is held that does not see the write of this number.
    pub(crate) fn is_seen_without(&self, sequence: u64) -> Result<bool> {
        let oldest = self
            .rocks
            .property_int_value("rocksdb.oldest-snapshot-sequence")
            .map_err(|cause| failure(cause, "snapshots"))?;
        Ok(self.snapshots_held()? > 0 && oldest.unwrap_or(0) < sequence)
    }

    /// Waits until RocksDB rests: nothing is left to compact, and files that it needs no more are deleted.
    ///
    /// # Errors
    /// That of a compaction that failed, also before, and is not made up for in [`RECOVERY`].
    pub(crate) fn wait_for_rest(&self) -> Result<()> {
        self.recover();
        self.rest(Duration::ZERO).map_err(|cause| failure(cause, "compaction"))
    }

    /// Waits until RocksDB rests, but no longer than `most`: files that it needs no more are deleted a moment after
    /// it has said that a compaction is done, by the thread that did it. Whether one failed is not told.
    pub(crate) fn wait_for_deletions(&self, most: Duration) {
        let _ = self.rest(most);
    }

    /// Gives RocksDB time to see that there is room again: once a compaction met the end of the disk, it refuses
    /// others until one of its looks, five seconds apart, finds the room that was missing.
    pub(crate) fn recover(&self) {
        let until = Instant::now() + RECOVERY;
        let failed = || match self.rest(Duration::from_micros(1)) {
            Err(cause) => cause.kind() != rocksdb::ErrorKind::TimedOut,
            Ok(()) => false,
        };
        while failed() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }

    /// Has RocksDB tell when it rests, in at most `most` if that is not zero. It waits for nothing while it
    /// remembers a failure.
    fn rest(&self, most: Duration) -> std::result::Result<(), rocksdb::Error> {
        let mut options = rocksdb::WaitForCompactOptions::default();
        options.set_flush(false);
        options.set_timeout(u64::try_from(most.as_micros()).unwrap_or(u64::MAX));
        self.rocks.wait_for_compact(&options)
    }

    /// Writes all memtables out, so that the log on disk can go.
    pub(crate) fn flush_memtables(&self) -> Result<()> {
        for family in Family::all() {
            self.rocks.flush_cf(self.handle(family)).map_err(|cause| self.write_failure(cause, family.name()))?;
        }
        Ok(())
    }
}

/// Opens RocksDB's files, which keep still meanwhile, for reading alone. Afterwards all are open, and nothing
/// is read by name.
pub(super) fn open_to_read(database: &Path, cache: &Cache) -> Result<Rocks> {
    log::check_list(database)?;
    let mut options = options();
    // Files that the writer deletes later stay readable, since they are open.
    options.set_max_open_files(-1);
    Rocks::open_cf_descriptors_read_only(&options, database, families(cache, &Gone::default()), false)
        .map_err(|cause| failure(cause, "open"))
}

/// What an open store and a look have in common.
fn options() -> Options {
    let mut options = Options::default();
    // A torn tail of the newest log is what a crash leaves; damage before it is an error.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // The list of files names each closed log until what was in it is in other files: it cannot lose the edit that
    // said so without a word. RocksDB 11.8 crashes on reading such a list without this.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_log_level(LogLevel::Error);
    options
}

/// Refuses a list of files that lacks families although something was written, which needs them all: RocksDB would make
/// them anew, and pass over what the log has for them.
fn check_families(database: &Path, options: &Options) -> Result<()> {
    // Opening tells what is wrong with a list that cannot be read.
    let Ok(listed) = Rocks::list_cf(options, database) else { return Ok(()) };
    match Family::all().find(|family| !listed.iter().any(|name| name == family.name())) {
        Some(family) => Err(Error::corrupt("the list of files ends before what was written")
            .at(format!("{}, list of files", family.name()))),
        None => Ok(()),
    }
}

fn families(cache: &Cache, gone: &Gone) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    Family::all().map(|family| {
        let mut options = family.options(cache);
        gone.attach(family, &mut options);
        ColumnFamilyDescriptor::new(family.name(), options)
    })
}

/// Writes that happen together or not at all.
#[derive(Default)]
pub(crate) struct Batch(WriteBatch);

impl Batch {
    pub(crate) fn put(&mut self, store: &Store, family: Family, key: &[u8], value: &[u8]) {
        self.0.put_cf(store.handle(family), key, value);
    }

    pub(crate) fn delete(&mut self, store: &Store, family: Family, key: &[u8]) {
        self.0.delete_cf(store.handle(family), key);
    }

    /// Deletes `[from, to)`.
    pub(crate) fn delete_range(&mut self, store: &Store, family: Family, from: &[u8], to: &[u8]) {
        self.0.delete_range_cf(store.handle(family), from, to);
    }
}
