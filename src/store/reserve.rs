//! Room on the disk that is kept for the acts that make room.
//!
//! A database that deletes writes first. So a file of zeros holds some room, which is lent to seals, to
//! recovery and to erasing when the disk is full. While it is lent, nothing else may take it: the store
//! is *short*, and commits are refused until the room could be taken again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::store::private;

const RESERVE: &str = "reserve";

/// The room kept in one directory.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    state: Mutex<State>,
    short: AtomicBool,
}

struct State {
    /// Whether the file is there, as far as this process did it.
    kept: bool,
    /// How many may need its room.
    loans: usize,
}

impl Reserve {
    /// Of `bytes` in `directory`; nothing is kept before [`Reserve::keep`].
    pub(super) fn new(directory: &Path, bytes: u64) -> Reserve {
        let state = Mutex::new(State { kept: false, loans: 0 });
        Reserve { path: directory.join(RESERVE), bytes, state, short: AtomicBool::new(false) }
    }

    /// Whether the room is not kept although it is to be.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Acquire)
    }

    /// Takes the room if it is not taken, not on loan, and twice as much is free. Returns whether it is kept.
    pub(super) fn keep(&self) -> Result<bool> {
        let mut state = self.state.lock();
        if !state.kept && state.loans == 0 {
            state.kept = self.take().map_err(|cause| Error::from(cause).at(self.path.display()))?;
        }
        let short = self.bytes > 0 && !state.kept;
        self.short.store(short, Ordering::Release);
        Ok(!short)
    }

    /// Gives the room up until the loan ends, if less than `needed` is free. If there is enough beside it, it is kept
    /// first, so that commits need not wait for the loan's end.
    pub(super) fn lend(&self, needed: u64) -> Result<Loan<'_>> {
        let mut state = self.state.lock();
        let free = self.free()?;
        if !state.kept && state.loans == 0 && free >= needed.saturating_add(self.bytes) {
            state.kept = self.take().map_err(|cause| Error::from(cause).at(self.path.display()))?;
            self.short.store(self.bytes > 0 && !state.kept, Ordering::Release);
        } else if free < needed {
            match fs::remove_file(&self.path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::from(cause).at(self.path.display()));
                }
                _ => state.kept = false,
            }
            self.short.store(self.bytes > 0, Ordering::Release);
        }
        state.loans += 1;
        Ok(Loan(self))
    }

    /// Bytes that are free for this user.
    pub(super) fn free(&self) -> Result<u64> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let found = statvfs(directory).map_err(|cause| Error::from(io::Error::from(cause)).at(directory.display()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn take(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() && found.len() == self.bytes && found.blocks() * 512 >= self.bytes => {
                return Ok(true);
            }
            Ok(_) => fs::remove_file(&self.path)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
        if self.bytes == 0 {
            return Ok(true);
        }
        if self.free().is_ok_and(|free| free / 2 < self.bytes) {
            return Ok(false);
        }
        let file = private::open_file(&self.path).map_err(io::Error::other)?;
        match allocate(&file, self.bytes) {
            Ok(()) => Ok(true),
            Err(cause) => {
                fs::remove_file(&self.path)?;
                let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                if full { Ok(false) } else { Err(cause) }
            }
        }
    }
}

/// Makes the file so long that writing into it takes no room any more. File systems that copy on write
/// or compress keep less than that.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let mut file = file;
            let zeros = [0; 1 << 16];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(zeros.len() as u64);
                file.write_all(&zeros[..now as usize])?;
                left -= now;
            }
            file.sync_data()
        }
        done => done.map_err(io::Error::from),
    }
}

/// The room is given to whoever has this, if it is needed.
#[must_use = "the room is taken back when the loan is dropped"]
pub(crate) struct Loan<'a>(&'a Reserve);

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.0.state.lock().loans -= 1;
        // Without the room the store is short, and whoever wants to commit tries again.
        let _ = self.0.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1 << 20;

    #[test]
    fn the_room_is_really_taken_and_given_back() {
        let place = tempfile::TempDir::new().unwrap();
        let file = place.path().join(RESERVE);
        let reserve = Reserve::new(place.path(), BYTES);
        assert!(reserve.keep().unwrap());
        let found = file.metadata().unwrap();
        assert!(found.len() == BYTES && found.blocks() * 512 >= BYTES, "{} blocks", found.blocks());
        assert_eq!(found.mode() & 0o7777, 0o600);

        let loan = reserve.lend(0).unwrap();
        assert!(file.exists() && !reserve.is_short(), "there is room enough without it");
        let other = reserve.lend(0).unwrap();
        drop(loan);
        assert!(reserve.keep().unwrap() && !reserve.is_short(), "the one that is left does not need it either");
        drop(other);
        let (loan, other) = (reserve.lend(u64::MAX).unwrap(), reserve.lend(u64::MAX).unwrap());
        assert!(!file.exists() && reserve.is_short());
        drop(loan);
        assert!(!reserve.keep().unwrap() && !file.exists(), "somebody still has it");
        drop(other);
        assert!(file.exists() && !reserve.is_short());

        // Given up, and there is room again when the next loan begins.
        drop(reserve.lend(u64::MAX).unwrap());
        fs::remove_file(&file).unwrap();
        let reserve = Reserve::new(place.path(), BYTES);
        reserve.short.store(true, Ordering::Release);
        let loan = reserve.lend(0).unwrap();
        assert!(file.exists() && !reserve.is_short(), "nobody waits for the end of a loan that needs nothing");
        drop(loan);
    }

    #[test]
    fn a_file_that_only_looks_like_the_room_is_replaced() {
        let place = tempfile::TempDir::new().unwrap();
        let (file, reserve) = (place.path().join(RESERVE), Reserve::new(place.path(), BYTES));
        File::create(&file).unwrap().set_len(BYTES).unwrap();
        assert_eq!(file.metadata().unwrap().blocks(), 0, "a hole");
        assert!(reserve.keep().unwrap());
        assert!(file.metadata().unwrap().blocks() * 512 >= BYTES);
        let none = Reserve::new(place.path(), 0);
        assert!(none.keep().unwrap());
        assert!(!file.exists(), "none is kept when none is asked for");
        let (loan, _other) = (none.lend(u64::MAX).unwrap(), none.lend(u64::MAX).unwrap());
        drop(loan);
        assert!(none.keep().unwrap() && !none.is_short(), "what is not wanted is never missing");
    }

    #[test]
    fn more_than_half_of_what_is_free_is_never_taken() {
        let place = tempfile::TempDir::new().unwrap();
        let reserve = Reserve::new(place.path(), u64::MAX / 4);
        assert!(!reserve.keep().unwrap());
        assert!(reserve.is_short() && !place.path().join(RESERVE).exists());
    }
}
