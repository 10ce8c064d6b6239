//! What must hold before RocksDB opens its directory, and after.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// RocksDB's file that tells which other file to begin with.
const FIRST: &str = "CURRENT";

/// Refuses what RocksDB would take for a database not yet begun: it would delete all there is of it.
pub(super) fn check_beginning(database: &Path) -> Result<()> {
    if !database.exists() || database.join(FIRST).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sst" || extension == "log") {
            return Err(Error::corrupt("the file that tells where the database begins is gone").at(FIRST));
        }
    }
    Ok(())
}

/// Whether there is a sorted file of RocksDB, listed or not.
pub(super) fn has_tables(database: &Path) -> Result<bool> {
    for entry in fs::read_dir(database)? {
        if entry?.path().extension().is_some_and(|extension| extension == "sst") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The nearest directory on the way to `path` that is there.
pub(crate) fn nearest_existing(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path.ancestors().find(|path| path.exists())?).ok()
}

/// Makes the names durable under which a store lies, from its directory up to `existing`, which was there
/// before, and that one's own name: RocksDB does so for its own files alone. A directory that may not be
/// read was not made by us.
pub(crate) fn sync_names(directory: &Path, existing: Option<&Path>) -> Result<()> {
    // Of a relative path the last ancestor has no name.
    let canonical = fs::canonicalize(directory).map_err(|cause| Error::from(cause).at(directory.display()))?;
    let directory = canonical.as_path();
    for path in directory.ancestors() {
        let Ok(opened) = fs::File::open(path) else { break };
        opened.sync_all().map_err(|cause| Error::from(cause).at(path.display()))?;
        // The store's own name is always among them: whoever made the directory may not have synced it.
        if path != directory && existing.is_none_or(|existing| existing.starts_with(path)) {
            break;
        }
    }
    Ok(())
}
