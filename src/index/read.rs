//! Reads the index of one segment.

use crate::codec::book::{self, Place};
use crate::codec::calendar::Calendar;
use crate::codec::key;
use crate::codec::page::Page;
use crate::codec::record::SegmentMeta;
use crate::error::{Error, Result};
use crate::store::{Family, Store};

/// The index of one segment, as a question reads it.
pub(crate) struct Index<'a> {
    store: &'a Store,
    segment: u32,
    pub(crate) calendar: Calendar,
}

/// Kinds that are asked for one by one; more are met by walking all.
const KINDS_MAX: usize = 64;

impl<'a> Index<'a> {
    pub(crate) fn open(store: &'a Store, segment: &SegmentMeta) -> Result<Index<'a>> {
        let calendar = Calendar::of_level(segment.span.level)?;
        Ok(Index { store, segment: segment.number, calendar })
    }

    /// Calls `seen` with the kind, the page and the bytes of each page of a slab that is of one of `kinds`
    /// (word numbers, ascending), by ascending kind.
    pub(crate) fn pages(
        &self,
        slab: u16,
        kinds: &[u32],
        seen: &mut dyn FnMut(u32, &Page<'_>, usize) -> Result<()>,
    ) -> Result<()> {
        let place = |error: Error, kind: u32| {
            error.at(format!("index page of kind {kind}, slab {slab}, segment {}", self.segment))
        };
        let mut show = |kind: u32, bytes: &[u8]| {
            let page = Page::decode(bytes).map_err(|error| place(error, kind))?;
            seen(kind, &page, bytes.len()).map_err(|error| place(error, kind))
        };
        if kinds.len() <= KINDS_MAX {
            let keys: Vec<_> = kinds.iter().map(|&kind| key::index(self.segment, slab, key::PAGE, kind)).collect();
            let pages = self.store.get_sorted(Family::Index, keys.iter().map(|key| &key[..]));
            for (page, &kind) in pages.into_iter().zip(kinds) {
                if let Some(bytes) = page? {
                    show(kind, &bytes)?;
                }
            }
            return Ok(());
        }
        let mut cursor = self.store.cursor(Family::Index, false);
        let mut entry = cursor.seek(&key::index(self.segment, slab, key::PAGE, 0))?;
        while let Some((key, bytes)) = entry {
            let (segment, of_slab, table, kind) = key::parse_index(key)?;
            if (segment, of_slab, table) != (self.segment, slab, key::PAGE) {
                break;
            }
            if kinds.binary_search(&kind).is_ok() {
                show(kind, bytes)?;
            }
            entry = cursor.advance()?;
        }
        Ok(())
    }

    /// Appends the places of a slab where an event names `entity`, those under `entity` itself left out.
    pub(crate) fn places_naming(&self, slab: u16, entity: u32, places: &mut Vec<Place>) -> Result<()> {
        let mut cursor = self.store.cursor(Family::Index, false);
        let Some((key, bytes)) = cursor.seek_back(&key::index(self.segment, slab, key::BOOK, entity))? else {
            return Ok(());
        };
        let (segment, of_slab, table, _) = key::parse_index(key)?;
        if (segment, of_slab, table) != (self.segment, slab, key::BOOK) {
            return Ok(());
        }
        book::places_of(bytes, entity, places)
            .map_err(|error| error.at(format!("entity book of slab {slab}, segment {}", self.segment)))
    }
}
