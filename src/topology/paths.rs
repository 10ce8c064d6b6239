//! The paths by which an entity is reached: the answer to why.

use std::collections::HashMap;

use crate::error::Result;
use crate::model::limits::PATHS;
use crate::model::{Interval, IntervalSet};
use crate::topology::facts::{Edge, Facts};
use crate::topology::reach::reach;

/// A path in numbers: each step is the entity it leaves and the edge it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumberPath {
    pub(crate) steps: Vec<(u32, Edge)>,
    /// The instants at which all steps hold, within what was asked for.
    pub(crate) validity: Interval,
}

impl NumberPath {
    fn links(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        self.steps.iter().map(|(from, edge)| (*from, edge.relation, edge.other))
    }

    fn is_part_of(&self, other: &NumberPath) -> bool {
        self.steps.len() < other.steps.len() && self.links().all(|link| other.links().any(|known| known == link))
    }
}

/// All paths from `root` to `target` of at most `max_hops` links that hold together at some instant
/// of `during` and meet no entity twice.
///
/// Depth first, cut wherever the target is out of reach: distances to the target are computed
/// first, backwards over the edges that `root` reaches.
pub(crate) fn paths<F: Facts>(
    facts: &F,
    root: u32,
    target: u32,
    during: &IntervalSet,
    max_hops: u32,
) -> Result<Vec<NumberPath>> {
    if root == target {
        let validity = during.intervals().first().copied().unwrap_or(Interval::ALL);
        return Ok(vec![NumberPath { steps: Vec::new(), validity }]);
    }
    // Where no path holds at any instant asked for, many may lead nearly there.
    let (first, last) = (during.intervals().first(), during.intervals().last());
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let reached = reach(facts, root, Interval::new(first.from, last.to), max_hops)?;
    if reached.get(target).is_none_or(|reached| reached.when.intersect(during).is_empty()) {
        return Ok(Vec::new());
    }
    let mut search = Search { edges: HashMap::default(), distance: HashMap::default(), found: Vec::new(), target };
    search.collect_edges(facts, root, during, max_hops)?;
    search.measure_distances();
    search.walk(root, during, max_hops, &mut Vec::new());
    Ok(search.found)
}

/// Keeps the minimal ones of paths that may end at different entities, shortest first: none whose
/// links include all links of another. Of paths to one entity that meet none twice, none does.
pub(crate) fn minimal<T>(mut paths: Vec<(T, NumberPath)>) -> Vec<(T, NumberPath)> {
    paths.sort_by_key(|(_, path)| path.steps.len());
    let mut kept: Vec<(T, NumberPath)> = Vec::new();
    for (target, path) in paths {
        if !kept.iter().any(|(_, shorter)| shorter.is_part_of(&path)) {
            kept.push((target, path));
        }
    }
    kept
}

struct Search {
    edges: HashMap<u32, Vec<Edge>>,
    distance: HashMap<u32, u32>,
    found: Vec<NumberPath>,
    target: u32,
}

impl Search {
    fn collect_edges<F: Facts>(&mut self, facts: &F, root: u32, during: &IntervalSet, max_hops: u32) -> Result<()> {
        let mut frontier = vec![root];
        for _ in 0..max_hops {
            frontier.sort_unstable();
            frontier.dedup();
            frontier.retain(|entity| !self.edges.contains_key(entity));
            let mut next = Vec::new();
            for &entity in &frontier {
                self.edges.insert(entity, Vec::new());
            }
            facts.outgoing(&frontier, &mut |index, edge| {
                if during.overlaps(&edge.validity) {
                    self.edges.entry(frontier[index]).or_default().push(edge);
                    next.push(edge.other);
                }
            })?;
            frontier = next;
        }
        Ok(())
    }

    fn measure_distances(&mut self) {
        let mut backwards: HashMap<u32, Vec<u32>> = HashMap::default();
        for (&from, edges) in &self.edges {
            for edge in edges {
                backwards.entry(edge.other).or_default().push(from);
            }
        }
        let mut frontier = vec![self.target];
        let mut distance = 0;
        while !frontier.is_empty() {
            let reached = std::mem::take(&mut frontier);
            for entity in reached {
                if self.distance.contains_key(&entity) {
                    continue;
                }
                self.distance.insert(entity, distance);
                frontier.extend(backwards.get(&entity).into_iter().flatten().copied());
            }
            distance += 1;
        }
    }

    fn walk(&mut self, at: u32, when: &IntervalSet, hops_left: u32, steps: &mut Vec<(u32, Edge)>) {
        let Some(edges) = self.edges.get(&at).cloned() else { return };
        for edge in edges {
            let near = self.distance.get(&edge.other).is_some_and(|&distance| distance < hops_left);
            let seen = edge.other == at || steps.iter().any(|(from, _)| *from == edge.other);
            if !near || seen || self.found.len() >= PATHS {
                continue;
            }
            let held = when.clip(&edge.validity);
            let Some(&first) = held.intervals().first() else { continue };
            steps.push((at, edge));
            if edge.other == self.target {
                self.found.push(NumberPath { steps: steps.clone(), validity: first });
            } else {
                self.walk(edge.other, &held, hops_left - 1, steps);
            }
            steps.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    /// (from, to, valid from, valid to)
    struct Table(Vec<(u32, u32, i64, i64)>);

    impl Facts for Table {
        fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()> {
            for (index, entity) in entities.iter().enumerate() {
                for &(_, other, from, to) in self.0.iter().filter(|row| row.0 == *entity) {
                    let validity = span(from, to);
                    found(index, Edge { other, relation: 0, validity, source: 0 });
                }
            }
            Ok(())
        }
    }

    fn span(from: i64, to: i64) -> Interval {
        Interval::new(Timestamp::from_nanos(from), Timestamp::from_nanos(to))
    }

    fn routes(table: &Table, target: u32, at: i64, max_hops: u32) -> Vec<Vec<u32>> {
        paths(table, 1, target, &span(at, at + 1).into(), max_hops)
            .unwrap()
            .into_iter()
            .map(|path| path.steps.iter().map(|(_, edge)| edge.other).collect())
            .collect()
    }

    #[test]
    fn cycles_end() {
        let table = Table(vec![(1, 2, 0, 9), (2, 3, 0, 9), (3, 2, 0, 9), (3, 1, 0, 9), (2, 4, 0, 9), (3, 4, 0, 9)]);
        let mut routes = routes(&table, 4, 5, 8);
        routes.sort();
        assert_eq!(routes, [vec![2, 3, 4], vec![2, 4]]);
        assert_eq!(reach(&table, 1, Interval::ALL, 8).unwrap().entities.len(), 4);
    }

    #[test]
    fn a_path_that_takes_all_links_of_another_is_not_minimal() {
        let table = Table(vec![(1, 2, 0, 9), (2, 3, 0, 9)]);
        let to = |target| paths(&table, 1, target, &span(0, 9).into(), 8).unwrap().remove(0);
        let kept = minimal(vec![(3, to(3)), (2, to(2))]);
        assert_eq!(kept.iter().map(|(target, _)| *target).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn all_steps_must_hold_at_the_same_instant() {
        let table = Table(vec![(1, 2, 0, 5), (2, 3, 5, 9)]);
        assert!(routes(&table, 3, 4, 8).is_empty());
        assert!(routes(&table, 3, 5, 8).is_empty());
        let reached = reach(&table, 1, Interval::ALL, 8).unwrap();
        assert!(reached.get(3).is_none());
    }

    #[test]
    fn the_hop_limit_counts_links_and_says_when_it_was_hit() {
        let table = Table(vec![(1, 2, 0, 9), (2, 3, 0, 9)]);
        assert!(routes(&table, 3, 1, 1).is_empty());
        let short = reach(&table, 1, Interval::ALL, 1).unwrap();
        assert!(short.limit_reached && short.get(3).is_none());
        let long = reach(&table, 1, Interval::ALL, 2).unwrap();
        assert!(!long.limit_reached && long.get(3).is_some());
    }

    #[test]
    fn an_instant_reached_late_still_reaches_on() {
        // 3 is reached directly during [0, 3) and over 2 during [2, 9): what lies behind 3 must be
        // reached in all of [0, 9).
        let table = Table(vec![(1, 3, 0, 3), (1, 2, 0, 9), (2, 3, 2, 9), (3, 4, 0, 9)]);
        let reached = reach(&table, 1, Interval::ALL, 8).unwrap();
        assert_eq!(reached.get(4).unwrap().when, IntervalSet::from(span(0, 9)));
    }

    /// Twelve layers of ten, each linked to all of the next, and from the last nothing at the time when the first
    /// are reached: 10^12 ways lead nearly there.
    #[test]
    fn where_no_path_holds_at_any_instant_none_is_looked_for() {
        let (root, target) = (1000, 1001);
        let mut rows: Vec<(u32, u32, i64, i64)> = (0..10).map(|first| (root, first, 0, 50)).collect();
        for layer in 0..11 {
            let of = |layer: u32| (0..10).map(move |at| layer * 10 + at);
            rows.extend(of(layer).flat_map(|from| of(layer + 1).map(move |to| (from, to, 0, 100))));
        }
        rows.extend((110..120).map(|last| (last, target, 50, 100)));
        let during = IntervalSet::from(span(0, 100));
        assert_eq!(paths(&Table(rows), root, target, &during, 32).unwrap(), Vec::new());
    }
}
