//! What shares one write and one sync.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::codec::record::{self, LogRow};
use crate::codec::varint;
use crate::ingest::home::Placed;
use crate::ingest::links::Stated;
use crate::ingest::prepare::Prepared;
use crate::model::Outcome;
use crate::segment::{Appended, Counted, View};
use crate::store::Batch as StoreBatch;
use crate::topology::LinkView;

/// An event on its way into the active segment.
pub(super) struct Staged {
    pub(super) identity: u64,
    pub(super) homes: SmallVec<[u32; 2]>,
    /// Its packed row among the batch's bytes.
    pub(super) packed: Range<usize>,
    pub(super) counted: Counted,
    pub(super) source: u32,
}

/// One batch of a group, staged.
pub(super) struct StagedBatch {
    pub(super) commit: u64,
    pub(super) wall: i64,
    pub(super) packed: Vec<u8>,
    pub(super) events: Vec<Staged>,
    pub(super) outcomes: Vec<Outcome>,
}

/// Identities staged in one group: (identity, batch, event).
pub(super) type GroupIdentities = HashTable<(u64, u32, u32)>;

/// One group on its way to the disk.
pub(in crate::ingest) struct Group<'a> {
    pub(in crate::ingest) view: &'a View,
    pub(super) links: LinkView<'a>,
    pub(in crate::ingest) batch: StoreBatch,
    pub(super) staged: Vec<StagedBatch>,
    pub(super) identities: GroupIdentities,
    /// What it says about links.
    pub(in crate::ingest) stated: Stated,
    /// Entities that something depends on differently from this group on, one for each statement that it stores.
    pub(in crate::ingest) relinked: Vec<u32>,
    /// Subjects placed by this group.
    pub(super) placed: Placed,
    /// Whether an event may have been stored before this group.
    pub(super) some_events: bool,
}

impl Group<'_> {
    /// The commit that is being staged.
    pub(in crate::ingest) fn commit(&self) -> u64 {
        self.staged[self.staged.len() - 1].commit
    }
}

impl Staged {
    pub(super) fn appended<'a>(&'a self, packed: &'a [u8]) -> Appended<'a> {
        Appended {
            identity: self.identity,
            homes: &self.homes,
            packed: &packed[self.packed.clone()],
            counted: self.counted,
        }
    }
}

impl StagedBatch {
    pub(super) fn new(commit: u64, prepared: &Prepared) -> StagedBatch {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let records = prepared.records.len();
        StagedBatch {
            commit,
            wall,
            packed: Vec::with_capacity(prepared.rests.len() + records * 24),
            events: Vec::with_capacity(records),
            outcomes: Vec::with_capacity(records),
        }
    }

    /// The bytes of the batch's row in the log.
    pub(super) fn log_row(&mut self) -> Vec<u8> {
        let several_homes = self.events.iter().any(|event| event.homes.len() != 1);
        let mut lengths = Vec::with_capacity(self.events.len() * 2);
        for event in &self.events {
            varint::put(&mut lengths, event.packed.len() as u64);
        }
        let mut homes = Vec::with_capacity(self.events.len() * 4);
        for event in &self.events {
            if several_homes {
                varint::put(&mut homes, event.homes.len() as u64);
            }
            event.homes.iter().for_each(|home| homes.extend_from_slice(&home.to_le_bytes()));
        }
        let row = LogRow {
            wall: self.wall,
            events: self.events.len() as u32,
            packed: std::mem::take(&mut self.packed),
            lengths,
            homes,
            several_homes,
        };
        let bytes = record::encode(&row);
        self.packed = row.packed;
        bytes
    }
}
