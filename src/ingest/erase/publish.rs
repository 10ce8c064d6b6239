//! The write that takes somebody out of every answer, and the view that shows it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::record::{self, Counts, Manifest, SavedCohort};
use crate::dictionary::parse_name;
use crate::error::{Error, Result};
use crate::expr::{Predicate, TextTest};
use crate::ingest::commit::Committer;
use crate::ingest::engine::Engine;
use crate::ingest::erase::belongings;
use crate::ingest::trim::{self, Swap, Swapped, wall_clock};
use crate::model::Text;
use crate::segment::{View, put_counts};
use crate::store::{Batch, Family, Range, Store, StoreSnapshot};
use crate::topology::{
    LinkView, Slot, delete_degrees, delete_quarantined, put_quarantined_count, put_suspect, quarantined,
};

/// What stands for the text of a saved cohort's expression that named somebody erased.
pub(crate) const EXPR_ERASED: &str = "(an expression that named somebody who was erased)";

#[derive(Default)]
pub(super) struct Published {
    pub(super) entities: u64,
    pub(super) links: u64,
    /// Links that others have fewer.
    degrees: BTreeMap<Slot, i64>,
    pub(super) cohorts: u64,
    /// Where files hold something of the erased.
    pub(super) traces: Vec<Range>,
    pub(super) sequence: u64,
}

/// The range of one key.
fn only(family: Family, key: &[u8]) -> Range {
    (family, key.to_vec(), [key, &[0]].concat())
}

/// One synced write and one new view: names, links, events, saved cohorts, counts. It is a commit of its own,
/// without records.
pub(super) fn publish(
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
    committer.forget_coming();
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
