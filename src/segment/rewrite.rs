//! Writes a sealed segment again without some of its events.
//!
//! The same machinery as a merge: one input, walked home by home, and a judge that says of each event whether
//! it stays. Nothing is listed, so a crash leaves rows that nobody reads; the caller lists the new segment
//! in the place of the old one.

use std::collections::HashSet;

use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::chunk::Scratch;
use crate::codec::raw::RawEvent;
use crate::codec::record::{SealMeta, SegmentMeta, ShapeTotals, Totals};
use crate::dictionary::Terms;
use crate::error::{Error, Result};
use crate::segment::active::{Counted, count};
use crate::segment::dedupe::identity;
use crate::segment::merge::Source;
use crate::segment::rows::RowWriter;
use crate::segment::seal::write_filter;
use crate::segment::sealed::{Segment, put_homes};
use crate::store::{Batch, Store};

/// What becomes of one event under one of its homes.
pub(crate) enum Verdict {
    Keep,
    Drop,
    /// It stays as another: of the same time, end and id.
    Replace(RawEvent),
}

/// What a rewriting changes in the counts; an event with several homes counts once.
#[derive(Default)]
pub(crate) struct Effect {
    pub(crate) removed: Totals,
    /// What took the place of some that were removed.
    pub(crate) added: Totals,
    /// Ends and lasts of what stays; its numbers count homes.
    pub(crate) kept: Totals,
}

/// A segment written again, not listed yet.
pub(crate) struct Rewritten {
    /// Nothing when no event stays.
    pub(crate) segment: Option<(SegmentMeta, RoaringBitmap)>,
    /// Identities that are new with it.
    pub(crate) seal: Option<SealMeta>,
    pub(crate) effect: Effect,
}

impl Rewritten {
    /// What is left of a segment of which nothing stays. It is read once, to be counted.
    pub(crate) fn nothing(store: &Store, terms: &Terms, input: &Segment) -> Result<Rewritten> {
        let (mut effect, mut gone) = (Effect::default(), Once::default());
        walk(store, terms, input, &mut |_, events| {
            for event in events.iter().filter(|event| gone.is_first(event)) {
                count(&mut effect.removed, Counted::of(event), event.commit);
            }
            Ok(())
        })?;
        Ok(Rewritten { segment: None, seal: None, effect })
    }
}

/// 128 bits that tell an event of a store from all others of it.
pub(crate) fn fingerprint(event: &RawEvent) -> u128 {
    let mut packed = Vec::new();
    event.pack(&mut packed);
    xxhash_rust::xxh3::xxh3_128(&packed)
}

/// Which events with several subjects were met before, under another home.
#[derive(Default)]
struct Once(HashSet<u128>);

impl Once {
    fn is_first(&mut self, event: &RawEvent) -> bool {
        // One subject has one home.
        event.subjects.len() < 2 || self.0.insert(fingerprint(event))
    }
}

/// Calls `seen` with each home of a segment and its events, in ascending time.
pub(crate) fn walk(
    store: &Store,
    terms: &Terms,
    segment: &Segment,
    seen: &mut dyn FnMut(u32, &[RawEvent]) -> Result<()>,
) -> Result<()> {
    let mut source = Source::open(store, segment)?;
    let mut scratch = Scratch::default();
    let mut events = Vec::new();
    while let Some(home) = source.home {
        events.clear();
        source.take(store, terms, &mut scratch, &mut events)?;
        seen(home, &events)?;
    }
    Ok(())
}

/// Writes `input` again as segment `number`. `first` is the lowest time of what stays; `judge` must say the
/// same of the same event and home whenever it is asked.
///
/// Cost: the segment is read and written once. Memory: 16 bytes and more for each event with several subjects
/// that goes.
pub(crate) fn rewrite(
    store: &Store,
    terms: &Terms,
    input: &Segment,
    (number, first): (u32, i64),
    batch: &mut Batch,
    judge: &mut dyn FnMut(u32, &RawEvent) -> Verdict,
) -> Result<Rewritten> {
    let span = Calendar::span(input.meta.span.low, input.meta.span.high);
    let mut writer = RowWriter::new(store, terms, number, (first, input.meta.first_commit), span)?;
    let mut effect = Effect::default();
    let (mut gone, mut come) = (Once::default(), Once::default());
    let mut renamed = Vec::new();
    let mut until = i64::MIN;
    let mut staying: Vec<RawEvent> = Vec::new();
    walk(store, terms, input, &mut |home, events| {
        staying.clear();
        for event in events {
            let verdict = judge(home, event);
            if !matches!(verdict, Verdict::Keep) && gone.is_first(event) {
                count(&mut effect.removed, Counted::of(event), event.commit);
            }
            let event = match verdict {
                Verdict::Drop => continue,
                Verdict::Keep => event.clone(),
                Verdict::Replace(other) => {
                    // Of one subject, the other homes were dropped.
                    if come.is_first(&other) {
                        count(&mut effect.added, Counted::of(&other), other.commit);
                        if other.id.is_none() {
                            let mut packed = Vec::new();
                            other.pack(&mut packed);
                            renamed.push((identity(None, other.time, 0, &packed), other.time));
                        }
                    }
                    other
                }
            };
            until = until.max(event.until());
            count(&mut effect.kept, Counted::of(&event), event.commit);
            staying.push(event);
        }
        if staying.is_empty() { Ok(()) } else { writer.home(home, &staying) }
    })?;
    let mut written = writer.finish()?;
    written.ingest(store)?;
    let seal = write_filter(store, number, renamed)?;
    let segment = (written.count > 0).then(|| {
        put_homes(store, batch, number, &written.homes);
        let meta = SegmentMeta { number, rows: written.count, first, until, span, ..input.meta.clone() };
        (meta, std::mem::take(&mut written.homes))
    });
    Ok(Rewritten { segment, seal, effect })
}

/// Whether something went that was the latest of all or of its shape, and nothing is known to be as late.
pub(crate) fn doubts_lasts(before: &Totals, effects: &[&Effect]) -> bool {
    let went = effects.iter().any(|effect| effect.removed.events > 0 && effect.removed.last == before.last);
    let stays = effects.iter().any(|effect| effect.kept.events > 0 && effect.kept.last == before.last);
    if went && !stays {
        return true;
    }
    let of = |totals: &Totals, shape: usize| totals.shapes.get(shape).filter(|shape| shape.events > 0).cloned();
    (0..before.shapes.len()).any(|shape| {
        let Some(before) = of(before, shape) else { return false };
        let stays: Vec<ShapeTotals> = effects.iter().filter_map(|effect| of(&effect.kept, shape)).collect();
        let last = stays.iter().any(|shape| shape.last == before.last);
        let commit = stays.iter().any(|shape| shape.last_commit == before.last_commit);
        let mut went = effects.iter().filter_map(|effect| of(&effect.removed, shape));
        went.any(|went| went.last == before.last && !last || went.last_commit == before.last_commit && !commit)
    })
}

/// Takes the effects of rewritings out of the counts. `listed` are the segments that are there afterwards;
/// `recount` tells what is the latest in them, and is asked only when that is in doubt.
pub(crate) fn adjust_totals(
    totals: &mut Totals,
    effects: &[&Effect],
    listed: &[SegmentMeta],
    recount: &mut dyn FnMut() -> Result<Totals>,
) -> Result<()> {
    let fewer = |from: &mut u64, by: u64| {
        *from = from.checked_sub(by).ok_or_else(|| Error::corrupt("fewer events are counted than there were"))?;
        Ok::<(), Error>(())
    };
    let doubted = doubts_lasts(totals, effects);
    for effect in effects {
        let (removed, added) = (&effect.removed, &effect.added);
        fewer(&mut totals.events, removed.events)?;
        fewer(&mut totals.without_customer, removed.without_customer)?;
        for (count, removed) in totals.severities.iter_mut().zip(&removed.severities) {
            fewer(count, *removed)?;
        }
        for (count, removed) in totals.shapes.iter_mut().zip(&removed.shapes) {
            fewer(&mut count.events, removed.events)?;
        }
        totals.events += added.events;
        totals.without_customer += added.without_customer;
        totals.severities.iter_mut().zip(&added.severities).for_each(|(count, added)| *count += added);
        if totals.shapes.len() < added.shapes.len() {
            totals.shapes.resize_with(added.shapes.len(), Default::default);
        }
        for (count, added) in totals.shapes.iter_mut().zip(&added.shapes).filter(|(_, added)| added.events > 0) {
            count.last = if count.events == 0 { added.last } else { count.last.max(added.last) };
            count.last_commit = count.last_commit.max(added.last_commit);
            count.events += added.events;
        }
    }
    if totals.events == 0 {
        *totals = Totals::default();
        return Ok(());
    }
    // A segment tells its lowest time exactly.
    totals.first = listed.iter().map(|segment| segment.first).min().unwrap_or(totals.first);
    totals.shapes.iter_mut().filter(|shape| shape.events == 0).for_each(|shape| *shape = ShapeTotals::default());
    if doubted {
        let counted = recount()?;
        totals.last = counted.last;
        for (shape, counted) in totals.shapes.iter_mut().zip(counted.shapes).filter(|(shape, _)| shape.events > 0) {
            shape.last = counted.last;
            shape.last_commit = counted.last_commit;
        }
    }
    Ok(())
}
