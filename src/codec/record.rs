//! Meta records and log rows: the one place that uses bincode, always with a limit on what a
//! decoder may claim and a check that it read every byte.

use bincode::{Decode, Encode};

use crate::codec::raw::Layout;
use crate::error::{Error, Result};

/// `MOST` is what a record may claim while it is decoded, in bytes of memory.
fn config<const MOST: usize>() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MOST>()
}

/// The bytes of a record.
pub(crate) fn encode(record: &impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(record, config::<{ 1 << 30 }>()).expect("records in memory encode")
}

/// The record of `bytes`, all of them.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T> {
    // No record takes more than 16 times its bytes, and room is made before they are read.
    let decoded = match bytes.len() {
        0..0x1000 => bincode::decode_from_slice(bytes, config::<{ 1 << 16 }>()),
        0x1000..0x1_0000 => bincode::decode_from_slice(bytes, config::<{ 1 << 20 }>()),
        0x1_0000..0x10_0000 => bincode::decode_from_slice(bytes, config::<{ 1 << 24 }>()),
        0x10_0000..0x100_0000 => bincode::decode_from_slice(bytes, config::<{ 1 << 28 }>()),
        _ => bincode::decode_from_slice(bytes, config::<{ 1 << 30 }>()),
    };
    let (record, read) = decoded.map_err(|cause| Error::corrupt("record does not decode").because(cause))?;
    if read == bytes.len() {
        Ok(record)
    } else {
        Err(Error::corrupt(format!("{} bytes behind a record", bytes.len() - read)))
    }
}

/// What a store was created with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Header {
    pub(crate) format: u32,
    pub(crate) customer_type: String,
}

/// Counts of what is not in segments; written with each commit that changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Counts {
    /// Entities, by the word number of their type.
    pub(crate) entities: Vec<u64>,
    /// Link statements, each counted once.
    pub(crate) links: u64,
}

/// One commit in the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LogRow {
    /// Wall time of the commit, nanoseconds since 1970 UTC.
    pub(crate) wall: i64,
    pub(crate) events: u32,
    /// Packed rows of the events, one behind the other.
    pub(crate) packed: Vec<u8>,
    /// Length of each packed row, as varints.
    pub(crate) lengths: Vec<u8>,
    /// Homes of each event, u32 little-endian; with `several_homes`, their number as a varint before.
    pub(crate) homes: Vec<u8>,
    pub(crate) several_homes: bool,
}

/// What the events of one kind from one feed have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) struct Shape {
    /// Word numbers.
    pub(crate) source: u32,
    pub(crate) kind: u32,
    /// Word number plus one; 0 for no layer.
    pub(crate) layer: u32,
    pub(crate) attributes: Vec<u32>,
    pub(crate) layout: Layout,
}

/// How the index of a segment divides time; see `codec::calendar`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Span {
    /// Times before and behind which few events lie.
    pub(crate) low: i64,
    pub(crate) high: i64,
    /// Level of the calendar.
    pub(crate) level: u8,
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SegmentMeta {
    pub(crate) number: u32,
    /// 0 for one seal, n + 1 for a merge of level n.
    pub(crate) level: u32,
    /// Events stored, counting one with several homes once for each.
    pub(crate) rows: u64,
    /// Lowest event time.
    pub(crate) first: i64,
    /// End of the last presence, exclusive.
    pub(crate) until: i64,
    pub(crate) first_commit: u64,
    pub(crate) last_commit: u64,
    pub(crate) span: Span,
}

/// One seal: what the dedupe tables of its events cover.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SealMeta {
    /// The segment number it was sealed under.
    pub(crate) number: u32,
    /// Lowest and highest event time, both inclusive.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Parts of its filter, as a power of two.
    pub(crate) part_bits: u32,
    /// Whether it has an index of given ids.
    pub(crate) has_index: bool,
}

/// Counts of the events of one shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ShapeTotals {
    pub(crate) events: u64,
    /// Highest event time.
    pub(crate) last: i64,
    pub(crate) last_commit: u64,
}

/// Counts over sealed events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Totals {
    pub(crate) events: u64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// By shape number.
    pub(crate) shapes: Vec<ShapeTotals>,
    /// By severity number.
    pub(crate) severities: Vec<u64>,
    /// Events none of whose subjects is a customer.
    pub(crate) without_customer: u64,
}

/// The list of what is sealed: a segment that it does not name does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Manifest {
    /// The next segment number to give; never given twice.
    pub(crate) next_segment: u32,
    /// The last commit whose log row was trimmed.
    pub(crate) trimmed: u64,
    /// In the order in which they were sealed.
    pub(crate) segments: Vec<SegmentMeta>,
    pub(crate) seals: Vec<SealMeta>,
    /// Segments merged away whose rows may still be there.
    pub(crate) garbage: Vec<u32>,
    pub(crate) totals: Totals,
}

/// Somebody who was erased, with what belonged to nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Erasure {
    /// When it was asked for, nanoseconds since 1970 UTC.
    pub(crate) at: i64,
    /// Entities, the customer first.
    pub(crate) numbers: Vec<u32>,
    /// Keyed hash of the name of each.
    pub(crate) hashes: Vec<[u8; 16]>,
    /// Whether no file of the store holds anything of them any more, as far as erasing goes.
    pub(crate) done: bool,
}

/// A cohort saved under a name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SavedCohort {
    /// Text of the expression it came from.
    pub(crate) expr: String,
    /// Last commit visible when it was found.
    pub(crate) commit: u64,
    /// The instant from which relative moments were counted.
    pub(crate) now: i64,
    /// The customers, a roaring bitmap in the portable format.
    pub(crate) numbers: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn trailing_bytes_are_damage() {
        let mut bytes = encode(&Header { format: 1, customer_type: "customer".into() });
        assert!(decode::<Header>(&bytes).is_ok());
        bytes.push(0);
        assert!(decode::<Header>(&bytes).is_err());
    }

    #[test]
    fn a_length_beyond_the_limit_is_an_error_not_an_allocation() {
        let huge = [1, 253, 255, 255, 255, 255, 255, 255, 255, 127];
        assert!(decode::<Header>(&huge).is_err());
    }

    #[test]
    fn room_is_made_only_for_what_the_bytes_can_hold() {
        // Packed rows of 2^24 bytes, of which none is there.
        let error = decode::<LogRow>(&[0, 0, 252, 0, 0, 0, 1]).unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!("{cause:?}"));
        assert_eq!(cause.as_deref(), Some("LimitExceeded"));
    }

    proptest! {
        #[test]
        fn records_of_any_size_survive(words in proptest::collection::vec(0u64..3, 0..40_000)) {
            let counts = Counts { entities: words, links: 3 };
            prop_assert_eq!(decode::<Counts>(&encode(&counts)).unwrap(), counts);
        }

        #[test]
        fn arbitrary_records_never_panic(bytes: Vec<u8>) {
            let _ = (decode::<LogRow>(&bytes), decode::<Manifest>(&bytes), decode::<Shape>(&bytes));
            let _ = (decode::<SavedCohort>(&bytes), decode::<Erasure>(&bytes));
        }
    }
}
