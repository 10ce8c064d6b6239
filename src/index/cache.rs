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

    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.0.hits(), self.0.misses())
    }

    pub(super) fn get(&self, place: Place) -> Option<Option<Arc<Page>>> {
        self.0.get(&place)
    }

    pub(super) fn insert(&self, place: Place, page: Option<Arc<Page>>) {
        self.0.insert(place, page);
    }

    /// Drops what is remembered of a segment that nobody reads any more. Cost: a look at each page.
    pub(crate) fn forget(&self, segment: u32) {
        self.0.retain(|place, _| place.0 != segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_segment_that_is_gone_nothing_takes_memory() {
        let cache = PageCache::new(1 << 20);
        for segment in 0..4 {
            (0..100).for_each(|kind| cache.insert((segment, 0, kind), None));
        }
        let full = cache.0.weight();
        cache.forget(2);
        assert_eq!(cache.0.weight(), full / 4 * 3);
        let kept = |segment| (0..100).filter(|&kind| cache.get((segment, 0, kind)).is_some()).count();
        assert_eq!([0, 1, 2, 3].map(kept), [100, 100, 0, 100]);
    }
}
