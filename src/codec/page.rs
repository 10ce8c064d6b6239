//! A page of the index: the events of one kind under 65,536 neighbouring homes of one segment.
//!
//! The narrow fields of each event stand in columns, block of time by block, ordered by home: enough
//! to tell who had such an event and when, without reading a row. What a page does not hold (values,
//! other entities, rare texts) makes a question ask the row.

use smallvec::SmallVec;

use crate::codec::homes::{self, HOME_WORDS, Homes};
use crate::codec::raw;
use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};

/// Texts of one attribute that a page numbers; of one with more it says nothing.
pub(crate) const ATTRIBUTE_TEXTS_MAX: usize = 255;
/// Entities of an event that a page tells of: its first ones, subjects before context.
pub(crate) const ENTITY_COLUMNS: usize = 4;
/// Code of an entity that an event does not have.
pub(crate) const ENTITY_NONE: u8 = 0;
/// Code of the home itself.
pub(crate) const ENTITY_HOME: u8 = 1;
/// Code of the entity of rank 0 among those that the home's events name; others follow.
pub(crate) const ENTITY_FIRST: u8 = 2;
/// Code of all entities of higher ranks.
pub(crate) const ENTITY_OTHER: u8 = 255;
/// Bytes behind the last section, so that eight can be read at once anywhere.
const PADDING: usize = 8;

/// What the events of one page have in common with some of its others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    pub(crate) shape: u32,
    pub(crate) severity: u8,
}

/// An attribute that a page has a column of: its scope, and the numbers of its texts, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) scope: u32,
    pub(crate) texts: Vec<u32>,
}

/// The events of one block, to encode: ordered by home, columns of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockEvents {
    pub(crate) number: i64,
    /// Lower halves of the homes.
    pub(crate) homes: Vec<u16>,
    /// Ticks since the block began.
    pub(crate) ticks: Vec<u16>,
    /// Places in the page's classes.
    pub(crate) classes: Vec<u16>,
    /// For each attribute of the page: 0 for a text that is not numbered or not there, else its
    /// place among the texts plus one.
    pub(crate) attributes: Vec<Vec<u8>>,
    /// Codes of the entities of each event, a column for each of the first; those not there end with what
    /// comes before them.
    pub(crate) entities: [Vec<u8>; ENTITY_COLUMNS],
    /// In a page with lasting events: the length of each in ticks, by [`length_code`].
    pub(crate) lengths: Vec<u8>,
    /// Ticks from the beginning of the block to the end of its last presence.
    pub(crate) until: u64,
}

/// The code of a length of `ticks`: exact below 8, then eight steps to each doubling, rounded down.
pub(crate) fn length_code(ticks: u64) -> u8 {
    if ticks < 8 {
        return ticks as u8;
    }
    let power = 63 - ticks.leading_zeros();
    let code = (power - 2) * 8 + ((ticks >> (power - 3)) & 7) as u32;
    code.min(255) as u8
}

/// The lengths in ticks that have this code: from the first up to, not including, the second.
pub(crate) fn length_bounds(code: u8) -> (u64, u64) {
    let lower = |code: u32| match code {
        0..8 => u64::from(code),
        _ => (8 + u64::from(code & 7)) << (code / 8 - 1),
    };
    (lower(code.into()), if code == 255 { u64::MAX } else { lower(u32::from(code) + 1) })
}

/// Bits that tell `count` things apart.
fn width(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Appends the page.
pub(crate) fn encode(classes: &[Class], attributes: &[Attribute], blocks: &[BlockEvents], out: &mut Vec<u8>) {
    varint::put(out, classes.len() as u64);
    for class in classes {
        varint::put(out, u64::from(class.shape));
        out.push(class.severity);
    }
    varint::put(out, attributes.len() as u64);
    for attribute in attributes {
        varint::put(out, u64::from(attribute.scope));
        varint::put(out, attribute.texts.len() as u64);
        attribute.texts.iter().for_each(|&text| varint::put(out, u64::from(text)));
    }
    let entities: [(u8, u32); ENTITY_COLUMNS] = std::array::from_fn(|column| {
        let codes = || blocks.iter().flat_map(|block| &block.entities[column]).copied();
        let least = codes().min().unwrap_or(0);
        (least, width(usize::from(codes().max().unwrap_or(0) - least) + 1))
    });
    entities.iter().for_each(|&(least, width)| out.extend([least, width as u8]));
    let lasting = blocks.iter().any(|block| !block.lengths.is_empty());
    varint::put(out, (blocks.len() as u64) << 1 | u64::from(lasting));
    let mut sections = Vec::new();
    let mut previous = 0i64;
    for block in blocks {
        let from = sections.len();
        homes::encode(&block.homes, &mut sections);
        block.ticks.iter().for_each(|ticks| sections.extend_from_slice(&ticks.to_le_bytes()));
        pack(block.classes.iter().map(|&class| u64::from(class)), width(classes.len()), &mut sections);
        for (codes, attribute) in block.attributes.iter().zip(attributes) {
            pack(codes.iter().map(|&code| u64::from(code)), width(attribute.texts.len() + 1), &mut sections);
        }
        for (codes, &(least, width)) in block.entities.iter().zip(&entities) {
            pack(codes.iter().map(|&code| u64::from(code - least)), width, &mut sections);
        }
        sections.extend_from_slice(&block.lengths);
        varint::put_signed(out, block.number.wrapping_sub(previous));
        previous = block.number;
        varint::put(out, block.homes.len() as u64);
        varint::put(out, (sections.len() - from) as u64);
        if lasting {
            varint::put(out, block.until);
        }
    }
    out.extend_from_slice(&sections);
    out.extend_from_slice(&[0; PADDING]);
}

/// Appends numbers of `width` bits each, lowest first, to whole bytes.
fn pack(numbers: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut word, mut bits) = (0u64, 0);
    for number in numbers {
        word |= number << bits;
        bits += width;
        while bits >= 8 {
            out.push(word as u8);
            word >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(word as u8);
    }
}

/// Numbers of a few bits each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    /// From the first number on, with eight bytes behind the last.
    bytes: &'a [u8],
    width: u32,
}

impl Packed<'_> {
    /// The number at `at`, which must be within the block.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> u32 {
        if self.width == 0 {
            return 0;
        }
        let bit = at * self.width as usize;
        let word = self.bytes[bit / 8..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        (word >> (bit % 8)) as u32 & ((1 << self.width) - 1)
    }
}

impl Packed<'_> {
    /// Appends the first `count` numbers, which must all be within the block.
    pub(crate) fn unpack(&self, count: usize, out: &mut Vec<u16>) {
        let (width, mask) = (self.width as usize, (1u64 << self.width) - 1);
        match width {
            0 => out.resize(out.len() + count, 0),
            // Eight numbers fill whole bytes, and fit one word.
            1..=8 => {
                let from = out.len();
                out.resize(from + count.next_multiple_of(8), 0);
                for (eight, at) in out[from..].chunks_exact_mut(8).zip((0..).step_by(width)) {
                    let word = self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<8>());
                    let word = word.map_or(0, |bytes| u64::from_le_bytes(*bytes));
                    for (number, shift) in eight.iter_mut().zip((0..).step_by(width)) {
                        *number = (word >> shift & mask) as u16;
                    }
                }
                out.truncate(from + count);
            }
            _ => out.extend((0..count).map(|at| self.get(at) as u16)),
        }
    }
}

/// A page, taken apart but not unpacked.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) classes: Vec<Class>,
    pub(crate) attributes: SmallVec<[Attribute; 2]>,
    /// By ascending number.
    heads: Vec<Head>,
    entities: [(u8, u32); ENTITY_COLUMNS],
    lasting: bool,
    /// The columns of all blocks, one after the other, and the padding.
    sections: Box<[u8]>,
}

/// What a page tells of one of its blocks before the columns are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) number: i64,
    /// Ticks from the beginning of the block to the end of its last presence; 0 where nothing lasts.
    pub(crate) until: u64,
    /// Events.
    pub(crate) count: usize,
    /// Where its columns begin and end.
    from: usize,
    to: usize,
}

/// The events of one block, in columns, ordered by home.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    count: usize,
    homes: Homes<'a>,
    ticks: &'a [u8],
    pub(crate) classes: Packed<'a>,
    pub(crate) attributes: SmallVec<[Packed<'a>; 2]>,
    entities: [(u8, Packed<'a>); ENTITY_COLUMNS],
    lengths: &'a [u8],
}

impl Page {
    /// # Errors
    /// `Corrupt` for bytes that [`encode`] cannot have written, as far as shapes and lengths tell; those of
    /// a block are told by [`Page::block`]. Homes and codes are checked where they are used.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Page> {
        let mut reader = Reader::new(bytes);
        let count = reader.length()?;
        let mut classes = Vec::with_capacity(count);
        for _ in 0..count {
            classes.push(Class { shape: reader.varint_u32()?, severity: raw::severity(reader.byte()?)? });
        }
        let count = reader.length()?;
        let mut attributes: SmallVec<[Attribute; 2]> = SmallVec::new();
        for _ in 0..count {
            let scope = reader.varint_u32()?;
            let texts = reader.length()?;
            if texts > ATTRIBUTE_TEXTS_MAX {
                return Err(Error::corrupt(format!("page with {texts} texts of an attribute")));
            }
            let texts = (0..texts).map(|_| reader.varint_u32()).collect::<Result<_>>()?;
            attributes.push(Attribute { scope, texts });
        }
        let mut entities = [(0u8, 0u32); ENTITY_COLUMNS];
        for (least, width) in &mut entities {
            (*least, *width) = (reader.byte()?, u32::from(reader.byte()?));
            if *width > 8 {
                return Err(Error::corrupt(format!("entities of {width} bits")));
            }
        }
        let head = reader.varint()?;
        let (count, lasting) = ((head >> 1) as usize, head & 1 != 0);
        if count > reader.remaining() {
            return Err(Error::corrupt(format!("page of {count} blocks")));
        }
        let mut heads: Vec<Head> = Vec::with_capacity(count);
        let (mut number, mut from) = (0i64, 0usize);
        for at in 0..count {
            let step = reader.signed()?;
            if at > 0 && step <= 0 {
                return Err(Error::corrupt("blocks of a page out of order"));
            }
            number = number.wrapping_add(step);
            let (count, length) = (reader.length()?, reader.length()?);
            let until = if lasting { reader.varint()? } else { 0 };
            if count == 0 {
                return Err(Error::corrupt("empty block of a page"));
            }
            heads.push(Head { number, until, count, from, to: from + length });
            from += length;
        }
        let sections = reader.bytes(reader.remaining())?;
        if sections.len() != from + PADDING {
            return Err(Error::corrupt(format!("page of {} bytes with blocks of {from}", sections.len())));
        }
        Ok(Page { classes, attributes, heads, entities, lasting, sections: sections.into() })
    }

    /// Its blocks, by ascending number.
    pub(crate) fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Whether some event may last.
    pub(crate) fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let texts: usize = self.attributes.iter().map(|attribute| attribute.texts.len()).sum();
        let heads = self.heads.len() * size_of::<Head>() + self.classes.len() * size_of::<Class>();
        size_of::<Page>() + self.sections.len() + heads + texts * size_of::<u32>()
    }

    /// The columns of the block with this head of this page.
    ///
    /// # Errors
    /// `Corrupt` when they do not fill the block.
    pub(crate) fn block(&self, head: &Head) -> Result<Block<'_>> {
        let count = head.count;
        let bytes = self.sections.get(head.from..head.to + PADDING).unwrap_or_default();
        let mut reader = Reader::new(bytes);
        let homes = Homes::read(&mut reader, count)?;
        let ticks = reader.bytes(count.saturating_mul(2))?;
        let mut packed = |width: u32| -> Result<Packed<'_>> {
            let from = bytes.len() - reader.remaining();
            reader.bytes(count.saturating_mul(width as usize).div_ceil(8))?;
            Ok(Packed { bytes: &bytes[from..], width })
        };
        let classes = packed(width(self.classes.len()))?;
        let attributes = self
            .attributes
            .iter()
            .map(|known| packed(width(known.texts.len() + 1)))
            .collect::<Result<SmallVec<_>>>()?;
        let mut entities = [(0, Packed { bytes: &[], width: 0 }); ENTITY_COLUMNS];
        for (column, &(least, width)) in entities.iter_mut().zip(&self.entities) {
            *column = (least, packed(width)?);
        }
        let lengths = reader.bytes(if self.lasting { count } else { 0 })?;
        if reader.remaining() != PADDING {
            return Err(Error::corrupt("columns of a block do not fill it"));
        }
        Ok(Block { count, homes, ticks, classes, attributes, entities, lengths })
    }
}

impl Block<'_> {
    /// The number of events.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The tick of the event at `at`.
    #[inline]
    pub(crate) fn tick(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.ticks[2 * at], self.ticks[2 * at + 1]])
    }

    /// The code of the entity at place `column` of the event at `at`.
    #[inline]
    pub(crate) fn entity(&self, column: usize, at: usize) -> u8 {
        let (least, codes) = &self.entities[column];
        least.saturating_add(codes.get(at) as u8)
    }

    /// The ticks of all events.
    pub(crate) fn ticks(&self) -> impl ExactSizeIterator<Item = u16> {
        self.ticks.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
    }

    /// Whether events of the block may last.
    pub(crate) fn has_lengths(&self) -> bool {
        !self.lengths.is_empty()
    }

    /// The length of the event at `at` in ticks: at least the first, less than the second.
    pub(crate) fn length(&self, at: usize) -> (u64, u64) {
        self.lengths.get(at).map_or((0, 1), |&code| length_bounds(code))
    }

    /// Appends the home of each event, in order.
    ///
    /// # Errors
    /// `Corrupt` when there are more or fewer homes than events.
    pub(crate) fn unpack_homes(&self, out: &mut Vec<u16>) -> Result<()> {
        self.homes.unpack(self.count, out)
    }

    /// Appends place and home of each event whose home is in `wanted`, in order. Cheap where few are.
    ///
    /// # Errors
    /// `Corrupt` when there are more or fewer homes than events.
    pub(crate) fn find_homes(&self, wanted: &[u64; HOME_WORDS], found: &mut Vec<(u32, u16)>) -> Result<()> {
        self.homes.find(self.count, wanted, found)
    }

    /// How many different homes there are.
    pub(crate) fn count_homes(&self) -> u64 {
        self.homes.different()
    }

    /// Adds every home to `set`.
    ///
    /// # Errors
    /// `Corrupt` when there are more or fewer homes than events.
    pub(crate) fn add_homes(&self, set: &mut [u64; HOME_WORDS]) -> Result<()> {
        self.homes.add_to(self.count, set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (u16, u16, u16, u8, u8);

    fn block(number: i64, mut rows: Vec<Row>, lasting: bool) -> BlockEvents {
        rows.sort_unstable();
        BlockEvents {
            number,
            homes: rows.iter().map(|row| row.0).collect(),
            ticks: rows.iter().map(|row| row.1).collect(),
            classes: rows.iter().map(|row| row.2).collect(),
            attributes: vec![rows.iter().map(|row| row.3).collect()],
            entities: [
                vec![ENTITY_HOME; rows.len()],
                rows.iter().map(|row| row.4).collect(),
                rows.iter().map(|row| row.3 + 40).collect(),
                vec![ENTITY_NONE; rows.len()],
            ],
            lengths: if lasting { rows.iter().map(|row| row.4).collect() } else { Vec::new() },
            until: if lasting { 7 } else { 0 },
        }
    }

    fn back(page: &Page, head: &Head) -> BlockEvents {
        let block = &page.block(head).unwrap();
        let mut homes = Vec::new();
        block.unpack_homes(&mut homes).unwrap();
        let mut set = [0; HOME_WORDS];
        block.add_homes(&mut set).unwrap();
        for home in 0..=u16::MAX {
            let inside = set[usize::from(home) / 64] >> (home % 64) & 1 != 0;
            assert_eq!(inside, homes.binary_search(&home).is_ok());
        }
        let mut different = homes.clone();
        different.dedup();
        assert_eq!(block.count_homes(), different.len() as u64);
        let of = |packed: &Packed<'_>| {
            let mut all = vec![7];
            packed.unpack(block.len(), &mut all);
            assert!((0..block.len()).all(|at| packed.get(at) == u32::from(all[at + 1])));
            all.split_off(1)
        };
        BlockEvents {
            number: head.number,
            homes,
            ticks: block.ticks().collect(),
            classes: of(&block.classes),
            attributes: block.attributes.iter().map(|p| of(p).into_iter().map(|code| code as u8).collect()).collect(),
            entities: std::array::from_fn(|column| (0..block.len()).map(|at| block.entity(column, at)).collect()),
            lengths: block.lengths.to_vec(),
            until: head.until,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn pages_survive(
            few in proptest::collection::vec((any::<u16>(), any::<u16>(), 0u16..11, 0u8..4, any::<u8>()), 1..50),
            many in proptest::collection::vec((0u16..3000, any::<u16>(), 0u16..11, 0u8..4, any::<u8>()), 400..900),
            far in proptest::collection::vec((any::<u16>(), any::<u16>(), 0u16..11, 0u8..4, any::<u8>()), 400..900),
            all in proptest::collection::vec((any::<u16>(), any::<u16>(), 0u16..11, 0u8..4, any::<u8>()), 9000..16_000),
            sparse in proptest::collection::vec(any::<u16>(), 0..90),
            lasting: bool,
            number in -1000i64..1000,
        ) {
            let classes: Vec<Class> = (0..11).map(|n| Class { shape: n * 3, severity: n as u8 }).collect();
            let attributes = [Attribute { scope: 9, texts: vec![2, 7, 8] }];
            let blocks =
                [(0, few), (1, many), (5, far), (9, all)].map(|(step, rows)| block(number + step, rows, lasting));
            let mut bytes = Vec::new();
            encode(&classes, &attributes, &blocks, &mut bytes);
            let page = Page::decode(&bytes).unwrap();
            prop_assert_eq!(&page.classes, &classes);
            prop_assert_eq!(page.attributes.as_slice(), &attributes);
            prop_assert_eq!(page.heads().len(), blocks.len());
            for head in page.heads() {
                let block = page.block(head).unwrap();
                let mut homes = Vec::new();
                block.unpack_homes(&mut homes).unwrap();
                for wanted in [&sparse, &vec![homes[0], homes[homes.len() / 2], *homes.last().unwrap()], &homes] {
                    let mut set = [0; HOME_WORDS];
                    wanted.iter().for_each(|home| set[usize::from(*home) / 64] |= 1 << (home % 64));
                    let mut found = Vec::new();
                    block.find_homes(&set, &mut found).unwrap();
                    let expected = (0u32..).zip(homes.iter().copied()).filter(|(_, home)| wanted.contains(home));
                    prop_assert_eq!(&found, &expected.collect::<Vec<_>>());
                    if wanted.len() > 100 {
                        break;
                    }
                }
            }
            for (read, written) in page.heads().iter().zip(&blocks) {
                prop_assert_eq!(&back(&page, read), written);
            }
        }

        #[test]
        fn arbitrary_pages_never_panic(
            mut bytes: Vec<u8>,
            flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        ) {
            let classes = [Class { shape: 1, severity: 2 }, Class { shape: 4, severity: 2 }];
            let attributes = [Attribute { scope: 9, texts: vec![2, 7] }];
            let whole = block(3, vec![(1, 2, 0, 1, 0), (300, 2, 1, 2, 0), (301, 9, 1, 0, 0)], false);
            for damaged in [false, true] {
                if damaged {
                    bytes.clear();
                    encode(&classes, &attributes, std::slice::from_ref(&whole), &mut bytes);
                    for (at, value) in &flips {
                        let at = at % bytes.len();
                        bytes[at] = *value;
                    }
                }
                let Ok(page) = Page::decode(&bytes) else { continue };
                for head in page.heads() {
                    let Ok(block) = page.block(head) else { continue };
                    let _ = block.unpack_homes(&mut Vec::new());
                    let _ = block.count_homes();
                    let _ = block.find_homes(&[0x0101; HOME_WORDS], &mut Vec::new());
                    (0..block.len()).for_each(|at| {
                        block.tick(at);
                        block.classes.get(at);
                        block.attributes.iter().for_each(|codes| _ = std::hint::black_box(codes.get(at)));
                        (0..ENTITY_COLUMNS).for_each(|column| _ = std::hint::black_box(block.entity(column, at)));
                    });
                }
            }
        }

        #[test]
        fn a_length_lies_within_the_bounds_of_its_code(ticks: u64, shift in 0u32..64) {
            let ticks = ticks >> shift;
            let (from, to) = length_bounds(length_code(ticks));
            prop_assert!(from <= ticks && (ticks < to || to == u64::MAX), "{} in {}..{}", ticks, from, to);
            prop_assert!(to == u64::MAX || to - from <= 1 + from / 8);
        }
    }
}
