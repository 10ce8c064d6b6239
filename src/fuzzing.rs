//! What the fuzz targets of private decoders do: each takes any bytes, and panics when something that must hold
//! does not. Not public in any build that is used: the feature `fuzzing` is for `fuzz/` alone.
//!
//! What decodes is encoded again, and that decodes to the same. No decoder holds more than some hundred bytes for
//! each byte it is given.

use crate::codec::book::{OfEntity, Place};
use crate::codec::chunk::{self, ChunkBase, Everything, Row, Scratch};
use crate::codec::homes::HOME_WORDS;
use crate::codec::key::{self, LinkKey};
use crate::codec::page::{self, BlockEvents, Page};
use crate::codec::raw::{Layout, RawEvent};
use crate::codec::record::{
    self, Counts, Erasure, Header, LogRow, Manifest, SavedCohort, SealMeta, SegmentMeta, Shape, Totals,
};
use crate::codec::{book, filter};
use crate::topology;

/// Every kind of record.
pub fn record(data: &[u8]) {
    macro_rules! comes_back {
        ($($record:ty),*) => {
            $(if let Ok(found) = record::decode::<$record>(data) {
                let again = record::decode::<$record>(&record::encode(&found));
                assert_eq!(again.expect("what was encoded decodes"), found);
            })*
        };
    }
    comes_back!(
        Header,
        Counts,
        LogRow,
        Shape,
        SegmentMeta,
        SealMeta,
        Manifest,
        Totals,
        Erasure,
        SavedCohort,
        (u64, u64)
    );
}

/// Every kind of key; there is one way to write each. Behind the key of a link, its value.
pub fn key(data: &[u8]) {
    if let Ok(link) = LinkKey::decode(data) {
        assert_eq!(link.encode(), data);
    }
    match key::parse_row(data) {
        Ok((segment, home, None)) => assert_eq!(key::row(segment, home), data),
        Ok((segment, home, Some(chunk))) => assert_eq!(key::chunk(segment, home, chunk), data),
        Err(_) => {}
    }
    if let Ok((segment, commit)) = key::parse_log(data) {
        assert_eq!(key::log(segment, commit), data);
    }
    if let Some((link, value)) = data.split_at_checked(LinkKey::LEN)
        && let Ok(((_, source), commit)) = topology::decode_row(link, value)
    {
        let again = topology::decode_row(link, &topology::encode_value(source, commit));
        assert_eq!(again.expect("what was encoded decodes").1, commit);
    }
    if let Ok((table, major, minor)) = key::parse_term(data) {
        assert_eq!(key::term(table, major, minor), data);
    }
    if let Ok(number) = key::parse_number(data) {
        assert_eq!(key::number(number), data);
    }
    if let Ok((segment, slab, table, number)) = key::parse_index(data) {
        assert_eq!(key::index(segment, slab, table, number), data);
    }
    if let Ok(Some(entity)) = key::parse_suspect(data) {
        assert_eq!(key::suspect(entity), data);
    }
    if let Ok(Some(number)) = key::parse_erasure(data) {
        assert_eq!(key::erasure(number), data);
    }
}

/// A shape's number tells its layout.
fn layouts() -> Vec<Layout> {
    let layout = |bits: u16| Layout {
        has_end: bits & 1 != 0,
        has_sequence: bits & 2 != 0,
        has_value: bits & 4 != 0,
        has_id: bits & 8 != 0,
        subjects: bits >> 4 & 1,
        context: bits >> 5 & 1,
        attributes: (bits >> 6 & 1) * 2,
    };
    (0..128).map(layout).collect()
}

/// Home, lowest time and lowest commit of a segment, 4, 8 and 2 bytes, then the row of a home.
pub fn chunk(data: &[u8]) {
    let Some((base, row)) = data.split_first_chunk::<14>() else { return };
    let [h0, h1, h2, h3, t0, t1, t2, t3, t4, t5, t6, t7, c0, c1] = *base;
    let base = ChunkBase {
        home: u32::from_le_bytes([h0, h1, h2, h3]),
        time: i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        commit: u64::from(u16::from_le_bytes([c0, c1])),
    };
    match chunk::decode_row(row, base) {
        Ok(Row::Directory(directory)) => {
            let mut again = Vec::new();
            directory.encode(base, &mut again);
            let Ok(Row::Directory(same)) = chunk::decode_row(&again, base) else { panic!("a directory is one") };
            assert_eq!(same, directory);
        }
        Ok(Row::Chunk(bytes)) => {
            let Some(events) = events(bytes, base) else { return };
            let mut again = Vec::new();
            chunk::encode(&events, base, &mut again);
            let same = self::events(&again, base).expect("what was encoded decodes");
            assert_eq!(same, events);
            assert!(same.iter().zip(&events).all(|(a, b)| a.commit == b.commit));
        }
        Err(_) => {}
    }
}

fn events(bytes: &[u8], base: ChunkBase) -> Option<Vec<RawEvent>> {
    let (layouts, mut events) = (layouts(), Vec::new());
    let decoded = chunk::decode(bytes, base, layouts.as_slice(), &Everything, &mut Scratch::default(), &mut events);
    decoded.is_ok().then_some(events)
}

/// A page of the index, and everything that is asked of its blocks.
pub fn page(data: &[u8]) {
    let Ok(page) = Page::decode(data) else { return };
    let Some(blocks) = blocks(&page) else { return };
    if blocks.iter().any(|block| !block.homes.is_sorted()) {
        return;
    }
    let mut again = Vec::new();
    page::encode(&page.classes, &page.attributes, &blocks, &mut again);
    let same = Page::decode(&again).expect("what was encoded decodes");
    assert_eq!((&same.classes, &same.attributes), (&page.classes, &page.attributes));
    assert_eq!(self::blocks(&same).expect("its blocks too"), blocks);
}

fn blocks(page: &Page) -> Option<Vec<BlockEvents>> {
    let mut blocks = Vec::new();
    for head in page.heads() {
        let block = page.block(head).ok()?;
        let (mut set, mut found) = ([0u64; HOME_WORDS], Vec::new());
        let mut events = BlockEvents { number: head.number, until: head.until, ..BlockEvents::default() };
        let added = block.add_homes(&mut set);
        let looked = block.find_homes(&[u64::MAX; HOME_WORDS], &mut found);
        block.count_homes();
        block.unpack_homes(&mut events.homes).ok()?;
        if events.homes.is_sorted() && added.is_ok() && looked.is_ok() {
            let homes: Vec<u16> = found.iter().map(|(_, home)| *home).collect();
            assert_eq!(homes, events.homes, "looked for and unpacked");
        }
        events.ticks = block.ticks().collect();
        block.classes.unpack(block.len(), &mut events.classes);
        let narrow = |codes: Vec<u16>| codes.into_iter().map(|code| code as u8).collect::<Vec<u8>>();
        for column in &block.attributes {
            let mut codes = Vec::new();
            column.unpack(block.len(), &mut codes);
            events.attributes.push(narrow(codes));
        }
        for (place, codes) in events.entities.iter_mut().enumerate() {
            *codes = (0..block.len()).map(|at| block.entity(place, at)).collect();
        }
        if block.has_lengths() {
            events.lengths = (0..block.len()).map(|at| page::length_code(block.length(at).0)).collect();
        }
        blocks.push(events);
    }
    Some(blocks)
}

/// An entity, 4 bytes, and a part of an entity book.
pub fn book(data: &[u8]) {
    let Some((entity, part)) = data.split_first_chunk() else { return };
    let entity = u32::from_le_bytes(*entity);
    let places = |part: &[u8]| -> crate::error::Result<Vec<Place>> {
        let mut places = Vec::new();
        if let Some(found) = OfEntity::find(part, entity)? {
            found.for_each(|home, rank| places.push(Place { entity, home, rank }))?;
        }
        Ok(places)
    };
    let Ok(told) = places(part) else { return };
    if told.is_sorted_by_key(|place| place.home) {
        let mut again = Vec::new();
        book::encode(&told, &mut again);
        assert_eq!(places(&again).expect("what was encoded decodes"), told);
    }
}

/// An identity, 8 bytes, and a part of a filter or of an index of identities.
pub fn filter(data: &[u8]) {
    let Some((identity, part)) = data.split_first_chunk() else { return };
    let identity = u64::from_le_bytes(*identity);
    if let Ok(filter) = filter::FilterPart::decode(part) {
        assert_eq!(filter.as_bytes(), part);
        for identity in [0, identity, !identity, u64::MAX] {
            filter.contains(identity);
        }
    }
    if let Ok(homes) = filter::homes_of(part, identity) {
        let pairs: Vec<(u64, u32)> = homes.iter().map(|&home| (identity, home)).collect();
        let same = filter::homes_of(&filter::encode_homes(&pairs), identity);
        assert_eq!(same.expect("what was encoded decodes"), homes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::chunk::{Directory, Span};
    use crate::codec::key::{Side, Statement};
    use crate::codec::page::{Attribute, Class};
    use crate::codec::raw::{FIRST_OTHER, RawValue};
    use proptest::prelude::*;
    use std::path::PathBuf;

    type Target = fn(&[u8]);
    const TARGETS: [(&str, Target); 6] =
        [("record", record), ("key", key), ("chunk", chunk), ("page", page), ("book", book), ("filter", filter)];

    fn folder(target: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
    }

    fn event(number: u32) -> RawEvent {
        let shape = number * 37 % 128;
        let layout = layouts()[shape as usize];
        let time = i64::from(number) * 1_000_000;
        let entity = |number: u32| if number.is_multiple_of(3) { 7 } else { FIRST_OTHER + number };
        RawEvent {
            time,
            shape,
            severity: (number % 25) as u8,
            end: layout.has_end.then_some(time + 5),
            sequence: layout.has_sequence.then_some(u64::from(number)),
            value: layout.has_value.then_some(f64::from(number) / 8.0 - 1.1),
            subjects: (0..layout.subjects).map(|_| entity(number)).collect(),
            context: (0..layout.context).map(|_| entity(number + 1)).collect(),
            values: [RawValue::Term(number), RawValue::Text("line".into())][..usize::from(layout.attributes)].into(),
            id: layout.has_id.then(|| format!("id-{number}").into()),
            commit: u64::from(number),
        }
    }

    /// Real encodings, by target.
    fn seeds() -> Vec<(&'static str, Vec<u8>)> {
        let base = ChunkBase { home: 7, time: 0, commit: 0 };
        let mut seeds = Vec::new();
        for count in [1, 40, 256] {
            let mut row = [&7u32.to_le_bytes()[..], &[0; 10]].concat();
            chunk::encode_single(&(0..count).map(event).collect::<Vec<_>>(), base, &mut row);
            seeds.push(("chunk", row));
        }
        let mut row = [&7u32.to_le_bytes()[..], &[0; 10]].concat();
        Directory((0..5).map(|at| Span { first: at * 9, until: at * 9 + 20 }).collect()).encode(base, &mut row);
        seeds.push(("chunk", row));
        let classes = [Class { shape: 3, severity: 9 }, Class { shape: 4, severity: 17 }];
        let attributes = [Attribute { scope: 1, texts: vec![5, 9, 12] }];
        for homes in [vec![3u16, 3, 900, 60_000], (0..300).collect(), (0..30_000).step_by(2).map(|n| n / 4).collect()] {
            let count = homes.len() as u16;
            let codes = |of: u16| -> Vec<u8> { (0..count).map(|at| (at % of) as u8).collect() };
            let block = |number| BlockEvents {
                number,
                homes: homes.clone(),
                ticks: (0..count).collect(),
                classes: (0..count).map(|at| at % 2).collect(),
                attributes: vec![codes(4)],
                entities: [codes(2), codes(3), codes(1), codes(1)],
                lengths: codes(200),
                until: 70_000,
            };
            let mut bytes = Vec::new();
            page::encode(&classes, &attributes, &[block(-3), block(8)], &mut bytes);
            if bytes.len() < 40_000 {
                seeds.push(("page", bytes));
            }
        }
        let places: Vec<book::Place> =
            (0..60).map(|at| book::Place { entity: at / 9, home: at as u16 * 3, rank: at as u8 }).collect();
        let mut part = 2u32.to_le_bytes().to_vec();
        book::encode(&places, &mut part);
        seeds.push(("book", part));
        let identities: Vec<u64> = (1..200u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let prefix = &identities[0].to_le_bytes()[..];
        seeds.push(("filter", [prefix, filter::FilterPart::build(&identities).as_bytes()].concat()));
        let mut pairs: Vec<(u64, u32)> = identities.iter().map(|&identity| (identity, identity as u32)).collect();
        pairs.sort_unstable();
        seeds.push(("filter", [prefix, &filter::encode_homes(&pairs)].concat()));
        let (from, to) = (i64::MIN, 77);
        for (side, statement) in [(Side::Outgoing, Statement::Add), (Side::Incoming, Statement::Close)] {
            let link = LinkKey { entity: FIRST_OTHER, side, relation: 4, other: 9, statement, from, to };
            seeds.push(("key", link.encode().to_vec()));
            seeds.push(("key", [&link.encode()[..], &topology::encode_value(3, 9)].concat()));
        }
        let others = [&key::log(3, 9)[..], &key::row(3, 9), &key::term(b's', 1, 2), &key::suspect(8), &key::erasure(1)];
        seeds.extend(others.map(|bytes| ("key", bytes.to_vec())));
        seeds.push(("key", key::index(1, 2, key::PAGE, 4).to_vec()));
        let span = Default::default();
        let segment = SegmentMeta {
            number: 4,
            level: 1,
            rows: 900,
            first: -5,
            until: 1 << 60,
            first_commit: 1,
            last_commit: 80,
            span,
        };
        let seal = SealMeta { number: 4, first: -5, last: 900, part_bits: 2, has_index: true };
        let manifest = Manifest {
            next_segment: 5,
            trimmed: 80,
            segments: vec![segment],
            seals: vec![seal],
            ..Manifest::default()
        };
        let log = LogRow {
            wall: 1 << 60,
            events: 2,
            packed: vec![1; 20],
            lengths: vec![10, 10],
            homes: vec![0; 8],
            several_homes: false,
        };
        let erasure = Erasure { at: 1 << 60, numbers: vec![1, 2], hashes: vec![[7; 16]; 2], done: true };
        let cohort = SavedCohort { expr: "did(any)".into(), commit: 3, now: 9, numbers: vec![58, 48, 0, 0] };
        let header = Header { format: 2, customer_type: "customer".into() };
        let records = [
            record::encode(&manifest),
            record::encode(&log),
            record::encode(&erasure),
            record::encode(&cohort),
            record::encode(&header),
            record::encode(&Counts { entities: vec![1, 2, 300], links: 9 }),
        ];
        seeds.extend(records.map(|bytes| ("record", bytes)));
        seeds
    }

    /// Not a test of its own: writes the seeds anew, when the environment says so.
    #[test]
    fn child_writes_the_corpora() {
        if std::env::var_os("OFONE_WRITE_CORPORA").is_none() {
            return;
        }
        for (number, (target, bytes)) in seeds().into_iter().enumerate() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(folder(target).join(format!("seed-{number}")), bytes).unwrap();
        }
    }

    #[test]
    fn corpora_hold_what_the_targets_assert_and_so_does_what_is_near() {
        for (name, target) in TARGETS {
            let mut files = 0;
            for entry in std::fs::read_dir(folder(name)).unwrap() {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                target(&bytes);
                for at in 0..bytes.len().min(600) {
                    let mut near = bytes.clone();
                    near[at] ^= 1 << (at % 8);
                    target(&near);
                    target(&bytes[..at]);
                }
                files += 1;
            }
            assert!(files > 0, "{name}");
        }
    }

    #[test]
    fn seeds_decode() {
        for (target, bytes) in seeds() {
            match target {
                "page" => assert!(blocks(&Page::decode(&bytes).unwrap()).is_some()),
                "chunk" => assert!(chunk::decode_row(&bytes[14..], ChunkBase { home: 7, time: 0, commit: 0 }).is_ok()),
                _ => {}
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_hold_what_the_targets_assert(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            TARGETS.iter().for_each(|(_, target)| target(&bytes));
        }
    }
}
