//! Looking at RocksDB's files while another process writes them.
//!
//! RocksDB changes what its files mean together by an edit at the end of the file that `CURRENT` names:
//! files it will read are there before the edit, files it no longer needs go after it. The write-ahead
//! logs and that file are only ever appended to. So what is read between two looks at their lengths that
//! agree belongs together, and is cut off at one write: nobody has to be stopped for it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::store::directory::Directory;
use crate::store::private;

/// How long to wait for a moment without edits in which all files can be opened. Edits come with flushes,
/// seals and compactions.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A file of a database as it was at one moment: the first `length` bytes of it.
pub(crate) struct Captured {
    pub(crate) name: String,
    /// Open, so that it stays whatever becomes of its name.
    pub(crate) file: File,
    pub(crate) length: u64,
}

/// Opens RocksDB's files of the store at `path` as of one moment: what is in them is the store after
/// one of its writes. Files on their way in or out may be among them; whoever opens a copy drops those.
///
/// # Errors
/// `Busy` when the files never kept still, `NotFound` when there is no database.
pub(crate) fn capture(path: &Path, allow_open: bool) -> Result<Vec<Captured>> {
    let database = &Directory::to_read(path, allow_open)?;
    let captured = steadily(database, PATIENCE, |moment| {
        let mut files = Vec::new();
        for name in names(database)? {
            let is_number = |stem: &str| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
            let belongs = [".sst", ".log"].iter().any(|ending| name.strip_suffix(ending).is_some_and(is_number))
                || [CURRENT, IDENTITY, &moment.edits.0].contains(&name.as_str())
                || name.starts_with("OPTIONS-") && !has_ending(&name, "dbtmp");
            if !belongs {
                continue;
            }
            let file = match private::read_file(&database.join(&name)) {
                // What goes without an edit was of no use any more: edits come before, and begin this again. If the
                // file was of use after all, the copy does not open.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let length = if name == moment.edits.0 { moment.edits.1 } else { file.metadata()?.len() };
            files.push(Captured { name, file, length });
        }
        Ok(files)
    })?;
    captured.ok_or_else(|| never_still(database))
}

pub(super) fn never_still(database: &Path) -> Error {
    Error::new(ErrorKind::Busy, "the store was never still enough to be looked at").at(database.display())
}

const CURRENT: &str = "CURRENT";
const IDENTITY: &str = "IDENTITY";

/// Runs `act` until it ran while nothing was edited; its failures meanwhile do not count. `None` when it never
/// did within about `patience`.
pub(super) fn steadily<R>(
    database: &Path,
    patience: Duration,
    mut act: impl FnMut(&Moment) -> Result<R>,
) -> Result<Option<R>> {
    let begin = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(before) = Moment::of(database)? {
            let outcome = act(&before);
            if Moment::of(database)? == Some(before) {
                return outcome.map(Some);
            }
        }
        if begin.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// What tells whether a database was edited.
#[derive(PartialEq, Eq)]
pub(super) struct Moment {
    /// The file of edits, and its length.
    edits: (String, u64),
    /// The write-ahead logs, and the lengths of all but the newest: only that one may grow.
    logs: Vec<(u64, u64)>,
}

impl Moment {
    /// `None` when files came or went while it was taken.
    fn of(database: &Path) -> Result<Option<Moment>> {
        match Moment::read(database) {
            Ok(moment) => Ok(Some(moment)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && database.join(CURRENT).exists() => {
                match missing_edits(database)? {
                    Some(name) => {
                        Err(Error::corrupt("RocksDB's list of files is gone").at(database.join(name).display()))
                    }
                    None => Ok(None),
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::NotFound, "no store there").at(database.display()))
            }
            Err(cause) => Err(Error::from(cause).at(database.display())),
        }
    }

    fn read(database: &Path) -> io::Result<Moment> {
        let current = fs::read_to_string(database.join(CURRENT))?.trim_end().to_owned();
        if !current.starts_with("MANIFEST-") || current.contains('/') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "CURRENT names no file of edits"));
        }
        let length = |name: &str| Ok::<u64, io::Error>(fs::symlink_metadata(database.join(name))?.len());
        let mut logs = Vec::new();
        for name in names(database)?.iter().filter(|name| has_ending(name, "log")) {
            if let Ok(number) = name.trim_end_matches(".log").parse::<u64>() {
                logs.push((number, length(name)?));
            }
        }
        logs.sort_unstable();
        if let Some(newest) = logs.last_mut() {
            newest.1 = 0;
        }
        Ok(Moment { edits: (current.clone(), length(&current)?), logs })
    }
}

/// The file that `CURRENT` names, if it is gone for good: RocksDB deletes one only after `CURRENT` names the next.
fn missing_edits(database: &Path) -> Result<Option<String>> {
    let named = || fs::read_to_string(database.join(CURRENT)).map(|name| name.trim_end().to_owned());
    let name = named().map_err(|cause| Error::from(cause).at(database.display()))?;
    let gone = fs::symlink_metadata(database.join(&name)).is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound);
    Ok((gone && named().is_ok_and(|again| again == name)).then_some(name))
}

fn names(database: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(database)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}
