//! Files that RocksDB removed although its manifest names them, put back.
//!
//! A sorted file is taken in by a second name, in RocksDB's directory, and a record in its manifest. When
//! the sync of that record fails, RocksDB removes the second name; yet the record may be there, and then
//! nothing opens or, worse, somebody meets the gap later. But the first name, in the staging directory,
//! stays until the file is taken in for certain, and from it the second can be made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::LiveFile;

use crate::error::Error;
use crate::store::failure::{failure, missing_table};
use crate::store::rocks::Rocks;

/// Opens RocksDB's directory with `open`, in which no file is missing that is staged. Returns how many
/// were put back besides.
///
/// What is put back is what was there: RocksDB holds each file it loads against the identity in its
/// manifest, and refuses another one.
pub(super) fn open_whole(
    database: &Path,
    staging: &Path,
    open: impl Fn() -> Result<Rocks, rocksdb::Error>,
) -> Result<(Rocks, u64), rocksdb::Error> {
    let staged = staged_tables(staging).unwrap_or_default();
    let mut put_back = 0;
    let mut rocks = match open() {
        Err(cause) => {
            let again = missing_table(&cause).and_then(|name| open_with_one_of(&staged, &database.join(name), &open));
            put_back += 1;
            again.ok_or(cause)?
        }
        Ok(rocks) => rocks,
    };
    // Few of the files are loaded when RocksDB opens.
    let missing = if staged.is_empty() { Vec::new() } else { missing_tables(&rocks, database)? };
    for (name, family, bytes) in missing {
        let of_family = |file: &&PathBuf| name_of(file).starts_with(&format!("{family}-"));
        let same = |file: &&PathBuf| file.metadata().is_ok_and(|found| found.len() == bytes);
        if let Some(file) = staged.iter().filter(of_family).find(same)
            && fs::hard_link(file, &name).is_ok()
        {
            put_back += 1;
            drop(rocks);
            rocks = open()?;
        }
    }
    Ok((rocks, put_back))
}

/// Opens with the first of the staged files in the place of `missing` with which that can be done.
fn open_with_one_of(
    staged: &[PathBuf],
    missing: &Path,
    open: impl Fn() -> Result<Rocks, rocksdb::Error>,
) -> Option<Rocks> {
    staged.iter().find_map(|file| {
        fs::hard_link(file, missing).ok()?;
        let opened = open();
        if opened.is_err() {
            let _ = fs::remove_file(missing);
        }
        opened.ok()
    })
}

/// A table of RocksDB's manifest: its path, family and length.
type Table = (PathBuf, String, u64);

fn tables(rocks: &Rocks, database: &Path) -> Result<Vec<Table>, rocksdb::Error> {
    let table =
        |file: LiveFile| (database.join(file.name.trim_start_matches('/')), file.column_family_name, file.size as u64);
    Ok(rocks.live_files()?.into_iter().map(table).collect())
}

/// The tables that RocksDB's manifest has and its directory lacks.
fn missing_tables(rocks: &Rocks, database: &Path) -> Result<Vec<Table>, rocksdb::Error> {
    Ok(tables(rocks, database)?.into_iter().filter(|(name, ..)| !name.exists()).collect())
}

/// Looks whether every table is there and as long as it was. RocksDB does when it loads one, but of many it
/// loads few when it opens.
///
/// # Errors
/// `Corrupt` with the family and the file.
pub(super) fn check_tables(rocks: &Rocks, database: &Path) -> Result<(), Error> {
    let listed = || tables(rocks, database).map_err(|cause| failure(cause, "open"));
    let spoilt = |(name, _, bytes): &Table| fs::metadata(name).map_or(true, |found| found.len() != *bytes);
    let mut doubted = listed()?;
    doubted.retain(spoilt);
    if doubted.is_empty() {
        return Ok(());
    }
    // What a compaction replaced meanwhile is listed no more.
    let listed = listed()?;
    match doubted.into_iter().find(|table| listed.contains(table)) {
        Some((name, family, _)) => {
            let told = "a sorted file is gone, or longer or shorter than it was";
            Err(Error::corrupt(told).at(format!("{family}, {}", name_of(&name))))
        }
        None => Ok(()),
    }
}

/// Sorted files that were written and perhaps not taken in.
fn staged_tables(staging: &Path) -> io::Result<Vec<PathBuf>> {
    let mut tables = Vec::new();
    if fs::symlink_metadata(staging)?.is_dir() {
        for entry in fs::read_dir(staging)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sst") {
                tables.push(path);
            }
        }
    }
    tables.sort();
    Ok(tables)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::store::{Family, Setup, Store};

    fn open(path: &Path) -> crate::Result<Store> {
        Store::open(path, Setup::SMALL)
    }

    /// Takes `count` tables in, of which number 5 then has its name in the staging directory alone, beside
    /// tables that were never taken in.
    fn store(count: u8) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::TempDir::new().unwrap();
        let store = open(place.path()).unwrap();
        let table = |number: u8| {
            let mut table = store.table_writer(Family::Rows, &format!("rows-{number}")).unwrap();
            table.put(&[number], &vec![number; 100 + usize::from(number)]).unwrap();
            table.finish().unwrap()
        };
        let mut fifth = None;
        for number in 0..count {
            store.ingest(Family::Rows, table(number)).unwrap();
            if number == 5 {
                let files = store.rocks.live_files().unwrap();
                let file = files.into_iter().find(|file| file.start_key.as_deref() == Some(&[5]));
                fifth = file.map(|file| store.database.join(file.name.trim_start_matches('/')));
            }
        }
        (200..204).for_each(|number| drop(table(number)));
        drop(store);
        let fifth = fifth.unwrap();
        fs::rename(&fifth, place.path().join("staging/rows-5.0.sst")).unwrap();
        (place, fifth)
    }

    /// With few tables RocksDB does not open, with many it does.
    const COUNTS: [u8; 2] = [8, 60];

    #[test]
    fn a_table_whose_name_rocksdb_removed_gets_it_back_from_where_it_was_staged() {
        for count in COUNTS {
            let (place, _) = store(count);
            for put_back in [1, 0] {
                let store = open(place.path()).unwrap();
                assert_eq!(store.found().put_back, put_back, "{count} tables");
                for number in 0..count {
                    let value = store.get(Family::Rows, &[number]).unwrap();
                    assert_eq!(value.as_deref(), Some(&vec![number; 100 + usize::from(number)][..]));
                }
                assert_eq!(store.get(Family::Rows, &[200]).unwrap().as_deref(), None, "that was never taken in");
                assert_eq!(fs::read_dir(place.path().join("staging")).unwrap().count(), 0);
            }
        }
    }

    #[test]
    fn no_other_table_is_taken_for_one_that_is_missing() {
        for count in COUNTS {
            let (place, missing) = store(count);
            fs::remove_file(place.path().join("staging/rows-5.0.sst")).unwrap();
            let error = open(place.path()).err().expect("it is noticed, however many there are");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            assert!(!missing.exists());
        }
    }

    #[test]
    fn a_table_that_is_cut_is_noticed_when_the_store_is_opened() {
        let (place, fifth) = store(60);
        drop(open(place.path()).unwrap());
        let length = fifth.metadata().unwrap().len();
        fs::OpenOptions::new().write(true).open(&fifth).unwrap().set_len(length - 1).unwrap();
        let error = open(place.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        let name = name_of(&fifth);
        assert_eq!(error.place(), Some(format!("rows, {name}").as_str()));
    }
}
