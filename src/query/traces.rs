//! Looks for bytes in everything that a store holds.

use std::fs;
use std::io::Read;
use std::path::Path;

use memchr::memmem::Finder;

use crate::error::{Error, Result};
use crate::store::{Family, Store};

/// Where [`crate::Db::traces`] found a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traces {
    /// Families with the number of rows whose key or value has it, those without left out.
    pub rows: Vec<(String, u64)>,
    /// Files with the number of times that they have it as they are, by their path within the store. Blocks that
    /// are compressed may hide it; rows tell of those.
    pub files: Vec<(String, u64)>,
    /// Rows looked at.
    pub rows_read: u64,
    /// Bytes of files looked at.
    pub bytes_read: u64,
}

impl Traces {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.files.is_empty()
    }
}

/// Looks for `text` in every row and every file.
pub(crate) fn traces(store: &Store, text: &str) -> Result<Traces> {
    if text.is_empty() {
        return Err(Error::invalid("nothing to look for"));
    }
    let finder = Finder::new(text.as_bytes());
    let mut traces = Traces::default();
    for family in Family::all() {
        let mut cursor = store.cursor(family, true);
        let mut entry = cursor.seek(&[])?;
        let mut found = 0;
        while let Some((key, value)) = entry {
            traces.rows_read += 1;
            found += u64::from(finder.find(key).is_some() || finder.find(value).is_some());
            entry = cursor.advance()?;
        }
        if found > 0 {
            traces.rows.push((family.name().to_owned(), found));
        }
    }
    let mut folders = vec![store.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let (found, bytes) = match search_file(&path, &finder) {
                // Files come and go while the store is open.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                found => found?,
            };
            traces.bytes_read += bytes;
            if found > 0 {
                let inside = path.strip_prefix(store.path()).unwrap_or(&path);
                traces.files.push((inside.display().to_string(), found));
            }
        }
    }
    traces.files.sort_unstable();
    Ok(traces)
}

/// How often a file has the text, and its length.
fn search_file(path: &Path, finder: &Finder<'_>) -> std::io::Result<(u64, u64)> {
    const PIECE: usize = 1 << 20;
    // RocksDB's own lock goes when any descriptor of its file is closed.
    if path.file_name().is_some_and(|name| name == "LOCK" || name == "ofone.lock") {
        return Ok((0, 0));
    }
    let mut file = fs::File::open(path)?;
    let keep = finder.needle().len() - 1;
    let (mut found, mut bytes) = (0, 0);
    let mut piece = Vec::with_capacity(PIECE + keep);
    loop {
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        bytes += read as u64;
        if read == 0 {
            return Ok((found, bytes));
        }
        found += finder.find_iter(&piece).count() as u64;
        // A text that is cut is found with the next piece; what is kept is too short to have it whole.
        piece.drain(..piece.len().saturating_sub(keep));
    }
}
