//! Who depends on an entity, and when: links followed upwards.

use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use roaring::RoaringBitmap;

use crate::codec::key::{self, Side};
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::model::limits::HOPS;
use crate::model::{Interval, IntervalSet};
use crate::store::{Batch, Family, Store, StoreSnapshot};
use crate::topology::facts::{Edge, Facts};
use crate::topology::links::{LinkView, Placement};
use crate::topology::reach::reach;

/// Customers and the instants at which each depends on one entity; ascending.
pub(crate) type Dependents = Vec<(u32, IntervalSet)>;

/// Links the other way round.
struct Upwards<'a, 'l>(&'a LinkView<'l>);

impl Facts for Upwards<'_, '_> {
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
        self.0.edges_of(entities, Side::Incoming, found)
    }
}

/// The customers that depend on `entity` over at most 8 links; a customer does not count for itself.
///
/// Cost: one scan of links for each entity on the way up.
pub(crate) fn dependents(links: &LinkView<'_>, entity: u32) -> Result<Dependents> {
    let reached = reach(&Upwards(links), entity, Interval::ALL, HOPS)?;
    let above = reached.entities.into_iter().skip(1);
    let customers = above.filter(|reached| reached.entity < FIRST_OTHER);
    let mut found: Dependents = customers.map(|reached| (reached.entity, reached.when)).collect();
    found.sort_unstable_by_key(|(customer, _)| *customer);
    Ok(found)
}

/// Whether events that lie where `placements` say are felt by their homes at all those times, and by
/// nobody else.
pub(crate) fn private(dependents: &Dependents, placements: &[Placement]) -> bool {
    placements.iter().all(|placement| {
        let mut owner = false;
        let mut others = false;
        for (customer, when) in dependents {
            let held = when.clip(&placement.during);
            if *customer == placement.home {
                owner = held.intervals() == [placement.during];
            } else {
                others |= !held.is_empty();
            }
        }
        owner && !others
    })
}

#[derive(Clone)]
struct Bytes;

impl Weighter<u32, (u64, Arc<Dependents>)> for Bytes {
    fn weight(&self, _entity: &u32, (_, dependents): &(u64, Arc<Dependents>)) -> u64 {
        let more: usize = dependents.iter().map(|(_, when)| when.intervals().len().saturating_sub(1)).sum();
        (64 + dependents.len() * size_of::<(u32, IntervalSet)>() + more * size_of::<Interval>()) as u64
    }
}

/// What readers remember of who depends on what, each as of a commit that changed links.
pub(crate) struct DependentsCache {
    by_entity: Cache<u32, (u64, Arc<Dependents>), Bytes>,
    doubted: Mutex<Option<(u64, Arc<RoaringBitmap>)>>,
}

impl DependentsCache {
    pub(crate) fn new(bytes: usize) -> DependentsCache {
        let by_entity = Cache::with_weighter(bytes / 1024, bytes as u64, Bytes);
        DependentsCache { by_entity, doubted: Mutex::default() }
    }

    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.by_entity.hits(), self.by_entity.misses())
    }

    /// The customers that depend on `entity`. `links_commit` is the last commit in `links` that
    /// changed any.
    pub(crate) fn of(&self, links: &LinkView<'_>, entity: u32, links_commit: u64) -> Result<Arc<Dependents>> {
        if let Some((commit, known)) = self.by_entity.get(&entity)
            && commit == links_commit
        {
            return Ok(known);
        }
        let found = Arc::new(dependents(links, entity)?);
        self.by_entity.insert(entity, (links_commit, found.clone()));
        Ok(found)
    }

    /// The customers doubted as of `links_commit`, if that is remembered.
    pub(crate) fn doubted(&self, links_commit: u64) -> Option<Arc<RoaringBitmap>> {
        let known = self.doubted.lock();
        known.as_ref().filter(|(commit, _)| *commit == links_commit).map(|(_, doubted)| doubted.clone())
    }

    pub(crate) fn remember_doubted(&self, links_commit: u64, doubted: Arc<RoaringBitmap>) {
        *self.doubted.lock() = Some((links_commit, doubted));
    }
}

/// Notes that links may have changed who depends on `entity` since events of it were placed.
pub(crate) fn put_suspect(store: &Store, batch: &mut Batch, entity: u32) {
    batch.put(store, Family::Meta, &key::suspect(entity), &[]);
}

/// The entities noted so far.
pub(crate) fn suspects(snapshot: &StoreSnapshot) -> Result<Vec<u32>> {
    snapshot.with_cursor(Family::Meta, |cursor| {
        let mut found = Vec::new();
        let mut entry = cursor.seek(key::SUSPECT)?;
        while let Some((key, _)) = entry {
            let Some(entity) = key::parse_suspect(key)? else { break };
            found.push(entity);
            entry = cursor.advance()?;
        }
        Ok(found)
    })
}
