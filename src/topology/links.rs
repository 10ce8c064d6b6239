//! Links in the store: statements in, edges out, with a bounded cache.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use smallvec::SmallVec;

use crate::codec::key::{LinkKey, Side};
use crate::codec::varint::{self, Reader};
use crate::error::Result;
use crate::fail;
use crate::model::{Interval, Timestamp};
use crate::store::{Cursor, Family, StoreSnapshot};
use crate::topology::facts::{Edge, Facts, Stated, effective};
use crate::topology::fanout::quarantined;

/// Where events of an entity lie besides its own home, and of which times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) home: u32,
    pub(crate) during: Interval,
}

/// What one entity depends on, and where its events lie.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) edges: SmallVec<[Edge; 2]>,
    pub(crate) placements: SmallVec<[Placement; 1]>,
}

struct Cached {
    /// Commit of the view it was read in.
    commit: u64,
    outgoing: Arc<Outgoing>,
}

#[derive(Clone)]
struct OutgoingBytes;

impl Weighter<u32, Arc<Cached>> for OutgoingBytes {
    fn weight(&self, _entity: &u32, cached: &Arc<Cached>) -> u64 {
        let edges = cached.outgoing.edges.len() * size_of::<Edge>();
        let placements = cached.outgoing.placements.len() * size_of::<Placement>();
        (160 + edges + placements) as u64
    }
}

/// Slots of the table of last changes.
const CHANGE_SLOTS: usize = 1 << 16;

/// What all readers share: outgoing edges by entity.
///
/// An entry read at commit `l` serves a reader at commit `r` if the entity's links did not change
/// between the two. The last change is kept per slot of many entities, so a doubt costs a read,
/// never a wrong answer.
pub(crate) struct LinkCache {
    outgoing: Cache<u32, Arc<Cached>, OutgoingBytes>,
    changes: Box<[AtomicU64]>,
    /// What an entity without links has.
    unlinked: Arc<Outgoing>,
}

impl LinkCache {
    pub(crate) fn new(bytes: usize) -> LinkCache {
        LinkCache {
            outgoing: Cache::with_weighter(bytes / 256, bytes as u64, OutgoingBytes),
            changes: (0..CHANGE_SLOTS).map(|_| AtomicU64::new(0)).collect(),
            unlinked: Arc::default(),
        }
    }

    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.outgoing.hits(), self.outgoing.misses())
    }

    /// Says that `commit` changes the outgoing side of `entity`; called before the commit is published.
    pub(crate) fn changed(&self, entity: u32, commit: u64) {
        self.changes[slot(entity)].fetch_max(commit, Ordering::Release);
    }

    fn get(&self, entity: u32, commit: u64) -> Option<Arc<Outgoing>> {
        let cached = self.outgoing.get(&entity)?;
        let changed = self.changes[slot(entity)].load(Ordering::Acquire);
        (changed <= cached.commit.min(commit)).then(|| cached.outgoing.clone())
    }
}

fn slot(entity: u32) -> usize {
    (entity.wrapping_mul(0x9E37_79B9) >> 16) as usize
}

/// The links known at one moment.
pub(crate) struct LinkView<'a> {
    snapshot: &'a StoreSnapshot,
    cache: &'a LinkCache,
    commit: u64,
    /// What this view was asked for lately; a question asks for the same entities more than once.
    recent: RefCell<Recent>,
}

type Recent = SmallVec<[(u32, Arc<Outgoing>); RECENT_MAX]>;

/// Entities that a view remembers.
const RECENT_MAX: usize = 16;

impl<'a> LinkView<'a> {
    pub(crate) fn new(snapshot: &'a StoreSnapshot, cache: &'a LinkCache, commit: u64) -> LinkView<'a> {
        LinkView { snapshot, cache, commit, recent: RefCell::default() }
    }

    /// What each of `entities` (ascending) depends on.
    pub(crate) fn outgoing_of(&self, entities: &[u32]) -> Result<SmallVec<[Arc<Outgoing>; 8]>> {
        let mut all: SmallVec<[Arc<Outgoing>; 8]> = SmallVec::with_capacity(entities.len());
        let mut missing: SmallVec<[usize; 8]> = SmallVec::new();
        let unknown = &self.cache.unlinked;
        let mut recent = self.recent.borrow_mut();
        for (index, &entity) in entities.iter().enumerate() {
            if let Some((_, outgoing)) = recent.iter().find(|(known, _)| *known == entity) {
                all.push(outgoing.clone());
                continue;
            }
            match self.cache.get(entity, self.commit) {
                Some(outgoing) => {
                    if recent.len() < RECENT_MAX {
                        recent.push((entity, outgoing.clone()));
                    }
                    all.push(outgoing);
                }
                None => {
                    missing.push(index);
                    all.push(unknown.clone());
                }
            }
        }
        if missing.is_empty() {
            return Ok(all);
        }
        self.snapshot.with_cursor(Family::Links, |cursor| {
            let mut positioned = false;
            for &index in &missing {
                let outgoing = Arc::new(read_outgoing(cursor, entities[index], &mut positioned)?);
                let cached = Cached { commit: self.commit, outgoing: outgoing.clone() };
                self.cache.outgoing.insert(entities[index], Arc::new(cached));
                if recent.len() < RECENT_MAX {
                    recent.push((entities[index], outgoing.clone()));
                }
                all[index] = outgoing;
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// The effective edges of one side of an entity, handed to `found` until it returns false.
    pub(crate) fn edges(&self, entity: u32, side: Side, found: &mut dyn FnMut(Edge) -> bool) -> Result<()> {
        self.snapshot.with_cursor(Family::Links, |cursor| read_edges(cursor, entity, side, found))
    }

    /// The effective edges of one side of each of `entities` (ascending), with the place of its entity.
    pub(crate) fn edges_of(&self, entities: &[u32], side: Side, found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
        self.snapshot.with_cursor(Family::Links, |cursor| {
            for (at, &entity) in entities.iter().enumerate() {
                read_edges(cursor, entity, side, &mut |edge| {
                    found(at, edge);
                    true
                })?;
            }
            Ok(())
        })
    }

    /// Hands the other end of every statement about one side of an entity to `seen` until it returns false,
    /// whether it still holds or not, those in quarantine included.
    pub(crate) fn others(&self, entity: u32, side: Side, seen: &mut dyn FnMut(u32) -> bool) -> Result<()> {
        let prefix = LinkKey::prefix(entity, side);
        let mut more = true;
        self.snapshot.with_cursor(Family::Links, |cursor| {
            let mut entry = cursor.seek(&prefix)?;
            while let Some((key, _)) = entry.filter(|(key, _)| key.starts_with(&prefix)) {
                more = seen(LinkKey::decode(key)?.other);
                if !more {
                    break;
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })?;
        if more {
            quarantined(self.snapshot, &prefix, &mut |link, _| seen(link.other))?;
        }
        Ok(())
    }

    /// The links of one side of an entity that are in quarantine, as statements.
    pub(crate) fn quarantined(&self, entity: u32, side: Side) -> Result<Vec<Stated>> {
        let mut all = Vec::new();
        quarantined(self.snapshot, &LinkKey::prefix(entity, side), &mut |link, source| {
            all.push((link, source));
            true
        })?;
        Ok(all)
    }

    /// Every statement about one side of an entity, with the commit that brought it.
    pub(crate) fn statements(&self, entity: u32, side: Side) -> Result<Vec<(Stated, u64)>> {
        let prefix = LinkKey::prefix(entity, side);
        self.snapshot.with_cursor(Family::Links, |cursor| {
            let mut all = Vec::new();
            let mut entry = cursor.seek(&prefix)?;
            while let Some((key, value)) = entry {
                if !key.starts_with(&prefix) {
                    break;
                }
                all.push(decode_row(key, value)?);
                entry = cursor.advance()?;
            }
            Ok(all)
        })
    }
}

impl Facts for LinkView<'_> {
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
        for (index, outgoing) in self.outgoing_of(entities)?.iter().enumerate() {
            outgoing.edges.iter().for_each(|&edge| found(index, edge));
        }
        Ok(())
    }
}

/// Hands the effective edges of one side of an entity to `found` until it returns false.
fn read_edges(cursor: &mut Cursor<'_>, entity: u32, side: Side, found: &mut dyn FnMut(Edge) -> bool) -> Result<()> {
    let prefix = LinkKey::prefix(entity, side);
    let mut group: Vec<Stated> = Vec::new();
    let mut more = true;
    let mut entry = cursor.seek(&prefix)?;
    while let Some((key, value)) = entry {
        if !key.starts_with(&prefix) && !fail::bug("run-past-prefix") {
            break;
        }
        let (stated, _) = decode_row(key, value)?;
        let same =
            group.last().is_none_or(|last| (last.0.relation, last.0.other) == (stated.0.relation, stated.0.other));
        if !same {
            effective(&group, &mut |edge| more = more && found(edge));
            group.clear();
        }
        group.push(stated);
        if !more {
            return Ok(());
        }
        entry = cursor.advance()?;
    }
    effective(&group, &mut |edge| more = more && found(edge));
    Ok(())
}

/// Reads outgoing edges and placements, which lie side by side. Entities asked for in ascending
/// order often lie side by side too, so stepping is tried before seeking.
fn read_outgoing(cursor: &mut Cursor<'_>, entity: u32, positioned: &mut bool) -> Result<Outgoing> {
    const STEPS: usize = 4;
    let first = LinkKey::prefix(entity, Side::Outgoing);
    let mut found = false;
    if *positioned {
        for step in 0..STEPS {
            let entry = if step == 0 { cursor.entry()? } else { cursor.advance()? };
            if entry.is_none_or(|(key, _)| key >= &first[..]) {
                found = true;
                break;
            }
        }
    }
    if !found {
        cursor.seek(&first)?;
    }
    *positioned = true;
    let mut outgoing = Outgoing::default();
    let mut statements: SmallVec<[Stated; 4]> = SmallVec::new();
    let mut entry = cursor.entry()?;
    while let Some((key, value)) = entry {
        if key.get(..4) != Some(&first[..4]) && !fail::bug("run-past-prefix") {
            break;
        }
        let (stated, _) = decode_row(key, value)?;
        match stated.0.side {
            Side::Outgoing => statements.push(stated),
            Side::Placement => outgoing.placements.push(Placement {
                home: stated.0.other,
                during: Interval::new(Timestamp::from_nanos(stated.0.from), Timestamp::from_nanos(stated.0.to)),
            }),
            Side::Incoming => break,
        }
        entry = cursor.advance()?;
    }
    effective(&statements, &mut |edge| outgoing.edges.push(edge));
    Ok(outgoing)
}

/// The value of a row of the links family: source word and commit.
pub(crate) fn encode_value(source: u32, commit: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(8);
    varint::put(&mut value, u64::from(source));
    varint::put(&mut value, commit);
    value
}

pub(crate) fn decode_row(key: &[u8], value: &[u8]) -> Result<(Stated, u64)> {
    let key = LinkKey::decode(key)?;
    let mut reader = Reader::new(value);
    let source = reader.varint_u32()?;
    let commit = reader.varint()?;
    reader.finish()?;
    Ok(((key, source), commit))
}
