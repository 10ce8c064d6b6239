//! Holds the stored index of a segment against what its rows make of it.

use crate::codec::calendar::Calendar;
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::codec::record::SegmentMeta;
use crate::error::{Error, Result};
use crate::index::build::{IndexBuilder, ShapeFacts};
use crate::store::{Cursor, Family, Store};

/// Takes a sentence about each difference.
pub(crate) type Tell<'a> = dyn FnMut(String) + 'a;

/// Walks over the index while its caller walks over the rows, home by home.
///
/// Cost: one slab in memory, and each key of the index read once.
pub(crate) struct IndexCheck<'a> {
    builder: IndexBuilder,
    stored: Stored<'a>,
}

impl<'a> IndexCheck<'a> {
    /// # Errors
    /// `Corrupt` for a segment whose description no seal and no merge can have written.
    pub(crate) fn open(store: &'a Store, segment: &SegmentMeta) -> Result<IndexCheck<'a>> {
        let place = || format!("span of segment {}", segment.number);
        let calendar = Calendar::of_level(segment.span.level).map_err(|error| error.at(place()))?;
        if Calendar::span(segment.span.low, segment.span.high) != segment.span {
            return Err(Error::corrupt(format!("calendar of level {}", segment.span.level)).at(place()));
        }
        let mut cursor = store.cursor(Family::Index, true);
        cursor.seek(&segment.number.to_be_bytes())?;
        let builder = IndexBuilder::new(segment.number, calendar);
        Ok(IndexCheck { builder, stored: Stored { cursor, segment: segment.number } })
    }

    /// Takes the events of the next home, as [`IndexBuilder::home`] does, and tells what differs before it.
    pub(crate) fn home(
        &mut self,
        home: u32,
        events: &[RawEvent],
        facts: &dyn Fn(u32) -> Result<ShapeFacts>,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let stored = &mut self.stored;
        self.builder.home(home, events, facts, &mut |key, made| stored.expect(key, made, tell))
    }

    /// Tells what differs in the last slab and behind it.
    pub(crate) fn finish(self, tell: &mut Tell<'_>) -> Result<()> {
        let IndexCheck { builder, mut stored } = self;
        builder.finish(&mut |key, made| stored.expect(key, made, tell))?;
        while stored.pass_over(None, tell)? {}
        Ok(())
    }
}

/// What is stored, from the next key on.
struct Stored<'a> {
    cursor: Cursor<'a>,
    segment: u32,
}

impl Stored<'_> {
    /// Compares the next of the keys that rows make.
    fn expect(&mut self, key: &[u8; key::INDEX_LEN], made: &[u8], tell: &mut Tell<'_>) -> Result<()> {
        while self.pass_over(Some(key), tell)? {}
        match self.cursor.entry()? {
            Some((stored, value)) if stored == key => {
                if value != made {
                    tell(format!("{} differs from its rows{}", place(key), difference(value, made)));
                }
                self.cursor.advance()?;
            }
            _ => tell(format!("{} is missing", place(key))),
        }
        Ok(())
    }

    /// Passes over a key of the segment that no row makes, if one comes before `next`.
    fn pass_over(&mut self, next: Option<&[u8; key::INDEX_LEN]>, tell: &mut Tell<'_>) -> Result<bool> {
        match self.cursor.entry()? {
            Some((stored, _)) if stored.starts_with(&self.segment.to_be_bytes()) => {
                if next.is_some_and(|next| stored >= &next[..]) {
                    return Ok(false);
                }
                tell(format!("{} is there, and no row asks for it", place(stored)));
            }
            _ => return Ok(false),
        }
        self.cursor.advance()?;
        Ok(true)
    }
}

/// Where two values part.
fn difference(stored: &[u8], made: &[u8]) -> String {
    let at = stored.iter().zip(made).position(|(stored, made)| stored != made);
    match at {
        Some(at) => format!(": byte {at} of {}", stored.len()),
        None => format!(": {} bytes instead of {}", stored.len(), made.len()),
    }
}

/// What stands under a key.
fn place(key: &[u8]) -> String {
    match key::parse_index(key) {
        Ok((segment, slab, key::PAGE, kind)) => format!("index page of kind {kind}, slab {slab}, segment {segment}"),
        Ok((segment, slab, key::BOOK, entity)) => {
            format!("entity book from entity {entity} on, slab {slab}, segment {segment}")
        }
        Ok((segment, slab, table, _)) => format!("index of unknown table {table}, slab {slab}, segment {segment}"),
        Err(error) => format!("index: {error}, of {} bytes,", key.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::page::Page;
    use crate::index::IndexWriter;
    use crate::store::{Batch, Setup};

    const SEGMENT: u32 = 5;

    fn meta() -> SegmentMeta {
        let span = Calendar::span(0, 1_000_000_000);
        SegmentMeta { number: SEGMENT, level: 0, rows: 0, first: 0, until: 0, first_commit: 0, last_commit: 0, span }
    }

    /// Shapes are their own kinds.
    fn facts(shape: u32) -> Result<ShapeFacts> {
        Ok(ShapeFacts { kind: shape, lasting: shape == 2, scopes: [9].into_iter().collect() })
    }

    /// Homes of two slabs, some with events of one kind, some of three.
    fn rows() -> Vec<(u32, Vec<RawEvent>)> {
        let event = |home: u32, number: u32| RawEvent {
            time: i64::from(number) * 40_000_000,
            end: (number % 3 == 2).then_some(i64::from(number) * 50_000_000),
            shape: number % 3,
            severity: (number % 5) as u8,
            subjects: [home].into_iter().collect(),
            context: [3_000_000_000 + number % 7].into_iter().collect(),
            ..RawEvent::default()
        };
        let homes = [0, 1, 7, 65_535, 65_536, 65_600];
        homes.iter().map(|&home| (home, (0..1 + home % 9).map(|number| event(home, number)).collect())).collect()
    }

    /// A store with the index of `rows`.
    fn stored(rows: &[(u32, Vec<RawEvent>)]) -> (tempfile::TempDir, Store) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("store"), Setup::SMALL).unwrap();
        // Neighbours in the family are none of its business.
        for segment in [SEGMENT - 1, SEGMENT, SEGMENT + 1] {
            let table = store.table_writer(Family::Index, &format!("index-{segment}")).unwrap();
            let mut writer = IndexWriter::new(table, segment, Calendar::of_level(meta().span.level).unwrap());
            rows.iter().for_each(|(home, events)| writer.home(*home, events, &facts).unwrap());
            store.ingest(Family::Index, writer.finish().unwrap()).unwrap();
        }
        (place, store)
    }

    fn problems(store: &Store, rows: &[(u32, Vec<RawEvent>)]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = IndexCheck::open(store, &meta()).unwrap();
        rows.iter()
            .for_each(|(home, events)| check.home(*home, events, &facts, &mut |told| problems.push(told)).unwrap());
        check.finish(&mut |told| problems.push(told)).unwrap();
        problems
    }

    fn keys(store: &Store) -> Vec<([u8; key::INDEX_LEN], Vec<u8>)> {
        let mut cursor = store.cursor(Family::Index, false);
        let mut found = Vec::new();
        let mut entry = cursor.seek(&SEGMENT.to_be_bytes()).unwrap();
        while let Some((key, value)) = entry.filter(|(key, _)| key.starts_with(&SEGMENT.to_be_bytes())) {
            found.push((key.try_into().unwrap(), value.to_vec()));
            entry = cursor.advance().unwrap();
        }
        found
    }

    #[test]
    fn what_rows_make_is_what_is_stored() {
        let rows = rows();
        let (_place, store) = stored(&rows);
        assert_eq!(problems(&store, &rows), Vec::<String>::new());
        assert_eq!(keys(&store).len(), 8, "a book and three pages in each of two slabs");
    }

    #[test]
    fn every_flipped_bit_and_every_missing_key_is_told_with_its_place() {
        let rows = rows();
        let (_place, store) = stored(&rows);
        for (key, value) in keys(&store) {
            let mut batch = Batch::default();
            batch.delete(&store, Family::Index, &key);
            store.write(batch, false).unwrap();
            assert_eq!(problems(&store, &rows), [format!("{} is missing", place(&key))]);
            for at in 0..=value.len() {
                let mut altered = value.clone();
                match altered.get_mut(at) {
                    Some(byte) => *byte ^= 1 << (at % 8),
                    None => altered.push(0),
                }
                let mut batch = Batch::default();
                batch.put(&store, Family::Index, &key, &altered);
                store.write(batch, false).unwrap();
                let told = problems(&store, &rows);
                assert!(told.len() == 1 && told[0].starts_with(&place(&key)), "{told:?}");
            }
            let mut batch = Batch::default();
            batch.put(&store, Family::Index, &key, &value);
            store.write(batch, false).unwrap();
        }
        assert_eq!(problems(&store, &rows), Vec::<String>::new());
    }

    #[test]
    fn keys_that_no_row_asks_for_are_told_wherever_they_stand() {
        let rows = rows();
        let (_place, store) = stored(&rows);
        let mut batch = Batch::default();
        let strays = [
            key::index(SEGMENT, 0, key::BOOK, 0),
            key::index(SEGMENT, 0, key::PAGE, 77),
            key::index(SEGMENT, 0, b'x', 0),
            key::index(SEGMENT, 9, key::PAGE, 0),
        ];
        strays.iter().for_each(|key| batch.put(&store, Family::Index, key, b"stray"));
        batch.put(&store, Family::Index, &strays[1][..9], b"short");
        store.write(batch, false).unwrap();
        let told = problems(&store, &rows);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told.iter().all(|problem| problem.ends_with("is there, and no row asks for it")), "{told:?}");
        assert!(told.iter().any(|problem| problem.contains("kind 77, slab 0")), "{told:?}");
    }

    #[test]
    fn pages_that_tell_of_other_rows_are_told() {
        let rows = rows();
        let (_place, store) = stored(&rows);
        let one_differs = |change: &dyn Fn(&mut RawEvent)| {
            let mut rows = rows.clone();
            change(rows[3].1.last_mut().unwrap());
            problems(&store, &rows)
        };
        let kind = rows[3].1.last().unwrap().shape;
        let page = place(&key::index(SEGMENT, 0, key::PAGE, kind));
        let alone = |told: &[String]| told.len() == 1 && told[0].starts_with(&page);
        assert!(alone(&one_differs(&|event| event.time += 1_000_000)));
        assert!(alone(&one_differs(&|event| event.severity = 20)));
        assert!(!one_differs(&|event| event.shape += 1).is_empty());
        let told = one_differs(&|event| event.context[0] += 1_000);
        assert!(told.iter().any(|problem| problem.starts_with("entity book")), "{told:?}");
        let mut fewer = rows.clone();
        fewer[5].1.clear();
        assert!(problems(&store, &fewer).iter().all(|problem| problem.contains("slab 1, segment 5")));
        assert!(!problems(&store, &fewer).is_empty());
        // A page tells nothing that `decode` would refuse.
        keys(&store).iter().filter(|(key, _)| key[6] == key::PAGE).for_each(|(_, value)| {
            Page::decode(value).unwrap();
        });
    }

    #[test]
    fn a_span_that_fits_no_calendar_is_an_error() {
        let (_place, store) = stored(&[]);
        for level in [1, 200] {
            let mut meta = meta();
            meta.span.level = level;
            let error = IndexCheck::open(&store, &meta).err().unwrap();
            assert!(error.to_string().contains("span of segment 5"), "{error}");
        }
    }
}
