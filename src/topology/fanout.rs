//! How many links an entity has, and those in quarantine for being too many.
//!
//! A count is exact: that of the links added and not retracted, of one relation on one side of an entity.
//! Small ones are counted when they are asked for; a large one has a row, since counting it again would read
//! all of it.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};
use crate::store::{Batch, Family, Store, StoreSnapshot};
use crate::topology::links::decode_row;

/// From so many links on a count has a row.
const KEPT: u32 = 64;
/// Entities, and counts, remembered in each of two generations.
const GENERATION_MAX: usize = (1 << 20) / 8 * 7;

/// One relation on one side of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    pub(crate) entity: u32,
    pub(crate) side: Side,
    pub(crate) relation: u32,
}

impl Slot {
    pub(crate) fn of(link: &LinkKey) -> Slot {
        Slot { entity: link.entity, side: link.side, relation: link.relation }
    }
}

#[derive(Clone, Copy)]
struct Degree {
    links: u32,
    /// Whether the count has a row.
    kept: bool,
}

/// What is known of an entity without counting: at most so many statements name it.
#[derive(Clone, Copy)]
struct Named {
    statements: u16,
    /// Whether there may be a retraction among them.
    retracted: bool,
}

/// A map of two generations: what is used moves to the young one, the old one is dropped when that is full.
struct Recent<K, V> {
    young: HashMap<K, V, FixedState>,
    old: HashMap<K, V, FixedState>,
}

impl<K: Copy + Eq + Hash, V: Copy> Recent<K, V> {
    fn new() -> Recent<K, V> {
        Recent { young: HashMap::default(), old: HashMap::default() }
    }

    /// What is known of `key`, else what `read` finds.
    fn get(&mut self, key: K, read: impl FnOnce() -> Result<V>) -> Result<&mut V> {
        match self.young.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let value = match self.old.remove(&key) {
                    Some(known) => known,
                    None => read()?,
                };
                Ok(place.insert(value))
            }
        }
    }

    /// Makes room. Not in the middle of a group, whose own statements nobody could read again.
    fn age(&mut self) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn forget_one(&mut self, key: &K) {
        for known in [&mut self.young, &mut self.old] {
            if !known.is_empty() {
                known.remove(key);
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(&K) -> bool) {
        self.young.retain(|key, _| !gone(key));
        self.old.retain(|key, _| !gone(key));
    }
}

/// The counts of links; one per store, on the commit thread.
///
/// Nearly every entity has few links, so nothing is counted until an entity may have many: what is known of
/// all is a bound that only grows.
pub(crate) struct Degrees {
    named: Recent<u32, Named>,
    /// As of the last commit.
    counts: Recent<Slot, Degree>,
}

impl Degrees {
    pub(crate) fn new() -> Degrees {
        Degrees { named: Recent::new(), counts: Recent::new() }
    }

    fn named(&mut self, entity: u32, is_new: bool, snapshot: &StoreSnapshot) -> Result<&mut Named> {
        let none = Named { statements: 0, retracted: false };
        self.named.get(entity, || if is_new { Ok(none) } else { read_named(entity, snapshot) })
    }

    /// Notes a statement about an entity. `is_new`: no row names it yet.
    pub(crate) fn note(
        &mut self,
        entity: u32,
        is_new: bool,
        statement: Statement,
        snapshot: &StoreSnapshot,
    ) -> Result<()> {
        let named = self.named(entity, is_new, snapshot)?;
        named.statements = named.statements.saturating_add(1);
        named.retracted |= statement == Statement::Retract;
        Ok(())
    }

    /// Whether a link of the entity may have been retracted.
    pub(crate) fn may_be_retracted(&mut self, entity: u32, is_new: bool, snapshot: &StoreSnapshot) -> Result<bool> {
        self.named(entity, is_new, snapshot).map(|named| named.retracted)
    }

    /// Whether a slot has `most` links or more: those at the snapshot's moment, which is that of the last
    /// commit, and `more`.
    pub(crate) fn is_full(
        &mut self,
        slot: Slot,
        is_new: bool,
        snapshot: &StoreSnapshot,
        (more, most): (i64, i64),
    ) -> Result<bool> {
        let bound = i64::from(self.named(slot.entity, is_new, snapshot)?.statements);
        if bound < most.min(i64::from(KEPT)) {
            return Ok(false);
        }
        let before = self.counts.get(slot, || read(slot, is_new, snapshot))?.links;
        Ok(i64::from(before) + more >= most)
    }

    /// Takes the changes of a group into account, also those by 0, and writes the rows that follow from them.
    /// `least`: no limit is lower.
    pub(crate) fn change(
        &mut self,
        changes: impl IntoIterator<Item = (Slot, i64)>,
        (is_new, least): (impl Fn(u32) -> bool, usize),
        snapshot: &StoreSnapshot,
        store: &Store,
        batch: &mut Batch,
    ) -> Result<()> {
        for (slot, change) in changes {
            let is_new = is_new(slot.entity);
            let bound = self.named(slot.entity, is_new, snapshot)?.statements;
            if usize::from(bound) < least.min(KEPT as usize) {
                // Not counted on, so what was counted while there were more must not stay.
                if change != 0 {
                    self.counts.forget_one(&slot);
                }
                continue;
            }
            let degree = self.counts.get(slot, || read(slot, is_new, snapshot))?;
            // One of a store of an earlier build has no row yet.
            if change == 0 && (degree.kept || degree.links < KEPT) {
                continue;
            }
            degree.links = changed(degree.links, change);
            degree.kept |= degree.links >= KEPT;
            if degree.kept {
                put_row(slot, degree.links, store, batch);
            }
        }
        self.named.age();
        self.counts.age();
        Ok(())
    }

    /// As [`Degrees::change`], for statements that are deleted, by 0 where none of them counted: where few links
    /// are left, the row goes, since few are always counted anew.
    pub(crate) fn shrink(
        &mut self,
        changes: impl IntoIterator<Item = (Slot, i64)>,
        snapshot: &StoreSnapshot,
        store: &Store,
        batch: &mut Batch,
    ) -> Result<()> {
        for (slot, change) in changes {
            let degree = self.counts.get(slot, || read(slot, false, snapshot))?;
            degree.links = changed(degree.links, change);
            if degree.links >= KEPT {
                put_row(slot, degree.links, store, batch);
            } else if degree.kept {
                batch.delete(store, Family::Meta, &key::degree(slot.entity, slot.side, slot.relation));
            }
            degree.kept = degree.links >= KEPT;
            if !degree.kept {
                // Nobody goes on counting where there are few.
                self.counts.forget_one(&slot);
            }
        }
        Ok(())
    }

    /// Forgets entities whose links are deleted.
    pub(crate) fn forget(&mut self, gone: impl Fn(u32) -> bool) {
        self.named.forget(|entity| gone(*entity));
        self.counts.forget(|slot| gone(slot.entity));
    }
}

fn changed(links: u32, change: i64) -> u32 {
    u32::try_from((i64::from(links) + change).max(0)).unwrap_or(u32::MAX)
}

/// Looks at the first statements that name an entity.
fn read_named(entity: u32, snapshot: &StoreSnapshot) -> Result<Named> {
    let prefix = key::number(entity);
    snapshot.with_cursor(Family::Links, |cursor| {
        let mut named = Named { statements: 0, retracted: false };
        let mut entry = cursor.seek(&prefix)?;
        while let Some((key, _)) = entry.filter(|(key, _)| key.starts_with(&prefix)) {
            named.statements += 1;
            named.retracted |= LinkKey::decode(key)?.statement == Statement::Retract;
            if u32::from(named.statements) >= KEPT {
                named.retracted = true;
                break;
            }
            entry = cursor.advance()?;
        }
        Ok(named)
    })
}

fn put_row(slot: Slot, links: u32, store: &Store, batch: &mut Batch) {
    let mut value = Vec::with_capacity(5);
    varint::put(&mut value, u64::from(links));
    batch.put(store, Family::Meta, &key::degree(slot.entity, slot.side, slot.relation), &value);
}

fn read(slot: Slot, is_new: bool, snapshot: &StoreSnapshot) -> Result<Degree> {
    if is_new {
        return Ok(Degree { links: 0, kept: false });
    }
    // Whatever has a row has as many statements at least: whoever deletes statements sees to it.
    if let Some(links) = count(slot, snapshot, Some(KEPT))? {
        return Ok(Degree { links, kept: false });
    }
    if let Some(value) = snapshot.get(Family::Meta, &key::degree(slot.entity, slot.side, slot.relation))? {
        return Ok(Degree { links: decode_degree(&value)?, kept: true });
    }
    // An earlier build kept no counts.
    Ok(Degree { links: count_links(slot, snapshot)?, kept: false })
}

/// Counts the links of a slot from its statements.
pub(crate) fn count_links(slot: Slot, snapshot: &StoreSnapshot) -> Result<u32> {
    Ok(count(slot, snapshot, None)?.unwrap_or(u32::MAX))
}

/// Counts the links of a slot, unless it has `most` statements or more.
fn count(slot: Slot, snapshot: &StoreSnapshot, most: Option<u32>) -> Result<Option<u32>> {
    let mut prefix = [0; LinkKey::RELATION_LEN];
    prefix[..LinkKey::PREFIX_LEN].copy_from_slice(&LinkKey::prefix(slot.entity, slot.side));
    prefix[LinkKey::PREFIX_LEN..].copy_from_slice(&slot.relation.to_be_bytes());
    snapshot.with_cursor(Family::Links, |cursor| {
        let (mut rows, mut links) = (0u32, 0u32);
        // Where the additions of the link begin that is read; retractions come behind them.
        let (mut other, mut begun): (u32, Vec<i64>) = (0, Vec::new());
        let mut entry = cursor.seek(&prefix)?;
        while let Some((key, _)) = entry.filter(|(key, _)| key.starts_with(&prefix)) {
            rows = rows.saturating_add(1);
            if most.is_some_and(|most| rows >= most) {
                return Ok(None);
            }
            let link = LinkKey::decode(key)?;
            if link.other != other {
                other = link.other;
                begun.clear();
            }
            match link.statement {
                Statement::Add => {
                    links = links.saturating_add(1);
                    begun.push(link.from);
                }
                Statement::Close => {}
                Statement::Retract => {
                    // Additions come in the order of their beginning.
                    let before = |last: i64| begun.partition_point(|&from| from < last);
                    let withdrawn = before(link.from.saturating_add(1)) - before(link.from);
                    links = links.saturating_sub(withdrawn as u32);
                }
            }
            entry = cursor.advance()?;
        }
        Ok(Some(links))
    })
}

/// The value of a count's row.
pub(crate) fn decode_degree(value: &[u8]) -> Result<u32> {
    let mut reader = Reader::new(value);
    let count = reader.varint_u32()?;
    reader.finish()?;
    Ok(count)
}

/// Deletes the rows of an entity's counts.
pub(crate) fn delete_degrees(entity: u32, store: &Store, batch: &mut Batch) -> Result<()> {
    let prefix = [&key::DEGREE[..], &key::number(entity)].concat();
    let mut cursor = store.cursor(Family::Meta, false);
    let mut entry = cursor.seek(&prefix)?;
    while let Some((key, _)) = entry.filter(|(key, _)| key.starts_with(&prefix)) {
        batch.delete(store, Family::Meta, key);
        entry = cursor.advance()?;
    }
    Ok(())
}

/// Puts a link into quarantine: `outgoing` is its key as seen from where it begins.
pub(crate) fn put_quarantined(outgoing: &LinkKey, value: &[u8], store: &Store, batch: &mut Batch) {
    batch.put(store, Family::Meta, &key::quarantine(outgoing), value);
    batch.put(store, Family::Meta, &key::quarantine(&outgoing.mirrored()), value);
}

/// Takes a link out of quarantine, whichever end it is seen from.
pub(crate) fn delete_quarantined(link: &LinkKey, store: &Store, batch: &mut Batch) {
    batch.delete(store, Family::Meta, &key::quarantine(link));
    batch.delete(store, Family::Meta, &key::quarantine(&link.mirrored()));
}

/// Hands links in quarantine to `found` until it returns false: those whose key of `links` begins with
/// `prefix`, in the order of their keys. With an empty prefix each comes twice, once from each end.
pub(crate) fn quarantined(
    snapshot: &StoreSnapshot,
    prefix: &[u8],
    found: &mut dyn FnMut(LinkKey, u32) -> bool,
) -> Result<()> {
    let prefix = [&key::QUARANTINE[..], prefix].concat();
    snapshot.with_cursor(Family::Meta, |cursor| {
        let mut entry = cursor.seek(&prefix)?;
        while let Some((key, value)) = entry.filter(|(key, _)| key.starts_with(&prefix)) {
            let ((link, source), _) = decode_row(&key[key::QUARANTINE.len()..], value)?;
            if link.statement != Statement::Add || link.side == Side::Placement {
                return Err(Error::corrupt("what is in quarantine is no link"));
            }
            if !found(link, source) {
                break;
            }
            entry = cursor.advance()?;
        }
        Ok(())
    })
}

/// How many links are in quarantine.
pub(crate) fn load_quarantined(snapshot: &StoreSnapshot) -> Result<u64> {
    let Some(value) = snapshot.get(Family::Meta, key::QUARANTINED)? else { return Ok(0) };
    let mut reader = Reader::new(&value);
    let count = reader.varint()?;
    reader.finish()?;
    Ok(count)
}

pub(crate) fn put_quarantined_count(count: u64, store: &Store, batch: &mut Batch) {
    let mut value = Vec::with_capacity(4);
    varint::put(&mut value, count);
    batch.put(store, Family::Meta, key::QUARANTINED, &value);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Setup;

    const HUB: u32 = 5;

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let place = tempfile::TempDir::new().unwrap();
        let store = Store::open(&place.path().join("store"), Setup::SMALL).unwrap();
        (place, Arc::new(store))
    }

    fn link(relation: u32, other: u32) -> LinkKey {
        let (from, to) = (i64::MIN, i64::MAX);
        LinkKey { entity: HUB, side: Side::Incoming, relation, other, statement: Statement::Add, from, to }
    }

    fn slot(relation: u32) -> Slot {
        Slot { entity: HUB, side: Side::Incoming, relation }
    }

    fn see(store: &Arc<Store>) -> StoreSnapshot {
        StoreSnapshot::new(store.clone())
    }

    /// As a commit does, with links of one relation.
    fn add(degrees: &mut Degrees, store: &Arc<Store>, relation: u32, others: std::ops::Range<u32>) {
        let (snapshot, mut batch) = (see(store), Batch::default());
        let count = i64::from(others.end - others.start);
        for other in others {
            degrees.note(HUB, false, Statement::Add, &snapshot).unwrap();
            batch.put(store, Family::Links, &link(relation, other).encode(), &[0, 0]);
        }
        let changes = [(slot(relation), count)];
        degrees.change(changes, (|_| false, 1000), &snapshot, store, &mut batch).unwrap();
        store.write(batch, false).unwrap();
    }

    #[test]
    fn a_large_count_of_an_earlier_build_gets_its_row_when_it_is_asked_for() {
        let (_place, store) = store();
        add(&mut Degrees::new(), &store, 1, 100..170);
        let row = key::degree(HUB, Side::Incoming, 1);
        let mut batch = Batch::default();
        batch.delete(&store, Family::Meta, &row);
        store.write(batch, false).unwrap();
        let mut degrees = Degrees::new();
        assert!(degrees.is_full(slot(1), false, &see(&store), (0, 70)).unwrap());
        let mut batch = Batch::default();
        degrees.change([(slot(1), 0)], (|_| false, 70), &see(&store), &store, &mut batch).unwrap();
        store.write(batch, false).unwrap();
        let value = see(&store).get(Family::Meta, &row).unwrap().map(|value| decode_degree(&value).unwrap());
        assert_eq!(value, Some(70));
    }

    #[test]
    fn a_count_in_memory_does_not_outlast_the_statements_that_made_it_needed() {
        let (_place, store) = store();
        let mut degrees = Degrees::new();
        add(&mut degrees, &store, 1, 100..170);
        add(&mut degrees, &store, 2, 100..110);
        let mut batch = Batch::default();
        (100..170).for_each(|other| batch.delete(&store, Family::Links, &link(1, other).encode()));
        degrees.shrink([(slot(1), -70)], &see(&store), &store, &mut batch).unwrap();
        store.write(batch, false).unwrap();
        // Dropped when two generations are full.
        degrees.named.forget(|_| true);
        add(&mut degrees, &store, 2, 110..120);
        add(&mut degrees, &store, 2, 120..200);
        assert!(degrees.is_full(slot(2), false, &see(&store), (0, 100)).unwrap());
    }
}
