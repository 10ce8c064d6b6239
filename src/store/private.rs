//! Files and directories that nobody but their owner can use.
//!
//! Modes are set on what was opened, never left to the umask, and no symbolic link is followed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Makes a directory and those above it that are missing, all with mode 0700.
pub(super) fn make_directories(path: &Path) -> Result<()> {
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
pub(super) fn make_directory(path: &Path) -> Result<()> {
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
pub(super) fn open_file(path: &Path) -> Result<File> {
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
pub(super) fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Takes the rights of group and others from a directory.
pub(super) fn close_to_others(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|cause| Error::from(cause).at(path.display()))
}

/// Refuses a directory that group or others may use, or that neither this user nor the superuser owns:
/// whoever else owns it can change what lies in it.
pub(super) fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<()> {
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
pub(super) fn is_own(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}
