//! Segments without those erased: events of nobody else go, those of others name fewer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::ingest::commit::homes_of_subjects;
use crate::ingest::engine::Engine;
use crate::ingest::erase::{Requests, on_commit_thread};
use crate::ingest::trim::Swap;
use crate::model::Interval;
use crate::segment::{NOWHERE, Reading, Segment, Verdict, View, fingerprint, rewrite, visit_instant, walk};
use crate::store::{Batch, Family};
use crate::topology::LinkView;

/// What an event of others becomes.
struct Stripped {
    subjects: usize,
    context: usize,
    shape: u32,
    /// Where it lies from now on.
    homes: Vec<u32>,
}

/// Events of one segment that name somebody erased, and under which homes each lies.
type Naming = BTreeMap<u128, (RawEvent, Vec<u32>)>;

fn strip(event: &RawEvent, numbers: &HashSet<u32>) -> RawEvent {
    let mut other = event.clone();
    other.subjects.retain(|subject| !numbers.contains(subject));
    other.context.retain(|entity| !numbers.contains(entity));
    other
}

/// Writes every segment that names one of `numbers` again without them.
pub(super) fn write_without(
    engine: &Engine,
    requests: Requests<'_>,
    numbers: &HashSet<u32>,
) -> Result<(Vec<Swap>, Batch)> {
    let (store, terms) = (&engine.lookup.store, &engine.lookup.terms);
    let view = engine.views.load();
    let mut affected: Vec<(Arc<Segment>, Naming)> = Vec::new();
    for segment in view.segments.iter() {
        let naming = naming(engine, segment, numbers)?;
        if !naming.is_empty() {
            affected.push((segment.clone(), naming));
        }
    }
    let shapes = shapes(requests, &affected, numbers)?;
    let links = LinkView::new(&view.snapshot, &engine.lookup.links, view.commit);
    let (mut swaps, mut batch) = (Vec::new(), Batch::default());
    // Events without an id are what they say: none may be there twice.
    let mut contents = HashSet::new();
    let mut plans = Vec::new();
    // Those that may be committed meanwhile, and which they are.
    let (mut nameless, mut places) = (Vec::new(), Vec::new());
    for (segment, naming) in affected {
        let mut plan = Plan { segment, stripped: HashMap::new(), lowest_goes: false };
        // Of two that become the same, the first to arrive stays.
        let mut naming: Vec<_> = naming.into_iter().collect();
        naming.sort_by_key(|(_, (event, _))| event.commit);
        for (print, (event, homes)) in naming {
            let mut other = strip(&event, numbers);
            let wanted = (event.shape, other.subjects.len() as u16, other.context.len() as u16);
            let shape = shapes.get(&wanted).copied().flatten();
            let stays = event.subjects.is_empty() || !other.subjects.is_empty();
            let Some(shape) = shape.filter(|_| stays) else {
                plan.drop(print, event.time);
                continue;
            };
            other.shape = shape;
            if other.id.is_none() {
                if !contents.insert(fingerprint(&other)) || is_stored(engine, &view, &links, &other)? {
                    plan.drop(print, event.time);
                    continue;
                }
                nameless.push(other.clone());
                places.push((plans.len(), print, event.time));
            }
            let homes = homes_left(&other, &homes, &links)?;
            let (subjects, context) = (other.subjects.len(), other.context.len());
            plan.stripped.insert(print, Stripped { subjects, context, shape, homes });
        }
        plans.push(plan);
    }
    if !nameless.is_empty() {
        let stored = on_commit_thread(requests, move |committer| {
            let engine = committer.engine.clone();
            engine.or_poison(committer.expect(&nameless))
        })?;
        for ((plan, print, time), _) in places.into_iter().zip(stored).filter(|(_, stored)| *stored) {
            plans[plan].drop(print, time);
        }
    }
    for Plan { segment, stripped, lowest_goes } in plans {
        let mut judge = |home: u32, event: &RawEvent| {
            if !event.subjects.iter().chain(&event.context).any(|entity| numbers.contains(entity)) {
                return Verdict::Keep;
            }
            match stripped.get(&fingerprint(event)) {
                Some(other) if other.homes.contains(&home) => {
                    let stripped = RawEvent { shape: other.shape, ..strip(event, numbers) };
                    debug_assert_eq!(
                        (stripped.subjects.len(), stripped.context.len()),
                        (other.subjects, other.context)
                    );
                    Verdict::Replace(stripped)
                }
                _ => Verdict::Drop,
            }
        };
        let mut first = segment.meta.first;
        if lowest_goes {
            first = i64::MAX;
            walk(store, terms, &segment, &mut |home, events| {
                let stay = events.iter().filter(|event| !matches!(judge(home, event), Verdict::Drop));
                first = stay.map(|event| event.time).chain([first]).min().unwrap_or(first);
                Ok(())
            })?;
        }
        let number = engine.next_segment.fetch_add(1, Ordering::Relaxed);
        let new = rewrite(store, terms, &segment, (number, first), &mut batch, &mut judge)?;
        swaps.push(Swap { old: segment, new });
    }
    Ok((swaps, batch))
}

/// What becomes of the events of one segment that name somebody erased.
struct Plan {
    segment: Arc<Segment>,
    /// Those that stay for others, by what they were.
    stripped: HashMap<u128, Stripped>,
    /// Whether an event goes from the segment's first instant.
    lowest_goes: bool,
}

impl Plan {
    fn drop(&mut self, print: u128, time: i64) {
        self.stripped.remove(&print);
        self.lowest_goes |= time == self.segment.meta.first;
    }
}

/// The events of a segment that name one of `numbers`: by their homes, and by the books of others.
fn naming(engine: &Engine, segment: &Segment, numbers: &HashSet<u32>) -> Result<Naming> {
    let (store, terms) = (&engine.lookup.store, &engine.lookup.terms);
    let index = Index::open(store, &engine.lookup.pages, &segment.meta)?;
    let mut homes: BTreeSet<u32> = numbers.iter().copied().filter(|&home| segment.homes.contains(home)).collect();
    for slab in segment.slabs() {
        for &number in numbers {
            index.homes_naming(slab, number, |home, _| _ = homes.insert(u32::from(slab) << 16 | u32::from(home)))?;
        }
    }
    let mut found = Naming::new();
    let mut scratch = Scratch::default();
    let mut events = Vec::new();
    for home in homes {
        let value = store.get(Family::Rows, &key::row(segment.meta.number, home))?;
        let value = value.ok_or_else(|| Error::corrupt("row is missing").at(format!("home {home}")))?;
        events.clear();
        {
            let tables = terms.read();
            let reading = Reading { store, layouts: &*tables, during: Interval::ALL, wanted: &Everything };
            segment.read_home(home, &value, &reading, &mut scratch, &mut events)?;
        }
        for event in events.drain(..) {
            if event.subjects.iter().chain(&event.context).any(|entity| numbers.contains(entity)) {
                found.entry(fingerprint(&event)).or_insert_with(|| (event, Vec::new())).1.push(home);
            }
        }
    }
    Ok(found)
}

/// A shape, subjects and context entities.
type Narrower = (u32, u16, u16);

/// The shapes of events without those erased; `None` where there is no room for another shape.
fn shapes(
    requests: Requests<'_>,
    affected: &[(Arc<Segment>, Naming)],
    numbers: &HashSet<u32>,
) -> Result<HashMap<Narrower, Option<u32>>> {
    let mut wanted: BTreeSet<Narrower> = BTreeSet::new();
    for (event, _) in affected.iter().flat_map(|(_, naming)| naming.values()) {
        let other = strip(event, numbers);
        wanted.insert((event.shape, other.subjects.len() as u16, other.context.len() as u16));
    }
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    on_commit_thread(requests, move |committer| {
        let store = &committer.engine.lookup.store;
        let mut batch = Batch::default();
        let mut found = HashMap::new();
        for wanted in wanted {
            let (shape, subjects, context) = wanted;
            let given = committer.numbers.terms.narrower(shape, (subjects, context), store, &mut batch);
            let given = committer.engine.or_poison(given)?;
            found.insert(wanted, given);
        }
        // Before the first row that has them.
        committer.engine.or_poison(store.write(batch, true))?;
        Ok(found)
    })
}

/// Whether an event just like this one is stored.
fn is_stored(engine: &Engine, view: &View, links: &LinkView<'_>, event: &RawEvent) -> Result<bool> {
    let homes = homes_of_subjects(event, links)?;
    let tables = engine.lookup.terms.read();
    let mut found = false;
    let mut seen = |stored: &RawEvent| found |= stored == event;
    visit_instant(&engine.lookup.store, &tables, &view.segments, &homes, event.time, &mut seen)?;
    Ok(found)
}

/// Those of `homes` where readers look for the event by the subjects that it has left: one a subject.
fn homes_left(event: &RawEvent, homes: &[u32], links: &LinkView<'_>) -> Result<Vec<u32>> {
    if event.subjects.is_empty() {
        return Ok(vec![NOWHERE]);
    }
    let mut left = Vec::new();
    for &subject in &event.subjects {
        if homes.contains(&subject) {
            left.push(subject);
            continue;
        }
        let outgoing = links.outgoing_of(&[subject])?;
        let there = outgoing.iter().flat_map(|outgoing| &outgoing.placements).find(|placement| {
            let during = &placement.during;
            let covered = during.from.as_nanos() <= event.time && event.until() <= during.to.as_nanos();
            covered && homes.contains(&placement.home)
        });
        let there = there.ok_or_else(|| Error::corrupt("an event lies where no reader would look for it"))?;
        left.push(there.home);
    }
    left.sort_unstable();
    left.dedup();
    Ok(left)
}
