//! Puts rewritten segments in the place of what they were made from.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::codec::record::{Manifest, Totals};
use crate::error::Result;
use crate::ingest::engine::Engine;
use crate::model::Timestamp;
use crate::segment::{
    Counted, Rewritten, Seal, Segment, View, add_totals, adjust_totals, count, doubts_lasts, homes_key, walk,
};
use crate::store::{Batch, Family};

/// A segment and what takes its place.
pub(super) struct Swap {
    pub(super) old: Arc<Segment>,
    pub(super) new: Rewritten,
}

/// Swaps as the manifest and the view take them.
pub(super) struct Swapped {
    /// The number of each old segment, and its successor.
    segments: Vec<(Arc<Segment>, Option<Arc<Segment>>)>,
    seals_forgotten: Vec<Arc<Seal>>,
    seals_new: Vec<Arc<Seal>>,
}

/// What is counted of segments, by their numbers.
pub(super) type Counts = HashMap<u32, Totals>;

/// Counts the segments that stay as they are, if listing `swaps` will have to know: so that nobody waits for it
/// then.
pub(super) fn count_ahead(engine: &Engine, swaps: &[Swap]) -> Result<Counts> {
    let effects: Vec<_> = swaps.iter().map(|swap| &swap.new.effect).collect();
    let view = engine.views.load();
    if !doubts_lasts(&view.totals, &effects) {
        return Ok(Counts::new());
    }
    let stays = |segment: &&Arc<Segment>| swaps.iter().all(|swap| !Arc::ptr_eq(&swap.old, segment));
    view.segments.iter().filter(stays).map(|segment| Ok((segment.meta.number, counted(engine, segment)?))).collect()
}

fn counted(engine: &Engine, segment: &Segment) -> Result<Totals> {
    let mut totals = Totals::default();
    walk(&engine.lookup.store, &engine.lookup.terms, segment, &mut |_, events| {
        events.iter().for_each(|event| count(&mut totals, Counted::of(event), event.commit));
        Ok(())
    })?;
    Ok(totals)
}

/// Lists the new segments in the place of the old, takes what went out of the counts, and forgets `seals_forgotten`.
pub(super) fn list(
    engine: &Engine,
    manifest: &mut Manifest,
    batch: &mut Batch,
    swaps: Vec<Swap>,
    seals_forgotten: Vec<Arc<Seal>>,
    mut known: Counts,
) -> Result<Swapped> {
    let store = &engine.lookup.store;
    let mut effects = Vec::new();
    let (mut segments, mut seals_new) = (Vec::new(), Vec::new());
    for Swap { old, new } in swaps {
        let number = old.meta.number;
        let at = manifest.segments.iter().position(|segment| segment.number == number);
        let at = at.expect("nobody else takes segments out of the manifest meanwhile");
        manifest.segments.splice(at..=at, new.segment.iter().map(|(meta, _)| meta.clone()));
        seals_new.extend(new.seal.clone().map(|meta| Arc::new(Seal::new(meta, engine.graveyard.clone()))));
        manifest.seals.extend(new.seal);
        manifest.garbage.push(number);
        batch.delete(store, Family::Meta, &homes_key(number));
        if let Some((meta, _)) = &new.segment {
            known.insert(meta.number, new.effect.kept.clone());
        }
        let successor = new.segment.map(|(meta, homes)| Arc::new(Segment::new(meta, homes, engine.graveyard.clone())));
        segments.push((old, successor));
        effects.push(new.effect);
    }
    manifest.seals.retain(|seal| seals_forgotten.iter().all(|forgotten| forgotten.meta.number != seal.number));
    let listed = manifest.segments.clone();
    let effects: Vec<_> = effects.iter().collect();
    adjust_totals(&mut manifest.totals, &effects, &listed, &mut || {
        let mut totals = Totals::default();
        for meta in &listed {
            match known.get(&meta.number) {
                Some(known) => add_totals(&mut totals, known),
                None => {
                    let segment = Segment::new(meta.clone(), RoaringBitmap::new(), engine.graveyard.clone());
                    add_totals(&mut totals, &counted(engine, &segment)?);
                }
            }
        }
        Ok(totals)
    })?;
    Ok(Swapped { segments, seals_forgotten, seals_new })
}

impl Swapped {
    /// Shows the new segments.
    pub(super) fn show(&self, view: &mut View, manifest: &Manifest) {
        let mut segments = view.segments.to_vec();
        for (old, successor) in &self.segments {
            let at = segments.iter().position(|segment| segment.meta.number == old.meta.number);
            let at = at.expect("nobody else takes segments out of the view meanwhile");
            segments.splice(at..=at, successor.iter().cloned());
        }
        view.segments = Arc::new(segments);
        let stays = |seal: &&Arc<Seal>| self.seals_forgotten.iter().all(|forgotten| !Arc::ptr_eq(forgotten, seal));
        view.seals = Arc::new(view.seals.iter().filter(stays).chain(&self.seals_new).cloned().collect());
        debug_assert!(view.seals.iter().map(|seal| &seal.meta).eq(&manifest.seals));
        view.totals = Arc::new(manifest.totals.clone());
    }

    /// Lets the rows of the old segments and of the seals forgotten go once nobody reads them.
    pub(super) fn retire(self) {
        self.segments.iter().for_each(|(old, _)| old.retire());
        self.seals_forgotten.iter().for_each(|seal| seal.retire());
    }
}

/// The wall clock, in nanoseconds since 1970 UTC.
pub(super) fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_nanos(since.map_or(0, |since| since.as_nanos() as i64))
}
