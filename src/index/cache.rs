//! Pages that readers keep.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::codec::page::Page;

/// Where a page belongs: segment, slab, kind. Segments never change and their numbers are never
/// given twice, so what is remembered stays true.
pub(super) type Place = (u32, u16, u32);

#[derive(Clone)]
struct Bytes;

impl Weighter<Place, Option<Arc<Page>>> for Bytes {
    fn weight(&self, _place: &Place, page: &Option<Arc<Page>>) -> u64 {
        64 + page.as_ref().map_or(0, |page| page.bytes() as u64)
    }
}

/// Pages taken apart, and which there are not, within a bound of memory.
pub(crate) struct PageCache(Cache<Place, Option<Arc<Page>>, Bytes>);

impl PageCache {
    /// Holds `bytes`, about.
    pub(crate) fn new(bytes: usize) -> PageCache {
        PageCache(Cache::with_weighter(bytes / (16 << 10), bytes as u64, Bytes))
    }

    pub(super) fn get(&self, place: Place) -> Option<Option<Arc<Page>>> {
        self.0.get(&place)
    }

    pub(super) fn insert(&self, place: Place, page: Option<Arc<Page>>) {
        self.0.insert(place, page);
    }
}
