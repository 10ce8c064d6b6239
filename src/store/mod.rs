//! RocksDB, and nothing above this folder names it: families and their settings, atomic batches,
//! snapshots that own their database, sorted files written outside and taken in, the directory, its lock
//! and the room kept in it.
//!
//! It knows keys and values as bytes only.

mod aside;
mod beginning;
mod directory;
mod failure;
mod families;
mod gone;
mod log;
mod mend;
pub(crate) mod private;
mod reserve;
mod rocks;
mod snapshot;
mod steady;
mod table;
mod unfinished;
mod wreck;

pub(crate) use beginning::{nearest_existing, sync_names};
pub(crate) use families::Family;
pub(crate) use gone::Range;
pub(crate) use rocks::{Batch, Pinned, Setup, Store};
pub(crate) use snapshot::{Cursor, StoreSnapshot};
pub(crate) use steady::{Captured, capture};
pub(crate) use table::TableWriter;
pub(crate) use unfinished::Target;
pub(crate) use wreck::Wreck;
