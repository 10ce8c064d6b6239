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
    /// Word number of the feed that said so.
    pub(crate) source: u32,
}

/// Answers what an entity depends on.
pub(crate) trait Facts {
    /// The outgoing edges of each of `entities` (ascending), handed to `found` with the index of its
    /// entity. With `retracted`, edges whose statement was withdrawn count too.
    fn outgoing(&self, entities: &[u32], found: &mut dyn FnMut(usize, Edge)) -> Result<()>;
}

/// One row of the links family: its key and the source's word number.
pub(crate) type Stated = (LinkKey, u32);

/// Reads the effective edges out of the statements of one entity and side, in key order: each added
/// validity that is not retracted, cut at the first instant at which it was closed.
pub(crate) fn effective(statements: &[Stated], found: &mut dyn FnMut(Edge)) {
    for group in statements.chunk_by(|a, b| (a.0.relation, a.0.other) == (b.0.relation, b.0.other)) {
        for (key, source) in group.iter().filter(|stated| stated.0.statement == Statement::Add) {
            let retracted =
                group.iter().any(|stated| stated.0.statement == Statement::Retract && stated.0.from == key.from);
            if retracted {
                continue;
            }
            let closed = group
                .iter()
                .filter(|stated| stated.0.statement == Statement::Close)
                .map(|stated| stated.0.from)
                .filter(|&at| key.from < at && at < key.to)
                .min();
            let to = closed.unwrap_or(key.to);
            found(Edge {
                other: key.other,
                relation: key.relation,
                validity: Interval::new(Timestamp::from_nanos(key.from), Timestamp::from_nanos(to)),
                source: *source,
            });
        }
    }
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
        let adds = [stated(Statement::Add, 0, 100), stated(Statement::Add, 50, 100)];
        assert_eq!(validities([&adds[..], &[stated(Statement::Close, 50, 0)]].concat()), [(0, 50), (50, 100)]);
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
    fn a_retraction_withdraws_the_validities_that_begin_at_its_instant() {
        let statements =
            vec![stated(Statement::Add, 0, 10), stated(Statement::Add, 5, 20), stated(Statement::Retract, 0, 0)];
        assert_eq!(validities(statements), [(5, 20)]);
    }
}
