//! The folder: adding a backup, listing, verifying, dropping old ones.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3Default;

use crate::backup::manifest::{Entry, Manifest};
use crate::codec::key;
use crate::codec::record::{self, LogRow};
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::model::Timestamp;
use crate::segment::{commit_wall, load_manifest};
use crate::store::private::Locked;
use crate::store::{Captured, Family, Setup, Store, StoreSnapshot, capture, nearest_existing, private, sync_names};
use std::sync::Arc;

/// Says what the folder is, and is locked while backups come or go.
const MARKER: &str = "ofone-backups";
const MARK: &str = "ofone backups 1\n";
/// Bytes of files, under their hashes.
const FILES: &str = "files";
/// A backup that is being tried, as links to its files.
const TRIAL: &str = "trial";
const ENDING: &str = ".backup";
/// What is not whole yet.
const HALF_DONE: &str = ".tmp";
/// Beside a stored file of which a byte was found wrong.
const SPOILT: &str = ".spoilt";
/// Longest list of a backup.
const LIST_BYTES_MAX: u64 = 256 << 20;
/// Memory for blocks while a copy is tried.
const TRIAL_CACHE_BYTES: usize = 8 << 20;

/// A directory that holds backups of one store or of several.
///
/// ```
/// # fn main() -> ofone::Result<()> {
/// use ofone::{Db, Options, backup::BackupFolder};
/// # let place = std::env::temp_dir().join(format!("ofone-backup-doc-{}", std::process::id()));
/// let db = Db::open(place.join("store"), Options::new())?;
/// let folder = BackupFolder::at(place.join("backups"));
/// let backup = db.backup(&folder)?;
/// folder.restore(Some(backup.id), place.join("copy"))?;
/// folder.keep(7)?;
/// # drop(db);
/// # std::fs::remove_dir_all(place).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BackupFolder {
    path: PathBuf,
    allow_open: bool,
}

/// One backup in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// From 1, in the order of taking; never given again while a later one is there.
    pub id: u64,
    /// The last commit in it: it has all up to this one and nothing of a later one.
    pub commit: u64,
    /// When that commit was written; `None` for a store without commits.
    pub committed: Option<Timestamp>,
    /// When the backup was begun. Whoever was erased before is not in it; their name may be, until the store was
    /// opened once more after the erasure.
    pub taken: Timestamp,
    /// Files of the store.
    pub files: u64,
    /// Bytes of the store.
    pub bytes: u64,
    /// Bytes that the folder did not have before.
    pub added: u64,
}

/// What is in a folder.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct BackupList {
    /// Oldest first.
    pub backups: Vec<Backup>,
    /// Lists that cannot be read, each with its place. The files of a folder that has one are never dropped.
    pub damaged: Vec<Error>,
}

impl From<&Manifest> for Backup {
    fn from(manifest: &Manifest) -> Backup {
        Backup {
            id: manifest.id,
            commit: manifest.commit,
            committed: manifest.committed,
            taken: manifest.taken,
            files: manifest.files.len() as u64,
            bytes: manifest.files.iter().map(|entry| entry.length).sum(),
            added: manifest.added,
        }
    }
}

impl BackupFolder {
    /// The folder at `path`, which need not be there yet. Nothing is touched.
    pub fn at(path: impl Into<PathBuf>) -> BackupFolder {
        BackupFolder { path: path.into(), allow_open: false }
    }

    /// Whether the folder and the store may be open to others than their owner, or another user's. Default:
    /// false; such are refused.
    #[must_use]
    pub fn allow_open_permissions(mut self, allow: bool) -> BackupFolder {
        self.allow_open = allow;
        self
    }

    /// Adds a backup of the store at `store`, whoever has it open and goes on writing. It holds every commit
    /// acknowledged before the call. The folder is made, private to its owner, when there is none.
    ///
    /// # Errors
    /// `NotFound` when there is no store; `Busy` when another backup is being taken into the folder or the store
    /// was never still for a moment in 30 s; `Invalid` when the folder holds something else; `DiskFull`;
    /// `Corrupt` when the copy does not open as a store. Nothing is added then; after an `Io` error of the last
    /// sync the backup may be there, whole.
    ///
    /// Cost: sorted files that the last backups have are not read again; everything else is read and written
    /// once: new files and the log, up to 512 MiB. The log is replayed into as much memory to try the copy.
    /// Damage in the store's files is copied as it is: `check` finds it.
    pub fn add(&self, store: impl AsRef<Path>) -> Result<Backup> {
        let _span = tracing::info_span!("backup").entered();
        let lock = self.lock(true)?;
        let manifests = self.sweep()?;
        let added = self.copy(store.as_ref(), &manifests);
        if added.is_err() {
            // On a full disk too what is no backup is in the way. What cannot be cleared away now the next one does.
            let _ = self.sweep();
        }
        drop(lock);
        added
    }

    /// Copies what none of the last backups has, and lists it, with the folder locked.
    fn copy(&self, store: &Path, manifests: &[Manifest]) -> Result<Backup> {
        let mut known = HashMap::new();
        for entry in manifests.iter().flat_map(|manifest| &manifest.files) {
            known.insert((entry.name.as_str(), entry.length, entry.origin), entry);
        }
        let taken = now();
        let (mut files, mut added) = (Vec::new(), 0);
        for captured in capture(store, self.allow_open)? {
            fail::point("backup.between_files")?;
            let origin = private::origin(&captured.file.metadata()?);
            // Sorted files are written once, so one that looks the same is the same.
            let same = known.get(&(captured.name.as_str(), captured.length, origin));
            let same = same.filter(|entry| entry.name.ends_with(".sst") && self.has(entry));
            files.push(match same {
                Some(&entry) => entry.clone(),
                None => self.store(captured, origin, &mut added)?,
            });
        }
        private::sync_directory(&self.path.join(FILES))?;
        fail::point("backup.before_trial")?;
        let id = self.ids()?.into_iter().max().unwrap_or(0) + 1;
        let mut manifest = Manifest { id, commit: 0, committed: None, taken, added, files };
        (manifest.commit, manifest.committed) = self.try_out(&manifest)?;
        let mut half_done = self.path.join(format!("{id:06}{HALF_DONE}"));
        if fail::bug("list-in-place") {
            half_done = self.list_path(id);
        }
        let mut file = private::new_file(&half_done)?;
        fail::point("backup.during_list")?;
        file.write_all(manifest.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&half_done, self.list_path(id))?;
        fail::point("backup.after_list")?;
        private::sync_directory(&self.path)?;
        Ok(Backup::from(&manifest))
    }

    /// The backups in the folder. What is being taken or was left half-done is none.
    ///
    /// # Errors
    /// `NotFound` when there is no folder, `Invalid` when it is none of backups.
    pub fn list(&self) -> Result<BackupList> {
        self.check_marker()?;
        let mut list = BackupList::default();
        for id in self.ids()? {
            match self.manifest(id) {
                Ok(manifest) => list.backups.push(Backup::from(&manifest)),
                // Dropped meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => list.damaged.push(error),
            }
        }
        Ok(list)
    }

    /// Reads all of a backup and compares it with its hashes.
    ///
    /// # Errors
    /// `Corrupt` with the first file that is missing or differs, which the next backup then copies anew if the store
    /// still has it; `NotFound` when there is no such backup; `Busy` while backups come or go.
    pub fn verify(&self, id: u64) -> Result<Backup> {
        let _lock = self.lock(false)?;
        let manifest = self.manifest(id)?;
        for entry in &manifest.files {
            self.copy_out(entry, &mut std::io::sink()).inspect_err(|error| self.note_spoilt(entry, error))?;
        }
        Ok(Backup::from(&manifest))
    }

    /// Drops all backups but the `newest` last ones, at least 1, and the bytes that none of those needs.
    /// Returns the ids dropped.
    ///
    /// # Errors
    /// `Corrupt` when a list cannot be read: what it needs is unknown. Nothing is dropped then. Otherwise as
    /// [`BackupFolder::verify`].
    pub fn keep(&self, newest: usize) -> Result<Vec<u64>> {
        let _lock = self.lock(true)?;
        let mut ids = self.ids()?;
        for &id in &ids {
            self.manifest(id)?;
        }
        ids.truncate(ids.len().saturating_sub(newest.max(1)));
        for &id in &ids {
            fail::point("keep.between_lists")?;
            fs::remove_file(self.list_path(id))?;
        }
        fail::point("keep.before_sweep")?;
        // A list must not come back once its files are gone.
        private::sync_directory(&self.path)?;
        self.sweep()?;
        Ok(ids)
    }

    /// Whether the folder and stores may be open to others.
    pub(crate) fn allows_open(&self) -> bool {
        self.allow_open
    }

    /// Takes the folder for changing it, or for reading its files.
    pub(super) fn lock(&self, change: bool) -> Result<Locked> {
        if change && fs::symlink_metadata(self.path.join(MARKER)).is_err() {
            let existing = nearest_existing(&self.path);
            private::adopt_directory(&self.path, self.allow_open)?;
            sync_names(&self.path, existing.as_deref())?;
        }
        let path = self.path.join(MARKER);
        let marker = if change {
            if !self.allow_open {
                private::check_private(&self.path, &fs::metadata(&self.path)?)?;
            }
            private::open_file(&path)?
        } else {
            self.check_marker()?;
            private::read_file(&path)?
        };
        let lock = Locked::take(marker, !change).map_err(|cause| Error::from(cause).at(path.display()))?;
        let lock = lock.ok_or_else(|| {
            Error::new(ErrorKind::Busy, "backups come or go in the folder just now").at(self.path.display())
        })?;
        if change {
            let mut marker = lock.file();
            if marker.metadata()?.len() == 0 {
                marker.write_all(MARK.as_bytes())?;
                marker.sync_all()?;
            }
            self.check_marker()?;
            private::make_directory(&self.path.join(FILES))?;
        }
        Ok(lock)
    }

    fn check_marker(&self) -> Result<()> {
        let at = |error: Error| error.at(self.path.display());
        let path = self.path.join(MARKER);
        if fs::symlink_metadata(&self.path).is_err() {
            return Err(at(Error::new(ErrorKind::NotFound, "no folder of backups there")));
        }
        let foreign = || at(Error::invalid("not a folder of backups"));
        let mut text = String::new();
        let file = private::read_file(&path).map_err(|_| foreign())?;
        file.take(MARK.len() as u64 + 1).read_to_string(&mut text).map_err(|_| foreign())?;
        match text.as_str() {
            MARK | "" => Ok(()),
            other if other.starts_with("ofone backups ") => {
                Err(at(Error::new(ErrorKind::Unsupported, "a folder of backups of another version")))
            }
            _ => Err(foreign()),
        }
    }

    /// The numbers of the backups, ascending.
    fn ids(&self) -> Result<Vec<u64>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|cause| Error::from(cause).at(self.path.display()))? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(ENDING)).and_then(|id| id.parse().ok());
            ids.extend(id.filter(|&id| self.list_path(id).file_name() == Some(&name)));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn list_path(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:06}{ENDING}"))
    }

    /// The list of the backup `id`, or of the newest.
    pub(super) fn find(&self, id: Option<u64>) -> Result<Manifest> {
        let id = id.or(self.ids()?.last().copied());
        self.manifest(id.ok_or_else(|| Error::new(ErrorKind::NotFound, "no backup in the folder"))?)
    }

    fn manifest(&self, id: u64) -> Result<Manifest> {
        let path = self.list_path(id);
        if fs::symlink_metadata(&path).is_err() {
            return Err(Error::new(ErrorKind::NotFound, format!("no backup {id}")).at(self.path.display()));
        }
        let damaged =
            |what: &str| Error::corrupt(format!("the list of a backup is damaged: {what}")).at(path.display());
        let mut bytes = Vec::new();
        private::read_file(&path)?.take(LIST_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no text"))?;
        let manifest = Manifest::parse(text, &path)?;
        if manifest.id == id { Ok(manifest) } else { Err(damaged("it is that of another backup")) }
    }

    /// Removes what was left half-done and, when all lists can be read, the bytes that none names.
    fn sweep(&self) -> Result<Vec<Manifest>> {
        let trial = self.path.join(TRIAL);
        if fs::symlink_metadata(&trial).is_ok_and(|found| found.is_dir()) {
            fs::remove_dir_all(trial)?;
        }
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.to_str().is_some_and(|path| path.ends_with(HALF_DONE)) {
                fs::remove_file(path)?;
            }
        }
        for entry in fs::read_dir(self.path.join(FILES))? {
            let entry = entry?;
            // Nobody has the lock but this one, so nobody copies.
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(HALF_DONE)) {
                fs::remove_file(entry.path())?;
            }
        }
        let ids = self.ids()?;
        let manifests: Vec<Manifest> = ids.iter().filter_map(|&id| self.manifest(id).ok()).collect();
        if manifests.len() == ids.len() {
            let needed: HashSet<String> =
                manifests.iter().flat_map(|manifest| manifest.files.iter().map(Entry::stored)).collect();
            for entry in fs::read_dir(self.path.join(FILES))? {
                let entry = entry?;
                let is_needed = |name: &str| needed.contains(name.strip_suffix(SPOILT).unwrap_or(name));
                if !entry.file_name().to_str().is_some_and(is_needed) {
                    fail::point("sweep.between_files")?;
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(manifests)
    }

    fn stored_path(&self, entry: &Entry) -> PathBuf {
        self.path.join(FILES).join(entry.stored())
    }

    fn has(&self, entry: &Entry) -> bool {
        let found = fs::symlink_metadata(self.stored_path(entry));
        found.is_ok_and(|found| found.is_file() && found.len() == entry.length)
            && fs::symlink_metadata(self.spoilt_path(entry)).is_err()
    }

    fn spoilt_path(&self, entry: &Entry) -> PathBuf {
        self.path.join(FILES).join(format!("{}{SPOILT}", entry.stored()))
    }

    /// Has the next backup copy a file anew of which a byte is wrong; then the older ones that share it are whole
    /// again. In a folder that may not be written it cannot.
    fn note_spoilt(&self, entry: &Entry, error: &Error) {
        if error.kind() == ErrorKind::Corrupt {
            let _ = private::new_file(&self.spoilt_path(entry));
        }
    }

    /// Copies a file of a store into the folder.
    fn store(&self, captured: Captured, origin: [i128; 3], added: &mut u64) -> Result<Entry> {
        let half_done = self.path.join(FILES).join(format!("{}{HALF_DONE}", captured.name));
        let mut copy = private::new_file(&half_done)?;
        let (length, hash) = pass(captured.file.take(captured.length), &mut copy)?;
        if length != captured.length {
            let told = "a file of the store became shorter while it was copied";
            return Err(Error::new(ErrorKind::Io, told).at(captured.name));
        }
        copy.sync_all()?;
        fail::point("backup.after_copy")?;
        let entry = Entry { name: captured.name, length, hash, origin };
        if !self.has(&entry) {
            *added += length;
        }
        // In place of what has the name: this copy was read just now.
        fs::rename(half_done, self.stored_path(&entry))?;
        match fs::remove_file(self.spoilt_path(&entry)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause.into()),
            _ => Ok(entry),
        }
    }

    /// Passes the bytes of a stored file on, and fails unless they are those that were stored.
    pub(super) fn copy_out(&self, entry: &Entry, out: &mut impl Write) -> Result<()> {
        let path = self.stored_path(entry);
        let damaged = |what: &str| Error::corrupt(format!("{what} (`{}` of the store)", entry.name)).at(path.display());
        if !fs::symlink_metadata(self.path.join(FILES)).is_ok_and(|found| found.is_dir()) {
            return Err(Error::invalid("not a directory; symbolic links are not followed here").at(FILES));
        }
        if fs::symlink_metadata(&path).is_err() {
            return Err(damaged("a file of the backup is missing"));
        }
        let file = private::read_file(&path)?;
        if file.metadata()?.len() != entry.length {
            return Err(damaged("a file of the backup does not have its length"));
        }
        let passed = pass(file.take(entry.length), out)?;
        if passed != (entry.length, entry.hash) && !fail::bug("trust-backup") {
            return Err(damaged("a file of the backup does not have its hash"));
        }
        Ok(())
    }

    /// Opens the copy for reading, and tells its last commit and when that was written.
    fn try_out(&self, manifest: &Manifest) -> Result<(u64, Option<Timestamp>)> {
        let trial = self.path.join(TRIAL);
        let database = make_store(&trial)?;
        for entry in &manifest.files {
            let (from, to) = (self.stored_path(entry), database.join(&entry.name));
            if fs::hard_link(&from, &to).is_err() {
                // Some file systems have no links.
                self.copy_out(entry, &mut private::new_file(&to)?)?;
            }
        }
        private::open_file(&trial.join(private::LOCK_FILE))?;
        let found = last_commit(&trial)?;
        fail::point("backup.during_trial")?;
        fs::remove_dir_all(trial)?;
        Ok(found)
    }
}

/// Makes the directories of a store that is not one yet, for want of a lock file. Returns that of RocksDB.
pub(super) fn make_store(path: &Path) -> Result<PathBuf> {
    let database = path.join(private::DATABASE);
    private::make_directory(path)?;
    private::make_directory(&database)?;
    Ok(database)
}

/// The last commit of the store at `path` and when it was written. Fails when one before it is missing.
pub(super) fn last_commit(path: &Path) -> Result<(u64, Option<Timestamp>)> {
    let setup = Setup {
        create: false,
        allow_open: true,
        cache_bytes: TRIAL_CACHE_BYTES,
        reserve_bytes: 0,
        preallocate: false,
        unfinished: false,
    };
    let store = Arc::new(Store::look(path, setup)?);
    let mut commit = load_manifest(&store)?.trimmed;
    let mut wall = commit_wall(&StoreSnapshot::new(store.clone()), commit)?;
    let mut cursor = store.cursor(Family::Log, true);
    let mut entry = cursor.seek(&key::log(0, 0))?;
    while let Some((key, value)) = entry {
        let (_, next) = key::parse_log(key)?;
        if next != commit + 1 {
            return Err(Error::corrupt(format!("commit {} is missing", commit + 1)).at("log"));
        }
        commit = next;
        wall = Some(record::decode::<LogRow>(value).map_err(|error| error.at("log"))?.wall);
        entry = cursor.advance()?;
    }
    Ok((commit, wall.map(Timestamp::from_nanos)))
}

/// Copies all of `from`, and returns the length and the hash of it.
fn pass(mut from: impl Read, to: &mut impl Write) -> Result<(u64, u128)> {
    let (mut hash, mut length) = (Xxh3Default::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((length, hash.digest128()));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        length += read as u64;
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
