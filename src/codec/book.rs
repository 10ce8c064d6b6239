//! The entity book of a slab: which homes have an event that names an entity other than the home.
//!
//! Sorted by entity, then home, in parts of about [`PART_PLACES`]; an entity lies in one part. Besides each
//! home stands the rank of the entity among all that the home's events name: by number, or, where they are
//! more than pages tell apart, those first that are named most often. Pages tell an event's entities by it.

use crate::codec::varint::{self, Reader};
use crate::error::Result;

/// Places of one part, unless one entity alone has more.
const PART_PLACES: usize = 1024;

/// An entity under a home: the lower half of the home, and the rank of the entity there, 255 for all above 254.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) entity: u32,
    pub(crate) home: u16,
    pub(crate) rank: u8,
}

/// The parts of sorted `places`, each with its first entity.
pub(crate) fn parts(places: &[Place]) -> impl Iterator<Item = (u32, &[Place])> {
    let mut rest = places;
    std::iter::from_fn(move || {
        let first = rest.first()?.entity;
        let mut end = rest.len().min(PART_PLACES);
        // An entity stays together: with those before it, or alone if it comes first.
        if end < rest.len() {
            let last = rest[end].entity;
            let begins = rest[..end].partition_point(|place| place.entity < last);
            end = if begins > 0 { begins } else { rest.partition_point(|place| place.entity <= last) };
        }
        let (part, behind) = rest.split_at(end);
        rest = behind;
        Some((first, part))
    })
}

/// Appends a part.
pub(crate) fn encode(part: &[Place], out: &mut Vec<u8>) {
    let mut previous = 0;
    for of_entity in part.chunk_by(|a, b| a.entity == b.entity) {
        varint::put(out, u64::from(of_entity[0].entity - previous));
        previous = of_entity[0].entity;
        varint::put(out, of_entity.len() as u64);
        let mut last = 0;
        for place in of_entity {
            varint::put(out, u64::from(place.home - last));
            last = place.home;
        }
        out.extend(of_entity.iter().map(|place| place.rank));
    }
}

/// The homes of one entity in a part, and its rank under each.
#[derive(Clone, Copy)]
pub(crate) struct OfEntity<'a> {
    /// Differences from home to home.
    steps: &'a [u8],
    ranks: &'a [u8],
}

impl<'a> OfEntity<'a> {
    /// Those of `entity`; `None` if the part does not have it.
    pub(crate) fn find(part: &'a [u8], entity: u32) -> Result<Option<OfEntity<'a>>> {
        let mut reader = Reader::new(part);
        let mut at = 0u32;
        while reader.remaining() > 0 {
            at = at.wrapping_add(reader.varint_u32()?);
            let count = reader.length()?;
            let from = part.len() - reader.remaining();
            reader.skip_varints(count)?;
            let steps = &part[from..part.len() - reader.remaining()];
            let ranks = reader.bytes(count)?;
            if at >= entity {
                return Ok((at == entity).then_some(OfEntity { steps, ranks }));
            }
        }
        Ok(None)
    }

    /// Calls `seen` with each home, ascending, and the rank there.
    #[inline]
    pub(crate) fn for_each(&self, mut seen: impl FnMut(u16, u8)) -> Result<()> {
        let mut home = 0u16;
        // Neighbours are seldom 128 homes apart, so that a step is a byte.
        if self.steps.len() == self.ranks.len() {
            for (&step, &rank) in self.steps.iter().zip(self.ranks) {
                home = home.wrapping_add(u16::from(step));
                seen(home, rank);
            }
            return Ok(());
        }
        let mut steps = Reader::new(self.steps);
        for &rank in self.ranks {
            home = home.wrapping_add(steps.varint_u32()? as u16);
            seen(home, rank);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_book_tells_the_homes_of_each_entity(
            pairs in proptest::collection::btree_set((0u32..40, 0u16..500), 0..6000),
            wild in proptest::collection::btree_set((any::<u32>(), any::<u16>()), 0..20),
        ) {
            let pairs: BTreeSet<(u32, u16)> = pairs.into_iter().chain(wild).collect();
            let place = |&(entity, home): &(u32, u16)| Place { entity, home, rank: (entity ^ u32::from(home)) as u8 };
            let sorted: Vec<Place> = pairs.iter().map(place).collect();
            let mut stored: Vec<(u32, Vec<u8>)> = Vec::new();
            for (first, part) in parts(&sorted) {
                let mut bytes = Vec::new();
                encode(part, &mut bytes);
                stored.push((first, bytes));
            }
            for entity in pairs.iter().map(|pair| pair.0).chain([50, u32::MAX]) {
                let mut places = Vec::new();
                let after = stored.partition_point(|part| part.0 <= entity);
                if after > 0 && let Some(found) = OfEntity::find(&stored[after - 1].1, entity).unwrap() {
                    found.for_each(|home, rank| places.push(Place { entity, home, rank })).unwrap();
                }
                let expected: Vec<Place> = pairs.range((entity, 0)..=(entity, u16::MAX)).map(place).collect();
                prop_assert_eq!(places, expected);
            }
        }

        #[test]
        fn arbitrary_parts_never_panic(bytes: Vec<u8>, entity: u32) {
            if let Ok(Some(found)) = OfEntity::find(&bytes, entity) {
                let _ = found.for_each(|_, _| {});
            }
        }
    }
}
