//! Names of our own for the files of a database that another process goes on changing.
//!
//! RocksDB opens files by their names, which takes it longer than a busy writer lets them keep still. So
//! names in a directory of our own lead to descriptors that hold the files as they were at one moment: what is
//! open stays, whatever becomes of its name. Files that are still appended to are copied into memory first,
//! as far as they went. A process that is killed leaves links that lead nowhere.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process;

use crate::error::{Error, ErrorKind, Result};
use crate::store::steady::Captured;

/// Where a process finds what it has open.
const DESCRIPTORS: &str = "/proc/self/fd";

/// A directory of such names, removed when dropped. Whatever RocksDB opened by them stays open.
pub(super) struct Aside {
    path: PathBuf,
    files: Vec<File>,
}

impl Aside {
    /// Whether the system has names for what a process has open.
    pub(super) fn is_possible() -> bool {
        cfg!(target_os = "linux") && Path::new(DESCRIPTORS).exists()
    }

    /// Cost: memory for a copy of what is no sorted file, which is the log, at most 512 MiB.
    pub(super) fn of(captured: Vec<Captured>) -> Result<Aside> {
        let mut aside = Aside { path: make_directory()?, files: Vec::new() };
        for Captured { name, file, length } in captured {
            let file = if name.ends_with(".sst") { file } else { copy(&name, file, length)? };
            symlink(format!("{DESCRIPTORS}/{}", file.as_raw_fd()), aside.path.join(name))?;
            aside.files.push(file);
        }
        Ok(aside)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Links that stay lead nowhere.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A new directory that is ours alone.
fn make_directory() -> Result<PathBuf> {
    let place = std::env::temp_dir();
    for number in 0..1_000 {
        let path = place.join(format!("ofone-look-{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(Error::from(cause).at(path.display())),
        }
    }
    Err(Error::new(ErrorKind::Busy, "all names for a look are taken").at(place.display()))
}

/// The first `length` bytes, in memory.
fn copy(name: &str, file: File, length: u64) -> Result<File> {
    let mut copy = file_in_memory(name)?;
    let copied = io::copy(&mut file.take(length), &mut copy)?;
    copy.flush()?;
    if copied != length {
        let told = "a file of the store became shorter while it was copied";
        return Err(Error::new(ErrorKind::Io, told).at(name));
    }
    Ok(copy)
}

#[cfg(target_os = "linux")]
fn file_in_memory(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?))
}

#[cfg(not(target_os = "linux"))]
fn file_in_memory(_name: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use rocksdb::Cache;

    use super::*;
    use crate::store::rocks::{Rocks, open_to_read};
    use crate::store::steady::capture;
    use crate::store::{Batch, Family, Setup, Store};

    fn put(store: &Store, number: u64) {
        let mut batch = Batch::default();
        batch.put(store, Family::Rows, &number.to_be_bytes(), &[7; 100]);
        store.write(batch, false).unwrap();
    }

    fn found(rocks: &Rocks) -> Vec<u64> {
        let mut cursor = rocks.raw_iterator_cf(rocks.cf_handle(Family::Rows.name()).unwrap());
        cursor.seek_to_first();
        let mut numbers = Vec::new();
        while let Some(key) = cursor.key() {
            numbers.push(u64::from_be_bytes(key.try_into().unwrap()));
            cursor.next();
        }
        cursor.status().unwrap();
        numbers
    }

    fn look_aside(path: &Path, captured: Vec<Captured>) -> Vec<u64> {
        let aside = Aside::of(captured).unwrap();
        let rocks = open_to_read(aside.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        let names = aside.path().to_owned();
        drop(aside);
        assert!(!names.exists() && path.exists(), "only the names of our own go");
        found(&rocks)
    }

    #[test]
    fn what_was_captured_stays_as_it_was() {
        let place = tempfile::TempDir::new().unwrap();
        let store = Store::open(place.path(), Setup::SMALL).unwrap();
        (0..100).for_each(|number| put(&store, number));
        store.flush_memtables().unwrap();
        (100..200).for_each(|number| put(&store, number));
        let captured = capture(place.path(), false).unwrap();
        // The log goes on, is done with, and no file of then is left.
        (200..300).for_each(|number| put(&store, number));
        store.flush_memtables().unwrap();
        store.drop_range(Family::Rows, &0u64.to_be_bytes(), &250u64.to_be_bytes()).unwrap();
        store.compact_to_the_bottom(Family::Rows, &[], &[255]);
        assert_eq!(found(&store.rocks), (250..300).collect::<Vec<u64>>());
        assert_eq!(look_aside(place.path(), captured), (0..200).collect::<Vec<u64>>());
    }

    #[test]
    fn a_damaged_list_of_files_is_refused_aside_too() {
        let place = tempfile::TempDir::new().unwrap();
        let store = Store::open(place.path(), Setup::SMALL).unwrap();
        (0..3).for_each(|number| {
            put(&store, number);
            store.flush_memtables().unwrap();
        });
        let captured = capture(place.path(), false).unwrap();
        let list = captured.iter().find(|file| file.name.starts_with("MANIFEST-")).unwrap();
        let path = store.database.join(&list.name);
        let mut bytes = fs::read(&path).unwrap();
        // The upper byte of the first edit's length, behind its checksum.
        bytes[5] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        let aside = Aside::of(captured).unwrap();
        let error = open_to_read(aside.path(), &Cache::new_lru_cache(1 << 20)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.place().unwrap().ends_with(", byte 0"), "{error}");
    }

    #[test]
    fn a_store_that_is_never_still_can_be_looked_at() {
        let place = tempfile::TempDir::new().unwrap();
        let store = Store::open(place.path(), Setup::SMALL).unwrap();
        let (written, looks) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    put(&store, number);
                    written.store(number + 1, Ordering::Release);
                    // An edit each time.
                    store.flush_memtables().unwrap();
                    if looks.load(Ordering::Acquire) == 8 {
                        return;
                    }
                }
            });
            while looks.load(Ordering::Acquire) < 8 {
                let least = written.load(Ordering::Acquire);
                let numbers = look_aside(place.path(), capture(place.path(), false).unwrap());
                let most = written.load(Ordering::Acquire);
                assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
                assert!((least..=most + 1).contains(&(numbers.len() as u64)), "{least}, {}, {most}", numbers.len());
                looks.fetch_add(1, Ordering::Release);
            }
        });
    }
}
