//! Sorted files written outside the database, to be taken in whole.

use std::path::PathBuf;

use rocksdb::{Cache, Options, SstFileWriter};
use self_cell::self_cell;

use crate::error::Result;
use crate::store::failure::failure;
use crate::store::families::Family;

type Writer<'a> = SstFileWriter<'a>;

self_cell!(
    struct OwnedWriter {
        owner: Options,
        #[not_covariant]
        dependent: Writer,
    }
);

/// Bytes after which a table goes on in another file.
const FILE_BYTES: u64 = 128 << 20;

/// Writes rows in ascending key order into one or more files.
pub(crate) struct TableWriter {
    family: Family,
    path: PathBuf,
    cache: Cache,
    current: Option<OwnedWriter>,
    finished: Vec<PathBuf>,
}

impl TableWriter {
    pub(super) fn create(family: Family, path: PathBuf, cache: &Cache) -> Result<TableWriter> {
        Ok(TableWriter { family, path, cache: cache.clone(), current: None, finished: Vec::new() })
    }

    /// Appends a row; keys must ascend strictly.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.current.is_none() {
            self.current = Some(self.next_file()?);
        }
        let writer = self.current.as_mut().expect("a file was just opened");
        let family = self.family;
        let size = writer.with_dependent_mut(|_, writer| {
            writer.put(key, value).map_err(|cause| failure(cause, family.name()))?;
            Ok::<u64, crate::Error>(writer.file_size())
        })?;
        if size >= FILE_BYTES { self.close() } else { Ok(()) }
    }

    /// Finishes and syncs the files: none when no row was put.
    pub(crate) fn finish(mut self) -> Result<Vec<PathBuf>> {
        self.close()?;
        Ok(self.finished)
    }

    fn next_file(&mut self) -> Result<OwnedWriter> {
        let path = self.path.with_extension(format!("{}.sst", self.finished.len()));
        let mut options = self.family.options(&self.cache);
        // A sealed file is a bottom file: it is read for as long as it lives.
        options.set_compression_type(self.family.sealed_compression());
        let family = self.family;
        let writer = OwnedWriter::try_new(options, |options| {
            let writer = SstFileWriter::create(options);
            writer.open(&path).map_err(|cause| failure(cause, family.name()))?;
            Ok::<_, crate::Error>(writer)
        })?;
        self.finished.push(path);
        Ok(writer)
    }

    fn close(&mut self) -> Result<()> {
        match self.current.take() {
            Some(mut writer) => writer
                .with_dependent_mut(|_, writer| writer.finish())
                .map_err(|cause| failure(cause, self.family.name())),
            None => Ok(()),
        }
    }
}
