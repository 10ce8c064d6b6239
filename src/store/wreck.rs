//! A damaged database, read without a byte of it being written.
//!
//! RocksDB opens a *shadow*: a directory of symbolic links to the files, with a manifest of its own. So files
//! that RocksDB cannot open at all can be struck from that manifest. It keeps looking at everything else as one
//! store, newer rows before older ones, and what a damaged block holds is stepped over.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rocksdb::{Cache, ColumnFamilyDescriptor, DBRecoveryMode, LiveFile, Options, ReadOptions};

use crate::codec::varint;
use crate::error::{Error, Result};
use crate::fail;
use crate::store::directory::Looked;
use crate::store::failure::{failure, table_named};
use crate::store::families::Family;
use crate::store::log;
use crate::store::rocks::Rocks;

/// Memory for blocks.
const CACHE_BYTES: usize = 128 << 20;

/// Fields of an edit in RocksDB's manifest, by its numbers.
const DELETED_FILE: u64 = 6;
const FAMILY: u64 = 200;
const FORGOTTEN_LOGS: u64 = (1 << 13) + 8;

/// A sorted file of which nothing can be read.
pub(crate) struct LostTable {
    pub(crate) family: Family,
    pub(crate) name: String,
    /// Rows in it, as the manifest says.
    pub(crate) rows: u64,
}

/// What is done with a key and its value.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Where reading could not go on, in words without keys.
pub(crate) struct Gap(pub(crate) String);

/// A database that may be damaged, open for reading alone.
pub(crate) struct Wreck {
    rocks: Rocks,
    lost_tables: Vec<LostTable>,
    log_damage: Option<String>,
    // Dropped last: nobody may open the store meanwhile.
    _directory: Looked,
}

impl Wreck {
    /// Opens the store at `path`. `shadow`, an empty directory, is filled.
    ///
    /// # Errors
    /// `Busy` when somebody has the store open; `Corrupt` or `Io` when RocksDB's own manifest cannot be read.
    pub(crate) fn open(path: &Path, allow_open: bool, shadow: &Path) -> Result<Wreck> {
        let directory = Looked::acquire(path, allow_open)?;
        let database = directory.database();
        let (manifest, log_damage) = cast(&database, shadow)?;
        let mut lost_tables: Vec<LostTable> = Vec::new();
        fs::write(shadow.join(&manifest.0), &manifest.1)?;
        let log_damage = match log_damage {
            None => lost_log(shadow),
            damage => damage,
        };
        let mut edited = manifest.1.clone();
        log::append(&mut edited, &forget_logs());
        loop {
            fs::write(shadow.join(&manifest.0), &edited)?;
            let rocks = open_shadow(shadow)?;
            let spoilt = spoilt_tables(&rocks, &database)?;
            if spoilt.is_empty() {
                return Ok(Wreck { rocks, lost_tables, log_damage, _directory: directory });
            }
            for file in spoilt {
                let (family, edit) = strike(&file)?;
                log::append(&mut edited, &edit);
                let name = file.name.trim_start_matches('/').to_owned();
                lost_tables.push(LostTable { family, name, rows: file.num_entries });
            }
        }
    }

    /// Sorted files of which nothing can be read.
    pub(crate) fn lost_tables(&self) -> &[LostTable] {
        &self.lost_tables
    }

    /// Where the write-ahead log is damaged before its end.
    pub(crate) fn log_damage(&self) -> Option<&str> {
        self.log_damage.as_deref()
    }

    fn handle(&self, family: Family) -> &rocksdb::ColumnFamily {
        self.rocks.cf_handle(family.name()).expect("every family is opened with the store")
    }

    /// The value of `key`, if it can be read.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rocks.get_cf(self.handle(family), key).map_err(|cause| failure(cause, family.name()))
    }

    /// Hands over each row in `[from, to)` that can be read, in order, and tells of each place where some cannot.
    /// Of two damaged blocks with a whole one between them, that one may be missed.
    pub(crate) fn scan(
        &self,
        family: Family,
        (from, to): (&[u8], Option<&[u8]>),
        each: &mut Each<'_>,
        gap: &mut dyn FnMut(Gap),
    ) -> Result<()> {
        let mut at = from.to_vec();
        loop {
            let mut iterator = self.iterator(family);
            iterator.seek(&at);
            while let Some((key, value)) = iterator.item() {
                if to.is_some_and(|to| key >= to) {
                    return Ok(());
                }
                each(key, value)?;
                at = [key, &[0]].concat();
                iterator.next();
            }
            let Err(cause) = iterator.status() else { return Ok(()) };
            gap(Gap(place_of(family, &cause)));
            if fail::bug("stop-at-damage") {
                return Ok(());
            }
            match self.behind(family, &at, to) {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    fn iterator(&self, family: Family) -> rocksdb::DBRawIteratorWithThreadMode<'_, Rocks> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        self.rocks.raw_iterator_cf_opt(self.handle(family), options)
    }

    /// The first readable key behind the damage at `at`. Looks further and further ahead until something can be
    /// read, and from there back.
    fn behind(&self, family: Family, at: &[u8], to: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut first_bytes = [0; 16];
        let known = at.len().min(16);
        first_bytes[..known].copy_from_slice(&at[..known]);
        let low = u128::from_be_bytes(first_bytes);
        let mut iterator = self.iterator(family);
        let mut step = 1u128;
        loop {
            let probe = low.checked_add(step).map(u128::to_be_bytes);
            let probe = probe.filter(|probe| to.is_none_or(|to| &probe[..] < to));
            match (&probe, to) {
                (Some(probe), _) => iterator.seek(probe),
                (None, Some(to)) => iterator.seek(to),
                (None, None) => iterator.seek_to_last(),
            }
            if iterator.status().is_ok() {
                break;
            }
            probe?;
            step = step.saturating_add(step / 4 + 1);
        }
        if !iterator.valid() {
            iterator.seek_to_last();
        }
        let mut first = None;
        while let Some(key) = iterator.key().filter(|key| *key > at) {
            first = Some(key.to_vec());
            iterator.prev();
        }
        first
    }
}

/// What RocksDB said, as a place: family, file, byte.
fn place_of(family: Family, cause: &rocksdb::Error) -> String {
    match table_named(cause) {
        Some((name, Some(at))) => format!("{}, {name}, byte {at}", family.name()),
        Some((name, None)) => format!("{}, {name}", family.name()),
        None => family.name().to_owned(),
    }
}

/// The name and the bytes of a manifest.
type Manifest = (String, Vec<u8>);

/// Fills the shadow of a database, but for the manifest: its name and whole bytes come back, and where the log is
/// damaged.
fn cast(database: &Path, shadow: &Path) -> Result<(Manifest, Option<String>)> {
    let mut manifests = BTreeSet::new();
    // What may be a write that was never synced is none.
    let mut damage = match log::damaged_end(database)? {
        Some(_) => None,
        None => log::find_damage(database)?,
    };
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(number) = name.strip_prefix("MANIFEST-").and_then(|number| number.parse::<u64>().ok()) {
            manifests.insert((number, name.to_owned()));
        }
        let is_log = name.ends_with(".log");
        // At such bytes RocksDB would never come to an end.
        if is_log && log::whole(&path).is_err() {
            damage.get_or_insert_with(|| name.to_owned());
        } else if is_log || name.ends_with(".sst") {
            symlink(&path, shadow.join(name))?;
        }
    }
    let current = fs::read_to_string(database.join("CURRENT")).unwrap_or_default();
    let named = manifests.iter().find(|(_, name)| *name == current.trim_end());
    let (_, name) = named.or(manifests.last()).ok_or_else(|| {
        let told = "RocksDB's manifest is gone: nothing tells which file holds what";
        Error::corrupt(told).at(database.display())
    })?;
    let path = database.join(name);
    let mut bytes = fs::read(&path)?;
    bytes.truncate(log::whole(&path)? as usize);
    fs::write(shadow.join("CURRENT"), format!("{name}\n"))?;
    Ok(((name.clone(), bytes), damage))
}

/// The log file that the manifest names and that is gone, or shorter than it was.
fn lost_log(shadow: &Path) -> Option<String> {
    let number = |text: &str, words: &str| {
        let rest = &text[text.find(words)? + words.len()..];
        rest[..rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len())].parse::<u64>().ok()
    };
    let cause = try_shadow(shadow, true).err()?;
    let text = cause.as_ref();
    let gone = number(text, "Missing WAL with log number: ").map(|number| format!("{number:06}.log, which is gone"));
    gone.or_else(|| number(text, "WAL (log number: ").map(|number| format!("{number:06}.log, whose end is gone")))
}

fn open_shadow(shadow: &Path) -> Result<Rocks> {
    try_shadow(shadow, false).map_err(|cause| failure(cause, "open"))
}

/// Opens what is in the shadow; `logs` tells whether those that the manifest names must be there.
fn try_shadow(shadow: &Path, logs: bool) -> std::result::Result<Rocks, rocksdb::Error> {
    let cache = Cache::new_hyper_clock_cache(CACHE_BYTES, 0);
    let mut options = Options::default();
    // Tables that cannot be opened are no reason not to open.
    options.set_paranoid_checks(false);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    options.set_track_and_verify_wals_in_manifest(logs);
    options.set_max_open_files(512);
    let families = Family::all();
    let families = families.map(|family| ColumnFamilyDescriptor::new(family.name(), family.options(&cache)));
    Rocks::open_cf_descriptors_read_only(&options, shadow, families, false)
}

/// Tables of which no row can be read: gone, cut or longer, or with the same failure at both ends.
fn spoilt_tables(rocks: &Rocks, database: &Path) -> Result<Vec<LiveFile>> {
    let mut spoilt = Vec::new();
    for file in rocks.live_files().map_err(|cause| failure(cause, "manifest"))? {
        let name = file.name.trim_start_matches('/').to_owned();
        let length = fs::metadata(database.join(&name)).map(|found| found.len()).ok();
        if length != Some(file.size as u64) {
            spoilt.push(file);
            continue;
        }
        let Some(handle) = rocks.cf_handle(&file.column_family_name) else { continue };
        let failure_at = |key: &Option<Vec<u8>>| {
            let mut iterator = rocks.raw_iterator_cf(handle);
            iterator.seek(key.as_deref().unwrap_or_default());
            let cause = iterator.status().err()?;
            table_named(&cause).filter(|(named, _)| *named == name)
        };
        let first = failure_at(&file.start_key);
        if first.is_some() && first == failure_at(&file.end_key) {
            spoilt.push(file);
        }
    }
    Ok(spoilt)
}

/// The edit after which the manifest asks for no log: those that are there are read, and none is missed. RocksDB
/// 11.8 crashes on reading a list with logs where they are not checked.
fn forget_logs() -> Vec<u8> {
    let (mut all, mut edit) = (Vec::new(), Vec::new());
    varint::put(&mut all, u64::MAX);
    for value in [FORGOTTEN_LOGS, all.len() as u64] {
        varint::put(&mut edit, value);
    }
    edit.extend(all);
    edit
}

/// The edit that strikes a table from the manifest.
fn strike(file: &LiveFile) -> Result<(Family, Vec<u8>)> {
    let odd = || Error::corrupt("a file of no family of ours").at(&file.name);
    let (at, family) =
        Family::all().enumerate().find(|(_, family)| family.name() == file.column_family_name).ok_or_else(odd)?;
    let digits: String = file.name.chars().filter(char::is_ascii_digit).collect();
    let number = digits.parse().map_err(|_| odd())?;
    let mut edit = Vec::new();
    // Families have the numbers in which they were made: behind RocksDB's own, in the order of our table.
    for value in [DELETED_FILE, u64::from(file.level.cast_unsigned()), number, FAMILY, at as u64 + 1] {
        varint::put(&mut edit, value);
    }
    Ok((family, edit))
}
