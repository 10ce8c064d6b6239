//! Whether a store is well.

use std::sync::Arc;

use crate::error::Error;

/// How a store is, in a word; the worst that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HealthState {
    /// All is well.
    Good,
    /// Everything works, but something stays behind: look again later, or, for failures of the storage engine in
    /// the background and erasures that a reader held back, after the store was opened again.
    Lagging,
    /// What is left of the disk is kept for making room. Reads work; commits fail with `DiskFull` until
    /// there is room.
    Full,
    /// An earlier write failed. Reads work; commits fail with `Poisoned` until the store is reopened.
    Poisoned,
}

/// Whether a store is well, and if not, why: see [`crate::Db::health`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The first failure that closed the store for writing.
    pub poisoned: Option<Arc<Error>>,
    /// Whether the room kept for a full disk is not there.
    pub short_of_room: bool,
    /// Bytes free on the store's disk for this user.
    pub free_bytes: u64,
    /// Links in quarantine: see [`crate::Snapshot::quarantined`].
    pub links_quarantined: u64,
    /// Full segments that wait to be sealed, or are being sealed.
    pub seals_waiting: usize,
    /// Whether commits wait because too many segments do.
    pub commits_stalled: bool,
    /// Whether the last merge was put off because the disk has no room for it.
    pub merges_put_off: bool,
    /// Flushes and compactions of the storage engine that failed since the store was opened. It tries
    /// again; a failure that lasts fails the next commit.
    pub background_errors: u64,
    /// Erasures that are out of every answer and not yet, as far as is known, out of every file: under way, or
    /// held back by a reader ([`crate::ErasureReceipt::held_back`]).
    pub erasures_unfinished: u64,
}

impl Health {
    /// All of it in a word.
    pub fn state(&self) -> HealthState {
        if self.poisoned.is_some() {
            HealthState::Poisoned
        } else if self.short_of_room {
            HealthState::Full
        } else if self.commits_stalled
            || self.merges_put_off
            || self.background_errors > 0
            || self.erasures_unfinished > 0
        {
            HealthState::Lagging
        } else {
            HealthState::Good
        }
    }
}
