//! Erasure of a customer: out of every answer in one step, then out of the files.
//!
//! The ledger is written first, so that a crash at any later point is made up for at the next open, before
//! anybody reads. Doing any part again is harmless.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};

use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::codec::record::{self, Counts, Erasure, Manifest, SavedCohort};
use crate::dictionary::parse_name;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::{Predicate, TextTest};
use crate::fail;
use crate::index::Index;
use crate::ingest::commit::{Committer, homes_of_subjects};
use crate::ingest::engine::{Engine, Request};
use crate::ingest::erased::Begun;
use crate::ingest::trim::{self, Swap, Swapped, wall_clock};
use crate::model::limits::HOPS;
use crate::model::{Entity, Interval, Text, Timestamp};
use crate::segment::{NOWHERE, Reading, Segment, Verdict, View, fingerprint, put_counts, rewrite, visit_instant, walk};
use crate::store::{Batch, Family, Store, StoreSnapshot};
use crate::topology::{
    LinkView, Slot, delete_degrees, delete_quarantined, put_quarantined_count, put_suspect, quarantined,
};

/// How long readers of an earlier moment are waited for.
const READERS_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether they are gone.
const READERS_LOOK: Duration = Duration::from_millis(2);
/// What stands for the text of a saved cohort's expression that named somebody erased.
pub(crate) const EXPR_ERASED: &str = "(an expression that named somebody who was erased)";

/// What [`crate::Db::erase`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasureReceipt {
    /// The erasure's number in the store's ledger, from 1.
    pub ledger: u64,
    /// When it was asked for, by the machine's clock.
    pub at: Timestamp,
    /// Entities whose names are gone: the customer, and what belonged to nobody else.
    pub entities: u64,
    /// Statements about links that are gone.
    pub links: u64,
    /// Events that are gone.
    pub events: u64,
    /// Events that stay for others, without who was erased.
    pub events_stripped: u64,
    /// Sealed segments written again.
    pub segments: u64,
    /// Saved cohorts that were changed.
    pub cohorts: u64,
    /// Whether some reader still holds the store as it was, so that its files keep some of it. The rest is done
    /// at the next open.
    pub held_back: bool,
}

pub(super) type Requests<'a> = Option<&'a Sender<Request>>;

/// Has the commit thread do something, and waits for the outcome.
pub(super) fn on_commit_thread<T: Send + 'static>(
    requests: Requests<'_>,
    act: impl FnOnce(&mut Committer) -> Result<T> + Send + 'static,
) -> Result<T> {
    let gone = || Error::new(ErrorKind::Poisoned, "the commit thread is gone; reopen the store");
    let (reply, answer) = bounded(1);
    let act = Box::new(move |committer: &mut Committer| {
        let outcome = committer.engine.check_writable().and_then(|()| act(committer));
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    });
    requests.ok_or_else(gone)?.send(Request::Run(act)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// Erases the customer of this id.
///
/// # Errors
/// `NotFound` when there is no such customer.
pub(crate) fn erase(engine: &Arc<Engine>, requests: Requests<'_>, id: &Text) -> Result<ErasureReceipt> {
    let id = id.clone();
    let (ledger, row) = on_commit_thread(requests, move |committer| begin(committer, &id))?;
    carry_out(engine, requests, ledger, &row)
}

/// Does again what a crash left half done.
pub(crate) fn erase_pending(engine: &Arc<Engine>, requests: Requests<'_>, pending: Vec<Begun>) -> Result<()> {
    pending.into_iter().try_for_each(|(ledger, row)| carry_out(engine, requests, ledger, &row).map(|_| ()))
}

/// Writes the ledger.
fn begin(committer: &mut Committer, id: &Text) -> Result<Begun> {
    let engine = committer.engine.clone();
    let store = &engine.lookup.store;
    let unknown = || Error::new(ErrorKind::NotFound, "no such customer");
    let kind = engine.lookup.terms.read().number_of(&engine.lookup.customer_type).ok_or_else(unknown)?;
    let customer = committer.numbers.names.known(kind, id, store)?.ok_or_else(unknown)?;
    let view = engine.views.load();
    let links = LinkView::new(&view.snapshot, &engine.lookup.links, view.commit);
    let (own, _) = belongings(&links, customer)?;
    let tables = engine.lookup.terms.read();
    let names = own.iter().map(|&number| Ok((number, engine.lookup.names.entity(number, &tables)?)));
    let names = names.collect::<Result<Vec<(u32, Entity)>>>()?;
    drop(tables);
    let mut batch = Batch::default();
    let begun = committer.numbers.erased.begin(wall_clock(), &names, store, &mut batch);
    engine.or_poison(store.write(batch, true))?;
    Ok(begun)
}

/// The customer and what no statement ever linked to from elsewhere; and what else was reached.
fn belongings(links: &LinkView<'_>, customer: u32) -> Result<(Vec<u32>, Vec<u32>)> {
    let mut reached = BTreeSet::from([customer]);
    let mut frontier = vec![customer];
    for _ in 0..HOPS {
        let mut below = Vec::new();
        for entity in frontier {
            links.others(entity, Side::Outgoing, &mut |other| {
                // Another customer, and what is behind, is not this one's.
                if other >= FIRST_OTHER && reached.insert(other) {
                    below.push(other);
                }
                true
            })?;
        }
        frontier = below;
    }
    let mut own = reached.clone();
    loop {
        let mut shared = Vec::new();
        for &entity in own.iter().filter(|&&entity| entity != customer) {
            let mut foreign = false;
            links.others(entity, Side::Incoming, &mut |other| {
                foreign = !own.contains(&other);
                !foreign
            })?;
            if foreign {
                shared.push(entity);
            }
        }
        if shared.is_empty() {
            break;
        }
        shared.iter().for_each(|entity| {
            own.remove(entity);
        });
    }
    let rest = reached.difference(&own).copied().collect();
    own.remove(&customer);
    Ok((std::iter::once(customer).chain(own).collect(), rest))
}

/// The step behind which a test stops, as a crash would.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stop {
    Ledger,
    Rewriting,
    Publication,
}

/// Erases as far as a crash would let it.
#[cfg(test)]
pub(crate) fn erase_in_part(engine: &Arc<Engine>, requests: Requests<'_>, id: &Text, stop: Stop) -> Result<()> {
    let id = id.clone();
    let (ledger, row) = on_commit_thread(requests, move |committer| begin(committer, &id))?;
    let _rewriting = engine.rewriting.lock();
    match stop {
        Stop::Ledger => Ok(()),
        Stop::Rewriting => {
            seal_all(engine, requests)?;
            let numbers = row.numbers.iter().copied().collect();
            write_without(engine, requests, &numbers).map(|_| ())
        }
        Stop::Publication => {
            let mut receipt = ErasureReceipt { ledger, ..ErasureReceipt::default() };
            take_out(engine, requests, &mut receipt, &row).map(|_| ())
        }
    }
}

fn carry_out(engine: &Arc<Engine>, requests: Requests<'_>, ledger: u64, row: &Erasure) -> Result<ErasureReceipt> {
    engine.or_poison(finish(engine, requests, ledger, row))
}

fn finish(engine: &Arc<Engine>, requests: Requests<'_>, ledger: u64, row: &Erasure) -> Result<ErasureReceipt> {
    // Held until the old rows are gone: the thread that drops them would be busy with a merge otherwise.
    fail::point("erase.after_ledger")?;
    let _rewriting = engine.rewriting.lock();
    let _loan = engine.lookup.store.lend_reserve(engine.settings.reserve_bytes)?;
    let mut receipt = ErasureReceipt { ledger, at: Timestamp::from_nanos(row.at), ..ErasureReceipt::default() };
    // An erasure of another store of the same history may mean nobody here.
    if !row.numbers.is_empty() {
        let left = take_out(engine, requests, &mut receipt, row)?;
        fail::point("erase.after_publication")?;
        receipt.held_back = !scrub(engine, left)?;
    }
    fail::point("erase.before_end")?;
    if !receipt.held_back {
        on_commit_thread(requests, move |committer| {
            let mut batch = Batch::default();
            let store = &committer.engine.lookup.store;
            committer.numbers.erased.end(ledger, store, &mut batch);
            committer.engine.or_poison(store.write(batch, true))
        })?;
    }
    Ok(receipt)
}

/// Seals what is in memory: it cannot be written again there, and nothing of the erased comes in any more.
fn seal_all(engine: &Engine, requests: Requests<'_>) -> Result<()> {
    let gone = || Error::new(ErrorKind::Poisoned, "the commit thread is gone; reopen the store");
    let (reply, frozen) = bounded(1);
    requests.ok_or_else(gone)?.send(Request::Freeze { reply }).map_err(|_| gone())?;
    frozen.recv().map_err(|_| gone())?;
    engine.wait_for(|work| work.seals == 0)
}

/// Takes the erased out of every answer, with `Engine::rewriting` held; tells what files may still have of them.
fn take_out(engine: &Arc<Engine>, requests: Requests<'_>, receipt: &mut ErasureReceipt, row: &Erasure) -> Result<Left> {
    seal_all(engine, requests)?;
    let numbers: Arc<HashSet<u32>> = Arc::new(row.numbers.iter().copied().collect());
    let (swaps, batch) = write_without(engine, requests, &numbers)?;
    let segments = swaps.iter().map(|swap| (swap.old.meta.number, Arc::downgrade(&swap.old))).collect();
    for swap in &swaps {
        let effect = &swap.new.effect;
        receipt.events += effect.removed.events - effect.added.events;
        receipt.events_stripped += effect.added.events;
    }
    receipt.segments = swaps.len() as u64;
    let (order, ledger) = (row.numbers.clone(), receipt.ledger);
    fail::point("erase.before_publication")?;
    let known = trim::count_ahead(engine, &swaps)?;
    let published = on_commit_thread(requests, move |committer| {
        let published = publish(committer, &order, &numbers, (swaps, known), batch);
        let published = committer.engine.or_poison(published)?;
        committer.numbers.erased.published(ledger);
        Ok(published)
    })?;
    receipt.entities = published.entities;
    receipt.links = published.links;
    receipt.cohorts = published.cohorts;
    Ok(Left { replaced: segments, ranges: published.traces, sequence: published.sequence })
}

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
fn write_without(engine: &Engine, requests: Requests<'_>, numbers: &HashSet<u32>) -> Result<(Vec<Swap>, Batch)> {
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
    for (segment, naming) in affected {
        let mut stripped: HashMap<u128, Stripped> = HashMap::new();
        let mut lowest_goes = false;
        // Of two that become the same, the first to arrive stays.
        let mut naming: Vec<_> = naming.into_iter().collect();
        naming.sort_by_key(|(_, (event, _))| event.commit);
        for (print, (event, homes)) in naming {
            let mut other = strip(&event, numbers);
            let wanted = (event.shape, other.subjects.len() as u16, other.context.len() as u16);
            let shape = shapes.get(&wanted).copied().flatten();
            let stays = event.subjects.is_empty() || !other.subjects.is_empty();
            let Some(shape) = shape.filter(|_| stays) else {
                lowest_goes |= event.time == segment.meta.first;
                continue;
            };
            other.shape = shape;
            if other.id.is_none()
                && (!contents.insert(fingerprint(&other)) || is_stored(engine, &view, &links, &other)?)
            {
                lowest_goes |= event.time == segment.meta.first;
                continue;
            }
            let homes = homes_left(&other, &homes, &links)?;
            let (subjects, context) = (other.subjects.len(), other.context.len());
            stripped.insert(print, Stripped { subjects, context, shape, homes });
        }
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
            let given = committer.numbers.terms.narrower(shape, (subjects, context), store, &mut batch)?;
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

/// Ranges of keys that hold something of the erased.
type Traces = Vec<(Family, Vec<u8>, Vec<u8>)>;

/// What files may still have of the erased.
struct Left {
    /// Segments that were replaced, each with its number; readers of an earlier moment hold them.
    replaced: Vec<(u32, Weak<Segment>)>,
    ranges: Traces,
    /// The number of the write that took it out of every answer.
    sequence: u64,
}

#[derive(Default)]
struct Published {
    entities: u64,
    links: u64,
    /// Links that others have fewer.
    degrees: BTreeMap<Slot, i64>,
    cohorts: u64,
    traces: Traces,
    sequence: u64,
}

/// The range of one key.
fn only(family: Family, key: &[u8]) -> (Family, Vec<u8>, Vec<u8>) {
    (family, key.to_vec(), [key, &[0]].concat())
}

/// One synced write and one new view: names, links, events, saved cohorts, counts. It is a commit of its own,
/// without records.
fn publish(
    committer: &mut Committer,
    order: &[u32],
    numbers: &HashSet<u32>,
    (swaps, known): (Vec<Swap>, trim::Counts),
    mut batch: Batch,
) -> Result<Published> {
    let engine = committer.engine.clone();
    let store = &engine.lookup.store;
    let view = engine.views.load();
    let commit = view.commit + 1;
    let mut done = Published::default();
    let mut names = Vec::new();
    for &number in order {
        let place = || format!("entity {number}");
        let value = store.get(Family::Numbers, &key::number(number))?;
        let value = value.ok_or_else(|| Error::corrupt("no name").at(place()))?;
        let (kind, id) = parse_name(&value)?;
        if !id.is_empty() {
            names.push((number, kind, id));
        }
    }
    doubt_what_lies_there(&engine, &view, order[0], &mut batch)?;
    let relinked = delete_links(&engine, order, numbers, commit, &mut batch, &mut done)?;
    let in_force = done.links;
    committer.fanout.degrees.shrink(std::mem::take(&mut done.degrees), &view.snapshot, store, &mut batch)?;
    committer.fanout.degrees.forget(|entity| numbers.contains(&entity));
    let quarantined = delete_quarantine(order, numbers, &view.snapshot, store, &mut batch)?;
    if quarantined > 0 {
        let left = committer.fanout.quarantined(&view.snapshot)?.saturating_sub(quarantined);
        committer.fanout.set_quarantined(left);
        put_quarantined_count(left, store, &mut batch);
        done.links += quarantined;
    }
    for &number in order {
        batch.delete(store, Family::Meta, &key::suspect(number));
        delete_degrees(number, store, &mut batch)?;
    }
    for (number, kind, id) in &names {
        committer.numbers.names.take_away(*number, (*kind, id), store, &mut batch);
        let mut name = Vec::new();
        key::name(*kind, id, &mut name);
        done.traces.push(only(Family::Names, &name));
        done.traces.push(only(Family::Numbers, &key::number(*number)));
        done.entities += 1;
    }
    if names.is_empty() {
        // A crash or a reader came after these were deleted; which they were is not known any more. Old rows may
        // lie in one file with others.
        for family in [Family::Names, Family::Numbers, Family::Links, Family::Rows, Family::Index] {
            done.traces.push((family, Vec::new(), vec![0xff; 64]));
        }
    }
    done.cohorts = change_cohorts(&engine, numbers, &names, &mut batch)?;
    done.traces.push((Family::Meta, Vec::new(), vec![0xff; 64]));
    committer.numbers.links -= in_force;
    let counts = Counts { entities: committer.numbers.names.counts().to_vec(), links: committer.numbers.links };
    put_counts(store, &mut batch, &counts);

    let (active, _) = view.actives.last().expect("a view has an active segment").clone();
    let wall = wall_clock().as_nanos();
    committer.put_empty_commit(&active, commit, wall, &mut batch);
    let swapped = OnceCell::new();
    let change = |manifest: &mut Manifest, batch: &mut Batch| {
        let _ = swapped.set(trim::list(&engine, manifest, batch, swaps, Vec::new(), known)?);
        Ok(())
    };
    engine.write_manifest(batch, change, |view, manifest| {
        active.append(commit, wall, std::iter::empty());
        swapped.get().into_iter().for_each(|swapped: &Swapped| swapped.show(view, manifest));
        view.commit = commit;
        view.links_commit = commit;
        done.sequence = store.latest_sequence();
        view.snapshot = Arc::new(StoreSnapshot::new(store.clone()));
        view.erased = Arc::new(view.erased.iter().chain(order.iter().copied()).collect());
    })?;
    for (number, kind, id) in &names {
        engine.lookup.names.forget(*number, (*kind, id));
    }
    relinked.into_iter().chain(order.iter().copied()).for_each(|entity| committer.homes.forget(entity));
    committer.homes.forget_home(order[0]);
    swapped.into_inner().into_iter().for_each(Swapped::retire);
    Ok(done)
}

/// Notes every entity of others whose events may lie under the customer as a suspect.
fn doubt_what_lies_there(engine: &Engine, view: &View, customer: u32, batch: &mut Batch) -> Result<()> {
    let links = LinkView::new(&view.snapshot, &engine.lookup.links, view.commit);
    let (_, shared) = belongings(&links, customer)?;
    for (entity, outgoing) in shared.iter().zip(links.outgoing_of(&shared)?) {
        if outgoing.placements.iter().any(|placement| placement.home == customer) {
            put_suspect(&engine.lookup.store, batch, *entity);
        }
    }
    Ok(())
}

/// Deletes every row that names one of the entities, and tells on whom something depends differently now.
fn delete_links(
    engine: &Engine,
    order: &[u32],
    numbers: &HashSet<u32>,
    commit: u64,
    batch: &mut Batch,
    done: &mut Published,
) -> Result<BTreeSet<u32>> {
    let store = &engine.lookup.store;
    let mut relinked = BTreeSet::new();
    let mut cursor = store.cursor(Family::Links, false);
    for &number in order {
        let before = done.links;
        let prefix = key::number(number);
        let mut entry = cursor.seek(&prefix)?;
        while let Some((key, _)) = entry.filter(|(key, _)| key.starts_with(&prefix)) {
            let link = LinkKey::decode(key)?;
            batch.delete(store, Family::Links, key);
            let inside = numbers.contains(&link.other);
            let side = match link.side {
                Side::Outgoing => Some(Side::Incoming),
                Side::Incoming => Some(Side::Outgoing),
                Side::Placement => None,
            };
            if let Some(side) = side {
                let mirror = LinkKey { entity: link.other, side, other: number, ..link };
                let retraction = LinkKey { statement: Statement::Retract, to: 0, ..link }.encode();
                if !inside {
                    // Also where none that counted goes: a row needs as many statements as it counts.
                    let counted = link.statement == Statement::Add && store.get(Family::Links, &retraction)?.is_none();
                    *done.degrees.entry(Slot::of(&mirror)).or_default() -= i64::from(counted);
                }
                let mirror = mirror.encode();
                batch.delete(store, Family::Links, &mirror);
                if !inside {
                    done.traces.push(only(Family::Links, &mirror));
                }
                done.links += u64::from(link.side == Side::Outgoing || !inside);
                if link.side == Side::Outgoing {
                    relinked.insert(link.other);
                } else {
                    engine.lookup.links.changed(link.other, commit);
                }
            }
            entry = cursor.advance()?;
        }
        engine.lookup.links.changed(number, commit);
        if done.links > before {
            done.traces.push((Family::Links, prefix.to_vec(), [&prefix[..], &[0xff]].concat()));
        }
    }
    Ok(relinked)
}

/// Deletes the links in quarantine that name one of the entities, and tells how many they were.
fn delete_quarantine(
    order: &[u32],
    numbers: &HashSet<u32>,
    snapshot: &StoreSnapshot,
    store: &Store,
    batch: &mut Batch,
) -> Result<u64> {
    let mut deleted = 0;
    for &number in order {
        quarantined(snapshot, &key::number(number), &mut |link, _| {
            // Of a link between two of them, both ends come by.
            deleted += u64::from(link.side == Side::Outgoing || !numbers.contains(&link.other));
            delete_quarantined(&link, store, batch);
            true
        })?;
    }
    Ok(deleted)
}

/// Takes the erased out of saved cohorts, and the text of those whose expression named them.
fn change_cohorts(
    engine: &Engine,
    numbers: &HashSet<u32>,
    names: &[(u32, u32, Text)],
    batch: &mut Batch,
) -> Result<u64> {
    let store = &engine.lookup.store;
    let mut changed = 0;
    let mut cursor = store.cursor(Family::Meta, false);
    let mut entry = cursor.seek(key::COHORT)?;
    while let Some((key, value)) = entry.filter(|(key, _)| key.starts_with(key::COHORT)) {
        let place = |error: Error| error.at("saved cohort");
        let mut saved: SavedCohort = record::decode(value).map_err(place)?;
        let mut members = roaring::RoaringBitmap::deserialize_from(&saved.numbers[..])
            .map_err(|cause| place(Error::corrupt("not a set of customers").because(cause)))?;
        let member = numbers.iter().filter(|&&number| members.remove(number)).count() > 0;
        let named = names.iter().any(|(_, _, id)| tells(&saved.expr, id));
        if member || named {
            saved.numbers.clear();
            members.serialize_into(&mut saved.numbers).expect("memory takes any bitmap");
            if named {
                saved.expr = EXPR_ERASED.to_owned();
            }
            batch.put(store, Family::Meta, key, &record::encode(&saved));
            changed += 1;
        }
        entry = cursor.advance()?;
    }
    Ok(changed)
}

/// Whether an expression has the id in it, as a word or a text of its own.
pub(crate) fn tells(expr: &str, id: &str) -> bool {
    // As texts are shown, without the quotes.
    let test = Predicate::Kind(TextTest::Is(id.into())).to_string();
    let shown = test.split_once('"').and_then(|(_, rest)| rest.strip_suffix('"')).unwrap_or(id);
    expr.match_indices(shown).any(|(at, _)| {
        let (before, after) = (&expr[..at], &expr[at + shown.len()..]);
        !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
    })
}

/// Waits for readers of an earlier moment, then for the rows that they kept to be dropped; false when some reader
/// stays.
fn wait_for_readers(engine: &Engine, replaced: &[(u32, Weak<Segment>)], sequence: u64) -> Result<bool> {
    let until = Instant::now() + READERS_WAIT;
    let read = || -> Result<bool> {
        let held = replaced.iter().any(|(_, segment)| segment.strong_count() > 0);
        Ok(held || engine.lookup.store.is_seen_without(sequence)?)
    };
    while read()? {
        engine.check_writable()?;
        if Instant::now() >= until {
            return Ok(false);
        }
        std::thread::sleep(READERS_LOOK);
    }
    // However late the thread is that drops them, it is no reader.
    let is_there = |number: &u32| engine.manifest.lock().garbage.contains(number);
    while replaced.iter().any(|(number, _)| is_there(number)) {
        engine.check_writable()?;
        std::thread::sleep(READERS_LOOK);
    }
    Ok(true)
}

/// Gets what was deleted out of the files; false when some reader holds it back.
fn scrub(engine: &Engine, left: Left) -> Result<bool> {
    let Left { replaced, ranges, sequence } = left;
    let store = &engine.lookup.store;
    let free = wait_for_readers(engine, &replaced, sequence)?;
    store.flush_memtables()?;
    for (family, from, to) in ranges {
        store.compact_to_the_bottom(family, &from, &to);
    }
    let first = engine.views.load().actives.first().map_or(0, |(active, _)| active.number());
    store.compact_to_the_bottom(Family::Log, &key::log(0, 0), &key::log(first, 0));
    for (segment, _) in replaced {
        for family in [Family::Rows, Family::Index] {
            store.compact_to_the_bottom(family, &key::row(segment, 0), &key::chunk(segment, u32::MAX, u32::MAX));
        }
    }
    store.wait_for_deletions(READERS_WAIT)?;
    Ok(free)
}
