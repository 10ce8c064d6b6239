//! One writer a directory, whatever the spelling of its path.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

const LOCK_FILE: &str = "ofone.lock";

/// Holds a store's directory until dropped.
///
/// The lock is an advisory one on a file of our own, which conflicts between processes and between
/// two handles of one process alike. RocksDB's own lock compares path texts within a process, and
/// is lost when any descriptor of its file is closed.
pub(super) struct DirectoryLock {
    file: File,
    directory: PathBuf,
}

impl DirectoryLock {
    /// Creates the directory when `create` says so, private to its owner, and locks it.
    pub(super) fn acquire(path: &Path, create: bool) -> Result<DirectoryLock> {
        let place = || path.display().to_string();
        if !path.exists() {
            if !create {
                return Err(Error::new(ErrorKind::NotFound, "no store there").at(place()));
            }
            private_directory(path).map_err(|error| error.at(place()))?;
        }
        let directory = fs::canonicalize(path).map_err(|cause| Error::from(cause).at(place()))?;
        let lock = directory.join(LOCK_FILE);
        if !create && !directory.join(super::rocks::DATABASE).exists() {
            return Err(Error::new(ErrorKind::NotFound, "no store there").at(place()));
        }
        if !lock.exists() {
            let occupied = fs::read_dir(&directory).map_err(|cause| Error::from(cause).at(place()))?.next().is_some();
            if occupied {
                return Err(Error::invalid("the directory is not empty and not a store").at(place()));
            }
        }
        let file = private_file(&lock).map_err(|cause| Error::from(cause).at(place()))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { file, directory }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Busy, "another handle has the store open").at(place()))
            }
            Err(fs::TryLockError::Error(cause)) => Err(Error::from(cause).at(place())),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing alone would not do: a process that is being started holds a copy of the descriptor
        // until it runs its program, and the lock with it.
        let _ = self.file.unlock();
    }
}

#[cfg(unix)]
fn private_directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    Ok(fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

#[cfg(not(unix))]
fn private_directory(path: &Path) -> Result<()> {
    Ok(fs::create_dir_all(path)?)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}
