//! Runs of events: growing in memory, sealed on disk, merged; and the list of them that a reader sees.
//!
//! A segment's life: [`Active`] takes commits; full, it is frozen and [`seal`]ed: sorted by home and
//! time, written as whole files, listed in the manifest. Neighbouring sealed segments are
//! [`merge`]d, so that a home's events lie in few places however long the history.
//!
//! Invariants: a segment that the manifest does not list does not exist for readers; a listed one
//! never changes. Sealing and merging are deterministic, so doing one again after a crash writes the
//! same keys with the same values. A [`View`] holds all that one reader needs, and is replaced, never edited.

mod active;
mod dedupe;
mod hold;
mod manifest;
mod merge;
mod rewrite;
mod rows;
mod seal;
mod sealed;
mod view;

pub(crate) use active::{Active, Appended, Counted, add_totals, count};
pub(crate) use dedupe::{Dedupe, Known, Match, Seal, identity, indexed_homes, read_known, visit_instant};
pub(crate) use hold::{Graveyard, Leftover};
pub(crate) use manifest::{
    COUNTS, HEADER, MANIFEST, load_counts, load_header, load_manifest, put_counts, put_header, put_manifest,
};
pub(crate) use merge::{merge, pick as pick_merge};
pub(crate) use rewrite::{Rewritten, Verdict, adjust_totals, doubts_lasts, fingerprint, rewrite, walk};
pub(crate) use seal::seal;
pub(crate) use sealed::{Reading, Segment, check_commit_times, commit_wall, homes_key};
pub(crate) use view::{Lookup, View, Views};

/// The home of events that have no subject: nobody's.
pub(crate) const NOWHERE: u32 = u32::MAX;
