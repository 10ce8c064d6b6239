//! From a backup to a store, in a directory that was not there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::backup::folder::{Backup, BackupFolder, last_commit, make_store};
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::store::private::{self, Locked};
use crate::store::{nearest_existing, sync_names};

/// Behind the name of a store, that of the directory in which it is put together.
const UNDER_WAY: &str = ".restoring";
/// In there: locked as long as somebody is at it.
const CLAIM: &str = "claim";
const STORE: &str = "store";

impl BackupFolder {
    /// Makes the store at `store` out of the backup `id`, or of the newest. Every byte is held against its
    /// hash on the way. The store appears whole, by one rename; until then it lies in `store` + `.restoring`,
    /// which the next restore to the same place removes if this one is cut off.
    ///
    /// # Errors
    /// `Invalid` when something has that name already, or the folder is none of backups; `NotFound` when there
    /// is no such backup; `Corrupt` with the place when it is damaged; `Busy` while backups come or go, or
    /// another restore is making this store; `DiskFull`.
    ///
    /// Cost: everything is read and written once, and the log replayed into memory, to try what was made.
    ///
    /// Erasures that the backup does not know of are forgotten; [`crate::Db::restore_erased`] carries them over.
    pub fn restore(&self, id: Option<u64>, store: impl AsRef<Path>) -> Result<Backup> {
        self.restore_and(id, store.as_ref(), |_| Ok(()))
    }

    /// Restores, and does something with the new store before it gets its name.
    pub(crate) fn restore_and(
        &self,
        id: Option<u64>,
        store: &Path,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Backup> {
        let _span = tracing::info_span!("restore", id).entered();
        let _lock = self.lock(false)?;
        let manifest = self.find(id)?;
        if fs::symlink_metadata(store).is_ok() {
            let told = "a store is restored only to where nothing is";
            return Err(Error::invalid(told).at(store.display()));
        }
        let name = store.file_name().ok_or_else(|| Error::invalid("no name for a store").at(store.display()))?;
        let parent = match store.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let existing = nearest_existing(parent);
        if !parent.exists() {
            private::make_directories(parent)?;
        }
        let mut half_done = name.to_owned();
        half_done.push(UNDER_WAY);
        let site = Site::claim(parent.join(half_done))?;
        let made = site.path.join(STORE);
        let database = make_store(&made)?;
        for entry in &manifest.files {
            fail::point("restore.between_files")?;
            let mut file = private::new_file(&database.join(&entry.name))?;
            self.copy_out(entry, &mut file)?;
            file.sync_all()?;
        }
        private::sync_directory(&database)?;
        fail::point("restore.before_lock_file")?;
        // From here on it would open.
        private::open_file(&made.join(private::LOCK_FILE))?.sync_all()?;
        private::sync_directory(&made)?;
        let (commit, _) = last_commit(&made)?;
        if commit != manifest.commit {
            let told = format!("the last commit is {commit}, the backup was of {}", manifest.commit);
            return Err(Error::corrupt(told).at(store.display()));
        }
        finish(&made)?;
        fail::point("restore.before_rename")?;
        private::rename_new(&made, store)?;
        fail::point("restore.after_rename")?;
        sync_names(parent, existing.as_deref())?;
        Ok(Backup::from(&manifest))
    }
}

/// A directory in which a store is put together, removed when dropped.
struct Site {
    path: PathBuf,
    _claim: Locked,
}

impl Site {
    fn claim(path: PathBuf) -> Result<Site> {
        let at = |error: Error| error.at(path.display());
        let claim = path.join(CLAIM);
        let empty = fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none());
        if !empty && fs::symlink_metadata(&claim).is_err() {
            return Err(at(Error::invalid("something else is in the way of a restore")));
        }
        private::make_directory(&path)?;
        // Somebody else may have made it.
        private::check_private(&path, &fs::metadata(&path)?)?;
        let file = private::open_file(&claim)?;
        let taken = Locked::take(file, false).map_err(|cause| at(cause.into()))?;
        let taken = taken.ok_or_else(|| at(Error::new(ErrorKind::Busy, "another process restores this store")))?;
        let left = path.join(STORE);
        if fs::symlink_metadata(&left).is_ok_and(|found| found.is_dir()) {
            fs::remove_dir_all(left)?;
        }
        Ok(Site { path, _claim: taken })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What stays never opens as a store under its name, and the next restore removes it.
        let _ = fs::remove_dir_all(&self.path);
    }
}
