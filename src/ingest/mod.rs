//! The write path: batches in, one outcome a record out, acknowledged after the synced commit;
//! sealing and merging behind it.
//!
//! Three threads serve a store: *commit* (the only one that gives numbers and appends), *seal* and
//! *merge*. Invariants: nothing is visible before it is on the disk as asked for; a batch becomes
//! visible whole, by one replacement of the view; after a failed write nothing is written any more.

mod adopt;
mod background;
mod batch;
mod commit;
mod engine;
mod erase;
mod erased;
mod gate;
mod health;
mod home;
mod links;
mod look;
mod metrics;
mod prepare;
mod recovery;
mod retain;
mod trim;

pub use batch::{Batch, Pending, Receipt};
pub use health::{Health, HealthState};
pub use metrics::{CacheMetrics, Metrics};
pub(crate) use recovery::FORMAT;
pub use recovery::Recovery;

pub(crate) use adopt::{Ledger, adopt_cohort, adopt_names, take_over_ledger};
pub(crate) use commit::Committer;
pub(crate) use engine::{Engine, Request, Settings, Threads};
pub use erase::ErasureReceipt;
pub(crate) use erase::{EXPR_ERASED, erase, erase_pending, on_commit_thread, tells};
#[cfg(test)]
pub(crate) use erase::{Stop, erase_in_part};
pub(crate) use erased::REASON as ERASED;
pub(crate) use erased::adopt_ledger;
pub(crate) use look::look;
pub(crate) use prepare::{Added, prepare};
pub(crate) use retain::retain;
pub use retain::{Retained, Retention};
