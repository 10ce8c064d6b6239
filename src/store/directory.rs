//! A store's directory: nobody else's, and one handle at a time, whatever the spelling of its path.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::store::private::{self, DATABASE, LOCK_FILE, Locked};
use crate::store::unfinished::check_finished;

/// Files written outside and not yet taken in live here; wiped at open, once nothing is missing.
const STAGING: &str = "staging";

/// Holds a store's directory until dropped.
///
/// Two locks, since each lacks something: a table of this process, which knows directories by device
/// and inode; and an advisory lock on a file of our own, which other processes meet. RocksDB's own
/// lock compares path texts within a process, and is lost when any descriptor of its file is closed;
/// it still guards the store when somebody puts another file in the place of ours.
pub(super) struct Directory {
    path: PathBuf,
    _lock: Locked,
    // Given up after the lock on the file.
    _claim: Claim,
    // Open, so that while the claim stands no other directory gets this one's inode.
    _held: File,
}

impl Directory {
    /// Locks the directory at `path`. With `create` it is made when there is none, and an empty one of
    /// this user becomes a store and private. One that others may use is refused unless `allow_open`.
    pub(super) fn acquire(path: &Path, create: bool, allow_open: bool) -> Result<Directory> {
        if !path.exists() {
            if !create {
                return Err(absent(path));
            }
            private::make_directories(path)?;
        }
        let failed = |cause| Error::from(cause).at(path.display());
        let path = fs::canonicalize(path).map_err(failed)?;
        if !create && !path.join(DATABASE).exists() {
            return Err(absent(&path));
        }
        let held = File::open(&path).map_err(failed)?;
        let metadata = || held.metadata().map_err(failed);
        let claim = Claim::of(private::identity(&metadata()?)).ok_or_else(|| busy("this", &path))?;
        let lock = path.join(LOCK_FILE);
        if !is_there(&lock) {
            check_empty(&path)?;
            if !allow_open && private::is_own(&metadata()?) {
                private::close_to_others(&path)?;
                // Nobody can have put anything in behind the first look and stay there unseen.
                check_empty(&path)?;
            }
        }
        if !allow_open {
            private::check_private(&path, &metadata()?)?;
        }
        let taken = Locked::take(private::open_file(&lock)?, false);
        let taken = taken.map_err(|cause| Error::from(cause).at(lock.display()))?;
        let taken = taken.ok_or_else(|| busy("another", &path))?;
        let directory = Directory { path, _lock: taken, _claim: claim, _held: held };
        private::make_directory(&directory.database())?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where RocksDB's files are in the store at `path`, without a lock and for reading alone.
    pub(super) fn to_read(path: &Path, allow_open: bool) -> Result<PathBuf> {
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => absent(path),
            _ => Error::from(cause).at(path.display()),
        };
        let path = fs::canonicalize(path).map_err(failed)?;
        let database = path.join(DATABASE);
        if !fs::symlink_metadata(&database).map_err(failed)?.is_dir() || !is_there(&path.join(LOCK_FILE)) {
            return Err(absent(&path));
        }
        if !allow_open {
            private::check_private(&path, &fs::metadata(&path).map_err(failed)?)?;
        }
        check_finished(&path)?;
        Ok(database)
    }

    /// Where RocksDB's files are.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Where files on their way in are.
    pub(super) fn staging(&self) -> PathBuf {
        self.path.join(STAGING)
    }

    /// Makes the directory for files on their way in anew, and tells how many were left in it.
    pub(super) fn wipe_staging(&self) -> Result<u64> {
        let staging = self.staging();
        let mut left = 0;
        if is_there(&staging) {
            if fs::symlink_metadata(&staging)?.is_dir() {
                left = fs::read_dir(&staging)?.count() as u64;
                fs::remove_dir_all(&staging)?;
            } else {
                fs::remove_file(&staging)?;
            }
        }
        private::make_directory(&staging)?;
        Ok(left)
    }
}

/// Holds a store's directory as it is, until dropped: nobody opens it meanwhile, and nothing in it is written.
pub(super) struct Looked {
    path: PathBuf,
    _lock: Option<Locked>,
    _claim: Claim,
    _held: File,
}

impl Looked {
    /// Locks the directory at `path`, as far as it has a file to lock.
    pub(super) fn acquire(path: &Path, allow_open: bool) -> Result<Looked> {
        let failed = |cause| Error::from(cause).at(path.display());
        if !path.join(DATABASE).is_dir() {
            return Err(absent(path));
        }
        let path = fs::canonicalize(path).map_err(failed)?;
        let held = File::open(&path).map_err(failed)?;
        let metadata = held.metadata().map_err(failed)?;
        let claim = Claim::of(private::identity(&metadata)).ok_or_else(|| busy("this", &path))?;
        if !allow_open {
            private::check_private(&path, &metadata)?;
        }
        let lock = path.join(LOCK_FILE);
        // Anything but a file is no lock of ours.
        let taken = match fs::symlink_metadata(&lock) {
            Ok(found) if found.is_file() => {
                let taken = Locked::take(File::open(&lock).map_err(failed)?, false);
                let taken = taken.map_err(|cause| Error::from(cause).at(lock.display()))?;
                Some(taken.ok_or_else(|| busy("another", &path))?)
            }
            _ => None,
        };
        Ok(Looked { path, _lock: taken, _claim: claim, _held: held })
    }

    /// Where RocksDB's files are.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }
}

/// Whether anything has this name, a link to nowhere included.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn check_empty(path: &Path) -> Result<()> {
    match fs::read_dir(path).map_err(|cause| Error::from(cause).at(path.display()))?.next() {
        None => Ok(()),
        Some(_) => Err(Error::invalid("the directory is not empty and not a store").at(path.display())),
    }
}

fn absent(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, "no store there").at(path.display())
}

fn busy(whose: &str, path: &Path) -> Error {
    Error::new(ErrorKind::Busy, format!("{whose} process has the store open")).at(path.display())
}

/// Directories that this process has open, by device and inode.
static OPEN: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// The place of one directory in the table of this process.
struct Claim((u64, u64));

impl Claim {
    fn of(identity: (u64, u64)) -> Option<Claim> {
        let mut open = OPEN.lock();
        if open.contains(&identity) {
            return None;
        }
        open.push(identity);
        Some(Claim(identity))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        OPEN.lock().retain(|identity| *identity != self.0);
    }
}
