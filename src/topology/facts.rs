//! From statements about links to the validities that hold.

use crate::codec::key::{LinkKey, Statement};
use crate::error::Result;
use crate::model::{Interval, Timestamp};

/// One validity of one link, seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// The entity at the other end.
    pub(crate) other: u32,
    /// Word number of the relation.
    pub(crate) relation: u32,
    pub(crate) validity: Interval,
    /// Word number of the feed that said so; of several whose validities became one, the earliest.
    pub(crate) source: u32,
}

/// Answers what an entity depends on.
pub(crate) trait Facts {
    /// The outgoing edges of each of `entities` (ascending), handed to `found` with the index of its
    /// entity.
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()>;
}

/// One row of the links family: its key and the source's word number.
pub(crate) type Stated = (LinkKey, u32);

/// Reads the effective edges out of the statements of one entity and side, in key order: each added
/// validity that is not retracted, cut at the first instant at which it was closed. Those of one link
/// that overlap or adjoin are one: a link said twice must not make two paths out of each path over it.
pub(crate) fn effective(statements: &[Stated], found: &mut dyn FnMut(Edge)) {
    for group in statements.chunk_by(|a, b| (a.0.relation, a.0.other) == (b.0.relation, b.0.other)) {
        let mut pending: Option<Edge> = None;
        for edge in pieces(group) {
            match &mut pending {
                // Additions come in the order of their beginning.
                Some(known) if edge.validity.from <= known.validity.to => {
                    known.validity.to = known.validity.to.max(edge.validity.to);
                }
                _ => {
                    if let Some(whole) = pending.replace(edge) {
                        found(whole);
                    }
                }
            }
        }
        if let Some(whole) = pending {
            found(whole);
        }
    }
}

/// What each addition of one link leaves after closes and retractions.
fn pieces(group: &[Stated]) -> impl Iterator<Item = Edge> + '_ {
    let retracted = |from: i64| group.iter().any(|(key, _)| key.statement == Statement::Retract && key.from == from);
    let closed = |from: i64, to: i64| {
        let closes = group.iter().filter(|(key, _)| key.statement == Statement::Close);
        closes.map(|(key, _)| key.from).filter(|&at| from < at && at < to).min()
    };
    let added = group.iter().filter(|(key, _)| key.statement == Statement::Add);
    added.filter(move |(key, _)| !retracted(key.from)).map(move |(key, source)| Edge {
        other: key.other,
        relation: key.relation,
        validity: Interval::new(
            Timestamp::from_nanos(key.from),
            Timestamp::from_nanos(closed(key.from, key.to).unwrap_or(key.to)),
        ),
        source: *source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key::Side;

    fn stated(statement: Statement, from: i64, to: i64) -> Stated {
        (LinkKey { entity: 1, side: Side::Outgoing, relation: 0, other: 2, statement, from, to }, 7)
    }

    fn validities(mut statements: Vec<Stated>) -> Vec<(i64, i64)> {
        statements.sort_unstable();
        let mut found = Vec::new();
        effective(&statements, &mut |edge| {
            found.push((edge.validity.from.as_nanos(), edge.validity.to.as_nanos()));
        });
        found
    }

    #[test]
    fn a_close_ends_what_began_before_and_leaves_what_begins_later() {
        let adds = [stated(Statement::Add, 0, 100), stated(Statement::Add, 60, 100)];
        assert_eq!(validities([&adds[..], &[stated(Statement::Close, 50, 0)]].concat()), [(0, 50), (60, 100)]);
    }

    #[test]
    fn a_close_outside_the_validity_changes_nothing() {
        let adds = [stated(Statement::Add, 10, 20)];
        assert_eq!(
            validities([&adds[..], &[stated(Statement::Close, 10, 0), stated(Statement::Close, 30, 0)]].concat()),
            [(10, 20)]
        );
    }

    #[test]
    fn validities_that_overlap_or_adjoin_are_one() {
        let adds = [(0, 10), (3, 5), (10, 12), (13, 20), (13, 15)].map(|(from, to)| stated(Statement::Add, from, to));
        assert_eq!(validities(adds.to_vec()), [(0, 12), (13, 20)]);
    }

    #[test]
    fn a_retraction_withdraws_the_validities_that_begin_at_its_instant() {
        let statements =
            vec![stated(Statement::Add, 0, 10), stated(Statement::Add, 5, 20), stated(Statement::Retract, 0, 0)];
        assert_eq!(validities(statements), [(5, 20)]);
    }
}
