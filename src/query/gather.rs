//! Reads the events of a stream from wherever they lie.

use smallvec::SmallVec;

use crate::codec::chunk::Scratch;
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::error::{Error, Result};
use crate::model::{Interval, IntervalSet, Timestamp};
use crate::query::filter::Bound;
use crate::query::item::lasts;
use crate::segment::{Lookup, Reading, Segment, View};
use crate::store::{Family, Pinned};
use crate::topology::{LinkView, Reach};

/// The homes where events of the reached entities may lie, ascending. Entities that are reached
/// outside `window` only are passed over.
pub(super) fn homes(reach: &Reach, links: &LinkView<'_>, window: &Interval) -> Result<Vec<u32>> {
    let mut entities: SmallVec<[(u32, &IntervalSet); 8]> = reach
        .entities
        .iter()
        .filter(|reached| reached.when.overlaps(window))
        .map(|reached| (reached.entity, &reached.when))
        .collect();
    entities.sort_unstable_by_key(|(entity, _)| *entity);
    let numbers: SmallVec<[u32; 8]> = entities.iter().map(|(entity, _)| *entity).collect();
    let mut homes = numbers.to_vec();
    for ((_, when), outgoing) in entities.iter().zip(links.outgoing_of(&numbers)?) {
        let placed = outgoing.placements.iter().filter(|placement| {
            let during = placement.during.intersect(window);
            when.overlaps(&during)
        });
        homes.extend(placed.map(|placement| placement.home));
    }
    homes.sort_unstable();
    homes.dedup();
    Ok(homes)
}

/// A row to decode: its segment, its home, and where its bytes are.
pub(super) struct Row<'a> {
    pub(super) segment: &'a Segment,
    pub(super) home: u32,
    pub(super) value: Pinned<'a>,
}

/// Fetches the rows of `homes` from the segments that overlap one of `windows`. No term is held off
/// meanwhile: a disk may take its time.
pub(super) fn fetch<'a>(
    lookup: &'a Lookup,
    view: &'a View,
    homes: &[u32],
    windows: &[Interval],
) -> Result<SmallVec<[Row<'a>; 8]>> {
    let mut wanted: SmallVec<[(&Segment, u32, [u8; 8]); 8]> = SmallVec::new();
    let overlaps = |segment: &Segment| windows.iter().any(|window| segment.overlaps(window));
    for segment in view.segments.iter().filter(|segment| overlaps(segment)) {
        for &home in homes.iter().filter(|&&home| segment.homes.contains(home)) {
            wanted.push((segment, home, key::row(segment.meta.number, home)));
        }
    }
    // Batched reads want ascending keys; merged segments have higher numbers than their neighbours.
    wanted.sort_unstable_by_key(|row| row.2);
    let values = values(lookup, &wanted);
    let rows = wanted.into_iter().zip(values).map(|((segment, home, _), value)| {
        let value = value?.ok_or_else(|| {
            Error::corrupt("row is missing").at(format!("home {home} of segment {}", segment.meta.number))
        })?;
        Ok(Row { segment, home, value })
    });
    rows.collect()
}

/// All events of `rows` and of `homes` in memory that pass `filter` and that `reach` reaches, in no
/// order; an event with several homes comes once for each.
pub(super) fn gather(
    lookup: &Lookup,
    view: &View,
    rows: &[Row<'_>],
    homes: &[u32],
    reach: &Reach,
    filter: &Bound<'_>,
    window: Interval,
) -> Result<Vec<RawEvent>> {
    let mut events: Vec<RawEvent> = Vec::new();
    let mut scratch = Scratch::default();
    let reading = Reading { store: &lookup.store, layouts: filter, during: window, wanted: filter };
    for Row { segment, home, value } in rows {
        segment.read_home(*home, value, &reading, &mut scratch, &mut events)?;
    }
    for (active, bound) in &view.actives {
        for &home in homes {
            use crate::codec::chunk::Wanted;
            let wanted = |event: &RawEvent| filter.wants(event.time, event.shape, event.severity);
            active.read_home(home, *bound, filter, wanted, &mut events)?;
        }
    }
    let mut failure = Ok(());
    events.retain(|event| {
        let inside = is_present(event, reach, &window);
        inside
            && filter.attributes_fit(event).unwrap_or_else(|error| {
                failure = Err(error);
                false
            })
    });
    failure?;
    Ok(events)
}

type Value<'a> = Result<Option<Pinned<'a>>>;

fn values<'a>(lookup: &'a Lookup, wanted: &[(&Segment, u32, [u8; 8])]) -> SmallVec<[Value<'a>; 8]> {
    /// Fewer reads are quicker one by one.
    const BATCH_MIN: usize = 5;
    if wanted.len() < BATCH_MIN {
        return wanted.iter().map(|row| lookup.store.get(Family::Rows, &row.2)).collect();
    }
    lookup.store.get_sorted(Family::Rows, wanted.iter().map(|row| &row.2[..])).into()
}

/// Whether the event is in the stream of the window.
pub(super) fn is_present(event: &RawEvent, reach: &Reach, window: &Interval) -> bool {
    if event.end.is_some() {
        let present = lasts(event).intersect(window);
        let felt = |subject: &u32| reach.get(*subject).is_some_and(|reached| reached.when.overlaps(&present));
        return event.subjects.iter().any(felt);
    }
    let time = Timestamp::from_nanos(event.time);
    let reached = |subject: &u32| reach.get(*subject).is_some_and(|reached| reached.when.contains(time));
    window.contains(time) && event.subjects.iter().any(reached)
}

/// For an event that lasts, the part of its presence during which some path to a subject held;
/// nothing for one that does not.
pub(super) fn felt(event: &RawEvent, reach: &Reach) -> IntervalSet {
    let Some(end) = event.end else { return IntervalSet::new() };
    let lasts = Interval::new(Timestamp::from_nanos(event.time), Timestamp::from_nanos(end));
    event
        .subjects
        .iter()
        .filter_map(|&subject| reach.get(subject))
        .fold(IntervalSet::new(), |felt, reached| felt.union(&reached.when.clip(&lasts)))
}
