//! A directory in which a store is being made that nobody opens before it is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::beginning::{nearest_existing, sync_names};
use crate::store::private;

/// While a file of this name is there, the store is not whole.
const MARK: &str = "unfinished";
/// What is needed while the store is made.
const SCRATCH: &str = "scratch";

/// Refuses a store that a salvage was making when it was cut short.
pub(super) fn check_finished(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path.join(MARK)).is_err() {
        return Ok(());
    }
    let told = "a salvage into this directory did not come to its end; remove the directory and salvage again";
    Err(Error::invalid(told).at(path.display()))
}

/// A directory for a store that does not open until [`Target::finish`].
pub(crate) struct Target {
    path: PathBuf,
    existing: Option<PathBuf>,
    /// Whether the directory was there before.
    was_there: bool,
}

impl Target {
    /// Marks the directory at `path`, which must not be there or be empty, and not lie in `other`.
    ///
    /// # Errors
    /// `Invalid` when there is something in it.
    pub(crate) fn begin(path: &Path, other: &Path) -> Result<Target> {
        let failed = |cause| Error::from(cause).at(path.display());
        let existing = nearest_existing(&std::path::absolute(path).map_err(failed)?);
        if existing
            .as_ref()
            .is_some_and(|existing| fs::canonicalize(other).is_ok_and(|other| existing.starts_with(other)))
        {
            return Err(Error::invalid("a store is not salvaged into itself").at(path.display()));
        }
        let was_there = fs::symlink_metadata(path).is_ok();
        if was_there && (!path.is_dir() || fs::read_dir(path).map_err(failed)?.next().is_some()) {
            return Err(Error::invalid("a store is salvaged into a new or an empty directory").at(path.display()));
        }
        if was_there {
            private::close_to_others(path)?;
        } else {
            private::make_directories(path)?;
        }
        let path = fs::canonicalize(path).map_err(failed)?;
        private::open_file(&path.join(MARK))?.sync_all().map_err(failed)?;
        // What has a lock file is taken for a store, not for somebody else's directory.
        private::open_file(&path.join(private::LOCK_FILE))?;
        File::open(&path).and_then(|directory| directory.sync_all()).map_err(failed)?;
        private::make_directory(&path.join(SCRATCH))?;
        Ok(Target { path, existing, was_there })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory for whatever is not part of the store; gone when it is finished.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.join(SCRATCH)
    }

    /// Takes the mark away: from here on the store opens, also after a power cut.
    pub(crate) fn finish(self) -> Result<()> {
        let failed = |cause| Error::from(cause).at(self.path.display());
        fs::remove_dir_all(self.scratch()).map_err(failed)?;
        sync_names(&self.path, self.existing.as_deref())?;
        fs::remove_file(self.path.join(MARK)).map_err(failed)?;
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// Removes what was made, the mark last.
    pub(crate) fn abandon(self) {
        // The mark stays when something cannot be removed, so that nobody opens what is left.
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let others = entries.map(|entry| entry.path()).filter(|path| *path != self.path.join(MARK));
        let mut removed = others.map(|path| match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        });
        if removed.all(|one| one.is_ok()) {
            let _ = fs::remove_file(self.path.join(MARK));
            if !self.was_there {
                let _ = fs::remove_dir(&self.path);
            }
        }
    }
}
