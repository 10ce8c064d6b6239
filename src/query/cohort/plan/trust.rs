//! Of which customers the places of events may tell too much or too little.
//!
//! Events of a subject that was private to one customer lie under that customer. Whoever wrote a link
//! since that may change who depends on the subject left a note of it; here the notes are looked at.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::query::cohort::effort::Effort;
use crate::query::snapshot::Snapshot;
use crate::topology::{Placement, private};

/// The customers of whom nothing may be concluded from where events lie. Remembered until links change.
pub(super) fn doubted(snapshot: &Snapshot, effort: &Effort) -> Result<Arc<RoaringBitmap>> {
    let commit = snapshot.view.links_commit;
    if let Some(known) = snapshot.lookup.dependents.doubted(commit) {
        return Ok(known);
    }
    let links = snapshot.links_view();
    let mut found = RoaringBitmap::new();
    for subject in crate::topology::suspects(&snapshot.view.snapshot)? {
        effort.go_on()?;
        let dependents = snapshot.lookup.dependents.of(&links, subject, commit)?;
        if subject < FIRST_OTHER {
            // Its own events stay its own; others may feel them too.
            found.extend(dependents.iter().map(|(customer, _)| *customer).filter(|&customer| customer != subject));
            continue;
        }
        let outgoing = links.outgoing_of(&[subject])?;
        let placements: &[Placement] = outgoing.first().map_or(&[], |outgoing| &outgoing.placements);
        if !private(&dependents, placements) {
            found.extend(placements.iter().map(|placement| placement.home));
            found.extend(dependents.iter().map(|(customer, _)| *customer));
        }
    }
    let found = Arc::new(found);
    snapshot.lookup.dependents.remember_doubted(commit, found.clone());
    Ok(found)
}
