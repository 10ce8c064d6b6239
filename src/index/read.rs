//! Reads the index of one segment.

use std::sync::Arc;

use crate::codec::book::OfEntity;
use crate::codec::calendar::Calendar;
use crate::codec::key;
use crate::codec::page::Page;
use crate::codec::record::SegmentMeta;
use crate::error::{Error, Result};
use crate::index::cache::PageCache;
use crate::store::{Family, Store};

/// The index of one segment, as a question reads it.
pub(crate) struct Index<'a> {
    store: &'a Store,
    cache: &'a PageCache,
    segment: u32,
    pub(crate) calendar: Calendar,
}

/// Pages that are asked for one by one; more are met by walking all.
const ASKED_MAX: usize = 64;

impl<'a> Index<'a> {
    pub(crate) fn open(store: &'a Store, cache: &'a PageCache, segment: &SegmentMeta) -> Result<Index<'a>> {
        let calendar = Calendar::of_level(segment.span.level)?;
        Ok(Index { store, cache, segment: segment.number, calendar })
    }

    /// Calls `seen` with each page of a slab that is of one of `kinds` (word numbers, ascending), in no
    /// certain order.
    pub(crate) fn pages(&self, slab: u16, kinds: &[u32], seen: &mut dyn FnMut(&Page) -> Result<()>) -> Result<()> {
        let mut missing = Vec::new();
        for &kind in kinds {
            match self.cache.get((self.segment, slab, kind)) {
                Some(Some(page)) => seen(&page).map_err(|error| self.place(error, slab, kind))?,
                Some(None) => {}
                None => missing.push(kind),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if missing.len() <= ASKED_MAX {
            let keys: Vec<_> = missing.iter().map(|&kind| key::index(self.segment, slab, key::PAGE, kind)).collect();
            let pages = self.store.get_sorted_once(Family::Index, keys.iter().map(|key| &key[..]));
            for (page, kind) in pages.into_iter().zip(missing) {
                self.meet(slab, kind, page?.as_deref(), seen)?;
            }
            return Ok(());
        }
        let mut cursor = self.store.cursor(Family::Index, true);
        let mut missing = missing.into_iter().peekable();
        let mut entry = cursor.seek(&key::index(self.segment, slab, key::PAGE, 0))?;
        while let Some((key, bytes)) = entry {
            let (segment, of_slab, table, kind) = key::parse_index(key)?;
            if (segment, of_slab, table) != (self.segment, slab, key::PAGE) {
                break;
            }
            while let Some(absent) = missing.next_if(|&asked| asked < kind) {
                self.meet(slab, absent, None, seen)?;
            }
            if missing.next_if_eq(&kind).is_some() {
                self.meet(slab, kind, Some(bytes), seen)?;
            }
            entry = cursor.advance()?;
        }
        missing.try_for_each(|absent| self.meet(slab, absent, None, seen))
    }

    /// Remembers a page, or that there is none, and shows it.
    fn meet(
        &self,
        slab: u16,
        kind: u32,
        bytes: Option<&[u8]>,
        seen: &mut dyn FnMut(&Page) -> Result<()>,
    ) -> Result<()> {
        let page = bytes.map(Page::decode).transpose().map_err(|error| self.place(error, slab, kind))?.map(Arc::new);
        self.cache.insert((self.segment, slab, kind), page.clone());
        page.map_or(Ok(()), |page| seen(&page).map_err(|error| self.place(error, slab, kind)))
    }

    fn place(&self, error: Error, slab: u16, kind: u32) -> Error {
        error.at(format!("index page of kind {kind}, slab {slab}, segment {}", self.segment))
    }

    /// Calls `seen` with each home of a slab that has an event which names `entity`, ascending, and the rank of
    /// `entity` there; the home that is `entity` itself is left out.
    pub(crate) fn homes_naming(&self, slab: u16, entity: u32, seen: impl FnMut(u16, u8)) -> Result<()> {
        let mut cursor = self.store.cursor(Family::Index, false);
        let Some((key, bytes)) = cursor.seek_back(&key::index(self.segment, slab, key::BOOK, entity))? else {
            return Ok(());
        };
        let (segment, of_slab, table, _) = key::parse_index(key)?;
        if (segment, of_slab, table) != (self.segment, slab, key::BOOK) {
            return Ok(());
        }
        OfEntity::find(bytes, entity)
            .and_then(|found| found.map_or(Ok(()), |found| found.for_each(seen)))
            .map_err(|error| error.at(format!("entity book of slab {slab}, segment {}", self.segment)))
    }
}
