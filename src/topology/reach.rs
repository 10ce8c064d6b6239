//! Everything a customer depends on, and when.

use hashbrown::HashMap;

use crate::error::Result;
use crate::model::{Interval, IntervalSet};
use crate::topology::facts::{Edge, Facts};

/// One entity that the customer reaches.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) entity: u32,
    /// The instants at which some path within the hop limit exists.
    pub(crate) when: IntervalSet,
}

/// Entities that are found by looking at each.
const UNINDEXED_MAX: usize = 8;

/// What [`reach`] found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// In the order of discovery: the customer first.
    pub(crate) entities: Vec<Reached>,
    index: HashMap<u32, u32, foldhash::fast::FixedState>,
    /// Whether links went on behind the last hop allowed.
    pub(crate) limit_reached: bool,
}

impl Reach {
    /// When `entity` is reached; `None` if never.
    pub(crate) fn get(&self, entity: u32) -> Option<&Reached> {
        self.position(entity).map(|at| &self.entities[at])
    }

    fn position(&self, entity: u32) -> Option<usize> {
        // Nearly every customer reaches few entities.
        if self.entities.len() <= UNINDEXED_MAX {
            return self.entities.iter().position(|reached| reached.entity == entity);
        }
        self.index.get(&entity).map(|&at| at as usize)
    }

    fn slot(&mut self, entity: u32) -> &mut Reached {
        let at = self.position(entity).unwrap_or_else(|| {
            self.entities.push(Reached { entity, when: IntervalSet::new() });
            self.index_last();
            self.entities.len() - 1
        });
        &mut self.entities[at]
    }

    fn index_last(&mut self) {
        let count = self.entities.len();
        if count <= UNINDEXED_MAX {
            return;
        }
        let from = if self.index.is_empty() { 0 } else { count - 1 };
        let added = self.entities[from..].iter().zip(from..).map(|(reached, at)| (reached.entity, at as u32));
        self.index.extend(added);
    }
}

/// Follows links from `root`, at most `max_hops` of them, clipped to `within`.
///
/// Breadth first over (entity, instants): a round hands on only the instants at which an entity was
/// reached for the first time, since at an instant reached in an earlier round everything behind it
/// is reached with hops to spare. That bounds the work by the number of edges times the number of
/// distinct validity bounds, and ends in cycles.
pub(crate) fn reach<F: Facts>(facts: &F, root: u32, within: Interval, max_hops: u32) -> Result<Reach> {
    let mut reach = Reach::default();
    reach.slot(root).when = IntervalSet::from(within);
    let mut frontier: Vec<(u32, IntervalSet)> = vec![(root, IntervalSet::from(within))];
    for hops in 1..=max_hops.saturating_add(1) {
        frontier.sort_unstable_by_key(|(entity, _)| *entity);
        let entities: Vec<u32> = frontier.iter().map(|(entity, _)| *entity).collect();
        let mut edges: Vec<(usize, Edge)> = Vec::new();
        facts.outgoing(&entities, &mut |index, edge| edges.push((index, edge)))?;
        if edges.is_empty() {
            break;
        }
        let mut fresh: Vec<(u32, IntervalSet)> = Vec::new();
        for (index, edge) in edges {
            let when = frontier[index].1.clip(&edge.validity);
            if when.is_empty() {
                continue;
            }
            let known = reach.get(edge.other).map(|reached| when.minus(&reached.when));
            let new = known.unwrap_or(when);
            if !new.is_empty() {
                fresh.push((edge.other, new));
            }
        }
        if hops > max_hops {
            reach.limit_reached = !fresh.is_empty();
            break;
        }
        frontier.clear();
        fresh.sort_unstable_by_key(|(entity, _)| *entity);
        for same in fresh.chunk_by(|a, b| a.0 == b.0) {
            let new = same.iter().fold(IntervalSet::new(), |all, (_, when)| all.union(when));
            let slot = reach.slot(same[0].0);
            slot.when = slot.when.union(&new);
            frontier.push((same[0].0, new));
        }
        if frontier.is_empty() {
            break;
        }
    }
    Ok(reach)
}
