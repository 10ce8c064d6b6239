//! Files and directories that nobody but their owner can use.
//!
//! Modes are set on what was opened, never left to the umask, and no symbolic link is followed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// In a store's directory, what is locked by the process that has the store open.
pub(crate) const LOCK_FILE: &str = "ofone.lock";
/// RocksDB's own files.
pub(crate) const DATABASE: &str = "db";

/// A lock on a file that other processes meet, given up when dropped.
pub(crate) struct Locked(File);

impl Locked {
    /// Alone, or with others who have it shared. `None` when somebody else has it.
    pub(crate) fn take(file: File, shared: bool) -> io::Result<Option<Locked>> {
        match if shared { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => Ok(Some(Locked(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing alone would not do: a process that is being started holds a copy of the descriptor
        // until it runs its program, and the lock with it.
        let _ = self.0.unlock();
    }
}

/// Makes a directory and those above it that are missing, all with mode 0700.
pub(crate) fn make_directories(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| Error::from(cause).at(path.display()))?;
    close_to_others(path)
}

/// Makes a directory with mode 0700, unless one is there.
///
/// # Errors
/// `Invalid` when something else has the name, a symbolic link to a directory included.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid("not a directory; symbolic links are not followed here").at(path.display())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => make_directories(path),
        Err(cause) => Err(Error::from(cause).at(path.display())),
    }
}

/// Opens a file for writing, which is made with mode 0600 when it is not there.
///
/// # Errors
/// `Invalid` when something else than a file has the name, a symbolic link included.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    // A pipe with this name would be waited for for ever.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let odd = || Error::invalid("not a file; symbolic links are not followed here").at(path.display());
    let file = match options.open(path) {
        Ok(file) => file,
        Err(_) if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) => return Err(odd()),
        Err(cause) => return Err(Error::from(cause).at(path.display())),
    };
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(odd());
    }
    Ok(file)
}

/// What tells a file or directory from all others of the system, whatever its name.
pub(crate) fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Takes the rights of group and others from a directory.
pub(crate) fn close_to_others(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|cause| Error::from(cause).at(path.display()))
}

/// Refuses a directory that group or others may use, or that neither this user nor the superuser owns:
/// whoever else owns it can change what lies in it.
pub(crate) fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    let (mode, owner, own) = (metadata.mode() & 0o7777, metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        let told = format!("the directory belongs to user {owner}, this is user {own}; give it away or allow it");
        return Err(Error::invalid(told).at(path.display()));
    }
    if mode & 0o077 != 0 {
        let told = format!("the directory is open to other users (mode {mode:04o}); chmod 700 it or allow it");
        return Err(Error::invalid(told).at(path.display()));
    }
    Ok(())
}

/// Whether this user owns what the metadata describe.
pub(crate) fn is_own(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Opens a file for reading.
///
/// # Errors
/// `Invalid` when something else than a file has the name, a symbolic link included.
pub(crate) fn read_file(path: &Path) -> Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let odd = || Error::invalid("not a file; symbolic links are not followed here").at(path.display());
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => Ok(file),
        Ok(_) => Err(odd()),
        Err(_) if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) => Err(odd()),
        Err(cause) => Err(Error::from(cause).at(path.display())),
    }
}

/// Makes a file that is not there yet, with mode 0600.
pub(crate) fn new_file(path: &Path) -> Result<File> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|cause| Error::from(cause).at(path.display()))
}

/// Makes the directory at `path`, or takes an empty one of this user, private unless others are allowed.
///
/// # Errors
/// `Invalid` when something is in it.
pub(crate) fn adopt_directory(path: &Path, allow_open: bool) -> Result<()> {
    let at = |cause: io::Error| Error::from(cause).at(path.display());
    if !path.exists() {
        return make_directories(path);
    }
    if fs::read_dir(path).map_err(at)?.next().is_some() {
        return Err(Error::invalid("the directory is not empty and not a folder of backups").at(path.display()));
    }
    if !allow_open && is_own(&fs::metadata(path).map_err(at)?) { close_to_others(path) } else { Ok(()) }
}

/// Makes names made and gone in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|cause| Error::from(cause).at(path.display()))
}

/// Gives a directory another name, which nothing may have.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; a directory replaces nothing but an empty one anyway.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to),
        done => done.map_err(io::Error::from),
    };
    renamed.map_err(|cause| Error::from(cause).at(to.display()))
}

/// What changes whenever a file is another one or was written to: device, inode, time of change in
/// nanoseconds.
pub(crate) fn origin(metadata: &fs::Metadata) -> [i128; 3] {
    let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    [i128::from(metadata.dev()), i128::from(metadata.ino()), changed]
}
