//! The entity book of a slab: which homes have an event that names an entity other than the home.
//!
//! Pairs of entity and home, sorted, in parts of about [`PART_PAIRS`]; an entity lies in one part.

use crate::codec::varint::{self, Reader};
use crate::error::Result;

/// Pairs of one part, unless one entity alone has more.
const PART_PAIRS: usize = 1024;

/// The parts of sorted `pairs` of (entity, lower half of the home): each with its first entity.
pub(crate) fn parts(pairs: &[(u32, u16)]) -> impl Iterator<Item = (u32, &[(u32, u16)])> {
    let mut rest = pairs;
    std::iter::from_fn(move || {
        let first = rest.first()?.0;
        let mut end = rest.len().min(PART_PAIRS);
        // An entity stays together: with those before it, or alone if it comes first.
        if end < rest.len() {
            let last = rest[end].0;
            let begins = rest[..end].partition_point(|pair| pair.0 < last);
            end = if begins > 0 { begins } else { rest.partition_point(|pair| pair.0 <= last) };
        }
        let (part, behind) = rest.split_at(end);
        rest = behind;
        Some((first, part))
    })
}

/// Appends a part.
pub(crate) fn encode(part: &[(u32, u16)], out: &mut Vec<u8>) {
    let mut previous = 0;
    for of_entity in part.chunk_by(|a, b| a.0 == b.0) {
        varint::put(out, u64::from(of_entity[0].0 - previous));
        previous = of_entity[0].0;
        varint::put(out, of_entity.len() as u64);
        let mut last = 0;
        for &(_, home) in of_entity {
            varint::put(out, u64::from(home - last));
            last = home;
        }
    }
}

/// Appends to `homes` the lower halves of the homes of `entity` in a part.
pub(crate) fn homes_of(bytes: &[u8], entity: u32, homes: &mut Vec<u16>) -> Result<()> {
    let mut reader = Reader::new(bytes);
    let mut at = 0u32;
    while reader.remaining() > 0 {
        at = at.wrapping_add(reader.varint_u32()?);
        let count = reader.length()?;
        let mut home = 0u16;
        for _ in 0..count {
            home = home.wrapping_add(reader.varint_u32()? as u16);
            if at == entity {
                homes.push(home);
            }
        }
        if at >= entity {
            break;
        }
    }
    Ok(())
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
            let sorted: Vec<(u32, u16)> = pairs.iter().copied().collect();
            let mut stored: Vec<(u32, Vec<u8>)> = Vec::new();
            for (first, part) in parts(&sorted) {
                let mut bytes = Vec::new();
                encode(part, &mut bytes);
                stored.push((first, bytes));
            }
            for entity in pairs.iter().map(|pair| pair.0).chain([50, u32::MAX]) {
                let mut homes = Vec::new();
                let after = stored.partition_point(|part| part.0 <= entity);
                if after > 0 {
                    homes_of(&stored[after - 1].1, entity, &mut homes).unwrap();
                }
                let expected: Vec<u16> = pairs.range((entity, 0)..=(entity, u16::MAX)).map(|pair| pair.1).collect();
                prop_assert_eq!(homes, expected);
            }
        }

        #[test]
        fn arbitrary_parts_never_panic(bytes: Vec<u8>, entity: u32) {
            let _ = homes_of(&bytes, entity, &mut Vec::new());
        }
    }
}
