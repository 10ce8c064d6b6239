//! The "certainly new" filter of a seal, and its index from identity to home.
//!
//! Identities are 64-bit hashes. Both tables are split into parts by the top bits, so that one
//! lookup reads one part: the filter is a binary fuse filter of 8-bit fingerprints (Graf and Lemire,
//! "Binary Fuse Filters", 2022), the index a sorted list of (hash, home) pairs, delta coded.

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter as _, FilterRef as _};

use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};

/// Identities in one part, about.
const PART_IDENTITIES: usize = 1 << 16;

/// How many parts, as a power of two, serve `identities`.
pub(crate) fn part_bits(identities: usize) -> u32 {
    identities.div_ceil(PART_IDENTITIES).next_power_of_two().trailing_zeros()
}

/// The part that an identity lies in.
pub(crate) fn part_of(identity: u64, bits: u32) -> u32 {
    if bits == 0 { 0 } else { (identity >> (64 - bits)) as u32 }
}

/// A part of a filter: never forgets an identity, mistakes fewer than 0.4 % of the others.
pub(crate) struct FilterPart(Box<[u8]>);

/// Seed u64, segment length u32, its mask u32, length of all but the last two segments u32.
const FILTER_HEAD_LEN: usize = 8 + 4 + 4 + 4;

impl FilterPart {
    /// Builds the part for `identities`: distinct, in any order. Deterministic.
    pub(crate) fn build(identities: &[u64]) -> FilterPart {
        let filter = BinaryFuse8::try_from(identities).expect("distinct identities make a filter");
        let mut bytes = vec![0; FILTER_HEAD_LEN];
        filter.dma_copy_descriptor_to(&mut bytes);
        bytes.extend_from_slice(filter.dma_fingerprints());
        FilterPart(bytes.into())
    }

    pub(crate) fn contains(&self, identity: u64) -> bool {
        let (head, fingerprints) = self.0.split_at(FILTER_HEAD_LEN);
        BinaryFuse8Ref::from_dma(head, fingerprints).contains(&identity)
    }

    /// The bytes to store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes stored bytes, when a lookup in them cannot go astray.
    pub(crate) fn decode(bytes: &[u8]) -> Result<FilterPart> {
        let mut reader = Reader::new(bytes);
        reader.bytes(8)?;
        let segment_length = u32::from_le_bytes(reader.array()?);
        let mask = u32::from_le_bytes(reader.array()?);
        let segment_count_length = u32::from_le_bytes(reader.array()?);
        // A lookup touches three neighbouring segments, the first of which begins below
        // `segment_count_length`.
        let needed = u64::from(segment_count_length) + 2 * u64::from(segment_length);
        let fits = segment_length.is_power_of_two()
            && mask == segment_length - 1
            && segment_count_length.is_multiple_of(segment_length)
            && segment_count_length > 0
            && needed == reader.remaining() as u64
            && needed <= u64::from(u32::MAX);
        if fits { Ok(FilterPart(bytes.into())) } else { Err(Error::corrupt("filter whose parts do not fit")) }
    }
}

/// Encodes a part of the index: pairs (identity, home), sorted.
pub(crate) fn encode_homes(pairs: &[(u64, u32)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pairs.len() * 8);
    varint::put(&mut out, pairs.len() as u64);
    let mut previous = 0;
    for &(identity, home) in pairs {
        varint::put(&mut out, identity - previous);
        varint::put(&mut out, u64::from(home));
        previous = identity;
    }
    out
}

/// The homes under which `identity` stands in a part of the index.
pub(crate) fn homes_of(bytes: &[u8], identity: u64) -> Result<Vec<u32>> {
    let mut reader = Reader::new(bytes);
    let count = reader.length()?;
    let mut homes = Vec::new();
    let mut at = 0u64;
    for _ in 0..count {
        at = at.wrapping_add(reader.varint()?);
        let home = reader.varint_u32()?;
        if at == identity {
            homes.push(home);
        } else if at > identity {
            return Ok(homes);
        }
    }
    reader.finish()?;
    Ok(homes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn filter_never_forgets(identities: BTreeSet<u64>) {
            let identities: Vec<u64> = identities.into_iter().collect();
            let part = FilterPart::decode(FilterPart::build(&identities).as_bytes()).unwrap();
            prop_assert!(identities.iter().all(|&identity| part.contains(identity)));
        }

        #[test]
        fn index_names_every_home(mut pairs in proptest::collection::vec((0u64..50, any::<u32>()), 0..60)) {
            pairs.sort_unstable();
            let bytes = encode_homes(&pairs);
            for identity in 0..50 {
                let homes: Vec<u32> = pairs.iter().filter(|pair| pair.0 == identity).map(|pair| pair.1).collect();
                prop_assert_eq!(homes_of(&bytes, identity).unwrap(), homes);
            }
        }

        #[test]
        fn arbitrary_parts_never_panic(bytes: Vec<u8>, identity: u64) {
            let _ = homes_of(&bytes, identity);
            if let Ok(part) = FilterPart::decode(&bytes) {
                part.contains(identity);
            }
        }
    }

    #[test]
    fn filter_mistakes_fewer_than_one_in_two_hundred() {
        let mix = |n: u64| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes());
        let part = FilterPart::build(&(0..60_000).map(mix).collect::<Vec<_>>());
        let mistaken = (60_000..160_000).filter(|&n| part.contains(mix(n))).count();
        assert!(mistaken < 500, "{mistaken} of 100,000");
    }
}
